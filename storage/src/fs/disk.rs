//! One opened directory: paths of keys, temporary files, and directories that are known to be durable.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    errors::{again, definite},
    parallel,
    prepared::Prepared,
    unavailable,
    walk::Walks,
};
use crate::{Body, Key, StoreError};

/// Directory of temporary files, below the root so that they can be linked into place.
pub(super) const TEMP_DIR: &str = ".tmp";
/// Directory of lock files.
pub(super) const LOCK_DIR: &str = ".lock";
/// Age from which a temporary file belongs to a crashed process: no upload takes so long.
const STALE: Duration = Duration::from_secs(3_600);
/// Above this many remembered directories the memory is cleared: each costs one fsync to learn again.
const DURABLE_DIRS_MAX: usize = 65_536;

/// How often a directory's files and subdirectories were synced to disk by this process, since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// Syncs of files.
    pub files: u64,
    /// Syncs of directories.
    pub directories: u64,
}

pub(super) struct Disk {
    root: PathBuf,
    next_temp: AtomicU64,
    durable_dirs: Mutex<HashSet<PathBuf>>,
    /// Bytes that are durable before they are written, see [`Prepared`].
    pub(super) prepared: Prepared,
    syncs: [AtomicU64; 2],
    /// Listings under way, see [`Walks`].
    pub(super) walks: Walks,
}

impl Disk {
    pub(super) fn open(root: PathBuf, mode: u32) -> Result<Self, StoreError> {
        let failed = |e: io::Error| definite("open", &root.display(), &e);
        make_root(&root, mode).map_err(failed)?;
        for dir in [TEMP_DIR, LOCK_DIR] {
            match fs_err::create_dir(root.join(dir)) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                // An area that may only be read needs neither.
                Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                }
                other => other.map_err(failed)?,
            }
        }
        let (next_temp, durable_dirs, prepared, syncs, walks) = Default::default();
        let disk = Self { root, next_temp, durable_dirs, prepared, syncs, walks };
        disk.tidy();
        Ok(disk)
    }

    /// Removes what crashed processes left long ago, if that is possible; the next start tries again.
    fn tidy(&self) {
        // What time it is to this file system, a new file tells; without one there is nothing to remove either.
        let Ok((file, _temp)) = self.create_temp() else { return };
        if let Ok(now) = file.metadata().and_then(|meta| meta.modified()) {
            drop(self.remove_stale_temps(now, STALE));
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a key lies. `None` for a key in the directories that the backend keeps for itself.
    pub(super) fn path(&self, key: &Key) -> Option<PathBuf> {
        let first = key.as_str().split('/').next();
        if first == Some(TEMP_DIR) || first == Some(LOCK_DIR) {
            None
        } else {
            Some(self.root.join(key.as_str()))
        }
    }

    /// Where a key may be written.
    pub(super) fn path_to_write(&self, key: &Key) -> io::Result<PathBuf> {
        let own = || io::Error::new(ErrorKind::PermissionDenied, "the directory is the backend's own");
        self.path(key).ok_or_else(own)
    }

    /// Writes a body to a new temporary file, durably but for its name.
    pub(super) fn write_temp(&self, body: &Body) -> io::Result<TempFile> {
        let (mut file, temp) = self.create_temp()?;
        match body {
            Body::Bytes(bytes) => file.write_all(bytes)?,
            Body::File { path, len } => {
                let source = fs_err::File::open(path)?;
                // Plain `std` files let the kernel copy, or share the blocks, on its own.
                let copied = io::copy(&mut source.file(), &mut file.file())?;
                if copied != *len {
                    let fact = format!("`{}` has {copied} bytes, not the announced {len}", path.display());
                    return Err(io::Error::new(ErrorKind::InvalidInput, fact));
                }
            }
        }
        file.sync_all()?;
        self.syncs[0].fetch_add(1, Ordering::Relaxed);
        Ok(temp)
    }

    /// How often files, and directories, were synced.
    pub(super) fn syncs(&self) -> Syncs {
        let [files, directories] = self.syncs.each_ref().map(|count| count.load(Ordering::Relaxed));
        Syncs { files, directories }
    }

    /// Makes the names in each directory durable, and returns those where that failed.
    pub(super) fn sync_dirs(&self, dirs: &BTreeSet<&Path>) -> HashMap<PathBuf, io::Error> {
        let dirs: Arc<[PathBuf]> = dirs.iter().map(|dir| dir.to_path_buf()).collect();
        self.syncs[1].fetch_add(dirs.len() as u64, Ordering::Relaxed);
        let synced = parallel::map(&dirs, |dir| fs_err::File::open(dir).and_then(|file| file.sync_all()));
        dirs.iter()
            .zip(synced)
            .filter_map(|(dir, outcome)| outcome.err().map(|error| (dir.clone(), error)))
            .collect()
    }

    fn create_temp(&self) -> io::Result<(fs_err::File, TempFile)> {
        loop {
            let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join(TEMP_DIR).join(format!("{:x}-{number:x}", std::process::id()));
            match fs_err::File::create_new(&path) {
                Ok(file) => return Ok((file, TempFile { path })),
                // A process with our number, in another container or before a restart, has this name: take the next.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Removes temporary files older than `age`, as [`super::FsArea::remove_stale_temps`] says.
    pub(super) fn remove_stale_temps(&self, now: SystemTime, age: Duration) -> Result<u64, StoreError> {
        let failed = |e: io::Error| unavailable("delete", TEMP_DIR, e.to_string());
        let mut removed = 0;
        for entry in fs_err::read_dir(self.root.join(TEMP_DIR)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Gone or unreadable: its owner is alive and at work.
            let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            if now.duration_since(modified).is_ok_and(|elapsed| elapsed > age) {
                fs_err::remove_file(entry.path()).map_err(failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Makes directories and all above them up to the root, durably. Returns those that failed, with the reason.
    ///
    /// A directory that another process made a moment ago may not be durable yet, so each one is synced into its
    /// parent once in the life of this process, whoever made it.
    pub(super) fn ensure_dirs(&self, dirs: &BTreeSet<&Path>) -> HashMap<PathBuf, io::Error> {
        let missing = self.not_known_durable(dirs);
        let mut failed: HashMap<PathBuf, io::Error> = HashMap::new();
        // Parents sort before their children.
        for dir in &missing {
            let made = match dir.parent().and_then(|parent| failed.get(parent)) {
                Some(above) => Err(again(above)),
                None => fs_err::create_dir(dir)
                    .or_else(|e| if e.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(e) }),
            };
            if let Err(error) = made {
                failed.insert(dir.clone(), error);
            }
        }
        let made: Vec<&PathBuf> = missing.iter().filter(|dir| !failed.contains_key(*dir)).collect();
        let parents: BTreeSet<&Path> = made.iter().filter_map(|dir| dir.parent()).collect();
        let unsynced = self.sync_dirs(&parents);
        let (mut durable, mut broken) = (Vec::new(), Vec::new());
        for dir in made {
            match dir.parent().and_then(|parent| unsynced.get(parent)) {
                Some(error) => broken.push((dir.clone(), again(error))),
                None => durable.push(dir.clone()),
            }
        }
        failed.extend(broken);
        self.known().extend(durable);
        failed
    }

    /// Forgets which directories are durable, because one turned out to be missing: someone removed it.
    pub(super) fn forget_dirs(&self) {
        self.known().clear();
    }

    fn not_known_durable(&self, dirs: &BTreeSet<&Path>) -> BTreeSet<PathBuf> {
        let mut known = self.known();
        if known.len() > DURABLE_DIRS_MAX {
            known.clear();
        }
        let mut missing = BTreeSet::new();
        for dir in dirs {
            let below_root = dir.ancestors().take_while(|above| *above != self.root);
            missing.extend(below_root.filter(|above| !known.contains(*above)).map(Path::to_path_buf));
        }
        missing
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // A set is whole after a panic elsewhere; at worst it lacks directories.
        self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A temporary file that is removed when dropped, unless it was moved into place.
pub(super) struct TempFile {
    path: PathBuf,
}

impl TempFile {
    /// Gives the file a final name too; fails if the name is taken.
    pub(super) fn link(&self, name: &Path) -> io::Result<()> {
        fs_err::hard_link(&self.path, name)
    }

    /// Moves the file to a final name, in place of what is there.
    pub(super) fn rename(&self, name: &Path) -> io::Result<()> {
        fs_err::rename(&self.path, name)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // A file that stays behind is found by `remove_stale_temps`; after a rename there is none.
        let _ = fs_err::remove_file(&self.path);
    }
}

/// Makes the root and the directories above it, durably; a root that exists keeps its mode.
fn make_root(root: &Path, mode: u32) -> io::Result<()> {
    if fs_err::metadata(root).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    let parent = match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent != Path::new(".") {
        make_root(parent, 0o777)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(root) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        other => other?,
    }
    fs_err::File::open(parent)?.sync_all()
}
