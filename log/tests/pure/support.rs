//! The definitions of RFC 6962 section 2.1, written down as they stand there, and a seeded random source.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use drystone_log::{Hash, HashReader, MemoryTree, TileId, leaf_hash};
use sha2::{Digest, Sha256};

/// The tree over given leaf hashes, by the recursion of the RFC; results are remembered by range.
pub(crate) struct Naive {
    leaves: Vec<Hash>,
    known: RefCell<HashMap<(usize, usize), Hash>>,
}

impl Naive {
    pub(crate) fn new(leaves: Vec<Hash>) -> Self {
        Self { leaves, known: RefCell::default() }
    }

    /// MTH(D[start:end]).
    pub(crate) fn mth(&self, start: usize, end: usize) -> Hash {
        match end - start {
            0 => Hash::new(Sha256::digest(b"").into()),
            1 => self.leaves[start],
            n => {
                if let Some(known) = self.known.borrow().get(&(start, end)) {
                    return *known;
                }
                let k = split(n);
                let hash = node(self.mth(start, start + k), self.mth(start + k, end));
                self.known.borrow_mut().insert((start, end), hash);
                hash
            }
        }
    }

    /// PATH(m, D[start:end]).
    pub(crate) fn path(&self, m: usize, start: usize, end: usize) -> Vec<Hash> {
        if end - start == 1 {
            return Vec::new();
        }
        let k = split(end - start);
        let (mut path, sibling) = if m < k {
            (self.path(m, start, start + k), self.mth(start + k, end))
        } else {
            (self.path(m - k, start + k, end), self.mth(start, start + k))
        };
        path.push(sibling);
        path
    }

    /// SUBPROOF(m, D[start:end], whole).
    pub(crate) fn subproof(&self, m: usize, start: usize, end: usize, whole: bool) -> Vec<Hash> {
        let n = end - start;
        if m == n {
            return if whole { Vec::new() } else { vec![self.mth(start, end)] };
        }
        let k = split(n);
        let (mut proof, sibling) = if m <= k {
            (self.subproof(m, start, start + k, whole), self.mth(start + k, end))
        } else {
            (self.subproof(m - k, start + k, end, false), self.mth(start, start + k))
        };
        proof.push(sibling);
        proof
    }
}

/// The largest power of two below n.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn node(left: Hash, right: Hash) -> Hash {
    let message = [&[1], &left.as_bytes()[..], &right.as_bytes()[..]].concat();
    Hash::new(Sha256::digest(message).into())
}

/// A tree in which all leaves are equal, so that its subtrees are known whatever its size.
pub(crate) struct Uniform(Vec<Hash>);

impl Uniform {
    pub(crate) fn new() -> Self {
        let mut levels = vec![leaf_hash(b"same")];
        for level in 0..63 {
            levels.push(node(levels[level], levels[level]));
        }
        Self(levels)
    }
}

impl HashReader for Uniform {
    type Error = std::convert::Infallible;

    fn subtree(&self, level: u8, _index: u64) -> Result<Hash, Self::Error> {
        Ok(self.0[usize::from(level)])
    }
}

/// The entry at a position of the logs in these tests.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}\n").into_bytes()
}

pub(crate) fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|index| leaf_hash(&entry(index))).collect()
}

pub(crate) fn memory_tree(size: u64) -> MemoryTree {
    let mut tree = MemoryTree::new();
    leaves(size).into_iter().for_each(|leaf| tree.append(leaf));
    assert_eq!(tree.size(), size);
    tree
}

/// Another hash that differs in one bit of one byte.
pub(crate) fn flipped(hash: Hash, byte: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[byte % 32] ^= 1 << (byte % 8);
    Hash::new(bytes)
}

pub(crate) type Tiles = BTreeMap<TileId, Vec<Hash>>;

/// What tile `id` must hold by its definition.
pub(crate) fn defined(tree: &MemoryTree, id: TileId) -> Vec<Hash> {
    let first = id.index() * 256;
    (first..first + u64::from(id.width())).map(|index| tree.subtree(8 * id.level(), index).unwrap()).collect()
}

pub(crate) fn tiles(tree: &MemoryTree, ids: impl IntoIterator<Item = TileId>) -> Tiles {
    ids.into_iter().map(|id| (id, defined(tree, id))).collect()
}

pub(crate) fn paths<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// A small seeded generator (xorshift64*), so that failures repeat.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }
}
