//! Writing: rounds of all areas of a journal, made into batches that share one sync.
//!
//! Order: bytes go to temporary files while nothing is locked. Then, under the journal's lock, each write is checked
//! against what is there, and those that hold are appended as one record, synced, and named. Rounds that arrive
//! meanwhile wait, and make the next batch.
//!
//! Owns: whether a write may happen, and its answer. Does not own: durability (see [`super::journal`]).
//!
//! Invariant: between the check of a write and its name nobody else writes, in any process.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    compare::{compare, current},
    errors::{again, is_absent},
    folder::{Folder, TempFile},
    journal::{Item, Journal, What},
    reserve::Reserve,
    syncs::SyncCounters,
};
use crate::{Body, Key, Outcome, Replace, Tag, contract::content_tag};

/// Longest file whose bytes go through the journal, in bytes. What is longer is synced by itself.
pub(super) const JOURNALED_BYTES_MAX: u64 = 256 * 1024;
/// From this many bytes on, a batch is made durable before the next write is looked at.
const BATCH_BYTES: usize = 1 << 20;
/// How long a batch waits for rounds that have been announced, at most: they have only to write some temporary files.
const GATHER: Duration = Duration::from_millis(10);

/// One write of a round.
pub(super) enum Write {
    /// Creates an object, if its key is free.
    Put {
        key: Key,
        body: Body,
        temp: TempFile,
    },
    /// Replaces a pointer, if it is what was seen.
    Swap {
        key: Key,
        seen: Option<Tag>,
        bytes: Bytes,
        temp: TempFile,
    },
    Delete {
        key: Key,
    },
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    Put(Outcome),
    Swapped(Replace),
    Deleted,
}

/// Why nothing can be said of a write, or that it did not happen.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was written.
    Definite(io::Error),
    /// It may happen yet.
    Unknown(String),
}

pub(super) type Answer = Result<Done, Failed>;

/// What a round waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// That it is durable, and visible.
    Durable,
    /// That it is in order: durable and visible with the next round that waits for that, or as if it had not been.
    Ordered,
}

/// A round that waits for its batch.
struct Job {
    area: u8,
    wait: Wait,
    writes: Mutex<Vec<Write>>,
    answers: Mutex<Option<Vec<Answer>>>,
}

/// Rounds that wait, and those that are on their way.
#[derive(Default)]
struct Queue {
    jobs: Vec<Arc<Job>>,
    announced: usize,
}

/// All who write to the areas of one journal, in this process.
pub(super) struct Writer {
    folders: Vec<Arc<Folder>>,
    reserve: Arc<Reserve>,
    journal: Mutex<Journal>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Whether something was answered that is in order only.
    is_unsettled: AtomicBool,
    pub(super) syncs: Arc<SyncCounters>,
}

/// A round that is on its way: a batch waits for it, for a moment.
pub(super) struct Announced(Arc<Writer>);

impl Drop for Announced {
    fn drop(&mut self) {
        lock(&self.0.queue).announced -= 1;
        self.0.arrived.notify_all();
    }
}

impl Writer {
    pub(super) fn new(
        folders: Vec<Arc<Folder>>,
        reserve: Arc<Reserve>,
        journal: Journal,
        syncs: Arc<SyncCounters>,
    ) -> Self {
        let (queue, arrived, is_unsettled) = Default::default();
        Self { folders, reserve, journal: Mutex::new(journal), queue, arrived, is_unsettled, syncs }
    }

    /// Tells that a round will be submitted when the handle goes.
    pub(super) fn announce(self: &Arc<Self>) -> Announced {
        lock(&self.queue).announced += 1;
        Announced(self.clone())
    }

    /// Whether a round would neither sync nor wait for anybody, so that it takes no longer than its system calls.
    pub(super) fn would_not_wait<'a>(&self, area: u8, writes: impl Iterator<Item = (&'a Key, u64)>) -> bool {
        let Ok(journal) = self.journal.try_lock() else { return false };
        let mut lens = Vec::new();
        let mut is_pending = false;
        for (key, len) in writes {
            is_pending |= journal.is_pending(area, key);
            lens.push(len);
        }
        let is_short = lens.iter().sum::<u64>() <= JOURNALED_BYTES_MAX;
        is_short && !is_pending && journal.is_alone() && journal.has_room(record_bytes(&lens))
    }

    /// Writes a round; answers in its order.
    pub(super) fn submit(
        &self,
        area: u8,
        wait: Wait,
        writes: Vec<Write>,
        announced: Announced,
    ) -> Vec<Answer> {
        let count = writes.len();
        let job = Arc::new(Job { area, wait, writes: Mutex::new(writes), answers: Mutex::default() });
        lock(&self.queue).jobs.push(job.clone());
        drop(announced);
        let mut journal = lock(&self.journal);
        if lock(&job.answers).is_none() {
            let jobs = self.gather(wait);
            self.run(&mut journal, &jobs);
            self.is_unsettled.store(journal.has_pending(), Ordering::Release);
        }
        drop(journal);
        let unanswered = || (0..count).map(|_| Err(Failed::Unknown("the writer panicked".into()))).collect();
        lock(&job.answers).take().unwrap_or_else(unanswered)
    }

    /// Whether something was answered as [`Wait::Ordered`] that may not be durable yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_unsettled.load(Ordering::Acquire)
    }

    /// Makes everything durable and visible that was answered as [`Wait::Ordered`].
    pub(super) fn settle(&self) -> io::Result<()> {
        let mut journal = lock(&self.journal);
        let settled = journal.locked(Journal::settle);
        self.is_unsettled.store(journal.has_pending(), Ordering::Release);
        settled
    }

    /// Whether files of these lengths, and their records, will find room; `false` if that is not known at once.
    pub(super) fn has_room(&self, area: u8, lens: &[u64]) -> bool {
        let records = self.reserve.records(area, record_bytes(lens));
        self.reserve.holds(area, file_bytes(lens))
            && self.journal.try_lock().is_ok_and(|journal| journal.has_room(records))
    }

    /// Makes sure that files of these lengths, and their records, will find room, beside those of the other areas.
    pub(super) fn reserve(&self, area: u8, lens: &[u64]) -> io::Result<()> {
        self.reserve.keep(area, &self.folders[usize::from(area)], file_bytes(lens))?;
        lock(&self.journal).reserve(self.reserve.records(area, record_bytes(lens)))
    }

    /// The journal, for tests that look into it.
    #[cfg(test)]
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// The rounds that wait, with those that are nearly here; of those that only want to be in order, none that would have
    /// them wait.
    fn gather(&self, wait: Wait) -> Vec<Arc<Job>> {
        let mut queue = lock(&self.queue);
        if wait == Wait::Ordered {
            let (ordered, durable) = queue.jobs.drain(..).partition(|job| job.wait == Wait::Ordered);
            queue.jobs = durable;
            return ordered;
        }
        let gathered = self.arrived.wait_timeout_while(queue, GATHER, |queue| queue.announced > 0);
        let (mut queue, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut queue.jobs)
    }

    fn run(&self, journal: &mut Journal, jobs: &[Arc<Job>]) {
        let mut rounds: Vec<Round<'_>> = jobs.iter().map(|job| Round::new(job)).collect();
        let begun = journal.locked(|journal| {
            let mut batch = Batch { folders: &self.folders, items: Vec::new(), bytes: 0, of: Vec::new() };
            for at in 0..rounds.len() {
                for write in std::mem::take(&mut rounds[at].writes) {
                    batch.take(journal, &mut rounds, at, write);
                }
            }
            let is_awaited = rounds.iter().any(|round| round.job.wait == Wait::Durable || round.has_long);
            batch.flush(journal, &mut rounds, is_awaited);
            Ok(())
        });
        for round in rounds {
            let answers = match &begun {
                Ok(()) => round.answers,
                // The lock was not got, or what others left could not be finished.
                Err(error) if round.answers.len() < round.count => {
                    (0..round.count).map(|_| Err(Failed::Definite(again(error)))).collect()
                }
                // What was done could not be told to others: they find out.
                Err(_) => round.answers,
            };
            *lock(&round.job.answers) = Some(answers);
        }
    }
}

/// A round as it is worked on.
struct Round<'a> {
    job: &'a Job,
    count: usize,
    writes: Vec<Write>,
    answers: Vec<Answer>,
    /// Whether one of its files is not in the journal.
    has_long: bool,
}

impl<'a> Round<'a> {
    fn new(job: &'a Job) -> Self {
        let writes = std::mem::take(&mut *lock(&job.writes));
        Self { job, count: writes.len(), writes, answers: Vec::new(), has_long: false }
    }
}

/// Writes that hold, and will be one record.
struct Batch<'a> {
    folders: &'a [Arc<Folder>],
    items: Vec<(Item, Option<TempFile>)>,
    bytes: usize,
    /// Which answers hang on it: of which round, and at which place.
    of: Vec<(usize, usize)>,
}

impl Batch<'_> {
    /// Checks a write against what is there, and takes it if it holds.
    fn take(&mut self, journal: &mut Journal, rounds: &mut [Round<'_>], at: usize, write: Write) {
        let area = rounds[at].job.area;
        let key = match &write {
            Write::Put { key, .. } | Write::Swap { key, .. } | Write::Delete { key } => key.clone(),
        };
        let is_ahead = self.items.iter().any(|(item, _)| item.area == area && item.key == key);
        if is_ahead || journal.is_pending(area, &key) || self.bytes > BATCH_BYTES {
            // What decides must be a file before it can be looked at.
            self.flush(journal, rounds, true);
        }
        let answer = match self.check(journal, area, &key, write) {
            Ok(Checked::Told(done)) => Ok(done),
            Ok(Checked::Holds(what, temp, done)) => {
                let item = Item { area, key, what };
                rounds[at].has_long |= item.what == What::Keep;
                self.bytes += item.encoded_bytes();
                self.items.push((item, temp));
                self.of.push((at, rounds[at].answers.len()));
                Ok(done)
            }
            Err(error) => Err(Failed::Definite(error)),
        };
        rounds[at].answers.push(answer);
    }

    fn check(&self, journal: &Journal, area: u8, key: &Key, write: Write) -> io::Result<Checked> {
        let folder = &self.folders[usize::from(area)];
        let path = folder.path(key);
        if journal.is_pending(area, key) {
            return Err(io::Error::other("an earlier write to the same key is not finished"));
        }
        Ok(match write {
            Write::Put { body, temp, .. } => match (compare(&body, &path)?, body) {
                (Some(outcome), body) => {
                    if body.len() > JOURNALED_BYTES_MAX {
                        // Whoever named it may have died before the name was durable.
                        journal.sync_names(area, &path)?;
                    }
                    Checked::Told(Done::Put(outcome))
                }
                (None, Body::Bytes(bytes)) if bytes.len() as u64 <= JOURNALED_BYTES_MAX => {
                    Checked::Holds(What::Write(bytes), Some(temp), Done::Put(Outcome::Created))
                }
                (None, _) => Checked::Holds(What::Keep, Some(temp), Done::Put(Outcome::Created)),
            },
            Write::Swap { seen, .. } if current(&path)? != seen => {
                Checked::Told(Done::Swapped(Replace::Conflict))
            }
            Write::Swap { bytes, temp, .. } => {
                let done = Done::Swapped(Replace::Replaced(content_tag(&bytes)));
                Checked::Holds(What::Write(bytes), Some(temp), done)
            }
            Write::Delete { .. } => match fs_err::symlink_metadata(&path) {
                Ok(meta) if !meta.is_dir() => Checked::Holds(What::Delete, None, Done::Deleted),
                Ok(_) => Checked::Told(Done::Deleted),
                Err(e) if is_absent(&e) => Checked::Told(Done::Deleted),
                Err(e) => return Err(e),
            },
        })
    }

    /// Appends what was taken, and makes it durable if somebody waits for that.
    fn flush(&mut self, journal: &mut Journal, rounds: &mut [Round<'_>], is_awaited: bool) {
        let (items, of) = (std::mem::take(&mut self.items), std::mem::take(&mut self.of));
        self.bytes = 0;
        if !items.is_empty()
            && let Err(error) = journal.append(items)
        {
            for (round, place) in &of {
                rounds[*round].answers[*place] = Err(Failed::Definite(again(&error)));
            }
        }
        if is_awaited && let Err(error) = journal.settle() {
            for (round, place) in of {
                let answer = &mut rounds[round].answers[place];
                if answer.is_ok() {
                    *answer = Err(Failed::Unknown(error.to_string()));
                }
            }
        }
    }
}

/// What files of these lengths take of a file system.
fn file_bytes(lens: &[u64]) -> u64 {
    /// What a file system rounds a file's length up to.
    const BLOCK: u64 = 4096;
    lens.iter().map(|len| len.next_multiple_of(BLOCK)).sum()
}

/// What writes of these lengths take of the journal.
fn record_bytes(lens: &[u64]) -> u64 {
    /// A key, and the fixed fields of an item and its record.
    const ADDED: u64 = 1024;
    lens.iter().map(|len| len + ADDED).sum()
}

/// What a check comes to.
enum Checked {
    /// There is nothing to write.
    Told(Done),
    /// It can be written; and what the answer is then.
    Holds(What, Option<TempFile>, Done),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after a panic elsewhere; a round that was cut off is answered as unknown.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
