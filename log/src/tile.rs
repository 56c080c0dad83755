//! Tiles and entry bundles: how the tree and its entries lie in files (C2SP tlog-tiles).
//!
//! Owns which tiles and bundles a tree of a given size has, and the bytes of a tile. Its submodules own the names
//! (`path`), the entries (`bundle`), the growth of a tree (`grow`) and the checking of fetched tiles
//! (`authenticate`). Does not own fetching or storing.
//! Invariant: a tile is named by the tree alone: equal leaves give equal tiles, whatever the batches they came in.

mod authenticate;
mod bundle;
mod grow;
mod path;

use thiserror::Error;

use crate::hash::Hash;

pub use authenticate::{
    AuthenticatedTiles, TileError, authenticate_tiles, tiles_needed_for_consistency,
    tiles_needed_for_inclusion, tiles_to_authenticate,
};
pub use bundle::{BundleError, ENTRY_BYTES_MAX, EntryBundle, grow_entries};
pub use grow::{GrowError, Growth, grow, needed_for_growth};
pub use path::{BundleId, LEVEL_MAX, TILE_WIDTH, TileId, TilePathError};

/// The bytes of a tile: its hashes, one after another, 32 bytes each.
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
}

/// The bytes are not as many as the tile's width says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{id}` has {given} bytes instead of {expected}")]
pub struct TileLengthError {
    /// The tile that was read.
    pub id: TileId,
    /// Bytes that a tile of its width has.
    pub expected: usize,
    /// Bytes given.
    pub given: usize,
}

/// Reads the hashes of tile `id`. They are not to be trusted before [`authenticate_tiles`] has seen them.
pub fn parse_tile(id: TileId, bytes: &[u8]) -> Result<Vec<Hash>, TileLengthError> {
    let expected = usize::from(id.width()) * Hash::LEN;
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    if bytes.len() != expected || !rest.is_empty() {
        return Err(TileLengthError { id, expected, given: bytes.len() });
    }
    Ok(hashes.iter().copied().map(Hash::new).collect())
}

/// The last tile of each level of a tree of `size` leaves, lowest level first: partial, or full where the level's
/// hashes fill it.
pub fn tiles_for_size(size: u64) -> Vec<TileId> {
    levels(size).map(|(level, count)| TileId::covering(level, (count - 1) / WIDTH, count)).collect()
}

/// The partial tiles of a tree of `size` leaves, lowest level first. They hold the peaks of the tree, so they
/// alone determine its root.
pub fn partial_tiles(size: u64) -> Vec<TileId> {
    tiles_for_size(size).into_iter().filter(|id| !id.is_full()).collect()
}

/// The tiles that a tree has at `new_size` and did not have at `old_size`, lowest level first: every full tile
/// completed between the two and the partial tiles of `new_size`, higher levels included. From 0, all of them.
///
/// A partial tile of `new_size` that already belonged to `old_size` is not repeated.
pub fn new_tiles(old_size: u64, new_size: u64) -> Vec<TileId> {
    let mut tiles = Vec::new();
    for (level, new_count) in levels(new_size) {
        let old_count = old_size >> (8 * level);
        if old_count >= new_count {
            // What does not change at this level does not change above it.
            break;
        }
        let range = old_count / WIDTH..=(new_count - 1) / WIDTH;
        tiles.extend(range.map(|index| TileId::covering(level, index, new_count)));
    }
    tiles
}

/// The entry bundles that a tree has at `new_size` and did not have at `old_size`. From 0, all of them.
pub fn entry_bundles(old_size: u64, new_size: u64) -> Vec<BundleId> {
    if old_size >= new_size {
        return Vec::new();
    }
    (old_size / WIDTH..=(new_size - 1) / WIDTH).map(|index| BundleId::covering(index, new_size)).collect()
}

/// The partial entry bundle at the end of a tree of `size` leaves, if its last bundle is not full.
pub fn partial_bundle(size: u64) -> Option<BundleId> {
    (!size.is_multiple_of(WIDTH)).then(|| BundleId::covering(size / WIDTH, size))
}

/// [`TILE_WIDTH`] for arithmetic on sizes.
const WIDTH: u64 = TILE_WIDTH as u64;

/// The levels that a tree of `size` leaves has, each with its number of hashes.
fn levels(size: u64) -> impl Iterator<Item = (u8, u64)> {
    (0..=LEVEL_MAX).map(move |level| (level, size >> (8 * level))).take_while(|(_, count)| *count > 0)
}
