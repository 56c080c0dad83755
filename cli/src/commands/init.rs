//! `init`: a manifest where there is none.

use drystone_client::Project;
use drystone_schemas::{Code, PackageName, Problem};
use serde::Serialize;

use crate::{args, context::Context, failure::Failure};

#[derive(Serialize)]
struct Made {
    manifest: String,
    name: PackageName,
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
    let manifest = cx.manifest_name().await?;
    fs_err::create_dir_all(&dir)?;
    let project = Project::init(&dir.join(&manifest), &name, registry.as_deref())?;
    cx.printer.step("Created", &format!("{} for {name}", project.path().display()));
    cx.printer.hint("`drystone add NAME` adds a dependency, `drystone publish` publishes");
    let made = Made { manifest: project.path().display().to_string(), name };
    if cx.printer.is_json() { cx.printer.result(&made, String::new) } else { Ok(()) }
}
