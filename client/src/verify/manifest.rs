//! The index line of a release against its archive: what resolvers are told must be what the package says.
//!
//! Owns the comparison. Does not own the reading of archives, nor where a dependency that names no registry comes from,
//! which the registry's settings at the time of the release decide.
//! Invariant: a line that passes names the record that anybody makes from the archive, and its dependencies, features and
//! length are the record's.

use std::collections::BTreeMap;

use drystone_schemas::{DepKind, IndexDep, IndexLine, RecordDep, Sha256Digest, VersionRecord};

/// What a dependency comes to, however it is written: how it is called, the package, requirement, kind and platform,
/// whether it is optional and with default features, and the features asked for.
type Facts<'a> = (&'a str, &'a str, &'a str, DepKind, Option<&'a str>, bool, bool, &'a [String]);

/// Says in which respect a line is not that of its archive's record.
pub(super) fn compare(line: &IndexLine, record: &VersionRecord) -> Result<(), &'static str> {
    let deps: Vec<Facts<'_>> = line.deps.iter().map(of_line).collect();
    let recorded: Vec<Facts<'_>> = record.deps.iter().map(of_record).collect();
    let features: BTreeMap<_, _> = line.features.iter().chain(&line.features2).collect();
    if line.name != record.name || line.vers != record.vers {
        Err("name and version")
    } else if deps != recorded {
        Err("dependencies")
    } else if !features.into_iter().eq(&record.features) {
        Err("features")
    } else if (line.size, line.format, &line.links, &line.rust_version)
        != (record.size, record.format, &record.links, &record.rust_version)
    {
        Err("length, format, `links` or `rust_version`")
    } else if Sha256Digest::of(&record.to_bytes()) != line.record {
        Err("version record")
    } else {
        Ok(())
    }
}

fn of_line(dep: &IndexDep) -> Facts<'_> {
    let (kind, target) = (dep.kind, dep.target.as_deref());
    (&dep.name, dep.package_name(), &dep.req, kind, target, dep.optional, dep.default_features, &dep.features)
}

fn of_record(dep: &RecordDep) -> Facts<'_> {
    let called = dep.rename.as_deref().unwrap_or(&dep.name);
    let (kind, target) = (dep.kind, dep.target.as_deref());
    (called, &dep.name, &dep.req, kind, target, dep.optional, dep.default_features, &dep.features)
}
