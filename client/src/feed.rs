//! The log as a feed: what changed since the last look, told by the events themselves.
//!
//! Owns what is remembered of a registry's files at one size of its log, and how events move it on. Does not own the
//! proof of what it begins with, nor of the checkpoint that it is moved on to.
//! Invariant: what is remembered at a size was proved at that size, or follows from events that are in the tree: the
//! right edge of the tree remembered, with every later event appended, has the root of the new checkpoint. So events,
//! and that the log continues, are proved at once, without a tile.

use std::collections::BTreeMap;

use bytes::Bytes;
use drystone_log::{
    BundleId, Checkpoint, EntryBundle, FileRef, Frontier, Hash, ShardEntry, TlogProof, leaf_hash, node_hash,
    tile::TILE_WIDTH,
};
use drystone_schemas::Sha256Digest;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{ClientError, Registry, http};

/// What it is called in the cache of a registry.
const KEY: &str = "feed.json";
/// Version of what is remembered; another one counts as nothing.
const FORMAT: u32 = 1;
/// Format of events that is understood.
const EVENT_FORMAT: u32 = 1;
/// Most events that are read to catch up: more than 16 bundles cost more than the state map does.
const EVENTS_MAX: u64 = 16 * TILE_WIDTH as u64;
/// Longest entry bundle, in bytes: 256 entries of the format's largest size.
const BUNDLE_BYTES_MAX: u64 = 256 * (64 << 10);
/// Bundles fetched at once.
const PARALLEL: usize = 16;

/// What is known of a registry's files at one size of its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Feed {
    v: u32,
    origin: String,
    frontier: Frontier,
    /// By canonical name; `None` for what is proved not to exist.
    known: BTreeMap<String, Option<Known>>,
}

/// The newest files of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    seq: u64,
    files: BTreeMap<char, (Sha256Digest, u64)>,
}

/// Why events do not move a feed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FeedError {
    /// The events do not lead from the tree that was seen to the one that is signed.
    #[error("the events from {from} to {to} do not lead to the root of the checkpoint")]
    OtherTree {
        /// Size that was seen.
        from: u64,
        /// Size that is signed.
        to: u64,
    },
    /// An event that this program cannot read; others may.
    #[error("event {seq} cannot be read")]
    Unreadable {
        /// Its position.
        seq: u64,
    },
}

/// The part of an event that says which files are other ones now, whatever its kind.
#[derive(Deserialize)]
struct Change {
    v: u32,
    seq: u64,
    #[serde(default)]
    files: Vec<(char, String, Sha256Digest, u64)>,
}

impl Feed {
    /// A feed that knows nothing but the tree, from a proof of its last entry that has been verified.
    ///
    /// All siblings of the last leaf are at its left: first those inside the last complete subtree, then the roots of
    /// the others, the smallest first (RFC 6962, section 2.1.1).
    pub(crate) fn begin(checkpoint: &Checkpoint, last_entry: &[u8], proof: &TlogProof) -> Option<Self> {
        let size = checkpoint.size();
        let within = usize::try_from(size.trailing_zeros()).ok()?;
        let (inner, outer) = proof.hashes.split_at_checked(within)?;
        let peak = inner.iter().fold(leaf_hash(last_entry), |right, left| node_hash(left, &right));
        let peaks: Vec<Hash> = outer.iter().rev().copied().chain([peak]).collect();
        let frontier = Frontier::from_parts(size, peaks).ok()?;
        let fits = frontier.root() == checkpoint.root();
        fits.then(|| Self {
            v: FORMAT,
            origin: checkpoint.origin().to_owned(),
            frontier,
            known: BTreeMap::new(),
        })
    }

    /// What was remembered of a log; nothing, if that is damaged or of another one.
    pub(crate) fn recall(registry: &Registry, origin: &str) -> Option<Self> {
        let feed: Self = serde_json::from_slice(&registry.cached(KEY)?).ok()?;
        (feed.v == FORMAT && feed.origin == origin).then_some(feed)
    }

    /// Remembers it for the next look.
    pub(crate) fn remember(&self, registry: &Registry) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec(self).map_err(|e| ClientError::Internal(e.to_string()))?;
        registry.keep(KEY, bytes.into())
    }

    /// Size of the log that it is about.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root of the log at that size.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// What is known of a canonical name; the outer `None` says that nothing is.
    pub(crate) fn get(&self, key: &str) -> Option<Option<ShardEntry>> {
        let known = self.known.get(key)?;
        Some(known.as_ref().map(|known| {
            let file = |(letter, (digest, len)): (&char, &(Sha256Digest, u64))| {
                (*letter, FileRef { digest: Hash::new(*digest.as_bytes()), len: *len })
            };
            ShardEntry { seq: known.seq, files: known.files.iter().map(file).collect() }
        }))
    }

    /// Learns what was proved of a name at this size.
    pub(crate) fn learn(&mut self, key: &str, entry: Option<&ShardEntry>) {
        let known = entry.map(|entry| {
            let file = |(letter, file): (&char, &FileRef)| {
                (*letter, (Sha256Digest::from_bytes(file.digest.into()), file.len))
            };
            Known { seq: entry.seq, files: entry.files.iter().map(file).collect() }
        });
        self.known.insert(key.to_owned(), known);
    }

    /// Moves on to a checkpoint by every event in between; pure.
    pub(crate) fn advance(mut self, entries: &[Vec<u8>], to: &Checkpoint) -> Result<Self, FeedError> {
        let from = self.size();
        for entry in entries {
            self.frontier.append(leaf_hash(entry));
        }
        if self.frontier.size() != to.size() || self.frontier.root() != to.root() {
            return Err(FeedError::OtherTree { from, to: to.size() });
        }
        for (seq, entry) in (from..).zip(entries) {
            let change: Change = serde_json::from_slice(entry).map_err(|_| FeedError::Unreadable { seq })?;
            if change.v != EVENT_FORMAT || change.seq != seq {
                return Err(FeedError::Unreadable { seq });
            }
            for (letter, name, digest, len) in change.files {
                if let Some(known) = self.known.get_mut(&name) {
                    let known = known.get_or_insert_with(|| Known { seq, files: BTreeMap::new() });
                    known.seq = seq;
                    known.files.insert(letter, (digest, len));
                }
            }
        }
        Ok(self)
    }

    /// Reads the events up to a checkpoint and moves on; one request for each 256 of them, and none for one event that
    /// is at hand already. `None` where beginning anew is cheaper, or nothing can be made of the events.
    ///
    /// # Errors
    ///
    /// [`FeedError::OtherTree`] as a proof that failed: the caller says what that means.
    pub(crate) async fn catch_up(
        self,
        registry: &Registry,
        to: &Checkpoint,
        last_entry: &[u8],
    ) -> Result<Option<Result<Self, FeedError>>, ClientError> {
        let (from, size) = (self.size(), to.size());
        if size < from || size - from > EVENTS_MAX {
            return Ok(None);
        }
        let entries = match size - from {
            0 => Vec::new(),
            1 => vec![last_entry.to_vec()],
            _ => match entries(registry, from, size).await? {
                Some(entries) => entries,
                None => return Ok(None),
            },
        };
        Ok(match self.advance(&entries, to) {
            Err(FeedError::Unreadable { .. }) => None,
            other => Some(other),
        })
    }
}

/// The entries from one position up to another; nothing vouches for them yet. `None` if some are not served.
async fn entries(registry: &Registry, from: u64, to: u64) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
    let width = u64::from(TILE_WIDTH);
    let bundles: Vec<Option<Vec<Vec<u8>>>> = stream::iter(from / width..=(to - 1) / width)
        .map(|index| bundle(registry, index, (to - index * width).min(width)))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let Some(bundles) = bundles.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let skipped = usize::try_from(from % width).unwrap_or(usize::MAX);
    Ok(Some(bundles.into_iter().flatten().skip(skipped).collect()))
}

/// The first entries of one bundle. Once a bundle is full, its partial forms may be deleted.
async fn bundle(registry: &Registry, index: u64, count: u64) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
    let count = u16::try_from(count).unwrap_or(TILE_WIDTH);
    for width in [count, TILE_WIDTH] {
        let Ok(id) = BundleId::new(index, width) else { return Ok(None) };
        let Some(bytes) = read(registry, &format!("log/{}", id.path())).await? else { continue };
        let entries = EntryBundle::decode(id, &bytes).ok().map(EntryBundle::into_entries);
        return Ok(entries.map(|entries| entries.into_iter().take(usize::from(count)).collect()));
    }
    Ok(None)
}

async fn read(registry: &Registry, key: &str) -> Result<Option<Bytes>, ClientError> {
    let url = registry.url(key);
    let answer = registry.read(&url, None, BUNDLE_BYTES_MAX).await?;
    match answer.status.as_u16() {
        200 => Ok(Some(answer.body)),
        404 => Ok(None),
        _ => Err(http::status_error(&url, answer.status)),
    }
}

#[cfg(test)]
mod tests {
    use drystone_log::{MemoryTree, prove_inclusion};

    use super::*;

    const ORIGIN: &str = "r.example/log";

    fn event(seq: u64, files: &str) -> Vec<u8> {
        format!("{{\"files\":[{files}],\"kind\":\"whatever\",\"seq\":{seq},\"v\":1}}").into_bytes()
    }

    fn file(letter: char, name: &str, text: &str) -> String {
        format!("[\"{letter}\",\"{name}\",\"{}\",{}]", Sha256Digest::of(text.as_bytes()), text.len())
    }

    /// A log with these entries: the checkpoint at a size, and the proof of its last entry.
    fn at(entries: &[Vec<u8>], size: u64) -> (Checkpoint, TlogProof) {
        let mut tree = MemoryTree::new();
        entries.iter().for_each(|entry| tree.append(leaf_hash(entry)));
        let checkpoint = Checkpoint::new(ORIGIN, size, tree.root_at(size).unwrap()).unwrap();
        let hashes = prove_inclusion(size - 1, size, &tree).unwrap();
        (checkpoint, TlogProof { extra: None, index: size - 1, hashes, checkpoint: vec![] })
    }

    #[test]
    fn the_right_edge_follows_from_the_proof_of_the_last_entry() {
        let entries: Vec<Vec<u8>> = (0..300).map(|seq| event(seq, "")).collect();
        for size in 1..=300 {
            let (checkpoint, proof) = at(&entries, size);
            let last = &entries[size as usize - 1];
            let feed = Feed::begin(&checkpoint, last, &proof).unwrap();
            assert_eq!((feed.size(), feed.root()), (size, checkpoint.root()), "{size}");
            assert_eq!(Feed::begin(&checkpoint, b"other", &proof), None);
        }
    }

    #[test]
    fn events_move_on_what_is_known_and_nothing_else() {
        let entries = [
            event(0, ""),
            event(1, &file('i', "a", "one")),
            event(2, &format!("{},{}", file('i', "b", "one"), file('i', "c", "one"))),
            event(3, &format!("{},{}", file('i', "a", "two"), file('d', "a", "document"))),
        ];
        let (old, proof) = at(&entries, 2);
        let mut feed = Feed::begin(&old, &entries[1], &proof).unwrap();
        let digest = |text: &str| Hash::new(*Sha256Digest::of(text.as_bytes()).as_bytes());
        let entry = ShardEntry {
            seq: 1,
            files: [('i', FileRef { digest: digest("one"), len: 3 })].into_iter().collect(),
        };
        feed.learn("a", Some(&entry));
        feed.learn("b", None);
        assert_eq!((feed.get("a"), feed.get("b"), feed.get("c")), (Some(Some(entry)), Some(None), None));
        let (new, _) = at(&entries, 4);
        let moved = feed.clone().advance(&entries[2..], &new).unwrap();
        let a = moved.get("a").unwrap().unwrap();
        assert_eq!((a.seq, a.files[&'i'].digest, a.files[&'d'].len), (3, digest("two"), 8));
        assert_eq!(moved.get("b").unwrap().unwrap().seq, 2);
        assert_eq!((moved.get("c"), moved.size()), (None, 4));
        let kept: Feed = serde_json::from_slice(&serde_json::to_vec(&moved).unwrap()).unwrap();
        assert_eq!(kept, moved);

        // One event left out, changed, or put in another place: the root is another one.
        let other_tree = Err(FeedError::OtherTree { from: 2, to: 4 });
        assert_eq!(feed.clone().advance(&entries[3..], &new), other_tree);
        assert_eq!(feed.clone().advance(&[entries[3].clone(), entries[2].clone()], &new), other_tree);
        assert_eq!(feed.clone().advance(&[entries[2].clone(), event(3, "")], &new), other_tree);
        // An event of a later format is in the tree, and says nothing to this program.
        let later = [entries[0].clone(), entries[1].clone(), b"{\"v\":2,\"seq\":2}".to_vec()];
        assert_eq!(feed.advance(&later[2..], &at(&later, 3).0), Err(FeedError::Unreadable { seq: 2 }));
    }
}
