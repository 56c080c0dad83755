//! Compare-and-swap of pointers, and deletion, in rounds.

use std::io;

use bytes::Bytes;

use super::{
    disk::Disk,
    errors::definite,
    read::{self as files, Short},
    unknown,
    writer::{Announced, Answer, Done, Failed, Wait, Write},
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

/// Reads a pointer, with the tag of its bytes. What has the name is durable, so no writer need be waited for.
pub(super) fn read(disk: &Disk, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
    Ok(files::whole(disk, READ, key, len_max)?.map(versioned))
}

/// Reads a pointer if the file is short; else says so.
pub(super) fn read_short(disk: &Disk, key: &Key, len_max: u64) -> Result<Short<Versioned>, StoreError> {
    Ok(files::short(disk, READ, key, len_max)?.map(versioned))
}

fn versioned(bytes: Bytes) -> Versioned {
    Versioned { tag: content_tag(&bytes), bytes, store_time_unix: None }
}

/// Replaces each pointer that still is what its caller saw; answers in the order of `swaps`.
pub(super) fn swap_round(
    disk: &Disk,
    swaps: &[Swap],
    wait: Wait,
    announced: Announced,
) -> Vec<Result<Replace, StoreError>> {
    let staged = swaps.iter().map(|swap| stage(disk, swap)).collect();
    let answered = answers(disk, staged, wait, announced);
    let answer = |(swap, answer): (&Swap, Answer)| match answer {
        Ok(Done::Swapped(outcome)) => Ok(outcome),
        Ok(other) => unreachable!("a swap is answered as one, not by {other:?}"),
        Err(Failed::Definite(error)) => Err(definite(OP, &swap.key, &error)),
        Err(Failed::Unknown(detail)) => Ok(Replace::Unknown(detail)),
    };
    swaps.iter().zip(answered).map(answer).collect()
}

/// Writes the new bytes under a temporary name. What is there is read only under the lock: most swaps win.
fn stage(disk: &Disk, swap: &Swap) -> io::Result<Write> {
    let path = disk.path_to_write(&swap.key)?;
    disk.folder.ensure_parent(&path)?;
    let temp = disk.folder.write_temp(&Body::Bytes(swap.bytes.clone()))?;
    Ok(Write::Swap { key: swap.key.clone(), seen: swap.seen.clone(), bytes: swap.bytes.clone(), temp })
}

/// Deletes files; answers in the order of `keys`. Always durable: a file whose deletion is only in order would still be
/// found, and be taken for there.
pub(super) fn delete_round(disk: &Disk, keys: &[Key], announced: Announced) -> Vec<Result<(), StoreError>> {
    let stage = |key: &Key| disk.path_to_write(key).map(|_| Write::Delete { key: key.clone() });
    let answered = answers(disk, keys.iter().map(stage).collect(), Wait::Durable, announced);
    let answer = |(key, answer): (&Key, Answer)| match answer {
        Ok(_) => Ok(()),
        Err(Failed::Definite(error)) => Err(definite(DELETE, key, &error)),
        Err(Failed::Unknown(detail)) => Err(unknown(DELETE, key, detail)),
    };
    keys.iter().zip(answered).map(answer).collect()
}

/// Writes what could be staged; answers for all, in order.
fn answers(disk: &Disk, staged: Vec<io::Result<Write>>, wait: Wait, announced: Announced) -> Vec<Answer> {
    let (mut writes, mut failed) = (Vec::new(), Vec::new());
    for staged in staged {
        failed.push(staged.map(|write| writes.push(write)).err());
    }
    let mut answers = disk.write(wait, writes, announced).into_iter();
    let answer = |failed: Option<io::Error>| match failed {
        Some(error) => Err(Failed::Definite(error)),
        None => answers.next().expect("each write is answered"),
    };
    failed.into_iter().map(answer).collect()
}
