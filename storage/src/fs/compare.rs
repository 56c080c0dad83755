//! What lies under a name, compared with what shall lie there.

use std::{
    io::{self, ErrorKind, Read},
    path::Path,
};

use super::errors::again;
use crate::{Body, Outcome, Tag, contract::content_tag};

/// Bytes compared at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Compares a body with the file at `path`, as a stream; `None` if there is no such file, and there may be one.
pub(super) fn compare(body: &Body, path: &Path) -> io::Result<Option<Outcome>> {
    let there = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let meta = there.metadata()?;
    if meta.is_dir() {
        let fact = format!("`{}` is a directory of other keys", path.display());
        return Err(io::Error::new(ErrorKind::IsADirectory, fact));
    }
    let same = meta.len() == body.len()
        && match body {
            Body::Bytes(bytes) => same_bytes(&mut &bytes[..], &mut there.file())?,
            Body::File { path, .. } => same_bytes(&mut fs_err::File::open(path)?.file(), &mut there.file())?,
        };
    Ok(Some(if same { Outcome::AlreadyThereSame } else { Outcome::AlreadyThereDifferent }))
}

/// The tag of the pointer at `path`; `None` if there is none, and there may be one.
pub(super) fn current(path: &Path) -> io::Result<Option<Tag>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(content_tag(&bytes))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn same_bytes(left: &mut impl Read, right: &mut impl Read) -> io::Result<bool> {
    let (mut of_left, mut of_right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let count = read_full(left, &mut of_left)?;
        if count != read_full(right, &mut of_right)? || of_left[..count] != of_right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the source ends.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(again(&e)),
        }
    }
    Ok(filled)
}
