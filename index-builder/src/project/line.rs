//! The index line of a release, from its version record.
//!
//! Owns: how features split, how dependencies and registries are written. Format: the Cargo book, "Registry index".

use std::collections::BTreeMap;

use drystone_schemas::{
    AuthorSignatures, CRATES_IO_INDEX, DeleteCode, Format, IndexDep, IndexLine, PackageName, RecordDep,
    Settings, Sha256Digest, Version, VersionRecord, ZigLine, rfc3339,
};

use super::{Draft, ProjectError};

/// Checks that a record is about the release that a publish event names.
pub(super) fn check_record(
    record: &VersionRecord,
    name: &PackageName,
    vers: &Version,
    tarball: &Sha256Digest,
) -> Result<(), ProjectError> {
    let what = if record.name != *name {
        "package"
    } else if record.vers != *vers {
        "version"
    } else if record.tarball != *tarball {
        "archive"
    } else {
        return Ok(());
    };
    Err(ProjectError::OtherRecord { name: name.clone(), vers: vers.clone(), what })
}

/// The line of a new release.
pub(super) fn index_line(
    record: &VersionRecord,
    digest: Sha256Digest,
    sigs: &AuthorSignatures,
    draft: &Draft<'_>,
    settings: &Settings,
) -> IndexLine {
    let (features, features2) = split_features(&record.features);
    IndexLine {
        name: record.name.clone(),
        vers: record.vers.clone(),
        deps: index_deps(record, settings),
        cksum: record.tarball.hex(),
        features,
        yanked: false,
        links: record.links.clone(),
        v: if features2.is_empty() { 1 } else { 2 },
        features2,
        rust_version: record.rust_version.clone(),
        pubtime: rfc3339(draft.time),
        seq: draft.seq,
        published: draft.seq,
        size: record.size,
        format: record.format,
        record: digest,
        sigs: sigs.clone(),
        zig: record.zig.as_ref().map(ZigLine::from),
        yank_reason: None,
        deleted: None,
    }
}

/// Turns a line into a tombstone.
///
/// What stays is a function of events alone, because a takedown may remove the record with the archive: length and
/// format, which only the record tells, get fixed values.
pub(super) fn bury(line: &mut IndexLine, code: DeleteCode, seq: u64) {
    *line = IndexLine {
        deps: Vec::new(),
        features: BTreeMap::new(),
        features2: BTreeMap::new(),
        v: 1,
        links: None,
        rust_version: None,
        yanked: true,
        yank_reason: None,
        deleted: Some(code),
        seq,
        size: 0,
        format: Format::Generic,
        sigs: AuthorSignatures::new(),
        zig: None,
        name: line.name.clone(),
        vers: line.vers.clone(),
        cksum: std::mem::take(&mut line.cksum),
        pubtime: std::mem::take(&mut line.pubtime),
        published: line.published,
        record: line.record,
    };
}

type Features = BTreeMap<String, Vec<String>>;

/// Splits features into those that every Cargo reads and those with the syntax of `dep:` and `?/`.
///
/// As crates.io does: a feature that turns on one of the second kind moves there too, so that an old Cargo sees no
/// feature that names an unknown one.
fn split_features(features: &Features) -> (Features, Features) {
    let new_syntax =
        |values: &[String]| values.iter().any(|value| value.starts_with("dep:") || value.contains("?/"));
    let (mut second, mut first): (Features, Features) =
        features.clone().into_iter().partition(|(_, values)| new_syntax(values));
    loop {
        let (moved, kept): (Features, Features) =
            first.into_iter().partition(|(_, values)| values.iter().any(|value| second.contains_key(value)));
        first = kept;
        if moved.is_empty() {
            return (first, second);
        }
        second.extend(moved);
    }
}

/// The dependencies of a release as the index names them.
pub(crate) fn index_deps(record: &VersionRecord, settings: &Settings) -> Vec<IndexDep> {
    record.deps.iter().map(|dep| index_dep(dep, record.format, settings)).collect()
}

fn index_dep(dep: &RecordDep, format: Format, settings: &Settings) -> IndexDep {
    let (name, package) = match &dep.rename {
        Some(rename) if *rename != dep.name => (rename.clone(), Some(dep.name.clone())),
        _ => (dep.name.clone(), None),
    };
    IndexDep {
        name,
        req: dep.req.clone(),
        features: dep.features.clone(),
        optional: dep.optional,
        default_features: dep.default_features,
        target: dep.target.clone(),
        kind: dep.kind,
        registry: registry(dep.registry_index.as_deref(), format, settings),
        package,
    }
}

/// The registry of a dependency as the index names it: none means this one.
fn registry(named: Option<&str>, format: Format, settings: &Settings) -> Option<String> {
    match (named, format) {
        (Some(url), _) if bare_url(url) == bare_url(&settings.cargo_index_url()) => None,
        (Some(url), _) => Some(url.to_owned()),
        (None, Format::Cargo) if !settings.mirrors_crates_io => Some(CRATES_IO_INDEX.to_owned()),
        (None, Format::Cargo | Format::Generic | Format::Zig) => None,
    }
}

/// An index URL without what two spellings of it may differ in.
fn bare_url(url: &str) -> &str {
    let url = url.strip_prefix("sparse+").unwrap_or(url);
    url.strip_suffix('/').unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use drystone_schemas::DepKind;

    use super::*;

    fn features(of: &[(&str, &[&str])]) -> Features {
        of.iter().map(|(key, values)| ((*key).into(), values.iter().map(|v| (*v).into()).collect())).collect()
    }

    #[test]
    fn features_of_the_new_syntax_take_those_that_need_them_along() {
        let all = features(&[
            ("default", &["std"]),
            ("std", &[]),
            ("full", &["tls"]),
            ("tls", &["dep:rustls"]),
            ("weak", &["serde?/std"]),
            ("strong", &["serde/std"]),
        ]);
        let (first, second) = split_features(&all);
        assert_eq!(first, features(&[("default", &["std"]), ("std", &[]), ("strong", &["serde/std"])]));
        assert_eq!(
            second,
            features(&[("full", &["tls"]), ("tls", &["dep:rustls"]), ("weak", &["serde?/std"])])
        );
    }

    #[test]
    fn registries_of_dependencies() {
        let ours = Settings::new("demo", "https://pkg.example");
        let mirror = Settings { mirrors_crates_io: true, ..ours.clone() };
        let crates_io = Some(CRATES_IO_INDEX.to_owned());
        assert_eq!(registry(None, Format::Cargo, &ours), crates_io);
        assert_eq!(registry(None, Format::Cargo, &mirror), None);
        assert_eq!(registry(None, Format::Generic, &ours), None);
        for spelling in
            ["sparse+https://pkg.example/index/", "https://pkg.example/index", "https://pkg.example/index/"]
        {
            assert_eq!(registry(Some(spelling), Format::Cargo, &ours), None, "{spelling}");
        }
        let other = "sparse+https://other.example/index/";
        assert_eq!(registry(Some(other), Format::Cargo, &mirror).as_deref(), Some(other));
        assert_eq!(registry(Some(other), Format::Generic, &ours).as_deref(), Some(other));
    }

    #[test]
    fn a_renamed_dependency_goes_by_its_alias() {
        let dep = RecordDep {
            name: "serde_json".into(),
            rename: Some("json".into()),
            req: "^1".into(),
            features: vec!["std".into()],
            optional: true,
            default_features: false,
            target: Some("cfg(unix)".into()),
            kind: DepKind::Build,
            registry_index: None,
        };
        let line = index_dep(&dep, Format::Generic, &Settings::new("demo", "https://pkg.example"));
        assert_eq!(
            (&*line.name, line.package.as_deref(), line.package_name()),
            ("json", Some("serde_json"), "serde_json")
        );
        let plain = RecordDep { rename: Some("serde_json".into()), ..dep };
        let line = index_dep(&plain, Format::Generic, &Settings::new("demo", "https://pkg.example"));
        assert_eq!((&*line.name, line.package), ("serde_json", None));
    }
}
