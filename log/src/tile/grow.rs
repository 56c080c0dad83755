//! Growth: from the right edge of a tree and new leaves to the tiles that must be written.
//!
//! Owns which old tiles are needed and the content of the new ones. Does not own entries or storage.
//! Invariant: every old tile that is used has first been checked against the frontier, so a damaged store never
//! gets into a new tile.

use std::collections::BTreeMap;

use thiserror::Error;

use super::path::{TILE_WIDTH, TileId};
use super::{WIDTH, partial_tiles};
use crate::hash::Hash;
use crate::merkle::{Frontier, SIZE_MAX, peaks_of, root_of};

/// Why a tree could not grow. Each case means that the store does not hold what the frontier says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GrowError {
    /// An old partial tile that the growth changes was not given.
    #[error("`{tile}` is needed and was not given")]
    MissingTile {
        /// The tile, one of [`needed_for_growth`].
        tile: TileId,
    },
    /// An old tile has another number of hashes than its place in the tree says.
    #[error("`{tile}` has {given} hashes")]
    WrongWidth {
        /// The tile.
        tile: TileId,
        /// Hashes given.
        given: usize,
    },
    /// Leaves were given for a partial tile that the tree does not have.
    #[error("{given} hashes of a partial tile were given, the tree has none")]
    NoPartialTile {
        /// Hashes given.
        given: usize,
    },
    /// An old tile does not hash to the peaks of the frontier.
    #[error("`{tile}` does not match the frontier")]
    ForeignTile {
        /// The tile.
        tile: TileId,
    },
    /// The tree would exceed [`SIZE_MAX`].
    #[error("a tree of size {size} cannot take {added} more leaves")]
    TooLarge {
        /// Size before.
        size: u64,
        /// Leaves to append.
        added: usize,
    },
}

/// What appending leaves leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The frontier afterwards.
    pub frontier: Frontier,
    /// The tiles to write, as [`new_tiles`](super::new_tiles) names and orders them.
    pub tiles: Vec<(TileId, Vec<Hash>)>,
}

/// The old partial tiles of levels 1 and above that change when a tree of `old_size` grows to `new_size`.
///
/// The partial tile of level 0 is not among them: its hashes are those of the entries in the partial bundle.
pub fn needed_for_growth(old_size: u64, new_size: u64) -> Vec<TileId> {
    let changes = |id: &TileId| id.level() > 0 && new_size >> (8 * id.level()) > old_size >> (8 * id.level());
    partial_tiles(old_size).into_iter().filter(changes).collect()
}

/// Appends `new_leaves` to the tree of `frontier`.
///
/// `level0` are the leaf hashes of the partial tile of level 0, recomputed from the partial entry bundle; `higher`
/// holds at least the tiles that [`needed_for_growth`] names. All are checked against the frontier.
pub fn grow(
    frontier: &Frontier,
    level0: &[Hash],
    higher: &BTreeMap<TileId, Vec<Hash>>,
    new_leaves: &[Hash],
) -> Result<Growth, GrowError> {
    let old_size = frontier.size();
    let added = new_leaves.len();
    let new_size = old_size.checked_add(added as u64).filter(|size| *size <= SIZE_MAX);
    let new_size = new_size.ok_or(GrowError::TooLarge { size: old_size, added })?;

    let mut tiles = Vec::new();
    let mut added_hashes = new_leaves.to_vec();
    let mut level = 0;
    while !added_hashes.is_empty() {
        let old_count = old_size >> (8 * level);
        let new_count = new_size >> (8 * level);
        let mut row = match partial_tile(level, old_count) {
            Some(tile) if level == 0 => checked(frontier, tile, level0)?,
            Some(tile) => checked(frontier, tile, higher.get(&tile).ok_or(GrowError::MissingTile { tile })?)?,
            None if level == 0 && !level0.is_empty() => {
                return Err(GrowError::NoPartialTile { given: level0.len() });
            }
            None => Vec::new(),
        };
        row.append(&mut added_hashes);
        for (index, hashes) in (old_count / WIDTH..).zip(row.chunks(usize::from(TILE_WIDTH))) {
            let id = TileId::covering(level, index, new_count);
            if id.is_full() {
                added_hashes.push(root_of(hashes));
            }
            tiles.push((id, hashes.to_vec()));
        }
        level += 1;
    }

    let mut frontier = frontier.clone();
    new_leaves.iter().for_each(|leaf| frontier.append(*leaf));
    Ok(Growth { frontier, tiles })
}

/// The partial tile of a level that has `count` hashes.
fn partial_tile(level: u8, count: u64) -> Option<TileId> {
    (!count.is_multiple_of(WIDTH)).then(|| TileId::covering(level, count / WIDTH, count))
}

/// The hashes of an old partial tile, if the peaks above them are those of the frontier.
fn checked(frontier: &Frontier, tile: TileId, hashes: &[Hash]) -> Result<Vec<Hash>, GrowError> {
    if hashes.len() != usize::from(tile.width()) {
        return Err(GrowError::WrongWidth { tile, given: hashes.len() });
    }
    // The peaks are ordered from the highest level down: those of larger tiles come first. Level 7 is the highest,
    // and the shift by 64 that lies above it means "none".
    let above =
        frontier.size().checked_shr(8 * (u32::from(tile.level()) + 1)).unwrap_or(0).count_ones() as usize;
    let peaks = peaks_of(hashes);
    if frontier.peaks().get(above..above + peaks.len()) == Some(&peaks[..]) {
        Ok(hashes.to_vec())
    } else {
        Err(GrowError::ForeignTile { tile })
    }
}
