//! From archives on disk to releases: checked, put in order, published some at a time.
//!
//! Owns the pipeline. Does not own the order, which is in `order`, nor where the archives come from.
//! Invariant: what is in the registry with the same bytes is skipped, so that a run that was cut off is simply repeated.

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
use drystone_schemas::{Code, Format, PackageName, Problem, PublishOutcome, Settings, Sha256Digest, Version};
use futures_util::{StreamExt as _, stream};
use indicatif::ProgressBar;

use super::{
    super::publish::blocking,
    Failed, Summary,
    order::{Item, levels},
};
use crate::{context::Context, failure::Failure};

/// What became of one archive.
enum Outcome {
    Published,
    Already,
    Failed(Failed),
    NotTried,
}

/// Publishes archives in the order of their dependencies, `jobs` at a time.
pub(super) async fn publish_archives(
    cx: &Context,
    registry: &Registry,
    files: &[PathBuf],
    jobs: usize,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let settings = Arc::new(registry.config().await?.settings.clone());
    let items = inspect_all(cx, jobs, files, &settings, summary).await;
    publish_all(cx, jobs, registry, items, summary).await;
    Ok(())
}

/// Reads every archive once, to know its name, its dependencies and its problems.
async fn inspect_all(
    cx: &Context,
    jobs: usize,
    files: &[PathBuf],
    settings: &Arc<Settings>,
    summary: &mut Summary,
) -> Vec<Item> {
    let bar = cx.printer.count_bar("Checking", files.len() as u64);
    let mut inspected = stream::iter(files)
        .map(async |file| (file, inspect(file.clone(), settings.clone()).await))
        .buffered(jobs);
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
    jobs: usize,
    registry: &Registry,
    items: Vec<Item>,
    summary: &mut Summary,
) {
    let bar = cx.printer.count_bar("Publishing", items.len() as u64);
    let stopped = AtomicBool::new(false);
    for level in levels(items) {
        let mut outcomes = stream::iter(level)
            .map(|item| publish(cx, registry, item, &stopped, &bar))
            .buffer_unordered(jobs);
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
    if is_there(registry, &item.name, &item.version, &item.archive.digest).await? {
        return Ok(PublishOutcome::AlreadyPublished);
    }
    Ok(registry.publish(&item.archive, Intent::Publish, Arc::new(|_| ())).await?.outcome)
}

/// Whether the registry has a release with these bytes.
pub(super) async fn is_there(
    registry: &Registry,
    name: &PackageName,
    version: &Version,
    digest: &Sha256Digest,
) -> Result<bool, ClientError> {
    let index = registry.index_by_name(name).await?;
    Ok(index.and_then(|index| Some(index.find(version)?.cksum == digest.hex())).unwrap_or(false))
}

/// What is told of something that failed.
pub(super) fn failed(cx: &Context, file: &Path, failure: Failure) -> Failed {
    let file = file.strip_prefix(&cx.cwd).unwrap_or(file).display().to_string();
    match failure {
        Failure::Problems { problems, .. } => Failed {
            problems: problems.into_iter().map(|problem| problem.fact("file", &file)).collect(),
            file,
        },
        other => Failed { file, problems: vec![Problem::new(Code::Internal, format!("{other:?}"))] },
    }
}
