//! What clients of GitHub, Zepplin and Zion are answered: exactly the fields that each of them reads.
//!
//! Owns: the shapes. Does not own: where they lie ([`layout`](crate::layout)) and what fills them. Zion refuses unknown
//! fields in [`ReleaseSummary`], [`GithubDependencies`] and [`ZionSearch`]: a field more is a client less.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Format, SearchHit, SearchMeta, ZigSnippet};

/// `api/v1/packages/OWNER/REPO`: the package, as GitHub, Zepplin and Zion name its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubPackage {
    /// The part after the slash.
    pub name: String,
    /// The part before the slash.
    pub owner: String,
    /// The part after the slash, as Zepplin calls it.
    pub repo: String,
    /// `owner/name`.
    pub full_name: String,
    /// The newest release; empty if there is none.
    pub version: String,
    /// Its archive; empty if there is none.
    pub tarball_url: String,
    /// SHA-256 of its archive, as 64 hex digits.
    pub sha256_hash: Option<String>,
    /// When it was published.
    pub published_at: Option<String>,
    /// When the last event changed the package.
    pub last_updated: String,
    /// One line on what it is.
    pub description: Option<String>,
    /// Language.
    pub language: String,
    /// SPDX expression.
    pub license: Option<String>,
    /// Home page.
    pub homepage: Option<String>,
    /// The same, as GitHub's search calls it.
    pub homepage_url: Option<String>,
    /// Source repository, as Zepplin calls it.
    pub github_url: Option<String>,
    /// Source repository.
    pub clone_url: Option<String>,
    /// Keywords.
    pub topics: Vec<String>,
    /// When the first release was published.
    pub created_at: String,
    /// When the last event changed the package.
    pub updated_at: String,
    /// Nothing here is.
    pub private: bool,
    /// Not counted: 0.
    pub stargazers_count: u64,
    /// Not counted: 0.
    pub download_count: u64,
    /// Whether the package is deprecated.
    pub deprecated: bool,
    /// How to depend on the newest release from Zig.
    pub zig: Option<ZigSnippet>,
}

/// One element of `api/v1/packages/OWNER/REPO/releases`. Older versions of Zion refuse any other field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseSummary {
    /// The version.
    pub tag_name: String,
    /// What it is called: the version.
    pub name: String,
    /// When it was published.
    pub published_at: String,
    /// Whether the version is a pre-release.
    pub prerelease: bool,
    /// The archive.
    pub tarball_url: String,
    /// The same archive: there is no other form.
    pub zipball_url: String,
}

/// One element of `api/v1/repos/OWNER/REPO/releases`, and the answer to a publish of Zion's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubRelease {
    /// Position of the release in the log.
    pub id: u64,
    /// The version.
    pub tag_name: String,
    /// What it is called: the version.
    pub name: String,
    /// Release notes; none are kept.
    pub body: String,
    /// Never.
    pub draft: bool,
    /// Whether the version is a pre-release.
    pub prerelease: bool,
    /// When it was published.
    pub created_at: String,
    /// When it was published.
    pub published_at: String,
    /// The archive.
    pub tarball_url: String,
    /// The same archive: there is no other form.
    pub zipball_url: String,
    /// The same archive, as Zepplin calls it.
    pub download_url: String,
    /// Length of the archive in bytes.
    pub file_size: u64,
    /// SHA-256 of the archive, as Zepplin calls it.
    pub sha256: String,
    /// SHA-256 of the archive, as 64 hex digits.
    pub sha256_hash: String,
    /// Not counted: 0.
    pub download_count: u64,
    /// The Zig package hash.
    pub zig_hash: Option<String>,
}

/// One element of `api/v1/packages/OWNER/REPO/tags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubTag {
    /// The version.
    pub name: String,
    /// The archive.
    pub zipball_url: String,
    /// The archive.
    pub tarball_url: String,
    /// What the tag points at.
    pub commit: GithubCommit,
}

/// What a tag points at: the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubCommit {
    /// SHA-256 of the archive.
    pub sha: String,
    /// The archive.
    pub url: String,
}

/// `api/v1/packages/OWNER/REPO/dependencies`. Zion refuses any other field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubDependencies {
    /// Those of the newest release.
    pub dependencies: Vec<GithubDependency>,
}

/// One dependency. Zion refuses any other field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GithubDependency {
    /// Name under which it is used.
    pub name: String,
    /// Version, or a requirement; `*` where none is known.
    pub version: String,
    /// Whether the build may do without it.
    pub optional: bool,
}

/// Answer of a search in the shape that Zion reads. Zion refuses any other field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZionSearch {
    /// What was found.
    pub items: Vec<ZionHit>,
}

/// One hit of Zion's search. The fields without a value must be there all the same, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZionHit {
    /// The part after the slash.
    pub name: String,
    /// `owner/name`.
    pub full_name: String,
    /// One line on what it is.
    pub description: Option<String>,
    /// The newest release.
    pub version: String,
    /// Its archive.
    pub tarball_url: String,
    /// SHA-256 of its archive.
    pub sha256_hash: Option<String>,
    /// When it was published.
    pub published_at: String,
    /// Name of this registry.
    pub registry_name: String,
    /// When the last event changed the package.
    pub last_updated: String,
    /// SPDX expression.
    pub license: Option<String>,
    /// Home page.
    pub homepage: Option<String>,
    /// Source repository.
    pub repository_url: Option<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Least version of Zig.
    pub zig_version_min: Option<String>,
    /// Categories.
    pub categories: Vec<String>,
}

/// Answer of a search in GitHub's shape, with Cargo's fields beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchAnswer {
    /// What was found, as GitHub writes it.
    pub items: Vec<SearchItem>,
    /// How many there are.
    pub total_count: u64,
    /// Never.
    pub incomplete_results: bool,
    /// What was found, as Cargo writes it.
    pub crates: Vec<SearchHit>,
    /// How many there are.
    pub meta: SearchMeta,
}

/// One hit of a search in GitHub's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchItem {
    /// `owner/name`.
    pub full_name: String,
    /// The part before the slash, if there is one.
    pub owner: Option<String>,
    /// The part after the slash.
    pub name: String,
    /// One line on what it is.
    pub description: Option<String>,
    /// Keywords.
    pub topics: Vec<String>,
    /// Not counted: 0.
    pub stargazers_count: u64,
    /// Not counted: 0.
    pub download_count: u64,
    /// The newest release.
    pub latest_version: Option<String>,
    /// Format of the newest release.
    pub format: Option<Format>,
    /// When the last event changed the package.
    pub updated_at: String,
}
