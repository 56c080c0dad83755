//! Signed notes: a text and the signatures under it (C2SP signed-note).
//!
//! Owns the format and the rule which signatures count. Keys are in `key`, signers in `signer`. Does not own what
//! the text says.
//! Invariant: a note that [`Note::verify`] accepts has a good signature of a known key and no bad one.

mod key;
mod signer;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use key::{Algorithm, KeyError, KeyId, VerifierKey};
pub use signer::{Cosigner, NoteSigner, SecretKeyText, cosignature_message};

/// Largest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Most signatures that are read; the format asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;

/// What a signature line starts with: em dash and space.
const LINE_START: &str = "\u{2014} ";

/// A text with its signatures, in the order in which they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: KeyId,
    signature: Vec<u8>,
}

/// A key whose signature under a note is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// The key, one of those given to [`Note::verify`].
    pub key: &'a VerifierKey,
    /// For a cosignature, the newest time that this key states, in seconds since 1970-01-01T00:00:00Z.
    pub time: Option<u64>,
}

/// Why a note cannot be read, written or trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// More than [`NOTE_BYTES_MAX`] bytes.
    #[error("a note of {bytes} bytes exceeds {NOTE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is not UTF-8, has a control character or does not end with a line feed.
    #[error("the text of the note is malformed")]
    BadText,
    /// There is no blank line followed by signatures.
    #[error("the note has no signatures")]
    NoSignatures,
    /// More than [`SIGNATURES_MAX`] signatures.
    #[error("the note has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A signature line is malformed.
    #[error("line {line} of the signatures is malformed")]
    BadSignatureLine {
        /// Its number, starting at 1.
        line: usize,
    },
    /// The name is empty, or has a space, a plus sign or a control character.
    #[error("`{name}` is not a key name")]
    BadKeyName {
        /// The name given.
        name: String,
    },
    /// A signature by a known key is wrong: the whole note is refused.
    #[error("the signature of `{name}` ({key_id}) is wrong")]
    WrongSignature {
        /// Name of the key.
        name: String,
        /// Id of the key.
        key_id: KeyId,
    },
    /// No known key has signed.
    #[error("no known key has signed the note")]
    NotSignedByKnownKey,
    /// Two of the keys given to verify with have the same name and id.
    #[error("two keys are called `{name}` ({key_id})")]
    AmbiguousKey {
        /// Name of the keys.
        name: String,
        /// Id of the keys.
        key_id: KeyId,
    },
}

impl Note {
    /// Takes a text to be signed: not empty, no control characters except line feeds, a line feed at the end.
    pub fn new(text: String) -> Result<Self, NoteError> {
        check_text(&text)?;
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note with 1 to [`SIGNATURES_MAX`] signatures, none of them verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::BadText)?;
        // The last blank line is the one that separates: the text may have others.
        let separator = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&note[..=separator], &note[separator + 2..]);
        check_text(text)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (number, line) in (1..).zip(lines.split('\n')) {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::BadSignatureLine { line: number })?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, with its final line feed and without the blank line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in order, not verified.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line at the end; fails when there are [`SIGNATURES_MAX`] already.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The note with the signatures of this key alone.
    pub fn signed_only_by(mut self, key: &VerifierKey) -> Self {
        self.signatures.retain(|signature| (signature.name(), signature.key_id()) == (key.name(), key.id()));
        self
    }

    /// The bytes of the note.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Verifies the signatures with the keys that the caller knows, and returns the keys that signed, in the order
    /// of their first signatures.
    ///
    /// A signature counts for the key of the same name *and* id. Signatures of other keys are ignored. A bad signature of
    /// a known key refuses the note, also beside good ones. A key of an algorithm that is not
    /// implemented is treated as unknown.
    pub fn verify<'a>(&self, known: &'a [VerifierKey]) -> Result<Vec<Verified<'a>>, NoteError> {
        let mut verified: Vec<Verified<'a>> = Vec::new();
        for signature in &self.signatures {
            let mut candidates =
                known.iter().filter(|key| key.name() == signature.name && key.id() == signature.key_id);
            let Some(key) = candidates.next() else { continue };
            let (name, key_id) = (signature.name.clone(), signature.key_id);
            if candidates.next().is_some() {
                return Err(NoteError::AmbiguousKey { name, key_id });
            }
            if !key.is_supported() {
                continue;
            }
            let good = key.check(&self.text, &signature.signature);
            let time = good.ok_or(NoteError::WrongSignature { name, key_id })?.time;
            match verified.iter_mut().find(|seen| seen.key == key) {
                Some(seen) => seen.time = seen.time.max(time),
                None => verified.push(Verified { key, time }),
            }
        }
        if verified.is_empty() { Err(NoteError::NotSignedByKnownKey) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// Takes the parts of a line, for signers that live elsewhere (a key service, a witness).
    pub fn new(name: String, key_id: KeyId, signature: Vec<u8>) -> Result<Self, NoteError> {
        check_key_name(&name)?;
        Ok(Self { name, key_id, signature })
    }

    /// Reads one line, without its line feed: `— <name> <base64 of key id and signature>`.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(LINE_START)?.split_once(' ')?;
        check_key_name(name).ok()?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_id, signature) = bytes.split_first_chunk()?;
        // A signature of no bytes is none.
        (!signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            key_id: KeyId::new(*key_id),
            signature: signature.to_vec(),
        })
    }

    /// Name of the key that is said to have signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key that is said to have signed.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature without the key id.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// The signature line, without its line feed.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_bytes(), &self.signature[..]].concat();
        write!(f, "{LINE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A signature line that nobody can verify, so that readers that do not ignore such lines, as they must, are found out
/// early. The same text has the same line.
pub fn grease(text: &str) -> NoteSignature {
    let hash = Sha256::new().chain_update("grease").chain_update(text).finalize();
    let (id, rest) = hash.split_first_chunk().expect("a SHA-256 has 32 bytes");
    let name = format!("grease.invalid/{}", hex::encode(&rest[..4]));
    NoteSignature { name, key_id: KeyId::new(*id), signature: rest[4..20].to_vec() }
}

/// Key names are not empty and have no white space, no `+` and no control characters.
pub(crate) fn check_key_name(name: &str) -> Result<(), NoteError> {
    let bad = |char: char| char.is_whitespace() || char.is_control() || char == '+';
    if name.is_empty() || name.contains(bad) {
        return Err(NoteError::BadKeyName { name: name.to_owned() });
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let bad = |byte: u8| byte < b' ' && byte != b'\n';
    if text.bytes().any(bad) || !text.ends_with('\n') { Err(NoteError::BadText) } else { Ok(()) }
}
