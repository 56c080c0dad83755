//! Rebuild: writes every projection of the published log that is missing or different, and nothing else.
//!
//! Owns: which files follow from a replayed log, and the order of writes: objects, state nodes, tiles, then by-name
//! files, so that a reader never finds a name before what it leads to. Does not own entries, records and archives,
//! which are the truth and cannot be rebuilt.
//! Invariant: a by-name file of a commit that is under way, beyond the published size, is never replaced.

use bytes::Bytes;
use drystone_log::{
    HashReader, Note, SignedCheckpoint, TileId, TlogProof, VerifierKey,
    commit::Head,
    merkle::NoSuchSubtree,
    note::NOTE_BYTES_MAX,
    proof_file::PROOF_BYTES_MAX,
    prove_inclusion,
    tile::{new_tiles, tile_bytes},
};
use drystone_schemas::{FileClass, ResolveHint, Sha256Digest, file_seq, layout};
use drystone_storage::{
    Area, Body, InvalidKey, Key, Meta, NewObject, Outcome, Replace, Store, StoreError, Versioned,
};
use futures_util::TryStreamExt;

use crate::{
    concurrent::in_order,
    progress::Progress,
    published::Published,
    replay::{Replay, ReplayError, replay},
    source::AreaSource,
};

mod hints;

pub use hints::refresh_hints;

/// Longest by-name file that is read, in bytes, as in the commit protocol.
pub(crate) const BY_NAME_BYTES_MAX: u64 = 64 << 20;
/// Longest head that is read, in bytes.
pub(crate) const HEAD_BYTES_MAX: u64 = 1 << 20;
/// How often a write is tried whose outcome is unknown, or that lost a race.
const TRIES_MAX: usize = 8;

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

/// Replays the published log of a store and writes what is missing or different.
pub async fn rebuild(
    store: &Store,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let source = AreaSource::new(store.public.clone());
    let replay = replay(&source, options.key.as_ref(), progress, &mut |_| {}).await?;
    write_all(store, &replay, FilesAhead::KeepIfCommitted, options.dry_run, progress).await
}

/// What to do with by-name files that carry a position beyond the published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilesAhead {
    /// Leave them, if a commit may have written them.
    KeepIfCommitted,
    /// Replace them: whoever wrote them is not in the log and never will be.
    Replace,
}

/// Writes what follows from a replayed log.
pub(crate) async fn write_all(
    store: &Store,
    replay: &Replay,
    ahead: FilesAhead,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let size = replay.published.checkpoint.size();
    let mut work = Rebuild { store, ahead, dry_run, size, progress, report: RebuildReport::new(size) };

    let files: Vec<_> = replay.replica.files().collect();
    let objects = files.iter().filter(|file| file.class.is_kept_by_hash()).map(|file| {
        (layout::object(&Sha256Digest::of(&file.bytes)), file.bytes.clone(), object_meta(file.class))
    });
    work.objects(objects.collect()).await?;
    let nodes = replay.replica.state().changed_nodes();
    work.objects(nodes.into_iter().map(with_meta).collect()).await?;
    let tiles = new_tiles(0, size).into_iter().map(|id| with_meta((tile_key(id), tile_of(replay, id))));
    work.objects(tiles.collect()).await?;
    work.history(replay).await?;
    work.trust(replay).await?;

    let mut by_name: Vec<_> = files.into_iter().map(|file| (file.key, file.bytes)).collect();
    by_name.extend(replay.replica.plain_files().into_iter().flatten());
    work.by_name(by_name).await?;
    work.latest_proof(replay).await?;
    Ok(work.report)
}

impl RebuildReport {
    fn new(size: u64) -> Self {
        Self { size, checked: 0, written: Vec::new(), ahead: Vec::new() }
    }
}

/// The storage key of a tile.
pub(crate) fn tile_key(id: TileId) -> String {
    format!("log/{id}")
}

/// The bytes of a tile, from the tree that was replayed.
pub(crate) fn tile_of(replay: &Replay, id: TileId) -> Vec<u8> {
    let hash = |i: u64| replay.tree.subtree(8 * id.level(), id.index() * 256 + i);
    let hashes: Result<Vec<_>, NoSuchSubtree> = (0..u64::from(id.width())).map(hash).collect();
    tile_bytes(&hashes.expect("the tiles of a tree's own size hold only its complete subtrees"))
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

/// What became of one file.
enum Done {
    Right,
    Written(String),
    Ahead(String),
}

struct Rebuild<'a> {
    store: &'a Store,
    ahead: FilesAhead,
    dry_run: bool,
    size: u64,
    progress: &'a dyn Progress,
    report: RebuildReport,
}

impl Rebuild<'_> {
    fn note(&mut self, done: Done) {
        self.report.checked += 1;
        match done {
            Done::Right => {}
            Done::Written(key) => self.report.written.push(key),
            Done::Ahead(key) => self.report.ahead.push(key),
        }
    }

    /// Brings immutable files to what they must be.
    async fn objects(&mut self, files: Vec<(String, Vec<u8>, Meta)>) -> Result<(), RebuildError> {
        self.progress.total(files.len() as u64);
        let (public, dry_run, progress) = (&*self.store.public, self.dry_run, self.progress);
        let each = files.into_iter().map(|(key, bytes, meta)| async move {
            let done = put(public, &key, bytes.into(), meta, dry_run).await?;
            progress.step(&key);
            Ok::<_, RebuildError>(done)
        });
        let done: Vec<Done> = in_order(each.collect()).try_collect().await?;
        done.into_iter().for_each(|done| self.note(done));
        Ok(())
    }

    /// Brings by-name files to what they must be.
    async fn by_name(&mut self, files: Vec<(String, Vec<u8>)>) -> Result<(), RebuildError> {
        self.progress.total(files.len() as u64);
        let (store, size, dry_run, progress) = (self.store, self.size, self.dry_run, self.progress);
        let may_keep = self.ahead == FilesAhead::KeepIfCommitted;
        let each = files.into_iter().map(|(key, bytes)| async move {
            let keep = if may_keep { Keep::Ahead { store, size } } else { Keep::Nothing };
            let done = replace(&*store.public, &key, bytes.into(), dry_run, &keep).await?;
            progress.step(&key);
            Ok::<_, RebuildError>(done)
        });
        let done: Vec<Done> = in_order(each.collect()).try_collect().await?;
        done.into_iter().for_each(|done| self.note(done));
        Ok(())
    }

    /// The checkpoint's own place in the history. One with other cosignatures is as good.
    async fn history(&mut self, replay: &Replay) -> Result<(), RebuildError> {
        let published = &replay.published;
        let key = layout::checkpoint_history(self.size);
        let present = get(&*self.store.public, &key, NOTE_BYTES_MAX as u64).await?;
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
            put(&*self.store.public, &key, bytes.into(), meta, self.dry_run).await?
        };
        self.note(done);
        Ok(())
    }

    /// The documents of the root of trust, from their objects. One whose object is gone stays as it is: `fsck` tells.
    async fn trust(&mut self, replay: &Replay) -> Result<(), RebuildError> {
        let mut files = Vec::new();
        for (version, digest) in (1..).zip(replay.replica.trust()) {
            let object = get(&*self.store.public, &layout::object(digest), NOTE_BYTES_MAX as u64).await?;
            if let Some(bytes) = object.filter(|bytes| Sha256Digest::of(bytes) == *digest) {
                files.push(with_meta((layout::trust(version), bytes.to_vec())));
            }
        }
        self.objects(files).await
    }

    /// The proof file, if it is missing or proves nothing. One of an earlier size is valid, and waits for cosignatures.
    async fn latest_proof(&mut self, replay: &Replay) -> Result<(), RebuildError> {
        let Some(last) = self.size.checked_sub(1) else { return Ok(()) };
        let published = &replay.published;
        let hashes = prove_inclusion(last, self.size, &replay.tree)
            .expect("the tree was replayed up to this size, so that every subtree is there");
        let made = TlogProof {
            extra: Some(replay.last_entry.clone()),
            index: last,
            hashes,
            checkpoint: published.bytes.to_vec(),
        };
        let keep = Keep::Proof { published };
        let bytes = made.encode().into();
        match replace(&*self.store.public, layout::LATEST_PROOF, bytes, self.dry_run, &keep).await? {
            Done::Ahead(_) => self.note(Done::Right),
            done => self.note(done),
        }
        Ok(())
    }
}

/// Whether a commit that is not published yet may have written a file with this position: head says so, or is gone.
async fn commit_may_have(store: &Store, seq: u64) -> Result<bool, RebuildError> {
    let head = store.vault.read(&Key::new(layout::HEAD)?, HEAD_BYTES_MAX).await?;
    let head = head.and_then(|file| Head::parse(&file.bytes).ok());
    Ok(head.is_none_or(|head| head.size() > seq))
}

/// Reads a file; one that is longer than it can be reads as empty.
async fn get(area: &dyn Area, key: &str, len_max: u64) -> Result<Option<Bytes>, RebuildError> {
    match area.get(&Key::new(key)?, len_max).await {
        Err(StoreError::TooLong { .. }) => Ok(Some(Bytes::new())),
        other => Ok(other?),
    }
}

/// Brings one immutable file to what it must be. Damaged bytes are deleted first, since nothing may replace them.
async fn put(
    area: &dyn Area,
    key: &str,
    bytes: Bytes,
    meta: Meta,
    dry_run: bool,
) -> Result<Done, RebuildError> {
    match get(area, key, bytes.len() as u64).await? {
        Some(present) if present == bytes => return Ok(Done::Right),
        Some(_) if !dry_run => area.delete(&Key::new(key)?).await?,
        _ => {}
    }
    if dry_run {
        return Ok(Done::Written(key.to_owned()));
    }
    let object = NewObject { key: Key::new(key)?, body: Body::Bytes(bytes), meta };
    for _ in 0..TRIES_MAX {
        match area.put_new(&object).await {
            Ok(Outcome::Created | Outcome::AlreadyThereSame) => return Ok(Done::Written(key.to_owned())),
            Ok(Outcome::AlreadyThereDifferent) | Err(StoreError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RebuildError::Contended { key: key.to_owned() })
}

/// Which files with other bytes than expected may stay.
enum Keep<'a> {
    /// None.
    Nothing,
    /// Those that a commit beyond the published size may have written.
    Ahead { store: &'a Store, size: u64 },
    /// Any proof file that holds.
    Proof { published: &'a Published },
    /// A hint that says the same, or is of a later event.
    Hint(&'a ResolveHint),
}

impl Keep<'_> {
    async fn allows(&self, key: &str, present: &[u8]) -> Result<bool, RebuildError> {
        match self {
            Self::Nothing => Ok(false),
            Self::Ahead { store, size } => match file_seq(key, present) {
                Some(seq) if seq >= *size => commit_may_have(store, seq).await,
                _ => Ok(false),
            },
            Self::Proof { published } => Ok(TlogProof::decode(present).is_ok_and(|proof| {
                let entry = proof.extra.as_deref().unwrap_or_default();
                proof.verify(entry, &published.key, published.checkpoint.origin()).is_ok()
            })),
            Self::Hint(hint) => Ok(ResolveHint::parse(present)
                .is_ok_and(|there| there.seq > hint.seq || there.says_the_same(hint))),
        }
    }
}

/// Brings one mutable file to what it must be, unless what is there may stay.
async fn replace(
    area: &dyn Area,
    key: &str,
    bytes: Bytes,
    dry_run: bool,
    keep: &Keep<'_>,
) -> Result<Done, RebuildError> {
    let parsed = Key::new(key)?;
    for _ in 0..TRIES_MAX {
        let present: Option<Versioned> =
            area.read(&parsed, BY_NAME_BYTES_MAX.max(PROOF_BYTES_MAX as u64)).await?;
        if let Some(present) = &present {
            if present.bytes == bytes {
                return Ok(Done::Right);
            }
            if keep.allows(key, &present.bytes).await? {
                return Ok(Done::Ahead(key.to_owned()));
            }
        }
        if dry_run {
            return Ok(Done::Written(key.to_owned()));
        }
        let seen = present.map(|file| file.tag);
        if let Replace::Replaced(_) =
            area.replace(&parsed, seen.as_ref(), bytes.clone(), meta_of(key)).await?
        {
            return Ok(Done::Written(key.to_owned()));
        }
    }
    Err(RebuildError::Contended { key: key.to_owned() })
}
