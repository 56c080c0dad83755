//! A state map in memory: all of it, or the part around some packages.
//!
//! Owns the update of a state. [`StateMap::new`] starts from nothing and needs no store, for replaying events;
//! [`StateMap::over`] starts from a root tile and tells which nodes must be loaded, for changing a few packages.
//! Invariant: every node was either made here or checked against the hash above it when it was loaded.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::shard::{Shard, ShardEntry};
use super::tile::{MidTile, RootTile};
use super::{StateError, StateProof, mid_tile_key, root_tile_key, shard_key, shard_of, split_index};
use crate::hash::{Hash, leaf_hash};

/// A node below the root tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateNode {
    /// A mid tile.
    Mid {
        /// Its slot in the root tile.
        slot: u8,
        /// Its root.
        root: Hash,
    },
    /// A shard.
    Shard {
        /// Which shard.
        index: u16,
        /// Its leaf hash.
        leaf: Hash,
    },
}

impl StateNode {
    /// The key under which the node is stored.
    pub fn key(&self) -> String {
        match self {
            Self::Mid { root, .. } => mid_tile_key(root),
            Self::Shard { leaf, .. } => shard_key(leaf),
        }
    }
}

/// A state that can be changed. Memory grows with the shards that were made or loaded.
///
/// ```
/// use drystone_log::state_map::{FileRef, ShardEntry, StateMap};
/// use drystone_log::Hash;
///
/// let mut map = StateMap::new();
/// let index = FileRef { digest: Hash::digest(b"..."), len: 3 };
/// map.set("acme/http", ShardEntry { seq: 7, files: [('i', index)].into() })?;
/// assert_eq!(map.get("acme/http")?.map(|entry| entry.seq), Some(7));
/// assert_eq!(map.get("acme/other")?, None);
/// # Ok::<(), drystone_log::state_map::StateError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StateMap {
    root: RootTile,
    mids: BTreeMap<u8, MidTile>,
    shards: BTreeMap<u16, Shard>,
    changed: BTreeSet<u16>,
}

impl Default for StateMap {
    fn default() -> Self {
        Self::new()
    }
}

impl StateMap {
    /// The state without entries. Nothing ever has to be loaded into it.
    pub fn new() -> Self {
        Self::over(RootTile::empty())
    }

    /// The state of a root tile that the caller trusts, with no other node loaded.
    pub fn over(root: RootTile) -> Self {
        Self { root, mids: BTreeMap::new(), shards: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// The nodes to load next before the entries of `names` can be read or set; none when all is there.
    ///
    /// At most two rounds: the mid tiles, then the shards.
    pub fn missing<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<StateNode> {
        names.into_iter().filter_map(|name| self.missing_above(shard_of(name))).collect()
    }

    /// Takes the bytes of a node that [`StateMap::missing`] named, and refuses any with another hash.
    pub fn load(&mut self, node: StateNode, bytes: &[u8]) -> Result<(), StateError> {
        let shard = match node {
            StateNode::Mid { slot, .. } => u16::from_be_bytes([slot, 0]),
            StateNode::Shard { index, .. } => index,
        };
        match node {
            StateNode::Mid { slot, root } if self.missing_mid(shard) == Some(node) => {
                self.mids.insert(slot, MidTile::open(&root, bytes)?);
            }
            StateNode::Shard { index, leaf } if self.missing_above(shard) == Some(node) => {
                self.shards.insert(index, Shard::open(index, &leaf, bytes)?);
            }
            StateNode::Mid { .. } | StateNode::Shard { .. } => return Err(StateError::NotMissing(node)),
        }
        Ok(())
    }

    /// The root: what an event's `state` names.
    pub fn root(&self) -> Hash {
        self.root.root()
    }

    /// The root tile.
    pub fn root_tile(&self) -> &RootTile {
        &self.root
    }

    /// The mid tile of a slot, if it was made or loaded.
    pub fn mid(&self, slot: u8) -> Option<&MidTile> {
        self.mids.get(&slot)
    }

    /// A shard, if it was made or loaded.
    pub fn shard(&self, index: u16) -> Option<&Shard> {
        self.shards.get(&index)
    }

    /// The shards that were made or loaded, in order.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    /// The entry of a canonical name; fails with [`StateError::NotLoaded`] where that cannot be known yet.
    pub fn get(&self, name: &str) -> Result<Option<&ShardEntry>, StateError> {
        let index = shard_of(name);
        match self.missing_above(index) {
            Some(node) => Err(StateError::NotLoaded(node)),
            None => Ok(self.shards.get(&index).and_then(|shard| shard.get(name))),
        }
    }

    /// Adds or replaces the entry of a canonical name: the new shard, and sixteen hashes.
    pub fn set(&mut self, name: &str, entry: ShardEntry) -> Result<(), StateError> {
        let index = shard_of(name);
        if let Some(node) = self.missing_above(index) {
            return Err(StateError::NotLoaded(node));
        }
        let shard = match self.shards.entry(index) {
            Entry::Occupied(known) => {
                let shard = known.into_mut();
                shard.set(name, entry)?;
                shard
            }
            // A refused entry must not leave an empty shard behind.
            Entry::Vacant(place) => {
                let mut shard = Shard::empty(index);
                shard.set(name, entry)?;
                place.insert(shard)
            }
        };
        let (mid_slot, slot) = split_index(index);
        let mid = self.mids.entry(mid_slot).or_insert_with(MidTile::empty);
        mid.set(slot, shard.leaf_hash());
        self.root.set(mid_slot, mid.root());
        self.changed.insert(index);
        Ok(())
    }

    /// The proof for a shard; fails with [`StateError::NotLoaded`] when its mid tile is not there.
    pub fn prove(&self, shard: u16) -> Result<StateProof, StateError> {
        if let Some(node) = self.missing_mid(shard) {
            return Err(StateError::NotLoaded(node));
        }
        let (mid_slot, _) = split_index(shard);
        Ok(match self.mids.get(&mid_slot) {
            Some(mid) => StateProof::new(shard, mid, &self.root),
            None => StateProof::new(shard, &MidTile::empty(), &self.root),
        })
    }

    /// The nodes to store, by key: every shard that was set, the mid tiles above them, and the root tile.
    ///
    /// Only the nodes of the state as it is now, not of the states between. Nothing, if nothing was set.
    pub fn changed_nodes(&self) -> Vec<(String, Vec<u8>)> {
        let mut nodes = Vec::new();
        for shard in self.changed.iter().filter_map(|index| self.shards.get(index)) {
            let bytes = shard.to_bytes();
            nodes.push((shard_key(&leaf_hash(&bytes)), bytes));
        }
        let changed_mids: BTreeSet<u8> = self.changed.iter().map(|index| split_index(*index).0).collect();
        for mid in changed_mids.iter().filter_map(|slot| self.mids.get(slot)) {
            nodes.push((mid_tile_key(&mid.root()), mid.to_bytes()));
        }
        if !nodes.is_empty() {
            nodes.push((root_tile_key(&self.root()), self.root.to_bytes()));
        }
        nodes
    }

    /// The mid tile of a shard, if it has to be loaded.
    fn missing_mid(&self, shard: u16) -> Option<StateNode> {
        let (slot, _) = split_index(shard);
        let root = self.root.get(slot);
        let known = self.mids.contains_key(&slot) || MidTile::is_empty_root(&root);
        (!known).then_some(StateNode::Mid { slot, root })
    }

    /// The first node on the way to a shard, itself included, that has to be loaded.
    fn missing_above(&self, index: u16) -> Option<StateNode> {
        if let Some(mid) = self.missing_mid(index) {
            return Some(mid);
        }
        let (mid_slot, slot) = split_index(index);
        // Without a mid tile, and with none missing, the shard is one of an empty mid tile.
        let leaf = self.mids.get(&mid_slot)?.get(slot);
        let known = self.shards.contains_key(&index) || Shard::is_empty_leaf(&leaf);
        (!known).then_some(StateNode::Shard { index, leaf })
    }
}
