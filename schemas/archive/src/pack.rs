//! The canonical archive: one byte string for a set of files, on every machine.
//!
//! gzip without flags, name and time; ustar headers with owner 0, time 0 and mode 0644 or 0755; files only, in the byte
//! order of their paths; a pax header with nothing but the path where that does not fit; two zero blocks.
//! Owns: that form. Does not own: which files, and where they come from.

use std::io::{self, Read, Write};

use drystone_schemas::Limits;
use flate2::{Compression, Crc, write::DeflateEncoder};

use crate::{
    error::{ArchiveError, REFUSALS_MAX},
    gzip::CANONICAL_HEADER,
    header::{BLOCK, canonical},
    path::check,
    paths::{PathKind, PathSet},
};

/// Opens the content of a file, when its turn has come.
type Open<'a> = Box<dyn FnOnce() -> io::Result<Box<dyn Read + 'a>> + 'a>;

/// A file to be packed.
pub struct PackFile<'a> {
    path: String,
    executable: bool,
    size: u64,
    open: Open<'a>,
}

impl<'a> PackFile<'a> {
    /// A file of `size` bytes, opened only when it is written; `path` is relative to the root directory.
    pub fn lazy(
        path: impl Into<String>,
        executable: bool,
        size: u64,
        open: impl FnOnce() -> io::Result<Box<dyn Read + 'a>> + 'a,
    ) -> Self {
        Self { path: path.into(), executable, size, open: Box::new(open) }
    }

    /// A file whose content is in memory.
    pub fn bytes(path: impl Into<String>, executable: bool, content: &'a [u8]) -> Self {
        Self::lazy(path, executable, content.len() as u64, move || Ok(Box::new(content)))
    }
}

/// Why nothing usable was packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive would be refused: at least one reason, at most 20.
    #[error("the archive would be refused: {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Refused(Vec<ArchiveError>),
    /// A file cannot be read.
    #[error("`{path}` cannot be read")]
    File {
        /// Path of the file below the root directory.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file has another length than was said.
    #[error("`{path}` changed while it was packed")]
    Changed {
        /// Path of the file below the root directory.
        path: String,
    },
    /// The archive cannot be written.
    #[error("the archive cannot be written")]
    Io(#[source] io::Error),
}

/// Packs files under `root/`, or at the top if `root` is empty, and gives the writer back.
///
/// The order of `files` does not matter. [`read_archive`](crate::read_archive) with the same limits accepts what
/// comes out, unless it has more compressed bytes than they allow; and finds it canonical.
///
/// # Errors
///
/// [`PackError::Refused`] before anything is written, if paths, their number or the sizes break the limits or rules.
/// After any other error what was written is of no use.
pub fn pack<'a, W: Write>(
    out: W,
    root: &str,
    files: impl IntoIterator<Item = PackFile<'a>>,
    limits: &Limits,
) -> Result<W, PackError> {
    let mut files: Vec<_> = files.into_iter().collect();
    // The root directory is the same for all, so that this is the byte order of whole paths.
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let refusals = refusals(root, &files, limits);
    if !refusals.is_empty() {
        return Err(PackError::Refused(refusals));
    }
    let mut gzip = Gzip::new(out).map_err(PackError::Io)?;
    for file in files {
        let full = below(root, &file.path);
        let too_big =
            || ArchiveError::UnpackedTooBig { limit: limits.unpacked_bytes_max, path: full.clone() };
        let header = canonical(&full, file.size, file.executable)
            .ok_or_else(|| PackError::Refused(vec![too_big()]))?;
        gzip.write_all(&header).map_err(PackError::Io)?;
        content(&mut gzip, file)?;
    }
    gzip.write_all(&[0; 2 * BLOCK]).and_then(|()| gzip.finish()).map_err(PackError::Io)
}

fn below(root: &str, path: &str) -> String {
    if root.is_empty() { path.to_owned() } else { format!("{root}/{path}") }
}

fn refusals(root: &str, files: &[PackFile<'_>], limits: &Limits) -> Vec<ArchiveError> {
    let mut refusals = Vec::new();
    let mut paths = PathSet::default();
    if root.contains('/') {
        refusals.push(ArchiveError::UnsafePath { path: root.into(), why: "is not one directory" });
    }
    if files.is_empty() {
        refusals.push(ArchiveError::Empty);
    }
    if files.len() as u64 > limits.files_max {
        refusals.push(ArchiveError::TooManyFiles { limit: limits.files_max });
    }
    let mut unpacked = 0_u64;
    for file in files {
        let full = below(root, &file.path);
        let checked = check(&full, limits).and_then(|()| {
            paths.insert(&full, PathKind::File).map_err(|clash| ArchiveError::DuplicatePath {
                path: full.clone(),
                other: clash.other,
                how: clash.how,
            })
        });
        refusals.extend(checked.err());
        unpacked = unpacked.saturating_add(file.size);
        if unpacked > limits.unpacked_bytes_max {
            refusals.push(ArchiveError::UnpackedTooBig { limit: limits.unpacked_bytes_max, path: full });
            break;
        }
        if refusals.len() >= REFUSALS_MAX {
            break;
        }
    }
    refusals
}

fn content<W: Write>(gzip: &mut Gzip<W>, file: PackFile<'_>) -> Result<(), PackError> {
    let PackFile { path, size, open, .. } = file;
    let unreadable = |source| PackError::File { path: path.clone(), source };
    let mut content = open().map_err(unreadable)?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = size;
    loop {
        let read = match content.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(unreadable)?,
        };
        if read as u64 > left || (read == 0 && left > 0) {
            return Err(PackError::Changed { path });
        }
        if read == 0 {
            break;
        }
        gzip.write_all(&buffer[..read]).map_err(PackError::Io)?;
        left -= read as u64;
    }
    let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).expect("less than a block");
    gzip.write_all(&[0; BLOCK][..padding]).map_err(PackError::Io)
}

/// A gzip member with the canonical header.
struct Gzip<W: Write> {
    deflate: DeflateEncoder<W>,
    crc: Crc,
}

impl<W: Write> Gzip<W> {
    fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&CANONICAL_HEADER)?;
        // Packed once, downloaded often. The level is part of the form: another one would change all bytes.
        Ok(Self { deflate: DeflateEncoder::new(out, Compression::new(9)), crc: Crc::new() })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.deflate.write_all(bytes)
    }

    fn finish(self) -> io::Result<W> {
        let mut out = self.deflate.finish()?;
        out.write_all(&self.crc.sum().to_le_bytes())?;
        out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(out)
    }
}
