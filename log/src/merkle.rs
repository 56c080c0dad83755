//! The append-only Merkle tree of RFC 6962 section 2.1.
//!
//! Owns the right edge of a growing tree ([`Frontier`]), a whole tree in memory ([`MemoryTree`]), and the making
//! and checking of proofs (submodule `proof`). Does not own tiles, signatures or storage.
//! Invariant: a frontier of size n holds the roots of the complete subtrees that the binary digits of n name,
//! largest first, and nothing else; it determines the root of n and of every larger tree.

mod proof;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::{Hash, empty_root, node_hash};

pub use proof::{
    ProofError, ProveError, inclusion_proof_len, prove_consistency, prove_inclusion, tree_root,
    verify_consistency, verify_inclusion,
};

/// Largest tree size handled, 2^63 - 1: what every other implementation of the formats can read.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// A source of complete subtree roots.
///
/// The subtree at (`level`, `index`) covers the leaves from `index * 2^level` up to, but not including,
/// `(index + 1) * 2^level`. Proof makers ask only for subtrees that are complete in the tree they work on.
pub trait HashReader {
    /// Why a hash could not be had.
    type Error;

    /// The root of the complete subtree at (`level`, `index`).
    fn subtree(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// The roots of the complete subtrees at a tree's right edge, largest first.
///
/// Appending costs two hashes on average, and the root at most 63.
///
/// ```
/// use drystone_log::{Frontier, leaf_hash, node_hash};
///
/// let mut frontier = Frontier::new();
/// frontier.append(leaf_hash(b"a"));
/// frontier.append(leaf_hash(b"b"));
/// assert_eq!(frontier.root(), node_hash(&leaf_hash(b"a"), &leaf_hash(b"b")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FrontierParts", into = "FrontierParts")]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// The stored form of a [`Frontier`], before its rule has been checked.
#[derive(Serialize, Deserialize)]
struct FrontierParts {
    size: u64,
    peaks: Vec<Hash>,
}

/// Why parts do not make a [`Frontier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrontierError {
    /// The number of peaks is not the number of one-bits of the size.
    #[error("a tree of size {size} has {expected} peaks, not {given}")]
    PeakCount {
        /// The size given.
        size: u64,
        /// Peaks that a tree of this size has.
        expected: usize,
        /// Peaks that were given.
        given: usize,
    },
    /// The size is beyond [`SIZE_MAX`].
    #[error("tree size {size} is too large")]
    TooLarge {
        /// The size given.
        size: u64,
    },
}

impl Frontier {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a size and its peaks, largest subtree first.
    ///
    /// Only their number can be checked here; compare [`Frontier::root`] with a root that you trust.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Result<Self, FrontierError> {
        if size > SIZE_MAX {
            return Err(FrontierError::TooLarge { size });
        }
        let expected = size.count_ones() as usize;
        if peaks.len() != expected {
            return Err(FrontierError::PeakCount { size, expected, given: peaks.len() });
        }
        Ok(Self { size, peaks })
    }

    /// Adds one leaf at the right.
    ///
    /// # Panics
    ///
    /// When the tree already has [`SIZE_MAX`] leaves, which no log reaches.
    pub fn append(&mut self, leaf: Hash) {
        assert!(self.size < SIZE_MAX, "a tree cannot have more than 2^63 - 1 leaves");
        let mut right = leaf;
        // Each trailing one-bit of the old size is a subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("there is one peak for each one-bit of the size");
            right = node_hash(&left, &right);
        }
        self.peaks.push(right);
        self.size += 1;
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, largest subtree first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold_peaks(&self.peaks).unwrap_or_else(empty_root)
    }
}

impl TryFrom<FrontierParts> for Frontier {
    type Error = FrontierError;

    fn try_from(parts: FrontierParts) -> Result<Self, FrontierError> {
        Self::from_parts(parts.size, parts.peaks)
    }
}

impl From<Frontier> for FrontierParts {
    fn from(frontier: Frontier) -> Self {
        Self { size: frontier.size, peaks: frontier.peaks }
    }
}

/// Folds subtree roots, largest first, into the root above them; `None` when there are none.
pub(crate) fn fold_peaks(peaks: &[Hash]) -> Option<Hash> {
    let (last, rest) = peaks.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The peaks of the tree over `leaves`, which may be any hashes of equal height, largest first.
pub(crate) fn peaks_of(leaves: &[Hash]) -> Vec<Hash> {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.peaks
}

/// The root of the tree over `leaves`, which may be any hashes of equal height.
pub(crate) fn root_of(leaves: &[Hash]) -> Hash {
    fold_peaks(&peaks_of(leaves)).unwrap_or_else(empty_root)
}

/// A whole tree in memory: every complete subtree, about 64 bytes per leaf.
///
/// For audits, replays and tests; the publish path needs only a [`Frontier`].
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    /// `levels[l][i]` is the complete subtree at (l, i).
    levels: Vec<Vec<Hash>>,
}

/// A subtree was asked for that is not complete in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the tree has no complete subtree {index} at level {level}")]
pub struct NoSuchSubtree {
    /// Height of the subtree.
    pub level: u8,
    /// Its position among the subtrees of that height.
    pub index: u64,
}

impl MemoryTree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one leaf at the right.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            // An even count means that the last two of this row make a complete subtree one level up.
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(&row[row.len() - 2], &row[row.len() - 1]);
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The root of the first `size` leaves; fails when the tree is smaller.
    pub fn root_at(&self, size: u64) -> Result<Hash, NoSuchSubtree> {
        tree_root(size, self)
    }
}

impl HashReader for MemoryTree {
    type Error = NoSuchSubtree;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, NoSuchSubtree> {
        let row = self.levels.get(usize::from(level));
        let hash = usize::try_from(index).ok().and_then(|index| row?.get(index).copied());
        hash.ok_or(NoSuchSubtree { level, index })
    }
}
