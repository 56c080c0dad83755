//! One area's directory: temporary files and names.
//!
//! Owns: how a file gets its bytes and its name. Does not own: when, and whether that is durable; nor the room that is
//! kept for some (see [`super::reserve`]).

use std::{
    collections::HashSet,
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::reserve::Reserve;
use crate::{Body, Key};

/// Directory of temporary files, below the root so that they can be moved into place.
pub(super) const TEMP_DIR: &str = ".tmp";
/// Above this many remembered directories the memory is cleared: each costs a system call to learn again.
const KNOWN_DIRS_MAX: usize = 65_536;

/// An area's directory, shared by all who write to it in this process.
pub(super) struct Folder {
    root: PathBuf,
    /// This process, as names of temporary files say it.
    process: u32,
    next_temp: AtomicU64,
    /// Directories that are there.
    known: Mutex<HashSet<PathBuf>>,
    reserve: Arc<Reserve>,
}

impl Folder {
    pub(super) fn new(root: PathBuf, reserve: Arc<Reserve>) -> Self {
        let (next_temp, known) = Default::default();
        Self { root, process: std::process::id(), next_temp, known, reserve }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a key lies.
    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Writes a body to a new temporary file. On a full disk the reserve is used up, but not by files: no upload is so
    /// important.
    pub(super) fn write_temp(&self, body: &Body) -> io::Result<TempFile> {
        match body {
            Body::Bytes(_) => self.reserve.used_by(|| self.try_write_temp(body)),
            Body::File { .. } => self.try_write_temp(body),
        }
    }

    fn try_write_temp(&self, body: &Body) -> io::Result<TempFile> {
        let (mut file, temp) = self.create_temp()?;
        match body {
            Body::Bytes(bytes) => file.write_all(bytes)?,
            Body::File { path, len } => {
                let source = fs_err::File::open(path)?;
                // Plain `std` files let the kernel copy, or share the blocks, on its own.
                let copied = io::copy(&mut source.file(), &mut file.file())?;
                check_length(path, copied, *len)?;
            }
        }
        Ok(temp)
    }

    pub(super) fn create_temp(&self) -> io::Result<(fs_err::File, TempFile)> {
        loop {
            let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join(TEMP_DIR).join(format!("{:x}-{number:x}", self.process));
            match fs_err::File::create_new(&path) {
                Ok(file) => return Ok((file, TempFile { path, is_moved: false })),
                // A process with our number, in another container or before a restart, has this name: take the next.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes the directory that a file will lie in.
    pub(super) fn ensure_parent(&self, path: &Path) -> io::Result<()> {
        let Some(dir) = path.parent() else { return Ok(()) };
        if self.known().contains(dir) {
            return Ok(());
        }
        self.reserve.used_by(|| fs_err::create_dir_all(dir)).map_err(|e| match e.kind() {
            // A file has the name: the same as a file further up.
            ErrorKind::AlreadyExists => io::Error::new(ErrorKind::NotADirectory, e.to_string()),
            _ => e,
        })?;
        let mut known = self.known();
        if known.len() > KNOWN_DIRS_MAX {
            known.clear();
        }
        known.insert(dir.to_path_buf());
        Ok(())
    }

    /// Gives bytes their final name, in place of what is there: those of the temporary file, or anew if it is gone.
    pub(super) fn name(&self, temp: Option<TempFile>, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        if let Some(temp) = temp {
            match temp.rename(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => return other,
            }
        }
        // Somebody removed the directory, or the temporary file.
        self.known().clear();
        self.ensure_parent(&path)?;
        self.write_temp(&Body::Bytes(bytes.to_vec().into()))?.rename(&path)
    }

    /// A new temporary file of so many zeros.
    pub(super) fn zeros(&self, bytes: u64) -> io::Result<TempFile> {
        let (mut file, temp) = self.create_temp()?;
        io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
        Ok(temp)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // A set is whole after a panic elsewhere; at worst it lacks directories.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a body's file had the length that was announced.
pub(super) fn check_length(path: &Path, found: u64, announced: u64) -> io::Result<()> {
    if found == announced {
        return Ok(());
    }
    let fact = format!("`{}` has {found} bytes, not the announced {announced}", path.display());
    Err(io::Error::new(ErrorKind::InvalidInput, fact))
}

/// A temporary file that is removed when dropped, unless it was moved into place.
pub(super) struct TempFile {
    path: PathBuf,
    is_moved: bool,
}

impl TempFile {
    /// Makes its bytes durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        fs_err::File::open(&self.path)?.sync_all()
    }

    /// Moves the file to a final name, in place of what is there.
    pub(super) fn rename(mut self, name: &Path) -> io::Result<()> {
        fs_err::rename(&self.path, name)?;
        self.is_moved = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.is_moved {
            // A file that stays behind is found by `remove_stale_temps`.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}

/// Makes a directory and those above it, durably; one that exists keeps its mode.
pub(super) fn make_durable_dir(dir: &Path, mode: u32) -> io::Result<()> {
    if fs_err::metadata(dir).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent != Path::new(".") {
        make_durable_dir(parent, 0o777)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        other => other?,
    }
    fs_err::File::open(parent)?.sync_all()
}
