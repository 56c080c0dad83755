//! The door to the disk for everything that must survive being cut off at any moment.
//!
//! Owns the primitive steps that change something: each is one call, so that a test can let any of them fail, or be the
//! last one that a process makes. Does not own their order, which is where safety comes from. Reading goes past it.

use std::{fmt, io, io::Write as _, path::Path};

/// How a file comes to be in a project without being written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLink {
    /// Another name for the same file.
    Hard,
    /// Another file that shares its blocks until one of them is written.
    Reflink,
    /// Another file.
    Copy,
}

/// Steps that change a file system.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it; it may be there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a new file that only its owner's programs read; fails if there is one. `read_only` is for files that
    /// several projects share.
    fn create(&self, path: &Path, executable: bool, read_only: bool) -> io::Result<fs_err::File>;

    /// Writes to a file that [`Disk::create`] made.
    fn write(&self, file: &mut fs_err::File, bytes: &[u8]) -> io::Result<()>;

    /// Replaces a file whole: readers see the old bytes or the new ones.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Renames a file, directory or link; takes the place of a file or link, not of a directory that holds something.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes a link at `link` that leads to a directory.
    fn link_dir(&self, target: &Path, link: &Path) -> io::Result<()>;

    /// Makes a file at `to` with the content of `from`.
    fn link_file(&self, how: FileLink, from: &Path, to: &Path, executable: bool) -> io::Result<()>;

    /// Removes a directory with everything in it, or a link to one; it may be absent.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes a file; it may be absent.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
}

/// The disk itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs_err::create_dir_all(path)
    }

    fn create(&self, path: &Path, executable: bool, read_only: bool) -> io::Result<fs_err::File> {
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use fs_err::os::unix::fs::OpenOptionsExt as _;
            options.mode(mode(executable, read_only));
        }
        #[cfg(not(unix))]
        let _ = (executable, read_only);
        options.open(path)
    }

    fn write(&self, file: &mut fs_err::File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        crate::cache::write_atomically(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs_err::rename(from, to)
    }

    fn link_dir(&self, target: &Path, link: &Path) -> io::Result<()> {
        #[cfg(unix)]
        return fs_err::os::unix::fs::symlink(target, link);
        #[cfg(not(unix))]
        {
            let _ = (target, link);
            Err(io::Error::from(io::ErrorKind::Unsupported))
        }
    }

    fn link_file(&self, how: FileLink, from: &Path, to: &Path, executable: bool) -> io::Result<()> {
        match how {
            FileLink::Hard => return fs_err::hard_link(from, to),
            FileLink::Reflink => reflink_copy::reflink(from, to)?,
            FileLink::Copy => {
                fs_err::copy(from, to)?;
            }
        }
        // It is the project's own file now, which may be edited.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = if executable { 0o755 } else { 0o644 };
            fs_err::set_permissions(to, std::fs::Permissions::from_mode(mode))?;
        }
        #[cfg(not(unix))]
        let _ = executable;
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        absent_is_fine(fs_err::remove_dir_all(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        absent_is_fine(fs_err::remove_file(path))
    }
}

#[cfg(unix)]
const fn mode(executable: bool, read_only: bool) -> u32 {
    match (executable, read_only) {
        (true, true) => 0o555,
        (false, true) => 0o444,
        (true, false) => 0o755,
        (false, false) => 0o644,
    }
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
