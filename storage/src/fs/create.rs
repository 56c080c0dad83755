//! Creation of immutable objects, in rounds.

use std::io::{self, ErrorKind};

use super::{
    compare::compare,
    disk::Disk,
    errors::definite,
    folder::check_length,
    syncs::SyncCounters,
    unknown,
    writer::{Announced, Answer, Done, Failed, JOURNALED_BYTES_MAX, Wait, Write},
};
use crate::{Body, NewObject, Outcome, StoreError};

const OP: &str = "put_new";

/// An object after its bytes have been dealt with.
enum Staged {
    /// It was there before; this is its answer.
    There(Outcome),
    /// Its bytes wait for their name.
    Ready(Write),
}

/// Creates each object whose key is free; answers in the order of `objects`.
pub(super) fn create_round(
    disk: &Disk,
    objects: &[NewObject],
    wait: Wait,
    announced: Announced,
) -> Vec<Result<Outcome, StoreError>> {
    let staged: Vec<io::Result<Staged>> = objects.iter().map(|object| stage(disk, object)).collect();
    let (mut writes, mut told) = (Vec::new(), Vec::new());
    for staged in staged {
        told.push(match staged {
            Ok(Staged::There(outcome)) => Some(Ok(outcome)),
            Ok(Staged::Ready(write)) => {
                writes.push(write);
                None
            }
            Err(error) => Some(Err(error)),
        });
    }
    let mut answers = disk.write(wait, writes, announced).into_iter();
    let answer = |(object, told): (&NewObject, Option<io::Result<Outcome>>)| match told {
        Some(told) => told.map_err(|error| definite(OP, &object.key, &error)),
        None => created(object, answers.next().expect("each write is answered")),
    };
    objects.iter().zip(told).map(answer).collect()
}

fn created(object: &NewObject, answer: Answer) -> Result<Outcome, StoreError> {
    match answer {
        Ok(Done::Put(outcome)) => Ok(outcome),
        Ok(other) => unreachable!("a put is answered as one, not by {other:?}"),
        Err(Failed::Definite(error)) => Err(definite(OP, &object.key, &error)),
        Err(Failed::Unknown(detail)) => Err(unknown(OP, &object.key, detail)),
    }
}

/// Compares with what is there, or writes the bytes under a temporary name.
fn stage(disk: &Disk, object: &NewObject) -> io::Result<Staged> {
    let path = disk.path_to_write(&object.key)?;
    let body = match &object.body {
        Body::File { path, len } if *len <= JOURNALED_BYTES_MAX => {
            let bytes = fs_err::read(path)?;
            check_length(path, bytes.len() as u64, *len)?;
            Body::Bytes(bytes.into())
        }
        body => body.clone(),
    };
    let is_long = body.len() > JOURNALED_BYTES_MAX;
    match compare(&body, &path) {
        // What is in the journal has a name only if it is durable; of others only who holds the lock can be sure.
        Ok(Some(outcome)) if !is_long => return Ok(Staged::There(outcome)),
        Ok(_) => {}
        // Below a file there can be nothing: making the directory will say so.
        Err(e) if e.kind() == ErrorKind::NotADirectory => {}
        Err(e) => return Err(e),
    }
    disk.folder.ensure_parent(&path)?;
    // A name that is too long shows only when its directory is there.
    compare(&Body::Bytes(bytes::Bytes::new()), &path)?;
    let temp = disk.folder.write_temp(&body)?;
    if is_long {
        SyncCounters::add(&disk.writer.syncs.files, 1);
        temp.sync()?;
    }
    Ok(Staged::Ready(Write::Put { key: object.key.clone(), body, temp }))
}
