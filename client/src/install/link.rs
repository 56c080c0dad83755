//! From the store into a directory: built beside what is there, then swapped in by renames alone.
//!
//! Owns the way in which files get into a project, which is found out once for each directory. Does not own what is to
//! be there.
//! Invariant: a package's place holds the whole package, old or new, or nothing; what is not recorded is made anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    sync::{Mutex, OnceLock},
    thread,
};

use drystone_schemas::PackageName;
use serde::{Deserialize, Serialize};

use super::{
    InstallReport,
    record::{Record, RecordedPackage},
};
use crate::{
    ClientError, Lock, LockedPackage, Store, StoreEntry,
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

/// One package that is to be put in its place.
struct Wanted<'a> {
    key: &'a String,
    package: &'a LockedPackage,
    entry: &'a StoreEntry,
    /// Where it is built.
    staged: PathBuf,
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
    let mut wanted = Vec::new();
    for (at, (key, package)) in lock.packages.iter().filter(|(key, p)| !is_current(key, p)).enumerate() {
        let entry =
            entries.get(key).ok_or_else(|| ClientError::Internal(format!("`{key}` was not fetched")))?;
        // Somebody may have had the same archive as that of another release.
        entry.check_root(&drystone_archive::root_directory(&package.name, &package.version))?;
        wanted.push(Wanted { key, package, entry, staged: new.join(at.to_string()) });
    }
    // A package whose author spells it otherwise now has another place, too.
    let belong: BTreeSet<&PackageName> = lock.packages.values().map(|package| &package.name).collect();
    let known = record.packages.values().map(|old| &old.name).chain(&record.changing);
    let gone: BTreeSet<PackageName> = known.filter(|name| !belong.contains(name)).cloned().collect();
    let repaired = damaged.iter().filter_map(|key| lock.packages.get(key));
    let mut report = InstallReport {
        unchanged: lock.packages.len() - wanted.len(),
        repaired: repaired.map(|package| format!("{} {}", package.name, package.version)).collect(),
        ..InstallReport::default()
    };
    if wanted.is_empty() && gone.is_empty() {
        return Ok(report);
    }
    let mode = stage(disk, &new, &wanted, mode)?;
    report.mode = (!wanted.is_empty()).then_some(mode);
    // From here on only names change. What is about to change is not installed until it is in its place.
    for wanted in &wanted {
        record.packages.remove(wanted.key);
    }
    record.packages.retain(|_, old| !gone.contains(&old.name));
    record.changing = gone.iter().chain(wanted.iter().map(|wanted| &wanted.package.name)).cloned().collect();
    record.write(disk, dir)?;
    for (at, name) in gone.into_iter().enumerate() {
        take_away(disk, dir, &name, &old, &format!("gone-{at}"))?;
        report.removed.push(name.canonical());
    }
    for (at, wanted) in wanted.iter().enumerate() {
        let package = wanted.package;
        put_in_place(disk, dir, wanted, &old, &at.to_string())?;
        let recorded = RecordedPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            digest: package.digest,
            mode,
        };
        record.packages.insert(wanted.key.clone(), recorded);
        report.linked.push(format!("{} {}", package.name, package.version));
    }
    record.changing.clear();
    record.write(disk, dir)?;
    for leftover in [&new, &old] {
        disk.remove_dir_all(leftover)?;
    }
    Ok(report)
}

/// Where a package lies. Owners get an `@`, so that `acme/http` never lies inside the package `acme`.
fn package_dir(dir: &Path, name: &PackageName) -> PathBuf {
    match name.owner() {
        Some(owner) => dir.join(format!("@{owner}")).join(name.short()),
        None => dir.join(name.short()),
    }
}

/// Builds every wanted package below `new`; says how.
fn stage(
    disk: &dyn Disk,
    new: &Path,
    wanted: &[Wanted<'_>],
    mode: LinkMode,
) -> Result<LinkMode, ClientError> {
    let Some(first) = wanted.first() else { return Ok(mode) };
    disk.create_dir_all(new)?;
    let mode = match mode {
        LinkMode::Auto => works(disk, new, first.entry)?,
        asked => asked,
    };
    let failed: Mutex<Option<io::Error>> = Mutex::new(None);
    in_parallel(wanted, |wanted| {
        let is_over = failed.lock().expect("no holder of this lock panics").is_some();
        if !is_over && let Err(error) = build(disk, wanted.entry, &wanted.staged, mode) {
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
fn works(disk: &dyn Disk, new: &Path, entry: &StoreEntry) -> Result<LinkMode, ClientError> {
    let probe = new.join("probe");
    let source = entry.files().next().map(|(_, path)| path);
    for mode in LinkMode::PREFERRED {
        let tried = match (mode.of_files(), &source) {
            (None, _) => disk.link_dir(entry.files_dir(), &probe),
            (Some(FileLink::Copy), _) | (_, None) => return Ok(LinkMode::Copy),
            (Some(how), Some(source)) => disk.link_file(how, source, &probe, false),
        };
        if tried.is_ok() {
            return Ok(mode);
        }
    }
    Ok(LinkMode::Copy)
}

/// Builds one package at a new place.
fn build(disk: &dyn Disk, entry: &StoreEntry, staged: &Path, mode: LinkMode) -> io::Result<()> {
    let Some(how) = mode.of_files() else { return disk.link_dir(entry.files_dir(), staged) };
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
    let place = package_dir(dir, &wanted.package.name);
    let is_link = |path: &Path| fs_err::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    // One link takes another's place in one step.
    if !(is_link(&place) && is_link(&wanted.staged)) {
        take_away(disk, dir, &wanted.package.name, old, spare)?;
    }
    if let Some(parent) = place.parent() {
        disk.create_dir_all(parent)?;
    }
    Ok(disk.rename(&wanted.staged, &place)?)
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

/// How many threads are worth it.
pub(crate) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| thread::available_parallelism().map_or(2, std::num::NonZero::get))
}

/// Does the same with every item, on as many threads as there are cores; answers are in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => done.push((at, work(item))),
                None => return done,
            }
        }
    };
    let threads = threads().min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take_turns)).collect();
        let mut all = take_turns();
        for other in others {
            all.extend(other.join().expect("a panic in the work is one in the caller's code"));
        }
        all
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, answer)| answer).collect()
}
