//! Archives into directories: strictly read, every file hashed while it is written.
//!
//! Owns one walk through one archive. Does not own where the directory goes afterwards: until the walk has succeeded,
//! nothing in it counts.
//! Invariant: what is reported is what was written, byte for byte.

use std::{
    collections::HashSet,
    io::{self, Read},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use drystone_archive::{Layout, ReadError, read_archive_as};
use drystone_schemas::{Limits, Problem, Sha256Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{ClientError, disk::Disk};

/// Most of a file that is held at once, in bytes: nearly every file of a package is shorter, and so one write.
const BUFFER_BYTES: usize = 256 << 10;

/// One file of an unpacked archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnpackedFile {
    /// Below the directory.
    pub(crate) path: String,
    /// Length in bytes.
    pub(crate) len: u64,
    /// Whether anybody may execute it.
    pub(crate) executable: bool,
    /// Of its content, if that was asked for.
    pub(crate) sha256: Option<Sha256Digest>,
    /// When it was written, in nanoseconds since 1970; another time means that somebody else wrote to it.
    pub(crate) modified_ns: u64,
}

/// How files are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// For files that several projects share.
    pub(crate) read_only: bool,
    /// Whether files get the times that the archive gives them; else they get the present.
    pub(crate) archive_times: bool,
    /// Whether every file is hashed.
    pub(crate) hash: bool,
    /// A file directly below the root directory that is left out.
    pub(crate) except: Option<&'static str>,
}

/// Unpacks an archive into a directory that is there and empty; paths keep the archive's root directory.
pub(crate) fn unpack(
    disk: &dyn Disk,
    archive: impl Read,
    limits: &Limits,
    into: &Path,
    rules: Rules,
) -> Result<Vec<UnpackedFile>, ClientError> {
    let mut files = Vec::new();
    let mut dirs = HashSet::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    read_archive_as(archive, limits, Layout::Flat, &mut |entry, content| {
        if rules.except.is_some_and(|except| entry.path.split_once('/').is_some_and(|(_, p)| p == except)) {
            return Ok(());
        }
        let path = into.join(entry.path);
        let parent = entry.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !parent.is_empty() && !dirs.contains(parent) {
            disk.create_dir_all(&into.join(parent))?;
            dirs.insert(parent.to_owned());
        }
        let mut file = disk.create(&path, entry.executable, rules.read_only)?;
        let mut hasher = rules.hash.then(Sha256::new);
        loop {
            let filled = fill(content, &mut buffer)?;
            if filled == 0 {
                break;
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(&buffer[..filled]);
            }
            disk.write(&mut file, &buffer[..filled])?;
        }
        if rules.archive_times {
            file.file().set_modified(UNIX_EPOCH + Duration::from_secs(entry.modified))?;
        }
        files.push(UnpackedFile {
            path: entry.path.into(),
            len: entry.size,
            executable: entry.executable,
            sha256: hasher.map(|hasher| Sha256Digest::from_bytes(hasher.finalize().into())),
            modified_ns: modified_ns(&file.metadata()?)?,
        });
        Ok::<(), io::Error>(())
    })
    .map_err(archive_error)?;
    Ok(files)
}

/// When a file was last written, in nanoseconds since 1970.
pub(crate) fn modified_ns(metadata: &std::fs::Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Reads until the buffer is full or the content ends.
fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What reading an archive failed with, as this library tells it.
fn archive_error(error: ReadError<io::Error>) -> ClientError {
    match error {
        ReadError::Refused(refusals) => ClientError::Problems(
            refusals.iter().map(drystone_archive::ArchiveError::problem).collect::<Vec<Problem>>(),
        ),
        ReadError::Io(error) | ReadError::Visit(error) => ClientError::Io(error),
    }
}
