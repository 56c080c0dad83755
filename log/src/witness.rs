//! Witnessing: what a log asks of a witness, what a witness answers, and when it may (C2SP tlog-witness).
//!
//! Owns the bodies of `add-checkpoint` and the rule by which a checkpoint is cosigned. Does not own HTTP, nor what a witness
//! has recorded.
//! Invariant: what [`judge`] returns extends what was recorded, and was signed by a key that is trusted for its origin.

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, parse_decimal};
use crate::hash::Hash;
use crate::merkle::verify_consistency;
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, SIGNATURES_MAX, VerifierKey};

/// Most hashes of a consistency proof.
const PROOF_HASHES_MAX: usize = 63;

/// Largest body of a request: a largest note, 63 hashes of 45 bytes with their line feeds, and the first line.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + PROOF_HASHES_MAX * 45 + 32;

/// Content type of an answer that states the recorded size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// The body of a request to `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the tree from which the proof starts: what the witness is thought to have recorded.
    pub old_size: u64,
    /// Consistency proof from there to the checkpoint.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: Vec<u8>,
}

/// The body does not have the lines that the format prescribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the request is malformed")]
pub struct MalformedRequest {
    /// Number of the line, starting at 1.
    pub line: usize,
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WitnessRefusal {
    /// The checkpoint is not one.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(CheckpointError),
    /// The origin is not one that this witness follows.
    #[error("the log `{origin}` is not followed here")]
    UnknownLog {
        /// The origin.
        origin: String,
    },
    /// No key that is trusted for the origin has signed, or one has signed wrongly.
    #[error("the checkpoint is not signed by a key that is trusted for its log")]
    NotSigned,
    /// The proof starts behind the checkpoint.
    #[error("the old size {old} is larger than the checkpoint's {new}")]
    OldSizeTooLarge {
        /// Where the proof starts.
        old: u64,
        /// Where it ends.
        new: u64,
    },
    /// The proof does not start at what was recorded.
    #[error("the largest tree seen has size {recorded}")]
    OtherSize {
        /// Size of the tree that was recorded; 0 if none was.
        recorded: u64,
    },
    /// The checkpoint does not extend what was recorded.
    #[error("the checkpoint does not extend the largest tree seen")]
    Inconsistent,
}

impl WitnessRefusal {
    /// The HTTP status that tells the refusal.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::OldSizeTooLarge { .. } => 400,
            Self::NotSigned => 403,
            Self::UnknownLog { .. } => 404,
            Self::OtherSize { .. } => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl AddCheckpoint {
    /// Reads a body. The checkpoint is not looked at.
    ///
    /// # Errors
    ///
    /// [`MalformedRequest`] names the first line that the format does not allow.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedRequest> {
        let malformed = |line| MalformedRequest { line };
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= REQUEST_BYTES_MAX);
        let (head, checkpoint) = text.and_then(|text| text.split_once("\n\n")).ok_or(malformed(1))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| parse_decimal(line.strip_prefix("old ")?));
        let old_size = old_size.ok_or(malformed(1))?;
        let mut proof = Vec::new();
        for (number, line) in (2..).zip(lines) {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(malformed(number));
            }
            proof.push(Hash::from_base64(line).map_err(|_| malformed(number))?);
        }
        Ok(Self { old_size, proof, checkpoint: checkpoint.as_bytes().to_vec() })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old_size);
        for hash in &self.proof {
            head.push_str(&hash.to_base64());
            head.push('\n');
        }
        head.push('\n');
        [head.as_bytes(), &self.checkpoint].concat()
    }

    /// The origin that the checkpoint states, on nobody's word: to look up what is recorded and trusted for it.
    ///
    /// # Errors
    ///
    /// [`WitnessRefusal::Malformed`] if the checkpoint is no signed note, or has an empty first line.
    pub fn origin(&self) -> Result<String, WitnessRefusal> {
        let note = Note::parse(&self.checkpoint).map_err(|e| WitnessRefusal::Malformed(e.into()))?;
        let origin = note.text().split('\n').next().unwrap_or_default().to_owned();
        if origin.is_empty() {
            return Err(WitnessRefusal::Malformed(CheckpointError::BadOrigin { origin }));
        }
        Ok(origin)
    }
}

/// Decides whether a witness cosigns: returns the checkpoint to record, and then to cosign.
///
/// `keys` are those trusted for the origin that the request states; none if the log is not followed. `recorded` is the
/// largest checkpoint of that origin that was cosigned. The caller records atomically: if something else was recorded
/// meanwhile, it asks again.
///
/// # Errors
///
/// A [`WitnessRefusal`], the first that applies in the order of the specification.
pub fn judge(
    request: &AddCheckpoint,
    keys: &[VerifierKey],
    recorded: Option<&Checkpoint>,
) -> Result<SignedCheckpoint, WitnessRefusal> {
    let origin = request.origin()?;
    if keys.is_empty() {
        return Err(WitnessRefusal::UnknownLog { origin });
    }
    let signed = open(&request.checkpoint, keys, &origin)?;
    let (old, new) = (request.old_size, signed.checkpoint());
    if old > new.size() {
        return Err(WitnessRefusal::OldSizeTooLarge { old, new: new.size() });
    }
    let recorded_size = recorded.map_or(0, Checkpoint::size);
    if old != recorded_size {
        return Err(WitnessRefusal::OtherSize { recorded: recorded_size });
    }
    let old_root = recorded.map_or_else(crate::empty_root, Checkpoint::root);
    verify_consistency(old, new.size(), &old_root, &new.root(), &request.proof)
        .map_err(|_| WitnessRefusal::Inconsistent)?;
    Ok(signed)
}

/// Opens the checkpoint with whichever of the keys has signed it.
fn open(bytes: &[u8], keys: &[VerifierKey], origin: &str) -> Result<SignedCheckpoint, WitnessRefusal> {
    let refused = |error| match error {
        CheckpointError::Note(NoteError::NotSignedByKnownKey | NoteError::WrongSignature { .. }) => {
            WitnessRefusal::NotSigned
        }
        // A tree of no leaves has one root only: any other is a proof that fails.
        CheckpointError::EmptyWithRoot => WitnessRefusal::Inconsistent,
        other => WitnessRefusal::Malformed(other),
    };
    let mut opened = Err(WitnessRefusal::NotSigned);
    for key in keys {
        opened = SignedCheckpoint::open(bytes, key, origin).map_err(refused);
        if !matches!(opened, Err(WitnessRefusal::NotSigned)) {
            break;
        }
    }
    opened
}

/// Reads the body of an answer: one or more signature lines.
///
/// Lines of unknown keys are for the caller to drop.
pub fn parse_cosignatures(bytes: &[u8]) -> Option<Vec<NoteSignature>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= NOTE_BYTES_MAX)?;
    let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').take(SIGNATURES_MAX + 1).collect();
    if lines.len() > SIGNATURES_MAX {
        return None;
    }
    lines.into_iter().map(NoteSignature::parse).collect()
}

/// Those of a witness's answers that are good cosignatures of `text` by one of these keys, with their times.
pub fn good_cosignatures(
    text: &str,
    answers: Vec<NoteSignature>,
    keys: &[VerifierKey],
) -> Vec<(NoteSignature, u64)> {
    let good = |signature: NoteSignature| {
        let mut note = Note::new(text.to_owned()).ok()?;
        note.add(signature.clone()).ok()?;
        let time = note.verify(keys).ok()?.first()?.time?;
        Some((signature, time))
    };
    answers.into_iter().filter_map(good).collect()
}

/// The body of an answer that states the recorded size, as [`WitnessRefusal::OtherSize`] asks for.
pub fn encode_size(size: u64) -> String {
    format!("{size}\n")
}

/// Reads what [`encode_size`] writes.
pub fn parse_size(bytes: &[u8]) -> Option<u64> {
    parse_decimal(std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?)
}
