//! A registry's public files over HTTP, for the checks that read them all.
//!
//! Owns the adaptation of the client's connections to the index builder's interface, and nothing else.

use async_trait::async_trait;
use bytes::Bytes;
use drystone_client::{ClientError, Registry};
use drystone_index_builder::{Source, SourceError};

/// The files of a registry.
pub struct HttpSource(pub Registry);

#[async_trait]
impl Source for HttpSource {
    async fn get(&self, key: &str, len_max: u64) -> Result<Option<Bytes>, SourceError> {
        let unreadable = |detail: String| SourceError::Unreadable { key: key.into(), detail };
        match self.0.read(&self.0.url(key), None, len_max).await {
            Ok(answer) if answer.status.is_success() => Ok(Some(answer.body)),
            Ok(answer) if answer.status.as_u16() == 404 => Ok(None),
            Ok(answer) => Err(unreadable(format!("status {}", answer.status.as_u16()))),
            Err(ClientError::TooBig { .. }) => Err(SourceError::TooLong { key: key.into(), len_max }),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}
