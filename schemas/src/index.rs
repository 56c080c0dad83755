//! The per-package index: Cargo's sparse index line, extended, as JSON Lines.
//!
//! Format of Cargo's fields: the Cargo book, "Registry index". Cargo ignores fields that it does not know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AuthorSignatures, DeleteCode, DepKind, Format, PackageName, Sha256Digest, Version, ZigLine};

/// How Cargo names its public registry in index lines and request bodies.
pub const CRATES_IO_INDEX: &str = "https://github.com/rust-lang/crates.io-index";

/// One release in a package's index file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IndexLine {
    /// Package name, as written by its author.
    pub name: PackageName,
    /// Version.
    pub vers: Version,
    /// Dependencies, in the order of the manifest's tables.
    pub deps: Vec<IndexDep>,
    /// SHA-256 of the archive, as 64 hex digits.
    pub cksum: String,
    /// Features of the plain syntax.
    pub features: BTreeMap<String, Vec<String>>,
    /// Whether the release is yanked (or deleted).
    pub yanked: bool,
    /// The native library that the package links, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
    /// 2 if `features2` is in use, else 1.
    pub v: u32,
    /// Features with the syntax of `dep:` and `?`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features2: BTreeMap<String, Vec<String>>,
    /// Least compiler version, as the manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rust_version: Option<String>,
    /// When it was published, RFC 3339 in UTC.
    pub pubtime: String,
    /// Position in the log of the last event that changed this line.
    pub seq: u64,
    /// Position in the log of the release itself.
    pub published: u64,
    /// Length of the archive in bytes.
    pub size: u64,
    /// Format of the package.
    pub format: Format,
    /// The version record.
    pub record: Sha256Digest,
    /// What its authors have signed.
    #[serde(default, skip_serializing_if = "AuthorSignatures::is_empty")]
    pub sigs: AuthorSignatures,
    /// What Zig needs to know of a Zig package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zig: Option<ZigLine>,
    /// Why it is yanked, as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yank_reason: Option<Sha256Digest>,
    /// Set on a tombstone: why the release was taken down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<DeleteCode>,
}

/// One dependency of a release, as Cargo's index has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IndexDep {
    /// Name under which the package uses it: the alias, where it is renamed.
    pub name: String,
    /// Requirement.
    pub req: String,
    /// Features asked for.
    pub features: Vec<String>,
    /// Whether a feature must turn it on.
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Platform that it is for, if not all.
    pub target: Option<String>,
    /// Normal, build or dev.
    pub kind: DepKind,
    /// Index URL of another registry; none means this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Real name, where it is renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

impl IndexDep {
    /// The name of the package that is meant.
    pub fn package_name(&self) -> &str {
        self.package.as_deref().unwrap_or(&self.name)
    }
}

/// A package's index file: its lines in the order of publication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexFile {
    /// The lines.
    pub lines: Vec<IndexLine>,
}

/// A line of an index file does not parse.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of an index file: {source}")]
pub struct IndexLineError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    #[source]
    pub source: serde_json::Error,
}

impl IndexFile {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexLineError> {
        let mut lines = Vec::new();
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if !line.is_empty() {
                lines.push(
                    serde_json::from_slice(line).map_err(|source| IndexLineError { line: i + 1, source })?,
                );
            }
        }
        Ok(Self { lines })
    }

    /// Writes the file: one line per release, a newline after each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.lines.len() * 400);
        for line in &self.lines {
            serde_json::to_writer(&mut out, line).expect("index lines have string keys");
            out.push(b'\n');
        }
        out
    }

    /// The file's position in the log: the largest of its lines.
    pub fn seq(&self) -> Option<u64> {
        self.lines.iter().map(|line| line.seq).max()
    }

    /// The release with this version, build metadata aside.
    pub fn find(&self, version: &Version) -> Option<&IndexLine> {
        self.lines.iter().find(|line| line.vers.is_same_release(version))
    }

    /// The newest release: the largest stable version that is not yanked, else the largest pre-release.
    pub fn latest(&self) -> Option<&IndexLine> {
        let candidates = || self.lines.iter().filter(|line| !line.yanked);
        candidates()
            .filter(|line| !line.vers.is_prerelease())
            .max_by(|a, b| a.vers.cmp(&b.vers))
            .or_else(|| candidates().max_by(|a, b| a.vers.cmp(&b.vers)))
    }
}
