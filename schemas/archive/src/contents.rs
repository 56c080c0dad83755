//! What an archive holds whose files may lie anyhow: its `build.zig.zon`.
//!
//! Invariant: the root directory is that which Zig finds and takes off (`std.tar.Diagnostics.findRoot`): what all entries
//! share, directories among them, [`ArchiveFacts::top`].

use std::io;

use drystone_schemas::{Code, Limits, Problem};

use crate::{
    ArchiveFacts, Entry, ReadError, ZigManifest,
    manifest::{ZIG_MANIFEST, parse_zig},
};

/// The error of a read, as problems.
pub(crate) fn read_problems(error: ReadError<io::Error>) -> Vec<Problem> {
    match error {
        ReadError::Refused(refusals) => refusals.iter().map(|refusal| refusal.problem()).collect(),
        ReadError::Io(error) | ReadError::Visit(error) => vec![unreadable(&error)],
    }
}

/// The text of an error of the system may name paths; its kind does not.
pub(crate) fn unreadable(error: &io::Error) -> Problem {
    Problem::new(Code::LocalIo, format!("the archive cannot be read: {}", error.kind()))
}

/// What was seen of an archive.
#[derive(Default)]
pub(crate) struct Contents {
    /// The first directory of the first file, which is the root directory if there is one.
    first: Option<String>,
    /// Files that are the manifest, should their directory turn out to be the root: whole path and content. At most two.
    manifests: Vec<(String, Manifest)>,
}

enum Manifest {
    Kept(Vec<u8>),
    TooLong(u64),
}

impl Contents {
    /// Notes a file; whether its content is to be kept.
    pub(crate) fn begin(&mut self, entry: &Entry<'_>, limits: &Limits) -> bool {
        let (top, below) = entry.path.split_once('/').unwrap_or(("", entry.path));
        let first = self.first.get_or_insert_with(|| top.to_owned());
        let may_be = below == ZIG_MANIFEST && (top.is_empty() || top == first);
        if may_be && entry.size > limits.manifest_bytes_max {
            self.manifests.push((entry.path.to_owned(), Manifest::TooLong(entry.size)));
        }
        may_be && entry.size <= limits.manifest_bytes_max
    }

    /// Takes the content that was to be kept.
    pub(crate) fn end(&mut self, entry: &Entry<'_>, kept: Option<Vec<u8>>) {
        self.manifests.extend(kept.map(|kept| (entry.path.to_owned(), Manifest::Kept(kept))));
    }

    /// The package's manifest, once everything was seen; none if there is none.
    pub(crate) fn manifest(
        &self,
        facts: &ArchiveFacts,
        limits: &Limits,
    ) -> Result<Option<ZigManifest>, Vec<Problem>> {
        let path = match &*facts.top {
            "" => ZIG_MANIFEST.to_owned(),
            root => format!("{root}/{ZIG_MANIFEST}"),
        };
        match self.manifests.iter().find(|(found, _)| *found == path).map(|(_, manifest)| manifest) {
            None => Ok(None),
            Some(Manifest::TooLong(size)) => {
                let limit = limits.manifest_bytes_max;
                let detail = format!("the manifest `{ZIG_MANIFEST}` has {size} bytes, more than {limit}");
                Err(vec![Problem::new(Code::ManifestTooBig, detail).fact("limit", limit)])
            }
            Some(Manifest::Kept(bytes)) => {
                let not_text = |_| vec![Problem::new(Code::ManifestInvalid, "the manifest is not UTF-8")];
                let text = std::str::from_utf8(bytes).map_err(not_text)?;
                Ok(parse_zig(text, None)?.details.zig)
            }
        }
    }
}
