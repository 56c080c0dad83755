//! The state map: for every package the newest seq, digest and length of its files, under one hash.
//!
//! Owns the shape of the map: an RFC 6962 tree over exactly 65,536 shards, cut into one root tile and 256 mid tiles,
//! each node stored by its hash. Does not own what the files say, nor when a state becomes current.
//! Invariant: the root is a function of the entries alone, not of the order in which they were set. Nodes without
//! entries are never stored; they are known by their hash.

mod map;
mod proof;
mod shard;
mod tile;

use thiserror::Error;

use crate::hash::Hash;
use crate::merkle::ProofError;

pub use map::{StateMap, StateNode};
pub use proof::{STATE_PROOF_BYTES, StateProof};
pub use shard::{FileRef, SHARD_BYTES_MAX, SHARD_READ_BYTES_MAX, Shard, ShardEntry, ShardError};
pub use tile::{MidTile, RootTile, STATE_TILE_BYTES, StateTile};

/// Number of shards: the values of two bytes.
pub const SHARDS: u64 = 1 << 16;

/// Why a state, a part of one or a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// A tile has another length than [`STATE_TILE_BYTES`], or a proof than [`STATE_PROOF_BYTES`].
    #[error("{given} bytes instead of {expected}")]
    Length {
        /// Length needed.
        expected: usize,
        /// Length given.
        given: usize,
    },
    /// The bytes of a node do not hash to its name.
    #[error("a node of the state map does not have the hash {expected}")]
    WrongHash {
        /// The hash that was asked for.
        expected: Hash,
    },
    /// A node was needed that has not been loaded.
    #[error("`{key}` is needed and was not loaded", key = .0.key())]
    NotLoaded(StateNode),
    /// The node was loaded already, or is not part of this state.
    #[error("`{key}` is not a missing node of this state", key = .0.key())]
    NotMissing(StateNode),
    /// A shard is malformed, or an entry cannot be put into it.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A proof does not lead from the shard to the root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// The shard of a package: the first two bytes, big-endian, of the SHA-256 of its canonical name.
pub fn shard_of(canonical_name: &str) -> u16 {
    let [high, low, ..] = *Hash::digest(canonical_name.as_bytes()).as_bytes();
    u16::from_be_bytes([high, low])
}

/// Where a shard is: its mid tile, and its place in it.
pub fn split_index(shard: u16) -> (u8, u8) {
    let [mid, slot] = shard.to_be_bytes();
    (mid, slot)
}

/// Key of the root tile of the state with this root.
pub fn root_tile_key(root: &Hash) -> String {
    format!("log/state/tile/1/{root}")
}

/// Key of the mid tile with this root.
pub fn mid_tile_key(root: &Hash) -> String {
    format!("log/state/tile/0/{root}")
}

/// Key of the shard with this leaf hash.
pub fn shard_key(leaf: &Hash) -> String {
    format!("log/state/shard/{leaf}")
}
