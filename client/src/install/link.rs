//! From the store into a directory: built beside what is there, then swapped in by renames alone.
//!
//! Owns the way in which files get into a project, which is found out once for each directory. Does not own what is to
//! be there.
//! Invariant: a package's place holds the whole package, old or new, or nothing; what is not recorded is made anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use drystone_schemas::PackageName;
use serde::{Deserialize, Serialize};

use super::{
    InstallReport,
    parallel::in_parallel,
    record::{Record, RecordedLocal, RecordedPackage},
};
use crate::{
    ClientError, Lock, LockedLocal, LockedPackage, Store, StoreEntry,
    disk::{Disk, FileLink},
};

const LOCK: &str = ".lock";
const NEW: &str = ".new";
const OLD: &str = ".old";

/// How packages get from the store into a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkMode {
    /// The first of the others that works.
    Auto,
    /// A link to the package's directory in the store: one step for each package.
    Dir,
    /// Files of the project's own that share their blocks with the store's, until they are written.
    Reflink,
    /// Other names for the store's files.
    Hard,
    /// Files of the project's own.
    Copy,
}

impl LinkMode {
    const PREFERRED: [Self; 4] = [Self::Dir, Self::Reflink, Self::Hard, Self::Copy];

    /// How single files are linked; `None` where whole directories are.
    const fn of_files(self) -> Option<FileLink> {
        match self {
            Self::Auto | Self::Dir => None,
            Self::Reflink => Some(FileLink::Reflink),
            Self::Hard => Some(FileLink::Hard),
            Self::Copy => Some(FileLink::Copy),
        }
    }

    /// As it is written on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dir => "dir",
            Self::Reflink => "reflink",
            Self::Hard => "hard",
            Self::Copy => "copy",
        }
    }
}

/// What is to be in a place.
#[derive(Clone, Copy)]
enum What<'a> {
    /// A package of the store.
    Stored(&'a LockedPackage, &'a StoreEntry),
    /// A package of the project's own disk, which is always linked to, so that it can be worked on.
    Local(&'a LockedLocal),
}

impl<'a> What<'a> {
    const fn name(&self) -> &'a PackageName {
        match self {
            Self::Stored(package, _) => &package.name,
            Self::Local(local) => &local.name,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Stored(package, _) => format!("{} {}", package.name, package.version),
            Self::Local(local) => format!("{} {} ({})", local.name, local.version, local.path),
        }
    }
}

/// One package that is to be put in its place.
struct Wanted<'a> {
    key: &'a String,
    what: What<'a>,
    /// Where it is to be.
    place: PathBuf,
    /// Whether something lies there now.
    replaces: bool,
    /// Where it is built.
    staged: PathBuf,
}

impl Wanted<'_> {
    /// A link is made in one step, so that nothing needs to be built before it takes a place that is free.
    const fn is_built(&self, mode: LinkMode) -> bool {
        self.replaces || !matches!((self.what, mode), (What::Local(_), _) | (_, LinkMode::Dir))
    }

    /// Builds it at a new place.
    fn build(&self, disk: &dyn Disk, dir: &Path, at: &Path, mode: LinkMode) -> io::Result<()> {
        match (self.what, mode.of_files()) {
            (What::Stored(_, entry), Some(how)) => build(disk, entry, at, how),
            (What::Stored(_, entry), None) => disk.link_dir(entry.files_dir(), at),
            (What::Local(local), _) => disk.link_dir(&local_dir(dir, local), at),
        }
    }
}

/// Makes a directory hold the packages of a lock, and no others. Blocks.
pub(super) fn link_all(
    lock: &Lock,
    dir: &Path,
    entries: &BTreeMap<String, StoreEntry>,
    damaged: &BTreeSet<String>,
    store: &Store,
    mode: LinkMode,
) -> Result<InstallReport, ClientError> {
    let disk = &**store.disk();
    disk.create_dir_all(dir)?;
    let guard = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    guard.lock()?;
    let (new, old) = (dir.join(NEW), dir.join(OLD));
    for leftover in [&new, &old] {
        disk.remove_dir_all(leftover)?;
    }
    let mut record = Record::read(dir);
    let is_current = |key: &String, package: &LockedPackage| {
        record.packages.get(key).is_some_and(|old| {
            old.digest == package.digest
                && old.name == package.name
                && (mode == LinkMode::Auto || mode == old.mode)
                // Names of files that have been damaged are still names of the damaged ones.
                && !(old.mode == LinkMode::Hard && damaged.contains(key))
        }) && package_dir(dir, &package.name).is_dir()
    };
    let is_linked = |key: &String, local: &LockedLocal| {
        let known =
            record.locals.get(key).is_some_and(|old| old.name == local.name && old.path == local.path);
        known && package_dir(dir, &local.name).is_dir()
    };
    let mut whats = Vec::new();
    for (key, package) in lock.packages.iter().filter(|(key, package)| !is_current(key, package)) {
        let entry =
            entries.get(key).ok_or_else(|| ClientError::Internal(format!("`{key}` was not fetched")))?;
        // Somebody may have had the same archive as that of another release.
        entry.check_root(&drystone_archive::root_directory(&package.name, &package.version))?;
        whats.push((key, What::Stored(package, entry)));
    }
    let locals = lock.locals.iter().filter(|(key, local)| !is_linked(key, local));
    whats.extend(locals.map(|(key, local)| (key, What::Local(local))));
    let wanted = whats.into_iter().enumerate().map(|(at, (key, what))| {
        let place = package_dir(dir, what.name());
        let replaces = fs_err::symlink_metadata(&place).is_ok();
        Wanted { key, what, place, replaces, staged: new.join(at.to_string()) }
    });
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    // A package whose author spells it otherwise now has another place, too.
    let belong = lock.packages.values().map(|package| &package.name);
    let belong: BTreeSet<&PackageName> =
        belong.chain(lock.locals.values().map(|local| &local.name)).collect();
    let known = record.packages.values().map(|old| &old.name).chain(&record.changing);
    let known = known.chain(record.locals.values().map(|old| &old.name));
    let gone: BTreeSet<PackageName> = known.filter(|name| !belong.contains(name)).cloned().collect();
    let repaired = damaged.iter().filter_map(|key| lock.packages.get(key));
    let mut report = InstallReport {
        unchanged: lock.packages.len() + lock.locals.len() - wanted.len(),
        repaired: repaired.map(|package| format!("{} {}", package.name, package.version)).collect(),
        ..InstallReport::default()
    };
    if wanted.is_empty() && gone.is_empty() {
        return Ok(report);
    }
    let mode = stage(disk, dir, &new, &wanted, mode)?;
    report.mode = wanted.iter().any(|wanted| matches!(wanted.what, What::Stored(..))).then_some(mode);
    // From here on only names change. What is about to change is not installed until it is in its place.
    for wanted in &wanted {
        record.packages.remove(wanted.key);
        record.locals.remove(wanted.key);
    }
    record.packages.retain(|_, old| !gone.contains(&old.name));
    record.locals.retain(|_, old| !gone.contains(&old.name));
    record.changing = gone.iter().chain(wanted.iter().map(|wanted| wanted.what.name())).cloned().collect();
    record.write(disk, dir)?;
    for (at, name) in gone.into_iter().enumerate() {
        take_away(disk, dir, &name, &old, &format!("gone-{at}"))?;
        report.removed.push(name.canonical());
    }
    let mut made = BTreeSet::from([dir.to_owned()]);
    for (at, wanted) in wanted.iter().enumerate() {
        if let Some(parent) = wanted.place.parent()
            && made.insert(parent.to_owned())
        {
            disk.create_dir_all(parent)?;
        }
        match wanted.is_built(mode) {
            true => put_in_place(disk, dir, wanted, &old, &at.to_string())?,
            false => wanted.build(disk, dir, &wanted.place, mode)?,
        }
        record.add(wanted.key, &wanted.what, mode);
        report.linked.push(wanted.what.shown());
    }
    record.changing.clear();
    record.write(disk, dir)?;
    for leftover in [&new, &old] {
        disk.remove_dir_all(leftover)?;
    }
    Ok(report)
}

impl Record {
    fn add(&mut self, key: &str, what: &What<'_>, mode: LinkMode) {
        match what {
            What::Stored(package, _) => {
                let (name, version, digest) = (package.name.clone(), package.version.clone(), package.digest);
                self.packages.insert(key.to_owned(), RecordedPackage { name, version, digest, mode });
            }
            What::Local(local) => {
                let (name, path) = (local.name.clone(), local.path.clone());
                self.locals.insert(key.to_owned(), RecordedLocal { name, path });
            }
        }
    }
}

/// Where a package of the project's own disk lies: paths are relative to the directory that packages are linked into.
fn local_dir(dir: &Path, local: &LockedLocal) -> PathBuf {
    dir.parent().unwrap_or(dir).join(&local.path)
}

/// Where a package lies. Owners get an `@`, so that `acme/http` never lies inside the package `acme`.
fn package_dir(dir: &Path, name: &PackageName) -> PathBuf {
    match name.owner() {
        Some(owner) => dir.join(format!("@{owner}")).join(name.short()),
        None => dir.join(name.short()),
    }
}

/// Builds every wanted package below `new` that takes more than one step; says how.
fn stage(
    disk: &dyn Disk,
    dir: &Path,
    new: &Path,
    wanted: &[Wanted<'_>],
    mode: LinkMode,
) -> Result<LinkMode, ClientError> {
    let Some(first) = wanted.first() else { return Ok(mode) };
    disk.create_dir_all(new)?;
    let probe = new.join("probe");
    let stored = wanted.iter().find_map(|wanted| match wanted.what {
        What::Stored(_, entry) => Some(entry),
        What::Local(_) => None,
    });
    let mode = match (mode, stored) {
        (LinkMode::Auto, Some(entry)) => works(disk, &probe, entry)?,
        (asked, _) => asked,
    };
    let failed: Mutex<Option<io::Error>> = Mutex::new(None);
    if !wanted.iter().all(|wanted| wanted.is_built(mode)) && fs_err::symlink_metadata(&probe).is_err() {
        // Whether links can be made at all must be known before anything changes.
        *failed.lock().expect("no holder of this lock panics") =
            first.build(disk, dir, &probe, LinkMode::Dir).err();
    }
    let built: Vec<_> = wanted.iter().filter(|wanted| wanted.is_built(mode)).collect();
    in_parallel(&built, |wanted| {
        let is_over = failed.lock().expect("no holder of this lock panics").is_some();
        if !is_over && let Err(error) = wanted.build(disk, dir, &wanted.staged, mode) {
            failed.lock().expect("no holder of this lock panics").get_or_insert(error);
        }
    });
    match failed.into_inner().expect("no holder of this lock panicked") {
        None => Ok(mode),
        Some(error) if error.kind() == io::ErrorKind::StorageFull => Err(error.into()),
        Some(error) => Err(ClientError::CannotLink { mode: mode.as_str(), detail: error.to_string() }),
    }
}

/// The first way that works between the store and a directory, tried with one package.
fn works(disk: &dyn Disk, probe: &Path, entry: &StoreEntry) -> Result<LinkMode, ClientError> {
    let source = entry.files().next().map(|(_, path)| path);
    for mode in LinkMode::PREFERRED {
        let tried = match (mode.of_files(), &source) {
            (None, _) => disk.link_dir(entry.files_dir(), probe),
            (Some(FileLink::Copy), _) | (_, None) => return Ok(LinkMode::Copy),
            (Some(how), Some(source)) => disk.link_file(how, source, probe, false),
        };
        if tried.is_ok() {
            return Ok(mode);
        }
    }
    Ok(LinkMode::Copy)
}

/// Builds one package at a new place, file by file.
fn build(disk: &dyn Disk, entry: &StoreEntry, staged: &Path, how: FileLink) -> io::Result<()> {
    disk.create_dir_all(staged)?;
    let mut made = BTreeSet::new();
    for (file, source) in entry.files() {
        let target = staged.join(&file.path);
        if let Some(parent) = target.parent().filter(|parent| *parent != staged)
            && made.insert(parent.to_owned())
        {
            disk.create_dir_all(parent)?;
        }
        match disk.link_file(how, &source, &target, file.executable) {
            // A file has only so many names (link(2), EMLINK).
            Err(e) if e.kind() == io::ErrorKind::TooManyLinks => {
                disk.link_file(FileLink::Copy, &source, &target, file.executable)?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// Puts a built package where it belongs; what was there before goes to `old`.
fn put_in_place(
    disk: &dyn Disk,
    dir: &Path,
    wanted: &Wanted<'_>,
    old: &Path,
    spare: &str,
) -> Result<(), ClientError> {
    let is_link = |path: &Path| fs_err::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    // One link takes another's place in one step.
    if wanted.replaces && !(is_link(&wanted.place) && is_link(&wanted.staged)) {
        take_away(disk, dir, wanted.what.name(), old, spare)?;
        if let Some(parent) = wanted.place.parent() {
            disk.create_dir_all(parent)?;
        }
    }
    Ok(disk.rename(&wanted.staged, &wanted.place)?)
}

/// Takes a package out of its place in one step; it is deleted later.
fn take_away(
    disk: &dyn Disk,
    dir: &Path,
    name: &PackageName,
    old: &Path,
    spare: &str,
) -> Result<(), ClientError> {
    let place = package_dir(dir, name);
    if fs_err::symlink_metadata(&place).is_err() {
        return Ok(());
    }
    disk.create_dir_all(old)?;
    disk.rename(&place, &old.join(spare))?;
    if let (Some(_), Some(parent)) = (name.owner(), place.parent()) {
        // Only an empty directory can be removed this way; others stay.
        let _ = fs_err::remove_dir(parent);
    }
    Ok(())
}
