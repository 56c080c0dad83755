//! `drystone.lock`: exact versions and digests, and the checkpoint that they were chosen at.
//!
//! Owns the format and the comparison of two locks. Does not own the choice.
//! Invariant: equal locks give equal bytes; one package is one block of lines, so that merges conflict only where
//! choices do.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use drystone_log::Hash;
use drystone_schemas::{PackageName, Sha256Digest, Version};
use serde::{Deserialize, Serialize};

use crate::{ClientError, cache::write_atomically, resolve::Requirement};

/// Name of the lock file beside the manifest.
pub const LOCK_FILE: &str = "drystone.lock";

/// Version of the format.
const FORMAT: u32 = 1;

const HEADER: &str = "# Written by `drystone`. Commit it: with it, every machine installs the same bytes.\n";

/// The lock of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Base URL of the registry.
    pub registry: String,
    /// Origin of its log.
    pub origin: String,
    /// The checkpoint that the versions were chosen at.
    pub checkpoint: LockedCheckpoint,
    /// The packages, by canonical name.
    pub packages: BTreeMap<String, LockedPackage>,
}

/// Size and root of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedCheckpoint {
    /// Number of events.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

/// One package of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    /// Name, as its author writes it.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// SHA-256 of the archive.
    pub digest: Sha256Digest,
    /// Length of the archive in bytes.
    pub size: u64,
    /// Canonical names of what it needs.
    pub dependencies: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    registry: String,
    origin: String,
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    packages: Vec<FilePackage>,
    checkpoint: FileCheckpoint,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCheckpoint {
    size: u64,
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePackage {
    name: PackageName,
    version: Version,
    sha256: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
}

impl Lock {
    /// A lock of these packages.
    pub fn new(
        registry: &str,
        origin: &str,
        checkpoint: LockedCheckpoint,
        packages: impl IntoIterator<Item = LockedPackage>,
    ) -> Self {
        let packages = packages.into_iter().map(|package| (package.name.canonical(), package)).collect();
        Self { registry: registry.into(), origin: origin.into(), checkpoint, packages }
    }

    /// Reads the lock file in a directory, if there is one.
    pub fn read(dir: &Path) -> Result<Option<Self>, ClientError> {
        let path = dir.join(LOCK_FILE);
        match fs_err::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).map_err(|detail| ClientError::BadLock { path, detail }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes the lock file in a directory, whole.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ClientError> {
        let path = dir.join(LOCK_FILE);
        write_atomically(&path, self.to_text()?.as_bytes())?;
        Ok(path)
    }

    /// Parses the file; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.lines().any(|line| line.starts_with("<<<<<<<") || line.starts_with(">>>>>>>")) {
            return Err("it has merge conflicts".into());
        }
        let file: File = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        if file.version != FORMAT {
            return Err(format!("it has format {}, which this program does not know", file.version));
        }
        let root =
            Hash::from_base64(&file.checkpoint.root).map_err(|e| format!("root of the checkpoint: {e}"))?;
        let mut packages = BTreeMap::new();
        for package in file.packages {
            let key = package.name.canonical();
            let digest = Sha256Digest::from_hex(&package.sha256).map_err(|e| e.to_string())?;
            let locked = LockedPackage {
                name: package.name,
                version: package.version,
                digest,
                size: package.size,
                dependencies: package.dependencies,
            };
            if packages.insert(key.clone(), locked).is_some() {
                return Err(format!("`{key}` is there twice"));
            }
        }
        for (key, package) in &packages {
            if let Some(missing) = package.dependencies.iter().find(|name| !packages.contains_key(*name)) {
                return Err(format!("`{key}` needs `{missing}`, which is not there"));
            }
        }
        let checkpoint = LockedCheckpoint { size: file.checkpoint.size, root };
        Ok(Self { registry: file.registry, origin: file.origin, checkpoint, packages })
    }

    /// The file's text.
    pub fn to_text(&self) -> Result<String, ClientError> {
        let package = |package: &LockedPackage| FilePackage {
            name: package.name.clone(),
            version: package.version.clone(),
            sha256: package.digest.hex(),
            size: package.size,
            dependencies: package.dependencies.clone(),
        };
        let file = File {
            version: FORMAT,
            registry: self.registry.clone(),
            origin: self.origin.clone(),
            packages: self.packages.values().map(package).collect(),
            checkpoint: FileCheckpoint { size: self.checkpoint.size, root: self.checkpoint.root.to_base64() },
        };
        let text = toml::to_string(&file).map_err(|e| ClientError::Internal(e.to_string()))?;
        Ok(format!("{HEADER}{text}"))
    }

    /// The locked versions, by canonical name.
    pub fn versions(&self) -> BTreeMap<String, Version> {
        self.packages.iter().map(|(key, package)| (key.clone(), package.version.clone())).collect()
    }

    /// Whether this lock answers these requirements: each is met, and nothing is locked that they do not lead to.
    ///
    /// What locked packages need of each other was checked when they were chosen.
    pub fn satisfies(&self, roots: &[Requirement]) -> bool {
        let mut open: Vec<String> = Vec::new();
        for root in roots {
            let key = root.name.canonical();
            if !self.packages.get(&key).is_some_and(|package| root.req.matches(&package.version)) {
                return false;
            }
            open.push(key);
        }
        let mut reached = BTreeSet::new();
        while let Some(key) = open.pop() {
            if let (Some(package), true) = (self.packages.get(&key), reached.insert(key)) {
                open.extend(package.dependencies.iter().cloned());
            }
        }
        reached.len() == self.packages.len()
    }

    /// Whether two locks choose the same, whatever checkpoint they were made at and wherever the log is served.
    pub fn same_choice(&self, other: &Self) -> bool {
        self.origin == other.origin && self.packages == other.packages
    }

    /// What changes from `old` to this lock, one line per package: `+`, `-` or `~`.
    pub fn diff(&self, old: Option<&Self>) -> Vec<String> {
        let nothing = BTreeMap::new();
        let before = old.map_or(&nothing, |old| &old.packages);
        let mut lines = Vec::new();
        if let Some(old) = old.filter(|old| old.origin != self.origin) {
            lines.push(format!("~ log {} -> {}", old.origin, self.origin));
        }
        for (key, package) in &self.packages {
            match before.get(key) {
                None => lines.push(format!("+ {} {}", package.name, package.version)),
                Some(old) if old.version != package.version => {
                    lines.push(format!("~ {} {} -> {}", package.name, old.version, package.version));
                }
                Some(old) if old.digest != package.digest => {
                    lines.push(format!(
                        "~ {} {} {} -> {}",
                        package.name, package.version, old.digest, package.digest
                    ));
                }
                Some(old) if old != package => {
                    lines.push(format!("~ {} {} (dependencies)", package.name, package.version));
                }
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|(key, _)| !self.packages.contains_key(*key));
        lines.extend(gone.map(|(_, package)| format!("- {} {}", package.name, package.version)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use drystone_schemas::VersionReq;

    use super::*;

    fn package(name: &str, version: &str, dependencies: &[&str]) -> (String, LockedPackage) {
        let name = PackageName::new(name).unwrap();
        let locked = LockedPackage {
            version: Version::new(version).unwrap(),
            digest: Sha256Digest::of(format!("{name} {version}").as_bytes()),
            size: 7,
            dependencies: dependencies.iter().map(|&dep| dep.to_owned()).collect(),
            name: name.clone(),
        };
        (name.canonical(), locked)
    }

    fn lock(packages: Vec<(String, LockedPackage)>) -> Lock {
        Lock {
            registry: "https://registry.example".into(),
            origin: "registry.example/log/1".into(),
            checkpoint: LockedCheckpoint { size: 7, root: Hash::digest(b"root") },
            packages: packages.into_iter().collect(),
        }
    }

    #[test]
    fn a_lock_reads_back_and_looks_like_this() {
        let lock = lock(vec![package("acme/Http", "1.2.0", &["url-x"]), package("Url_x", "0.1.0", &[])]);
        let text = lock.to_text().unwrap();
        let expected = format!(
            r#"{HEADER}version = 1
registry = "https://registry.example"
origin = "registry.example/log/1"

[[package]]
name = "acme/Http"
version = "1.2.0"
sha256 = "{}"
size = 7
dependencies = ["url-x"]

[[package]]
name = "Url_x"
version = "0.1.0"
sha256 = "{}"
size = 7

[checkpoint]
size = 7
root = "{}"
"#,
            Sha256Digest::of(b"acme/Http 1.2.0").hex(),
            Sha256Digest::of(b"Url_x 0.1.0").hex(),
            Hash::digest(b"root").to_base64()
        );
        assert_eq!(text, expected);
        assert_eq!(Lock::parse(&text), Ok(lock));
    }

    #[test]
    fn a_lock_that_contradicts_itself_is_refused() {
        let good = lock(vec![package("a", "1.0.0", &["b"]), package("b", "1.0.0", &[])]).to_text().unwrap();
        assert!(Lock::parse(&good).is_ok());
        for (what, bad) in [
            ("needs `b`, which is not there", good.replace("name = \"b\"", "name = \"c\"")),
            ("is there twice", good.replace("name = \"b\"", "name = \"A\"").replace("\"b\"", "\"a\"")),
            ("has format 2", good.replace("version = 1\n", "version = 2\n")),
            ("merge conflicts", format!("<<<<<<< ours\n{good}")),
            ("is not a SHA-256 digest", good.replace(&Sha256Digest::of(b"a 1.0.0").hex(), "00")),
            ("unknown field", format!("surprise = 1\n{good}")),
        ] {
            let error = Lock::parse(&bad).unwrap_err();
            assert!(error.contains(what), "{what}: {error}");
        }
    }

    #[test]
    fn a_lock_satisfies_what_it_was_made_for_and_nothing_else() {
        let lock = lock(vec![package("a", "1.2.0", &["b"]), package("b", "1.0.0", &["a"])]);
        let satisfies = |roots: &[(&str, &str)]| {
            let root = |&(name, req): &(&str, &str)| {
                Requirement::new(PackageName::new(name).unwrap(), VersionReq::new(req).unwrap())
            };
            lock.satisfies(&roots.iter().map(root).collect::<Vec<_>>())
        };
        assert!(satisfies(&[("A", "^1.1")]) && satisfies(&[("b", "*")]));
        assert!(!satisfies(&[("a", "^2")]), "the requirement is not met");
        assert!(!satisfies(&[("a", "^1"), ("c", "*")]), "`c` is not locked");
        assert!(!satisfies(&[]), "nothing asks for `a` and `b` any more");
    }

    #[test]
    fn differences_are_told_package_by_package() {
        let old =
            lock(vec![package("a", "1.0.0", &[]), package("b", "1.0.0", &[]), package("c", "1.0.0", &[])]);
        let new =
            lock(vec![package("a", "1.1.0", &[]), package("b", "1.0.0", &[]), package("d", "1.0.0", &[])]);
        assert_eq!(new.diff(Some(&old)), ["~ a 1.0.0 -> 1.1.0", "+ d 1.0.0", "- c 1.0.0"]);
        assert_eq!(old.diff(Some(&old)), Vec::<String>::new());
        assert_eq!(old.diff(None).len(), 3);
        let later = Lock { checkpoint: LockedCheckpoint { size: 9, ..old.checkpoint }, ..old.clone() };
        assert!(later.same_choice(&old) && !new.same_choice(&old));
    }
}
