//! Replaying a published log, strictly: the first thing that does not follow ends it.
//!
//! Owns: reading entries in order, the root over them, and fetching what their projection needs. Does not own
//! diagnosis; that is fsck's. Invariant: a [`Replay`] is returned only if the entries hash to the signed root and every
//! event's files and state are what follows from it.

use drystone_log::{EntryBundle, MemoryTree, VerifierKey, leaf_hash, tile::entry_bundles};
use drystone_schemas::Event;
use futures_util::StreamExt;

use crate::{
    concurrent::in_order,
    objects::{ObjectError, fetch_needed},
    progress::Progress,
    project::ProjectedFile,
    published::{self, EntriesError, Published, PublishedError, bundle_key, parse_event, read_bundle},
    replica::{Fault, Replica},
    source::Source,
};

/// A published log, replayed.
pub struct Replay {
    /// The registry as its events make it.
    pub replica: Replica,
    /// The checkpoint up to which it was replayed.
    pub published: Published,
    /// The tree over the entries.
    pub tree: MemoryTree,
    /// The newest entry.
    pub last_entry: Vec<u8>,
}

/// One event on its way through a replay.
pub struct Replayed<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its line in the log.
    pub line: &'a [u8],
    /// The state-mapped files that it changes, as they are afterwards. Missing where the version record is gone
    /// because of a takedown that is yet to come.
    pub files: &'a [ProjectedFile],
    /// The registry after the event.
    pub replica: &'a Replica,
}

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no log, or its checkpoint is not good.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// Entries cannot be read.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// The entries do not hash to the root that is signed.
    #[error("the entries of the log do not lead to the root in its checkpoint")]
    Root,
    /// An event's claim does not follow from the events before it.
    #[error("event {seq}: {fault}")]
    Fault {
        /// Position in the log.
        seq: u64,
        /// What does not follow.
        fault: Fault,
    },
    /// An object that is needed cannot be used.
    #[error("event {seq}: {error}")]
    Object {
        /// Position in the log of the event that names it.
        seq: u64,
        /// What is wrong with it.
        error: ObjectError,
    },
}

/// Replays the log that `source` publishes, from the first event to the checkpoint.
///
/// The checkpoint must be signed by `key`, or by the key that the log's genesis event names. `visit` sees every event
/// in order, but the root over all of them is checked at the end: nothing that it learns may be used before this
/// function returns. A missing version record is an error unless the release was taken down later.
pub async fn replay(
    source: &dyn Source,
    key: Option<&VerifierKey>,
    progress: &dyn Progress,
    visit: &mut (dyn FnMut(&Replayed<'_>) + Send),
) -> Result<Replay, ReplayError> {
    let published = published::open(source, key).await?;
    let size = published.checkpoint.size();
    let mut replica = Replica::new();
    let mut tree = MemoryTree::new();
    let mut last_entry = Vec::new();
    // Records that were missing, by package: forgiven if the package is exact in the end.
    let mut missing: Vec<(String, u64, ObjectError)> = Vec::new();

    let bundles = entry_bundles(0, size);
    progress.total(bundles.len() as u64);
    for id in bundles {
        let bundle = read_bundle(source, id).await?;
        bundle.entries().iter().for_each(|line| tree.append(leaf_hash(line)));
        let events = parse_all(&bundle, |at, line| parse_event(id, at, line))?;
        let mut fetched = in_order(events.iter().map(|event| fetch_needed(source, event)).collect());
        for (event, line) in events.iter().zip(bundle.entries()) {
            let (needed, error) = fetched.next().await.expect("each task has its outcome");
            let seq = replica.size();
            match (error, event.package()) {
                (Some(error @ ObjectError::Missing { .. }), Some(name)) => {
                    missing.push((name.canonical(), seq, error))
                }
                (Some(error), _) => return Err(ReplayError::Object { seq, error }),
                (None, _) => {}
            }
            let (files, faults) = replica.apply(event, needed);
            if let Some(fault) = faults.into_iter().next() {
                return Err(ReplayError::Fault { seq, fault });
            }
            visit(&Replayed { event, line, files: &files, replica: &replica });
        }
        last_entry = bundle.into_entries().pop().unwrap_or_default();
        progress.step(&bundle_key(id));
    }

    if tree.root_at(size) != Ok(published.checkpoint.root()) {
        return Err(ReplayError::Root);
    }
    if let Some((_, seq, error)) = missing.into_iter().find(|(name, _, _)| replica.unknown(name)) {
        return Err(ReplayError::Object { seq, error });
    }
    Ok(Replay { replica, published, tree, last_entry })
}

fn parse_all(
    bundle: &EntryBundle,
    parse: impl Fn(usize, &[u8]) -> Result<Event, EntriesError>,
) -> Result<Vec<Event>, EntriesError> {
    bundle.entries().iter().enumerate().map(|(at, line)| parse(at, line)).collect()
}
