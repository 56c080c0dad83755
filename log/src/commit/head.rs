//! `vault/head`: the one pointer whose replacement is the commit.

use drystone_schemas::{Sha256Digest, canonical_json};
use serde::{Deserialize, Serialize};

use crate::{Frontier, Hash, RootTile};

use super::CommitError;

/// Longest head, in bytes: the root tile as base 64 is 11 KiB, a list of doomed keys may follow.
pub(super) const HEAD_BYTES_MAX: u64 = 1 << 20;

/// The state that is committed, whether or not it has been applied.
///
/// No two heads have equal bytes, because of the nonce: a compare-and-swap by content cannot be fooled by a return
/// to an earlier state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of this format; 1.
    pub v: u32,
    /// Origin of the log.
    pub origin: String,
    /// Verifier key of the log.
    pub log_key: String,
    /// The right edge of the tree: its size and the roots of its complete subtrees.
    pub frontier: Frontier,
    /// Root of the tree.
    pub root: Hash,
    /// Root of the state map.
    pub state: Hash,
    /// The state map's root tile, whose root is `state`.
    pub root_tile: RootTile,
    /// Time of the last event, in seconds since 1970.
    pub time: u64,
    /// The settings in force, as an object.
    pub config: Sha256Digest,
    /// Position in the log of the event that set them.
    pub config_seq: u64,
    /// The last commit.
    pub commit: String,
    /// What the last commit applies, in the vault.
    pub staging: String,
    /// Digest of that object: helpers execute exactly what was committed.
    pub staging_digest: Sha256Digest,
    /// Random, different in every head.
    pub nonce: String,
    /// Tokens made before this time (seconds since 1970) are void.
    pub auth_epoch: u64,
    /// The fence of garbage collection.
    pub gc: Gc,
}

/// The fence of garbage collection: while it is up, commits may not name what is being collected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gc {
    /// Raised when the fence goes up and again when it comes down; objects put before that must be put again.
    pub n: u64,
    /// Keys that are being collected; those of the vault start with `vault/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doomed: Vec<String>,
    /// The collector that raised the fence; empty while it is down.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// When it did, in seconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Head {
    /// Number of events in the log.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The pointer's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// Reads a head, and checks that it does not contradict itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommitError> {
        let head: Self = serde_json::from_slice(bytes).map_err(|e| CommitError::BadHead(e.to_string()))?;
        if head.v != 1 {
            return Err(CommitError::UpgradeRequired(format!("head has format {}", head.v)));
        }
        if head.frontier.root() != head.root {
            return Err(CommitError::BadHead("its tree root does not follow from its frontier".into()));
        }
        if head.root_tile.root() != head.state {
            return Err(CommitError::BadHead("its state root does not follow from its root tile".into()));
        }
        Ok(head)
    }
}
