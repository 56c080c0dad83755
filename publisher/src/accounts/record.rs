//! What is kept of accounts, their sessions, and the links that were mailed. Private: none of it is in the log.

use drystone_schemas::{AccountId, EventId, Login, Sha256Digest, User, rfc3339};
use serde::{Deserialize, Serialize};

use super::Email;

/// `accounts/<ulid>`: an account. After its deletion, only that there was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Version of this format; 1.
    pub v: u32,
    /// Its id, for ever.
    pub id: AccountId,
    /// Its login.
    pub login: Login,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Its address, verified or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// When the address was verified, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<u64>,
    /// The hash of its password, as a PHC string; without one, nobody signs in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<PasswordHash>,
    /// Who it is at the provider where people sign in, as a keyed hash. Counts if the provider's side says so as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
    /// How often the password was set, or a second factor enrolled. A session that began before the last time ends.
    #[serde(default)]
    pub(crate) credentials: u64,
    /// Whether it may do everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Whether it is an organisation: nobody signs in as one, its members act for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub org: bool,
    /// The organisation that it is a team of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) team_of: Option<AccountId>,
    /// When its deletion began, in seconds since 1970. From then on nobody signs in, and no token is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<u64>,
}

/// A password's hash. Does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PasswordHash(pub(super) String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(<hidden>)")
    }
}

impl AccountRecord {
    /// A new account.
    pub(crate) fn new(id: AccountId, login: Login, created: u64) -> Self {
        Self {
            v: 1,
            id,
            login,
            created,
            email: None,
            email_verified: None,
            password: None,
            person: None,
            credentials: 0,
            admin: false,
            org: false,
            team_of: None,
            closed: None,
        }
    }

    /// What is left when it is deleted: that events name it.
    pub(super) fn tombstone(&self, now_s: u64) -> Self {
        let login = format!("deleted-{}", self.id.ulid().to_ascii_lowercase());
        let login = Login::new(login).expect("a ULID after eight characters makes a login");
        Self {
            closed: Some(self.closed.unwrap_or(now_s)),
            credentials: self.credentials + 1,
            ..Self::new(self.id.clone(), login, self.created)
        }
    }

    /// The address, if it was shown to be the account's.
    pub(super) fn verified_email(&self) -> Option<&Email> {
        self.email.as_ref().filter(|_| self.email_verified.is_some())
    }

    /// The account, as its owner sees it.
    pub(crate) fn to_user(&self) -> User {
        User {
            id: self.id.clone(),
            username: self.login.to_string(),
            email: self.email.clone().map(String::from),
            email_verified: self.email_verified.is_some(),
            created_at: rfc3339(self.created),
            is_admin: self.admin,
        }
    }
}

/// `sessions/<account>/<ulid>`: a session: a family of refresh tokens, of which the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    /// Version of this format; 1.
    pub(super) v: u32,
    /// The account's `credentials` when it began.
    pub(super) credentials: u64,
    /// When it ends unless it is refreshed, in seconds since 1970.
    pub(super) expires: u64,
    /// The refresh token that goes on with it.
    pub(super) refresh: Sha256Digest,
    /// The last ones before it. Whoever presents one has it from somewhere.
    pub(super) used: Vec<Sha256Digest>,
    /// The bearer token that it has now.
    pub(super) access: Sha256Digest,
    /// Whether it was ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ended: bool,
}

/// `email/<hash>`: the account that says that it verified an address. Counts if the account says so as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EmailClaim {
    /// Version of this format; 1.
    pub(super) v: u32,
    pub(super) account: AccountId,
    /// When it was made, in seconds since 1970.
    pub(super) created: u64,
}

/// `people/<hash>`: the account of somebody whom the provider knows where people sign in. Counts if the account says so as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PersonClaim {
    /// Version of this format; 1.
    pub(super) v: u32,
    pub(super) account: AccountId,
}

/// `links/<sha256>`: what a token is for that was sent by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MailLink {
    /// Version of this format; 1.
    pub(super) v: u32,
    pub(super) account: AccountId,
    pub(super) purpose: LinkPurpose,
    /// When it ends, in seconds since 1970.
    pub(super) expires: u64,
    /// Whether it was used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) used: bool,
}

/// What a mailed token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LinkPurpose {
    /// To verify the address with this hash.
    Verify { email: String },
    /// To set a password, if it was set this many times before.
    Reset { credentials: u64 },
}

/// `tokens-of/<account>/<ulid>`: where a token of the account lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenPlace {
    /// Version of this format; 1.
    pub(super) v: u32,
    pub(super) digest: Sha256Digest,
}

/// `audit/<account>/<ulid>`: something that happened to an account. Without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditRecord {
    /// Version of this format; 1.
    pub(super) v: u32,
    /// When, in seconds since 1970.
    pub(super) at: u64,
    pub(super) kind: AuditKind,
    /// The token or session that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<EventId>,
}

/// What can happen to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuditKind {
    Registered,
    SignedIn,
    SignInFailed,
    SignedOut,
    RefreshReused,
    PasswordChanged,
    PasswordReset,
    EmailVerified,
    TokenMade,
    TokenRevoked,
    TokenLeaked,
    AdminGranted,
    AdminWithdrawn,
    AccountDeleted,
    MembersChanged,
    SecondFactorEnabled,
    SecondFactorDisabled,
    SecondFactorFailed,
    RecoveryCodeUsed,
    RecoveryCodesMade,
    ProviderJoined,
}

impl AuditKind {
    /// The kind as written.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::SignedIn => "signed-in",
            Self::SignInFailed => "sign-in-failed",
            Self::SignedOut => "signed-out",
            Self::RefreshReused => "refresh-reused",
            Self::PasswordChanged => "password-changed",
            Self::PasswordReset => "password-reset",
            Self::EmailVerified => "email-verified",
            Self::TokenMade => "token-made",
            Self::TokenRevoked => "token-revoked",
            Self::TokenLeaked => "token-leaked",
            Self::AdminGranted => "admin-granted",
            Self::AdminWithdrawn => "admin-withdrawn",
            Self::AccountDeleted => "account-deleted",
            Self::MembersChanged => "members-changed",
            Self::SecondFactorEnabled => "second-factor-enabled",
            Self::SecondFactorDisabled => "second-factor-disabled",
            Self::SecondFactorFailed => "second-factor-failed",
            Self::RecoveryCodeUsed => "recovery-code-used",
            Self::RecoveryCodesMade => "recovery-codes-made",
            Self::ProviderJoined => "provider-joined",
        }
    }
}
