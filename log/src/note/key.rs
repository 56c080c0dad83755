//! Public keys of notes: the `vkey` text form, key ids and the algorithms that can be verified.
//!
//! Does not own secrets.
//! Invariant: a key of an implemented algorithm has the id that its name and bytes give, so an id never has to be
//! trusted on its own.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::signer::cosignature_message;
use super::{NoteError, check_key_name};

/// The four bytes by which signature lines name a key: a lookup aid, not a commitment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

/// What a key's first byte says about its signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the text (C2SP signed-note).
    Ed25519,
    /// 0x04: Ed25519 over the text and a time (C2SP tlog-cosignature, `cosignature/v1`).
    CosignatureV1,
    /// Any other: kept, so that configurations may name keys of the future, but it never verifies anything.
    Unknown(u8),
}

/// The public key of a signer, with the name and id under which its signatures appear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    algorithm: Algorithm,
    /// The bytes after the algorithm's.
    bytes: Vec<u8>,
    /// `Some` for the algorithms implemented here, which all use Ed25519.
    ed25519: Option<VerifyingKey>,
}

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not `<name>+<id>+<base64>`, or `PRIVATE+KEY+...` for secrets.
    #[error("not a key of the form `name+id+base64`")]
    Malformed,
    /// The name has a space, a plus sign or a control character, or is empty.
    #[error(transparent)]
    Name(#[from] NoteError),
    /// The id does not follow from name and bytes.
    #[error("the id of key `{name}` should be {expected}")]
    WrongId {
        /// Name of the key.
        name: String,
        /// The id that name and bytes give.
        expected: KeyId,
    },
    /// The bytes are not a usable key of this algorithm.
    #[error("the bytes of key `{name}` are not a usable key")]
    BadBytes {
        /// Name of the key.
        name: String,
    },
    /// The secret belongs to another algorithm than the one asked for.
    #[error("key `{name}` is for algorithm {given:#04x}")]
    WrongAlgorithm {
        /// Name of the key.
        name: String,
        /// The algorithm byte found.
        given: u8,
    },
}

/// That a signature is good, and what it states besides the text.
pub(super) struct Good {
    pub(super) time: Option<u64>,
}

impl KeyId {
    pub(crate) const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The id of a key: the first four bytes of `SHA-256(name || 0x0a || algorithm || public key)`.
    pub fn of(name: &str, algorithm: Algorithm, public: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', algorithm.byte()])
            .chain_update(public)
            .finalize();
        Self([hash[0], hash[1], hash[2], hash[3]])
    }

    /// The four bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 4];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Algorithm {
    /// The byte that stands for the algorithm.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
            Self::Unknown(byte) => byte,
        }
    }

    /// The algorithm that a byte stands for.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::Ed25519,
            0x04 => Self::CosignatureV1,
            other => Self::Unknown(other),
        }
    }
}

impl VerifierKey {
    /// Takes an Ed25519 public key for notes or for cosignatures.
    ///
    /// Fails for bytes that are no point of the curve or one of small order, and for a name that cannot be one.
    pub fn new(name: &str, algorithm: Algorithm, public: &[u8]) -> Result<Self, KeyError> {
        check_key_name(name)?;
        let id = KeyId::of(name, algorithm, public);
        let ed25519 = match algorithm {
            Algorithm::Ed25519 | Algorithm::CosignatureV1 => {
                let key = public.try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
                let usable = key.filter(|key| !key.is_weak());
                Some(usable.ok_or_else(|| KeyError::BadBytes { name: name.to_owned() })?)
            }
            Algorithm::Unknown(_) => None,
        };
        Ok(Self { name: name.to_owned(), id, algorithm, bytes: public.to_vec(), ed25519 })
    }

    /// Reads a `vkey`: `<name>+<8 hexadecimal digits of the id>+<base64 of algorithm byte and public key>`.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let (name, rest) = vkey.split_once('+').ok_or(KeyError::Malformed)?;
        let (id, encoded) = rest.split_once('+').ok_or(KeyError::Malformed)?;
        let id = KeyId::from_hex(id).ok_or(KeyError::Malformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Malformed)?;
        let (algorithm, public) = bytes.split_first().ok_or(KeyError::Malformed)?;
        let key = Self::new(name, Algorithm::from_byte(*algorithm), public)?;
        if !key.is_supported() {
            // Other algorithms may make their ids in other ways (0x02 does), so theirs is taken as it is.
            return Ok(Self { id, ..key });
        }
        if key.id == id { Ok(key) } else { Err(KeyError::WrongId { name: key.name, expected: key.id }) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key, without the algorithm byte.
    pub fn public_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether signatures of this key can be verified.
    pub fn is_supported(&self) -> bool {
        self.ed25519.is_some()
    }

    /// Checks a signature, as it stands in a note after the key id.
    pub(super) fn check(&self, text: &str, signature: &[u8]) -> Option<Good> {
        let key = self.ed25519.as_ref()?;
        match self.algorithm {
            Algorithm::Ed25519 => {
                key.verify_strict(text.as_bytes(), &Signature::from_slice(signature).ok()?).ok()?;
                Some(Good { time: None })
            }
            Algorithm::CosignatureV1 => {
                let (time, signature) = signature.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                // The format ends there, so that a time fits a signed 64-bit number.
                i64::try_from(time).ok()?;
                let signature = Signature::from_slice(signature).ok()?;
                key.verify_strict(cosignature_message(text, time).as_bytes(), &signature).ok()?;
                Some(Good { time: Some(time) })
            }
            Algorithm::Unknown(_) => None,
        }
    }
}

/// The `vkey` form.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.algorithm.byte()], &self.bytes[..]].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}
