//! Bodies of the publisher's API. Unknown fields are tolerated when read.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Alias, AuthorKey, AuthorSignatures, Format, IndexLine, PackageDocument, PackageName, Problem,
    Role, Sha256Digest, VcsInfo, Version, ZigSnippet,
};

/// The optional `metadata` part of a publish, or its whole body after a large upload.
///
/// Everything is read from the archive; what is given here must agree with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishMetadata {
    /// Format; else the manifest decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Owner of a Zig package, whose manifest cannot name one; else the expected owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Expected package name; with `owner`, it may be the part after the slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Expected version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vers: Option<String>,
    /// Expected SHA-256 of the archive, as 64 hex digits or `sha256:` and those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Expected length of the archive in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The large upload that holds the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// What the authors have signed.
    #[serde(default, skip_serializing_if = "AuthorSignatures::is_empty")]
    pub signatures: AuthorSignatures,
    /// Check everything, commit nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a publish came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PublishOutcome {
    /// It is in the log now.
    Published,
    /// The same bytes were published before.
    AlreadyPublished,
    /// It would be accepted.
    DryRun,
}

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishResponse {
    /// What it came to.
    pub outcome: PublishOutcome,
    /// Package.
    pub name: PackageName,
    /// Version.
    pub vers: Version,
    /// Position of the release in the log; absent on a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The archive.
    pub tarball: Sha256Digest,
    /// Length of the archive in bytes.
    pub size: u64,
    /// The version record.
    pub record: Sha256Digest,
    /// What the author should know, though it is no error.
    pub warnings: Vec<String>,
    /// The event's `.tlog-proof`, once its checkpoint is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The release is in the log, and its proof waits for cosigners; `log/latest.tlog-proof` tells when it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// The answer to every other change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WriteResponse {
    /// Always true; Cargo reads it.
    pub ok: bool,
    /// What changed, in words; Cargo prints it.
    pub msg: String,
    /// Position of the change in the log; absent when things were so already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// The optional body of a yank, unyank or deprecation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonRequest {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Adds or removes owners, as Cargo writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnersRequest {
    /// Logins or account ids.
    pub users: Vec<String>,
    /// Role to give; `owner` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Why it must take force at once; only for administrators, and only where a time-lock would delay it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

/// Offers a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferRequest {
    /// Login, name of an organisation, or account id.
    pub to: String,
}

/// Registers a key of an author, or revokes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorKeyRequest {
    /// The key.
    pub key: AuthorKey,
}

/// Sets which keys must sign the releases of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleRequest {
    /// How many of the keys must sign; none lifts the rule.
    pub threshold: u32,
    /// The keys.
    #[serde(default)]
    pub keys: BTreeSet<AuthorKey>,
    /// How many hours a weaker rule, and a change of owners, wait after this one; 24 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_hours: Option<u32>,
    /// Why it must take force at once; only for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

/// Who owns a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnersResponse {
    /// The owners.
    pub users: Vec<Owner>,
}

/// One owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// A number for Cargo, derived from the account id.
    pub id: u32,
    /// Login, or the account id where the login is gone.
    pub login: String,
    /// Display name; none is kept.
    pub name: Option<String>,
    /// The account.
    pub account: AccountId,
    /// Its role.
    pub role: Role,
}

/// Asks for a large upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadRequest {
    /// SHA-256 of the archive, as 64 hex digits or `sha256:` and those.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Where to put a large upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadResponse {
    /// To be named when publishing.
    pub id: String,
    /// Where to `PUT` the bytes.
    pub url: String,
    /// Headers to send with them, as they are.
    pub headers: Vec<(String, String)>,
    /// For how many seconds the URL works.
    pub valid_s: u32,
}

/// Sets an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliasRequest {
    /// The package it shall mean.
    pub package: String,
}

/// What a short name means. Exactly these fields: an existing client refuses any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveResponse {
    /// The package.
    pub full_name: PackageName,
    /// Always true.
    pub resolved: bool,
}

/// A package with its releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageResponse {
    /// The package document.
    #[serde(flatten)]
    pub document: PackageDocument,
    /// The releases, in the order of publication.
    pub versions: Vec<IndexLine>,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionResponse {
    /// The index line.
    #[serde(flatten)]
    pub line: IndexLine,
    /// SHA-256 of the archive, as 64 hex digits.
    pub checksum: String,
    /// Where the archive is.
    pub download_url: String,
    /// Why it is yanked, while the text is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yank_reason_text: Option<String>,
    /// From which commit the sources were taken, as the archive says; nobody has checked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcs: Option<VcsInfo>,
    /// How to depend on it from Zig, if it is a Zig package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zig_snippet: Option<ZigSnippet>,
}

/// Answer of a search, as Cargo reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResponse {
    /// What was found.
    pub crates: Vec<SearchHit>,
    /// How many there are.
    pub meta: SearchMeta,
}

/// How much a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchMeta {
    /// Number of hits.
    pub total: u64,
}

/// One hit of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchHit {
    /// Package.
    pub name: PackageName,
    /// Newest version.
    pub max_version: String,
    /// Description.
    pub description: Option<String>,
    /// Aliases that matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
}

/// Every error answer. Cargo reads `errors[].detail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// All problems of the request.
    pub errors: Vec<Problem>,
    /// To be named when asking for help.
    pub request_id: String,
}

/// A new token, shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminTokenResponse {
    /// The secret.
    pub token: String,
    /// The account that it acts for.
    pub account: AccountId,
    /// That account's login.
    pub login: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it expires, RFC 3339; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Formats of this registry, so that the next step can be shown.
    pub formats: Vec<Format>,
}
