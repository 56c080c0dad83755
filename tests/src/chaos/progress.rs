//! What a run counts while it goes on, shared by writers, fleet and killer.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// Violations that are kept; one is enough to fail.
const VIOLATIONS_MAX: usize = 50;

/// The counts of a run.
pub(super) struct Progress {
    wanted: u64,
    acknowledged: AtomicU64,
    over: AtomicBool,
    changed: Notify,
    counts: Mutex<Counts>,
}

/// What is only read at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) repeats: u64,
    pub(super) store_kills: u64,
    pub(super) open_answers: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
}

impl Progress {
    /// A run that is over when this many publishes are acknowledged.
    pub(super) fn new(wanted: u64) -> Self {
        let (acknowledged, over, changed, counts) = Default::default();
        Self { wanted, acknowledged, over, changed, counts }
    }

    /// Publishes that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Whether writers should ask for nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) || self.acknowledged() >= self.wanted
    }

    /// Notes an acknowledged publish.
    pub(super) fn published(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Notes an answer that left the outcome open.
    pub(super) fn open_answer(&self, code: &str) {
        *self.counts_mut().open_answers.entry(code.to_owned()).or_default() += 1;
        self.changed.notify_one();
    }

    /// Answers so far that left the outcome open.
    pub(super) fn open_answers(&self) -> u64 {
        self.counts_mut().open_answers.values().sum()
    }

    /// Notes that a request is sent once more.
    pub(super) fn repeated(&self) {
        self.counts_mut().repeats += 1;
    }

    /// Notes that the S3 server was killed.
    pub(super) fn store_killed(&self) {
        self.counts_mut().store_kills += 1;
    }

    /// Notes what must not be.
    pub(super) fn violation(&self, what: String) {
        let mut counts = self.counts_mut();
        if counts.violations.len() < VIOLATIONS_MAX {
            counts.violations.push(what);
        }
    }

    /// Ends the run early, as a failure.
    pub(super) fn give_up(&self, why: String) {
        self.violation(why);
        self.over.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Waits for the next publish, or the next answer that leaves the outcome open.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The counts.
    pub(super) fn counts(&self) -> Counts {
        self.counts_mut().clone()
    }

    fn counts_mut(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("no holder of this lock panics")
    }
}
