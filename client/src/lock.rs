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
    /// What the project replaces packages with, whoever asks for them: a requirement or a path, by canonical name.
    pub overrides: BTreeMap<String, String>,
    /// The packages, by canonical name.
    pub packages: BTreeMap<String, LockedPackage>,
    /// Packages on the project's own disk, by canonical name.
    pub locals: BTreeMap<String, LockedLocal>,
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

/// A package that lies on the project's own disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLocal {
    /// Name, as its manifest writes it.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// Where it is, relative to the lock file, with `/` between names.
    pub path: String,
    /// Canonical names of what it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    registry: String,
    origin: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    overrides: BTreeMap<String, String>,
    #[serde(default, rename = "local", skip_serializing_if = "Vec::is_empty")]
    locals: Vec<LockedLocal>,
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
        Self {
            registry: registry.into(),
            origin: origin.into(),
            checkpoint,
            overrides: BTreeMap::new(),
            packages,
            locals: BTreeMap::new(),
        }
    }

    /// The same with what the project itself says of packages.
    #[must_use]
    pub fn on_disk(
        self,
        overrides: BTreeMap<String, String>,
        locals: impl IntoIterator<Item = LockedLocal>,
    ) -> Self {
        let locals = locals.into_iter().map(|local| (local.name.canonical(), local)).collect();
        Self { overrides, locals, ..self }
    }

    /// The version that is locked, wherever the package lies.
    pub fn version_of(&self, key: &str) -> Option<&Version> {
        let of_registry = self.packages.get(key).map(|package| &package.version);
        of_registry.or_else(|| self.locals.get(key).map(|local| &local.version))
    }

    /// Canonical names of what a locked package needs.
    pub fn needs_of(&self, key: &str) -> &[String] {
        let of_registry = self.packages.get(key).map(|package| &package.dependencies);
        let found = of_registry.or_else(|| self.locals.get(key).map(|local| &local.dependencies));
        found.map(Vec::as_slice).unwrap_or_default()
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
        let mut locals = BTreeMap::new();
        for local in file.locals {
            let key = local.name.canonical();
            if packages.contains_key(&key) || locals.insert(key.clone(), local).is_some() {
                return Err(format!("`{key}` is there twice"));
            }
        }
        let checkpoint = LockedCheckpoint { size: file.checkpoint.size, root };
        let (registry, origin, overrides) = (file.registry, file.origin, file.overrides);
        let lock = Self { registry, origin, checkpoint, overrides, packages, locals };
        for key in lock.packages.keys().chain(lock.locals.keys()) {
            if let Some(missing) = lock.needs_of(key).iter().find(|name| lock.version_of(name).is_none()) {
                return Err(format!("`{key}` needs `{missing}`, which is not there"));
            }
        }
        Ok(lock)
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
            overrides: self.overrides.clone(),
            locals: self.locals.values().cloned().collect(),
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
            if !self.version_of(&key).is_some_and(|version| root.req.matches(version)) {
                return false;
            }
            open.push(key);
        }
        let mut reached = BTreeSet::new();
        while let Some(key) = open.pop() {
            if reached.insert(key.clone()) {
                open.extend(self.needs_of(&key).iter().cloned());
            }
        }
        let known = |key: &String| self.version_of(key).is_some();
        reached.iter().all(known) && reached.len() == self.packages.len() + self.locals.len()
    }

    /// Whether two locks choose the same, whatever checkpoint they were made at and wherever the log is served.
    pub fn same_choice(&self, other: &Self) -> bool {
        (&self.origin, &self.overrides, &self.packages, &self.locals)
            == (&other.origin, &other.overrides, &other.packages, &other.locals)
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
        lines.extend(self.diff_on_disk(old));
        let gone = before.iter().filter(|(key, _)| !self.packages.contains_key(*key));
        lines.extend(gone.map(|(_, package)| format!("- {} {}", package.name, package.version)));
        lines
    }

    /// The same of packages on disk, and of what packages are replaced with.
    fn diff_on_disk(&self, old: Option<&Self>) -> Vec<String> {
        let told = |lock: &Self| -> BTreeSet<String> {
            let locals = lock.locals.values().map(|local| {
                let needs = local.dependencies.join(", ");
                let needs = if needs.is_empty() { needs } else { format!(", needs {needs}") };
                format!("{} {} ({}){needs}", local.name, local.version, local.path)
            });
            let overrides =
                lock.overrides.iter().map(|(name, with)| format!("{name} is replaced with {with}"));
            locals.chain(overrides).collect()
        };
        let (before, now) = (old.map(told).unwrap_or_default(), told(self));
        let new = now.difference(&before).map(|line| format!("+ {line}"));
        let gone = before.difference(&now).map(|line| format!("- {line}"));
        new.chain(gone).collect()
    }
}

#[cfg(test)]
mod tests;
