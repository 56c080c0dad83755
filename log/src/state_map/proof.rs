//! The proof that a shard belongs to a state: sixteen hashes.
//!
//! Owns their order and bytes. The check is the ordinary one of an inclusion proof, in a tree of 65,536 leaves.

use super::tile::{MidTile, RootTile};
use super::{SHARDS, StateError, split_index};
use crate::hash::Hash;
use crate::merkle::{ProofError, verify_inclusion};

/// Bytes of a proof: sixteen hashes.
pub const STATE_PROOF_BYTES: usize = HASHES * Hash::LEN;

const HASHES: usize = 16;

/// The siblings on the way from a shard to the root of the map, the shard's own first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateProof([Hash; HASHES]);

impl StateProof {
    /// Makes the proof for `shard` from the two tiles above it; `mid` must be the one that `root` names there.
    pub fn new(shard: u16, mid: &MidTile, root: &RootTile) -> Self {
        let (mid_slot, slot) = split_index(shard);
        let mut hashes = mid.siblings(slot).chain(root.siblings(mid_slot));
        Self(std::array::from_fn(|_| hashes.next().expect("each tile has eight levels")))
    }

    /// Checks that the shard with the leaf hash `leaf` is at its place below `root`.
    pub fn verify(&self, shard: u16, leaf: &Hash, root: &Hash) -> Result<(), ProofError> {
        verify_inclusion(leaf, u64::from(shard), SHARDS, &self.0, root)
    }

    /// The hashes, the shard's sibling first.
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    /// Reads the 512 bytes of a proof.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let wrong_length = StateError::Length { expected: STATE_PROOF_BYTES, given: bytes.len() };
        let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
        let hashes: [[u8; Hash::LEN]; HASHES] = hashes.try_into().map_err(|_| wrong_length.clone())?;
        if rest.is_empty() { Ok(Self(hashes.map(Hash::new))) } else { Err(wrong_length) }
    }

    /// The 512 bytes of the proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
    }
}
