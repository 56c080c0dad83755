//! The log's own files: checkpoint, proof, history, tiles and entry bundles.

use std::collections::BTreeMap;

use drystone_log::{
    BundleId, Hash, SignedCheckpoint, TileId, TlogProof,
    note::NOTE_BYTES_MAX,
    proof_file::PROOF_BYTES_MAX,
    tile::{AuthenticatedTiles, authenticate_tiles, entry_bundles, new_tiles, parse_tile},
    tree_root,
};
use drystone_schemas::layout;
use futures_util::StreamExt;

use super::{
    Check, FsckProblem, ProblemKind,
    tree::{Verdict, judge},
    unreadable,
};
use crate::{
    concurrent::in_order,
    published::{self, EntriesError, Published, PublishedError, bundle_key, read_bundle, tile_key},
};

/// What is known of the log after its files were checked.
pub(crate) struct Log {
    pub(crate) published: Published,
    /// Every tile whose right content is known; none if the right edge does not lead to the root.
    pub(super) tiles: Option<AuthenticatedTiles>,
    /// The bundles in order, and whether their entries are those that were signed.
    pub(super) bundles: Vec<(BundleId, Verdict)>,
    /// Roots at earlier sizes that are known without tiles.
    roots: BTreeMap<u64, Hash>,
}

impl Log {
    /// A log whose tiles and entries were checked one after the other, and are not held.
    pub(crate) fn with_roots(published: Published, roots: BTreeMap<u64, Hash>) -> Self {
        Self { published, tiles: None, bundles: Vec::new(), roots }
    }

    pub(crate) fn size(&self) -> u64 {
        self.published.checkpoint.size()
    }

    /// The root at an earlier size, if the tiles tell it.
    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        if size == self.size() {
            return Some(self.published.checkpoint.root());
        }
        self.roots.get(&size).copied().or_else(|| tree_root(size, self.tiles.as_ref()?).ok())
    }
}

impl Check<'_> {
    /// The published checkpoint; if it is damaged, the one in the proof file, so that the check can go on.
    pub(super) async fn checkpoint(&mut self) -> Option<Published> {
        self.seen.insert(layout::CHECKPOINT.into());
        self.counts.log_files += 1;
        let key = self.options.key.as_ref();
        let error = match published::open(self.source, key).await {
            Ok(published) => return Some(published),
            Err(error) => error,
        };
        match &error {
            PublishedError::NoCheckpoint => {
                self.problem(layout::CHECKPOINT, ProblemKind::Missing, "without it nothing is published");
            }
            PublishedError::Checkpoint(inner) => {
                self.problem(layout::CHECKPOINT, ProblemKind::Damaged, inner)
            }
            PublishedError::NoKey => self.problem(layout::CHECKPOINT, ProblemKind::Unchecked, &error),
            PublishedError::Source(inner) => self.take(Some(unreadable(layout::CHECKPOINT, inner))),
        }
        let spare = published::open_from_proof(self.source, key).await.ok();
        if spare.is_none() {
            self.problem("log", ProblemKind::Unchecked, "no good checkpoint tells what the files must be");
        }
        spare
    }

    /// Tiles, bundles, proof and history of the published size.
    pub(super) async fn log(&mut self, published: Published) -> Log {
        let (size, root) = (published.checkpoint.size(), published.checkpoint.root());
        let stored = self.read_tiles(size).await;
        let leaves = self.read_leaves(size).await;
        let judgement = judge(size, &root, &stored, &leaves);
        for (id, verdict) in judgement.tiles {
            self.verdict(tile_key(id), stored.contains_key(&id), verdict);
        }
        for (id, verdict) in &judgement.bundles {
            self.verdict(bundle_key(*id), leaves.contains_key(id), *verdict);
        }
        let tiles = authenticate_tiles(size, &root, &judgement.good).ok();
        let log = Log { published, tiles, bundles: judgement.bundles, roots: BTreeMap::new() };
        self.proof(&log).await;
        self.seen.insert(layout::checkpoint_history(size));
        let history = self.history(&log, size).await;
        self.take(history);
        log
    }

    /// A file that could not be read has been named already.
    fn verdict(&mut self, key: String, was_read: bool, verdict: Verdict) {
        match verdict {
            Verdict::Damaged if was_read => {
                self.problem(key, ProblemKind::Damaged, "it does not lead to the root in the checkpoint");
            }
            Verdict::Unknown if was_read => {
                self.problem(key, ProblemKind::Unchecked, "the tiles above it do not lead to the root");
            }
            _ => {}
        }
    }

    async fn read_tiles(&mut self, size: u64) -> BTreeMap<TileId, Vec<Hash>> {
        let (source, progress) = (self.source, self.progress);
        let ids = new_tiles(0, size);
        progress.total(ids.len() as u64);
        let each = ids.into_iter().map(|id| async move {
            let key = tile_key(id);
            let len = u64::from(id.width()) * 32;
            let problem = |kind, detail: String| Err(FsckProblem { key: key.clone(), kind, detail });
            let read = match source.get(&key, len).await {
                Ok(Some(bytes)) => {
                    parse_tile(id, &bytes).or_else(|error| problem(ProblemKind::Damaged, error.to_string()))
                }
                Ok(None) => problem(ProblemKind::Missing, "a tree of this size has it".into()),
                Err(error) => Err(unreadable(&key, &error)),
            };
            progress.step(&key);
            (id, key, read)
        });
        let read: Vec<_> = in_order(each.collect()).collect().await;
        let mut tiles = BTreeMap::new();
        for (id, key, hashes) in read {
            self.counts.log_files += 1;
            self.seen.insert(key);
            match hashes {
                Ok(hashes) => _ = tiles.insert(id, hashes),
                Err(problem) => self.take(Some(problem)),
            }
        }
        tiles
    }

    async fn read_leaves(&mut self, size: u64) -> BTreeMap<BundleId, Vec<Hash>> {
        let (source, progress) = (self.source, self.progress);
        let ids = entry_bundles(0, size);
        progress.total(ids.len() as u64);
        let each = ids.into_iter().map(|id| async move {
            let leaves = read_bundle(source, id).await.map(|bundle| bundle.leaf_hashes());
            progress.step(&bundle_key(id));
            (id, leaves)
        });
        let read: Vec<_> = in_order(each.collect()).collect().await;
        let mut leaves = BTreeMap::new();
        for (id, hashes) in read {
            self.counts.log_files += 1;
            self.seen.insert(bundle_key(id));
            match hashes {
                Ok(hashes) => _ = leaves.insert(id, hashes),
                Err(error) => self.bad_bundle(id, &error),
            }
        }
        leaves
    }

    /// Names a bundle that cannot be used.
    pub(crate) fn bad_bundle(&mut self, id: BundleId, error: &EntriesError) {
        let key = bundle_key(id);
        match error {
            EntriesError::Missing { .. } => {
                self.problem(key, ProblemKind::Missing, "a log of this size has it")
            }
            EntriesError::Malformed { error, .. } => self.problem(key, ProblemKind::Damaged, error),
            EntriesError::Event { entry, error, .. } => {
                self.problem(key, ProblemKind::Contradiction, format!("entry {entry}: {error}"));
            }
            EntriesError::Source(error) => self.take(Some(unreadable(&key, error))),
        }
    }

    /// The proof file may be older than the checkpoint, while cosignatures are waited for, or newer for a moment.
    pub(crate) async fn proof(&mut self, log: &Log) {
        let key = layout::LATEST_PROOF;
        self.seen.insert(key.into());
        self.counts.log_files += 1;
        let bytes = match self.source.get(key, PROOF_BYTES_MAX as u64).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) if log.size() == 0 => return,
            Ok(None) => return self.problem(key, ProblemKind::Missing, "it proves the newest event"),
            Err(error) => return self.take(Some(unreadable(key, &error))),
        };
        let (origin, log_key) = (log.published.checkpoint.origin(), &log.published.key);
        let verified = TlogProof::decode(&bytes).and_then(|proof| {
            let signed = proof.verify(proof.extra.as_deref().unwrap_or_default(), log_key, origin)?;
            Ok((proof.index, signed.checkpoint().clone()))
        });
        match verified {
            Err(error) => self.problem(key, ProblemKind::Damaged, error),
            Ok((index, checkpoint)) if index + 1 != checkpoint.size() => {
                self.problem(
                    key,
                    ProblemKind::Damaged,
                    "it does not prove the newest event of its checkpoint",
                );
            }
            Ok((_, checkpoint)) if checkpoint.size() > log.size() => {}
            Ok((_, checkpoint)) => match log.root_at(checkpoint.size()) {
                Some(root) if root == checkpoint.root() => {}
                Some(_) => {
                    self.problem(key, ProblemKind::Contradiction, "its checkpoint is not of this log's tree")
                }
                None => {
                    self.problem(key, ProblemKind::Unchecked, "the tiles do not tell the root of its size")
                }
            },
        }
    }

    /// The checkpoint in the history of a size.
    pub(crate) async fn history(&mut self, log: &Log, size: u64) -> Option<FsckProblem> {
        let key = layout::checkpoint_history(size);
        self.counts.log_files += 1;
        let bytes = match self.source.get(&key, NOTE_BYTES_MAX as u64).await {
            Ok(bytes) => bytes,
            Err(error) => return Some(unreadable(&key, &error)),
        };
        let (kind, detail) = match bytes {
            None => (ProblemKind::Missing, "this size was published".to_owned()),
            Some(bytes) => {
                let origin = log.published.checkpoint.origin();
                match SignedCheckpoint::open(&bytes, &log.published.key, origin)
                    .as_ref()
                    .map(SignedCheckpoint::checkpoint)
                {
                    Err(error) => (ProblemKind::Damaged, error.to_string()),
                    Ok(checkpoint) if checkpoint.size() != size => {
                        (ProblemKind::Damaged, format!("it is the checkpoint of size {}", checkpoint.size()))
                    }
                    Ok(checkpoint) => match log.root_at(size) {
                        Some(root) if root == checkpoint.root() => return None,
                        Some(_) => {
                            (ProblemKind::Contradiction, "its root is not of this log's tree".to_owned())
                        }
                        None => {
                            (ProblemKind::Unchecked, "the tiles do not tell the root of its size".to_owned())
                        }
                    },
                }
            }
        };
        Some(FsckProblem { key, kind, detail })
    }
}
