//! The root of trust: which keys, held offline, say under which policy a registry's log is believed.
//!
//! Owns the document `log/trust/<N>` and the rule by which a successor is accepted. Does not own where documents come
//! from, nor the clock.
//!
//! A document is a signed note (C2SP signed-note). Its text, in this order:
//!
//! ```text
//! <subject>/trust
//! version <N>
//! expires <seconds since 1970>
//! threshold <k>
//! root <vkey>                          one to 32 lines; named <subject>/root/<holder>, Ed25519
//! policy <SHA-256 of the policy file>  a C2SP tlog-policy file at o/<SHA-256>
//! max-age <seconds>
//! log-final <origin> <size> <root>     for each log that is retired
//! ```
//!
//! The rule is that of TUF's root role (TUF specification 1.0.34, section 5.3): a successor has the next number, and is
//! signed by the threshold of its predecessor's roots *and* by that of its own. What expired says nothing any more,
//! unless as a step towards a successor that did not.
//!
//! Invariant: a [`TrustDocument`] out of [`SignedTrust::begin`] or [`SignedTrust::succeed`] has the signatures that these
//! ask for; nothing else makes a document trusted.

mod text;

use drystone_schemas::Sha256Digest;
use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::note::{Note, NoteError, NoteSigner, VerifierKey};

pub use text::TrustLine;

/// Most roots of a document.
pub const ROOTS_MAX: usize = 32;

/// Most logs that a document retires.
pub const FINAL_LOGS_MAX: usize = 32;

/// What the roots say. Each field stands for one kind of line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDocument {
    /// What the chain is about, for ever: usually the origin of the registry's first log.
    pub subject: String,
    /// Position in the chain, starting at 1.
    pub version: u64,
    /// From when on the document says nothing any more, in seconds since 1970.
    pub expires: u64,
    /// How many roots must sign a successor.
    pub threshold: usize,
    /// The keys of the holders.
    pub roots: Vec<VerifierKey>,
    /// Digest of the policy file.
    pub policy: Sha256Digest,
    /// How old cosignatures may be, in seconds.
    pub max_age_s: u64,
    /// The last checkpoints of logs that are no longer written.
    pub final_logs: Vec<Checkpoint>,
}

/// A document with the signatures that it has so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTrust {
    document: TrustDocument,
    note: Note,
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// The note is malformed, or a root's signature is wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not that of a trust document, or not as this module writes it.
    #[error("the trust document is malformed: its {line}")]
    Malformed {
        /// Which line.
        line: TrustLine,
    },
    /// Too few of the document's own roots have signed it.
    #[error("version {version} is signed by {signed} of its own roots, and needs {threshold}")]
    TooFewOwn {
        /// Number of the document.
        version: u64,
        /// How many have.
        signed: usize,
        /// How many must.
        threshold: usize,
    },
    /// Too few of the predecessor's roots have signed it.
    #[error("version {version} is signed by {signed} roots of the version before, and needs {threshold}")]
    TooFewOld {
        /// Number of the document.
        version: u64,
        /// How many have.
        signed: usize,
        /// How many must.
        threshold: usize,
    },
    /// It is not the next of its chain.
    #[error("version {expected} was expected, and this is version {found}")]
    WrongVersion {
        /// The next number.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// It is about something else.
    #[error("the document is about `{found}`, not about `{expected}`")]
    WrongSubject {
        /// What the chain is about.
        expected: String,
        /// What the document is about.
        found: String,
    },
    /// A log that was retired is missing, or ends elsewhere.
    #[error("the log `{origin}` was retired before, and the document does not say so any more")]
    RevivesLog {
        /// Its origin.
        origin: String,
    },
    /// It says nothing any more.
    #[error("version {version} of the root of trust expired at {expired}")]
    Expired {
        /// Number of the document.
        version: u64,
        /// When, in seconds since 1970.
        expired: u64,
    },
    /// The key that is asked to sign is none of the document's roots, nor of its predecessor's.
    #[error("`{name}` is no root of this document")]
    NotARoot {
        /// Name of the key.
        name: String,
    },
}

impl TrustDocument {
    /// Reads the text of a document, which has only one spelling.
    ///
    /// # Errors
    ///
    /// [`TrustError::Malformed`] names the first line that is wrong.
    pub fn decode(text: &str) -> Result<Self, TrustError> {
        text::decode(text)
    }

    /// The text, to be signed.
    ///
    /// # Errors
    ///
    /// [`TrustError::Malformed`] if a field has a value that no document may have.
    pub fn encode(&self) -> Result<String, TrustError> {
        text::encode(self)
    }

    /// Whether the document still says anything at this time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`TrustError::Expired`].
    pub fn check_time(&self, now: u64) -> Result<(), TrustError> {
        if now < self.expires {
            return Ok(());
        }
        Err(TrustError::Expired { version: self.version, expired: self.expires })
    }

    /// The last checkpoint of the log `origin`, if it is retired.
    pub fn final_log(&self, origin: &str) -> Option<&Checkpoint> {
        self.final_logs.iter().find(|log| log.origin() == origin)
    }

    /// How many of these roots have signed a note; each counts once.
    fn signed_by(roots: &[VerifierKey], note: &Note) -> Result<usize, NoteError> {
        match note.verify(roots) {
            Ok(good) => Ok(good.len()),
            Err(NoteError::NotSignedByKnownKey) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl SignedTrust {
    /// Makes a document that nobody has signed yet.
    ///
    /// # Errors
    ///
    /// [`TrustError::Malformed`] if a field has a value that no document may have.
    pub fn new(document: TrustDocument) -> Result<Self, TrustError> {
        let note = Note::new(document.encode()?)?;
        Ok(Self { document, note })
    }

    /// Reads a document with at least one signature. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`TrustError::Note`] and [`TrustError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let note = Note::parse(bytes)?;
        let document = TrustDocument::decode(note.text())?;
        Ok(Self { document, note })
    }

    /// Reads a document that may still be without any signature, as its makers hand it around.
    ///
    /// # Errors
    ///
    /// [`TrustError::Note`] and [`TrustError::Malformed`].
    pub fn parse_draft(bytes: &[u8]) -> Result<Self, TrustError> {
        match std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix("\n\n")) {
            Some(text) => Self::new(TrustDocument::decode(&format!("{text}\n"))?),
            None => Self::parse(bytes),
        }
    }

    /// What the document says, which nobody may have signed: see [`SignedTrust::begin`].
    pub fn unverified(&self) -> &TrustDocument {
        &self.document
    }

    /// The note, with the signatures that it has so far.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The bytes of the file. Without any signature it ends in a blank line, and only [`SignedTrust::parse_draft`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_bytes()
    }

    /// Adds the signature of a root: one of the document's own, or of its predecessor's, if it is given. A root that has
    /// signed already signs the same again, which changes nothing.
    ///
    /// # Errors
    ///
    /// [`TrustError::NotARoot`] for any other key, and [`TrustError::Note`] when there is no room.
    pub fn sign(
        &mut self,
        signer: &NoteSigner,
        predecessor: Option<&TrustDocument>,
    ) -> Result<(), TrustError> {
        let roots = self.document.roots.iter().chain(predecessor.iter().flat_map(|before| &before.roots));
        let key = signer.verifier();
        if !roots.into_iter().any(|root| root == key) {
            return Err(TrustError::NotARoot { name: key.name().to_owned() });
        }
        let signature = signer.sign(self.note.text());
        if !self.note.signatures().contains(&signature) {
            self.note.add(signature)?;
        }
        Ok(())
    }

    /// Takes the signatures of another copy of the same document; false if it is another document.
    ///
    /// # Errors
    ///
    /// [`TrustError::Note`] when there is no room.
    pub fn merge(&mut self, other: &Self) -> Result<bool, TrustError> {
        if other.document != self.document {
            return Ok(false);
        }
        for signature in other.note.signatures() {
            if !self.note.signatures().contains(signature) {
                self.note.add(signature.clone())?;
            }
        }
        Ok(true)
    }

    /// How many of the document's own roots have signed it.
    ///
    /// # Errors
    ///
    /// [`TrustError::Note`] if the signature of a root is wrong.
    pub fn own_signatures(&self) -> Result<usize, TrustError> {
        Ok(TrustDocument::signed_by(&self.document.roots, &self.note)?)
    }

    /// Takes the document as the beginning of what is trusted, if its own roots stand behind it.
    ///
    /// That they are the right roots has to be known from elsewhere: by a digest or a key that was handed over.
    ///
    /// # Errors
    ///
    /// [`TrustError::TooFewOwn`], and [`TrustError::Note`] if the signature of a root is wrong.
    pub fn begin(&self) -> Result<&TrustDocument, TrustError> {
        let TrustDocument { version, threshold, .. } = self.document;
        let signed = self.own_signatures()?;
        if signed < threshold {
            return Err(TrustError::TooFewOwn { version, signed, threshold });
        }
        Ok(&self.document)
    }

    /// Takes the document as the successor of one that is trusted.
    ///
    /// Neither of the two has to be still in force: a client that was away for long walks over expired ones. It calls
    /// [`TrustDocument::check_time`] on the last.
    ///
    /// # Errors
    ///
    /// [`TrustError::WrongSubject`], [`TrustError::WrongVersion`], [`TrustError::RevivesLog`], [`TrustError::TooFewOld`],
    /// [`TrustError::TooFewOwn`], and [`TrustError::Note`] if the signature of a root is wrong.
    pub fn succeed(&self, trusted: &TrustDocument) -> Result<&TrustDocument, TrustError> {
        let next = &self.document;
        if next.subject != trusted.subject {
            let (expected, found) = (trusted.subject.clone(), next.subject.clone());
            return Err(TrustError::WrongSubject { expected, found });
        }
        let expected = trusted.version + 1;
        if next.version != expected {
            return Err(TrustError::WrongVersion { expected, found: next.version });
        }
        if let Some(log) = trusted.final_logs.iter().find(|log| !next.final_logs.contains(log)) {
            return Err(TrustError::RevivesLog { origin: log.origin().to_owned() });
        }
        let signed = TrustDocument::signed_by(&trusted.roots, &self.note)?;
        if signed < trusted.threshold {
            return Err(TrustError::TooFewOld {
                version: next.version,
                signed,
                threshold: trusted.threshold,
            });
        }
        self.begin()
    }
}
