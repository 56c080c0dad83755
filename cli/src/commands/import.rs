//! `import`: crates from elsewhere, dependencies first, some at a time, as often as it takes.
//!
//! Owns the summary, and what the sources have in common. Does not own the pipeline, nor the sources themselves.

mod directory;
mod order;
mod pipeline;
mod registry;

use std::path::PathBuf;

use drystone_client::{ClientError, Registry};
use drystone_schemas::{PackageName, Problem, Version};
use serde::Serialize;

use crate::{args, context::Context, failure::Failure, printer::count};

/// What an import came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Releases found.
    found: usize,
    /// New in the registry.
    published: usize,
    /// There already, with the same bytes.
    already: usize,
    /// Yanked, because they are yanked where they come from.
    yanked: usize,
    /// Not published, with the reasons.
    failed: Vec<Failed>,
    /// Not tried, because the registry could not be used any more.
    not_tried: usize,
}

#[derive(Debug, Serialize)]
struct Failed {
    file: String,
    problems: Vec<Problem>,
}

/// What a source has for the registry.
#[derive(Debug, Default)]
struct Found {
    /// Archives on disk, with the checksum that the source names, if it names one.
    files: Vec<PathBuf>,
    /// Releases that are yanked there.
    yanked: Vec<(PackageName, Version)>,
    /// Keeps a directory of archives that were made for this run.
    _made: Option<tempfile::TempDir>,
}

pub(super) async fn import(args: &args::Import, cx: &Context) -> Result<(), Failure> {
    let to = cx.registry_here()?;
    to.token()?;
    let mut summary = Summary::default();
    let jobs = usize::from(args.jobs());
    let found = match args {
        args::Import::Crates(args) => directory::crates(&cx.path(&args.dir), &mut summary)?,
        args::Import::LocalRegistry(args) => {
            directory::local_registry(cx, &cx.path(&args.dir), &mut summary).await?
        }
        args::Import::Vendored(args) => {
            directory::vendored(cx, &to, &cx.path(&args.dir), &mut summary).await?
        }
        args::Import::Registry(args) => registry::fetch(cx, &to, args, &mut summary).await?,
    };
    pipeline::publish_archives(cx, &to, &found.files, jobs, &mut summary).await?;
    yank(cx, &to, &found.yanked, &mut summary).await;
    report(cx, &summary)
}

/// Yanks what is yanked at the source, as far as it is here and not yanked yet.
async fn yank(cx: &Context, to: &Registry, yanked: &[(PackageName, Version)], summary: &mut Summary) {
    for (name, version) in yanked {
        match yank_one(to, name, version).await {
            Ok(true) => summary.yanked += 1,
            Ok(false) => {}
            Err(error) => {
                let file = format!("{name}-{version}.crate");
                summary.failed.push(pipeline::failed(cx, file.as_ref(), error.into()));
            }
        }
    }
}

async fn yank_one(to: &Registry, name: &PackageName, version: &Version) -> Result<bool, ClientError> {
    let index = to.index_by_name(name).await?;
    let is_due = index.and_then(|index| Some(!index.find(version)?.yanked)).unwrap_or(false);
    if is_due {
        to.yank(name, version, None).await?;
    }
    Ok(is_due)
}

fn report(cx: &Context, summary: &Summary) -> Result<(), Failure> {
    let Summary { found, published, already, yanked, failed, not_tried } = summary;
    let left = if *not_tried > 0 { format!(", {not_tried} not tried") } else { String::new() };
    let yanked = if *yanked > 0 { format!(", {yanked} yanked") } else { String::new() };
    let counts =
        format!("{published} published, {already} already there{yanked}, {} failed{left}", failed.len());
    cx.printer.step("Imported", &format!("{}: {counts}", count(*found, "file")));
    if cx.printer.is_json() {
        cx.printer.result(summary, String::new)?;
    }
    let problems: Vec<Problem> = failed.iter().flat_map(|failed| failed.problems.clone()).collect();
    match Failure::from(problems) {
        _ if failed.is_empty() => Ok(()),
        failure if cx.printer.is_json() => Err(Failure::Told(failure.exit_code())),
        failure => Err(failure.noting(counts)),
    }
}
