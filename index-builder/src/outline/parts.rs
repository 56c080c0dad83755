//! The packages of a registry, a part of them at a time.
//!
//! Owns the division, reading a part's events and objects, and folding them. A log is read again for each so many events,
//! because its entries are in the order of time and a package's lie all over it.
//! Invariant: a [`Part`] is returned only if every file of its packages is what the state map says; what a file said between
//! two events is not looked at, which audit and fsck do. At most [`EVENTS_AT_ONCE`] events are held, and the releases of
//! two parts, unless a package has more; packages that ever had a short name are one part, since they share the alias map.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use drystone_log::{BundleId, EntryBundle, FileRef, Hash};
use drystone_schemas::{Event, EventBody, FileChange, PackageName, Sha256Digest};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::{Outline, edge::root_of};
use crate::{
    concurrent::{InOrder, in_order},
    objects::{ObjectError, fetch_needed},
    project::ProjectedFile,
    published::{parse_event, read_bundle},
    replay::ReplayError,
    replica::{Config, Replica, wrong_files},
    source::Source,
};

/// Events that are held at once, at about 500 bytes each.
pub(super) const EVENTS_AT_ONCE: u64 = 200_000;
/// Events of a part: their releases take about 5 KB each.
const EVENTS_IN_PART: u64 = 1_000;

/// Which packages are taken together.
pub(crate) struct Division {
    /// The part of each package, by canonical name.
    part_of: HashMap<String, u32>,
    /// For each reading of the log, the first part that is not in it any more.
    ends: Vec<u32>,
}

impl Division {
    /// Divides packages, by their numbers of events; those of `together` are one part.
    pub(crate) fn new(
        events_of: impl IntoIterator<Item = (String, u64)>,
        together: &BTreeSet<String>,
        events_at_once: u64,
    ) -> Self {
        let (first, others): (Vec<_>, Vec<_>) =
            events_of.into_iter().partition(|(name, _)| together.contains(name));
        let mut part_of = HashMap::with_capacity(first.len() + others.len());
        let (mut part, mut in_part, mut in_reading) = (0, 0, 0);
        for (name, events) in first {
            part_of.insert(name, part);
            (in_part, in_reading) = (in_part + events, in_reading + events);
        }
        let mut ends = Vec::new();
        // What shares the alias map keeps its part to itself.
        let mut full = in_part > 0;
        for (name, events) in others {
            if full || (in_part > 0 && in_part + events > EVENTS_IN_PART) {
                if in_reading + events > events_at_once {
                    ends.push(part + 1);
                    in_reading = 0;
                }
                (part, in_part, full) = (part + 1, 0, false);
            }
            part_of.insert(name, part);
            (in_part, in_reading) = (in_part + events, in_reading + events);
        }
        if !part_of.is_empty() {
            ends.push(part + 1);
        }
        Self { part_of, ends }
    }

    /// How often the log must be read for all packages.
    pub(crate) fn readings(&self) -> usize {
        self.ends.len()
    }

    /// Number of parts.
    pub(crate) fn parts(&self) -> u32 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The parts of a reading.
    pub(crate) fn in_reading(&self, reading: usize) -> Range<u32> {
        reading.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[reading]
    }

    /// The part of a package.
    pub(crate) fn part_of(&self, canonical: &str) -> Option<u32> {
        self.part_of.get(canonical).copied()
    }
}

/// Some packages as their events make them, after the last event of the log.
pub(crate) struct Part {
    /// Their state, and the alias map if it is theirs.
    pub(crate) replica: Replica,
    /// Their state-mapped files.
    pub(crate) files: Vec<ProjectedFile>,
}

/// The only part of an event that tells whose it is.
#[derive(Deserialize)]
struct Named {
    pkg: Option<PackageName>,
}

impl Outline {
    /// How often the log must be read for all packages.
    pub(crate) fn readings(&self) -> usize {
        self.division.readings()
    }

    /// Number of parts.
    pub(crate) fn parts(&self) -> u64 {
        self.division.parts().into()
    }

    /// Every bundle, read again, in their order.
    pub(crate) fn bundles<'a>(
        &'a self,
        source: &'a dyn Source,
    ) -> InOrder<impl Future<Output = Result<(BundleId, EntryBundle), ReplayError>> + Send + 'a> {
        let again = |(id, root): &'a (BundleId, Hash)| async move {
            let bundle = read_bundle(source, *id).await?;
            if root_of(&bundle.leaf_hashes()) == *root { Ok((*id, bundle)) } else { Err(ReplayError::Root) }
        };
        in_order(self.bundles.iter().map(again).collect())
    }

    /// Reads the log again for the events of one reading: those of each part, in their order.
    pub(crate) async fn events(
        &self,
        source: &dyn Source,
        reading: usize,
    ) -> Result<Vec<Vec<Event>>, ReplayError> {
        let of_reading = self.division.in_reading(reading);
        let mut parts: Vec<Vec<Event>> = of_reading.clone().map(|_| Vec::new()).collect();
        let mut bundles = self.bundles(source);
        while let Some((id, bundle)) = bundles.try_next().await? {
            for (at, line) in bundle.entries().iter().enumerate() {
                let named = serde_json::from_slice::<Named>(line).ok().and_then(|named| named.pkg);
                let part = named.and_then(|name| self.division.part_of(&name.canonical()));
                if let Some(part) = part.filter(|part| of_reading.contains(part)) {
                    let event = parse_event(id, at, line)?;
                    // What it claims of files is in the state map.
                    parts[(part - of_reading.start) as usize].push(Event { files: Vec::new(), ..event });
                }
            }
        }
        Ok(parts)
    }

    /// Folds the events of a part, with the records that they name.
    pub(crate) async fn part(&self, source: &dyn Source, events: Vec<Event>) -> Result<Part, ReplayError> {
        let mut replica = Replica::new();
        let mut missing: Vec<(String, u64, ObjectError)> = Vec::new();
        let mut fetched = in_order(events.iter().map(|event| fetch_needed(source, event)).collect());
        for event in &events {
            let (needed, error) = fetched.next().await.expect("each task has its outcome");
            match (error, event.package()) {
                (Some(error @ ObjectError::Missing { .. }), Some(name)) => {
                    missing.push((name.canonical(), event.seq, error));
                }
                (Some(error), _) => return Err(ReplayError::Object { seq: event.seq, error }),
                (None, _) => {}
            }
            replica
                .fold_at(event, self.config_at(event.seq), needed.record)
                .map_err(|error| ReplayError::Fault { seq: event.seq, fault: error.into() })?;
        }
        if let Some((_, seq, error)) = missing.into_iter().find(|(name, _, _)| replica.unknown(name)) {
            return Err(ReplayError::Object { seq, error });
        }
        let files: Vec<ProjectedFile> = replica.files().collect();
        self.compare(&files)?;
        Ok(Part { replica, files })
    }

    /// The settings in force at an event.
    fn config_at(&self, seq: u64) -> Option<&Config> {
        let before = self.configs.partition_point(|config| config.seq < seq);
        self.configs[..before].last()
    }

    /// Compares files with the state map.
    fn compare(&self, files: &[ProjectedFile]) -> Result<(), ReplayError> {
        let mut made: BTreeMap<&str, BTreeMap<char, FileRef>> = BTreeMap::new();
        for file in files {
            let of_file = FileRef { digest: Hash::digest(&file.bytes), len: file.bytes.len() as u64 };
            made.entry(&file.state_key).or_default().insert(file.class.letter(), of_file);
        }
        for (name, made) in made {
            let entry = self.replica.state().get(name).ok().flatten();
            if entry.map(|entry| &entry.files) == Some(&made) {
                continue;
            }
            let changes = |of: &BTreeMap<char, FileRef>| -> Vec<FileChange> {
                let own = files.iter().filter(|file| file.state_key == name);
                let of_class = |file: &ProjectedFile| {
                    let there = of.get(&file.class.letter())?;
                    let digest = Sha256Digest::from_bytes(*there.digest.as_bytes());
                    Some(FileChange(file.class, name.to_owned(), digest, there.len))
                };
                own.filter_map(of_class).collect()
            };
            let claimed = entry.map(|entry| changes(&entry.files)).unwrap_or_default();
            let seq = entry.map_or_else(|| self.size().saturating_sub(1), |entry| entry.seq);
            return Err(ReplayError::Fault { seq, fault: wrong_files(&claimed, &changes(&made)) });
        }
        Ok(())
    }
}

/// Whether an event may claim something of this name in the state map.
pub(crate) fn is_own_file(event: &Event, name: &str) -> bool {
    let of_alias = matches!(event.body, EventBody::AliasSet { .. } | EventBody::AliasRemove { .. });
    event.package().is_some_and(|package| package.canonical() == name) || (of_alias && name.starts_with('~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn division(events: &[(&str, u64)], together: &[&str]) -> (Vec<u32>, Vec<u32>) {
        let events_of = events.iter().map(|(name, events)| ((*name).to_owned(), *events));
        let together = together.iter().map(|&name| name.to_owned()).collect();
        let division = Division::new(events_of, &together, EVENTS_AT_ONCE);
        (events.iter().map(|(name, _)| division.part_of[*name]).collect(), division.ends)
    }

    #[test]
    fn packages_are_divided_by_their_events() {
        assert_eq!(division(&[], &[]), (vec![], vec![]));
        assert_eq!(division(&[("a", 1)], &["a"]), (vec![0], vec![1]));
        let many = EVENTS_IN_PART - 1;
        assert_eq!(division(&[("a", 1), ("b", many), ("c", 1), ("d", 2)], &[]).0, [0, 0, 1, 1]);
        assert_eq!(division(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], &["b", "d"]).0, [1, 0, 1, 0]);
        let most = EVENTS_AT_ONCE - 1;
        assert_eq!(
            division(&[("a", 1), ("b", most), ("c", 1), ("d", 3 * most), ("e", 1)], &[]),
            (vec![0, 1, 2, 3, 4], vec![2, 3, 4, 5])
        );
    }
}
