//! How accounts come and go: registration, the first administrator, deletion.
//!
//! Invariants: an address that is known already is not told apart from one that is not, except by mail to that address; a login
//! that was somebody's is nobody else's later; a deletion that breaks off can be repeated by whoever began it.

use std::net::IpAddr;

use drystone_schemas::{
    AccountId, Code, DeleteAccountRequest, Login, Problem, PublicUser, RegisterRequest, Registration,
    SecretText, SessionResponse, canonical_json, layout, rfc3339,
};
use drystone_storage::{Key, Meta, Replace, new_ulid};

use super::{
    AccountRecord, Email, mail, password,
    record::{AuditKind, EmailClaim, PasswordHash, PersonClaim},
};
use crate::{
    Refusal, Service, Token, TokenRecord,
    limits::REGISTRATIONS,
    service::Core,
    swap::{self, Change},
    vault,
};

/// Shortest and longest login that is registered.
const LOGIN_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
/// Logins that would be mistaken for addresses of the API or for the operator.
const RESERVED_LOGINS: [&str; 12] = [
    "admin",
    "administrator",
    "anonymous",
    "api",
    "drystone",
    "moderator",
    "new",
    "official",
    "registry",
    "root",
    "security",
    "support",
];

/// Who signed up, and what for.
pub(super) struct NewAccount {
    pub(super) login: Login,
    pub(super) email: Option<Email>,
    /// None for whoever signs in at a provider.
    pub(super) password: Option<SecretText>,
}

impl NewAccount {
    fn read(asked: &RegisterRequest) -> Result<Self, Refusal> {
        let mut problems = Vec::new();
        let login = check_login(asked.username.trim()).map_err(|problem| problems.push(problem));
        let email = Email::new(asked.email.trim())
            .map_err(|e| problems.push(Problem::new(Code::InvalidEmail, format!("`email`: {e}"))));
        if let Err(problem) = password::check(&asked.password, &asked.username, &asked.email) {
            problems.push(problem);
        }
        match (login, email) {
            (Ok(login), Ok(email)) if problems.is_empty() => {
                Ok(Self { login, email: Some(email), password: Some(asked.password.clone()) })
            }
            _ => Err(problems.into()),
        }
    }
}

pub(super) fn check_login(text: &str) -> Result<Login, Problem> {
    let shown: String = text.chars().take(64).collect();
    let bad = |why: &str| Problem::new(Code::InvalidLogin, format!("`{shown}` {why}"));
    let login = Login::new(text).map_err(|_| bad("is not a login"))?;
    if !LOGIN_CHARS.contains(&text.len()) {
        return Err(bad(&format!(
            "has {} characters, not {} to {}",
            text.len(),
            LOGIN_CHARS.start(),
            LOGIN_CHARS.end()
        )));
    }
    if RESERVED_LOGINS.contains(&text) || text.starts_with("deleted-") {
        return Err(bad("is reserved"));
    }
    Ok(login)
}

impl Service {
    /// Makes an account for whoever asks, and begins its first session.
    pub(crate) async fn register(
        &self,
        asked: &RegisterRequest,
        from: Option<IpAddr>,
    ) -> Result<SessionResponse, Refusal> {
        let account = self.register_account(asked, from).await?;
        self.begin_session(&account).await
    }

    /// The same for a client that cannot refresh a session.
    pub(crate) async fn register_for_long(
        &self,
        asked: &RegisterRequest,
        from: Option<IpAddr>,
    ) -> Result<(Token, TokenRecord, AccountRecord), Refusal> {
        let account = self.register_account(asked, from).await?;
        let (token, record) = self.long_token(&account).await?;
        Ok((token, record, account))
    }

    async fn register_account(
        &self,
        asked: &RegisterRequest,
        from: Option<IpAddr>,
    ) -> Result<AccountRecord, Refusal> {
        let core = &*self.core;
        let settings = self.recent_settings().await;
        if settings.registration == Registration::Closed {
            return Err(Refusal::code(Code::AccountsClosed, Code::AccountsClosed.title()));
        }
        let wanted = NewAccount::read(asked)?;
        core.take_for_address(REGISTRATIONS, from).await?;
        let email = wanted.email.clone().ok_or_else(|| Refusal::internal("a registration has an address"))?;
        let known = self.account_of(&email.canonical()).await?;
        // The address of somebody else's account stays theirs; that they have one is told to them alone.
        let wanted = NewAccount { email: known.is_none().then_some(email.clone()), ..wanted };
        let account = self.make_account(&wanted, false).await?;
        core.note(&account.id, AuditKind::Registered, None).await?;
        let mail = if known.is_none() {
            self.verification_mail(&account, &email).await?
        } else {
            mail::already_known(&settings, email.clone())
        };
        if let Err(refusal) = mail::send(self.options.mailer.as_ref(), &mail).await {
            // The account is made, and another mail can be asked for.
            tracing::warn!("a mail to a new account was not sent: {refusal}");
        }
        // What its owner is told does not depend on what is known of the address.
        Ok(AccountRecord { email: Some(email), ..account })
    }

    /// Makes an account with a password, or gives one that exists a new one; at the machine. Answers with its id.
    pub async fn make_person(
        &self,
        login: &Login,
        password: &SecretText,
        admin: bool,
    ) -> Result<AccountId, Refusal> {
        let core = &*self.core;
        password::check(password, login.as_str(), "").map_err(Refusal::new)?;
        let there = vault::find_account(&*core.store.vault, login.as_str()).await?;
        let Some(there) = there else {
            let wanted = NewAccount { login: login.clone(), email: None, password: Some(password.clone()) };
            let account = self.make_account(&wanted, admin).await?;
            let kind = if admin { AuditKind::AdminGranted } else { AuditKind::Registered };
            core.note(&account.id, kind, None).await?;
            return Ok(account.id);
        };
        self.set_password(&there, password, AuditKind::PasswordReset, None).await?;
        if there.admin != admin {
            self.set_admin(&there.id, admin).await?;
        }
        Ok(there.id)
    }

    /// Lets an account do everything, or no longer. Its sessions end, and so do its tokens that may do everything.
    async fn set_admin(&self, account: &AccountId, admin: bool) -> Result<(), Refusal> {
        let core = &*self.core;
        core.change_account(account, |there| AccountRecord { admin, ..there }).await?;
        let kind = if admin { AuditKind::AdminGranted } else { AuditKind::AdminWithdrawn };
        core.note(account, kind, None).await?;
        if !admin {
            core.drop_tokens(account, TokenRecord::is_admin).await?;
            core.end_sessions(account, None).await?;
            core.committer.fence().await?;
        }
        Ok(())
    }

    pub(super) async fn make_account(
        &self,
        wanted: &NewAccount,
        admin: bool,
    ) -> Result<AccountRecord, Refusal> {
        let core = &*self.core;
        let taken = || {
            let problem = Problem::new(Code::LoginTaken, format!("the login `{}` is taken", wanted.login));
            Refusal::new(problem.fact("username", &wanted.login))
        };
        // Hashed in any case: how long an answer takes tells nothing.
        let hash = match &wanted.password {
            Some(password) => Some(PasswordHash(core.hasher.hash(password, &*core.entropy).await?)),
            None => None,
        };
        let vault = &*core.store.vault;
        core.check_free(&wanted.login, None).await?.ok_or_else(taken)?;
        let id = AccountId::new(format!("acct:{}", new_ulid(&*core.clock, &*core.entropy)))
            .expect("a new ULID makes an account id");
        let account = AccountRecord {
            email: wanted.email.clone(),
            password: hash,
            credentials: 1,
            admin,
            ..AccountRecord::new(id.clone(), wanted.login.clone(), core.clock.now_unix_s())
        };
        let stored = account.clone();
        swap::update(core, layout::account(&id), |_: Option<AccountRecord>| {
            Ok(Change::Write(stored.clone(), ()))
        })
        .await?;
        if vault::create(vault, layout::login(&wanted.login), &id).await? {
            return Ok(account);
        }
        vault.delete(&Key::new(layout::account(&id)).map_err(Refusal::internal)?).await?;
        Err(taken())
    }

    /// Deletes the account of a session: whatever is personal goes, and everything that acts for it.
    pub(crate) async fn delete_account(
        &self,
        by: &Token,
        asked: &DeleteAccountRequest,
    ) -> Result<(), Refusal> {
        let core = &*self.core;
        let (record, session) = self.session_of(by).await?;
        let DeleteAccountRequest { password, code } = asked;
        let account = self.reauthenticate_fully(&record.account, password, code.as_ref()).await?;
        let id = &account.id;
        let now_s = core.clock.now_unix_s();
        // From here on nobody signs in, and no token is made; the session at hand can go on if this breaks off.
        core.change_account(id, |there| AccountRecord {
            closed: Some(there.closed.unwrap_or(now_s)),
            ..there
        })
        .await?;
        core.drop_tokens(id, |_| true).await?;
        core.end_sessions(id, Some(&session)).await?;
        core.leave_all(id).await?;
        core.forget_factors(id).await?;
        let (keys, vault) = (core.keys().await?, &*core.store.vault);
        if let Some(email) = account.verified_email() {
            let key = layout::email_claim(&keys.hash("email", &email.canonical()));
            let claim: Option<EmailClaim> = swap::look(core, key.clone()).await?;
            if claim.is_some_and(|claim| claim.account == *id) {
                vault.delete(&Key::new(key).map_err(Refusal::internal)?).await?;
            }
        }
        if let Some(person) = &account.person {
            let key = layout::person(person);
            let claim: Option<PersonClaim> = swap::look(core, key.clone()).await?;
            if claim.is_some_and(|claim| claim.account == *id) {
                vault.delete(&Key::new(key).map_err(Refusal::internal)?).await?;
            }
        }
        // Kept under a keyed hash, so that nobody takes the name over.
        let gone = layout::login_gone(&keys.hash("login", account.login.as_str()));
        mark(core, gone, now_s).await?;
        vault.delete(&Key::new(layout::login(&account.login)).map_err(Refusal::internal)?).await?;
        core.note(id, AuditKind::AccountDeleted, None).await?;
        core.change_account(id, |there| there.tombstone(now_s)).await?;
        core.end_session(id, &session).await?;
        Ok(core.committer.fence().await?)
    }

    /// An account, as everybody sees it.
    pub(crate) async fn public_user(&self, text: &str) -> Result<PublicUser, Refusal> {
        let shown: String = text.chars().take(64).collect();
        let missing = || Refusal::code(Code::AccountNotFound, format!("there is no account `{shown}`"));
        let account = vault::find_account(&*self.core.store.vault, text).await?.ok_or_else(missing)?;
        Ok(PublicUser {
            username: account.login.to_string(),
            created_at: rfc3339(account.created),
            id: account.id,
        })
    }

    /// The account with this login, or with this verified address.
    pub(super) async fn account_of(&self, text: &str) -> Result<Option<AccountRecord>, Refusal> {
        let (core, vault) = (&*self.core, &*self.core.store.vault);
        let Ok(email) = Email::new(text) else {
            let Ok(login) = Login::new(text) else { return Ok(None) };
            return vault::find_account(vault, login.as_str()).await;
        };
        let hash = core.keys().await?.hash("email", &email.canonical());
        let claim: Option<EmailClaim> = swap::look(core, layout::email_claim(&hash)).await?;
        let Some(claim) = claim else { return Ok(None) };
        let account = vault::read_account(vault, &claim.account).await?;
        // A claim counts only if the account says the same.
        let says_so = |account: &AccountRecord| {
            account.verified_email().is_some_and(|own| own.canonical() == email.canonical())
        };
        Ok(account.filter(says_so))
    }

    /// The account, if this is its password; for what a session alone may not do.
    pub(super) async fn reauthenticate(
        &self,
        id: &AccountId,
        password: &SecretText,
    ) -> Result<AccountRecord, Refusal> {
        let core = &*self.core;
        let account = vault::read_account(&*core.store.vault, id).await?;
        let account = account.ok_or_else(super::session::login_failed)?;
        core.take_shared(crate::limits::logins(&self.settings().limits), account.login.as_str()).await?;
        let kept = account.password.as_ref().map(|hash| &*hash.0);
        if core.hasher.verify(password, kept).await? {
            Ok(account)
        } else {
            Err(super::session::login_failed())
        }
    }
}

/// Writes that something was so at a time; that it was so already is as good.
async fn mark(core: &Core, key: String, at: u64) -> Result<(), Refusal> {
    let key = Key::new(key).map_err(Refusal::internal)?;
    match core.store.vault.replace(&key, None, canonical_json(&at).into(), Meta::PRIVATE).await? {
        Replace::Replaced(_) | Replace::Conflict => Ok(()),
        Replace::Unknown(detail) => Err(Refusal::outcome_unknown(detail)),
    }
}

impl Core {
    /// Changes an account.
    pub(super) async fn change_account(
        &self,
        id: &AccountId,
        mut change: impl FnMut(AccountRecord) -> AccountRecord,
    ) -> Result<AccountRecord, Refusal> {
        swap::update(self, layout::account(id), |there: Option<AccountRecord>| {
            let there = there.ok_or_else(|| Refusal::code(Code::AccountNotFound, "the account is gone"))?;
            let changed = change(there.clone());
            Ok(if changed == there {
                Change::Leave(changed)
            } else {
                Change::Write(changed.clone(), changed)
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_with_a_registration_is_told_at_once() {
        let asked = |username: &str, email: &str, password: &str| RegisterRequest {
            username: username.into(),
            email: email.into(),
            password: SecretText::new(password),
        };
        let codes = |asked: &RegisterRequest| match NewAccount::read(asked) {
            Ok(_) => Vec::new(),
            Err(refusal) => refusal.problems.into_iter().map(|problem| problem.code).collect(),
        };
        assert_eq!(codes(&asked("ann", "ann@example.org", "four words of mine")), []);
        assert_eq!(
            codes(&asked("A", "ann", "secret")),
            [Code::InvalidLogin, Code::InvalidEmail, Code::WeakPassword]
        );
        for login in ["ab", "root", "deleted-x", "-ann", "Ann", &"a".repeat(33)] {
            assert_eq!(codes(&asked(login, "a@b.c", "four words of mine")), [Code::InvalidLogin], "{login}");
        }
    }
}
