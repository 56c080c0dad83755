//! Shards: the leaves of the state map, small sorted texts.
//!
//! Owns the line format. Does not own which files a package has, nor what canonical names look like beyond what keeps
//! a line readable.
//! Invariant: a shard holds only names that belong to it, in one byte form; so equal entries give equal leaf hashes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use thiserror::Error;

use super::shard_of;
use crate::checkpoint::parse_decimal;
use crate::hash::{Hash, leaf_hash};

/// Size in bytes beyond which a shard takes no further name. Entries it has can still change.
///
/// A million packages fill a shard with about 3 KiB. Names that collide on purpose must not make a shard that
/// readers refuse.
pub const SHARD_BYTES_MAX: usize = 1024 * 1024;

/// Largest shard that is read: room for the entries of a full shard to grow.
pub const SHARD_READ_BYTES_MAX: usize = 4 * SHARD_BYTES_MAX;

/// Largest canonical name, in bytes: two parts of 64 and whatever marks the kind of name.
const NAME_BYTES_MAX: usize = 255;

/// Digest and length of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// SHA-256 of the uncompressed bytes.
    pub digest: Hash,
    /// Length of the uncompressed bytes.
    pub len: u64,
}

/// The newest files of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    /// Position in the log of the last event that changed any of the files.
    pub seq: u64,
    /// The files by class, a lower-case letter: `i` index, `d` package document, `r` resolve record, `a` alias map.
    pub files: BTreeMap<char, FileRef>,
}

/// The entries of one shard, by canonical name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    entries: BTreeMap<String, ShardEntry>,
}

/// Why a shard was refused, or an entry cannot be put into it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShardError {
    /// More than [`SHARD_READ_BYTES_MAX`] bytes.
    #[error("a shard of {bytes} bytes exceeds {SHARD_READ_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line is malformed, or not in the one form that it could have.
    #[error("line {line} of the shard is malformed")]
    BadLine {
        /// Its number, starting at 1.
        line: usize,
    },
    /// The bytes do not hash to the leaf asked for.
    #[error("the shard does not have the leaf hash {expected}")]
    WrongHash {
        /// The leaf hash asked for.
        expected: Hash,
    },
    /// The name belongs to another shard.
    #[error("`{name}` belongs to shard {belongs}, not to shard {index}")]
    WrongShard {
        /// The name.
        name: String,
        /// This shard.
        index: u16,
        /// The shard of the name.
        belongs: u16,
    },
    /// The name is empty, too long, or has characters that no canonical name has.
    #[error("{name:?} is not a canonical name")]
    BadName {
        /// The name.
        name: String,
    },
    /// The entry has no file, or one under something else than a lower-case letter.
    #[error("the entry of `{name}` has no files, or one of no known form of class")]
    BadFiles {
        /// The name.
        name: String,
    },
    /// The shard is full: it takes no further name.
    #[error("shard {index} is full")]
    Full {
        /// The shard.
        index: u16,
    },
}

impl Shard {
    /// The shard without entries.
    pub fn empty(index: u16) -> Self {
        Self { index, entries: BTreeMap::new() }
    }

    /// Whether `leaf` is the hash of a shard without entries, which must not be fetched.
    pub fn is_empty_leaf(leaf: &Hash) -> bool {
        *leaf == leaf_hash(b"")
    }

    /// Reads the bytes of shard `index`, strictly: what it accepts, [`Shard::to_bytes`] writes back to the same bytes.
    pub fn parse(index: u16, bytes: &[u8]) -> Result<Self, ShardError> {
        if bytes.len() > SHARD_READ_BYTES_MAX {
            return Err(ShardError::TooLong { bytes: bytes.len() });
        }
        let mut shard = Self::empty(index);
        if bytes.is_empty() {
            return Ok(shard);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ShardError::BadLine { line: 1 })?;
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let bad_line = ShardError::BadLine { line: number };
            let (name, entry) = line.strip_suffix('\n').and_then(parse_line).ok_or(bad_line.clone())?;
            shard.check(name, &entry)?;
            if shard.entries.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
                return Err(bad_line);
            }
            shard.entries.insert(name.to_owned(), entry);
        }
        Ok(shard)
    }

    /// Reads the shard that is stored under `leaf`, and refuses bytes with another hash.
    pub fn open(index: u16, leaf: &Hash, bytes: &[u8]) -> Result<Self, ShardError> {
        if leaf_hash(bytes) != *leaf {
            return Err(ShardError::WrongHash { expected: *leaf });
        }
        Self::parse(index, bytes)
    }

    /// The bytes to store: one line for each name, sorted bytewise.
    ///
    /// `<canonical name> <seq> <class>:<sha256>:<length>[ <class>:...]`, the classes in ascending order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (name, entry) in &self.entries {
            write_line(&mut text, name, entry);
        }
        text.into_bytes()
    }

    /// The leaf hash of the shard.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.to_bytes())
    }

    /// Which shard it is.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The entry of a name; `None` proves that no such package exists, if the shard itself is proved.
    pub fn get(&self, name: &str) -> Option<&ShardEntry> {
        self.entries.get(name)
    }

    /// All entries, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &ShardEntry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Adds or replaces the entry of a name that belongs to this shard.
    pub fn set(&mut self, name: &str, entry: ShardEntry) -> Result<(), ShardError> {
        self.set_within(SHARD_BYTES_MAX, name, entry)
    }

    fn set_within(&mut self, bytes_max: usize, name: &str, entry: ShardEntry) -> Result<(), ShardError> {
        self.check(name, &entry)?;
        if let Some(known) = self.entries.get_mut(name) {
            *known = entry;
            return Ok(());
        }
        let mut line = String::new();
        write_line(&mut line, name, &entry);
        if self.to_bytes().len() + line.len() > bytes_max {
            return Err(ShardError::Full { index: self.index });
        }
        self.entries.insert(name.to_owned(), entry);
        Ok(())
    }

    fn check(&self, name: &str, entry: &ShardEntry) -> Result<(), ShardError> {
        let bad = |byte: u8| !byte.is_ascii_graphic() || byte.is_ascii_uppercase();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.bytes().any(bad) {
            return Err(ShardError::BadName { name: name.to_owned() });
        }
        if entry.files.is_empty() || !entry.files.keys().all(char::is_ascii_lowercase) {
            return Err(ShardError::BadFiles { name: name.to_owned() });
        }
        let belongs = shard_of(name);
        if belongs != self.index {
            return Err(ShardError::WrongShard { name: name.to_owned(), index: self.index, belongs });
        }
        Ok(())
    }
}

fn write_line(text: &mut String, name: &str, entry: &ShardEntry) {
    text.push_str(name);
    // Writing to a string cannot fail.
    let _ = write!(text, " {}", entry.seq);
    for (class, file) in &entry.files {
        let _ = write!(text, " {class}:{}:{}", file.digest, file.len);
    }
    text.push('\n');
}

/// Reads a line without its line feed. Name and classes are checked by the caller.
fn parse_line(line: &str) -> Option<(&str, ShardEntry)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let seq = parse_decimal(words.next()?)?;
    let mut files = BTreeMap::new();
    for word in words {
        let (class, rest) = word.split_once(':')?;
        let (digest, len) = rest.split_once(':')?;
        let mut letters = class.chars();
        let (Some(class), None) = (letters.next(), letters.next()) else { return None };
        if files.last_key_value().is_some_and(|(last, _)| *last >= class) {
            return None;
        }
        files.insert(class, FileRef { digest: Hash::from_hex(digest).ok()?, len: parse_decimal(len)? });
    }
    Some((name, ShardEntry { seq, files }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> ShardEntry {
        ShardEntry { seq, files: [('i', FileRef { digest: Hash::digest(b""), len: seq })].into() }
    }

    #[test]
    fn a_full_shard_takes_changes_but_no_names() {
        let mut names = (0..).map(|number| format!("n{number}")).filter(|name| shard_of(name) == 5);
        let (first, second) = (names.next().unwrap(), names.next().unwrap());
        let mut shard = Shard::empty(5);
        shard.set(&first, entry(1)).unwrap();
        let one = shard.to_bytes().len();
        shard.set(&second, entry(1)).unwrap();
        let both = shard.to_bytes().len();

        let mut shard = Shard::empty(5);
        assert_eq!(shard.set_within(one - 1, &first, entry(1)), Err(ShardError::Full { index: 5 }));
        assert_eq!(shard, Shard::empty(5));
        shard.set_within(one, &first, entry(1)).unwrap();
        assert_eq!(shard.set_within(both - 1, &second, entry(1)), Err(ShardError::Full { index: 5 }));
        shard.set_within(one, &first, entry(1_000_000)).unwrap();
        assert_eq!(shard.get(&first), Some(&entry(1_000_000)));
        assert_eq!(shard.get(&second), None);
    }
}
