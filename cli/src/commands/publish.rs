//! `publish`: pack, check, upload, look.

use std::{path::Path, sync::Arc};

use drystone_archive::{can_be_repacked, root_directory};
use drystone_client::{
    ClientError, LocalArchive, Project, Registry, Token,
    ci::{CiSource, CiUpload},
    pack::{Packed, pack_directory},
    project::DEFAULT_MANIFEST,
    publish::{Intent, OnSent, check_archive, expected},
    zig::{Repacked, is_zig_project, pack_zig_directory, repack_archive},
};
use drystone_schemas::{
    AuthorSignatures, Code, Format, Problem, PublishOutcome, PublishResponse, Settings, VersionRecord,
    ZigSnippet,
};

use super::key::signatures;
use crate::{
    args,
    context::Context,
    failure::Failure,
    printer::{count, human_bytes},
};

/// How to publish what Cargo packs.
const CARGO_HINT: &str =
    "run `cargo package`, then `drystone publish --archive target/package/NAME-VERSION.crate`";

pub(super) async fn publish(args: &args::Publish, cx: &Context) -> Result<(), Failure> {
    let dir = args.dir.as_ref().map_or_else(|| cx.cwd.clone(), |dir| cx.path(dir));
    let registry = cx.registry(Project::open(&dir.join(DEFAULT_MANIFEST)).ok().as_ref())?;
    let ci = match registry.token() {
        Ok(_) => None,
        // A CI job without a token may show who it is instead.
        Err(missing) => Some(CiSource::of_env(|name| cx.env.get(name)).ok_or(missing)?),
    };
    let settings = registry.config().await?.settings.clone();
    let prepared = prepare(cx, &dir, args, &settings).await;
    let prepared = prepared.map_err(|failure| failure.noting("nothing was uploaded"))?;
    let registry = match ci {
        None => registry,
        Some(source) => {
            let (record, digest) = (&prepared.record, &prepared.archive.digest);
            let upload = CiUpload { name: &record.name, release: Some((&record.vers, digest)) };
            let secret = registry.exchange(&source, &upload).await?;
            cx.printer.step("Trusted", "as a CI job, for this upload");
            cx.open_as(registry.base(), Some(Token { secret, api: None }))?
        }
    };
    let intent = if args.dry_run { Intent::DryRun } else { Intent::Publish };
    let origin = registry.config().await?.origin.clone();
    let signatures = signatures(cx, &origin, &prepared.record, &args.signing)?;
    let signed = signatures.len();
    let response = upload(cx, &registry, &prepared.archive, signatures, intent).await?;
    if signed > 0 {
        cx.printer.more(&format!("signed with {}", count(signed, "author key")));
    }
    report(cx, &registry, &response).await?;
    if let Some(zig) = &prepared.record.zig {
        let snippet = ZigSnippet::new(&zig.into(), &response.tarball.hex(), &settings.public_url);
        cx.printer.more("to depend on it, add to `.dependencies` in build.zig.zon:");
        snippet.zon.lines().for_each(|line| cx.printer.more(line));
    }
    if cx.printer.is_json() { cx.printer.result(&response, String::new) } else { Ok(()) }
}

/// Packs a directory, or opens an archive, and checks it.
pub(super) async fn prepare(
    cx: &Context,
    dir: &Path,
    args: &args::Publish,
    settings: &Settings,
) -> Result<Prepared, Failure> {
    match &args.archive {
        Some(path) => open(cx, &cx.path(path), args, settings).await,
        None => pack(cx, dir, args, settings).await,
    }
}

/// An archive that passed every check on this side.
pub(super) struct Prepared {
    archive: LocalArchive,
    pub(super) record: VersionRecord,
    /// Keeps the temporary file of a packed directory or archive.
    _packed: Kept,
}

enum Kept {
    Nothing,
    Packed(#[expect(dead_code, reason = "it is there to be dropped")] Box<Packed>),
    Repacked(#[expect(dead_code, reason = "it is there to be dropped")] Repacked),
}

/// The format of a directory: what was asked for, else that of the manifest that is there.
fn format_of(dir: &Path, args: &args::Publish, settings: &Settings) -> Result<Format, Failure> {
    match args.format {
        Some(Format::Cargo) => {
            Err(Problem::new(Code::BadUsage, "a Cargo package is published as an archive")
                .with_hint(CARGO_HINT)
                .into())
        }
        Some(format) => Ok(format),
        None if !dir.join(&settings.generic_manifest).is_file() && is_zig_project(dir) => Ok(Format::Zig),
        None => Ok(Format::Generic),
    }
}

async fn pack(
    cx: &Context,
    dir: &Path,
    args: &args::Publish,
    settings: &Settings,
) -> Result<Prepared, Failure> {
    let format = format_of(dir, args, settings)?;
    let (owned, packing, owner) = (dir.to_owned(), settings.clone(), args.scope.clone());
    let (packed, record) = blocking(move || {
        let packed = match format {
            Format::Zig => pack_zig_directory(&owned, owner.as_deref(), &packing.limits)?,
            _ => pack_directory(&owned, &packing, &packing.limits)?,
        };
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
    Ok(Prepared { archive: packed.archive.clone(), record, _packed: Kept::Packed(Box::new(packed)) })
}

async fn open(
    cx: &Context,
    path: &Path,
    args: &args::Publish,
    settings: &Settings,
) -> Result<Prepared, Failure> {
    let (path, settings) = (path.to_owned(), settings.clone());
    let (format, owner) = (args.format, args.scope.clone());
    let prepared = blocking(move || {
        let archive = LocalArchive { owner, ..LocalArchive::open(&path, format)? };
        match check_archive(&archive, &settings) {
            Err(ClientError::Problems(problems))
                if can_be_repacked(&problems, &expected(&archive), &settings.formats) =>
            {
                let repacked = match repack_archive(&archive, &settings.limits) {
                    // No Zig package at all: what was wrong at first is what is wrong.
                    Err(ClientError::Problems(other)) if other[0].code == Code::ManifestMissing => {
                        return Err(ClientError::Problems(problems));
                    }
                    repacked => repacked?,
                };
                let record = check_archive(&repacked.archive, &settings)?.record;
                Ok(Prepared { archive: repacked.archive.clone(), record, _packed: Kept::Repacked(repacked) })
            }
            checked => Ok(Prepared { archive, record: checked?.record, _packed: Kept::Nothing }),
        }
    })
    .await?;
    if let Kept::Repacked(_) = prepared._packed {
        let root = root_directory(&prepared.record.name, &prepared.record.vers);
        cx.printer.step("Packed", &format!("{} anew, below `{root}/`", release(&prepared.record)));
    }
    Ok(prepared)
}

async fn upload(
    cx: &Context,
    registry: &Registry,
    archive: &LocalArchive,
    signatures: AuthorSignatures,
    intent: Intent,
) -> Result<PublishResponse, Failure> {
    let bar = cx.printer.bytes_bar("Uploading", archive.size);
    let watched = bar.clone();
    let on_sent: OnSent = Arc::new(move |sent| watched.set_position(sent));
    let response = registry.publish_signed(archive, signatures, intent, on_sent).await;
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
            let problems = problems.into_iter().map(|problem| problem.with_hint(CARGO_HINT)).collect();
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
