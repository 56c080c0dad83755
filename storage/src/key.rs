//! Object keys: relative, `/`-separated, and safe on every backend.

use std::{borrow::Borrow, fmt};

/// A key: 1 to 512 bytes of `[A-Za-z0-9._@~+-]` segments joined by `/`, where no segment is empty, `.` or `..`.
///
/// The same key names the same bytes on every backend; on disk it is the path below the area's root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// The text is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a storage key")]
pub struct InvalidKey(String);

/// Longest key, in bytes: below the 1,024 of S3, with room for a bucket prefix.
const KEY_BYTES_MAX: usize = 512;

impl Key {
    /// Parses a key.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let segment_ok = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@~+-".contains(&b))
        };
        if text.len() <= KEY_BYTES_MAX && text.split('/').all(segment_ok) {
            Ok(Self(text))
        } else {
            Err(InvalidKey(text))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A map by key can be asked with any text.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}
