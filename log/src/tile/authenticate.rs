//! Checking of fetched tiles against a root, before any of their hashes is used.
//!
//! Owns which tiles an operation must fetch and the one way to use them: [`AuthenticatedTiles`]. Does not own
//! fetching, nor where the trusted root comes from.
//! Invariant: no hash leaves this module that was not proved to belong to the tree of the given size and root.
//! *Every* tile is checked, not only those that happen to meet the path to the root; readers that checked too few
//! of them accepted forged tiles (CVE-2026-56865).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Range;

use thiserror::Error;

use super::path::{BundleId, LEVEL_MAX, TileId};
use super::{EntryBundle, WIDTH, partial_tiles};
use crate::hash::{Hash, empty_root};
use crate::merkle::{
    Frontier, HashReader, ProofError, ProveError, fold_peaks, peaks_of, prove_consistency, prove_inclusion,
    root_of,
};

/// Why tiles were refused, or a hash is not among them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TileError {
    /// The tile is not part of a tree of this size, or not with this width.
    #[error("a tree of size {size} has no `{tile}`")]
    NotInTree {
        /// The tile.
        tile: TileId,
        /// Size of the tree.
        size: u64,
    },
    /// The number of hashes is not the width of the tile.
    #[error("`{tile}` has {given} hashes")]
    WrongWidth {
        /// The tile.
        tile: TileId,
        /// Hashes given.
        given: usize,
    },
    /// A tile without which another one, or the root, cannot be checked was not given.
    #[error("`{tile}` is needed and was not given")]
    Missing {
        /// The tile.
        tile: TileId,
    },
    /// The partial tiles together do not hash to the root: at least one of them is not genuine.
    #[error("the right edge does not hash to the root of the tree of size {size}: {tiles:?}")]
    EdgeMismatch {
        /// Size of the tree.
        size: u64,
        /// The partial tiles.
        tiles: Vec<TileId>,
    },
    /// A tile does not hash to its place in the tile above it.
    #[error("`{tile}` does not match its parent `{parent}`")]
    ParentMismatch {
        /// The tile.
        tile: TileId,
        /// The authenticated tile above it.
        parent: TileId,
    },
    /// A hash was asked for that no tile of a tree of this size can give.
    #[error("a tree of size {size} has no complete subtree {index} at level {level}")]
    NoSubtree {
        /// Height of the subtree.
        level: u8,
        /// Its position among the subtrees of that height.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The entries of a bundle do not hash to the tile of level 0.
    #[error("`{bundle}` does not match `{tile}`", tile = bundle.tile())]
    BundleMismatch {
        /// The bundle.
        bundle: BundleId,
    },
}

/// Tiles that were proved to belong to one tree.
#[derive(Clone, Debug)]
pub struct AuthenticatedTiles {
    size: u64,
    tiles: BTreeMap<TileId, Vec<Hash>>,
}

/// Proves that each of `tiles` belongs to the tree of `size` leaves with this `root`.
///
/// Wanted besides the tiles of interest are all the partial tiles of that size and the parents of every full tile;
/// [`tiles_to_authenticate`] lists them. A full tile fetched in the place of a partial one must be cut to the
/// partial width first.
pub fn authenticate_tiles(
    size: u64,
    root: &Hash,
    tiles: &BTreeMap<TileId, Vec<Hash>>,
) -> Result<AuthenticatedTiles, TileError> {
    for (&tile, hashes) in tiles {
        if tile_at(size, tile.level(), tile.index()) != Some(tile) {
            return Err(TileError::NotInTree { tile, size });
        }
        if hashes.len() != usize::from(tile.width()) {
            return Err(TileError::WrongWidth { tile, given: hashes.len() });
        }
    }

    let edge = partial_tiles(size);
    let mut peaks = Vec::new();
    // The largest peaks are in the tile of the highest level.
    for &tile in edge.iter().rev() {
        peaks.extend(peaks_of(tiles.get(&tile).ok_or(TileError::Missing { tile })?));
    }
    if fold_peaks(&peaks).unwrap_or_else(empty_root) != *root {
        return Err(TileError::EdgeMismatch { size, tiles: edge });
    }

    // From the top down, so that a parent is always authenticated before its children, and the first that is wrong is named.
    for (&tile, hashes) in tiles.iter().rev().filter(|(tile, _)| tile.is_full()) {
        let parent = parent_of(size, tile).ok_or(TileError::NotInTree { tile, size })?;
        let above = tiles.get(&parent).ok_or(TileError::Missing { tile: parent })?;
        if above[(tile.index() % WIDTH) as usize] != root_of(hashes) {
            return Err(TileError::ParentMismatch { tile, parent });
        }
    }
    Ok(AuthenticatedTiles { size, tiles: tiles.clone() })
}

impl AuthenticatedTiles {
    /// Size of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of `tile`, if it was among those authenticated.
    pub fn tile(&self, tile: TileId) -> Option<&[Hash]> {
        self.tiles.get(&tile).map(Vec::as_slice)
    }

    /// The frontier of the tree.
    pub fn frontier(&self) -> Frontier {
        let edge = partial_tiles(self.size);
        let peaks = edge.iter().rev().flat_map(|tile| peaks_of(&self.tiles[tile])).collect();
        Frontier::from_parts(self.size, peaks)
            .expect("the partial tiles of a size hold one peak for each one-bit")
    }

    /// Checks the entries of a bundle against its level-0 tile, which must be among the tiles.
    pub fn check_bundle(&self, id: BundleId, bundle: &EntryBundle) -> Result<(), TileError> {
        let hashes = self.tile(id.tile()).ok_or(TileError::Missing { tile: id.tile() })?;
        if bundle.leaf_hashes() == hashes { Ok(()) } else { Err(TileError::BundleMismatch { bundle: id }) }
    }
}

impl HashReader for AuthenticatedTiles {
    type Error = TileError;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, TileError> {
        let no_such_subtree = TileError::NoSubtree { level, index, size: self.size };
        let (tile, range) = place(self.size, level, index).ok_or(no_such_subtree)?;
        let hashes = self.tiles.get(&tile).ok_or(TileError::Missing { tile })?;
        Ok(root_of(&hashes[range]))
    }
}

/// The tiles needed for the inclusion proof of leaf `index` in a tree of `size`, with those that authenticate them.
pub fn tiles_needed_for_inclusion(index: u64, size: u64) -> Result<BTreeSet<TileId>, ProofError> {
    needed(size, |plan| prove_inclusion(index, size, plan))
}

/// The tiles of the tree of `new_size` needed to prove that it extends the tree of `old_size`, with those that
/// authenticate them.
pub fn tiles_needed_for_consistency(old_size: u64, new_size: u64) -> Result<BTreeSet<TileId>, ProofError> {
    needed(new_size, |plan| prove_consistency(old_size, new_size, plan))
}

/// `wanted`, the parents of each up to the top, and the partial tiles of `size`: what [`authenticate_tiles`] needs
/// to see in order to accept `wanted`.
pub fn tiles_to_authenticate(size: u64, wanted: impl IntoIterator<Item = TileId>) -> BTreeSet<TileId> {
    let mut tiles = BTreeSet::from_iter(partial_tiles(size));
    for tile in wanted {
        let mut next = Some(tile);
        while let Some(tile) = next.filter(|tile| tiles.insert(*tile)) {
            next = parent_of(size, tile);
        }
    }
    tiles
}

/// A reader that has no hashes and notes which tiles it was asked for.
struct Plan {
    size: u64,
    tiles: RefCell<BTreeSet<TileId>>,
}

impl HashReader for Plan {
    type Error = Infallible;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let (tile, _) =
            place(self.size, level, index).expect("proof makers ask only for complete subtrees of the tree");
        self.tiles.borrow_mut().insert(tile);
        Ok(empty_root())
    }
}

/// Runs a proof maker to learn which tiles it reads: so plan and proof cannot disagree.
fn needed(
    size: u64,
    prove: impl FnOnce(&Plan) -> Result<Vec<Hash>, ProveError<Infallible>>,
) -> Result<BTreeSet<TileId>, ProofError> {
    let plan = Plan { size, tiles: RefCell::default() };
    match prove(&plan) {
        Ok(_) => Ok(tiles_to_authenticate(size, plan.tiles.into_inner())),
        Err(ProveError::Position(error)) => Err(error),
        Err(ProveError::Read(never)) => match never {},
    }
}

/// The tile at (`level`, `index`) with the width that it has in a tree of `size`.
fn tile_at(size: u64, level: u8, index: u64) -> Option<TileId> {
    let count = size >> (8 * level);
    (index < count.div_ceil(WIDTH)).then(|| TileId::covering(level, index, count))
}

/// The tile that holds the hash of a `tile`, if it is full.
fn parent_of(size: u64, tile: TileId) -> Option<TileId> {
    (tile.level() < LEVEL_MAX).then(|| tile_at(size, tile.level() + 1, tile.index() / WIDTH))?
}

/// The tile, and the hashes in it, whose root is the complete subtree at (`level`, `index`).
fn place(size: u64, level: u8, index: u64) -> Option<(TileId, Range<usize>)> {
    if u32::from(level) >= u64::BITS || index >= size >> level {
        return None;
    }
    let first = index << (level % 8);
    let tile = tile_at(size, level / 8, first / WIDTH)?;
    let start = (first % WIDTH) as usize;
    Some((tile, start..start + (1 << (level % 8))))
}
