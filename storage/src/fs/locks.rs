//! Kernel locks by key: what makes a compare-and-swap on a file atomic across threads and processes.
//!
//! Invariant: a thread takes all the locks of a round at once and in ascending order, so rounds cannot deadlock.

use std::{
    collections::BTreeSet,
    fs::TryLockError,
    io::{self, ErrorKind},
};

use sha2::{Digest, Sha256};

use super::disk::{Disk, LOCK_DIR};
use crate::Key;

/// Locks that are held; dropping them lets go, and so does the kernel when the process dies.
pub(super) struct Held(#[expect(dead_code, reason = "held for its drop")] Vec<fs_err::File>);

/// Waits until no other thread or process holds any of the keys' locks.
pub(super) fn exclusive<'a>(disk: &Disk, keys: impl IntoIterator<Item = &'a Key>) -> io::Result<Held> {
    let numbers: BTreeSet<u8> = keys.into_iter().map(number).collect();
    let lock_one = |number: u8| {
        let file = open(disk, number)?;
        file.lock()?;
        Ok(file)
    };
    numbers.into_iter().map(lock_one).collect::<io::Result<_>>().map(Held)
}

/// Waits until no writer of this key is at work, so that what is read is durable.
///
/// A reader that may not write cannot make lock files: it reads without, and still sees whole files only.
pub(super) fn shared(disk: &Disk, key: &Key) -> io::Result<Held> {
    let Some(file) = open_to_read(disk, key)? else { return Ok(Held(Vec::new())) };
    file.lock_shared()?;
    Ok(Held(vec![file]))
}

/// The same, without waiting: none if a writer is at work.
pub(super) fn try_shared(disk: &Disk, key: &Key) -> io::Result<Option<Held>> {
    let Some(file) = open_to_read(disk, key)? else { return Ok(Some(Held(Vec::new()))) };
    match file.file().try_lock_shared() {
        Ok(()) => Ok(Some(Held(vec![file]))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// The lock file of a key, for a reader; none where it is missing and cannot be made: in an area that may only be read,
/// or on a full disk, where no writer gets so far either.
fn open_to_read(disk: &Disk, key: &Key) -> io::Result<Option<fs_err::File>> {
    use ErrorKind::*;
    match open(disk, number(key)) {
        Err(e) if matches!(e.kind(), ReadOnlyFilesystem | PermissionDenied) => Ok(None),
        Err(e) if matches!(e.kind(), NotFound | StorageFull | QuotaExceeded) => Ok(None),
        other => other.map(Some),
    }
}

/// 256 lock files are enough to keep unrelated keys apart, and few enough to stay in the kernel's caches.
fn number(key: &Key) -> u8 {
    Sha256::digest(key.as_str().as_bytes())[0]
}

/// Each lock needs an open file of its own: threads that shared one would share its lock too.
fn open(disk: &Disk, number: u8) -> io::Result<fs_err::File> {
    let path = disk.root().join(LOCK_DIR).join(format!("{number:02x}"));
    fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}
