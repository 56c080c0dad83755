//! Offline proofs that an entry is in a log (C2SP tlog-proof, `.tlog-proof` files).
//!
//! Owns the format and its check. Does not own the freshness or the quorum of the checkpoint inside.
//! Invariant: [`TlogProof::verify`] returns a checkpoint only if its log signed it and its tree has the entry at the
//! stated index.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{CheckpointError, SignedCheckpoint, parse_decimal};
use crate::hash::{Hash, leaf_hash};
use crate::merkle::{ProofError, verify_inclusion};
use crate::note::{NOTE_BYTES_MAX, VerifierKey};

/// Largest proof file that is read, in bytes: a largest checkpoint, 63 hashes, and a largest entry as extra data.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 96 * 1024;

/// Most hashes of an inclusion proof in a tree of at most 2^63 - 1 leaves.
const HASHES_MAX: usize = 63;

/// The first line of every proof file.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// An inclusion proof together with the signed checkpoint that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Data for the application, such as the entry itself. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// Position of the entry in the log.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: Vec<u8>,
}

/// Why a proof file was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProofFileError {
    /// More than [`PROOF_BYTES_MAX`] bytes.
    #[error("a proof of {bytes} bytes exceeds {PROOF_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The file does not have the lines that the format prescribes.
    #[error("line {line} of the proof is malformed")]
    Malformed {
        /// Number of the offending line, starting at 1.
        line: usize,
    },
    /// The checkpoint is malformed, of another log, or not signed by it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not at this place in the checkpoint's tree.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

impl TlogProof {
    /// Reads a proof file. Nothing is verified.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofFileError::TooLong { bytes: bytes.len() });
        }
        let malformed = |line| ProofFileError::Malformed { line };
        let text = std::str::from_utf8(bytes).map_err(|_| malformed(1))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed(1))?;
        let mut lines = (1..).zip(head.split('\n')).peekable();
        if lines.next().is_none_or(|(_, header)| header != HEADER) {
            return Err(malformed(1));
        }
        let extra = match lines.next_if(|(_, line)| line.starts_with("extra ")) {
            Some((number, line)) => {
                Some(STANDARD.decode(&line["extra ".len()..]).map_err(|_| malformed(number))?)
            }
            None => None,
        };
        let index_line = if extra.is_some() { 3 } else { 2 };
        let index = lines.next().and_then(|(_, line)| parse_decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(malformed(index_line))?;
        let mut hashes = Vec::new();
        for (number, line) in lines {
            if hashes.len() == HASHES_MAX {
                return Err(malformed(number));
            }
            hashes.push(Hash::from_base64(line).map_err(|_| malformed(number))?);
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.as_bytes().to_vec() })
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            head.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        head.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            head.push_str(&hash.to_base64());
            head.push('\n');
        }
        head.push('\n');
        [head.as_bytes(), &self.checkpoint].concat()
    }

    /// Verifies that the log `origin` with the key `key` has `entry` at [`TlogProof::index`].
    ///
    /// Returns the checkpoint with its cosignatures, whose quorum and times are the caller's to judge.
    pub fn verify(
        &self,
        entry: &[u8],
        key: &VerifierKey,
        origin: &str,
    ) -> Result<SignedCheckpoint, ProofFileError> {
        let signed = SignedCheckpoint::open(&self.checkpoint, key, origin)?;
        let checkpoint = signed.checkpoint();
        verify_inclusion(&leaf_hash(entry), self.index, checkpoint.size(), &self.hashes, &checkpoint.root())?;
        Ok(signed)
    }
}
