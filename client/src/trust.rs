//! What this user has seen of a registry before: the pinned log key, the root of trust, and the largest checkpoint.
//!
//! Owns the files below `keys/` and `checkpoints/` of the home. Does not own the checks of signatures and proofs.
//! Invariant: a pinned key is replaced only on the word of a root of trust; a remembered checkpoint only ever grows.

use std::{
    io,
    path::{Path, PathBuf},
};

use drystone_log::{CheckpointError, NoteError, SignedCheckpoint, SignedTrust, VerifierKey, note::Algorithm};
use drystone_schemas::{PackageName, RegistryConfig, canonical_json};
use serde::{Deserialize, Serialize};

use crate::{
    ClientError, Home, VerificationError,
    authors::SeenAuthors,
    cache::{dir_name, write_atomically},
    roots::InForce,
};

/// The memory of one user.
#[derive(Debug, Clone)]
pub struct TrustStore {
    home: Home,
    /// A document that was handed over, to begin with in place of the first one that the registry shows.
    given: Option<SignedTrust>,
}

/// What `keys/<registry>.json` holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    registry: String,
    origin: String,
    log_key: String,
    /// Keys of the same log that a root of trust has replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    old_keys: Vec<String>,
}

/// A log as it is pinned: its origin and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedLog {
    /// Origin of the log.
    pub origin: String,
    /// Its key.
    pub key: VerifierKey,
}

impl Pin {
    fn new(base: &str, config: &RegistryConfig, old_keys: Vec<String>) -> Self {
        Self {
            registry: base.into(),
            origin: config.origin.clone(),
            log_key: config.log_key.clone(),
            old_keys,
        }
    }

    fn is(&self, config: &RegistryConfig) -> bool {
        self.origin == config.origin && self.log_key == config.log_key
    }

    fn changed(&self, config: &RegistryConfig) -> ClientError {
        VerificationError::KeyChanged {
            registry: self.registry.clone(),
            pinned: format!("{} ({})", self.log_key, self.origin),
            offered: format!("{} ({})", config.log_key, config.origin),
        }
        .into()
    }
}

/// Whether a document is the given one, or came after it.
fn follows(kept: &SignedTrust, given: &SignedTrust) -> bool {
    let (kept, given) = (kept.unverified(), given.unverified());
    kept.subject == given.subject && (kept.version > given.version || kept == given)
}

impl PinnedLog {
    /// The log that a registry says is its own. Nobody vouches for it but the registry.
    pub(crate) fn offered(config: &RegistryConfig) -> Result<Self, ClientError> {
        let key = VerifierKey::parse(&config.log_key).map_err(|e| ClientError::proof("the log key", e))?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(ClientError::proof("the log key", "it is not an Ed25519 key of a log"));
        }
        Ok(Self { origin: config.origin.clone(), key })
    }
}

impl TrustStore {
    /// The memory below a home.
    pub fn new(home: Home) -> Self {
        Self { home, given: None }
    }

    /// The same, with a trust document that was handed over: no registry is believed whose chain does not begin there.
    ///
    /// # Errors
    ///
    /// [`VerificationError::Proof`] if it is none, or is not signed by its own roots.
    pub fn with_root(self, document: &[u8]) -> Result<Self, ClientError> {
        let refused = |e: &dyn std::fmt::Display| ClientError::proof("the trust document", e);
        let given = SignedTrust::parse(document).map_err(|e| refused(&e))?;
        given.begin().map_err(|e| refused(&e))?;
        Ok(Self { given: Some(given), ..self })
    }

    /// Pins a registry's log key on first contact; fails if another one is pinned.
    ///
    /// This is trust on first use: whoever controls the first contact is believed until the pin is removed by hand.
    pub fn pin(&self, base: &str, config: &RegistryConfig) -> Result<PinnedLog, ClientError> {
        let log = PinnedLog::offered(config)?;
        match self.pinned(base)? {
            None => self.write_pin(&Pin::new(base, config, vec![]))?,
            Some(pinned) if pinned.is(config) => {}
            Some(pinned) => return Err(pinned.changed(config)),
        }
        Ok(log)
    }

    /// Pins the log that a root of trust lists. A key may take the place of another, and a log that of a retired one.
    pub(crate) fn pin_by_root(
        &self,
        base: &str,
        config: &RegistryConfig,
        roots: &InForce,
    ) -> Result<PinnedLog, ClientError> {
        let log = roots.log(config)?;
        let old_keys = match self.pinned(base)? {
            Some(pinned) if pinned.is(config) => return Ok(log),
            None => vec![],
            Some(Pin { origin, log_key, mut old_keys, .. }) if origin == config.origin => {
                old_keys.push(log_key);
                old_keys
            }
            Some(pinned) if roots.retires(&pinned.origin) => vec![],
            Some(pinned) => return Err(pinned.changed(config)),
        };
        self.write_pin(&Pin::new(base, config, old_keys))?;
        Ok(log)
    }

    fn pinned(&self, base: &str) -> Result<Option<Pin>, ClientError> {
        let path = self.pin_path(base);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let damaged = |e| io::Error::other(format!("`{}` is damaged: {e}", path.display()));
        Ok(Some(serde_json::from_slice(&bytes).map_err(damaged)?))
    }

    fn write_pin(&self, pin: &Pin) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec(pin).map_err(|e| ClientError::Internal(e.to_string()))?;
        Ok(write_atomically(&self.pin_path(&pin.registry), &bytes)?)
    }

    /// The newest document of a registry's root of trust that was reached, or the one that was handed over.
    pub(crate) fn root(&self, base: &str) -> Result<Option<SignedTrust>, ClientError> {
        let path = self.root_path(base);
        let kept = match read_if_there(&path)? {
            Some(bytes) => Some(
                SignedTrust::parse(&bytes)
                    .map_err(|e| io::Error::other(format!("`{}` is damaged: {e}", path.display())))?,
            ),
            None => None,
        };
        Ok(match (kept, &self.given) {
            (Some(kept), Some(given)) if follows(&kept, given) => Some(kept),
            (_, Some(given)) => Some(given.clone()),
            (kept, None) => kept,
        })
    }

    /// Keeps a document whose every check has passed.
    pub(crate) fn keep_root(&self, base: &str, document: &SignedTrust) -> Result<(), ClientError> {
        Ok(write_atomically(&self.root_path(base), &document.to_bytes())?)
    }

    /// The largest checkpoint of a log that was seen before; one that does not verify any more counts as damaged.
    pub fn remembered(&self, base: &str, log: &PinnedLog) -> Result<Option<SignedCheckpoint>, ClientError> {
        let path = self.checkpoint_path(&log.origin);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let open = |key: &VerifierKey| SignedCheckpoint::open(&bytes, key, &log.origin);
        let mut opened = open(&log.key);
        // Keys that a root of trust has replaced may have signed it.
        let old = self.pinned(base)?.map(|pin| pin.old_keys).unwrap_or_default();
        for key in old.iter().filter_map(|key| VerifierKey::parse(key).ok()) {
            if matches!(opened, Err(CheckpointError::Note(NoteError::NotSignedByKnownKey))) {
                opened = open(&key);
            }
        }
        let damaged = |e| io::Error::other(format!("`{}` is damaged: {e}", path.display()));
        Ok(Some(opened.map_err(damaged)?))
    }

    /// Remembers a checkpoint whose every check has passed, unless a larger one is known.
    pub fn remember(
        &self,
        base: &str,
        log: &PinnedLog,
        signed: &SignedCheckpoint,
    ) -> Result<(), ClientError> {
        let known = self.remembered(base, log)?;
        if known.is_none_or(|known| known.checkpoint().size() < signed.checkpoint().size()) {
            write_atomically(&self.checkpoint_path(&log.origin), &signed.to_bytes())?;
        }
        Ok(())
    }

    /// What was seen of the authors of a package.
    pub(crate) fn seen_authors(
        &self,
        origin: &str,
        name: &PackageName,
    ) -> Result<Option<SeenAuthors>, ClientError> {
        let path = self.authors_path(origin, name);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let seen = serde_json::from_slice(&bytes);
        let damaged = |e| io::Error::other(format!("`{}` is damaged: {e}", path.display()));
        Ok(Some(seen.map_err(damaged)?))
    }

    /// Remembers what was seen of them, after it was found to continue what was seen before.
    pub(crate) fn remember_authors(
        &self,
        origin: &str,
        name: &PackageName,
        seen: &SeenAuthors,
    ) -> Result<(), ClientError> {
        Ok(write_atomically(&self.authors_path(origin, name), &canonical_json(seen))?)
    }

    /// Keeps two signed notes that contradict each other, and says where.
    pub fn keep_evidence(
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

    fn pin_path(&self, base: &str) -> PathBuf {
        self.home.keys().join(format!("{}.json", dir_name(base)))
    }

    fn root_path(&self, base: &str) -> PathBuf {
        self.home.keys().join(format!("{}.trust", dir_name(base)))
    }

    fn authors_path(&self, origin: &str, name: &PackageName) -> PathBuf {
        self.home
            .checkpoints()
            .join(format!("{}.authors", dir_name(origin)))
            .join(dir_name(&name.canonical()))
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
