//! A package ready for the choice: its releases by version, and which of them stand side by side.

use std::ops::Range;

use drystone_schemas::{PackageName, ResolveFeature, ResolveRecord, ResolveRelease};

use super::Versions;

/// A package with its releases in ascending order of version.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    record: ResolveRecord,
    /// Positions in the record, by ascending version.
    ascending: Vec<u32>,
    /// Positions in the record's table of features, by name: some packages have thousands.
    features: Vec<u32>,
}

impl Package {
    /// Puts the releases of a record in order.
    pub fn new(record: ResolveRecord) -> Self {
        let len = u32::try_from(record.releases.len()).expect("a package has fewer than 2^32 releases");
        let mut ascending: Vec<u32> = (0..len).collect();
        let version = |at: &u32| record.releases[*at as usize].vers.semver();
        ascending.sort_by(|a, b| version(a).cmp(version(b)));
        let rows = u32::try_from(record.features.len()).expect("a package has fewer than 2^32 features");
        let mut features: Vec<u32> = (0..rows).collect();
        let name = |at: &u32| &record.features[*at as usize].name;
        features.sort_by(|a, b| name(a).cmp(name(b)));
        Self { record, ascending, features }
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

    /// The rows for a feature, whichever release has them, as positions for [`feature_among`](Self::feature_among).
    pub(super) fn rows(&self, feature: &str) -> Range<u32> {
        let name = |at: &u32| self.record.features[*at as usize].name.as_str();
        let start = self.features.partition_point(|at| name(at) < feature);
        let len = self.features[start..].iter().take_while(|at| name(at) == feature).count();
        let number = |at: usize| u32::try_from(at).expect("checked when it was made");
        number(start)..number(start + len)
    }

    /// The one of these rows that a release has.
    pub(super) fn feature_among(
        &self,
        rows: Range<u32>,
        release: &ResolveRelease,
    ) -> Option<&ResolveFeature> {
        let set = &self.record.feature_sets[release.features as usize];
        let mut rows = self.features[rows.start as usize..rows.end as usize].iter().map(|at| *at as usize);
        rows.find(|at| set.contains(*at)).map(|at| &self.record.features[at])
    }

    /// The lines of compatible versions, as runs of positions; at least one, so that there is something to ask for.
    pub(super) fn lines(&self, versions: Versions) -> Vec<Range<u32>> {
        let mut lines: Vec<Range<u32>> = Vec::new();
        let mut last = None;
        for position in 0..self.len() {
            let line = match versions {
                Versions::One => (0, 0, 0),
                Versions::OnePerCompatible => self.release(position).vers.compatible_line(),
            };
            match lines.last_mut() {
                Some(run) if last == Some(line) => run.end = position + 1,
                _ => lines.push(position..position + 1),
            }
            last = Some(line);
        }
        if lines.is_empty() {
            lines.push(Range::default());
        }
        lines
    }
}
