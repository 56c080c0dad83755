//! Creation of immutable objects, in rounds that share their durability barriers.
//!
//! Order: all bodies to temporary files and to disk, then all names, then each directory once.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    disk::{Disk, TempFile},
    errors::{again, definite, is_absent},
    parallel, unknown,
};
use crate::{Body, NewObject, Outcome, StoreError};

const OP: &str = "put_new";
/// Bytes compared at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// An object after its bytes have been dealt with.
struct Staged {
    path: PathBuf,
    what: What,
}

enum What {
    /// It was there before; these are its answer.
    There(Outcome),
    /// Its bytes are durable and wait for their name.
    Ready(TempFile),
}

/// Creates each object whose key is free; answers in the order of `objects`.
pub(super) fn create_round(disk: &Arc<Disk>, objects: &Arc<[NewObject]>) -> Vec<Result<Outcome, StoreError>> {
    let staged = parallel::map(objects, {
        let disk = disk.clone();
        move |object| stage(&disk, object)
    });
    // Also objects that were there: another process may have made their directory and not synced it yet.
    let dirs: BTreeSet<&Path> = staged.iter().flatten().filter_map(|staged| staged.path.parent()).collect();
    let no_dir = disk.ensure_dirs(&dirs);
    let named: Vec<Result<Outcome, StoreError>> = objects
        .iter()
        .zip(&staged)
        .map(|(object, staged)| {
            let staged = staged.as_ref().map_err(|error| definite(OP, &object.key, error))?;
            if let Some(error) = staged.path.parent().and_then(|dir| no_dir.get(dir)) {
                return Err(definite(OP, &object.key, error));
            }
            name(disk, object, staged)
        })
        .collect();
    let to_sync = staged.iter().zip(&named).filter_map(|(staged, outcome)| match outcome {
        Ok(Outcome::Created | Outcome::AlreadyThereSame) => staged.as_ref().ok()?.path.parent(),
        _ => None,
    });
    let not_synced = disk.sync_dirs(&to_sync.collect());
    let answer =
        |((object, staged), outcome): ((&NewObject, &io::Result<Staged>), Result<Outcome, StoreError>)| {
            let dir = staged.as_ref().ok().and_then(|staged| staged.path.parent());
            match dir.and_then(|dir| not_synced.get(dir)) {
                Some(error) if outcome.is_ok() => Err(unknown(OP, &object.key, error.to_string())),
                _ => outcome,
            }
        };
    objects.iter().zip(&staged).zip(named).map(answer).collect()
}

/// Compares with what is there, or makes the bytes durable under a temporary name.
fn stage(disk: &Disk, object: &NewObject) -> io::Result<Staged> {
    let path = disk.path_to_write(&object.key)?;
    let prepared = match &object.body {
        Body::Bytes(bytes) => disk.prepared.take(&object.key, bytes),
        Body::File { .. } => None,
    };
    let what = match (compare(&object.body, &path)?, prepared) {
        (Some(outcome), _) => What::There(outcome),
        (None, Some(temp)) => What::Ready(temp),
        (None, None) => What::Ready(disk.write_temp(&object.body)?),
    };
    Ok(Staged { path, what })
}

/// Gives staged bytes their name, if it is still free.
fn name(disk: &Disk, object: &NewObject, staged: &Staged) -> Result<Outcome, StoreError> {
    let temp = match &staged.what {
        What::There(outcome) => return Ok(*outcome),
        What::Ready(temp) => temp,
    };
    let linked = match temp.link(&staged.path) {
        Ok(()) => return Ok(Outcome::Created),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => compare(&object.body, &staged.path),
        Err(e) => Err(e),
    };
    match linked {
        Ok(Some(outcome)) => Ok(outcome),
        // Created and deleted by others in between: nothing of ours is there.
        Ok(None) => Err(definite(OP, &object.key, &ErrorKind::Interrupted.into())),
        Err(e) => {
            if e.kind() == ErrorKind::NotFound {
                disk.forget_dirs();
            }
            Err(definite(OP, &object.key, &e))
        }
    }
}

/// Compares a body with the file at `path`, as a stream; `None` if there is no such file.
fn compare(body: &Body, path: &Path) -> io::Result<Option<Outcome>> {
    let there = match fs_err::File::open(path) {
        Ok(file) => file,
        // Below a file there can be nothing: making the directory will say so.
        Err(e) if is_absent(&e) => return Ok(None),
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
