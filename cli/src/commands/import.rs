//! `import crates`: many archives, dependencies first, some at a time, as often as it takes.
//!
//! Owns the pipeline and its summary. Does not own the order, which is in `order`.
//! Invariant: what is in the registry with the same bytes is skipped, so that a run that was cut off is simply repeated.

mod order;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use drystone_client::{
    ClientError, LocalArchive, Registry,
    publish::{Intent, check_archive},
};
use drystone_schemas::{Code, Format, PackageName, Problem, PublishOutcome, Settings, Version};
use futures_util::{StreamExt as _, stream};
use ignore::WalkBuilder;
use indicatif::ProgressBar;
use serde::Serialize;

use self::order::{Item, levels};
use super::publish::blocking;
use crate::{
    args::{self, ImportCrates},
    context::Context,
    failure::Failure,
    printer::count,
};

/// What an import came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Files found.
    found: usize,
    /// New in the registry.
    published: usize,
    /// There already, with the same bytes.
    already: usize,
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

/// What became of one archive.
enum Outcome {
    Published,
    Already,
    Failed(Failed),
    NotTried,
}

pub(super) async fn import(args: &args::Import, cx: &Context) -> Result<(), Failure> {
    let args::Import::Crates(args) = args;
    let registry = cx.registry_here()?;
    registry.token()?;
    let settings = Arc::new(registry.config().await?.settings.clone());
    let files = crate_files(&cx.path(&args.dir))?;
    let mut summary = Summary { found: files.len(), ..Summary::default() };
    let items = inspect_all(cx, args, &files, &settings, &mut summary).await;
    publish_all(cx, args, &registry, items, &mut summary).await;
    report(cx, &summary)
}

/// Every `.crate` file below a directory, sorted by path.
fn crate_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in WalkBuilder::new(dir).standard_filters(false).build() {
        let entry = entry.map_err(|e| Failure::new(Code::LocalIo, e.to_string()))?;
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        if is_file && entry.path().extension().is_some_and(|extension| extension == "crate") {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        return Err(Failure::new(
            Code::LocalIo,
            format!("there is no `.crate` file below `{}`", dir.display()),
        ));
    }
    files.sort();
    Ok(files)
}

/// Reads every archive once, to know its name, its dependencies and its problems.
async fn inspect_all(
    cx: &Context,
    args: &ImportCrates,
    files: &[PathBuf],
    settings: &Arc<Settings>,
    summary: &mut Summary,
) -> Vec<Item> {
    let bar = cx.printer.count_bar("Checking", files.len() as u64);
    let mut inspected = stream::iter(files)
        .map(async |file| (file, inspect(file.clone(), settings.clone()).await))
        .buffered(usize::from(args.jobs));
    let mut items = Vec::new();
    while let Some((file, result)) = inspected.next().await {
        bar.inc(1);
        match result {
            Ok(item) => items.push(item),
            Err(failure) => summary.failed.push(failed(cx, file, failure)),
        }
    }
    bar.finish_and_clear();
    items
}

async fn inspect(file: PathBuf, settings: Arc<Settings>) -> Result<Item, Failure> {
    blocking(move || {
        let archive = LocalArchive::open(&file, Some(Format::Cargo))?;
        let record = check_archive(&archive, &settings)?.record;
        Ok(Item::new(archive, &record))
    })
    .await
}

async fn publish_all(
    cx: &Context,
    args: &ImportCrates,
    registry: &Registry,
    items: Vec<Item>,
    summary: &mut Summary,
) {
    let bar = cx.printer.count_bar("Publishing", items.len() as u64);
    let stopped = AtomicBool::new(false);
    for level in levels(items) {
        let mut outcomes = stream::iter(level)
            .map(|item| publish(cx, registry, item, &stopped, &bar))
            .buffer_unordered(usize::from(args.jobs));
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Outcome::Published => summary.published += 1,
                Outcome::Already => summary.already += 1,
                Outcome::Failed(failed) => summary.failed.push(failed),
                Outcome::NotTried => summary.not_tried += 1,
            }
        }
    }
    bar.finish_and_clear();
}

async fn publish(
    cx: &Context,
    registry: &Registry,
    item: Item,
    stopped: &AtomicBool,
    bar: &ProgressBar,
) -> Outcome {
    if stopped.load(Ordering::Relaxed) {
        return Outcome::NotTried;
    }
    let release = format!("{} {}", item.name, item.version);
    bar.set_message(release.clone());
    let outcome = publish_one(registry, &item).await;
    bar.inc(1);
    match outcome {
        Ok(PublishOutcome::AlreadyPublished) => {
            cx.printer.detail(&format!("{release} is there already"));
            Outcome::Already
        }
        Ok(PublishOutcome::Published | PublishOutcome::DryRun) => {
            if !cx.printer.is_animated() {
                cx.printer.step("Published", &release);
            }
            Outcome::Published
        }
        Err(error) => {
            let failure = Failure::from(error);
            // Without a token or a connection the others fail as well.
            if matches!(failure.exit_code(), 4 | 69) {
                stopped.store(true, Ordering::Relaxed);
            }
            Outcome::Failed(failed(cx, &item.archive.path, failure))
        }
    }
}

async fn publish_one(registry: &Registry, item: &Item) -> Result<PublishOutcome, ClientError> {
    // A look at the index costs less than an upload that comes to nothing.
    if is_there(registry, &item.name, &item.version, &item.archive).await? {
        return Ok(PublishOutcome::AlreadyPublished);
    }
    Ok(registry.publish(&item.archive, Intent::Publish, Arc::new(|_| ())).await?.outcome)
}

async fn is_there(
    registry: &Registry,
    name: &PackageName,
    version: &Version,
    archive: &LocalArchive,
) -> Result<bool, ClientError> {
    let index = registry.index_by_name(name).await?;
    Ok(index.and_then(|index| Some(index.find(version)?.cksum == archive.digest.hex())).unwrap_or(false))
}

fn failed(cx: &Context, file: &Path, failure: Failure) -> Failed {
    let file = file.strip_prefix(&cx.cwd).unwrap_or(file).display().to_string();
    match failure {
        Failure::Problems { problems, .. } => Failed {
            problems: problems.into_iter().map(|problem| problem.fact("file", &file)).collect(),
            file,
        },
        other => Failed { file, problems: vec![Problem::new(Code::Internal, format!("{other:?}"))] },
    }
}

fn report(cx: &Context, summary: &Summary) -> Result<(), Failure> {
    let Summary { found, published, already, failed, not_tried } = summary;
    let left = if *not_tried > 0 { format!(", {not_tried} not tried") } else { String::new() };
    let counts = format!("{published} published, {already} already there, {} failed{left}", failed.len());
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
