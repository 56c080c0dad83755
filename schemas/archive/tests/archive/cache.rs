//! Every package that Cargo has downloaded on this machine is accepted, is read as the `tar` crate reads it, and says
//! of its dependencies what the public index says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use drystone_archive::inspect;
use drystone_schemas::{Format, Limits, PublishMetadata, RecordDep, VersionRecord};
use serde_json::{Value, json};

use drystone_test_archives::listing::{lists_alike, ours};

#[expect(clippy::disallowed_methods, reason = "where Cargo keeps its packages is in the environment alone")]
fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

fn below(dir: PathBuf) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn packages() -> Vec<PathBuf> {
    let caches = cargo_home().into_iter().flat_map(|home| below(home.join("registry/cache")));
    caches.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == "crate")).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test reads what another program keeps")]
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The release's line in the index that the package came from, where Cargo keeps it: JSON between NUL bytes.
fn index_line(package: &Path, record: &VersionRecord) -> Option<Value> {
    let source = package.parent()?;
    let index = source.parent()?.parent()?.join("index").join(source.file_name()?).join(".cache");
    let name = record.name.path_form();
    let folder = match name.len() {
        length @ 1..=2 => length.to_string(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    };
    let bytes = read(&index.join(folder).join(name)).ok()?;
    let mut lines =
        bytes.split(|byte| *byte == 0).filter_map(|part| serde_json::from_slice::<Value>(part).ok());
    lines.find(|line| line["vers"] == record.vers.to_string())
}

/// Dependencies, in an order of their own, and features.
type Resolved = (Vec<Value>, BTreeMap<String, Vec<String>>);

fn from_record(record: &VersionRecord) -> Resolved {
    let dep = |dep: &RecordDep| {
        json!({
            "name": dep.rename.as_ref().unwrap_or(&dep.name),
            "package": dep.name,
            "req": dep.req,
            "features": sorted(dep.features.clone()),
            "optional": dep.optional,
            "default_features": dep.default_features,
            "target": dep.target.as_deref().map(unspaced),
            "kind": dep.kind,
        })
    };
    (in_order(record.deps.iter().map(dep)), record.features.clone())
}

fn from_index(line: &Value) -> Resolved {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let dep = |dep: Value| {
        let features = list(&dep["features"]).iter().filter_map(|f| f.as_str().map(Into::into)).collect();
        json!({
            "name": dep["name"],
            "package": dep["package"].as_str().or(dep["name"].as_str()),
            "req": dep["req"],
            "features": sorted(features),
            "optional": dep["optional"],
            "default_features": dep["default_features"],
            "target": dep["target"].as_str().map(unspaced),
            "kind": dep["kind"].as_str().unwrap_or("normal"),
        })
    };
    let mut features = BTreeMap::new();
    for table in ["features", "features2"] {
        let table: Option<BTreeMap<String, Vec<String>>> =
            serde_json::from_value(line[table].clone()).expect("the index has maps of lists");
        features.extend(table.unwrap_or_default());
    }
    (in_order(list(&line["deps"]).into_iter().map(dep)), features)
}

/// Some releases of Cargo wrote `cfg(a = "b")` into the index for the manifest's `cfg(a="b")`.
fn unspaced(target: &str) -> String {
    target.replace(' ', "")
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

fn in_order(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut values: Vec<_> = values.collect();
    values.sort_by_cached_key(ToString::to_string);
    values
}

#[test]
fn real_packages_are_accepted() {
    let packages = packages();
    if packages.is_empty() {
        println!("Cargo has no downloaded packages here: nothing to check");
        return;
    }
    let (mut refused, mut different, mut compared) = (Vec::new(), Vec::new(), 0);
    for path in &packages {
        let bytes = read(path).expect("a package can be read");
        let stem = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let none = PublishMetadata::default();
        let record = match inspect(&*bytes, &Limits::default(), "drystone.toml", &Format::ALL, &none) {
            Ok(inspected) => inspected.record,
            Err(problems) => {
                refused.extend(problems.iter().map(|problem| format!("{stem}: {problem}")));
                continue;
            }
        };
        assert_eq!(format!("{}-{}", record.name, record.vers), stem);
        assert!(lists_alike(&bytes, &ours(&bytes).expect("it was accepted")), "{stem}");
        if let Some(line) = index_line(path, &record) {
            assert_eq!(line["cksum"], record.tarball.hex(), "{stem}");
            if from_record(&record) != from_index(&line) {
                different.push(stem);
            }
            compared += 1;
        }
    }
    assert_eq!(refused, [""; 0], "of {} packages", packages.len());
    assert_eq!(different, [""; 0], "of {compared} packages");
    println!("{} packages are accepted, {compared} of them compared with their index lines", packages.len());
}
