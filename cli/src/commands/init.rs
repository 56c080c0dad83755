//! `init`: a manifest where there is none.

use drystone_client::Project;
use drystone_schemas::{Code, Language, PackageName, Problem};
use serde::Serialize;

use crate::{args, context::Context, failure::Failure};

#[derive(Serialize)]
struct Made {
    manifest: String,
    name: PackageName,
}

/// The manifest of the language that is asked for, else that of the registry, else ours.
async fn manifest(asked: Option<&str>, cx: &Context) -> Result<(String, Option<Language>), Failure> {
    let (manifest, language) = cx.manifest().await?;
    let Some(asked) = asked else { return Ok((manifest, language)) };
    if language.as_ref().is_some_and(|language| language.name == asked) {
        return Ok((manifest, language));
    }
    if let Some((manifest, preset)) = Language::preset(asked) {
        return Ok((manifest.to_owned(), Some(preset)));
    }
    let known = match language {
        Some(language) => format!("the registry's language is `{}`", language.name),
        None => "no registry with a language of its own is named".to_owned(),
    };
    let problem =
        Problem::new(Code::BadUsage, format!("`{asked}` is not a language that is known here: {known}"));
    Err(problem
        .with_hint("give `--registry URL` of a registry for the language, or `raven` or `vais`")
        .into())
}

pub(super) async fn init(args: &args::Init, cx: &Context) -> Result<(), Failure> {
    let dir = args.dir.as_ref().map_or_else(|| cx.cwd.clone(), |dir| cx.path(dir));
    let text = match &args.name {
        Some(name) => name.clone(),
        None => dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    };
    let name = PackageName::new(text)
        .map_err(|e| Problem::new(Code::InvalidName, e.to_string()).with_hint("choose one with `--name`"))?;
    let registry = match cx.registry_url(None) {
        Ok(url) => Some(url),
        Err(failure) if failure.code() == Some(Code::BadConfiguration) => None,
        Err(failure) => return Err(failure),
    };
    let (manifest, language) = manifest(args.language.as_deref(), cx).await?;
    fs_err::create_dir_all(&dir)?;
    let path = dir.join(&manifest);
    let project = match &language {
        Some(language) => Project::init_language(&path, &name, &language.fields)?,
        None => Project::init(&path, &name, registry.as_deref())?,
    };
    cx.printer.step("Created", &format!("{} for {name}", project.path().display()));
    cx.printer.hint("`drystone add NAME` adds a dependency, `drystone publish` publishes");
    let made = Made { manifest: project.path().display().to_string(), name };
    if cx.printer.is_json() { cx.printer.result(&made, String::new) } else { Ok(()) }
}
