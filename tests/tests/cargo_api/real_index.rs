//! Real projects resolve against a Drystone registry to the very lock file that they have.
//!
//! The registry's index is projected from real index lines: each line becomes a release and its record, the projection
//! makes a line of them, and the lines of a package are its file. The log knows nothing of them: it would take the
//! archives. `tests/real-input.sh` goes that way.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it reads its own environment, and tells when it has nothing to read"
)]

use std::{collections::BTreeMap, path::Path, process::Command};

use drystone_index_builder::{Draft, PackageState, Touched, project};
use drystone_schemas::{
    AccountId, CRATES_IO_INDEX, DepKind, EventBody, Format, PackageName, RecordDep, Settings, Sha256Digest,
    Version, VersionRecord,
};
use serde::Deserialize;

use crate::cargo::{Cargo, serve};

/// A line of the real index.
#[derive(Deserialize)]
struct Line {
    name: PackageName,
    vers: Version,
    #[serde(default)]
    deps: Vec<Dep>,
    cksum: String,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    features2: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    yanked: bool,
    links: Option<String>,
    rust_version: Option<String>,
}

#[derive(Deserialize)]
struct Dep {
    name: String,
    req: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default = "on")]
    default_features: bool,
    target: Option<String>,
    kind: Option<DepKind>,
    registry: Option<String>,
    package: Option<String>,
}

fn on() -> bool {
    true
}

/// The record that the release's archive would have, as far as the index tells.
fn record(line: Line) -> VersionRecord {
    let dep = |dep: Dep| {
        let (name, rename) = match dep.package {
            Some(package) => (package, Some(dep.name)),
            None => (dep.name, None),
        };
        RecordDep {
            name,
            rename,
            req: dep.req,
            features: dep.features,
            optional: dep.optional,
            default_features: dep.default_features,
            target: dep.target,
            kind: dep.kind.unwrap_or(DepKind::Normal),
            registry_index: dep.registry.filter(|url| url != CRATES_IO_INDEX),
        }
    };
    VersionRecord {
        v: 1,
        name: line.name,
        vers: line.vers,
        format: Format::Cargo,
        tarball: Sha256Digest::from_hex(&line.cksum).unwrap(),
        size: 0,
        unpacked: 0,
        deps: line.deps.into_iter().map(dep).collect(),
        features: line.features.into_iter().chain(line.features2).collect(),
        links: line.links,
        rust_version: line.rust_version,
        description: None,
        license: None,
        authors: Vec::new(),
        keywords: Vec::new(),
        categories: Vec::new(),
        homepage: None,
        repository: None,
        documentation: None,
        readme: None,
        vcs: None,
        zig: None,
        files: Vec::new(),
    }
}

/// The index file of a package whose releases the real index has.
fn projected(text: &str, settings: &Settings) -> PackageState {
    let actor = AccountId::new("acct:01J00000000000000000000000").unwrap();
    let mut package: Option<PackageState> = None;
    for (seq, line) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(line).unwrap();
        let yanked = line.yanked;
        let record = record(line);
        let (pkg, vers) = (record.name.clone(), record.vers.clone());
        let publish = EventBody::Publish {
            pkg: pkg.clone(),
            vers: vers.clone(),
            tarball: record.tarball,
            record: Sha256Digest::of(&record.to_bytes()),
            sigs: Default::default(),
        };
        // On its own, because a projection writes whole files.
        let mut touched = Touched::default();
        let mut apply = |body: &EventBody| {
            let draft = Draft { seq: seq as u64 + 1, time: 1_760_000_999, actor: &actor, body };
            project(&mut touched, &draft, Some(&record), settings).unwrap();
        };
        apply(&publish);
        if yanked {
            apply(&EventBody::Yank { pkg, vers, reason: None });
        }
        let release = touched.package.unwrap();
        match &mut package {
            None => package = Some(release),
            Some(package) => package.index.lines.extend(release.index.lines),
        }
    }
    package.unwrap()
}

/// Writes the index of every package in the archive to where the registry has its files.
fn fill(archive: &Path, work: &Path, public: &Path, url: &str) -> usize {
    fs_err::create_dir_all(work).unwrap();
    let status =
        Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(work).status().unwrap();
    assert!(status.success(), "`tar` with `zstd` unpacks the index");
    let settings = Settings { mirrors_crates_io: true, ..Settings::new("mirror", url) };
    let (mut folders, mut packages) = (vec![work.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                let file = projected(&fs_err::read_to_string(&path).unwrap(), &settings).index_file();
                let to = public.join(&file.key);
                fs_err::create_dir_all(to.parent().unwrap()).unwrap();
                fs_err::write(to, file.bytes).unwrap();
                packages += 1;
            }
        }
    }
    packages
}

fn resolves_to_its_lock_file(project: &str, packages_min: usize) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(project);
    if !data.is_dir() {
        assert!(std::env::var_os("DRYSTONE_TEST_DATA").is_none(), "{} is required", data.display());
        println!("skipped: {} is not there", data.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(folder.path(), &["--mirror-crates-io"]);
    let public = folder.path().join("data/public");
    let packages = fill(&data.join("index.tar.zst"), &folder.path().join("index"), &public, &server.url);
    assert!(packages >= packages_min, "{packages}");
    let cargo = Cargo::new(&server.url);
    cargo.configure(&format!(
        "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{}/index/\"\n",
        server.url
    ));
    cargo.write("project/Cargo.toml", fs_err::read(data.join("Cargo.toml")).unwrap());
    cargo.write("project/src/main.rs", "fn main() {}\n");
    cargo.run("project", &["generate-lockfile"]);
    let lock = fs_err::read_to_string(cargo.path("project/Cargo.lock")).unwrap();
    let expected = fs_err::read_to_string(data.join("Cargo.lock")).unwrap();
    let differing = lock.lines().zip(expected.lines()).find(|(ours, theirs)| ours != theirs);
    assert!(lock == expected, "{project}: {differing:?}");
}

#[test]
fn the_web_project_resolves_to_its_lock_file() {
    resolves_to_its_lock_file("web", 250);
}

#[test]
fn the_bevy_project_resolves_to_its_lock_file() {
    resolves_to_its_lock_file("bevy", 500);
}
