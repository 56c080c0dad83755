//! A published log read once, without the objects that its events name: what follows from the events alone.
//!
//! Owns: the tree over the entries, the state map, the settings over time, and how the packages are divided so that a few of
//! them are in memory at a time. `parts` owns reading those few. Does not own the files, nor what is wrong with a log; that
//! is fsck's. Invariant: an [`Outline`] is returned only if the entries hash to the signed root and every event's state
//! is what follows from its own claims; memory grows with packages and their names, not with releases.

mod edge;
mod parts;

use std::collections::{BTreeMap, BTreeSet};

use drystone_log::{BundleId, Hash, tile::entry_bundles};
use drystone_schemas::{Event, EventBody};

use self::{edge::Edge, parts::EVENTS_AT_ONCE};
use crate::{
    growing::Growing,
    objects::fetch_needed,
    progress::Progress,
    published::{Published, bundle_key, parse_event, read_bundle},
    replay::ReplayError,
    replica::{Config, Replica},
    source::Source,
};

pub(crate) use edge::root_of;
pub(crate) use parts::{Division, is_own_file};

/// What follows from the events of a log alone.
pub(crate) struct Outline {
    /// The checkpoint up to which it was read.
    pub(crate) published: Published,
    /// Identity, settings, root of trust and state map; no package.
    pub(crate) replica: Replica,
    /// The newest entry.
    pub(crate) last_entry: Vec<u8>,
    /// The tree over the entries.
    pub(crate) tree: Growing,
    /// Its last tiles, which prove the newest entry.
    pub(crate) edge: Edge,
    /// The settings, in the order in which they were in force.
    configs: Vec<Config>,
    /// The bundles, each with the root over its entries: they are read again for each part of the packages.
    bundles: Vec<(BundleId, Hash)>,
    division: Division,
}

impl Outline {
    /// Reads the log up to a checkpoint that has been verified.
    pub(crate) async fn read(
        source: &dyn Source,
        published: Published,
        progress: &dyn Progress,
    ) -> Result<Self, ReplayError> {
        let size = published.checkpoint.size();
        let mut replica = Replica::new();
        let (mut tree, mut edge, mut last_entry) = (Growing::new(), Edge::default(), Vec::new());
        let (mut configs, mut bundles) = (Vec::new(), Vec::new());
        let mut events_of: BTreeMap<String, u64> = BTreeMap::new();
        let mut with_aliases = BTreeSet::new();

        let ids = entry_bundles(0, size);
        progress.total(ids.len() as u64);
        for id in ids {
            let bundle = read_bundle(source, id).await?;
            let leaves = bundle.leaf_hashes();
            bundles.push((id, edge::root_of(&leaves)));
            edge.take(tree.grow(&leaves, 0, size).expect("the last bundle of a log is the only partial one"));
            for (at, line) in bundle.entries().iter().enumerate() {
                let event = parse_event(id, at, line)?;
                Self::take(source, &mut replica, &event).await?;
                if matches!(event.body, EventBody::Genesis { .. } | EventBody::Config { .. }) {
                    configs.extend(replica.config().cloned());
                }
                if let Some(name) = event.package().map(|name| name.canonical()) {
                    if matches!(event.body, EventBody::AliasSet { .. } | EventBody::AliasRemove { .. }) {
                        with_aliases.insert(name.clone());
                    }
                    *events_of.entry(name).or_default() += 1;
                }
            }
            last_entry = bundle.into_entries().pop().unwrap_or_default();
            progress.step(&bundle_key(id));
        }
        if tree.root() != published.checkpoint.root() {
            return Err(ReplayError::Root);
        }
        let division = Division::new(events_of, &with_aliases, EVENTS_AT_ONCE);
        Ok(Self { published, replica, last_entry, tree, edge, configs, bundles, division })
    }

    /// What an event says besides its package.
    async fn take(source: &dyn Source, replica: &mut Replica, event: &Event) -> Result<(), ReplayError> {
        let mut settings = None;
        if event.package().is_none() {
            let (needed, error) = fetch_needed(source, event).await;
            if let Some(error) = error {
                return Err(ReplayError::Object { seq: replica.size(), error });
            }
            settings = needed.settings;
        }
        let seq = replica.size();
        match replica.apply_claims(event, settings).into_iter().next() {
            Some(fault) => Err(ReplayError::Fault { seq, fault }),
            None => Ok(()),
        }
    }

    /// Number of events.
    pub(crate) fn size(&self) -> u64 {
        self.published.checkpoint.size()
    }
}
