//! Unpacked packages, one directory for each archive, shared by all projects of a user.
//!
//! Owns the directory `store/`: `<sha256>/files/...` with a marker `<sha256>/entry.json`, `locks/` and `tmp/`.
//! Does not own downloading, nor what of it a project uses.
//! Invariant: a directory `<sha256>` is the whole of an archive with that digest which was read strictly to its end, or
//! is found to be damaged by its marker; what is being unpacked lies under `tmp/` until then.

use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use drystone_archive::{Layout, ReadError, read_archive_as};
use drystone_schemas::{Limits, Problem, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::{ClientError, VerificationError};

/// The store of one user.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// One unpacked archive.
#[derive(Debug, Clone)]
pub struct StoreEntry {
    files_dir: PathBuf,
    marker: Marker,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    v: u32,
    digest: Sha256Digest,
    root: String,
    files: Vec<StoredFile>,
}

/// One file of an unpacked archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    pub(crate) path: String,
    pub(crate) len: u64,
    pub(crate) executable: bool,
}

const MARKER: &str = "entry.json";
const FILES: &str = "files";

impl Store {
    /// The store at a directory, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where downloads go before they are unpacked: on the same file system.
    pub(crate) fn temp_dir(&self) -> Result<PathBuf, ClientError> {
        let dir = self.dir.join("tmp");
        fs_err::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The unpacked archive with a digest; `None` if it is not there, or not whole.
    ///
    /// Existence and length of every file are checked, not their bytes: those were hashed when they came.
    pub fn get(&self, digest: &Sha256Digest) -> Option<StoreEntry> {
        let dir = self.dir.join(digest.hex());
        let marker: Marker = serde_json::from_slice(&fs_err::read(dir.join(MARKER)).ok()?).ok()?;
        let files_dir = dir.join(FILES);
        let whole = |file: &StoredFile| {
            fs_err::symlink_metadata(files_dir.join(&file.path))
                .is_ok_and(|m| m.is_file() && m.len() == file.len)
        };
        (marker.digest == *digest && marker.files.iter().all(whole))
            .then_some(StoreEntry { files_dir, marker })
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
        let locks = self.dir.join("locks");
        fs_err::create_dir_all(&locks)?;
        let lock = fs_err::File::create(locks.join(digest.hex()))?;
        lock.lock()?;
        if let Some(entry) = self.get(digest) {
            entry.check_root(root)?;
            return Ok(entry);
        }
        let place = self.dir.join(digest.hex());
        let temp = self.temp_dir()?.join(digest.hex());
        // Left over from a run that was killed: only who holds the lock may be here.
        remove_dir_if_there(&temp)?;
        remove_dir_if_there(&place)?;
        let unpacked = unpack_into(&temp, digest, root, archive, limits);
        if let Err(error) = unpacked {
            remove_dir_if_there(&temp)?;
            return Err(error);
        }
        fs_err::rename(&temp, &place)?;
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

    pub(crate) fn files(&self) -> impl Iterator<Item = (&StoredFile, PathBuf)> {
        self.marker.files.iter().map(|file| (file, self.files_dir.join(&file.path)))
    }
}

fn unpack_into(
    temp: &Path,
    digest: &Sha256Digest,
    root: &str,
    archive: impl Read,
    limits: &Limits,
) -> Result<(), ClientError> {
    let files_dir = temp.join(FILES);
    fs_err::create_dir_all(&files_dir)?;
    let mut files = Vec::new();
    read_archive_as(BufReader::new(archive), limits, Layout::Flat, &mut |entry, content| {
        let path = files_dir.join(entry.path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(&path)?;
        io::copy(content, &mut file)?;
        set_read_only(&path, entry.executable)?;
        files.push(StoredFile { path: entry.path.into(), len: entry.size, executable: entry.executable });
        Ok::<(), io::Error>(())
    })
    .map_err(archive_error)?;
    let found = root_of(&files);
    check_root(digest, &found, root)?;
    if !found.is_empty() {
        // Everything lies in one directory, whose content moves up.
        let inside = temp.join("root");
        fs_err::rename(files_dir.join(&found), &inside)?;
        fs_err::remove_dir(&files_dir)?;
        fs_err::rename(&inside, &files_dir)?;
        files.iter_mut().for_each(|file| drop(file.path.drain(..=found.len())));
    }
    let marker = Marker { v: 1, digest: *digest, root: found, files };
    let bytes = serde_json::to_vec(&marker).map_err(|e| ClientError::Internal(e.to_string()))?;
    Ok(fs_err::write(temp.join(MARKER), bytes)?)
}

/// The directory that all files lie in; empty if some lie at the top, or in several.
fn root_of(files: &[StoredFile]) -> String {
    let top = |file: &StoredFile| file.path.split_once('/').map(|(top, _)| top.to_owned());
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

/// What reading an archive failed with, as this library tells it.
pub(crate) fn archive_error(error: ReadError<io::Error>) -> ClientError {
    match error {
        ReadError::Refused(refusals) => ClientError::Problems(
            refusals.iter().map(drystone_archive::ArchiveError::problem).collect::<Vec<Problem>>(),
        ),
        ReadError::Io(error) | ReadError::Visit(error) => ClientError::Io(error),
    }
}

/// Files of the store are linked into projects: writing to one would change all.
fn set_read_only(path: &Path, executable: bool) -> io::Result<()> {
    let mut permissions = fs_err::metadata(path)?.permissions();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        permissions.set_mode(if executable { 0o555 } else { 0o444 });
    }
    #[cfg(not(unix))]
    {
        let _ = executable;
        permissions.set_readonly(true);
    }
    fs_err::set_permissions(path, permissions)
}

pub(crate) fn remove_dir_if_there(dir: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
