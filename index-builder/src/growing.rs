//! The tree of a log while it is read: its right edge, and the tiles that each bundle completes.
//!
//! Does not own reading. Invariant: what is kept is a handful of tiles, however long the log is.

use std::collections::{BTreeMap, BTreeSet};

use drystone_log::{
    Frontier, Hash, TileId,
    tile::{GrowError, grow, partial_tiles},
};
use serde::{Deserialize, Serialize};

/// A tree that grows by bundles.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    frontier: Frontier,
    /// The partial tiles of levels 1 and above.
    higher: BTreeMap<TileId, Vec<Hash>>,
    /// Sizes whose roots are wanted.
    wanted: BTreeSet<u64>,
    /// Those that are known.
    roots: BTreeMap<u64, Hash>,
}

/// A tree, written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedTree {
    frontier: Frontier,
    higher: Vec<(String, Vec<Hash>)>,
}

impl Growing {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The right edge.
    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Asks for the root that the tree has, or will have had, at a size.
    pub(crate) fn note_root_at(&mut self, size: u64) {
        if size == self.size() {
            self.roots.insert(size, self.root());
        }
        self.wanted.insert(size);
    }

    /// The roots that were asked for, as far as they were passed.
    pub(crate) fn roots(&self) -> &BTreeMap<u64, Hash> {
        &self.roots
    }

    /// Appends the leaves of a bundle, of which the first `old` are in the tree already, and returns the tiles that
    /// a tree of `final_size` has and that stand now, lowest level first.
    ///
    /// # Errors
    ///
    /// [`GrowError::ForeignTile`] if the old leaves are not those that were appended before.
    pub(crate) fn grow(
        &mut self,
        leaves: &[Hash],
        old: usize,
        final_size: u64,
    ) -> Result<Vec<(TileId, Vec<Hash>)>, GrowError> {
        let growth = grow(&self.frontier, &leaves[..old], &self.higher, &leaves[old..])?;
        self.pass_roots(&leaves[old..]);
        self.frontier = growth.frontier;
        let edge: BTreeSet<TileId> =
            partial_tiles(self.size()).into_iter().filter(|id| id.level() > 0).collect();
        self.higher.extend(growth.tiles.iter().filter(|(id, _)| edge.contains(id)).cloned());
        self.higher.retain(|id, _| edge.contains(id));
        let last: BTreeSet<TileId> = partial_tiles(final_size).into_iter().collect();
        let stands = |id: &TileId| id.is_full() || last.contains(id);
        Ok(growth.tiles.into_iter().filter(|(id, _)| stands(id)).collect())
    }

    fn pass_roots(&mut self, leaves: &[Hash]) {
        let end = self.size() + leaves.len() as u64;
        if self.wanted.range(self.size() + 1..=end).next().is_none() {
            return;
        }
        let mut frontier = self.frontier.clone();
        for leaf in leaves {
            frontier.append(*leaf);
            if self.wanted.contains(&frontier.size()) {
                self.roots.insert(frontier.size(), frontier.root());
            }
        }
    }

    pub(crate) fn save(&self) -> SavedTree {
        let higher = self.higher.iter().map(|(id, hashes)| (id.path(), hashes.clone())).collect();
        SavedTree { frontier: self.frontier.clone(), higher }
    }

    /// Reads a tree back; none if a tile's name is not one. Whether its tiles fit is seen when it grows.
    pub(crate) fn restore(saved: SavedTree) -> Option<Self> {
        let tile = |(path, hashes): (String, Vec<Hash>)| Some((TileId::parse(&path).ok()?, hashes));
        let higher = saved.higher.into_iter().map(tile).collect::<Option<_>>()?;
        Some(Self { frontier: saved.frontier, higher, ..Self::default() })
    }
}
