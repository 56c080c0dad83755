//! Checkpoints: the signed size and root of a log (C2SP tlog-checkpoint).
//!
//! Owns the text of a checkpoint and opening a signed one. Does not decide whether a checkpoint may be signed, nor
//! how fresh or how widely witnessed it must be.
//! Invariant: a checkpoint that [`SignedCheckpoint::open`] returns has the expected origin and a good signature of
//! the expected key.

use std::fmt;

use thiserror::Error;

use crate::hash::{Hash, empty_root};
use crate::merkle::SIZE_MAX;
use crate::note::{Note, NoteError, NoteSigner, Verified, VerifierKey};

/// Origin, size and root of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

/// A checkpoint with the note that carries its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why a checkpoint was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The origin is empty, or has a control character.
    #[error("{origin:?} is not an origin")]
    BadOrigin {
        /// The text given.
        origin: String,
    },
    /// The text is not that of a checkpoint.
    #[error("the text is not a checkpoint: its {line} is malformed")]
    Malformed {
        /// Which line.
        line: CheckpointLine,
    },
    /// The size is 0 and the root not that of the empty tree.
    #[error("an empty tree with a root of its own")]
    EmptyWithRoot,
    /// The note is malformed or not signed as it must be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint is that of another log.
    #[error("the checkpoint is of `{found}`, not of `{expected}`")]
    WrongOrigin {
        /// The origin asked for.
        expected: String,
        /// The origin found.
        found: String,
    },
}

/// A line of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointLine {
    /// The first.
    Origin,
    /// The second.
    Size,
    /// The third.
    Root,
    /// Any further one, or the end of the text.
    Extension,
}

impl Checkpoint {
    /// Takes the parts; fails for an origin that cannot be written, a size beyond [`SIZE_MAX`], or an empty tree
    /// with another root than [`empty_root`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if origin.is_empty() || origin.contains(char::is_control) {
            return Err(CheckpointError::BadOrigin { origin: origin.to_owned() });
        }
        if size > SIZE_MAX {
            return Err(CheckpointError::Malformed { line: CheckpointLine::Size });
        }
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyWithRoot);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads the text of a checkpoint. Extension lines are allowed and ignored; this crate never writes any.
    pub fn decode(text: &str) -> Result<Self, CheckpointError> {
        let malformed = |line| CheckpointError::Malformed { line };
        let body = text.strip_suffix('\n').ok_or(malformed(CheckpointLine::Extension))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(malformed(CheckpointLine::Origin))?;
        let size = lines.next().and_then(parse_decimal).ok_or(malformed(CheckpointLine::Size))?;
        let root = lines.next().and_then(|line| Hash::from_base64(line).ok());
        let root = root.ok_or(malformed(CheckpointLine::Root))?;
        if lines.any(str::is_empty) {
            return Err(malformed(CheckpointLine::Extension));
        }
        Self::new(origin, size, root)
    }

    /// The text: three lines, to be signed.
    pub fn encode(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// The identity of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree of that size.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Signs this checkpoint. The caller answers for its consistency with everything that the key signed before.
    pub fn sign(&self, signer: &NoteSigner) -> SignedCheckpoint {
        let text = self.encode();
        let signature = signer.sign(&text);
        let mut note =
            Note::new(text).expect("an origin without control characters makes a well-formed text");
        note.add(signature).expect("a new note has room for a signature");
        SignedCheckpoint { checkpoint: self.clone(), note }
    }

    /// Opens a signed checkpoint and keeps only the statement; see [`SignedCheckpoint::open`].
    pub fn open(bytes: &[u8], key: &VerifierKey, origin: &str) -> Result<Self, CheckpointError> {
        SignedCheckpoint::open(bytes, key, origin).map(|signed| signed.checkpoint)
    }
}

impl SignedCheckpoint {
    /// Reads a signed checkpoint of the log `origin`, which `key` must have signed.
    ///
    /// Other signatures are kept, for [`SignedCheckpoint::verify`], and not looked at here.
    pub fn open(bytes: &[u8], key: &VerifierKey, origin: &str) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        note.verify(std::slice::from_ref(key))?;
        let checkpoint = Checkpoint::decode(note.text())?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::WrongOrigin {
                expected: origin.to_owned(),
                found: checkpoint.origin,
            });
        }
        Ok(Self { checkpoint, note })
    }

    /// The statement.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all its signatures.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The note to add cosignatures to; its text cannot be changed.
    pub fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }

    /// The bytes to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_bytes()
    }

    /// Which of these keys (cosigners, mostly) have signed; see [`Note::verify`].
    pub fn verify<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<Verified<'a>>, NoteError> {
        self.note.verify(keys)
    }
}

impl fmt::Display for CheckpointLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Origin => "origin",
            Self::Size => "size",
            Self::Root => "root",
            Self::Extension => "end",
        })
    }
}

/// Reads a decimal number without sign, spaces or leading zeros.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}
