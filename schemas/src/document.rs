//! Package documents: what a registry knows of a package besides its releases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Alias, PackageName, Sha256Digest, TrustedPublisher, Version, ZigSnippet, canonical_json,
};

/// `packages/<name>.json`. Together with the index file it is the whole state of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDocument {
    /// Position in the log of the last event that changed the package.
    pub seq: u64,
    /// Name, as written by the first release.
    pub name: PackageName,
    /// Who may act for it, in the order of their ids.
    pub owners: Vec<OwnerEntry>,
    /// When the first release was published, RFC 3339.
    pub created: String,
    /// When the last event changed it, RFC 3339.
    pub updated: String,
    /// Number of releases that are not tombstones.
    pub releases: u64,
    /// The newest release: largest stable version not yanked, else the largest pre-release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Version>,
    /// Short names that mean this package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
    /// CI identities that may publish versions of it, in the order in which they were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishers: Vec<TrustedPublisher>,
    /// Set while the package is deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,
    /// Facts from the manifest of the release published last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Authors, as the release published last names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// SPDX expression of the release published last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
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
    /// How to depend on the newest release from Zig, if that is a Zig package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zig: Option<ZigSnippet>,
}

impl PackageDocument {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// The role of an account, if it has one.
    pub fn role_of(&self, account: &AccountId) -> Option<Role> {
        self.owners.iter().find(|owner| owner.account == *account).map(|owner| owner.role)
    }

    /// The trusted publisher with this id.
    pub fn publisher(&self, id: &AccountId) -> Option<&TrustedPublisher> {
        self.publishers.iter().find(|publisher| publisher.id == *id)
    }
}

/// An account that may act for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnerEntry {
    /// Who.
    pub account: AccountId,
    /// As what.
    pub role: Role,
}

/// What an account may do for a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Publish and yank.
    Collaborator,
    /// That, and change owners, aliases and deprecation.
    Owner,
}

/// A deprecation, with its reason as an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deprecation {
    /// Position in the log.
    pub seq: u64,
    /// The text, as an object that can be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Sha256Digest>,
}
