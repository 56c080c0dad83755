//! Why a commit did not happen, or is not known to have happened.

use drystone_schemas::EventError;
use drystone_storage::{InvalidKey, StoreError};

use crate::{CheckpointError, ProofError, merkle::ProveError, state_map::StateError, tile::TileError};

/// Each variant is a decision that the caller can take.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The storage failed; nothing was committed, or the variant inside says that it is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The commit may or may not have happened: repeat with the same intent ids.
    #[error("the outcome of a commit is not known: {0}")]
    OutcomeUnknown(String),
    /// There is no head and no checkpoint: make a registry first.
    #[error("there is no registry in this store")]
    NotInitialised,
    /// There is a head, a checkpoint or a configuration already.
    #[error("there is a registry in this store already")]
    AlreadyInitialised,
    /// The published log is ahead of head, or has another root at the same size: head was restored from a backup.
    #[error("head has {head} events, the published log has {published}, and they do not agree")]
    HeadBehindLog {
        /// Size of head.
        head: u64,
        /// Size of the published log.
        published: u64,
    },
    /// More commits than are allowed wait for a signature.
    #[error("{behind} events wait to be published")]
    LogUnpublished {
        /// How many.
        behind: u64,
    },
    /// The log's key cannot sign.
    #[error(transparent)]
    KeyUnavailable(#[from] super::KeyUnavailable),
    /// The log belongs to another key or origin than this process has.
    #[error("the log of `{origin}` is signed by `{log_key}`, not by this process's key")]
    WrongKey {
        /// Origin in head.
        origin: String,
        /// Key in head.
        log_key: String,
    },
    /// This process's clock and the store's disagree.
    #[error("the clock is {off_s} seconds away from the store's")]
    ClockWrong {
        /// By how much, in seconds.
        off_s: u64,
    },
    /// An immutable key holds other bytes than it must: stop, sign nothing, alarm.
    #[error("`{key}` holds other bytes than the log commits to")]
    ObjectConflict {
        /// Which.
        key: String,
    },
    /// A file that the committed state names is not there, or has other bytes.
    #[error("`{key}`, which the committed state names, is missing or damaged")]
    Damaged {
        /// Which.
        key: String,
    },
    /// Garbage is being collected that the commit would name: repeat a little later.
    #[error("`{key}` is being collected")]
    BeingCollected {
        /// Which.
        key: String,
    },
    /// Another collection is under way, or has died and may still have deletions under way.
    #[error("a collection is under way; what it left may be taken over at {until}")]
    CollectionUnderWay {
        /// When its lease ends, in seconds since 1970.
        until: u64,
    },
    /// The commit would need a staging object that no helper reads: commit less at once.
    #[error("the commit's staging object has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Head cannot be read.
    #[error("head cannot be read: {0}")]
    BadHead(String),
    /// A staging object cannot be read.
    #[error("a staging object cannot be read: {0}")]
    BadStaging(String),
    /// A newer version of the software wrote what is there.
    #[error("{0}: upgrade")]
    UpgradeRequired(String),
    /// An event cannot be written or read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The published checkpoint cannot be read or is not signed by the log's key.
    #[error("the published checkpoint is not valid: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A proof cannot be made, or does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A tree hash that a proof needs cannot be had.
    #[error("a proof cannot be made: {0}")]
    Prove(String),
    /// The state map cannot take a change, or was not loaded where it is needed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Tiles of the log do not fit its root.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// A bug: a key of ours is not a key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

impl<E: std::fmt::Display> From<ProveError<E>> for CommitError {
    fn from(error: ProveError<E>) -> Self {
        match error {
            ProveError::Position(error) => Self::Proof(error),
            ProveError::Read(error) => Self::Prove(error.to_string()),
        }
    }
}
