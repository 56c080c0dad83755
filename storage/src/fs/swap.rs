//! Compare-and-swap of pointers, in rounds that share their durability barriers; and deletion, which must not
//! interleave with a swap.
//!
//! Order: the new bytes to temporary files and to disk, while nothing is locked; then, under the keys' locks, compare,
//! move into place, and sync each directory once. Readers take the lock too, so what they see is durable.

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    disk::{Disk, TempFile},
    errors::{again, definite, is_absent},
    locks, parallel,
    read::{self as files, Short},
    unknown,
};
use crate::{Body, Key, Replace, StoreError, Tag, Versioned, contract::content_tag};

const OP: &str = "replace";
const READ: &str = "read";
const DELETE: &str = "delete";

/// One pointer to replace.
pub(super) struct Swap {
    pub(super) key: Key,
    pub(super) seen: Option<Tag>,
    pub(super) bytes: Bytes,
}

/// A swap whose new bytes are durable and wait for their name.
struct Staged {
    path: PathBuf,
    temp: TempFile,
}

/// Reads a pointer, with the tag of its bytes.
pub(super) fn read(disk: &Disk, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
    let _held = locks::shared(disk, key).map_err(|e| definite(READ, key, &e))?;
    Ok(files::whole(disk, READ, key, len_max)?.map(versioned))
}

/// Reads a pointer if no writer is at work and the file is short; else says so.
pub(super) fn read_short(disk: &Disk, key: &Key, len_max: u64) -> Result<Short<Versioned>, StoreError> {
    let held = locks::try_shared(disk, key).map_err(|e| definite(READ, key, &e))?;
    match held {
        Some(_held) => Ok(files::short(disk, READ, key, len_max)?.map(versioned)),
        None => Ok(Short::Later),
    }
}

fn versioned(bytes: Bytes) -> Versioned {
    Versioned { tag: content_tag(&bytes), bytes, store_time_unix: None }
}

/// Replaces each pointer that still is what its caller saw; answers in the order of `swaps`.
pub(super) fn swap_round(disk: &Arc<Disk>, swaps: &Arc<[Swap]>) -> Vec<Result<Replace, StoreError>> {
    let staged: Vec<io::Result<Staged>> = parallel::map(swaps, {
        let disk = disk.clone();
        move |swap| stage(&disk, swap)
    });
    let ready = || swaps.iter().zip(&staged).filter_map(|(swap, staged)| Some((swap, staged.as_ref().ok()?)));
    let dirs: BTreeSet<&Path> = ready().filter_map(|(_, staged)| staged.path.parent()).collect();
    let no_dir = disk.ensure_dirs(&dirs);
    let held = locks::exclusive(disk, ready().map(|(swap, _)| &swap.key));

    let mut won: HashSet<&Key> = HashSet::new();
    let mut placed: Vec<Result<Replace, StoreError>> = Vec::with_capacity(swaps.len());
    for (swap, staging) in swaps.iter().zip(&staged) {
        let failed = |e: &io::Error| Err(definite(OP, &swap.key, e));
        placed.push(match staging {
            Err(error) => failed(error),
            Ok(staged) => match (&held, staged.path.parent().and_then(|dir| no_dir.get(dir))) {
                (Err(e), _) | (_, Some(e)) => failed(e),
                // Two swaps of one key in one round: the first that held is the state that the second did not see.
                _ if won.contains(&swap.key) => Ok(Replace::Conflict),
                _ => place(disk, swap, staged),
            },
        });
        if let Some(Ok(Replace::Replaced(_))) = placed.last() {
            won.insert(&swap.key);
        }
    }

    let moved = staged.iter().zip(&placed).filter_map(|(staging, outcome)| moved_into(staging, outcome));
    let not_synced = disk.sync_dirs(&moved.collect());
    drop(held);
    for (staging, outcome) in staged.iter().zip(&mut placed) {
        if let Some(error) = moved_into(staging, outcome).and_then(|dir| not_synced.get(dir)) {
            *outcome = Ok(Replace::Unknown(error.to_string()));
        }
    }
    placed
}

/// The directory in which a swap that happened has changed a name.
fn moved_into<'a>(
    staging: &'a io::Result<Staged>,
    outcome: &Result<Replace, StoreError>,
) -> Option<&'a Path> {
    match (staging, outcome) {
        (Ok(staged), Ok(Replace::Replaced(_))) => staged.path.parent(),
        _ => None,
    }
}

/// Makes the new bytes durable under a temporary name. What is there is read only once, by [`place`]: most swaps win.
fn stage(disk: &Disk, swap: &Swap) -> io::Result<Staged> {
    let path = disk.path_to_write(&swap.key)?;
    let temp = match disk.prepared.take(&swap.key, &swap.bytes) {
        Some(temp) => temp,
        None => disk.write_temp(&Body::Bytes(swap.bytes.clone()))?,
    };
    Ok(Staged { path, temp })
}

/// Compares and moves; the caller holds the key's lock.
fn place(disk: &Disk, swap: &Swap, staged: &Staged) -> Result<Replace, StoreError> {
    let moved = match current(&staged.path) {
        Ok(now) if now != swap.seen => return Ok(Replace::Conflict),
        // A link fails where a rename would overwrite what a stray `put_new` made.
        Ok(None) => staged.temp.link(&staged.path),
        Ok(Some(_)) => staged.temp.rename(&staged.path),
        Err(e) => Err(e),
    };
    match moved {
        Ok(()) => Ok(Replace::Replaced(content_tag(&swap.bytes))),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Replace::Conflict),
        Err(e) => {
            if e.kind() == ErrorKind::NotFound {
                disk.forget_dirs();
            }
            Err(definite(OP, &swap.key, &e))
        }
    }
}

/// The tag of what is there.
fn current(path: &Path) -> io::Result<Option<Tag>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(content_tag(&bytes))),
        // A directory is no state of a pointer, and cannot become one.
        Err(e) if e.kind() != ErrorKind::IsADirectory && is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Deletes files, durably, each directory synced once; answers in the order of `keys`.
pub(super) fn delete_round(disk: &Disk, keys: &[Key]) -> Vec<Result<(), StoreError>> {
    let held = locks::exclusive(disk, keys);
    let removed: Vec<io::Result<PathBuf>> = keys
        .iter()
        .map(|key| {
            held.as_ref().map_err(again)?;
            remove(&disk.path_to_write(key)?)
        })
        .collect();
    let dirs = removed.iter().flatten().filter_map(|path| path.parent()).filter(|dir| dir.is_dir());
    let not_synced = disk.sync_dirs(&dirs.collect());
    drop(held);
    let answer = |(key, removed): (&Key, &io::Result<PathBuf>)| match removed {
        Err(error) => Err(definite(DELETE, key, error)),
        Ok(path) => match path.parent().and_then(|dir| not_synced.get(dir)) {
            Some(error) => Err(unknown(DELETE, key, error.to_string())),
            None => Ok(()),
        },
    };
    keys.iter().zip(&removed).map(answer).collect()
}

/// Removes a file. One that is gone has its directory synced all the same: whoever removed it may have died before it
/// was durable.
fn remove(path: &Path) -> io::Result<PathBuf> {
    match fs_err::remove_file(path) {
        Err(e) if !is_absent(&e) => Err(e),
        _ => Ok(path.to_path_buf()),
    }
}
