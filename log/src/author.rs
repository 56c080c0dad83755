//! Signatures of authors: what they say of a release, who can make them, and whether they are enough.
//!
//! Owns the statement that is signed, the secret key, and the one check that publishers, clients and auditors share. Does not
//! own the rules ([`drystone_schemas::AuthorKeys`]), nor where secrets are kept.
//!
//! What is signed, with Ed25519, is this text (docs/formats.md):
//!
//! ```text
//! drystone.author/v1
//! <origin of the log>
//! <canonical name of the package>
//! <version>
//! sha256:<digest of the archive>
//! ```
//!
//! Invariant: a key is counted only for a statement that it signed, and only from its registration to its revocation.

use std::collections::BTreeSet;
use std::fmt;

use drystone_schemas::{
    AuthorKey, AuthorKeys, AuthorSignature, AuthorSignatures, PackageName, Sha256Digest, SigningRule, Version,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

/// What the statement begins with, so that no signature made for something else is one of a release.
const DOMAIN: &str = "drystone.author/v1";
/// What the text of a secret key begins with.
const SECRET_START: &str = "drystone-author-secret:ed25519:";

/// A release, as its authors sign it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorStatement<'a> {
    /// Origin of the registry's log.
    pub origin: &'a str,
    /// Package.
    pub name: &'a PackageName,
    /// Version.
    pub vers: &'a Version,
    /// The archive.
    pub tarball: Sha256Digest,
}

/// The secret key of an author. It prints as asterisks; only [`AuthorSecret::expose`] gives it.
#[derive(Clone)]
pub struct AuthorSecret(SigningKey);

/// Why signatures of a release are not good, or not enough.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthorError {
    /// The signature is not one of this key over this release.
    #[error("the signature of the author key `{key}` is not over this release")]
    BadSignature {
        /// The key.
        key: AuthorKey,
    },
    /// The key was not registered then, or was revoked.
    #[error("the author key `{key}` was not registered for this package then")]
    UnknownKey {
        /// The key.
        key: AuthorKey,
    },
    /// Too few of the keys that the rule names have signed.
    #[error("{signed} of its authors' keys have signed, and the rule of event {rule} asks for {threshold}")]
    TooFew {
        /// How many have.
        signed: usize,
        /// How many must.
        threshold: u32,
        /// Position in the log of the rule.
        rule: u64,
    },
}

/// The text is not that of an author's secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is not the secret key of an author")]
pub struct NotASecret;

impl AuthorStatement<'_> {
    /// The bytes that are signed.
    fn text(&self) -> String {
        let Self { origin, name, vers, tarball } = self;
        format!("{DOMAIN}\n{origin}\n{}\n{vers}\n{tarball}\n", name.canonical())
    }

    /// Whether this is the key's signature over the statement.
    pub fn is_signed(&self, key: &AuthorKey, signature: &AuthorSignature) -> bool {
        let key = VerifyingKey::from_bytes(&key.bytes()).ok().filter(|key| !key.is_weak());
        let signature = Signature::from_bytes(&signature.bytes());
        key.is_some_and(|key| key.verify_strict(self.text().as_bytes(), &signature).is_ok())
    }

    /// The keys that have signed. `keys` are those of the package, and `seq` is the position of the release in the log.
    ///
    /// # Errors
    ///
    /// [`AuthorError::UnknownKey`], [`AuthorError::BadSignature`]: one bad signature makes all of them bad.
    pub fn signers(
        &self,
        signatures: &AuthorSignatures,
        keys: Option<&AuthorKeys>,
        seq: u64,
    ) -> Result<BTreeSet<AuthorKey>, AuthorError> {
        for (key, signature) in signatures {
            if !keys.is_some_and(|keys| keys.holds(key, seq)) {
                return Err(AuthorError::UnknownKey { key: key.clone() });
            }
            if !self.is_signed(key, signature) {
                return Err(AuthorError::BadSignature { key: key.clone() });
            }
        }
        Ok(signatures.keys().cloned().collect())
    }
}

/// Whether enough of the keys that a rule names have signed.
///
/// # Errors
///
/// [`AuthorError::TooFew`].
pub fn satisfies(rule: &SigningRule, signers: &BTreeSet<AuthorKey>) -> Result<(), AuthorError> {
    let signed = rule.keys.intersection(signers).count();
    if signed >= rule.threshold as usize {
        return Ok(());
    }
    Err(AuthorError::TooFew { signed, threshold: rule.threshold, rule: rule.seq })
}

impl AuthorSecret {
    /// The key of this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads what [`AuthorSecret::expose`] gives, surrounded by blanks or not.
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let mut seed = [0; 32];
        let digits = text.trim().strip_prefix(SECRET_START).ok_or(NotASecret)?;
        hex::decode_to_slice(digits, &mut seed).map_err(|_| NotASecret)?;
        Ok(Self::from_seed(&seed))
    }

    /// The secret as text. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> String {
        format!("{SECRET_START}{}", hex::encode(self.0.to_bytes()))
    }

    /// The public key.
    pub fn public(&self) -> AuthorKey {
        AuthorKey::ed25519(self.0.verifying_key().as_bytes())
    }

    /// Signs a release.
    pub fn sign(&self, statement: &AuthorStatement<'_>) -> AuthorSignature {
        AuthorSignature::of_bytes(&self.0.sign(statement.text().as_bytes()).to_bytes())
    }
}

impl fmt::Debug for AuthorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorSecret({}, ***)", self.public())
    }
}
