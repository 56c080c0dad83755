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

/// Longest file that is read where it is asked for, in bytes. A hop to another thread and back costs more than to read it
/// from the page cache, where the files of a publish are.
const SHORT_BYTES_MAX: u64 = 64 * 1024;
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

/// What became of an attempt to read without a hop to another thread.
pub(super) enum Short<T> {
    /// It was read, or is absent.
    Read(Option<T>),
    /// It is too long for that, or a writer is at work: read it on a thread that may block.
    Later,
}

impl<T> Short<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Short<U> {
        match self {
            Self::Read(read) => Short::Read(read.map(change)),
            Self::Later => Short::Later,
        }
    }
}

/// Reads a whole file of at most `len_max` bytes.
pub(super) fn whole(
    disk: &Disk,
    op: &'static str,
    key: &Key,
    len_max: u64,
) -> Result<Option<Bytes>, StoreError> {
    let found = open_file(disk, key).map_err(|e| definite(op, key, &e))?;
    found.map(|(file, meta)| read_all(file, &meta, op, key, len_max)).transpose()
}

/// Reads a whole file of at most `len_max` bytes, unless it is long.
pub(super) fn short(
    disk: &Disk,
    op: &'static str,
    key: &Key,
    len_max: u64,
) -> Result<Short<Bytes>, StoreError> {
    match open_file(disk, key).map_err(|e| definite(op, key, &e))? {
        None => Ok(Short::Read(None)),
        Some((_, meta)) if meta.len() > SHORT_BYTES_MAX => Ok(Short::Later),
        Some((file, meta)) => Ok(Short::Read(Some(read_all(file, &meta, op, key, len_max)?))),
    }
}

fn read_all(
    mut file: fs_err::File,
    meta: &Metadata,
    op: &'static str,
    key: &Key,
    len_max: u64,
) -> Result<Bytes, StoreError> {
    if meta.len() > len_max {
        return Err(StoreError::TooLong { key: key.to_string(), len_max });
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.read_to_end(&mut bytes).map_err(|e| definite(op, key, &e))?;
    Ok(bytes.into())
}

/// Tells a file's size and identity.
pub(super) fn stat(disk: &Disk, key: &Key) -> Result<Option<Stat>, StoreError> {
    let Some(path) = disk.path(key) else { return Ok(None) };
    match fs_err::metadata(path) {
        Ok(meta) if meta.is_file() => {
            let written_unix_s = meta.mtime().try_into().ok();
            Ok(Some(Stat { len: meta.len(), tag: identity(&meta), written_unix_s }))
        }
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
