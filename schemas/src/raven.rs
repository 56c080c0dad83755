//! Bodies of the API that `raven pkg` reads. Its fields are its own; those it needs are never absent or null.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `packages/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RavenPackage {
    /// Name.
    pub name: String,
    /// What it is; empty if nobody said.
    pub description: String,
    /// The newest version; empty if there is none to choose.
    pub latest_version: String,
    /// Versions that may be chosen: without those that are yanked.
    pub versions: Vec<String>,
    /// The first owner.
    pub owner: RavenOwner,
    /// SPDX expression; empty if nobody said.
    pub license: String,
    /// Source repository.
    pub repository: Option<String>,
    /// Home page.
    pub homepage: Option<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Always 0: downloads are not counted.
    pub downloads_total: u64,
    /// Always 0.
    pub downloads_last_month: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// An owner. Logins are private, so that both fields are the account's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RavenOwner {
    /// The account's id.
    pub username: String,
    /// The account's id.
    pub user_id: String,
}
