//! What this user has seen of a registry before: the pinned log key and the largest checkpoint.
//!
//! Owns the files below `keys/` and `checkpoints/` of the home. Does not own the checks of signatures and proofs.
//! Invariant: a pinned key is never replaced by this code; a remembered checkpoint only ever grows.

use std::{
    io,
    path::{Path, PathBuf},
};

use drystone_log::{SignedCheckpoint, VerifierKey, note::Algorithm};
use drystone_schemas::RegistryConfig;
use serde::{Deserialize, Serialize};

use crate::{
    ClientError, Home, VerificationError,
    cache::{dir_name, write_atomically},
};

/// The memory of one user.
#[derive(Debug, Clone)]
pub struct TrustStore {
    home: Home,
}

/// What `keys/<registry>.json` holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    registry: String,
    origin: String,
    log_key: String,
}

/// A log as it is pinned: its origin and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedLog {
    /// Origin of the log.
    pub origin: String,
    /// Its key.
    pub key: VerifierKey,
}

impl TrustStore {
    /// The memory below a home.
    pub fn new(home: Home) -> Self {
        Self { home }
    }

    /// Pins a registry's log key on first contact; fails if another one is pinned.
    ///
    /// This is trust on first use: whoever controls the first contact is believed until the pin is removed by hand.
    pub fn pin(&self, base: &str, config: &RegistryConfig) -> Result<PinnedLog, ClientError> {
        let path = self.home.keys().join(format!("{}.json", dir_name(base)));
        let offered =
            Pin { registry: base.into(), origin: config.origin.clone(), log_key: config.log_key.clone() };
        match read_if_there(&path)? {
            None => {
                let bytes = serde_json::to_vec(&offered).map_err(|e| ClientError::Internal(e.to_string()))?;
                write_atomically(&path, &bytes)?;
            }
            Some(bytes) => {
                let pinned: Pin = serde_json::from_slice(&bytes)
                    .map_err(|e| io::Error::other(format!("`{}` is damaged: {e}", path.display())))?;
                if pinned != offered {
                    return Err(VerificationError::KeyChanged {
                        registry: base.into(),
                        pinned: format!("{} ({})", pinned.log_key, pinned.origin),
                        offered: format!("{} ({})", offered.log_key, offered.origin),
                    }
                    .into());
                }
            }
        }
        let key = VerifierKey::parse(&offered.log_key).map_err(|e| ClientError::proof("the log key", e))?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(ClientError::proof("the log key", "it is not an Ed25519 key of a log"));
        }
        Ok(PinnedLog { origin: offered.origin, key })
    }

    /// The largest checkpoint of a log that was seen before; one that does not verify any more counts as damaged.
    pub fn remembered(&self, log: &PinnedLog) -> Result<Option<SignedCheckpoint>, ClientError> {
        let path = self.checkpoint_path(&log.origin);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let signed = SignedCheckpoint::open(&bytes, &log.key, &log.origin)
            .map_err(|e| io::Error::other(format!("`{}` is damaged: {e}", path.display())))?;
        Ok(Some(signed))
    }

    /// Remembers a checkpoint whose every check has passed, unless a larger one is known.
    pub fn remember(&self, log: &PinnedLog, signed: &SignedCheckpoint) -> Result<(), ClientError> {
        let known = self.remembered(log)?;
        if known.is_none_or(|known| known.checkpoint().size() < signed.checkpoint().size()) {
            write_atomically(&self.checkpoint_path(&log.origin), &signed.to_bytes())?;
        }
        Ok(())
    }

    /// Keeps two signed notes that contradict each other, and says where.
    pub(crate) fn keep_evidence(
        &self,
        seen: &SignedCheckpoint,
        offered: &SignedCheckpoint,
    ) -> Result<PathBuf, ClientError> {
        let (old, new) = (seen.checkpoint(), offered.checkpoint());
        let evidence = self.home.checkpoints().join(format!("{}.evidence", dir_name(old.origin())));
        let dir = evidence.join(format!("{}-{}", old.size(), new.size()));
        write_atomically(&dir.join("seen"), &seen.to_bytes())?;
        write_atomically(&dir.join("offered"), &offered.to_bytes())?;
        Ok(dir)
    }

    fn checkpoint_path(&self, origin: &str) -> PathBuf {
        self.home.checkpoints().join(dir_name(origin))
    }
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
