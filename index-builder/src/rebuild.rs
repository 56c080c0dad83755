//! Rebuild: writes every projection of the published log that is missing or different, and nothing else.
//!
//! Owns: which files follow from a log, and the order of writes: for a few packages at a time their objects, then their
//! by-name files; then state nodes and tiles, and the proof last, so that a reader never finds a name before what it
//! leads to. Does not own entries, records and archives, which are the truth and cannot be rebuilt.
//! Invariant: a by-name file of a commit that is under way, beyond the published size, is never replaced; memory holds the
//! state map and some packages, whatever the registry has.

use std::collections::BTreeMap;

use drystone_log::{
    Note, SignedCheckpoint, TlogProof, VerifierKey, note::NOTE_BYTES_MAX, prove_inclusion, tile::tile_bytes,
};
use drystone_schemas::{Event, FileClass, Settings, Sha256Digest, VaisPackage, layout};
use drystone_storage::{InvalidKey, Meta, Store, StoreError};
use futures_util::TryStreamExt;

use crate::{
    concurrent::two_in_order,
    growing::Growing,
    outline::Outline,
    progress::Progress,
    project::{project_config, vais_index_file},
    published::{self, bundle_key, tile_key},
    replay::ReplayError,
    source::AreaSource,
};

mod hints;
mod write;

pub use hints::refresh_hints;
use write::{Done, Keep, Writing, get, put, replace};

/// Longest by-name file that is read, in bytes, as in the commit protocol.
pub(crate) const BY_NAME_BYTES_MAX: u64 = 64 << 20;
/// Longest head that is read, in bytes.
pub(crate) const HEAD_BYTES_MAX: u64 = 1 << 20;

/// Nodes and tiles that are held at once, at up to 8 KiB each.
const AT_ONCE: usize = 1024;

/// How to rebuild.
#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// The log's key; without it, the key that the log names in its own genesis event.
    pub key: Option<VerifierKey>,
    /// Only tell what would be written.
    pub dry_run: bool,
}

/// What a rebuild found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// Number of events in the published log.
    pub size: u64,
    /// Files compared with what they must be.
    pub checked: u64,
    /// Keys that were written, or would be, in that order.
    pub written: Vec<String>,
    /// By-name files left alone because a commit beyond the published size may have written them.
    pub ahead: Vec<String>,
}

/// Why a rebuild stopped. What was written until then is right, and a second run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else keeps changing a file.
    #[error("`{key}` is being written by somebody else")]
    Contended {
        /// Which.
        key: String,
    },
    /// A name in the log does not make a storage key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

/// Reads the published log of a store and writes what is missing or different.
///
/// Files are compared with the state after the last event; what an event said of them in between is not looked at, which is
/// for [`audit`](crate::audit) and [`fsck`](crate::fsck).
pub async fn rebuild(
    store: &Store,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let outline = read_outline(store, options, progress).await?;
    write_all(store, &outline, FilesAhead::KeepIfCommitted, options.dry_run, progress).await
}

async fn read_outline(
    store: &Store,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<Outline, RebuildError> {
    let source = AreaSource::new(store.public.clone());
    let published = published::open(&source, options.key.as_ref()).await.map_err(ReplayError::from)?;
    Ok(Outline::read(&source, published, progress).await?)
}

/// What to do with by-name files that carry a position beyond the published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilesAhead {
    /// Leave them, if a commit may have written them.
    KeepIfCommitted,
    /// Replace them: whoever wrote them is not in the log and never will be.
    Replace,
}

/// Writes what follows from a log.
pub(crate) async fn write_all(
    store: &Store,
    outline: &Outline,
    ahead: FilesAhead,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let mut work = Rebuild::new(store, outline, ahead, dry_run, progress);
    work.packages().await?;
    work.nodes().await?;
    work.tiles().await?;
    work.history().await?;
    work.trust().await?;
    work.latest_proof().await?;
    Ok(work.report)
}

/// HTTP metadata of a public key.
fn meta_of(key: &str) -> Meta {
    let (class, content_type) = layout::headers(key);
    Meta { content_type, cache_control: class.cache_control() }
}

/// HTTP metadata of a state-mapped file under its hash, which does not tell what it is.
fn object_meta(class: FileClass) -> Meta {
    let content_type = if class == FileClass::Index { layout::TEXT } else { layout::JSON };
    Meta { content_type, cache_control: layout::CacheClass::Immutable.cache_control() }
}

fn with_meta((key, bytes): (String, Vec<u8>)) -> (String, Vec<u8>, Meta) {
    let meta = meta_of(&key);
    (key, bytes, meta)
}

struct Rebuild<'a> {
    writing: Writing<'a>,
    source: AreaSource,
    outline: &'a Outline,
    progress: &'a dyn Progress,
    report: RebuildReport,
}

/// What became of a part of the packages.
struct PartDone {
    files: Vec<Done>,
    vais: BTreeMap<String, VaisPackage>,
}

impl<'a> Rebuild<'a> {
    fn new(
        store: &'a Store,
        outline: &'a Outline,
        ahead: FilesAhead,
        dry_run: bool,
        progress: &'a dyn Progress,
    ) -> Self {
        let size = outline.size();
        let keeps_ahead = ahead == FilesAhead::KeepIfCommitted;
        Self {
            writing: Writing { store, size, keeps_ahead, dry_run },
            source: AreaSource::new(store.public.clone()),
            outline,
            progress,
            report: RebuildReport { size, checked: 0, written: Vec::new(), ahead: Vec::new() },
        }
    }

    fn note(&mut self, done: impl IntoIterator<Item = Done>) {
        for done in done {
            self.report.checked += 1;
            match done {
                Done::Right => {}
                Done::Written(key) => self.report.written.push(key),
                Done::Ahead(key) => self.report.ahead.push(key),
            }
        }
    }

    /// The files of all packages, and those of the registry as such.
    async fn packages(&mut self) -> Result<(), RebuildError> {
        let outline = self.outline;
        let config = outline.replica.config();
        let settings = config.and_then(|config| config.settings.as_ref());
        let mut vais = BTreeMap::new();
        let (writing, source) = (self.writing, self.source.clone());
        self.progress.total(outline.parts());
        for reading in 0..outline.readings() {
            let parts = outline.events(&source, reading).await?;
            let each = parts.into_iter().map(|events| part(outline, &source, writing, settings, events));
            let mut parts = two_in_order(each.collect());
            while let Some(done) = parts.try_next().await? {
                self.note(done.files);
                vais.extend(done.vais);
                self.progress.step("packages");
            }
        }
        let mut files = Vec::new();
        if let (Some(identity), Some(config), Some(settings)) = (outline.replica.identity(), config, settings)
        {
            files = project_config(config.seq, &identity.origin, &identity.log_key, settings);
        }
        files.extend(vais_index_file(&vais));
        let done = self.writing.by_name(files).await?;
        self.note(done);
        Ok(())
    }

    /// The nodes of the state map.
    async fn nodes(&mut self) -> Result<(), RebuildError> {
        let nodes = self.outline.replica.state().changed_nodes();
        self.progress.total(nodes.len() as u64);
        let mut nodes = nodes.into_iter().map(with_meta).peekable();
        while nodes.peek().is_some() {
            let done = self.writing.objects(nodes.by_ref().take(AT_ONCE).collect()).await?;
            done.iter().for_each(|_| self.progress.step("log/state"));
            self.note(done);
        }
        Ok(())
    }

    /// The tiles, from the entries.
    async fn tiles(&mut self) -> Result<(), RebuildError> {
        let outline = self.outline;
        let mut tree = Growing::new();
        let mut bundles = outline.bundles(&self.source);
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        while let Some((id, bundle)) = bundles.try_next().await? {
            let tiles = tree
                .grow(&bundle.leaf_hashes(), 0, outline.size())
                .expect("the last bundle of a log is the only partial one");
            waiting
                .extend(tiles.into_iter().map(|(id, hashes)| with_meta((tile_key(id), tile_bytes(&hashes)))));
            if waiting.len() >= AT_ONCE {
                done.extend(self.writing.objects(std::mem::take(&mut waiting)).await?);
            }
            self.progress.step(&bundle_key(id));
        }
        drop(bundles);
        done.extend(self.writing.objects(waiting).await?);
        self.note(done);
        Ok(())
    }

    /// The checkpoint's own place in the history. One with other cosignatures is as good.
    async fn history(&mut self) -> Result<(), RebuildError> {
        let published = &self.outline.published;
        let public = &*self.writing.store.public;
        let key = layout::checkpoint_history(self.outline.size());
        let present = get(public, &key, NOTE_BYTES_MAX as u64).await?;
        let good = present.is_some_and(|bytes| {
            let opened = SignedCheckpoint::open(&bytes, &published.key, published.checkpoint.origin());
            opened.is_ok_and(|signed| *signed.checkpoint() == published.checkpoint)
        });
        let done = if good {
            Done::Right
        } else {
            let meta = meta_of(&key);
            // As it is published there: without the cosignatures, which are made again and again.
            let note = Note::parse(&published.bytes).expect("it was opened as a checkpoint");
            let bytes = note.signed_only_by(&published.key).to_bytes();
            put(public, &key, bytes.into(), meta, self.writing.dry_run).await?
        };
        self.note([done]);
        Ok(())
    }

    /// The documents of the root of trust, from their objects. One whose object is gone stays as it is: `fsck` tells.
    async fn trust(&mut self) -> Result<(), RebuildError> {
        let mut files = Vec::new();
        for (version, digest) in (1..).zip(self.outline.replica.trust()) {
            let object = layout::object(digest);
            let object = get(&*self.writing.store.public, &object, NOTE_BYTES_MAX as u64).await?;
            if let Some(bytes) = object.filter(|bytes| Sha256Digest::of(bytes) == *digest) {
                files.push(with_meta((layout::trust(version), bytes.to_vec())));
            }
        }
        let done = self.writing.objects(files).await?;
        self.note(done);
        Ok(())
    }

    /// The proof file, if it is missing or proves nothing. One of an earlier size is valid, and waits for cosignatures.
    async fn latest_proof(&mut self) -> Result<(), RebuildError> {
        let size = self.outline.size();
        let Some(last) = size.checked_sub(1) else { return Ok(()) };
        let Ok(hashes) = prove_inclusion(last, size, &self.outline.edge) else {
            unreachable!(
                "the last tiles of a tree hold every subtree that its newest entry's proof is made of"
            );
        };
        let published = &self.outline.published;
        let made = TlogProof {
            extra: Some(self.outline.last_entry.clone()),
            index: last,
            hashes,
            checkpoint: published.bytes.to_vec(),
        };
        let (public, dry_run) = (&*self.writing.store.public, self.writing.dry_run);
        let keep = Keep::Proof { published };
        let done = replace(public, layout::LATEST_PROOF, made.encode().into(), dry_run, &keep).await?;
        self.note([done.unless_ahead()]);
        Ok(())
    }
}

/// The files of some packages: what they need by hash first, then what leads there.
async fn part(
    outline: &Outline,
    source: &AreaSource,
    writing: Writing<'_>,
    settings: Option<&Settings>,
    events: Vec<Event>,
) -> Result<PartDone, RebuildError> {
    let part = outline.part(source, events).await?;
    let objects = part.files.iter().filter(|file| file.class.is_kept_by_hash()).map(|file| {
        (layout::object(&Sha256Digest::of(&file.bytes)), file.bytes.clone(), object_meta(file.class))
    });
    let mut files = writing.objects(objects.collect()).await?;
    let plain = settings.map(|settings| part.replica.plain_files_of_packages(settings)).unwrap_or_default();
    let vais = settings.map(|settings| part.replica.vais_packages(settings)).unwrap_or_default();
    let mut by_name: Vec<_> = part.files.into_iter().map(|file| (file.key, file.bytes)).collect();
    by_name.extend(plain);
    files.extend(writing.by_name(by_name).await?);
    Ok(PartDone { files, vais })
}
