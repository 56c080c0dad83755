//! Fsck: checks every file of a registry against the signed root of its log, and names each one that is not right.
//!
//! Owns: the order of the checks and the report. Its submodules own the checks: `tree` tells damaged tiles from damaged
//! entries, `log` reads them, `events` replays, `state` compares nodes and by-name files, `vault` looks at head, `sweep`
//! at everything that the current state does not name. Does not own repair; that is rebuild's and recover's.
//! Invariant: a problem never ends the check, and what could not be checked because of one is said to be so.

mod events;
#[cfg(test)]
mod flips;
mod log;
mod state;
mod sweep;
mod tree;
mod vault;

use std::{collections::BTreeSet, fmt, sync::Arc};

use drystone_log::VerifierKey;
use drystone_storage::Area;
use futures_util::StreamExt;

use crate::{
    concurrent::in_order,
    objects::ObjectError,
    progress::Progress,
    source::{Source, SourceError},
};

/// How to check.
#[derive(Debug, Clone)]
pub struct FsckOptions {
    /// The log's key; without it, the key that the log names in its own genesis event.
    pub key: Option<VerifierKey>,
    /// Hash every archive instead of comparing lengths, and look at every file, where files can be listed.
    pub deep: bool,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// It is not there.
    Missing,
    /// It is there with other bytes than it must have.
    Damaged,
    /// Its bytes are those that were signed, but what they say contradicts what was said before.
    Contradiction,
    /// It belongs to a commit that is not published, or it pretends to.
    Ahead,
    /// Nothing in the log leads to it.
    Stray,
    /// It could not be read; whether it is right is not known.
    Unreadable,
    /// It could not be checked, because of another problem.
    Unchecked,
}

/// One thing that is not right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FsckProblem {
    /// The file, by its key; those of the vault start with `vault/`.
    pub key: String,
    /// What is wrong.
    pub kind: ProblemKind,
    /// More about it, for people.
    pub detail: String,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsckCounts {
    /// Events that were replayed.
    pub events: u64,
    /// Files of the log: checkpoint, proof, history, tiles and entry bundles.
    pub log_files: u64,
    /// Nodes of the state map.
    pub state_nodes: u64,
    /// By-name files.
    pub by_name: u64,
    /// Objects, archives among them.
    pub objects: u64,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckReport {
    /// Number of events in the published log; none if there is no good checkpoint.
    pub size: Option<u64>,
    /// Everything that is not right, sorted by key.
    pub problems: Vec<FsckProblem>,
    /// How much was checked.
    pub counts: FsckCounts,
}

impl FsckReport {
    /// Whether everything is as it must be.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Contradiction => "contradiction",
            Self::Ahead => "ahead",
            Self::Stray => "stray",
            Self::Unreadable => "unreadable",
            Self::Unchecked => "unchecked",
        })
    }
}

impl fmt::Display for FsckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.key, self.kind, self.detail)
    }
}

pub(crate) use events::measure;
pub(crate) use log::Log;
pub(crate) use state::{Found, Mapped, spelling};

/// Checks a registry's public files, and head if the vault is given.
pub async fn fsck(
    source: &dyn Source,
    vault: Option<Arc<dyn Area>>,
    options: &FsckOptions,
    progress: &dyn Progress,
) -> FsckReport {
    let mut check = Check::new(source, vault, options, progress);
    let size = check.run().await;
    FsckReport { size, problems: check.problems.into_iter().collect(), counts: check.counts }
}

pub(crate) struct Check<'a> {
    pub(crate) source: &'a dyn Source,
    vault: Option<Arc<dyn Area>>,
    pub(crate) options: &'a FsckOptions,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) problems: BTreeSet<FsckProblem>,
    pub(crate) counts: FsckCounts,
    /// Keys that were checked, right or wrong.
    seen: BTreeSet<String>,
}

impl<'a> Check<'a> {
    /// A check that has not found anything yet.
    pub(crate) fn new(
        source: &'a dyn Source,
        vault: Option<Arc<dyn Area>>,
        options: &'a FsckOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            source,
            vault,
            options,
            progress,
            problems: BTreeSet::new(),
            counts: FsckCounts::default(),
            seen: BTreeSet::new(),
        }
    }
}

impl Check<'_> {
    async fn run(&mut self) -> Option<u64> {
        let published = self.checkpoint().await?;
        let size = published.checkpoint.size();
        let log = self.log(published).await;
        let events = self.events(&log).await;
        self.objects(&events).await;
        self.state(&log, &events).await;
        let plain = if events.complete { events.replica.plain_files() } else { None };
        self.plain(log.size(), plain).await;
        self.head(&log, &events).await;
        if self.options.deep {
            self.sweep(&log).await;
        }
        Some(size)
    }

    /// Notes that something is not right.
    pub(crate) fn problem(&mut self, key: impl Into<String>, kind: ProblemKind, detail: impl fmt::Display) {
        self.problems.insert(FsckProblem { key: key.into(), kind, detail: detail.to_string() });
    }

    /// Notes a problem, if it is one.
    pub(crate) fn take(&mut self, problem: Option<FsckProblem>) {
        self.problems.extend(problem);
    }

    /// Compares files of the log with the bytes that they must have; false if any is another.
    pub(crate) async fn same(&mut self, files: Vec<(String, Vec<u8>)>) -> bool {
        let source = self.source;
        let each = files.into_iter().map(|(key, bytes)| async move { compare(source, &key, &bytes).await });
        let found: Vec<_> = in_order(each.collect()).collect().await;
        self.counts.log_files += found.len() as u64;
        let right = found.iter().all(Option::is_none);
        found.into_iter().for_each(|problem| self.take(problem));
        right
    }
}

/// The problem that an unreadable file is.
pub(crate) fn unreadable(key: &str, error: &SourceError) -> FsckProblem {
    let (kind, detail) = match error {
        // A file that is longer than any right one can be is not the right one.
        SourceError::TooLong { len_max, .. } => {
            (ProblemKind::Damaged, format!("it has more than {len_max} bytes"))
        }
        SourceError::Unreadable { detail, .. } => (ProblemKind::Unreadable, detail.clone()),
    };
    FsckProblem { key: key.to_owned(), kind, detail }
}

/// The problem that a bad object is.
pub(crate) fn bad_object(key: &str, error: &ObjectError) -> FsckProblem {
    let (kind, detail) = match error {
        ObjectError::Missing { .. } => (ProblemKind::Missing, "an event names it".to_owned()),
        ObjectError::Damaged { .. } => (ProblemKind::Damaged, "its bytes do not hash to its name".to_owned()),
        ObjectError::Malformed { detail, .. } => (ProblemKind::Contradiction, detail.clone()),
        ObjectError::Source(error) => return unreadable(key, error),
    };
    FsckProblem { key: key.to_owned(), kind, detail }
}

/// Compares a file with the bytes that it must have.
async fn compare(source: &dyn Source, key: &str, expected: &[u8]) -> Option<FsckProblem> {
    let (kind, detail) = match source.get(key, expected.len() as u64).await {
        Ok(Some(bytes)) if bytes == expected => return None,
        Ok(Some(_)) => (ProblemKind::Damaged, "its bytes are not those that follow from the log".to_owned()),
        Ok(None) => (ProblemKind::Missing, "it follows from the log".to_owned()),
        Err(error) => return Some(unreadable(key, &error)),
    };
    Some(FsckProblem { key: key.to_owned(), kind, detail })
}
