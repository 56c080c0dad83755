//! A registry's public files over HTTP, for the checks that read them all.
//!
//! Owns the adaptation of the client's connections to the index builder's interface, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use drystone_client::{ClientError, Http};
use drystone_index_builder::{Source, SourceError};

/// The files below a base URL.
pub struct HttpSource {
    http: Arc<Http>,
    base: String,
}

impl HttpSource {
    /// The files below a base URL, which has no slash at the end.
    pub fn new(http: Arc<Http>, base: String) -> Self {
        Self { http, base }
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn get(&self, key: &str, len_max: u64) -> Result<Option<Bytes>, SourceError> {
        let unreadable = |detail: String| SourceError::Unreadable { key: key.into(), detail };
        let url = format!("{}/{key}", self.base);
        match self.http.get(&url, None, len_max, None).await {
            Ok(answer) if answer.status.is_success() => Ok(Some(answer.body)),
            Ok(answer) if answer.status.as_u16() == 404 => Ok(None),
            Ok(answer) => Err(unreadable(format!("status {}", answer.status.as_u16()))),
            Err(ClientError::TooBig { .. }) => Err(SourceError::TooLong { key: key.into(), len_max }),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}
