//! What is kept between two audits of one log.
//!
//! Owns its form: one JSON value. Does not own the file. It is the auditor's own memory and as good as the disk that it
//! lies on; its checkpoint and its tree are checked against the log's key all the same.

use bytes::Bytes;
use drystone_log::{CheckpointError, SignedCheckpoint, VerifierKey, note::KeyError};
use serde::{Deserialize, Serialize};

use crate::{
    growing::{Growing, SavedTree},
    replica::{Replica, SavedError, SavedReplica},
};

/// The version of the form.
const FORMAT: u32 = 1;

/// What an audit without findings ended with.
pub struct Kept {
    pub(super) checkpoint: Bytes,
    pub(super) key: VerifierKey,
    pub(super) replica: Replica,
    pub(super) tree: Growing,
}

#[derive(Serialize, Deserialize)]
struct File {
    v: u32,
    checkpoint: String,
    key: String,
    tree: SavedTree,
    replica: SavedReplica,
}

/// Why what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It is not the form, or of another version of it.
    #[error("it is not what an audit of this version keeps: {0}")]
    Malformed(String),
    /// Its key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its checkpoint is not signed by its key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its parts are not of one log.
    #[error("its parts do not belong together")]
    Torn,
    /// Its copy of the registry cannot be read.
    #[error(transparent)]
    Replica(#[from] SavedError),
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({} events)", self.size())
    }
}

impl Kept {
    /// Number of events covered.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The key of the log.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The signed checkpoint.
    pub fn checkpoint(&self) -> &Bytes {
        &self.checkpoint
    }

    /// The bytes to keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = File {
            v: FORMAT,
            checkpoint: String::from_utf8_lossy(&self.checkpoint).into_owned(),
            key: self.key.to_string(),
            tree: self.tree.save(),
            replica: self.replica.save().expect("a log without findings has a genesis event"),
        };
        serde_json::to_vec(&file).expect("its maps have strings for keys")
    }

    /// Reads the bytes back.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeptError> {
        let malformed = |detail: &dyn std::fmt::Display| KeptError::Malformed(detail.to_string());
        let file: File = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
        if file.v != FORMAT {
            return Err(malformed(&format_args!("version {}", file.v)));
        }
        let key = VerifierKey::parse(&file.key)?;
        let replica = Replica::restore(file.replica)?;
        let tree = Growing::restore(file.tree).ok_or_else(|| malformed(&"the name of a tile"))?;
        let origin = replica.identity().map(|identity| identity.origin.clone()).unwrap_or_default();
        let checkpoint = Bytes::from(file.checkpoint);
        let signed = SignedCheckpoint::open(&checkpoint, &key, &origin)?;
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        if (tree.size(), tree.root()) != (size, root) || replica.size() != size {
            return Err(KeptError::Torn);
        }
        Ok(Self { checkpoint, key, replica, tree })
    }
}
