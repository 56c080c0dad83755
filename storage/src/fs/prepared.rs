//! Bytes that were made durable under temporary names before their write comes.
//!
//! A commit knows, while it stages, what it will write after the commit point; making that durable beside the staging
//! leaves only names to be made durable then, which takes one flush of the disk instead of two.
//!
//! Invariant: a prepared file is given away once, to a write of the same bytes under the same key.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    disk::{Disk, TempFile},
    parallel,
};
use crate::{Body, Key};

/// Rounds that are kept: those that a commit prepares before and after its commit point. What is older was for a commit
/// that lost.
const ROUNDS_MAX: usize = 2;

type Round = HashMap<Key, (Bytes, TempFile)>;

/// The newest rounds of prepared files.
#[derive(Default)]
pub(super) struct Prepared(Mutex<VecDeque<Round>>);

impl Prepared {
    /// The file with these bytes that was prepared for this key.
    pub(super) fn take(&self, key: &Key, bytes: &Bytes) -> Option<TempFile> {
        let mut rounds = self.lock();
        let round =
            rounds.iter_mut().find(|round| round.get(key).is_some_and(|(there, _)| there == bytes))?;
        round.remove(key).map(|(_, temp)| temp)
    }

    fn keep(&self, round: Round) {
        let forgotten = {
            let mut rounds = self.lock();
            rounds.push_back(round);
            let surplus = rounds.len().saturating_sub(ROUNDS_MAX);
            rounds.drain(..surplus).collect::<Vec<_>>()
        };
        // Their files are removed while nothing is locked.
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Round>> {
        // A map is whole after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes and syncs files for what will be written; what cannot be is left to the write itself, which will say why.
pub(super) fn prepare_round(disk: &Arc<Disk>, writes: &Arc<[(Key, Bytes)]>) {
    let temps = parallel::map(writes, {
        let disk = disk.clone();
        move |(_, bytes)| disk.write_temp(&Body::Bytes(bytes.clone())).ok()
    });
    let round = writes
        .iter()
        .zip(temps)
        .filter_map(|((key, bytes), temp)| Some((key.clone(), (bytes.clone(), temp?))));
    disk.prepared.keep(round.collect());
}
