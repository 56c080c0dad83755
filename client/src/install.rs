//! From a lock to directories in the project: download what is missing, unpack it, link it.
//!
//! Owns `drystone_packages/` of a project. Does not own the choice, nor the proof that the lock's digests are the log's:
//! the caller has checked them.
//! Invariant: a package directory is whole or not there; what is not recorded as installed is made anew.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use drystone_schemas::{Limits, PackageName, Sha256Digest, Version};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{
    ClientError, Lock, LockedPackage, Registry, Store, StoreEntry, cache::write_atomically,
    download::download, store::remove_dir_if_there,
};

/// Name of the directory in a project.
pub const PACKAGES_DIR: &str = "drystone_packages";

const RECORD: &str = ".installed.json";
const LOCK: &str = ".lock";
const NEW: &str = ".new";
const OLD: &str = ".old";

/// Packages downloaded and unpacked at once.
const PARALLEL: usize = 8;

/// What happens during an install, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallEvent {
    /// A download begins.
    Started {
        /// The package.
        name: PackageName,
        /// Length of its archive in bytes.
        size: u64,
    },
    /// Bytes came; negative when a download is started over.
    Bytes {
        /// The package.
        name: PackageName,
        /// How many more.
        more: i64,
    },
    /// A package is in the store.
    Stored {
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
    },
}

/// Hears what happens.
pub type OnInstall = Arc<dyn Fn(InstallEvent) + Send + Sync>;

/// What an install came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InstallReport {
    /// Packages whose archives were downloaded.
    pub downloaded: usize,
    /// Packages that are new in the project, or in another version.
    pub linked: Vec<String>,
    /// Packages that are gone from the project.
    pub removed: Vec<String>,
    /// Packages that were there already.
    pub unchanged: usize,
}

/// `drystone_packages/.installed.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    packages: BTreeMap<String, Recorded>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recorded {
    name: PackageName,
    version: Version,
    digest: Sha256Digest,
}

/// The packages of a lock that are not in the store.
pub fn missing_from_store<'a>(lock: &'a Lock, store: &Store) -> Vec<&'a LockedPackage> {
    lock.packages.values().filter(|package| store.get(&package.digest).is_none()).collect()
}

/// Makes the project's packages those of the lock.
pub async fn install(
    lock: &Lock,
    project_dir: &Path,
    store: &Store,
    registry: &Registry,
    limits: &Limits,
    on_install: &OnInstall,
) -> Result<InstallReport, ClientError> {
    let fetched: Vec<(&String, StoreEntry, bool)> = stream::iter(&lock.packages)
        .map(async |(key, package)| {
            let (entry, new) = fetch(package, store, registry, limits, on_install).await?;
            Ok::<_, ClientError>((key, entry, new))
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    let downloaded = fetched.iter().filter(|(_, _, new)| *new).count();
    let entries: BTreeMap<String, StoreEntry> =
        fetched.into_iter().map(|(key, entry, _)| (key.clone(), entry)).collect();
    let (lock, dir) = (lock.clone(), project_dir.join(PACKAGES_DIR));
    let report = blocking(move || link_all(&lock, &dir, &entries)).await?;
    Ok(InstallReport { downloaded, ..report })
}

/// Gets one package into the store; true if it was not there.
async fn fetch(
    package: &LockedPackage,
    store: &Store,
    registry: &Registry,
    limits: &Limits,
    on_install: &OnInstall,
) -> Result<(StoreEntry, bool), ClientError> {
    let root = drystone_archive::root_directory(&package.name, &package.version);
    if let Some(entry) = store.get(&package.digest) {
        entry.check_root(&root)?;
        return Ok((entry, false));
    }
    on_install(InstallEvent::Started { name: package.name.clone(), size: package.size });
    let what = format!("`{}` {}", package.name, package.version);
    let on_bytes = |more| on_install(InstallEvent::Bytes { name: package.name.clone(), more });
    let file =
        download(registry, &store.temp_dir()?, &what, &package.digest, package.size, &on_bytes).await?;
    let (store, digest, limits) = (store.clone(), package.digest, limits.clone());
    let entry = blocking(move || store.unpack(&digest, &root, file.as_file(), &limits)).await?;
    on_install(InstallEvent::Stored { name: package.name.clone(), version: package.version.clone() });
    Ok((entry, true))
}

fn link_all(
    lock: &Lock,
    dir: &Path,
    entries: &BTreeMap<String, StoreEntry>,
) -> Result<InstallReport, ClientError> {
    fs_err::create_dir_all(dir)?;
    let guard = fs_err::File::create(dir.join(LOCK))?;
    guard.lock()?;
    for leftover in [NEW, OLD] {
        remove_dir_if_there(&dir.join(leftover))?;
    }
    let mut record = read_record(dir);
    let is_current = |key: &String, package: &LockedPackage| {
        record.packages.get(key).is_some_and(|old| old.digest == package.digest && old.name == package.name)
            && package_dir(dir, &package.name).is_dir()
    };
    let wanted: Vec<(&String, &LockedPackage)> =
        lock.packages.iter().filter(|(key, package)| !is_current(key, package)).collect();
    let gone: Vec<(String, Recorded)> = record
        .packages
        .iter()
        .filter(|(key, _)| !lock.packages.contains_key(*key))
        .map(|(key, old)| (key.clone(), old.clone()))
        .collect();
    let mut report =
        InstallReport { unchanged: lock.packages.len() - wanted.len(), ..InstallReport::default() };
    if wanted.is_empty() && gone.is_empty() {
        return Ok(report);
    }
    // What is about to change is not installed until it is whole again.
    for key in wanted.iter().map(|(key, _)| *key).chain(gone.iter().map(|(key, _)| key)) {
        record.packages.remove(key);
    }
    write_record(dir, &record)?;
    for (key, old) in gone {
        remove_package(dir, &old.name)?;
        report.removed.push(key);
    }
    for (key, package) in wanted {
        let entry =
            entries.get(key).ok_or_else(|| ClientError::Internal(format!("`{key}` was not fetched")))?;
        link(entry, dir, &package.name)?;
        let recorded =
            Recorded { name: package.name.clone(), version: package.version.clone(), digest: package.digest };
        record.packages.insert(key.clone(), recorded);
        report.linked.push(format!("{} {}", package.name, package.version));
    }
    write_record(dir, &record)?;
    Ok(report)
}

/// Where a package lies. Owners get an `@`, so that `acme/http` never lies inside the package `acme`.
fn package_dir(dir: &Path, name: &PackageName) -> PathBuf {
    match name.owner() {
        Some(owner) => dir.join(format!("@{owner}")).join(name.short()),
        None => dir.join(name.short()),
    }
}

/// Builds the directory beside the old one, then swaps.
fn link(entry: &StoreEntry, dir: &Path, name: &PackageName) -> Result<(), ClientError> {
    let (new, place) = (dir.join(NEW), package_dir(dir, name));
    remove_dir_if_there(&new)?;
    fs_err::create_dir_all(&new)?;
    for (file, source) in entry.files() {
        let target = new.join(&file.path);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        // Another file system, or one without hard links: then the bytes are copied.
        if fs_err::hard_link(&source, &target).is_err() {
            fs_err::copy(&source, &target)?;
        }
    }
    remove_package(dir, name)?;
    if let Some(parent) = place.parent() {
        fs_err::create_dir_all(parent)?;
    }
    Ok(fs_err::rename(&new, &place)?)
}

/// Takes a package away in one step, then deletes it at leisure.
fn remove_package(dir: &Path, name: &PackageName) -> Result<(), ClientError> {
    let (place, old) = (package_dir(dir, name), dir.join(OLD));
    remove_dir_if_there(&old)?;
    match fs_err::rename(&place, &old) {
        Ok(()) => remove_dir_if_there(&old)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e.into()),
    }
    if let (Some(_), Some(parent)) = (name.owner(), place.parent()) {
        // Only an empty directory can be removed this way; others stay.
        let _ = fs_err::remove_dir(parent);
    }
    Ok(())
}

/// A record that cannot be read counts as none: then all is linked anew.
fn read_record(dir: &Path) -> Record {
    fs_err::read(dir.join(RECORD))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn write_record(dir: &Path, record: &Record) -> Result<(), ClientError> {
    let bytes = serde_json::to_vec_pretty(record).map_err(|e| ClientError::Internal(e.to_string()))?;
    Ok(write_atomically(&dir.join(RECORD), &bytes)?)
}

/// Runs work that blocks where it disturbs nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ClientError::Internal(e.to_string()))?
}
