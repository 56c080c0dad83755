//! Reading a registry's public files, wherever they are served from.
//!
//! Owns the interface that fsck and replay read through, and its implementation over a store. Does not own HTTP,
//! which the client brings.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use drystone_schemas::Sha256Digest;
use drystone_storage::{Area, Key, Page, StoreError};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

/// Why a public file could not be read. That it is absent is no error.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is longer than the reader accepts.
    #[error("`{key}` has more than {len_max} bytes")]
    TooLong {
        /// Which file.
        key: String,
        /// The limit, in bytes.
        len_max: u64,
    },
    /// It could not be had: refused, unreachable, or broken off. Whether it exists is not known.
    #[error("`{key}` cannot be read: {detail}")]
    Unreadable {
        /// Which file.
        key: String,
        /// What the other side said.
        detail: String,
    },
}

/// A registry's public files.
///
/// Contract: reads see the newest bytes, not those of a cache; retrying is the implementation's business.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads a whole file of at most `len_max` bytes; `None` if there is none.
    async fn get(&self, key: &str, len_max: u64) -> Result<Option<Bytes>, SourceError>;

    /// Hashes a file of at most `len_max` bytes and tells its length; implementations that can do it without holding
    /// the file whole should.
    async fn digest(&self, key: &str, len_max: u64) -> Result<Option<(Sha256Digest, u64)>, SourceError> {
        let bytes = self.get(key, len_max).await?;
        Ok(bytes.map(|bytes| (Sha256Digest::of(&bytes), bytes.len() as u64)))
    }

    /// Tells a file's length, in bytes.
    async fn length(&self, key: &str) -> Result<Option<u64>, SourceError> {
        Ok(self.digest(key, u64::MAX).await?.map(|(_, len)| len))
    }

    /// Lists every key, a page at a time; `None` where the files cannot be listed, as over HTTP.
    async fn list(&self, after: Option<&str>) -> Result<Option<Page>, SourceError> {
        let _ = after;
        Ok(None)
    }
}

/// The public area of a store as a source.
#[derive(Clone)]
pub struct AreaSource(Arc<dyn Area>);

impl AreaSource {
    /// Reads from an area.
    pub fn new(area: Arc<dyn Area>) -> Self {
        Self(area)
    }
}

fn refused(key: &str, error: StoreError) -> SourceError {
    match error {
        StoreError::TooLong { len_max, .. } => SourceError::TooLong { key: key.into(), len_max },
        other => SourceError::Unreadable { key: key.into(), detail: other.to_string() },
    }
}

fn parse(key: &str) -> Result<Key, SourceError> {
    Key::new(key).map_err(|e| SourceError::Unreadable { key: key.into(), detail: e.to_string() })
}

#[async_trait]
impl Source for AreaSource {
    async fn get(&self, key: &str, len_max: u64) -> Result<Option<Bytes>, SourceError> {
        self.0.get(&parse(key)?, len_max).await.map_err(|e| refused(key, e))
    }

    async fn digest(&self, key: &str, len_max: u64) -> Result<Option<(Sha256Digest, u64)>, SourceError> {
        let Some(reader) = self.0.open(&parse(key)?, None).await.map_err(|e| refused(key, e))? else {
            return Ok(None);
        };
        if reader.len > len_max {
            return Err(SourceError::TooLong { key: key.into(), len_max });
        }
        let mut stream = reader.stream;
        let (mut hash, mut len) = (Sha256::new(), 0);
        while let Some(chunk) = stream.try_next().await.map_err(|e| refused(key, e))? {
            hash.update(&chunk);
            len += chunk.len() as u64;
        }
        Ok(Some((Sha256Digest::from_bytes(hash.finalize().into()), len)))
    }

    async fn length(&self, key: &str) -> Result<Option<u64>, SourceError> {
        let stat = self.0.stat(&parse(key)?).await.map_err(|e| refused(key, e))?;
        Ok(stat.map(|stat| stat.len))
    }

    async fn list(&self, after: Option<&str>) -> Result<Option<Page>, SourceError> {
        self.0.list("", after).await.map(Some).map_err(|e| refused("", e))
    }
}
