//! Signers of notes, and the text form of their secrets.
//!
//! Owns the two kinds of signer as two types, so that a log key never makes a cosignature and a cosigner never
//! signs without a time. Does not own where secrets are kept.
//! Invariant: nothing here prints a secret by `Debug` or `Display`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};

use super::key::{Algorithm, KeyError, KeyId, VerifierKey};
use super::{NoteSignature, check_key_name};

/// What the text of a secret key starts with.
const SECRET_START: &str = "PRIVATE+KEY+";

/// Signs the text of notes (algorithm 0x01): the key of a log or of a holder of the root of trust.
#[derive(Clone)]
pub struct NoteSigner(KeyPair);

/// Signs the text of checkpoints together with a time (algorithm 0x04): a witness, or the freshness key.
#[derive(Clone)]
pub struct Cosigner(KeyPair);

/// The text form of a secret key. It prints as asterisks; only [`SecretKeyText::expose`] gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKeyText(String);

#[derive(Clone)]
struct KeyPair {
    secret: SigningKey,
    public: VerifierKey,
}

impl NoteSigner {
    /// A signer called `name` with the Ed25519 key of this 32-byte seed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        KeyPair::new(name, Algorithm::Ed25519, seed).map(Self)
    }

    /// Reads `PRIVATE+KEY+<name>+<id>+<base64 of 0x01 and seed>`.
    pub fn parse(secret: &str) -> Result<Self, KeyError> {
        KeyPair::parse(Algorithm::Ed25519, secret).map(Self)
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.0.public
    }

    /// What [`NoteSigner::parse`] reads.
    pub fn secret_text(&self) -> SecretKeyText {
        self.0.secret_text()
    }

    /// Signs `text`, which must be the whole text of a note with its final line feed.
    pub fn sign(&self, text: &str) -> NoteSignature {
        self.0.line(self.0.secret.sign(text.as_bytes()).to_bytes().to_vec())
    }
}

impl Cosigner {
    /// A cosigner called `name` with the Ed25519 key of this 32-byte seed.
    ///
    /// The name is not part of what is signed: two cosigners must not share a key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        KeyPair::new(name, Algorithm::CosignatureV1, seed).map(Self)
    }

    /// Reads `PRIVATE+KEY+<name>+<id>+<base64 of 0x04 and seed>`.
    pub fn parse(secret: &str) -> Result<Self, KeyError> {
        KeyPair::parse(Algorithm::CosignatureV1, secret).map(Self)
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.0.public
    }

    /// What [`Cosigner::parse`] reads.
    pub fn secret_text(&self) -> SecretKeyText {
        self.0.secret_text()
    }

    /// States that at `time` the checkpoint `text` was the largest consistent one that this cosigner had seen.
    ///
    /// `time` is in seconds since 1970-01-01T00:00:00Z, at most 2^63 - 1: verifiers refuse a later one.
    pub fn sign(&self, text: &str, time: u64) -> NoteSignature {
        let signature = self.0.secret.sign(cosignature_message(text, time).as_bytes());
        self.0.line([&time.to_be_bytes()[..], &signature.to_bytes()[..]].concat())
    }
}

/// The message that a `cosignature/v1` signs: header line, time line, text of the checkpoint.
pub fn cosignature_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl KeyPair {
    fn new(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, algorithm, secret.verifying_key().as_bytes())?;
        Ok(Self { secret, public })
    }

    fn parse(algorithm: Algorithm, secret: &str) -> Result<Self, KeyError> {
        let mut parts = secret.strip_prefix(SECRET_START).ok_or(KeyError::Malformed)?.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Malformed);
        };
        check_key_name(name)?;
        let id = KeyId::from_hex(id).ok_or(KeyError::Malformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Malformed)?;
        let (given, seed) = bytes.split_first().ok_or(KeyError::Malformed)?;
        if *given != algorithm.byte() {
            return Err(KeyError::WrongAlgorithm { name: name.to_owned(), given: *given });
        }
        let seed = seed.try_into().map_err(|_| KeyError::BadBytes { name: name.to_owned() })?;
        let pair = Self::new(name, algorithm, seed)?;
        let expected = pair.public.id();
        if id == expected { Ok(pair) } else { Err(KeyError::WrongId { name: name.to_owned(), expected }) }
    }

    fn secret_text(&self) -> SecretKeyText {
        let public = &self.public;
        let bytes = [&[public.algorithm().byte()], &self.secret.to_bytes()[..]].concat();
        SecretKeyText(format!("{SECRET_START}{}+{}+{}", public.name(), public.id(), STANDARD.encode(bytes)))
    }

    fn line(&self, signature: Vec<u8>) -> NoteSignature {
        NoteSignature::new(self.public.name().to_owned(), self.public.id(), signature)
            .expect("the name was checked when the key was made")
    }
}

impl SecretKeyText {
    /// The secret. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKeyText(***)")
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.0.public)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.0.public)
    }
}
