//! What a log says before any package is looked at: its entries in order, their tiles, and what each event claims of the
//! registry and of the state map.
//!
//! Owns the first reading. Does not own packages; `parts` has them.
//! Invariant: a package's events are known by their places, at four bytes an event; lines are held only while they are few.

use std::collections::{BTreeSet, HashMap};

use drystone_log::{BundleId, Hash, tile::tile_bytes};
use drystone_schemas::{Event, EventBody, layout};

use super::{Audit, Audited, Visit};
use crate::{
    fsck::{ProblemKind, bad_object},
    objects::fetch_needed,
    outline::{is_own_file, root_of},
    published::{EntriesError, bundle_key, decode_bundle, get_bundle, parse_event, tile_key},
    replica::Config,
    source::Source,
};

/// The number that stands for no package.
pub(super) const NO_PACKAGE: u32 = u32::MAX;
/// Events whose lines are held at once, at about 800 bytes each.
pub(super) const LINES_AT_ONCE: u64 = 125_000;

/// What the first reading keeps for the second.
#[derive(Default)]
pub(super) struct Claims {
    /// Position of the first new event.
    pub(super) from: u64,
    /// The packages that new events are about, by canonical name: a number, and how many events.
    pub(super) packages: HashMap<String, (u32, u64)>,
    /// The package of each new event, by its number.
    pub(super) package_of: Vec<u32>,
    /// Packages whose new events are about short names, and the names of those maps in the state map.
    pub(super) with_aliases: BTreeSet<String>,
    pub(super) alias_maps: BTreeSet<String>,
    /// Names in the state map that events claim something of which is not theirs.
    pub(super) foreign: BTreeSet<String>,
    /// The settings, in the order in which they were in force.
    pub(super) configs: Vec<Config>,
    /// The bundles, each with the root over its entries.
    pub(super) bundles: Vec<(BundleId, Hash)>,
    /// The lines about packages, with their positions, if there are few.
    pub(super) lines: Option<Vec<(u64, Vec<u8>)>>,
}

/// A bundle that was read.
pub(super) struct ReadBundle {
    leaves: Vec<Hash>,
    lines: Vec<Vec<u8>>,
    /// The events of its new lines.
    events: Result<Vec<Event>, EntriesError>,
}

/// Reads a bundle, of whose entries the first `old` are known.
pub(super) async fn read(source: &dyn Source, id: BundleId, old: usize) -> Result<ReadBundle, EntriesError> {
    let bytes = get_bundle(source, id).await?;
    let decode = move || {
        let bundle = decode_bundle(id, &bytes)?;
        let leaves = bundle.leaf_hashes();
        let new = bundle.entries().iter().enumerate().skip(old);
        let events = new.map(|(at, line)| parse_event(id, at, line)).collect();
        Ok(ReadBundle { leaves, lines: bundle.into_entries(), events })
    };
    tokio::task::spawn_blocking(decode).await.expect("decoding does not panic, and the runtime waits for it")
}

impl Audit<'_> {
    /// The new entries of a bundle: their place in the tree, then what they claim. False if the audit cannot go on.
    pub(super) async fn bundle(
        &mut self,
        id: BundleId,
        read: Result<ReadBundle, EntriesError>,
        size: u64,
        visit: &Visit<'_>,
    ) -> bool {
        self.check.counts.log_files += 1;
        let bundle = match read {
            Ok(bundle) => bundle,
            Err(error) => {
                self.check.bad_bundle(id, &error);
                return false;
            }
        };
        let old = (self.tree.size() - id.first_entry()) as usize;
        let tiles = match self.tree.grow(&bundle.leaves, old, size) {
            Ok(tiles) => tiles,
            Err(error) => {
                self.check.problem(bundle_key(id), ProblemKind::Contradiction, error);
                return false;
            }
        };
        let tiles = tiles.into_iter().map(|(id, hashes)| (tile_key(id), tile_bytes(&hashes)));
        if !self.check.same(tiles.collect()).await {
            self.whole = false;
        }
        let events = match bundle.events {
            Ok(events) => events,
            Err(error) => {
                self.check.bad_bundle(id, &error);
                return false;
            }
        };
        self.claims.bundles.push((id, root_of(&bundle.leaves)));
        for (event, line) in events.iter().zip(bundle.lines.into_iter().skip(old)) {
            self.event(id, event, &line, visit).await;
            self.claims.keep(event, line);
        }
        true
    }

    /// One event: its place, its claims of the state map, and what it says of the registry itself.
    async fn event(&mut self, id: BundleId, event: &Event, line: &[u8], visit: &Visit<'_>) {
        let seq = self.replica.size();
        self.check.counts.events += 1;
        let mut settings = None;
        if event.package().is_none() {
            let (needed, error) = fetch_needed(self.check.source, event).await;
            settings = needed.settings;
            if let (Some(error), EventBody::Genesis { config, .. } | EventBody::Config { config }) =
                (error, &event.body)
            {
                self.check.take(Some(bad_object(&layout::object(config), &error)));
            }
        }
        for fault in self.replica.apply_place(event, settings) {
            let detail = format!("event {seq}: {fault}");
            self.check.problem(bundle_key(id), ProblemKind::Contradiction, detail);
        }
        if matches!(event.body, EventBody::Genesis { .. } | EventBody::Config { .. }) {
            self.claims.configs.extend(self.replica.config().cloned());
        }
        if event.package().is_none() {
            visit(&Audited { event, line, waits_until: None });
        }
    }
}

impl Claims {
    /// Nothing yet, after so many events, the settings in force being these.
    pub(super) fn new(from: u64, config: Option<&Config>) -> Self {
        Self {
            from,
            configs: config.cloned().into_iter().collect(),
            lines: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Keeps what the second reading needs of an event.
    fn keep(&mut self, event: &Event, line: Vec<u8>) {
        for change in &event.files {
            if !is_own_file(event, &change.1) {
                self.foreign.insert(change.1.clone());
            } else if change.1.starts_with('~') {
                self.alias_maps.insert(change.1.clone());
            }
        }
        let seq = self.from + self.package_of.len() as u64;
        let Some(name) = event.package().map(|name| name.canonical()) else {
            return self.package_of.push(NO_PACKAGE);
        };
        if matches!(event.body, EventBody::AliasSet { .. } | EventBody::AliasRemove { .. }) {
            self.with_aliases.insert(name.clone());
        }
        let next = u32::try_from(self.packages.len()).expect("a state map holds fewer than 2^32 names");
        let (number, events) = self.packages.entry(name).or_insert((next, 0));
        *events += 1;
        self.package_of.push(*number);
        match &mut self.lines {
            Some(lines) if (lines.len() as u64) < LINES_AT_ONCE => lines.push((seq, line)),
            lines => *lines = None,
        }
    }
}
