//! The per-user directory: what lies where below it.
//!
//! Owns names of directories only. Does not own where the directory is, nor what is in the files.

use std::path::{Path, PathBuf};

/// The per-user directory of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at a directory, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Fetched files; may be removed at any time.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Unpacked packages by digest; may be removed when nothing is being installed.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The author's own secret key, readable by the user only.
    pub fn author_key(&self) -> PathBuf {
        self.0.join("author.key")
    }

    /// Log keys as seen on first contact.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The largest checkpoint seen of each log.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Tokens, readable by the user only.
    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials.toml")
    }
}
