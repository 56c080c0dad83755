//! Why an archive is refused, and how that is told.
//!
//! Owns: one variant per rule, and the mapping to stable codes. Does not own: the rules.

use std::io;

use drystone_schemas::{Code, Problem};

/// Most refusals that are collected before reading stops.
pub(crate) const REFUSALS_MAX: usize = 20;

/// One reason for refusing an archive. Paths are shown escaped and shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are not those of a gzip member that holds a tar archive.
    #[error("the upload is {found}, not a gzip-compressed tar archive")]
    NotAnArchive {
        /// What it looks like.
        found: &'static str,
    },
    /// A field of the gzip header (RFC 1952) other than the file name is in use.
    #[error("the gzip header {what}")]
    GzipHeader {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The bytes end inside something.
    #[error("the archive ends too early, {place}")]
    Truncated {
        /// Inside what.
        place: &'static str,
    },
    /// The compressed data or a checksum of the gzip member is wrong.
    #[error("the archive is damaged: {what}")]
    Corrupt {
        /// What does not fit.
        what: &'static str,
    },
    /// Bytes follow where everything must end.
    #[error("the archive goes on after its end: {what}")]
    TrailingData {
        /// What follows what.
        what: &'static str,
    },
    /// A tar header that two parsers could read differently.
    #[error("the tar header of `{path}` {what}")]
    TarHeader {
        /// Path of the entry, as far as it can be read.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Neither a file nor a directory.
    #[error("`{path}` is a {kind}, neither a file nor a directory")]
    EntryType {
        /// Path of the entry.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A path that leads outside, or that some system cannot write.
    #[error("the path `{path}` {why}")]
    UnsafePath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A path over one of the limits.
    #[error("the path `{path}` has {found} {unit}, more than {limit}")]
    PathTooLong {
        /// The path.
        path: String,
        /// How much it has.
        found: u64,
        /// Of what.
        unit: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Two entries that are one on some system.
    #[error("`{path}` and `{other}` {how}")]
    DuplicatePath {
        /// The later path.
        path: String,
        /// The earlier path, as far as the clash goes.
        other: String,
        /// In which way they clash.
        how: &'static str,
    },
    /// An entry outside the root directory, or a root directory of another name.
    #[error("`{path}` does not lie in the root directory `{root}/`")]
    WrongRoot {
        /// The path.
        path: String,
        /// The root directory.
        root: String,
    },
    /// An extended header that two parsers could read differently.
    #[error("the extended header before `{path}` {what}")]
    PaxHeader {
        /// Name in the extended header's own tar header.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More entries than the limit.
    #[error("the archive has more than {limit} entries")]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// The files are longer than the limit, together.
    #[error("the archive unpacks to more than {limit} bytes, reached at `{path}`")]
    UnpackedTooBig {
        /// The limit, in bytes.
        limit: u64,
        /// Where it was reached.
        path: String,
    },
    /// The archive expands as only a bomb does.
    #[error("the archive unpacks to more than {ratio} times its size")]
    ExpandsTooMuch {
        /// The ratio that is allowed.
        ratio: u64,
    },
    /// More compressed bytes than the limit.
    #[error("the archive has more than {limit} bytes")]
    TarballTooBig {
        /// The limit, in bytes.
        limit: u64,
    },
    /// No file at all.
    #[error("the archive holds no file")]
    Empty,
    /// Set-user-id, set-group-id or sticky.
    #[error("`{path}` has the mode {mode:o}")]
    FileMode {
        /// Path of the entry.
        path: String,
        /// Its mode.
        mode: u64,
    },
}

impl ArchiveError {
    /// The stable code of the rule.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotAnArchive { .. } => Code::NotAnArchive,
            Self::GzipHeader { .. } => Code::GzipHeader,
            Self::Truncated { .. } => Code::ArchiveTruncated,
            Self::Corrupt { .. } => Code::ArchiveCorrupt,
            Self::TrailingData { .. } => Code::ArchiveTrailingData,
            Self::TarHeader { .. } => Code::TarHeader,
            Self::EntryType { .. } => Code::EntryType,
            Self::UnsafePath { .. } => Code::UnsafePath,
            Self::PathTooLong { .. } => Code::PathTooLong,
            Self::DuplicatePath { .. } => Code::DuplicatePath,
            Self::WrongRoot { .. } => Code::WrongRoot,
            Self::PaxHeader { .. } => Code::PaxHeader,
            Self::TooManyFiles { .. } => Code::TooManyFiles,
            Self::UnpackedTooBig { .. } | Self::ExpandsTooMuch { .. } => Code::UnpackedTooBig,
            Self::TarballTooBig { .. } => Code::TarballTooBig,
            Self::Empty => Code::EmptyArchive,
            Self::FileMode { .. } => Code::FileMode,
        }
    }

    /// The refusal with its code, facts and hint.
    pub fn problem(&self) -> Problem {
        let problem = Problem::new(self.code(), self.to_string());
        match self {
            Self::TarHeader { path, .. }
            | Self::EntryType { path, .. }
            | Self::UnsafePath { path, .. }
            | Self::PaxHeader { path, .. }
            | Self::FileMode { path, .. } => problem.fact("path", path),
            Self::PathTooLong { path, limit, .. } | Self::UnpackedTooBig { limit, path } => {
                problem.fact("path", path).fact("limit", limit)
            }
            Self::DuplicatePath { path, other, .. } => problem.fact("path", path).fact("other", other),
            Self::WrongRoot { path, root } => problem.fact("path", path).fact("root", root),
            Self::TooManyFiles { limit } | Self::TarballTooBig { limit } => problem.fact("limit", limit),
            Self::ExpandsTooMuch { ratio } => problem.fact("limit", ratio),
            Self::NotAnArchive { .. }
            | Self::GzipHeader { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::TrailingData { .. }
            | Self::Empty => problem,
        }
    }
}

/// Why [`read_archive`](crate::read_archive) ended without facts.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The archive breaks rules: at least one, at most a few more than 20.
    #[error("the archive is refused: {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Refused(Vec<ArchiveError>),
    /// The source of the bytes failed; nothing is known of the archive.
    #[error("the archive cannot be read")]
    Io(#[source] io::Error),
    /// The visitor gave up.
    #[error("the archive's content cannot be used")]
    Visit(E),
}

/// What stops reading at once.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Archive(ArchiveError),
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A path for a message: control characters escaped, at most 160 characters.
pub(crate) fn shown(path: &[u8]) -> String {
    const CHARS_MAX: usize = 160;
    // A character has at most four bytes, so that nothing shown is lost by cutting first.
    let head = &path[..path.len().min(CHARS_MAX * 4)];
    let text = String::from_utf8_lossy(head);
    let mut out = String::with_capacity(text.len());
    for (i, character) in text.chars().enumerate() {
        if i == CHARS_MAX {
            out.push('…');
            break;
        }
        if crate::path::is_invisible(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}
