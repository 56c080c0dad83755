//! `add --zig`: writes dependencies into `build.zig.zon`, with URL and hash as the log proves them.

use drystone_client::{
    ClientError, Snapshot,
    project::Edit,
    zig::{ZigProject, not_zig},
};
use drystone_schemas::{Code, IndexLine, VersionReq, ZigSnippet};
use serde::Serialize;

use crate::{
    args,
    context::{Context, named_package, split_spec},
    failure::Failure,
};

#[derive(Serialize)]
struct Added {
    /// The entries that are in the manifest now.
    dependencies: Vec<ZigSnippet>,
}

pub(super) async fn add(args: &args::Add, cx: &Context) -> Result<(), Failure> {
    let mut project = ZigProject::find(&cx.cwd)?;
    let registry = cx.registry_here()?;
    let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
    let public_url = registry.config().await?.settings.public_url.clone();
    let mut dependencies = Vec::new();
    for spec in &args.packages {
        let line = chosen(cx, &snapshot, spec).await?;
        let zig = line.zig.as_ref().ok_or_else(|| not_zig(&line.name))?;
        let snippet = ZigSnippet::new(zig, &line.cksum, &public_url);
        let verb = match project.add(&snippet)? {
            Edit::Added => "Added",
            Edit::Changed => "Changed",
            Edit::Unchanged => "Unchanged",
        };
        cx.printer.step(verb, &format!("{} {} as `.{}`", line.name, line.vers, snippet.name));
        dependencies.push(snippet);
    }
    project.save()?;
    cx.printer.result(&Added { dependencies }, String::new)
}

/// The release that a specification means: the largest that fits and is not yanked.
async fn chosen(cx: &Context, snapshot: &Snapshot<'_>, spec: &str) -> Result<IndexLine, Failure> {
    let (text, req) = split_spec(spec);
    let name = named_package(cx, snapshot, text).await?;
    let index =
        snapshot.index(&name).await?.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?;
    let Some(req) = req else {
        let latest = index.file.latest().cloned();
        let none = || ClientError::VersionNotFound { name, wanted: "that is not yanked".into() };
        return vouched(snapshot, latest.ok_or_else(none)?).await;
    };
    let req = VersionReq::new(req).map_err(|e| Failure::new(Code::BadUsage, e.to_string()))?;
    let fitting = index.file.lines.iter().filter(|line| !line.yanked && req.matches(&line.vers));
    let largest = fitting.max_by(|a, b| a.vers.cmp(&b.vers)).cloned();
    let largest =
        largest.ok_or_else(|| ClientError::VersionNotFound { name, wanted: format!("for {req}") })?;
    vouched(snapshot, largest).await
}

/// A release that its authors have signed as they must.
async fn vouched(snapshot: &Snapshot<'_>, line: IndexLine) -> Result<IndexLine, Failure> {
    snapshot.check_authors(&line).await?;
    Ok(line)
}
