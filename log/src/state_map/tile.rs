//! The inner nodes of the state map: one root tile and 256 mid tiles.
//!
//! Owns the bytes of a tile and its hash tree. Does not own which tiles are stored or fetched.
//! Invariant: all inner hashes follow from the 256 slots at any time, so the root costs nothing to read and a
//! changed slot costs eight hashes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StateError;
use crate::hash::{Hash, leaf_hash, node_hash};

/// Bytes of a state tile: 256 hashes.
pub const STATE_TILE_BYTES: usize = SLOTS * Hash::LEN;

const SLOTS: usize = 256;
/// Levels from the slots to the root of a tile.
const LEVELS: usize = 8;

/// The root of a mid tile whose shards are all empty.
static EMPTY_MID: LazyLock<Hash> = LazyLock::new(|| perfect_root(leaf_hash(b"")));
/// The root of the map whose shards are all empty.
static EMPTY_MAP: LazyLock<Hash> = LazyLock::new(|| perfect_root(*EMPTY_MID));

/// 256 hashes and the tree above them.
///
/// serde uses the base64 of the 8,192 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct StateTile<K> {
    /// A binary heap: the root at 1, the children of i at 2i and 2i + 1, the slots from 256 on. 0 is not used.
    nodes: Box<[Hash]>,
    kind: PhantomData<K>,
}

/// A mid tile: the leaf hashes of 256 shards.
pub type MidTile = StateTile<Mid>;

/// The root tile: the roots of the 256 mid tiles. Its own root is the root of the map.
pub type RootTile = StateTile<Root>;

/// Marks a [`MidTile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mid {}

/// Marks a [`RootTile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {}

/// What distinguishes the two kinds of tile.
pub trait TileKind {
    /// The hash in a slot below which there is no entry.
    fn empty_slot() -> Hash;
    /// The root of a tile whose slots are all empty.
    fn empty_root() -> Hash;
    /// All hashes of such a tile, as [`StateTile`] keeps them.
    fn empty_nodes() -> &'static [Hash];
}

impl TileKind for Mid {
    fn empty_slot() -> Hash {
        leaf_hash(b"")
    }

    fn empty_root() -> Hash {
        *EMPTY_MID
    }

    fn empty_nodes() -> &'static [Hash] {
        static NODES: LazyLock<Box<[Hash]>> = LazyLock::new(|| perfect_nodes(Mid::empty_slot()));
        &NODES
    }
}

impl TileKind for Root {
    fn empty_slot() -> Hash {
        *EMPTY_MID
    }

    fn empty_root() -> Hash {
        *EMPTY_MAP
    }

    fn empty_nodes() -> &'static [Hash] {
        static NODES: LazyLock<Box<[Hash]>> = LazyLock::new(|| perfect_nodes(Root::empty_slot()));
        &NODES
    }
}

impl<K: TileKind> StateTile<K> {
    /// The tile without entries. It is never stored: readers know it by [`StateTile::empty_root`].
    pub fn empty() -> Self {
        Self { nodes: K::empty_nodes().into(), kind: PhantomData }
    }

    /// The root of the tile without entries.
    pub fn empty_root() -> Hash {
        K::empty_root()
    }

    /// Whether `root` is that of the tile without entries, which must not be fetched.
    pub fn is_empty_root(root: &Hash) -> bool {
        *root == K::empty_root()
    }

    /// Reads the 256 hashes; fails on any length but [`STATE_TILE_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let wrong_length = StateError::Length { expected: STATE_TILE_BYTES, given: bytes.len() };
        let (slots, rest) = bytes.as_chunks::<{ Hash::LEN }>();
        let slots: [[u8; Hash::LEN]; SLOTS] = slots.try_into().map_err(|_| wrong_length.clone())?;
        if !rest.is_empty() {
            return Err(wrong_length);
        }
        Ok(Self::from_slots(&slots.map(Hash::new)))
    }

    /// Reads the tile that is stored under `root`, and refuses bytes with another root.
    pub fn open(root: &Hash, bytes: &[u8]) -> Result<Self, StateError> {
        let tile = Self::from_bytes(bytes)?;
        if tile.root() == *root { Ok(tile) } else { Err(StateError::WrongHash { expected: *root }) }
    }

    /// The 8,192 bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.nodes[SLOTS..].iter().flat_map(|hash| hash.as_bytes()).copied().collect()
    }

    /// The root of the tile.
    pub fn root(&self) -> Hash {
        self.nodes[1]
    }

    /// The hash in a slot.
    pub fn get(&self, slot: u8) -> Hash {
        self.nodes[SLOTS + usize::from(slot)]
    }

    /// Changes the hash in a slot.
    pub fn set(&mut self, slot: u8, hash: Hash) {
        let mut node = SLOTS + usize::from(slot);
        self.nodes[node] = hash;
        while node > 1 {
            node /= 2;
            self.nodes[node] = node_hash(&self.nodes[2 * node], &self.nodes[2 * node + 1]);
        }
    }

    /// The siblings on the way from a slot to the root, the slot's own first.
    pub(super) fn siblings(&self, slot: u8) -> impl Iterator<Item = Hash> {
        let node = SLOTS + usize::from(slot);
        (0..LEVELS).map(move |level| self.nodes[(node >> level) ^ 1])
    }

    fn from_slots(slots: &[Hash; SLOTS]) -> Self {
        let empty = K::empty_nodes();
        let mut nodes: Box<[Hash]> = empty.into();
        nodes[SLOTS..].copy_from_slice(slots);
        for node in (1..SLOTS).rev() {
            let children = 2 * node..2 * node + 2;
            // In a young registry there is nothing below most nodes, and their hash is known.
            if nodes[children.clone()] != empty[children.clone()] {
                nodes[node] = node_hash(&nodes[children.start], &nodes[children.start + 1]);
            }
        }
        Self { nodes, kind: PhantomData }
    }
}

impl<K> fmt::Debug for StateTile<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateTile({})", self.nodes[1])
    }
}

impl<K: TileKind> Serialize for StateTile<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.to_bytes()))
    }
}

impl<'de, K: TileKind> Deserialize<'de> for StateTile<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// The root of a tile with the same hash in each slot.
fn perfect_root(slot: Hash) -> Hash {
    (0..LEVELS).fold(slot, |hash, _| node_hash(&hash, &hash))
}

/// Every hash of a tile with the same hash in each slot.
fn perfect_nodes(slot: Hash) -> Box<[Hash]> {
    let mut nodes = vec![slot; 2 * SLOTS];
    for node in (1..SLOTS).rev() {
        // Both children are the same.
        nodes[node] = node_hash(&nodes[2 * node], &nodes[2 * node]);
    }
    nodes.into()
}
