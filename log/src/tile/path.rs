//! Names of tiles and entry bundles.
//!
//! Owns coordinates and their C2SP paths, both ways. Does not own where the log lies: paths start at `tile/`.
//! Invariant: one tile has one path; parsing accepts nothing that formatting would not write.

use std::fmt;

use thiserror::Error;

use crate::merkle::SIZE_MAX;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Highest tile level that a tree of 2^63 - 1 leaves has. The format allows names up to 63, which no tree can have.
pub const LEVEL_MAX: u8 = 7;

/// One tile: `width` hashes at `level`, the tile's `index` counting from the left.
///
/// Hash i of the tile is the root of the complete subtree over the leaves from `(index * 256 + i) * 256^level`.
/// Tiles are ordered by level, then from left to right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// One entry bundle: the entries below the level-0 tile of the same index and width.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    index: u64,
    width: u16,
}

/// Why a path or coordinates do not name a tile or bundle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TilePathError {
    /// Not the one spelling of any tile or bundle.
    #[error("`{path}` is not the path of a tile")]
    NotAPath {
        /// The text given.
        path: String,
    },
    /// The width is 0 or above 256, or the tile lies beyond the largest tree.
    #[error("no tree has a tile of width {width} at level {level} and index {index}")]
    Impossible {
        /// Level asked for.
        level: u8,
        /// Index asked for.
        index: u64,
        /// Width asked for.
        width: u16,
    },
}

impl TileId {
    /// Names a tile of `width` hashes, 1 to 256; fails where no tree of at most [`SIZE_MAX`] leaves has it.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TilePathError> {
        let leaves_end = 256_u64
            .checked_pow(u32::from(level))
            .and_then(|span| index.checked_mul(256)?.checked_add(u64::from(width))?.checked_mul(span));
        let possible =
            matches!(leaves_end, Some(end) if end <= SIZE_MAX) && (1..=TILE_WIDTH).contains(&width);
        if possible {
            Ok(Self { level, index, width })
        } else {
            Err(TilePathError::Impossible { level, index, width })
        }
    }

    /// The tile at (`level`, `index`) as it is when its level has `count` hashes, at least one of them in it.
    pub(crate) fn covering(level: u8, index: u64, count: u64) -> Self {
        let width = (count - index * 256).min(u64::from(TILE_WIDTH));
        Self { level, index, width: width as u16 }
    }

    /// The level, 0 for leaf hashes.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The position within the level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The number of hashes, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether the tile has all its 256 hashes.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The path: `tile/<level>/<index>`, and `.p/<width>` when partial.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads what [`TileId::path`] writes, and nothing else.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        let not_a_path = || TilePathError::NotAPath { path: path.to_owned() };
        let (level, rest) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or_else(not_a_path)?;
        let level = decimal(level).and_then(|level| u8::try_from(level).ok()).ok_or_else(not_a_path)?;
        let (index, width) = parse_position(rest).ok_or_else(not_a_path)?;
        let id = Self::new(level, index, width)?;
        if id.path() == path { Ok(id) } else { Err(not_a_path()) }
    }
}

impl BundleId {
    /// Names a bundle of `width` entries, 1 to 256; fails where no tree of at most [`SIZE_MAX`] leaves has it.
    pub fn new(index: u64, width: u16) -> Result<Self, TilePathError> {
        TileId::new(0, index, width).map(|id| Self { index: id.index, width: id.width })
    }

    /// The bundle at `index` of a tree of `size` leaves, which has at least one of its entries.
    pub(crate) fn covering(index: u64, size: u64) -> Self {
        let TileId { index, width, .. } = TileId::covering(0, index, size);
        Self { index, width }
    }

    /// The position from the left.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The number of entries, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Position in the log of the first entry.
    pub fn first_entry(&self) -> u64 {
        self.index * u64::from(TILE_WIDTH)
    }

    /// The level-0 tile with the hashes of these entries.
    pub fn tile(&self) -> TileId {
        TileId { level: 0, index: self.index, width: self.width }
    }

    /// The path: `tile/entries/<index>`, and `.p/<width>` when partial.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads what [`BundleId::path`] writes, and nothing else.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        let not_a_path = || TilePathError::NotAPath { path: path.to_owned() };
        let (index, width) =
            path.strip_prefix("tile/entries/").and_then(parse_position).ok_or_else(not_a_path)?;
        let id = Self::new(index, width)?;
        if id.path() == path { Ok(id) } else { Err(not_a_path()) }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_position(f, self.index, self.width)
    }
}

impl fmt::Debug for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_position(f, self.index, self.width)
    }
}

impl fmt::Debug for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes an index in groups of three digits, all but the last with an `x` before them, so that no file stands
/// where a directory must be.
fn write_position(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut divisor = 1;
    while index / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", index / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if width == TILE_WIDTH { Ok(()) } else { write!(f, ".p/{width}") }
}

/// Reads index and width leniently; the callers compare with the one right spelling.
fn parse_position(text: &str) -> Option<(u64, u16)> {
    let (groups, width) = match text.split_once(".p/") {
        Some((groups, width)) => (groups, u16::try_from(decimal(width)?).ok()?),
        None => (text, TILE_WIDTH),
    };
    let index = groups.split('/').try_fold(0_u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index.checked_mul(1000)?.checked_add(decimal(digits)?)
    })?;
    Some((index, width))
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
