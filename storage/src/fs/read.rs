//! Reading of files: whole, as a stream, and their size.

use std::{
    fs::Metadata,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::MetadataExt,
};

use bytes::{Bytes, BytesMut};
use futures_util::stream;

use super::{
    blocking,
    disk::Disk,
    errors::{definite, is_absent},
    unavailable,
};
use crate::{Key, ObjectReader, Stat, StoreError, Tag, cut};

/// Bytes read at a time by a stream: large enough that the hop to a blocking thread does not show.
const CHUNK_BYTES: usize = 256 * 1024;

/// Opens a file; `None` if the key has none, also where a directory has its name.
fn open_file(disk: &Disk, key: &Key) -> io::Result<Option<(fs_err::File, Metadata)>> {
    let Some(path) = disk.path(key) else { return Ok(None) };
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(e) if is_absent(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let meta = file.metadata()?;
    Ok(if meta.is_file() { Some((file, meta)) } else { None })
}

/// Reads a whole file of at most `len_max` bytes.
pub(super) fn whole(
    disk: &Disk,
    op: &'static str,
    key: &Key,
    len_max: u64,
) -> Result<Option<Bytes>, StoreError> {
    let failed = |e: io::Error| definite(op, key, &e);
    let Some((mut file, meta)) = open_file(disk, key).map_err(failed)? else { return Ok(None) };
    if meta.len() > len_max {
        return Err(StoreError::TooLong { key: key.to_string(), len_max });
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes.into()))
}

/// Tells a file's size and identity.
pub(super) fn stat(disk: &Disk, key: &Key) -> Result<Option<Stat>, StoreError> {
    let Some(path) = disk.path(key) else { return Ok(None) };
    match fs_err::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(Stat { len: meta.len(), tag: identity(&meta) })),
        Ok(_) => Ok(None),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(definite("stat", key, &e)),
    }
}

/// Opens a file, or a part of it, as a stream.
pub(super) fn open(
    disk: &Disk,
    key: &Key,
    range: Option<Range<u64>>,
) -> Result<Option<ObjectReader>, StoreError> {
    let failed = |e: io::Error| definite("open", key, &e);
    let Some((mut file, meta)) = open_file(disk, key).map_err(failed)? else { return Ok(None) };
    let range = cut(range, meta.len());
    file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    let start = (file.into_file(), range.end - range.start);
    let key = key.to_string();
    let stream = stream::try_unfold(start, move |(mut file, left)| {
        let key = key.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let read = blocking(move || {
                let mut chunk = BytesMut::zeroed(left.min(CHUNK_BYTES as u64) as usize);
                file.read_exact(&mut chunk).map(|()| (chunk.freeze(), file))
            });
            let failed = |detail| unavailable("open", &key, detail);
            let (chunk, file) = read.await.map_err(failed)?.map_err(|e| failed(e.to_string()))?;
            let left = left - chunk.len() as u64;
            Ok(Some((chunk, (file, left))))
        }
    });
    Ok(Some(ObjectReader { len: meta.len(), tag: identity(&meta), stream: Box::pin(stream) }))
}

/// A tag that changes when a name gets other bytes, because that is always another file.
fn identity(meta: &Metadata) -> Tag {
    Tag(format!("{:x}-{:x}-{:x}.{:x}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}
