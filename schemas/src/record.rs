//! Version records: what an archive says of itself, in one immutable file.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PackageName, Sha256Digest, Version, ZigRecord, canonical_json};

/// Which manifest is read, and by which rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `drystone.toml`, or the file name that the registry's settings give.
    Generic,
    /// `Cargo.toml`, as `cargo package` writes it.
    Cargo,
    /// `build.zig.zon`.
    Zig,
}

/// The text is not the name of a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a package format")]
pub struct UnknownFormat(pub String);

impl Format {
    /// Every format, in the order in which manifests are looked for.
    pub const ALL: [Self; 3] = [Self::Generic, Self::Cargo, Self::Zig];

    /// The name as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Cargo => "cargo",
            Self::Zig => "zig",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| UnknownFormat(text.chars().take(64).collect()))
    }
}

/// The version record: a function of the archive and the record version alone, so that anyone can recompute it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionRecord {
    /// Version of the function that made it, [`VersionRecord::V`]; 1 knew no `vcs`, and made the same of all else.
    pub v: u32,
    /// Package name, as the manifest writes it. A Zig package's owner is not in its manifest but in its publish event.
    pub name: PackageName,
    /// Version.
    pub vers: Version,
    /// Format of the package.
    pub format: Format,
    /// The archive.
    pub tarball: Sha256Digest,
    /// Length of the archive in bytes.
    pub size: u64,
    /// Sum of the lengths of its files, in bytes.
    pub unpacked: u64,
    /// Dependencies, in the order of the manifest's tables.
    pub deps: Vec<RecordDep>,
    /// Features.
    pub features: BTreeMap<String, Vec<String>>,
    /// The native library that it links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
    /// Least compiler version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rust_version: Option<String>,
    /// One line on what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Authors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// Keywords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Source repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// The README as text, if there is one and it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readme: Option<String>,
    /// From which commit the sources were taken, as the archive says; nobody has checked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcs: Option<VcsInfo>,
    /// What only Zig packages have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zig: Option<ZigRecord>,
    /// Every file, in the byte order of paths.
    pub files: Vec<RecordFile>,
}

impl VersionRecord {
    /// Version of the function that makes records now.
    pub const V: u32 = 2;

    /// The object's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

/// Where an archive's sources were, as `cargo package` noted it in `.cargo_vcs_info.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VcsInfo {
    /// The commit, in lower-case hex.
    pub git_sha1: String,
    /// The package's directory below the root of the repository; empty for the root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path_in_vcs: String,
    /// Whether there were changes that were not committed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dirty: bool,
}

/// One dependency as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordDep {
    /// Real name of the package.
    pub name: String,
    /// Name under which it is used, where it is renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// Requirement.
    pub req: String,
    /// Features asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Whether a feature must turn it on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Platform that it is for, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Normal, build or dev.
    pub kind: DepKind,
    /// `registry-index` of the manifest; none means the format's own public registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_index: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DepKind {
    /// Using the package.
    Normal,
    /// Building it.
    Build,
    /// Testing it.
    Dev,
}

/// One file of an archive: `[path, length, sha256 as hex]`, below the archive's root directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordFile(pub String, pub u64, pub String);
