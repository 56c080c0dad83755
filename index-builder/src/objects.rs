//! Fetching the objects that events name, each checked by its digest.

use bytes::Bytes;
use drystone_schemas::{Event, EventBody, Settings, Sha256Digest, VersionRecord, layout};
use serde::de::DeserializeOwned;

use crate::{
    replica::Needed,
    source::{Source, SourceError},
};

/// Longest version record or settings object that is read, in bytes: sixteen times the default limit of a record.
const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is none.
    #[error("`{key}` is missing")]
    Missing {
        /// Which.
        key: String,
    },
    /// It has other bytes than its name says.
    #[error("`{key}` has other bytes than its name says")]
    Damaged {
        /// Which.
        key: String,
    },
    /// Its bytes are those that were meant, but they are not what they should be.
    #[error("`{key}` cannot be read: {detail}")]
    Malformed {
        /// Which.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// It could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Fetches an object and checks its digest.
pub(crate) async fn fetch(
    source: &dyn Source,
    digest: &Sha256Digest,
    len_max: u64,
) -> Result<Bytes, ObjectError> {
    checked(digest, source.get(&layout::object(digest), len_max).await)
}

/// Reads an object's bytes; nothing is checked.
pub(crate) async fn get_object(
    source: &dyn Source,
    digest: &Sha256Digest,
) -> Result<Option<Bytes>, SourceError> {
    source.get(&layout::object(digest), OBJECT_BYTES_MAX).await
}

fn checked(digest: &Sha256Digest, got: Result<Option<Bytes>, SourceError>) -> Result<Bytes, ObjectError> {
    match got? {
        None => Err(ObjectError::Missing { key: layout::object(digest) }),
        Some(bytes) if Sha256Digest::of(&bytes) == *digest => Ok(bytes),
        Some(_) => Err(ObjectError::Damaged { key: layout::object(digest) }),
    }
}

/// Takes an object's bytes for what they say, if they have its digest.
pub(crate) fn read_object<T: DeserializeOwned>(
    digest: &Sha256Digest,
    got: Result<Option<Bytes>, SourceError>,
) -> Result<T, ObjectError> {
    let bytes = checked(digest, got)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| ObjectError::Malformed { key: layout::object(digest), detail: e.to_string() })
}

async fn fetch_json<T: DeserializeOwned>(
    source: &dyn Source,
    digest: &Sha256Digest,
) -> Result<T, ObjectError> {
    read_object(digest, get_object(source, digest).await)
}

/// Fetches what the projection of an event needs. An object that cannot be had comes back as none, with the reason.
pub(crate) async fn fetch_needed(source: &dyn Source, event: &Event) -> (Needed, Option<ObjectError>) {
    let mut needed = Needed::default();
    let error = match &event.body {
        EventBody::Publish { record, .. } => {
            fetch_json::<VersionRecord>(source, record).await.map(|record| needed.record = Some(record)).err()
        }
        EventBody::Genesis { config, .. } | EventBody::Config { config } => {
            fetch_json::<Settings>(source, config)
                .await
                .map(|settings| needed.settings = Some(settings))
                .err()
        }
        _ => None,
    };
    (needed, error)
}
