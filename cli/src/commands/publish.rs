//! `publish`: pack, check, upload, look.

use std::{path::Path, sync::Arc};

use drystone_client::{
    LocalArchive, Project, Registry,
    pack::{Packed, pack_directory},
    project::DEFAULT_MANIFEST,
    publish::{Intent, OnSent, check_archive},
};
use drystone_schemas::{Code, PublishOutcome, PublishResponse, Settings, VersionRecord};

use crate::{
    args,
    context::Context,
    failure::Failure,
    printer::{count, human_bytes},
};

pub(super) async fn publish(args: &args::Publish, cx: &Context) -> Result<(), Failure> {
    let dir = args.dir.as_ref().map_or_else(|| cx.cwd.clone(), |dir| cx.path(dir));
    let registry = cx.registry(Project::open(&dir.join(DEFAULT_MANIFEST)).ok().as_ref())?;
    registry.token()?;
    let settings = registry.config().await?.settings.clone();
    let prepared = match &args.archive {
        Some(path) => open(&cx.path(path), args.format, &settings).await,
        None => pack(cx, &dir, &settings).await,
    };
    let prepared = prepared.map_err(|failure| failure.noting("nothing was uploaded"))?;
    let intent = if args.dry_run { Intent::DryRun } else { Intent::Publish };
    let response = upload(cx, &registry, &prepared.archive, intent).await?;
    report(cx, &registry, &response).await?;
    if cx.printer.is_json() { cx.printer.result(&response, String::new) } else { Ok(()) }
}

/// An archive that passed every check on this side.
struct Prepared {
    archive: LocalArchive,
    /// Keeps the temporary file of a packed directory.
    _packed: Option<Packed>,
}

async fn pack(cx: &Context, dir: &Path, settings: &Settings) -> Result<Prepared, Failure> {
    let (owned, packing) = (dir.to_owned(), settings.clone());
    let (packed, record) = blocking(move || {
        let packed = pack_directory(&owned, &packing, &packing.limits)?;
        let inspected = check_archive(&packed.archive, &packing)?;
        Ok((packed, inspected.record))
    })
    .await
    .map_err(|failure| hint_at_cargo(failure, dir))?;
    let sizes = format!("{} ({} packed)", human_bytes(record.unpacked), human_bytes(packed.archive.size));
    cx.printer
        .step("Packed", &format!("{}   {}, {sizes}", release(&record), count(packed.files.len(), "file")));
    for file in &packed.files {
        cx.printer.detail(&format!("{:>12} {:>10} {}", "", human_bytes(file.size), file.path));
    }
    Ok(Prepared { archive: packed.archive.clone(), _packed: Some(packed) })
}

async fn open(
    path: &Path,
    format: Option<drystone_schemas::Format>,
    settings: &Settings,
) -> Result<Prepared, Failure> {
    let (path, settings) = (path.to_owned(), settings.clone());
    let archive = blocking(move || {
        let archive = LocalArchive::open(&path, format)?;
        check_archive(&archive, &settings)?;
        Ok(archive)
    })
    .await?;
    Ok(Prepared { archive, _packed: None })
}

async fn upload(
    cx: &Context,
    registry: &Registry,
    archive: &LocalArchive,
    intent: Intent,
) -> Result<PublishResponse, Failure> {
    let bar = cx.printer.bytes_bar("Uploading", archive.size);
    let watched = bar.clone();
    let on_sent: OnSent = Arc::new(move |sent| watched.set_position(sent));
    let response = registry.publish(archive, intent, on_sent).await;
    bar.finish_and_clear();
    Ok(response?)
}

async fn report(cx: &Context, registry: &Registry, response: &PublishResponse) -> Result<(), Failure> {
    let release = format!("{} {}", response.name, response.vers);
    for warning in &response.warnings {
        cx.printer.warning(warning);
    }
    let event = response.seq.map_or_else(String::new, |seq| format!(" as event {seq}"));
    match response.outcome {
        PublishOutcome::DryRun => {
            cx.printer.step("Checked", &format!("{release}: it would be accepted; nothing was published"));
            return Ok(());
        }
        PublishOutcome::AlreadyPublished => {
            cx.printer.step("Published", &format!("{release} already{event}, with the same bytes"));
        }
        PublishOutcome::Published => cx.printer.step("Published", &format!("{release}{event}")),
    }
    cx.printer.more(&format!("{} {}", response.tarball, human_bytes(response.size)));
    if registry.shows_release(&response.name, &response.vers, &response.tarball).await? {
        cx.printer.more("visible to installers now");
    } else {
        cx.printer
            .warning("the index does not show the release yet; an edge may hold an older copy for a while");
    }
    Ok(())
}

fn release(record: &VersionRecord) -> String {
    format!("{} {}", record.name, record.vers)
}

/// A directory without our manifest but with Cargo's is packed by Cargo.
fn hint_at_cargo(failure: Failure, dir: &Path) -> Failure {
    match failure {
        Failure::Problems { problems, note }
            if problems.first().is_some_and(|problem| problem.code == Code::ProjectNotFound)
                && dir.join("Cargo.toml").is_file() =>
        {
            let hint =
                "run `cargo package`, then `drystone publish --archive target/package/NAME-VERSION.crate`";
            let problems = problems.into_iter().map(|problem| problem.with_hint(hint)).collect();
            Failure::Problems { problems, note }
        }
        other => other,
    }
}

/// Runs work that blocks where it disturbs nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, drystone_client::ClientError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|e| Failure::new(Code::Internal, e.to_string()))??)
}
