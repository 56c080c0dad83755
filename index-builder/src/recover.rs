//! Recover: makes head anew from what is published, after it was lost or restored from a backup.
//!
//! Owns: deciding whether head may be made, and removing what unpublished commits have left, since nothing of theirs is
//! or will be in the log. Does not own restoring public files from a backup; that comes before.
//! Invariant: nothing that was ever signed is given up: the newest signed checkpoint in the store is the one that head
//! is made from. Head is written last, so that nobody commits before everything else is in order.

use bytes::Bytes;
use drystone_log::{
    BundleId, TileId, VerifierKey,
    commit::{CommitError, Gc, Head, Staging},
};
use drystone_schemas::{Sha256Digest, canonical_json, file_seq, layout};
use drystone_storage::{
    Area, Body, Entropy, InvalidKey, Key, Meta, NewObject, Outcome, Replace, Store, StoreError, Tag,
};
use serde::Deserialize;

use crate::{
    outline::Outline,
    progress::Progress,
    published::{self, Published},
    rebuild::{BY_NAME_BYTES_MAX, FilesAhead, HEAD_BYTES_MAX, RebuildError, RebuildReport, write_all},
    replay::ReplayError,
    source::AreaSource,
};

/// Longest outcome of an intent, or count of a quota, that is read, in bytes.
const PRIVATE_BYTES_MAX: u64 = 1 << 20;

/// How to recover.
#[derive(Debug, Clone)]
pub struct RecoverOptions {
    /// The log's key; without it, the key that the log names in its own genesis event.
    pub key: Option<VerifierKey>,
    /// The time, in seconds since 1970: tokens made before it are void afterwards.
    pub now_unix_s: u64,
}

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverReport {
    /// Number of events that head now has.
    pub size: u64,
    /// Files of unpublished commits that were removed; those of the vault start with `vault/`.
    pub removed: Vec<String>,
    /// Projections that were written, those of unpublished commits among them.
    pub rebuilt: RebuildReport,
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Head is there and agrees with what is published, or is ahead of it: there is nothing to recover.
    #[error("head is in order: it has {head} events, {published} are published")]
    HeadInOrder {
        /// Size of head.
        head: u64,
        /// Size of the newest signed checkpoint.
        published: u64,
    },
    /// Head is that of another log: the vault and the public area do not belong together.
    #[error("head is that of the log `{origin}`")]
    OtherLog {
        /// Its origin.
        origin: String,
    },
    /// A newer version of the software wrote head.
    #[error("head cannot be read by this version: {0}")]
    HeadUnknown(String),
    /// The published log cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// What follows from it cannot be written.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Somebody else has written head meanwhile.
    #[error("head has been written by somebody else")]
    Contended,
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug: a key of ours is not a key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

/// Makes head from the newest signed checkpoint, and puts the store into the state that it describes.
///
/// Writers refuse to work as long as head is missing or behind, so this has the store to itself. It can be repeated
/// after any failure.
pub async fn recover(
    store: &Store,
    options: &RecoverOptions,
    entropy: &dyn Entropy,
    progress: &dyn Progress,
) -> Result<RecoverReport, RecoverError> {
    let source = AreaSource::new(store.public.clone());
    let published = newest_signed(store, &source, options.key.as_ref()).await?;
    let head = store.vault.read(&Key::new(layout::HEAD)?, HEAD_BYTES_MAX).await?;
    if let Some(file) = &head {
        refuse_good_head(&file.bytes, &published)?;
    }

    let outline = Outline::read(&source, published, progress).await?;
    let size = outline.size();
    let mut removed = remove_tiles(&*store.public, size).await?;
    removed.extend(remove_outcomes(&*store.vault, size).await?);
    lower_quotas(&*store.vault, size).await?;
    let rebuilt = write_all(store, &outline, FilesAhead::Replace, false, progress).await?;
    removed.extend(remove_strays(&*store.public, size).await?);
    publish(&*store.public, &outline.published).await?;

    let head_tag = head.map(|file| file.tag);
    write_head(&*store.vault, head_tag.as_ref(), &outline, options.now_unix_s, entropy).await?;
    Ok(RecoverReport { size, removed, rebuilt })
}

/// The largest checkpoint that is signed: the published one, or one whose writer died before it was.
async fn newest_signed(
    store: &Store,
    source: &AreaSource,
    key: Option<&VerifierKey>,
) -> Result<Published, RecoverError> {
    let proved = published::open_from_proof(source, key).await.ok();
    let mut best = match (published::open(source, key).await, proved) {
        (Ok(published), Some(proved)) if proved.checkpoint.size() > published.checkpoint.size() => proved,
        (Ok(published), _) => published,
        // A damaged checkpoint is no reason to forget what was signed.
        (Err(_), Some(proved)) => proved,
        (Err(error), None) => return Err(ReplayError::from(error).into()),
    };
    for key_text in list(&*store.public, "log/checkpoints/").await? {
        let size = key_text.as_str().rsplit('/').next().and_then(|size| size.parse::<u64>().ok());
        if size.is_some_and(|size| size > best.checkpoint.size())
            && let Ok(signed) = published::open_at(source, key_text.as_str(), key).await
        {
            best = signed;
        }
    }
    Ok(best)
}

/// Refuses if head could go on as it is.
fn refuse_good_head(bytes: &[u8], published: &Published) -> Result<(), RecoverError> {
    let head = match Head::parse(bytes) {
        Ok(head) => head,
        Err(error @ CommitError::UpgradeRequired(_)) => {
            return Err(RecoverError::HeadUnknown(error.to_string()));
        }
        Err(_) => return Ok(()),
    };
    let checkpoint = &published.checkpoint;
    if head.origin != checkpoint.origin() || head.log_key != published.key.to_string() {
        return Err(RecoverError::OtherLog { origin: head.origin });
    }
    let in_order = head.size() > checkpoint.size()
        || (head.size() == checkpoint.size() && head.root == checkpoint.root());
    if in_order {
        return Err(RecoverError::HeadInOrder { head: head.size(), published: checkpoint.size() });
    }
    Ok(())
}

async fn list(area: &dyn Area, prefix: &str) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = area.list(prefix, after.as_deref()).await?;
        keys.extend(page.keys);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(keys),
        }
    }
}

/// Removes tiles and bundles beyond the size: the next commit will need their names for other bytes.
async fn remove_tiles(public: &dyn Area, size: u64) -> Result<Vec<String>, RecoverError> {
    let mut removed = Vec::new();
    for key in list(public, "log/tile/").await? {
        let Some(path) = key.as_str().strip_prefix("log/") else { continue };
        let id = BundleId::parse(path).map(|id| id.tile()).or_else(|_| TileId::parse(path));
        let Ok(id) = id else { continue };
        let leaves = (id.index() * 256 + u64::from(id.width())) << (8 * u32::from(id.level()));
        if leaves > size {
            public.delete(&key).await?;
            removed.push(key.to_string());
        }
    }
    Ok(removed)
}

/// Removes outcomes of intents whose events are not in the log, so that they can be tried again.
async fn remove_outcomes(vault: &dyn Area, size: u64) -> Result<Vec<String>, RecoverError> {
    #[derive(Deserialize)]
    struct Outcome {
        seq: u64,
    }
    let mut removed = Vec::new();
    for key in list(vault, "done/").await? {
        let bytes = vault.get(&key, PRIVATE_BYTES_MAX).await?;
        let outcome = bytes.and_then(|bytes| serde_json::from_slice::<Outcome>(&bytes).ok());
        if outcome.is_some_and(|outcome| outcome.seq >= size) {
            vault.delete(&key).await?;
            removed.push(format!("vault/{key}"));
        }
    }
    Ok(removed)
}

/// Brings counts of quotas back to positions that the log has, so that later events can change them.
///
/// The counts stay: they may be too high by what was never published, which an operator can see and set right.
async fn lower_quotas(vault: &dyn Area, size: u64) -> Result<(), RecoverError> {
    for key in list(vault, "quota/").await? {
        let Some(file) = vault.read(&key, PRIVATE_BYTES_MAX).await? else { continue };
        let Ok(mut quota) = serde_json::from_slice::<serde_json::Value>(&file.bytes) else { continue };
        if quota["seq"].as_u64().is_some_and(|seq| seq >= size) {
            quota["seq"] = size.saturating_sub(1).into();
            swap(vault, &key, Some(&file.tag), canonical_json(&quota).into(), Meta::PRIVATE).await?;
        }
    }
    Ok(())
}

/// Removes by-name files that only unpublished commits knew, such as those of a new package. Every other one has just been
/// written, and has a position that the log has.
async fn remove_strays(public: &dyn Area, size: u64) -> Result<Vec<String>, RecoverError> {
    let mut removed = Vec::new();
    for prefix in ["index/", "resolve/", "packages/", "keys/", "aliases/", layout::API] {
        for key in list(public, prefix).await? {
            let bytes = public.get(&key, BY_NAME_BYTES_MAX).await?;
            if bytes.and_then(|bytes| file_seq(key.as_str(), &bytes)).is_some_and(|seq| seq >= size) {
                public.delete(&key).await?;
                removed.push(key.to_string());
            }
        }
    }
    Ok(removed)
}

/// Publishes the checkpoint, if it was signed and its writer died before that.
async fn publish(public: &dyn Area, published: &Published) -> Result<(), RecoverError> {
    let key = Key::new(layout::CHECKPOINT)?;
    let present = public.read(&key, u64::MAX).await?;
    if present.as_ref().is_some_and(|file| file.bytes == published.bytes) {
        return Ok(());
    }
    let (class, content_type) = layout::headers(layout::CHECKPOINT);
    let meta = Meta { content_type, cache_control: class.cache_control() };
    let seen = present.map(|file| file.tag);
    swap(public, &key, seen.as_ref(), published.bytes.clone(), meta).await
}

/// Writes head, and the staging object that it must name: of a commit that is applied already.
async fn write_head(
    vault: &dyn Area,
    seen: Option<&Tag>,
    outline: &Outline,
    now_unix_s: u64,
    entropy: &dyn Entropy,
) -> Result<(), RecoverError> {
    let checkpoint = &outline.published.checkpoint;
    let (size, state) = (checkpoint.size(), outline.replica.state());
    let mut nonce = [0; 16];
    entropy.fill(&mut nonce);
    let nonce = hex::encode(nonce);
    let commit = format!("recovered-{size}-{nonce}");
    let config = outline.replica.config().expect("a log that was read begins with its genesis");
    let staging = Staging { size, last_entry: outline.last_entry.clone().into(), ops: Vec::new() }.to_bytes();
    let head = Head {
        v: 1,
        origin: checkpoint.origin().to_owned(),
        log_key: outline.published.key.to_string(),
        frontier: outline.tree.frontier().clone(),
        root: checkpoint.root(),
        state: state.root(),
        root_tile: state.root_tile().clone(),
        time: outline.replica.time(),
        config: config.digest,
        config_seq: config.seq,
        staging: layout::staging(&commit),
        staging_digest: Sha256Digest::of(&staging),
        commit,
        nonce,
        auth_epoch: now_unix_s,
        // Larger than any count of collections, so that every object put before the loss is put again.
        gc: Gc { n: now_unix_s, ..Gc::default() },
    };
    let body = Body::Bytes(staging.into());
    let object = NewObject { key: Key::new(head.staging.clone())?, body, meta: Meta::PRIVATE };
    match vault.put_new(&object).await? {
        Outcome::Created | Outcome::AlreadyThereSame => {}
        Outcome::AlreadyThereDifferent => return Err(RecoverError::Contended),
    }
    swap(vault, &Key::new(layout::HEAD)?, seen, head.to_bytes().into(), Meta::PRIVATE).await
}

/// Replaces a pointer that nobody else may be writing.
async fn swap(
    area: &dyn Area,
    key: &Key,
    seen: Option<&Tag>,
    bytes: Bytes,
    meta: Meta,
) -> Result<(), RecoverError> {
    match area.replace(key, seen, bytes.clone(), meta).await? {
        Replace::Replaced(_) => Ok(()),
        Replace::Conflict | Replace::Unknown(_) => {
            let present = area.read(key, u64::MAX).await?;
            if present.is_some_and(|file| file.bytes == bytes) {
                Ok(())
            } else {
                Err(RecoverError::Contended)
            }
        }
    }
}
