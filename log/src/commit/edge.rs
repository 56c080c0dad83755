//! The right edge of the log: the entries of the last, partial bundle over the complete bundles' roots.
//!
//! It is all that a committer needs to append, to prove its new entries, and to see that a tree of the same bundle
//! extends another, without reading tiles.

use crate::{EntryBundle, Frontier, Hash, HashReader, ProofError, leaf_hash, node_hash, tree_root};

use super::CommitError;

/// Entries in a full bundle, and hashes in a full tile (C2SP tlog-tiles).
const TILE_WIDTH: u64 = 256;

/// The tree from the first leaf of the last bundle on, with the peaks of everything before it.
#[derive(Debug, Clone)]
pub(super) struct RightEdge {
    base: u64,
    base_peaks: Vec<(u8, u64, Hash)>,
    entries: Vec<Vec<u8>>,
    /// `levels[l]` holds the complete subtrees of level `l` that reach into the edge; the first has index `base >> l`.
    levels: Vec<Vec<Hash>>,
}

impl RightEdge {
    /// First leaf of the bundle in which the tree of this size ends; the size itself when its last bundle is full.
    pub(super) fn base_of(size: u64) -> u64 {
        size / TILE_WIDTH * TILE_WIDTH
    }

    /// Builds the edge from a frontier and the entries of its partial bundle, and checks that they agree.
    pub(super) fn new(frontier: &Frontier, entries: Vec<Vec<u8>>) -> Result<Self, CommitError> {
        let base = Self::base_of(frontier.size());
        let mut base_peaks = Vec::new();
        let mut start = 0;
        for peak in frontier.peaks() {
            let level = (63 - (frontier.size() - start).leading_zeros()) as u8;
            if start < base {
                base_peaks.push((level, start >> level, *peak));
            }
            start += 1 << level;
        }
        let mut edge =
            Self { base, base_peaks, entries: Vec::with_capacity(entries.len()), levels: vec![Vec::new()] };
        entries.into_iter().for_each(|entry| edge.push(entry));
        if edge.size() == frontier.size() && edge.root_at(edge.size())? == frontier.root() {
            Ok(edge)
        } else {
            Err(CommitError::Damaged { key: format!("log entries from {base}") })
        }
    }

    /// Number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Root of the tree at an earlier size, if that size lies in the edge.
    pub(super) fn root_at(&self, size: u64) -> Result<Hash, CommitError> {
        tree_root(size, &At { edge: self, size })
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, entry: Vec<u8>) {
        let mut hash = leaf_hash(&entry);
        self.entries.push(entry);
        for level in 0_u8.. {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[usize::from(level)];
            row.push(hash);
            let index = (self.base >> level) + row.len() as u64 - 1;
            if index.is_multiple_of(2) {
                return;
            }
            let left = self
                .subtree_at(level, index - 1)
                .expect("everything left of the edge is in a peak or in the edge");
            hash = node_hash(&left, &hash);
        }
    }

    /// The leaf hashes of the last bundle.
    pub(super) fn leaves(&self) -> &[Hash] {
        &self.levels[0]
    }

    /// The last bundle; none if it is full, and so not in the edge.
    pub(super) fn bundle(&self) -> Option<EntryBundle> {
        EntryBundle::new(self.entries.clone()).ok()
    }

    /// The edge of the same tree without the bundles that are full: what the next commit starts from.
    pub(super) fn trimmed(mut self, frontier: &Frontier) -> Result<Self, CommitError> {
        let full = (Self::base_of(frontier.size()) - self.base) as usize;
        // Within one bundle the edge is what it would be made into again, from the same hashes.
        if full == 0 && self.size() == frontier.size() && self.root_at(self.size())? == frontier.root() {
            return Ok(self);
        }
        Self::new(frontier, self.entries.split_off(full))
    }

    fn subtree_at(&self, level: u8, index: u64) -> Result<Hash, CommitError> {
        if let Some((_, _, hash)) = self.base_peaks.iter().find(|(l, i, _)| (*l, *i) == (level, index)) {
            return Ok(*hash);
        }
        let row = self.levels.get(usize::from(level));
        let hash = index.checked_sub(self.base >> level).and_then(|i| row?.get(i as usize));
        hash.copied()
            .ok_or_else(|| CommitError::Damaged { key: format!("subtree {level}/{index} of the log") })
    }
}

impl HashReader for RightEdge {
    type Error = CommitError;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, CommitError> {
        self.subtree_at(level, index)
    }
}

/// The edge cut at an earlier size.
struct At<'a> {
    edge: &'a RightEdge,
    size: u64,
}

impl HashReader for At<'_> {
    type Error = CommitError;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, CommitError> {
        if (index + 1) << level > self.size {
            return Err(ProofError::IndexOutOfRange { index: index << level, size: self.size }.into());
        }
        self.edge.subtree_at(level, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{prove_inclusion, verify_inclusion};

    fn entry(i: u64) -> Vec<u8> {
        format!("entry {i}\n").into_bytes()
    }

    /// Grows a log in batches and compares with the frontier, whose hashing is tested on its own.
    #[test]
    fn roots_and_proofs_across_bundle_borders() {
        let mut frontier = Frontier::new();
        let mut edge = RightEdge::new(&frontier, vec![]).unwrap();
        for batch in [1_u64, 254, 1, 1, 3, 252, 256, 300, 513, 2] {
            let before = frontier.clone();
            let start = frontier.size();
            for i in start..start + batch {
                frontier.append(leaf_hash(&entry(i)));
                edge.push(entry(i));
            }
            assert_eq!(edge.root_at(frontier.size()).unwrap(), frontier.root());
            assert_eq!(edge.root_at(start).unwrap(), before.root());
            for i in [start, frontier.size() - 1] {
                let proof = prove_inclusion(i, frontier.size(), &edge).unwrap();
                verify_inclusion(&leaf_hash(&entry(i)), i, frontier.size(), &proof, &frontier.root())
                    .unwrap();
            }
            edge = edge.trimmed(&frontier).unwrap();
            assert_eq!(edge.base, RightEdge::base_of(frontier.size()));
        }
    }

    #[test]
    fn entries_that_do_not_belong_are_noticed() {
        let mut frontier = Frontier::new();
        frontier.append(leaf_hash(&entry(0)));
        assert!(RightEdge::new(&frontier, vec![entry(1)]).is_err());
        assert!(RightEdge::new(&frontier, vec![]).is_err());
    }
}
