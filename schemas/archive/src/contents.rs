//! What an archive holds whose files may lie anyhow: its root directory, if it has one, and its `build.zig.zon`.
//!
//! Invariant: the root directory is that which Zig finds and takes off (`std.tar.Diagnostics.findRoot`).

use std::io;

use drystone_schemas::{Code, Limits, Problem};

use crate::{
    Entry, ReadError, ZigManifest,
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
    /// The first directory of every path so far; none before the first, empty once two differ.
    root: Option<String>,
    /// Files that are the manifest, should their directory turn out to be the root: whole path and content.
    manifests: Vec<(String, Manifest)>,
}

enum Manifest {
    Kept(Vec<u8>),
    TooLong(u64),
}

impl Contents {
    /// Notes a file; whether its content is to be kept.
    pub(crate) fn begin(&mut self, entry: &Entry<'_>, limits: &Limits) -> bool {
        let top = entry.path.split_once('/').map_or("", |(top, _)| top);
        if self.root.as_deref().is_some_and(|root| root != top) {
            self.root = Some(String::new());
        } else {
            self.root.get_or_insert_with(|| top.to_owned());
        }
        let below = entry.path.split_once('/').map_or(entry.path, |(_, below)| below);
        let may_be = below == ZIG_MANIFEST && self.manifests.len() < 2;
        if may_be && entry.size > limits.manifest_bytes_max {
            self.manifests.push((entry.path.to_owned(), Manifest::TooLong(entry.size)));
        }
        may_be && entry.size <= limits.manifest_bytes_max
    }

    /// Takes the content that was to be kept.
    pub(crate) fn end(&mut self, entry: &Entry<'_>, kept: Option<Vec<u8>>) {
        self.manifests.extend(kept.map(|kept| (entry.path.to_owned(), Manifest::Kept(kept))));
    }

    /// The one root directory, once everything was seen.
    pub(crate) fn root(&self) -> Option<&str> {
        self.root.as_deref().filter(|root| !root.is_empty())
    }

    /// The package's manifest, once everything was seen; none if there is none.
    pub(crate) fn manifest(&self, limits: &Limits) -> Result<Option<ZigManifest>, Vec<Problem>> {
        let path =
            self.root().map_or_else(|| ZIG_MANIFEST.to_owned(), |root| format!("{root}/{ZIG_MANIFEST}"));
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
