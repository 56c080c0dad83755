//! Inclusion and consistency proofs: made as RFC 6962 section 2.1.1 and 2.1.2 define them, checked with a fixed
//! number of steps.
//!
//! Owns no hashes: makers take them from a [`HashReader`], checkers from the proof. Everything is a loop over at
//! most 63 levels.
//! Invariant: a checker accepts exactly one proof for given sizes, index and roots (up to SHA-256 collisions);
//! its length is known before any hash is computed.

use thiserror::Error;

use super::{HashReader, SIZE_MAX, fold_peaks};
use crate::hash::{Hash, empty_root, node_hash};

/// Why a proof was refused, or cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The leaf lies outside the tree.
    #[error("leaf {index} is not in a tree of size {size}")]
    IndexOutOfRange {
        /// Position of the leaf.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of size {old} cannot grow into one of size {new}")]
    SizesReversed {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// The size is beyond [`SIZE_MAX`].
    #[error("tree size {size} is too large")]
    SizeTooLarge {
        /// The size given.
        size: u64,
    },
    /// The proof has another number of hashes than these positions need.
    #[error("the proof has {given} hashes where {expected} are needed")]
    WrongLength {
        /// Hashes needed.
        expected: usize,
        /// Hashes given.
        given: usize,
    },
    /// The proof leads to another root: the leaf, the proof or the root is not genuine.
    #[error("the proof does not lead to the root of the tree of size {size}")]
    RootMismatch {
        /// Size of the tree whose root was missed.
        size: u64,
    },
}

/// Why a proof could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProveError<E> {
    /// There is no proof for these positions.
    #[error(transparent)]
    Position(#[from] ProofError),
    /// The reader failed.
    #[error("a hash of the tree could not be read")]
    Read(#[source] E),
}

/// Checks that `leaf` is at position `index` in the tree of `size` leaves with this `root`.
///
/// `leaf` is a leaf hash, `proof` starts at the leaf's sibling (RFC 6962 section 2.1.1).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    let expected = inclusion_proof_len(index, size)?;
    if proof.len() != expected {
        return Err(ProofError::WrongLength { expected, given: proof.len() });
    }
    let (below, beside) = proof.split_at(inner_len(index, size));
    let hash = chain_border(chain_inner(*leaf, below, index), beside);
    if hash == *root { Ok(()) } else { Err(ProofError::RootMismatch { size }) }
}

/// Checks that the tree of `old_size` leaves is a prefix of the tree of `new_size` leaves.
///
/// From the empty tree, and between equal sizes, the proof is empty (RFC 6962 section 2.1.2).
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    check_sizes(old_size, new_size)?;
    let expected_len = |expected: usize| match proof.len() {
        given if given == expected => Ok(()),
        given => Err(ProofError::WrongLength { expected, given }),
    };
    if old_size == 0 {
        expected_len(0)?;
        let empty = *old_root == empty_root() && (new_size > 0 || *new_root == empty_root());
        return if empty { Ok(()) } else { Err(ProofError::RootMismatch { size: 0 }) };
    }
    if old_size == new_size {
        expected_len(0)?;
        return if old_root == new_root { Ok(()) } else { Err(ProofError::RootMismatch { size: new_size }) };
    }

    // Both roots are rebuilt from the largest complete subtree that ends at the old size. Where the old tree is
    // complete, this subtree is the old tree and its root need not be in the proof.
    let last = old_size - 1;
    let shift = old_size.trailing_zeros();
    let inner = inner_len(last, new_size) - shift as usize;
    let border = border_len(last, new_size);
    let complete = old_size.is_power_of_two();
    expected_len(usize::from(!complete) + inner + border)?;
    let (seed, rest) = if complete { (*old_root, proof) } else { (proof[0], &proof[1..]) };
    let (below, beside) = rest.split_at(inner);
    let path = last >> shift;
    if chain_border(chain_inner_left(seed, below, path), beside) != *old_root {
        return Err(ProofError::RootMismatch { size: old_size });
    }
    if chain_border(chain_inner(seed, below, path), beside) != *new_root {
        return Err(ProofError::RootMismatch { size: new_size });
    }
    Ok(())
}

/// Number of hashes in the inclusion proof of leaf `index` in a tree of `size` leaves, at most 63.
pub fn inclusion_proof_len(index: u64, size: u64) -> Result<usize, ProofError> {
    if size > SIZE_MAX {
        return Err(ProofError::SizeTooLarge { size });
    }
    if index >= size {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    Ok(inner_len(index, size) + border_len(index, size))
}

/// Makes the inclusion proof of leaf `index` in the tree of `size` leaves, the leaf's sibling first.
///
/// Fails when there is no such leaf, or when the reader fails.
pub fn prove_inclusion<R: HashReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    inclusion_proof_len(index, size)?;
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = split(start, end);
        if index < middle {
            proof.push(range_root(middle, end, reader).map_err(ProveError::Read)?);
            end = middle;
        } else {
            proof.push(range_root(start, middle, reader).map_err(ProveError::Read)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Makes the proof that the tree of `old_size` leaves is a prefix of the tree of `new_size` leaves.
///
/// Fails when the sizes are reversed, or when the reader fails.
pub fn prove_consistency<R: HashReader>(
    old_size: u64,
    new_size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    check_sizes(old_size, new_size)?;
    if old_size == 0 || old_size == new_size {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new_size);
    let mut proof = Vec::new();
    while end != old_size {
        let middle = split(start, end);
        if old_size <= middle {
            proof.push(range_root(middle, end, reader).map_err(ProveError::Read)?);
            end = middle;
        } else {
            proof.push(range_root(start, middle, reader).map_err(ProveError::Read)?);
            start = middle;
        }
    }
    // A subtree that starts at leaf 0 and ends at the old size is the old tree, whose root the checker has.
    if start > 0 {
        proof.push(range_root(start, end, reader).map_err(ProveError::Read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root of the tree of `size` leaves.
pub fn tree_root<R: HashReader>(size: u64, reader: &R) -> Result<Hash, R::Error> {
    range_root(0, size, reader)
}

fn check_sizes(old: u64, new: u64) -> Result<(), ProofError> {
    if new > SIZE_MAX {
        return Err(ProofError::SizeTooLarge { size: new });
    }
    if old > new { Err(ProofError::SizesReversed { old, new }) } else { Ok(()) }
}

/// Levels below the point where the path to `index` meets the path to the last leaf.
fn inner_len(index: u64, size: u64) -> usize {
    (u64::BITS - (index ^ (size - 1)).leading_zeros()) as usize
}

/// Complete subtrees to the left of the path above that point.
fn border_len(index: u64, size: u64) -> usize {
    (index >> inner_len(index, size)).count_ones() as usize
}

/// Climbs from `seed`: the bits of `index`, lowest first, tell on which side each sibling is.
fn chain_inner(seed: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings.iter().enumerate().fold(seed, |hash, (level, sibling)| {
        if index >> level & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
    })
}

/// Climbs from `seed` taking only the siblings on the left: the tree as it was when `index` was its last leaf.
fn chain_inner_left(seed: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings.iter().enumerate().fold(seed, |hash, (level, sibling)| {
        if index >> level & 1 == 0 { hash } else { node_hash(sibling, &hash) }
    })
}

/// Climbs along the right edge, where every sibling is on the left.
fn chain_border(seed: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(seed, |hash, sibling| node_hash(sibling, &hash))
}

/// Where RFC 6962 cuts the leaves from `start` to `end` in two: after the largest power of two below their number.
fn split(start: u64, end: u64) -> u64 {
    start + (1 << (end - start - 1).ilog2())
}

/// The root over the leaves from `start` to `end`, where `start` is a multiple of the largest power of two that
/// is not above their number.
fn range_root<R: HashReader>(start: u64, end: u64, reader: &R) -> Result<Hash, R::Error> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2();
        peaks.push(reader.subtree(level as u8, at >> level)?);
        at += 1 << level;
    }
    Ok(fold_peaks(&peaks).unwrap_or_else(empty_root))
}
