//! Repacking: the same files of a Zig package in the one layout that every version of Zig and Zion reads.
//!
//! Owns: when an archive may be repacked, and doing it in bounded memory. Does not own: where bytes lie meanwhile.
//! Invariant: the files, their contents and so the package hash stay as they were; whatever else an archive is refused
//! for, it is refused for here as well.

use std::{
    cell::RefCell,
    io::{self, Read, Seek, SeekFrom, Write},
};

use drystone_schemas::{Code, Format, Limits, Problem, PublishMetadata};

use crate::{
    PackError, PackFile, ReadError,
    contents::{Contents, read_problems},
    manifest::ZIG_MANIFEST,
    pack,
    read::{Layout, read_archive_as},
};

/// Why nothing was repacked.
#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    /// The archive is refused, before anything shows that it is a Zig package.
    #[error("the archive is refused: {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Unreadable(Vec<Problem>),
    /// There is no `build.zig.zon` in its root.
    #[error("there is no `{ZIG_MANIFEST}` in the archive's root directory")]
    NotZig,
    /// It is a Zig package, and refused.
    #[error("the package is refused: {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Refused(Vec<Problem>),
    /// The scratch file or the target cannot be written or read.
    #[error("the archive cannot be repacked")]
    Io(#[source] io::Error),
}

/// Whether an archive that was refused for these problems should be repacked and looked at again: nothing is wrong with
/// it but where its files lie, and it may be a Zig package. Other formats have tools that pack well.
pub fn can_be_repacked(problems: &[Problem], expected: &PublishMetadata, allowed: &[Format]) -> bool {
    let asked = expected.format.as_deref().is_none_or(|format| format == Format::Zig.as_str());
    asked && allowed.contains(&Format::Zig) && problems.iter().all(|problem| problem.code == Code::WrongRoot)
}

/// Leaves out where the files of a Zig package lie, if that is not all that is wrong with it: it alone would not be.
pub fn leave_out_layout(problems: &mut Vec<Problem>, expected: &PublishMetadata) {
    let is_layout = |problem: &Problem| problem.code == Code::WrongRoot;
    if expected.format.as_deref() == Some(Format::Zig.as_str()) && !problems.iter().all(is_layout) {
        problems.retain(|problem| !is_layout(problem));
    }
}

/// Writes the files of a Zig package's archive anew, in canonical form below `name-version/`, and gives `out` back.
///
/// The archive is read once, as a stream; its contents lie in `scratch` meanwhile.
///
/// # Errors
///
/// All but [`RepackError::Io`] if the archive is bad in any other way, or has no `build.zig.zon` in its root.
pub fn repack_zig<R: Read, S: Read + Write + Seek, W: Write>(
    source: R,
    limits: &Limits,
    mut scratch: S,
    out: W,
) -> Result<W, RepackError> {
    let mut contents = Contents::default();
    let mut files: Vec<Stored> = Vec::new();
    let mut at = 0_u64;
    let mut buffer = vec![0; 64 << 10];
    let read = read_archive_as(source, limits, Layout::Flat, &mut |entry, body| {
        let mut kept = contents.begin(entry, limits).then(Vec::new);
        loop {
            let len = body.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            scratch.write_all(&buffer[..len])?;
            kept.iter_mut().for_each(|kept: &mut Vec<u8>| kept.extend_from_slice(&buffer[..len]));
        }
        contents.end(entry, kept);
        files.push(Stored { path: entry.path.into(), executable: entry.executable, at, size: entry.size });
        at += entry.size;
        Ok(())
    });
    let facts = read.map_err(|error| match error {
        ReadError::Io(error) | ReadError::Visit(error) => RepackError::Io(error),
        refused @ ReadError::Refused(_) => RepackError::Unreadable(read_problems(refused)),
    })?;
    let manifest = contents.manifest(&facts, limits).map_err(RepackError::Refused)?;
    let manifest = manifest.ok_or(RepackError::NotZig)?;
    let root = format!("{}-{}", manifest.name, manifest.version);
    let skip = if facts.top.is_empty() { 0 } else { facts.top.len() + 1 };
    let scratch = RefCell::new(scratch);
    let to_pack = files.into_iter().map(|file| {
        let scratch = &scratch;
        PackFile::lazy(&file.path[skip..], file.executable, file.size, move || {
            Ok(Box::new(Slice { scratch, at: file.at, left: file.size }) as Box<dyn Read>)
        })
    });
    pack(out, &root, to_pack, limits).map_err(|error| match error {
        PackError::Refused(refusals) => {
            RepackError::Refused(refusals.iter().map(|refusal| refusal.problem()).collect())
        }
        PackError::File { source, .. } | PackError::Io(source) => RepackError::Io(source),
        PackError::Changed { .. } => RepackError::Io(io::Error::other("the scratch file was changed")),
    })
}

/// A file whose content lies in the scratch file.
struct Stored {
    path: String,
    executable: bool,
    at: u64,
    size: u64,
}

/// A part of the scratch file. Parts are read one after the other.
struct Slice<'a, S> {
    scratch: &'a RefCell<S>,
    at: u64,
    left: u64,
}

impl<S: Read + Seek> Read for Slice<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if len == 0 {
            return Ok(0);
        }
        let mut scratch = self.scratch.borrow_mut();
        scratch.seek(SeekFrom::Start(self.at))?;
        let read = scratch.read(&mut out[..len])?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
