//! Bodies of the API for accounts, sessions and tokens. Unknown fields are tolerated when read.
//!
//! Invariant: what is secret in a body prints as nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{AccountId, Role};

/// A secret on its way: a password, a token. Prints as nothing, and is overwritten when it goes.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct SecretText(String);

impl SecretText {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(<hidden>)")
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Makes an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterRequest {
    /// Login: 3 to 32 characters of `[a-z0-9-]`.
    pub username: String,
    /// E-mail address, to be verified.
    pub email: String,
    /// Password: 12 to 128 characters.
    pub password: SecretText,
}

/// Signs in. One of `username` and `email`; an e-mail address counts once it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginRequest {
    /// Login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// E-mail address, or a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Password.
    pub password: SecretText,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SecretText>,
}

/// A session: what a sign-in or a refresh came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionResponse {
    /// Bearer token for requests; for minutes.
    pub token: SecretText,
    /// When it ends, RFC 3339.
    pub expires_at: String,
    /// Token for the next refresh, once.
    pub refresh_token: SecretText,
    /// When the session ends if it is not refreshed, RFC 3339.
    pub refresh_expires_at: String,
    /// Who is signed in.
    pub user: User,
}

/// An account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Account id, as the log names it.
    pub id: AccountId,
    /// Login.
    pub username: String,
    /// E-mail address, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the address was verified.
    pub email_verified: bool,
    /// When the account was made, RFC 3339.
    pub created_at: String,
    /// Whether it may do everything.
    pub is_admin: bool,
}

/// An account, as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicUser {
    /// Account id, as the log names it.
    pub id: AccountId,
    /// Login.
    pub username: String,
    /// When the account was made, RFC 3339.
    pub created_at: String,
}

/// Goes on with a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefreshRequest {
    /// The refresh token of the last answer.
    pub refresh_token: SecretText,
}

/// Ends the session, or revokes the token, that the request carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogoutRequest {
    /// End every session of the account.
    #[serde(default)]
    pub everywhere: bool,
}

/// Changes the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordChangeRequest {
    /// The password until now.
    pub old_password: SecretText,
    /// The password from now on.
    pub new_password: SecretText,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SecretText>,
}

/// Asks for a link by mail. The answer is the same whether there is such an account or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordResetRequest {
    /// Login, or a verified e-mail address.
    pub username: String,
}

/// Sets a password with a token that came by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSetRequest {
    /// The token from the mail.
    pub token: SecretText,
    /// The password from now on.
    pub new_password: SecretText,
}

/// Verifies an e-mail address with a token that came by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyRequest {
    /// The token from the mail.
    pub token: SecretText,
}

/// Deletes the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteAccountRequest {
    /// The password, once more.
    pub password: SecretText,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SecretText>,
}

/// Asks for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewTokenRequest {
    /// What to call it.
    pub name: String,
    /// What it may do; all that a publisher needs if empty.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Packages that it may change: `name`, `prefix*` or `owner/*`; all if empty.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Days until it expires; 90 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u64>,
}

/// The codes of a machine (RFC 8628 section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceCodes {
    /// What the machine keeps, and exchanges for its token.
    pub device_code: SecretText,
    /// What it shows.
    pub user_code: String,
    /// Where that is typed in.
    pub verification_uri: String,
    /// The same place, with the code.
    pub verification_uri_complete: String,
    /// Seconds for which both codes are good.
    pub expires_in: u64,
    /// Seconds that lie between two questions of the machine.
    pub interval: u64,
}

/// A machine asks for its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceTokenRequest {
    /// The code that it keeps.
    pub device_code: SecretText,
}

/// What somebody who is signed in says of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceAnswer {
    /// The code that it shows; case, blanks and hyphens are all the same.
    pub user_code: String,
    /// Whether it gets what it asks for.
    pub approve: bool,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenInfo {
    /// Names it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Packages that it may change; all if empty.
    pub packages: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it expires, RFC 3339; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The day on which it was used last, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A new token; its secret is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewTokenResponse {
    /// The secret.
    pub token: SecretText,
    /// What is kept of it.
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// The tokens of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokensResponse {
    /// By age, the oldest first.
    pub tokens: Vec<TokenInfo>,
}

/// What happened to an account and its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecurityEvent {
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub kind: String,
    /// The token or session that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The newest security events of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecurityEventsResponse {
    /// The newest first.
    pub events: Vec<SecurityEvent>,
}

/// Makes an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewOrgRequest {
    /// What it is called; like a login.
    pub name: String,
}

/// Invites somebody to an organisation, or gives a member another role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberRequest {
    /// As what.
    pub role: Role,
}

/// A member of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Account id.
    pub id: AccountId,
    /// Login, or the id where the login is gone.
    pub username: String,
    /// As what.
    pub role: Role,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrgResponse {
    /// Account id, as the log names it.
    pub id: AccountId,
    /// What it is called.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Its members; for members alone.
    pub members: Vec<Member>,
    /// Who may join; for members alone.
    pub invited: Vec<Member>,
    /// Its teams; for members alone.
    #[serde(default)]
    pub teams: Vec<Team>,
}

/// A team of an organisation: owner or collaborator of packages as `ORG/TEAM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Team {
    /// Account id, as the log names it.
    pub id: AccountId,
    /// What it is called within the organisation.
    pub name: String,
    /// Logins of who is in it.
    pub members: Vec<String>,
}

/// A token that was found where it should not be, as secret scanners report it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakedToken {
    /// The token.
    pub token: SecretText,
    /// Where it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a reported text was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakVerdict {
    /// SHA-256 of the text, in hex.
    pub token_hash: String,
    /// Kind of token that was reported.
    pub token_type: String,
    /// `true_positive` if it was a token of this registry, which is revoked now; else `false_positive`.
    pub label: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_bodies_do_not_print() {
        let request = LoginRequest {
            username: Some("ann".into()),
            email: None,
            password: SecretText::new("correct horse battery"),
            code: None,
        };
        assert!(!format!("{request:?}").contains("horse"));
        assert!(serde_json::to_string(&request).unwrap().contains("horse"));
    }
}
