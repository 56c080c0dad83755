//! A package ready for the choice: its releases by version, and which of them stand side by side.

use std::ops::Range;

use drystone_schemas::{PackageName, ResolveRecord, ResolveRelease};

use super::Versions;

/// A package with its releases in ascending order of version.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    record: ResolveRecord,
    /// Positions in the record, by ascending version.
    ascending: Vec<u32>,
}

impl Package {
    /// Puts the releases of a record in order.
    pub fn new(record: ResolveRecord) -> Self {
        let len = u32::try_from(record.releases.len()).expect("a package has fewer than 2^32 releases");
        let mut ascending: Vec<u32> = (0..len).collect();
        let version = |at: &u32| record.releases[*at as usize].vers.semver();
        ascending.sort_by(|a, b| version(a).cmp(version(b)));
        Self { record, ascending }
    }

    /// The name, as its author writes it.
    pub fn name(&self) -> &PackageName {
        &self.record.name
    }

    /// The record.
    pub fn record(&self) -> &ResolveRecord {
        &self.record
    }

    /// Number of releases.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ascending.len()).expect("checked when it was made")
    }

    /// The release at a position of the ascending order.
    pub(super) fn release(&self, position: u32) -> &ResolveRelease {
        &self.record.releases[self.ascending[position as usize] as usize]
    }

    /// The lines of compatible versions, as runs of positions; at least one, so that there is something to ask for.
    pub(super) fn lines(&self, versions: Versions) -> Vec<Range<u32>> {
        let mut lines: Vec<Range<u32>> = Vec::new();
        let mut last = None;
        for position in 0..self.len() {
            let line = match versions {
                Versions::One => (0, 0, 0),
                Versions::OnePerCompatible => compatible(self.release(position).vers.semver()),
            };
            match lines.last_mut() {
                Some(run) if last == Some(line) => run.end = position + 1,
                _ => lines.push(position..position + 1),
            }
            last = Some(line);
        }
        if lines.is_empty() {
            lines.push(0..0);
        }
        lines
    }
}

/// What compatible versions have in common, by Cargo's rule: everything up to the first number that is not 0.
fn compatible(version: &semver::Version) -> (u64, u64, u64) {
    match (version.major, version.minor) {
        (0, 0) => (0, 0, version.patch),
        (0, minor) => (0, minor, 0),
        (major, _) => (major, 0, 0),
    }
}
