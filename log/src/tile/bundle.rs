//! Entry bundles: up to 256 log entries in one file.
//!
//! Owns the format: each entry after its length as a big-endian 16-bit number. Does not own what entries say.
//! Invariant: a bundle has between 1 and 256 entries, and one byte form.

use thiserror::Error;

use super::path::{BundleId, TILE_WIDTH};
use super::{WIDTH, entry_bundles};
use crate::hash::{Hash, leaf_hash};

/// Largest entry in bytes: what the 16-bit length can say.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Why bytes or entries are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// An entry is longer than [`ENTRY_BYTES_MAX`].
    #[error("an entry of {bytes} bytes exceeds {ENTRY_BYTES_MAX}")]
    EntryTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes end within an entry or its length.
    #[error("the bundle ends within entry {entry}")]
    Truncated {
        /// Position of this entry in the bundle.
        entry: usize,
    },
    /// The number of entries is not the one that the name or the tree size asks for.
    #[error("{given} entries where there must be {expected}")]
    WrongCount {
        /// Entries needed.
        expected: usize,
        /// Entries given.
        given: usize,
    },
}

/// The entries of one bundle, in log order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryBundle {
    entries: Vec<Vec<u8>>,
}

impl EntryBundle {
    /// Takes 1 to 256 entries of at most [`ENTRY_BYTES_MAX`] bytes each.
    pub fn new(entries: Vec<Vec<u8>>) -> Result<Self, BundleError> {
        let full = usize::from(TILE_WIDTH);
        if entries.is_empty() || entries.len() > full {
            return Err(BundleError::WrongCount { expected: full, given: entries.len() });
        }
        match entries.iter().find(|entry| entry.len() > ENTRY_BYTES_MAX) {
            Some(entry) => Err(BundleError::EntryTooLong { bytes: entry.len() }),
            None => Ok(Self { entries }),
        }
    }

    /// Reads the bundle that `id` names: exactly its width in entries, and no byte more.
    pub fn decode(id: BundleId, bytes: &[u8]) -> Result<Self, BundleError> {
        let mut rest = bytes;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let truncated = BundleError::Truncated { entry: entries.len() };
            let (length, after) = rest.split_first_chunk().ok_or(truncated)?;
            let (entry, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(truncated)?;
            entries.push(entry.to_vec());
            rest = after;
        }
        let expected = usize::from(id.width());
        if entries.len() != expected {
            return Err(BundleError::WrongCount { expected, given: entries.len() });
        }
        Ok(Self { entries })
    }

    /// The bytes of the bundle.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.iter().map(|entry| entry.len() + 2).sum());
        for entry in &self.entries {
            let length = u16::try_from(entry.len()).expect("every constructor bounds the length of an entry");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    /// The entries, in log order.
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Gives the entries away.
    pub fn into_entries(self) -> Vec<Vec<u8>> {
        self.entries
    }

    /// The leaf hash of each entry: the content of the level-0 tile of the same name.
    pub fn leaf_hashes(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| leaf_hash(entry)).collect()
    }
}

/// The bundles to write when `new_entries` are appended to a log of `old_size` entries.
///
/// `partial` is the bundle that [`partial_bundle`](super::partial_bundle) names for `old_size`, `None` where it
/// names none. Names and order are those of [`entry_bundles`](super::entry_bundles).
pub fn grow_entries(
    old_size: u64,
    partial: Option<&EntryBundle>,
    new_entries: &[Vec<u8>],
) -> Result<Vec<(BundleId, EntryBundle)>, BundleError> {
    let before = partial.map_or(&[][..], |bundle| bundle.entries());
    let expected = (old_size % WIDTH) as usize;
    if before.len() != expected {
        return Err(BundleError::WrongCount { expected, given: before.len() });
    }
    let mut entries = before.iter().chain(new_entries).cloned();
    let new_size = old_size + new_entries.len() as u64;
    let with_entries = |id: BundleId| {
        let entries = entries.by_ref().take(usize::from(id.width())).collect();
        Ok((id, EntryBundle::new(entries)?))
    };
    entry_bundles(old_size, new_size).into_iter().map(with_entries).collect()
}
