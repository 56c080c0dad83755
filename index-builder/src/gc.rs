//! Garbage collection: removes what no event names, no recent checkpoint leads to, and nobody works with.
//!
//! Owns: the order of a collection, and what is told of it. Its submodules: `marks` finds what is needed, `judge` says
//! of a key whether it is (pure), `sweep` dooms, moves and deletes, `trash` puts back and empties. The fence itself is
//! the log's. Does not own takedowns.
//!
//! Invariant: nothing that a committed event names, that a state of the last 30 days leads to, or that head names is
//! removed. What is removed of it all the same, by a deletion that arrives hours late, lies in the trash, and every
//! run first puts that back.
//!
//! Memory: the digests of at most 16 parts of the registry at a time, about 2^20 of them, so 60 MiB; up to 4 million
//! events. Larger registries need more in proportion. Beside it lie the hashes of the nodes of the states that are
//! needed, one page of a listing, and 512 doomed keys.

mod judge;
mod marks;
mod sweep;
mod transfer;
mod trash;

use std::collections::BTreeMap;

use drystone_log::{
    VerifierKey,
    commit::{CommitError, SeenHead},
};
use drystone_storage::{Clock, Entropy, InvalidKey, Store, StoreError};

use crate::{
    progress::Progress,
    published::{EntriesError, PublishedError},
};
use marks::{Marks, Scope};
use sweep::Sweep;

/// How old things must be before they go, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcAges {
    /// How long a checkpoint is served with everything that it leads to: states, their files, partial tiles.
    pub history_s: u64,
    /// How long an object that nothing names is spared, where the store tells its age: somebody may be about to.
    pub unnamed_s: u64,
    /// How long the outcome of an intent is kept. Not below two days: ids may be a day old, or a day ahead.
    pub outcomes_s: u64,
    /// How long intents and uploads wait, counted from the time in their id.
    pub waiting_s: u64,
    /// How long inbox entries that could not be read are kept.
    pub unreadable_s: u64,
    /// How long the trash is kept.
    pub trash_s: u64,
}

const DAY_S: u64 = 24 * 3_600;

impl Default for GcAges {
    fn default() -> Self {
        Self {
            history_s: 30 * DAY_S,
            unnamed_s: DAY_S,
            // Seven days, and one by which a client's clock may be ahead.
            outcomes_s: 8 * DAY_S,
            waiting_s: 2 * DAY_S,
            unreadable_s: 30 * DAY_S,
            trash_s: 7 * DAY_S,
        }
    }
}

/// How to collect.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// The log's key; without it, the key that the log names in its own genesis event.
    pub key: Option<VerifierKey>,
    /// Remove; else only tell what would be.
    pub apply: bool,
    /// Name every key in the report; else only count.
    pub list: bool,
    /// What is old.
    pub ages: GcAges,
}

/// What kind of garbage something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GcClass {
    /// An object below `o/`.
    Objects,
    /// A node of an old state.
    StateNodes,
    /// A partial tile or entry bundle.
    PartialTiles,
    /// A staging object.
    Staging,
    /// An outcome of an intent.
    Outcomes,
    /// An intent that nobody took along.
    Inbox,
    /// An inbox entry that could not be read.
    UnreadableInbox,
    /// A large upload, or its ticket.
    Uploads,
    /// What an earlier collection moved away.
    Trash,
}

impl GcClass {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::StateNodes => "state-nodes",
            Self::PartialTiles => "partial-tiles",
            Self::Staging => "staging",
            Self::Outcomes => "outcomes",
            Self::Inbox => "inbox",
            Self::UnreadableInbox => "unreadable-inbox",
            Self::Uploads => "uploads",
            Self::Trash => "trash",
        }
    }

    /// Why it is garbage.
    pub fn why(self) -> &'static str {
        match self {
            Self::Objects => "no event and no recent state names them",
            Self::StateNodes => "no recent state has them",
            Self::PartialTiles => "a full tile replaced them, and no recent checkpoint needs them",
            Self::Staging => "their commits are applied, or never happened",
            Self::Outcomes => "their requests can no longer be repeated",
            Self::Inbox => "they have expired",
            Self::UnreadableInbox => "they could not be read, and were kept long enough",
            Self::Uploads => "nobody finished them",
            Self::Trash => "they were moved away long ago, and nobody missed them",
        }
    }
}

/// How much of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcTally {
    /// Files.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a collection removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Number of events in the log.
    pub size: u64,
    /// Garbage by class.
    pub classes: BTreeMap<GcClass, GcTally>,
    /// Garbage that is too young to go.
    pub young: u64,
    /// What was put back from the trash, or would be, because it is needed and was missing.
    pub put_back: Vec<String>,
    /// Keys that a collector left doomed when it died, and that were finished.
    pub resumed: u64,
    /// How often the fence went up.
    pub fences: u64,
    /// Until when another collection has the fence, in seconds since 1970; only if nothing is to be removed.
    pub under_way_until: Option<u64>,
    /// Every key with its class, if they are to be named.
    pub keys: Vec<(GcClass, String)>,
}

impl GcReport {
    /// Whether there is, or was, nothing to do.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.put_back.is_empty() && self.resumed == 0
    }

    /// All classes together.
    pub fn total(&self) -> GcTally {
        self.classes.values().fold(GcTally::default(), |sum, one| GcTally {
            count: sum.count + one.count,
            bytes: sum.bytes + one.bytes,
        })
    }
}

/// Why a collection stopped. Nothing that is needed has gone; a later run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// There is no good checkpoint.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// Entries of the log cannot be read, so that it is not known what they name.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// Head cannot be read or replaced, or another collection is under way.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What the current state leads to is missing or damaged: repair that first.
    #[error("`{key}` is missing or damaged: nothing is collected before that is repaired")]
    Damaged {
        /// Which file.
        key: String,
    },
    /// Head is that of another log.
    #[error("head is that of the log `{origin}`")]
    OtherLog {
        /// Its origin.
        origin: String,
    },
    /// Commits kept coming in between.
    #[error("the log kept moving")]
    Contended,
    /// The fence was taken over, or head was made anew: this run was too slow.
    #[error("the fence is no longer this collection's")]
    FenceLost,
    /// A temporary file could not be written.
    #[error("a temporary file cannot be written: {0}")]
    Spool(#[from] std::io::Error),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug: a key of ours is not a key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

/// Collects garbage: finds what is needed, puts back what is missing, and removes what is not needed.
///
/// Any number may run at once, beside any number of publishers and readers; one at a time removes. What a dead one left
/// is finished when its lease is over.
pub async fn gc(
    store: &Store,
    options: &GcOptions,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    progress: &dyn Progress,
) -> Result<GcReport, GcError> {
    let mut sweep = Sweep::new(store, options, clock, entropy, progress);
    sweep.resume().await?;
    let size = SeenHead::read(&*store.vault, clock).await?.head.size();
    for scope in Scope::parts_of(size) {
        let mut marks = Marks::read(&sweep.reader, scope, options).await?;
        sweep.tend_trash(&marks).await?;
        sweep.digests(&mut marks).await?;
        if marks.scope.is_first() {
            sweep.log_and_vault(&mut marks).await?;
        }
        sweep.report.size = marks.size();
    }
    Ok(sweep.report)
}
