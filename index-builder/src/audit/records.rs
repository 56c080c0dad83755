//! Archives of releases: there, of the right length, and saying what the registry says that they say.
//!
//! Owns the recomputation of a version record. Does not own what a record leads to; that is the projections'.

use drystone_schemas::{
    Event, EventBody, Limits, PublishMetadata, Settings, Sha256Digest, VersionRecord, layout,
};

use crate::{
    fsck::{FsckProblem, ProblemKind, measure, unreadable},
    source::Source,
};

/// The archive of one release.
pub(super) struct Archive {
    /// Canonical name.
    pub(super) name: String,
    /// Version, as versions are compared.
    pub(super) vers: String,
    digest: Sha256Digest,
    record: Sha256Digest,
    /// Length, by the record; none if the record cannot be used.
    size: Option<u64>,
}

impl Archive {
    /// The archive that a publish event names, with the record that was found.
    pub(super) fn of(event: &Event, found: Option<&VersionRecord>) -> Option<Self> {
        let EventBody::Publish { pkg, vers, tarball, record, .. } = &event.body else { return None };
        Some(Self {
            name: pkg.canonical(),
            vers: vers.precedence_key(),
            digest: *tarball,
            record: *record,
            size: found.map(|record| record.size),
        })
    }

    /// Checks that the archive is there, and its length.
    pub(super) async fn measure(&self, source: &dyn Source) -> Option<FsckProblem> {
        measure(source, &layout::object(&self.digest), self.size).await
    }

    /// Makes the version record again from the archive, under the settings that were in force.
    pub(super) async fn recompute(&self, source: &dyn Source, settings: &Settings) -> Option<FsckProblem> {
        let key = layout::object(&self.digest);
        let limits = widest(&settings.limits);
        let bytes = match source.get(&key, self.size.unwrap_or(limits.tarball_bytes_max)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Some(problem(key, ProblemKind::Missing, "an event names it".into())),
            Err(error) => return Some(unreadable(&key, &error)),
        };
        if Sha256Digest::of(&bytes) != self.digest {
            let detail = "its bytes do not hash to its name".into();
            return Some(problem(key, ProblemKind::Damaged, detail));
        }
        let (owned, record) = (settings.clone(), self.record);
        let made = tokio::task::spawn_blocking(move || {
            let expected = PublishMetadata::default();
            drystone_archive::inspect(&bytes[..], &limits, &owned, &owned.formats, &expected)
        });
        let detail = match made.await {
            Ok(Ok(made)) if Sha256Digest::of(&made.record.to_bytes()) == record => return None,
            Ok(Ok(_)) => format!("what it says is not what its version record {record} says"),
            Ok(Err(problems)) => {
                let first = problems.first().map_or("no reason given", |problem| &problem.detail);
                format!("no version record can be made from it: {first}")
            }
            Err(error) => format!("it could not be read: {error}"),
        };
        Some(problem(key, ProblemKind::Contradiction, detail))
    }
}

/// The limits of a registry, but not below the defaults, as they may have been lowered since.
fn widest(own: &Limits) -> Limits {
    let defaults = Limits::default();
    Limits {
        tarball_bytes_max: own.tarball_bytes_max.max(defaults.tarball_bytes_max),
        unpacked_bytes_max: own.unpacked_bytes_max.max(defaults.unpacked_bytes_max),
        files_max: own.files_max.max(defaults.files_max),
        path_bytes_max: own.path_bytes_max.max(defaults.path_bytes_max),
        depth_max: own.depth_max.max(defaults.depth_max),
        manifest_bytes_max: own.manifest_bytes_max.max(defaults.manifest_bytes_max),
        readme_bytes_max: own.readme_bytes_max.max(defaults.readme_bytes_max),
        record_bytes_max: own.record_bytes_max.max(defaults.record_bytes_max),
        dependencies_max: own.dependencies_max.max(defaults.dependencies_max),
        ..defaults
    }
}

fn problem(key: String, kind: ProblemKind, detail: String) -> FsckProblem {
    FsckProblem { key, kind, detail }
}
