//! What `vaisc pkg` asks for, as files: the index of all packages, one package, one release.
//!
//! Invariant: each is a function of packages and settings, so that the index of all packages is the list of the single ones.

use std::collections::BTreeMap;

use drystone_schemas::{
    DepKind, IndexLine, Settings, VaisDep, VaisPackage, VaisRelease, VaisVersion, layout, with_blank_seq,
};

use super::PackageState;

/// A package as an element of the index.
pub fn vais_package(package: &PackageState, settings: &Settings) -> VaisPackage {
    let document = &package.document;
    let lines = package.index.lines.iter().filter(|line| line.deleted.is_none());
    VaisPackage {
        name: document.name.to_string(),
        description: document.description.clone(),
        versions: lines.map(|line| version(line, settings)).collect(),
        authors: document.authors.clone(),
        homepage: document.homepage.clone(),
        repository: document.repository.clone(),
        license: document.license.clone(),
        keywords: document.keywords.clone(),
        seq: document.seq,
    }
}

fn version(line: &IndexLine, settings: &Settings) -> VaisVersion {
    let deps = line.deps.iter().filter(|dep| dep.kind != DepKind::Dev).map(|dep| {
        let of = VaisDep {
            req: dep.req.clone(),
            features: dep.features.clone(),
            optional: dep.optional,
            target: dep.target.clone(),
        };
        (dep.package_name().to_owned(), of)
    });
    VaisVersion {
        version: line.vers.to_string(),
        checksum: line.cksum.clone(),
        dependencies: deps.collect::<BTreeMap<_, _>>(),
        yanked: line.yanked,
        download_url: format!("{}/o/{}", settings.public_url, line.cksum),
        size: line.size,
    }
}

/// The index of all packages, sorted by name, once there is one; its position in the log is that of its newest element.
pub fn vais_index_file(packages: &BTreeMap<String, VaisPackage>) -> Option<(String, Vec<u8>)> {
    let all: Vec<&VaisPackage> = packages.values().collect();
    let seq = all.iter().map(|package| package.seq).max()?;
    let json = serde_json::to_vec(&all).expect("texts and numbers can be written");
    Some((layout::API_INDEX.into(), with_blank_seq(json, seq)))
}

/// The files of a package and of its releases; with `since`, only of the releases that changed then.
pub(super) fn package_files(
    package: &PackageState,
    settings: &Settings,
    since: Option<u64>,
) -> Vec<(String, Vec<u8>)> {
    let name = &package.document.name;
    let element = vais_package(package, settings);
    let json = serde_json::to_vec(&element).expect("texts and numbers can be written");
    let mut files = vec![(layout::api_package(name), with_blank_seq(json, element.seq))];
    for line in package.index.lines.iter().filter(|line| since.is_none_or(|since| line.seq >= since)) {
        let body = VaisRelease {
            name: name.to_string(),
            release: version(line, settings),
            created_at: line.pubtime.clone(),
        };
        let json = serde_json::to_vec(&body).expect("texts and numbers can be written");
        files.push((layout::api_release(name, &line.vers), with_blank_seq(json, line.seq)));
    }
    files
}
