//! Copying an object from one area to another: small ones through memory, others through a file that vanishes.

use bytes::BytesMut;
use drystone_log::commit::CommitError;
use drystone_schemas::layout::{self, CacheClass};
use drystone_storage::{Area, Body, Key, Meta, NewObject, Outcome, StoreError};
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::GcError;

/// Objects up to this many bytes are copied through memory; a few are under way at a time.
const IN_MEMORY_BYTES_MAX: u64 = 1 << 20;
/// How often a write is tried whose outcome is unknown.
const TRIES_MAX: usize = 4;

/// Copies an object; `false` if it is not there. `meta` sees the first bytes, or all of a small object.
pub(super) async fn transfer(
    from: &dyn Area,
    from_key: &Key,
    to: &dyn Area,
    to_key: Key,
    meta: impl FnOnce(&[u8]) -> Meta,
) -> Result<bool, GcError> {
    let Some(mut reader) = from.open(from_key, None).await? else { return Ok(false) };
    if reader.len <= IN_MEMORY_BYTES_MAX {
        let mut bytes = BytesMut::with_capacity(reader.len as usize);
        while let Some(chunk) = reader.stream.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let meta = meta(&bytes);
        put(to, &NewObject { key: to_key, body: Body::Bytes(bytes.freeze()), meta }).await?;
        return Ok(true);
    }
    let (file, path) = tempfile::NamedTempFile::new()?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let (mut len, mut first) = (0, Vec::new());
    while let Some(chunk) = reader.stream.try_next().await? {
        if len == 0 {
            first = chunk.to_vec();
        }
        len += chunk.len() as u64;
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    let body = Body::File { path: path.to_path_buf(), len };
    put(to, &NewObject { key: to_key, body, meta: meta(&first) }).await?;
    Ok(true)
}

/// Creates an object; whatever is unknown is tried again.
async fn put(to: &dyn Area, object: &NewObject) -> Result<(), GcError> {
    for _ in 1..TRIES_MAX {
        match to.put_new(object).await {
            Err(StoreError::Unknown { .. }) => {}
            other => return judge(other, object),
        }
    }
    judge(to.put_new(object).await, object)
}

fn judge(outcome: Result<Outcome, StoreError>, object: &NewObject) -> Result<(), GcError> {
    match outcome? {
        Outcome::Created | Outcome::AlreadyThereSame => Ok(()),
        Outcome::AlreadyThereDifferent => {
            Err(CommitError::ObjectConflict { key: object.key.to_string() }.into())
        }
    }
}

/// Deletes an object, and makes sure of it: a call whose outcome is unknown may still be under way, so that its error is
/// returned even when a later one succeeds.
pub(super) async fn delete(area: &dyn Area, key: &Key) -> Result<(), GcError> {
    match area.delete(key).await {
        Ok(()) => Ok(()),
        // Nothing was done, for certain; once more.
        Err(StoreError::Unavailable { .. }) => Ok(area.delete(key).await?),
        Err(error) => Err(error.into()),
    }
}

/// HTTP metadata of a public object that comes back. What was written beside the bytes is not in the trash.
pub(super) fn meta_of(key: &str, bytes: &[u8]) -> Meta {
    let (class, by_key) = layout::headers(key);
    let content_type = match bytes {
        _ if !key.starts_with("o/") => by_key,
        [0x1f, 0x8b, ..] => layout::GZIP,
        // The lines of an index file name the digest of an archive; everything else is one JSON value.
        _ if serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|v| v.get("cksum").is_none()) => {
            layout::JSON
        }
        _ => layout::TEXT,
    };
    debug_assert!(class == CacheClass::Immutable, "only what never changes is collected");
    Meta { content_type, cache_control: class.cache_control() }
}
