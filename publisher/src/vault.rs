//! The private area as the publisher sees it: tokens, accounts, and what accounts have used up.

use drystone_schemas::{
    AccountId, Code, EventId, Login, PackageName, Sha256Digest, Version, canonical_json, layout,
};
use drystone_storage::{Area, Key, Meta, Replace};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{AccountRecord, PackagePattern, Refusal, token::TokenKind};

/// Longest private record, in bytes.
pub(crate) const RECORD_BYTES_MAX: u64 = 64 << 10;

/// What a token may do. Reading needs none of these: whoever has a token may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything, for every package, without quotas.
    Admin,
    /// Create packages.
    PublishNew,
    /// Publish versions of existing packages.
    PublishUpdate,
    /// Yank, unyank, deprecate.
    Yank,
    /// Change owners.
    Owners,
    /// Change aliases.
    Alias,
    /// Say which CI identities may publish.
    TrustedPublishing,
    /// Nothing but read, where reads need a token.
    Read,
}

impl Scope {
    /// Every scope, `admin` last.
    pub const ALL: [Self; 8] = [
        Self::PublishNew,
        Self::PublishUpdate,
        Self::Yank,
        Self::Owners,
        Self::Alias,
        Self::TrustedPublishing,
        Self::Read,
        Self::Admin,
    ];

    /// Every right that somebody who publishes needs.
    pub const ORDINARY: [Self; 5] =
        [Self::PublishNew, Self::PublishUpdate, Self::Yank, Self::Owners, Self::Alias];

    /// The scope as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::PublishNew => "publish-new",
            Self::PublishUpdate => "publish-update",
            Self::Yank => "yank",
            Self::Owners => "owners",
            Self::Alias => "alias",
            Self::TrustedPublishing => "trusted-publishing",
            Self::Read => "read",
        }
    }

    /// The scope that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// `tokens/<sha256>`: a token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Version of this format; 1.
    pub v: u32,
    /// The account that it acts for.
    pub account: AccountId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it expires, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Its name among the account's tokens; the operator's first one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// Packages that it may change; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackagePattern>,
    /// The session whose bearer token it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<EventId>,
    /// What kind it is.
    #[serde(default, skip_serializing_if = "TokenKind::is_personal")]
    pub(crate) kind: TokenKind,
    /// The one upload that it is for; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<Upload>,
}

/// One version with one archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) vers: Version,
    pub(crate) tarball: Sha256Digest,
}

impl TokenRecord {
    /// What is kept of a token for every package that does not expire and has no name yet.
    pub(crate) fn new(account: AccountId, id: EventId, scopes: Vec<Scope>, created: u64) -> Self {
        Self {
            v: 1,
            account,
            name: String::new(),
            scopes,
            created,
            expires: None,
            id: Some(id),
            packages: Vec::new(),
            session: None,
            kind: TokenKind::Personal,
            upload: None,
        }
    }

    /// Whether it may change this package.
    pub fn covers(&self, package: &PackageName) -> bool {
        self.packages.is_empty() || self.packages.iter().any(|pattern| pattern.covers(package))
    }

    /// Whether it may do something that needs this scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&Scope::Admin) || self.scopes.contains(&scope)
    }

    /// Refuses a token that was made before head was made anew: what was revoked since may have come back.
    pub(crate) fn refuse_if_void(&self, auth_epoch: u64) -> Result<(), Refusal> {
        if self.created >= auth_epoch {
            return Ok(());
        }
        Err(Refusal::code(Code::TokenInvalid, "the token was made before the registry was recovered"))
    }

    /// Whether it is the operator's.
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }
}

/// `quota/<ulid>`: what an account has used up, as of a position in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaRecord {
    /// Position in the log of the last event that changed it.
    pub(crate) seq: u64,
    /// Packages created.
    pub(crate) packages: u64,
    /// Bytes of all archives published.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// When the bucket of releases is full, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) uploads_full_at_ms: u64,
    /// When the bucket of changes is full, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) changes_full_at_ms: u64,
}

/// `scopes/<owner part>`: who created the first package with this owner part, where nobody had it as a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeRecord {
    /// Position in the log of that package's first release.
    pub(crate) seq: u64,
    pub(crate) account: AccountId,
}

/// `done/<intent id>`: what an intent came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoneRecord {
    pub(crate) v: u32,
    pub(crate) seq: u64,
    /// Digest of what was asked, so that an id cannot be used for something else.
    pub(crate) intent: Sha256Digest,
}

/// `uploads/<id>.ticket`: what a large upload was declared to be. Deleting it uses the upload up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadTicket {
    pub(crate) v: u32,
    pub(crate) account: AccountId,
    pub(crate) sha256: Sha256Digest,
    pub(crate) size: u64,
    pub(crate) created: u64,
}

/// Reads a private record; a record that does not parse is the operator's problem, not the caller's.
pub(crate) async fn read<T: DeserializeOwned>(vault: &dyn Area, key: String) -> Result<Option<T>, Refusal> {
    let key = Key::new(key).map_err(Refusal::internal)?;
    let Some(bytes) = vault.get(&key, RECORD_BYTES_MAX).await? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Refusal::internal(format!("`{key}` does not parse: {e}")))
}

/// Creates a private record; `false` if its key is taken.
pub(crate) async fn create<T: Serialize>(vault: &dyn Area, key: String, record: &T) -> Result<bool, Refusal> {
    let key = Key::new(key).map_err(Refusal::internal)?;
    match vault.replace(&key, None, canonical_json(record).into(), Meta::PRIVATE).await? {
        Replace::Replaced(_) => Ok(true),
        Replace::Conflict => Ok(false),
        Replace::Unknown(detail) => Err(Refusal::outcome_unknown(detail)),
    }
}

/// Every key below a folder.
pub(crate) async fn list(vault: &dyn Area, folder: &str) -> Result<Vec<String>, Refusal> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = vault.list(folder, after.as_deref()).await?;
        keys.extend(page.keys.iter().map(ToString::to_string));
        after = page.next;
        if after.is_none() {
            return Ok(keys);
        }
    }
}

/// The token stored under this digest.
pub(crate) async fn read_token(
    vault: &dyn Area,
    digest: &Sha256Digest,
) -> Result<Option<TokenRecord>, Refusal> {
    read(vault, layout::token(digest)).await
}

/// The outcome of an intent, if it has one.
pub(crate) async fn read_done(vault: &dyn Area, id: &EventId) -> Result<Option<DoneRecord>, Refusal> {
    read(vault, layout::done(id)).await
}

/// The account with this id.
pub(crate) async fn read_account(vault: &dyn Area, id: &AccountId) -> Result<Option<AccountRecord>, Refusal> {
    read(vault, layout::account(id)).await
}

/// The account that a text names, by login or id.
pub(crate) async fn find_account(vault: &dyn Area, text: &str) -> Result<Option<AccountRecord>, Refusal> {
    if let Ok(id) = AccountId::new(text) {
        return read_account(vault, &id).await;
    }
    let Ok(login) = Login::new(text) else { return Ok(None) };
    match read::<AccountId>(vault, layout::login(&login)).await? {
        Some(id) => read_account(vault, &id).await,
        None => Ok(None),
    }
}
