//! Bodies of the API that `vaisc pkg` reads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An element of `index.json`, and `packages/NAME/index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaisPackage {
    /// Name.
    pub name: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Releases, in the order of publication.
    pub versions: Vec<VaisVersion>,
    /// Authors.
    pub authors: Vec<String>,
    /// Home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Source repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Position in the log of the last event that changed it; the client ignores it.
    pub seq: u64,
}

/// A release of a [`VaisPackage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaisVersion {
    /// Version.
    pub version: String,
    /// SHA-256 of the archive, as 64 hex digits.
    pub checksum: String,
    /// Dependencies by name, without those for tests.
    pub dependencies: BTreeMap<String, VaisDep>,
    /// Whether it is yanked.
    pub yanked: bool,
    /// Where the archive is; absolute.
    pub download_url: String,
    /// Length of the archive in bytes.
    pub size: u64,
}

/// A dependency of a [`VaisVersion`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaisDep {
    /// Requirement.
    pub req: String,
    /// Features asked for.
    pub features: Vec<String>,
    /// Whether a feature must turn it on.
    pub optional: bool,
    /// Platform that it is for, if not all.
    pub target: Option<String>,
}

/// `packages/NAME/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaisRelease {
    /// Package.
    pub name: String,
    /// The release.
    #[serde(flatten)]
    pub release: VaisVersion,
    /// When it was published, RFC 3339.
    pub created_at: String,
}
