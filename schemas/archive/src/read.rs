//! The strict streaming reader: an archive has one reading or is refused.
//!
//! Owns: the order of entries and extended headers, the end of the archive, and the limits. Does not own: the layers
//! ([`crate::gzip`], [`crate::header`], [`crate::pax`], [`crate::path`]), and what the files say.
//! Invariant: what was visited is the whole archive, and any parser sees the same, if and only if facts come back.

use std::io::Read;

use drystone_schemas::Limits;

use crate::{
    body::Body,
    error::{ArchiveError, Fault, REFUSALS_MAX, ReadError, shown},
    gzip::Gunzip,
    header::{self, BLOCK, BadHeader, Block, Header, Kind, canonical},
    path::check,
    paths::{PathKind, PathSet},
    pax::{self, Extension},
};

/// Most zero bytes at the end, in blocks: GNU tar fills its last record of 20 blocks, after two blocks of its own.
const END_BLOCKS_MAX: u64 = 22;
/// Longest extended header beyond the path in it: times, owners and their names.
const EXTENSION_BYTES: u64 = 1024;
const MODE_SPECIAL: u64 = 0o7000;
const MODE_TYPE: u64 = 0o170_000;
const MODE_EXECUTE: u64 = 0o111;

/// A regular file of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The archive's root directory, without slash; empty in a flat archive.
    pub root: &'a str,
    /// Path below the root directory; relative, portable, NFC.
    pub path: &'a str,
    /// Length in bytes.
    pub size: u64,
    /// Whether anybody may execute it.
    pub executable: bool,
    /// When it was written, in seconds since 1970, by its packer's account.
    pub modified: u64,
}

/// What a whole archive came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFacts {
    /// The one root directory, without slash; empty for a flat archive.
    pub root: String,
    /// The first directory of every entry, directories among them; empty if they do not share it. Of an archive in one
    /// root directory it is that.
    pub top: String,
    /// Number of regular files.
    pub files: u64,
    /// Sum of their lengths, in bytes.
    pub unpacked: u64,
    /// Length of the compressed archive in bytes.
    pub size: u64,
    /// Whether the tar stream and the gzip header are those that [`pack`](crate::pack) writes for these files.
    pub canonical: bool,
}

/// Where the files of an archive lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In one root directory.
    OneRoot,
    /// At the top, as some languages' own tools pack them.
    Flat,
}

/// Reads a tar.gz archive to its end, strictly, and shows every regular file to `visit` with its content.
///
/// The content need not be read; the rest is skipped. **Nothing that was visited counts before the facts come back**:
/// the reason for a refusal may lie in the archive's last byte. Entries with a bad path are not shown.
///
/// Refusals that do not hide what follows are collected, up to 20; others stop. Memory is constant but for the set of
/// paths. `limits` gives the longest archive, the longest content, and the most, longest and deepest paths.
///
/// # Errors
///
/// [`ReadError::Refused`] for the archive's own faults, [`ReadError::Io`] if the source fails, [`ReadError::Visit`]
/// with the visitor's error unless that came from one of the others.
pub fn read_archive<R: Read, E>(
    source: R,
    limits: &Limits,
    visit: &mut dyn FnMut(&Entry<'_>, &mut dyn Read) -> Result<(), E>,
) -> Result<ArchiveFacts, ReadError<E>> {
    read_archive_as(source, limits, Layout::OneRoot, visit)
}

/// The same for an archive of a given layout. A flat one may hold anything at the top, one directory alone included.
///
/// # Errors
///
/// Those of [`read_archive`].
pub fn read_archive_as<R: Read, E>(
    source: R,
    limits: &Limits,
    layout: Layout,
    visit: &mut dyn FnMut(&Entry<'_>, &mut dyn Read) -> Result<(), E>,
) -> Result<ArchiveFacts, ReadError<E>> {
    let mut refusals = Vec::new();
    let end = Gunzip::new(source, limits.tarball_bytes_max).map_err(Stop::Fault).and_then(|gunzip| {
        Reader {
            gunzip,
            limits,
            layout,
            refusals: &mut refusals,
            paths: PathSet::default(),
            root: None,
            top: None,
            entries: 0,
            files: 0,
            unpacked: 0,
            last_path: String::new(),
            raw: Vec::new(),
            canonical: true,
        }
        .run(visit)
    });
    match end {
        Err(Stop::Visit(error)) => return Err(ReadError::Visit(error)),
        Err(Stop::Fault(Fault::Io(error))) => return Err(ReadError::Io(error)),
        Err(Stop::Fault(Fault::Archive(error))) => refusals.push(error),
        Err(Stop::Enough) => {}
        Ok(facts) if refusals.is_empty() => return Ok(facts),
        Ok(_) => {}
    }
    Err(ReadError::Refused(refusals))
}

enum Stop<E> {
    Fault(Fault),
    Visit(E),
    /// As many refusals as anybody wants to read.
    Enough,
}

impl<E, F: Into<Fault>> From<F> for Stop<E> {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

struct Reader<'a, R> {
    gunzip: Gunzip<R>,
    limits: &'a Limits,
    layout: Layout,
    refusals: &'a mut Vec<ArchiveError>,
    paths: PathSet,
    root: Option<String>,
    /// What [`ArchiveFacts::top`] is of the entries so far.
    top: Option<String>,
    entries: u64,
    files: u64,
    unpacked: u64,
    /// To see whether paths ascend; for that only.
    last_path: String,
    /// Header blocks of the entry at hand, to compare with the canonical ones.
    raw: Vec<u8>,
    canonical: bool,
}

impl<R: Read> Reader<'_, R> {
    fn run<E>(
        mut self,
        visit: &mut dyn FnMut(&Entry<'_>, &mut dyn Read) -> Result<(), E>,
    ) -> Result<ArchiveFacts, Stop<E>> {
        let mut extension: Option<Extension> = None;
        while let Some(block) = self.next_header()? {
            let header = Header::parse(&block).map_err(|bad| self.bad_header(&block, bad))?;
            match header.kind {
                Kind::LongName | Kind::Pax => {
                    let parsed = self.extension(&header)?;
                    if extension.replace(parsed).is_some() {
                        let what = "is the second one for its entry";
                        return Err(ArchiveError::PaxHeader { path: shown(&header.name), what }.into());
                    }
                }
                Kind::PaxGlobal => {
                    // Cargo's unpacker takes it for an entry outside the root directory; others apply it to all.
                    let what = "is global; `git archive` writes such";
                    return Err(ArchiveError::PaxHeader { path: shown(&header.name), what }.into());
                }
                Kind::File | Kind::Directory | Kind::Other(_) => {
                    let path = self.path_of(&header, extension.take())?;
                    self.entry(&header, &path, visit)?;
                    self.raw.clear();
                    if self.refusals.len() >= REFUSALS_MAX {
                        return Err(Stop::Enough);
                    }
                }
            }
        }
        if extension.is_some() {
            let what = "is followed by no entry";
            return Err(ArchiveError::PaxHeader { path: "the end of the archive".into(), what }.into());
        }
        if self.files == 0 && self.refusals.is_empty() {
            return Err(ArchiveError::Empty.into());
        }
        Ok(ArchiveFacts {
            root: self.root.unwrap_or_default(),
            top: self.top.unwrap_or_default(),
            files: self.files,
            unpacked: self.unpacked,
            size: self.gunzip.source_bytes(),
            canonical: self.canonical && self.gunzip.canonical_header(),
        })
    }

    /// The next block that is not the end.
    fn next_header(&mut self) -> Result<Option<Block>, Fault> {
        let mut block = [0; BLOCK];
        self.read_exact(&mut block, "before the two zero blocks at the end")?;
        if block != [0; BLOCK] {
            self.raw.extend_from_slice(&block);
            return Ok(Some(block));
        }
        self.read_exact(&mut block, "after one of the two zero blocks at the end")?;
        let mut blocks = 2;
        loop {
            if block != [0; BLOCK] {
                return Err(
                    ArchiveError::TrailingData { what: "bytes follow the tar archive's zero block" }.into()
                );
            }
            let read = self.read_up_to(&mut block)?;
            if read == 0 {
                break;
            }
            blocks += 1;
            if read < BLOCK || blocks > END_BLOCKS_MAX {
                return Err(ArchiveError::TrailingData { what: "the zero bytes at the end go on" }.into());
            }
        }
        self.canonical &= blocks == 2;
        Ok(None)
    }

    /// Reads the data of an extended header.
    fn extension(&mut self, header: &Header) -> Result<Extension, Fault> {
        let path = || shown(&header.name);
        let limit = self.limits.path_bytes_max.saturating_add(EXTENSION_BYTES);
        if header.size > limit {
            return Err(ArchiveError::PathTooLong {
                path: path(),
                found: header.size,
                unit: "bytes in an extended header",
                limit,
            }
            .into());
        }
        let size = usize::try_from(header.size).expect("a limit of paths fits memory");
        let mut data = vec![0; size.next_multiple_of(BLOCK)];
        self.read_exact(&mut data, "inside an extended header")?;
        self.raw.extend_from_slice(&data);
        let (data, padding) = data.split_at(size);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::TarHeader {
                path: path(),
                what: "is followed by padding that is not zero",
            }
            .into());
        }
        let what = |what| ArchiveError::PaxHeader { path: path(), what };
        if header.kind == Kind::Pax {
            return Ok(pax::parse(data).map_err(what)?);
        }
        let name = pax::long_name(data).map_err(what)?;
        let name = std::str::from_utf8(name)
            .map_err(|_| ArchiveError::UnsafePath { path: shown(name), why: "is not UTF-8" })?;
        Ok(Extension { path: Some(name.into()), size: None })
    }

    /// The path of an entry, from its header and the extended header before it.
    fn path_of(&self, header: &Header, extension: Option<Extension>) -> Result<Vec<u8>, ArchiveError> {
        let Some(extension) = extension else { return Ok(header.name.clone()) };
        let differs = |what| Err(ArchiveError::PaxHeader { path: shown(&header.name), what });
        if extension.size.is_some_and(|size| size != header.size) {
            return differs("gives another size than the entry's header");
        }
        match extension.path {
            Some(path) if !pax::stands_for(&header.name, path.as_bytes()) => {
                differs("gives another path than the entry's header")
            }
            Some(_) if header.old_style && header.name.ends_with(b"/") => {
                differs("gives a file's path though the entry's header gives a directory's")
            }
            Some(path) => Ok(path.into_bytes()),
            None => Ok(header.name.clone()),
        }
    }

    /// Handles one entry and its content. Faults that hide nothing of what follows are only noted.
    fn entry<E>(
        &mut self,
        header: &Header,
        path: &[u8],
        visit: &mut dyn FnMut(&Entry<'_>, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        self.entries += 1;
        if self.entries > self.limits.files_max {
            return Err(ArchiveError::TooManyFiles { limit: self.limits.files_max }.into());
        }
        if let Kind::Other(kind) = header.kind {
            let error = ArchiveError::EntryType { path: shown(path), kind };
            // Parsers differ in whether the content of such an entry follows its header.
            if header.size > 0 {
                return Err(error.into());
            }
            self.refusals.push(error);
            return Ok(());
        }
        let directory = header.kind == Kind::Directory;
        if directory && header.size > 0 {
            return Err(
                ArchiveError::TarHeader { path: shown(path), what: "gives a directory a size" }.into()
            );
        }
        let executable = header.mode & MODE_EXECUTE != 0;
        let checked = self.check_mode(header, path).and_then(|()| self.check_path(path, directory));
        let limit = self.limits.unpacked_bytes_max;
        self.unpacked = self.unpacked.saturating_add(header.size);
        if self.unpacked > limit {
            return Err(ArchiveError::UnpackedTooBig { limit, path: shown(path) }.into());
        }
        let (full, root) = match checked {
            Ok(full) => (full, self.root.clone().unwrap_or_default()),
            Err(error) => {
                self.refusals.push(error);
                return self.content(path, header.size, |_| Ok(()));
            }
        };
        if directory {
            self.canonical = false;
            return Ok(());
        }
        self.files += 1;
        self.canonical &=
            *full > *self.last_path && canonical(full, header.size, executable).as_ref() == Some(&self.raw);
        self.last_path.clear();
        self.last_path.push_str(full);
        // `check_path` lets no file lie outside the root directory.
        let path_below = if root.is_empty() { full } else { &full[root.len() + 1..] };
        let modified = header.modified;
        let entry = Entry { root: &root, path: path_below, size: header.size, executable, modified };
        self.content(path, header.size, |body| visit(&entry, body))
    }

    fn check_mode(&self, header: &Header, path: &[u8]) -> Result<(), ArchiveError> {
        let format = if header.kind == Kind::Directory { 0o040_000 } else { 0o100_000 };
        let typed = header.mode & MODE_TYPE;
        if header.mode & MODE_SPECIAL != 0 || header.mode > 0o177_777 || (typed != 0 && typed != format) {
            return Err(ArchiveError::FileMode { path: shown(path), mode: header.mode });
        }
        Ok(())
    }

    /// Checks a path and adds it to the set; gives it back without the slash of a directory.
    fn check_path<'p>(&mut self, path: &'p [u8], directory: bool) -> Result<&'p str, ArchiveError> {
        let text = std::str::from_utf8(path)
            .map_err(|_| ArchiveError::UnsafePath { path: shown(path), why: "is not UTF-8" })?;
        let text = if directory { text.strip_suffix('/').unwrap_or(text) } else { text };
        check(text, self.limits)?;
        if self.layout == Layout::OneRoot {
            self.check_root(text, path, directory)?;
        }
        self.note_top(text, directory);
        let kind = if directory { PathKind::Directory } else { PathKind::File };
        self.paths.insert(text, kind).map_err(|clash| ArchiveError::DuplicatePath {
            path: shown(path),
            other: shown(clash.other.as_bytes()),
            how: clash.how,
        })?;
        Ok(text)
    }

    fn note_top(&mut self, text: &str, directory: bool) {
        let top = text.split_once('/').map_or(if directory { text } else { "" }, |(top, _)| top);
        match &mut self.top {
            None => self.top = Some(top.into()),
            Some(so_far) if so_far == top => {}
            Some(so_far) => so_far.clear(),
        }
    }

    /// Checks that an entry lies in the root directory, or is it.
    fn check_root(&mut self, text: &str, path: &[u8], directory: bool) -> Result<(), ArchiveError> {
        let (root, below) = text.split_once('/').map_or((text, None), |(root, below)| (root, Some(below)));
        if below.is_none() && !directory {
            let expected = self.root.clone().unwrap_or_else(|| "name-version".into());
            return Err(ArchiveError::WrongRoot { path: shown(path), root: expected });
        }
        let expected = self.root.get_or_insert_with(|| root.into());
        if *expected != root {
            return Err(ArchiveError::WrongRoot { path: shown(path), root: expected.clone() });
        }
        Ok(())
    }

    /// Gives an entry's content to `read`, then skips what is left of it and its padding.
    fn content<E>(
        &mut self,
        path: &[u8],
        size: u64,
        read: impl FnOnce(&mut dyn Read) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let mut body = Body::new(&mut self.gunzip, size);
        let outcome = read(&mut body);
        // The visitor's error may be nothing but the fault that it was handed.
        if let Some(fault) = body.take_fault() {
            return Err(Stop::Fault(fault));
        }
        outcome.map_err(Stop::Visit)?;
        body.skip()?;
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).expect("less than a block");
        let mut block = [0; BLOCK];
        self.read_exact(&mut block[..padding], "inside the padding of a file")?;
        if block != [0; BLOCK] {
            let what = "is followed by padding that is not zero";
            return Err(ArchiveError::TarHeader { path: shown(path), what }.into());
        }
        Ok(())
    }

    fn bad_header(&self, block: &Block, BadHeader(what): BadHeader) -> ArchiveError {
        if self.entries == 0 && !header::has_right_checksum(block) && block[257..262] != *b"ustar" {
            return ArchiveError::NotAnArchive { found: "gzip-compressed data of another kind" };
        }
        let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        ArchiveError::TarHeader { path: shown(name), what }
    }

    fn read_exact(&mut self, out: &mut [u8], place: &'static str) -> Result<(), Fault> {
        if self.read_up_to(out)? < out.len() {
            return Err(ArchiveError::Truncated { place }.into());
        }
        Ok(())
    }

    fn read_up_to(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let mut done = 0;
        while done < out.len() {
            match self.gunzip.read(&mut out[done..])? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}
