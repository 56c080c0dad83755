//! Extracts of a real index, with projects and the lock files that cargo made of them.
//!
//! Owns reading them, where they are: they lie beside the repository, in `shared/data/<project>/`, as `index.tar.zst`,
//! `Cargo.toml` and `Cargo.lock`. DRYSTONE_TEST_DATA says that they must be there.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it reads its own environment, and tells when it has nothing to read"
)]

pub mod cold;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use drystone_client::resolve::Requirement;
use drystone_schemas::{CRATES_IO_INDEX, IndexFile, PackageName, VersionReq};
use serde_json::{Value, json};

/// One project with its part of the index.
#[derive(Debug)]
pub struct Corpus {
    data: PathBuf,
    unpacked: tempfile::TempDir,
}

impl Corpus {
    /// The directory of a project; none if it is not there.
    pub fn dir(project: &str) -> Option<PathBuf> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(project);
        if data.is_dir() {
            return Some(data);
        }
        assert!(std::env::var_os("DRYSTONE_TEST_DATA").is_none(), "{} is required", data.display());
        println!("skipped: {} is not there", data.display());
        None
    }

    /// Unpacks the index of a project; none if it is not there.
    pub fn open(project: &str) -> Option<Self> {
        let data = Self::dir(project)?;
        let unpacked = tempfile::tempdir().expect("a temporary directory can be made");
        let tar = Command::new("tar")
            .args(["--zstd", "-xf"])
            .arg(data.join("index.tar.zst"))
            .arg("-C")
            .arg(unpacked.path())
            .status();
        assert!(tar.is_ok_and(|status| status.success()), "`tar` with `zstd` unpacks the index");
        Some(Self { data, unpacked })
    }

    /// The index file of every package, by path; each line has its number as position in the log.
    pub fn indexes(&self) -> Vec<IndexFile> {
        let mut paths = Vec::new();
        let mut folders = vec![self.unpacked.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).expect("what was unpacked can be read") {
                let path = entry.expect("what was unpacked can be read").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => paths.extend(path.extension().is_none().then_some(path)),
                }
            }
        }
        paths.sort_unstable();
        let read = |path: &PathBuf| fs_err::read_to_string(path).expect("what was unpacked can be read");
        paths.iter().map(|path| index_file(&read(path))).collect()
    }

    /// What the project asks for.
    pub fn requirements(&self) -> Vec<Requirement> {
        let manifest = self.manifest();
        let table = manifest["dependencies"].as_table().expect("the project has dependencies");
        let requirement = |(name, value): (&String, &toml::Value)| {
            let req = value.as_str().or_else(|| value.get("version")?.as_str()).unwrap_or("*");
            let features = value.get("features").and_then(toml::Value::as_array);
            let features = features.into_iter().flatten().filter_map(toml::Value::as_str).map(str::to_owned);
            Requirement {
                features: features.collect(),
                ..Requirement::new(
                    PackageName::new(name).expect("it has package names"),
                    VersionReq::new(req).expect("it has requirements"),
                )
            }
        };
        table.iter().map(requirement).collect()
    }

    /// The project's own name.
    pub fn name(&self) -> String {
        self.manifest()["package"]["name"].as_str().expect("the project has a name").to_owned()
    }

    /// The text of the manifest.
    pub fn manifest_text(&self) -> String {
        fs_err::read_to_string(self.data.join("Cargo.toml")).expect("the manifest can be read")
    }

    /// The lock file that cargo made.
    pub fn lock(&self) -> String {
        fs_err::read_to_string(self.data.join("Cargo.lock")).expect("the lock file can be read")
    }

    fn manifest(&self) -> toml::Table {
        self.manifest_text().parse().expect("the manifest is TOML")
    }
}

/// A real index file in our form: what Cargo lets be left out is there, and so are our own fields.
fn index_file(text: &str) -> IndexFile {
    let mut out = Vec::new();
    for (seq, line) in (1..).zip(text.lines()) {
        let mut line: Value = serde_json::from_str(line).expect("the index is JSON Lines");
        let defaults = [
            ("deps", json!([])),
            ("features", json!({})),
            ("yanked", json!(false)),
            ("v", json!(1)),
            ("pubtime", json!("2026-01-01T00:00:00Z")),
            ("seq", json!(seq)),
            ("published", json!(seq)),
            ("size", json!(1)),
            ("format", json!("cargo")),
            ("record", json!(format!("sha256:{}", "0".repeat(64)))),
        ];
        complete(&mut line, &defaults);
        for dep in line["deps"].as_array_mut().into_iter().flatten() {
            let defaults = [
                ("features", json!([])),
                ("optional", json!(false)),
                ("default_features", json!(true)),
                ("target", Value::Null),
                ("kind", json!("normal")),
            ];
            complete(dep, &defaults);
            if dep["registry"] == CRATES_IO_INDEX {
                dep["registry"] = Value::Null;
            }
        }
        out.extend(line.to_string().bytes().chain(*b"\n"));
    }
    IndexFile::parse(&out).expect("the index has Cargo's fields")
}

fn complete(object: &mut Value, defaults: &[(&str, Value)]) {
    let Some(object) = object.as_object_mut() else { return };
    for (field, default) in defaults {
        let entry = object.entry(*field).or_insert(Value::Null);
        if entry.is_null() {
            *entry = default.clone();
        }
    }
    if object.get("features2").is_some_and(Value::is_null) {
        object.remove("features2");
    }
}
