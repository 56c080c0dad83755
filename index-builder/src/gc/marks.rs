//! What is needed: every object that an event names, and everything that recent states lead to.
//!
//! Owns reading the log from the first event to head, and walking states. Does not own what is there.
//! Invariant: a mark is never missing: entries that do not hash to head's root, or a current state that cannot be walked,
//! end the collection.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use drystone_log::{
    BundleId, EntryBundle, Frontier, Hash, MidTile, RootTile, Shard,
    commit::{Head, STAGING_BYTES_MAX, SeenHead, Staging},
    leaf_hash,
    state_map::{SHARD_READ_BYTES_MAX, STATE_TILE_BYTES, mid_tile_key, root_tile_key, shard_key},
    tile::entry_bundles,
};
use drystone_schemas::{Event, Sha256Digest};
use drystone_storage::{Area, Clock, Key, Store};
use futures_util::TryStreamExt;

use super::{
    GcClass, GcError, GcOptions,
    judge::{Named, largest_size_with, size_when_full},
};
use crate::{
    concurrent::in_order,
    progress::Progress,
    published::{self, EntriesError, Published, bundle_key, parse_event, read_bundle},
    source::AreaSource,
};

/// Digests that are held at a time.
const LIVE_MAX: u64 = 1 << 20;
/// How often head is read again because it moved.
const TRIES_MAX: usize = 16;

/// Which digests are looked at in one part of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those whose first hexadecimal digit is one of these.
    Digits(RangeInclusive<u8>),
    /// These.
    Only(HashSet<Hash>),
}

impl Scope {
    /// The parts in which a log of this size is collected: as few as memory allows, at most sixteen.
    pub(super) fn parts_of(size: u64) -> Vec<Self> {
        // A release names two objects and has about two recent files.
        let parts = (size.saturating_mul(4) / LIVE_MAX + 1).next_power_of_two().min(16) as u8;
        let width = 16 / parts;
        (0..parts).map(|part| Self::Digits(part * width..=part * width + width - 1)).collect()
    }

    fn has(&self, hash: &Hash) -> bool {
        match self {
            Self::Digits(digits) => digits.contains(&(hash.as_bytes()[0] >> 4)),
            Self::Only(hashes) => hashes.contains(hash),
        }
    }

    /// Whether what is not named by a digest is looked at too.
    pub(super) fn is_first(&self) -> bool {
        matches!(self, Self::Digits(digits) if *digits.start() == 0)
    }

    /// The prefixes below a folder under which everything in scope lies.
    pub(super) fn prefixes(&self, folder: &str) -> Vec<String> {
        match self {
            Self::Digits(digits) if digits.len() == 16 => vec![folder.to_owned()],
            Self::Digits(digits) => digits.clone().map(|digit| format!("{folder}{digit:x}")).collect(),
            Self::Only(_) => Vec::new(),
        }
    }
}

/// Where the log is read from.
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    pub(super) clock: &'a dyn Clock,
    pub(super) progress: &'a dyn Progress,
    source: AreaSource,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a Store, clock: &'a dyn Clock, progress: &'a dyn Progress) -> Self {
        Self { store, clock, progress, source: AreaSource::new(store.public.clone()) }
    }

    pub(super) async fn head(&self) -> Result<SeenHead, GcError> {
        Ok(SeenHead::read(&*self.store.vault, self.clock).await?)
    }

    /// A bundle as head has it: of a commit that is not applied it lies in the staging object.
    async fn bundle(&self, id: BundleId, head: &Head) -> Result<Option<EntryBundle>, GcError> {
        match read_bundle(&self.source, id).await {
            Ok(bundle) => return Ok(Some(bundle)),
            Err(EntriesError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let staged = self.store.vault.get(&Key::new(head.staging.clone())?, STAGING_BYTES_MAX).await?;
        let Some(staged) = staged.filter(|bytes| Sha256Digest::of(bytes) == head.staging_digest) else {
            return Ok(None);
        };
        let key = bundle_key(id);
        let op = Staging::parse(&staged)?.ops.into_iter().find(|op| op.key == key);
        Ok(op.and_then(|op| EntryBundle::decode(id, &op.bytes).ok()))
    }
}

/// What is needed, as of one head.
pub(super) struct Marks {
    pub(super) scope: Scope,
    published: Published,
    history_from_s: u64,
    live: HashSet<Hash>,
    nodes: HashSet<Hash>,
    frontier: Frontier,
    /// The staging object that head names.
    staging: String,
    /// States that are needed and have not been walked.
    states: Vec<Hash>,
    last_state: Option<Hash>,
    /// Number of events when the oldest state that is needed was the current one.
    oldest: Option<u64>,
}

impl Marks {
    /// Reads the log up to head.
    pub(super) async fn read(
        reader: &Reader<'_>,
        scope: Scope,
        options: &GcOptions,
    ) -> Result<Self, GcError> {
        // In this order: the checkpoint can only be older than head.
        let published = published::open(&reader.source, options.key.as_ref()).await?;
        let mut marks = Self {
            scope,
            published,
            history_from_s: reader.clock.now_unix_s().saturating_sub(options.ages.history_s),
            live: HashSet::new(),
            nodes: HashSet::new(),
            frontier: Frontier::new(),
            staging: String::new(),
            states: Vec::new(),
            last_state: None,
            oldest: None,
        };
        for _ in 0..TRIES_MAX {
            let seen = reader.head().await?;
            if marks.extend(reader, &seen).await? {
                return Ok(marks);
            }
        }
        Err(GcError::Contended)
    }

    /// Number of events that were read.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Reads on to this head; `false` if head has moved on and taken what is needed with it: see it again.
    pub(super) async fn extend(&mut self, reader: &Reader<'_>, seen: &SeenHead) -> Result<bool, GcError> {
        let head = &seen.head;
        let published = &self.published;
        if head.origin != published.checkpoint.origin() || head.log_key != published.key.to_string() {
            return Err(GcError::OtherLog { origin: head.origin.clone() });
        }
        let behind = drystone_log::commit::CommitError::HeadBehindLog {
            head: head.size(),
            published: published.checkpoint.size().max(self.size()),
        };
        if head.size() < published.checkpoint.size() || head.size() < self.size() {
            return Err(behind.into());
        }
        let bundles = entry_bundles(self.size(), head.size());
        reader.progress.total(bundles.len() as u64);
        for id in bundles {
            let Some(bundle) = reader.bundle(id, head).await? else {
                return self.moved(reader, seen, bundle_key(id)).await;
            };
            let known = self.size().saturating_sub(id.first_entry()) as usize;
            for (at, line) in bundle.entries().iter().enumerate().skip(known) {
                self.take(line, &parse_event(id, at, line)?);
                let is_published = self.size() == self.published.checkpoint.size();
                if is_published && self.frontier.root() != self.published.checkpoint.root() {
                    return Err(behind.into());
                }
            }
            reader.progress.step(&bundle_key(id));
        }
        if self.frontier.root() != head.root || self.size() != head.size() {
            return Err(GcError::Damaged { key: "log/tile/entries".into() });
        }
        let public = &reader.store.public;
        if let Some(missing) = self.walk(public, head.state).await? {
            return self.moved(reader, seen, missing).await;
        }
        while let Some(state) = self.states.pop() {
            // A state within a batch was never stored, and an old one may have been lost: then nobody can follow it.
            self.walk(public, state).await?;
        }
        self.staging.clone_from(&head.staging);
        Ok(true)
    }

    /// Something is missing that head leads to: no wonder if that is no longer head.
    async fn moved(&self, reader: &Reader<'_>, seen: &SeenHead, missing: String) -> Result<bool, GcError> {
        if reader.head().await?.is(seen) { Err(GcError::Damaged { key: missing }) } else { Ok(false) }
    }

    fn take(&mut self, line: &[u8], event: &Event) {
        let seq = self.size();
        self.frontier.append(leaf_hash(line));
        for digest in event.objects() {
            self.mark(Hash::new(*digest.as_bytes()));
        }
        let state = Hash::new(*event.state.as_bytes());
        // A checkpoint that is still the published one is needed, however old it is.
        if event.time > self.history_from_s || seq >= self.published.checkpoint.size() {
            if self.oldest.is_none() {
                self.oldest = Some(seq);
                self.states.extend(self.last_state);
            }
            self.states.push(state);
            event.files.iter().for_each(|file| self.mark(Hash::new(*file.2.as_bytes())));
        }
        self.last_state = Some(state);
    }

    fn mark(&mut self, hash: Hash) {
        if self.scope.has(&hash) {
            self.live.insert(hash);
        }
    }

    /// Marks the nodes of a state and the files that they name; answers with a node that is missing.
    async fn walk(&mut self, public: &Arc<dyn Area>, root: Hash) -> Result<Option<String>, GcError> {
        if RootTile::is_empty_root(&root) || !self.nodes.insert(root) {
            return Ok(None);
        }
        let key = root_tile_key(&root);
        let Some(root_tile) =
            node(&**public, &key, STATE_TILE_BYTES, |b| RootTile::open(&root, b).ok()).await?
        else {
            self.nodes.remove(&root);
            return Ok(Some(key));
        };
        self.mark(root);
        let mut missing = None;
        for slot in 0..=u8::MAX {
            let mid = root_tile.get(slot);
            if MidTile::is_empty_root(&mid) || !self.nodes.insert(mid) {
                continue;
            }
            let key = mid_tile_key(&mid);
            match node(&**public, &key, STATE_TILE_BYTES, |b| MidTile::open(&mid, b).ok()).await? {
                Some(tile) => {
                    self.mark(mid);
                    missing = self.shards(public, slot, &tile).await?.or(missing);
                }
                None => {
                    self.nodes.remove(&mid);
                    missing = Some(key);
                }
            }
        }
        Ok(missing)
    }

    async fn shards(
        &mut self,
        public: &Arc<dyn Area>,
        slot: u8,
        tile: &MidTile,
    ) -> Result<Option<String>, GcError> {
        let leaves = (0..=u8::MAX).map(|within| (u16::from_be_bytes([slot, within]), tile.get(within)));
        let new: Vec<(u16, Hash)> =
            leaves.filter(|(_, leaf)| !Shard::is_empty_leaf(leaf) && self.nodes.insert(*leaf)).collect();
        let reads = new.into_iter().map(async |(index, leaf)| {
            let open = |bytes: &Bytes| Shard::open(index, &leaf, bytes).ok();
            Ok::<_, GcError>((leaf, node(&**public, &shard_key(&leaf), SHARD_READ_BYTES_MAX, open).await?))
        });
        let mut shards = in_order(reads.collect());
        let mut missing = None;
        while let Some((leaf, shard)) = shards.try_next().await? {
            self.mark(leaf);
            match shard {
                Some(shard) => {
                    let files = shard.entries().flat_map(|(_, entry)| entry.files.values());
                    files.for_each(|file| self.mark(file.digest));
                }
                None => {
                    self.nodes.remove(&leaf);
                    missing = Some(shard_key(&leaf));
                }
            }
        }
        Ok(missing)
    }

    /// The class of a public file, if it is garbage; of a partial tile, as far as sizes tell.
    pub(super) fn garbage(&self, key: &str) -> Option<GcClass> {
        match Named::of(key) {
            Named::Digest(class, hash) if self.scope.has(&hash) && !self.live.contains(&hash) => Some(class),
            Named::Partial(id, _)
                if largest_size_with(id) < self.oldest.unwrap_or(self.size())
                    && size_when_full(id) <= self.published.checkpoint.size() =>
            {
                Some(GcClass::PartialTiles)
            }
            Named::Digest(..) | Named::Partial(..) | Named::Other => None,
        }
    }

    /// Whether a staging object is one that head does not name.
    pub(super) fn is_old_staging(&self, key: &str) -> bool {
        key.starts_with("staging/") && key != self.staging
    }

    /// Whether a file is needed, none if this part of the collection cannot tell.
    pub(super) fn needs(&self, in_vault: bool, key: &str) -> Option<bool> {
        if in_vault {
            return self.scope.is_first().then(|| key == self.staging);
        }
        match Named::of(key) {
            Named::Digest(_, hash) => self.scope.has(&hash).then(|| self.live.contains(&hash)),
            Named::Partial(..) => self.scope.is_first().then(|| self.garbage(key).is_none()),
            Named::Other => self.scope.is_first().then_some(false),
        }
    }
}

/// Reads and opens a node of the state map; none if it is missing or damaged.
async fn node<T>(
    public: &dyn Area,
    key: &str,
    len_max: usize,
    open: impl FnOnce(&Bytes) -> Option<T>,
) -> Result<Option<T>, GcError> {
    let bytes = public.get(&Key::new(key.to_owned())?, len_max as u64).await?;
    Ok(bytes.and_then(|bytes| open(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_digit_once() {
        for (size, parts) in [(0, 1), (250_000, 1), (300_000, 2), (1_000_000, 4), (u64::MAX, 16)] {
            let scopes = Scope::parts_of(size);
            assert_eq!(scopes.len(), parts, "{size}");
            for digit in 0..16_u8 {
                let hash = Hash::new([digit << 4; 32]);
                assert_eq!(scopes.iter().filter(|scope| scope.has(&hash)).count(), 1, "{size} {digit}");
            }
            let prefixes: Vec<String> = scopes.iter().flat_map(|scope| scope.prefixes("o/")).collect();
            assert_eq!(prefixes.len(), if parts == 1 { 1 } else { 16 });
            assert_eq!(scopes.iter().filter(|scope| scope.is_first()).count(), 1);
        }
    }
}
