//! Unpacked packages, one directory for each archive, shared by all projects of a user.
//!
//! Owns the directory `store/`: `<sha256>/files/...` with a marker `<sha256>/entry.json`, `locks/`, `projects/` and
//! `tmp/`. Does not own downloading, nor what of it a project uses.
//! Invariant: a directory `<sha256>` is the whole of an archive with that digest which was read strictly to its end, or
//! is found to be damaged by its marker; what is being unpacked lies under `tmp/` until then. Locks are the kernel's, so
//! that they end with the process that holds them.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use drystone_schemas::{Limits, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::{
    ClientError, VerificationError,
    disk::{Disk, RealDisk},
    unpack::{Rules, UnpackedFile, unpack},
};

mod collect;

pub use collect::{Collected, Damage, Listed};

/// The store of one user.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

/// One unpacked archive.
#[derive(Debug, Clone)]
pub struct StoreEntry {
    files_dir: PathBuf,
    marker: Marker,
}

/// Keeps the garbage collector away while packages are looked up, unpacked and linked.
#[derive(Debug)]
pub struct StoreInUse(#[expect(dead_code, reason = "the lock ends with the file")] fs_err::File);

/// Keeps others from unpacking the same archive.
#[derive(Debug)]
pub(crate) struct EntryLock(#[expect(dead_code, reason = "the lock ends with the file")] fs_err::File);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    v: u32,
    digest: Sha256Digest,
    root: String,
    files: Vec<UnpackedFile>,
}

/// Version of the marker: 1 had neither digests nor times, so that an entry of it counts as absent.
const MARKER_VERSION: u32 = 2;
const MARKER: &str = "entry.json";
const FILES: &str = "files";
const TEMP: &str = "tmp";
const LOCKS: &str = "locks";
const IN_USE: &str = "in-use.lock";

impl Store {
    /// The store at a directory, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::on(dir, Arc::new(RealDisk))
    }

    /// The store at a directory of this disk.
    pub fn on(dir: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self { dir: dir.into(), disk }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The disk that it lies on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Says that the store is in use, as any number of processes may do at once. Blocks while it is being collected.
    pub fn in_use(&self) -> Result<StoreInUse, ClientError> {
        let file = self.lock_file(IN_USE)?;
        file.lock_shared()?;
        Ok(StoreInUse(file))
    }

    /// Where a download goes that is too long for memory: on the same file system.
    pub(crate) fn temp_dir(&self) -> Result<PathBuf, ClientError> {
        let dir = self.dir.join(TEMP);
        self.disk.create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The unpacked archive with a digest; `None` if it is not there, or not as it was unpacked.
    ///
    /// Existence, length and time of every file are checked, not their bytes: those were hashed when they came, and
    /// [`Store::verify`] hashes them again.
    pub fn get(&self, digest: &Sha256Digest) -> Option<StoreEntry> {
        let entry = self.entry(digest)?;
        entry.damage().is_none().then_some(entry)
    }

    /// Whether there is something under a digest that [`Store::get`] does not give out.
    pub(crate) fn is_damaged(&self, digest: &Sha256Digest) -> bool {
        self.place(digest).exists() && self.get(digest).is_none()
    }

    /// An entry whose marker can be read; its files have not been looked at.
    fn entry(&self, digest: &Sha256Digest) -> Option<StoreEntry> {
        let dir = self.place(digest);
        let marker: Marker = serde_json::from_slice(&fs_err::read(dir.join(MARKER)).ok()?).ok()?;
        let known = marker.v == MARKER_VERSION && marker.digest == *digest;
        known.then(|| StoreEntry { files_dir: dir.join(FILES), marker })
    }

    fn place(&self, digest: &Sha256Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Waits until nobody else unpacks this archive. Blocks.
    pub(crate) fn lock(&self, digest: &Sha256Digest) -> Result<EntryLock, ClientError> {
        let file = self.lock_file(&digest.hex())?;
        file.lock()?;
        Ok(EntryLock(file))
    }

    fn lock_file(&self, name: &str) -> Result<fs_err::File, ClientError> {
        let locks = self.dir.join(LOCKS);
        self.disk.create_dir_all(&locks)?;
        Ok(fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(locks.join(name))?)
    }

    /// Unpacks an archive whose SHA-256 has been checked. Blocks; safe against other processes doing the same.
    ///
    /// `root` is the directory that everything in the archive must lie in, so that an archive cannot be passed off as
    /// that of another package; or the archive is flat, as those of some languages are, and has files at the top.
    pub fn unpack(
        &self,
        digest: &Sha256Digest,
        root: &str,
        archive: impl Read,
        limits: &Limits,
    ) -> Result<StoreEntry, ClientError> {
        let lock = self.lock(digest)?;
        self.unpack_locked(&lock, digest, root, archive, limits)
    }

    /// The same for who holds the lock already.
    pub(crate) fn unpack_locked(
        &self,
        _lock: &EntryLock,
        digest: &Sha256Digest,
        root: &str,
        archive: impl Read,
        limits: &Limits,
    ) -> Result<StoreEntry, ClientError> {
        if let Some(entry) = self.get(digest) {
            entry.check_root(root)?;
            return Ok(entry);
        }
        let (place, disk) = (self.place(digest), &*self.disk);
        let temp = self.temp_dir()?.join(digest.hex());
        // Left over from a run that was killed: only who holds the lock may be here.
        disk.remove_dir_all(&temp)?;
        if let Err(error) = unpack_into(disk, &temp, digest, root, archive, limits) {
            // What cannot be removed now, because the disk fails, is removed by who comes next.
            let _ = disk.remove_dir_all(&temp);
            return Err(error);
        }
        if place.exists() {
            // Damaged. It goes away in one step, and projects that link to it find the new one in the next.
            let old = self.temp_dir()?.join(format!("{}.old", digest.hex()));
            disk.remove_dir_all(&old)?;
            disk.rename(&place, &old)?;
            disk.rename(&temp, &place)?;
            disk.remove_dir_all(&old)?;
        } else {
            disk.rename(&temp, &place)?;
        }
        self.get(digest)
            .ok_or_else(|| ClientError::Internal(format!("{digest} was unpacked, but is not whole")))
    }
}

impl StoreEntry {
    /// Fails with [`VerificationError::Contradiction`] if the archive had another root directory: then it is that of
    /// another release.
    pub(crate) fn check_root(&self, root: &str) -> Result<(), ClientError> {
        check_root(&self.marker.digest, &self.marker.root, root)
    }

    /// The directory that holds the files.
    pub fn files_dir(&self) -> &Path {
        &self.files_dir
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&UnpackedFile, PathBuf)> {
        self.marker.files.iter().map(|file| (file, self.files_dir.join(&file.path)))
    }

    /// What is not as it was unpacked, as far as that can be seen without reading: the first such file.
    fn damage(&self) -> Option<&str> {
        let look = Look::into(&self.files_dir);
        let is_whole = |file: &UnpackedFile| look.at(&file.path) == Some((file.len, file.modified_ns));
        self.marker.files.iter().find(|file| !is_whole(file)).map(|file| &*file.path)
    }
}

/// Looks at the files of one directory: a project of a thousand packages has tens of thousands of them, and the way from the
/// root to each is the longer part of the work.
struct Look<'a> {
    #[cfg(unix)]
    dir: Option<rustix::fd::OwnedFd>,
    #[cfg_attr(unix, expect(dead_code, reason = "what is open has no need of its name"))]
    path: &'a Path,
}

impl<'a> Look<'a> {
    fn into(path: &'a Path) -> Self {
        Self {
            #[cfg(unix)]
            dir: {
                use rustix::fs::{Mode, OFlags, open};
                open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
            },
            path,
        }
    }

    /// Length, and time of the last change in nanoseconds since 1970, of what is a file and no link.
    #[cfg(unix)]
    fn at(&self, name: &str) -> Option<(u64, u64)> {
        use rustix::fs::{AtFlags, FileType, statat};
        let found = statat(self.dir.as_ref()?, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        let modified_ns = i128::from(found.st_mtime) * 1_000_000_000 + i128::from(found.st_mtime_nsec);
        let modified_ns = u64::try_from(modified_ns).ok()?;
        is_file.then_some((u64::try_from(found.st_size).ok()?, modified_ns))
    }

    /// The same.
    #[cfg(not(unix))]
    fn at(&self, name: &str) -> Option<(u64, u64)> {
        let found = fs_err::symlink_metadata(self.path.join(name)).ok().filter(|found| found.is_file())?;
        Some((found.len(), crate::unpack::modified_ns(&found).ok()?))
    }
}

fn unpack_into(
    disk: &dyn Disk,
    temp: &Path,
    digest: &Sha256Digest,
    root: &str,
    archive: impl Read,
    limits: &Limits,
) -> Result<(), ClientError> {
    let files_dir = temp.join(FILES);
    disk.create_dir_all(&files_dir)?;
    // Files of the store are linked into projects: writing to one would change all.
    let rules = Rules { read_only: true, archive_times: false, hash: true, except: None };
    let mut files = unpack(disk, archive, limits, &files_dir, rules)?;
    let found = root_of(&files);
    check_root(digest, &found, root)?;
    if !found.is_empty() {
        // Everything lies in one directory, whose content moves up.
        let inside = temp.join("root");
        disk.rename(&files_dir.join(&found), &inside)?;
        disk.remove_dir_all(&files_dir)?;
        disk.rename(&inside, &files_dir)?;
        files.iter_mut().for_each(|file| drop(file.path.drain(..=found.len())));
    }
    let marker = Marker { v: MARKER_VERSION, digest: *digest, root: found, files };
    let bytes = serde_json::to_vec(&marker).map_err(|e| ClientError::Internal(e.to_string()))?;
    let mut file = disk.create(&temp.join(MARKER), false, false)?;
    Ok(disk.write(&mut file, &bytes)?)
}

/// The directory that all files lie in; empty if some lie at the top, or in several.
fn root_of(files: &[UnpackedFile]) -> String {
    let top = |file: &UnpackedFile| file.path.split_once('/').map(|(top, _)| top.to_owned());
    let first = files.first().and_then(top).unwrap_or_default();
    if files.iter().all(|file| top(file).as_deref() == Some(&*first)) { first } else { String::new() }
}

fn check_root(digest: &Sha256Digest, found: &str, wanted: &str) -> Result<(), ClientError> {
    if found == wanted || found.is_empty() {
        return Ok(());
    }
    Err(VerificationError::Contradiction(format!("the archive {digest} holds `{found}`, not `{wanted}`"))
        .into())
}

/// Makes an error of the disk say which entry it was about.
fn about(digest: &Sha256Digest, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the store entry {digest}: {error}"))
}
