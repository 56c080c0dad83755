//! The hash of the log: SHA-256 with the leaf and node prefixes of RFC 6962.
//!
//! Owns the newtype [`struct@Hash`] and the only two places where a prefix byte is written. Does not own trees.
//! Invariant: a leaf and an inner node never hash the same message, because their first byte differs
//! (RFC 6962 section 2.1).

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// First byte of a leaf's message.
const LEAF_PREFIX: u8 = 0x00;
/// First byte of an inner node's message.
const NODE_PREFIX: u8 = 0x01;

/// A SHA-256 value: a leaf hash, a subtree root, or the digest of an object.
///
/// `Display`, `Debug` and serde use 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// Why a text or a slice is not a [`struct@Hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HashError {
    /// Not 64 lower-case hexadecimal digits.
    #[error("not 64 lower-case hexadecimal digits")]
    Hex,
    /// Not the canonical base64 (RFC 4648 section 4) of 32 bytes.
    #[error("not the base64 form of 32 bytes")]
    Base64,
    /// Not 32 bytes long.
    #[error("{0} bytes where a hash has 32")]
    Length(usize),
}

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Wraps 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The plain SHA-256 digest of `data`, without any prefix: how objects are named.
    pub fn digest(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads exactly 32 bytes, or fails with [`HashError::Length`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, HashError> {
        bytes.try_into().map(Self).map_err(|_| HashError::Length(bytes.len()))
    }

    /// Reads 64 lower-case hexadecimal digits; upper case is refused, so that a hash has one spelling.
    pub fn from_hex(text: &str) -> Result<Self, HashError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(HashError::Hex);
        }
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| HashError::Hex)?;
        Ok(Self(bytes))
    }

    /// The 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads standard padded base64; anything but the canonical 44 characters is refused.
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        let bytes = STANDARD.decode(text).map_err(|_| HashError::Base64)?;
        Self::from_slice(&bytes).map_err(|_| HashError::Base64)
    }

    /// Standard padded base64, 44 characters.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Hash> for [u8; 32] {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).map_err(serde::de::Error::custom)
    }
}

/// The hash of one log entry: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([LEAF_PREFIX]).chain_update(entry).finalize().into())
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([NODE_PREFIX])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// The root of the tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Hash {
    static EMPTY: LazyLock<Hash> = LazyLock::new(|| Hash::digest(b""));
    *EMPTY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_match_rfc_6962() {
        assert_eq!(empty_root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        // The leaf hash of the empty entry, as Certificate Transparency test vectors give it.
        assert_eq!(
            leaf_hash(b"").to_hex(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let hash = leaf_hash(b"x");
        assert_eq!(Hash::from_hex(&hash.to_hex()), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
        assert_eq!(Hash::from_hex(&hash.to_hex().to_uppercase()), Err(HashError::Hex));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Hash::from_hex(bad), Err(HashError::Hex), "{bad}");
        }
        // The last character before the padding carries two bits that must be zero.
        let loose = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=";
        for bad in ["", "AAAA", loose, hash.to_base64().trim_end_matches('=')] {
            assert_eq!(Hash::from_base64(bad), Err(HashError::Base64), "{bad}");
        }
        assert_eq!(Hash::from_slice(&[0; 31]), Err(HashError::Length(31)));
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
        assert_eq!(<[u8; 32]>::from(Hash::from(bytes)), bytes);
        assert_eq!(AsRef::<[u8]>::as_ref(&Hash::from(bytes)), bytes);
    }

    #[test]
    fn serde_uses_hex() {
        let hash = leaf_hash(b"x");
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{hash}\""));
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<Hash>("\"00\"").is_err());
    }
}
