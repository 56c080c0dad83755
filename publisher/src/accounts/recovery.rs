//! Addresses and passwords: verifying the one, changing and resetting the other.
//!
//! A mailed token works once: using it is a swap of its record. Invariant: whoever asks for a mail is answered alike, and after
//! the same time, whether one was sent or not.

use std::{net::IpAddr, time::Duration};

use drystone_schemas::{Code, EventId, PasswordChangeRequest, SecretText, layout};
use futures_util::future::join;

use super::{
    AccountRecord, Email,
    mail::{self, Mail},
    password,
    record::{AuditKind, EmailClaim, LinkPurpose, MailLink, PasswordHash},
};
use crate::{
    Refusal, Service, Token,
    limits::{ATTEMPTS, MAILS, logins, subject_of},
    swap::{self, Change},
    token::TokenKind,
    vault,
};

/// Seconds for which a link to verify an address works.
const VERIFY_S: u64 = 24 * 3_600;
/// Seconds for which a link to set a password works.
const RESET_S: u64 = 3_600;
/// Seconds after which a claim that its account does not repeat may be replaced.
const CLAIM_S: u64 = 24 * 3_600;
/// How long asking for a mail takes: longer than sending one can.
const ASKING: Duration = Duration::from_secs(mail::SENDING_MAX.as_secs() + 1);

fn link_invalid() -> Refusal {
    Refusal::code(Code::LinkInvalid, Code::LinkInvalid.title())
}

impl Service {
    /// A token that was sent by mail, for this purpose.
    async fn new_link(
        &self,
        account: &AccountRecord,
        purpose: LinkPurpose,
        valid_s: u64,
    ) -> Result<Token, Refusal> {
        let core = &*self.core;
        let token = Token::generate_kind(TokenKind::Recovery, &*core.entropy);
        let expires = core.clock.now_unix_s() + valid_s;
        let link = MailLink { v: 1, account: account.id.clone(), purpose, expires, used: false };
        swap::update(core, layout::mail_link(&token.digest()), |_: Option<MailLink>| {
            Ok(Change::Write(link.clone(), ()))
        })
        .await?;
        Ok(token)
    }

    /// Uses a mailed token up.
    async fn use_link(&self, text: &SecretText, from: Option<IpAddr>) -> Result<MailLink, Refusal> {
        let core = &*self.core;
        core.take_for_address(ATTEMPTS, from).await?;
        let token =
            Token::parse_kind(TokenKind::Recovery, text.expose().trim()).map_err(|_| link_invalid())?;
        let now_s = core.clock.now_unix_s();
        swap::update(core, layout::mail_link(&token.digest()), |there: Option<MailLink>| {
            let link = there.filter(|link| !link.used && link.expires > now_s).ok_or_else(link_invalid)?;
            Ok(Change::Write(MailLink { used: true, ..link.clone() }, link))
        })
        .await
    }

    /// The mail that asks whether an address is the account's.
    pub(super) async fn verification_mail(
        &self,
        account: &AccountRecord,
        email: &Email,
    ) -> Result<Mail, Refusal> {
        let hash = self.core.keys().await?.hash("email", &email.canonical());
        let token = self.new_link(account, LinkPurpose::Verify { email: hash }, VERIFY_S).await?;
        Ok(mail::verification(&self.settings(), email.clone(), account.login.as_str(), &token))
    }

    /// Sends that mail once more.
    pub(crate) async fn send_verification(&self, by: &Token) -> Result<(), Refusal> {
        let (session, _) = self.session_of(by).await?;
        self.core.take_shared(MAILS, &subject_of(&session.account)).await?;
        let account = vault::read_account(&*self.core.store.vault, &session.account).await?;
        let send = async {
            let Some(account) = account.filter(|account| account.email_verified.is_none()) else {
                return Ok(());
            };
            let Some(email) = account.email.clone() else { return Ok(()) };
            let mail = self.verification_mail(&account, &email).await?;
            mail::send(self.options.mailer.as_ref(), &mail).await
        };
        let (sent, ()) = join(send, self.core.clock.sleep(ASKING)).await;
        sent
    }

    /// Verifies an address by the token that was sent there.
    pub(crate) async fn verify_email(&self, text: &SecretText, from: Option<IpAddr>) -> Result<(), Refusal> {
        let core = &*self.core;
        let link = self.use_link(text, from).await?;
        let LinkPurpose::Verify { email: hash } = link.purpose else { return Err(link_invalid()) };
        let account = vault::read_account(&*core.store.vault, &link.account).await?;
        let account = account.filter(|account| account.closed.is_none()).ok_or_else(link_invalid)?;
        let keys = core.keys().await?;
        let is_the_one = |email: &Option<Email>| {
            email.as_ref().is_some_and(|email| keys.hash("email", &email.canonical()) == hash)
        };
        if !is_the_one(&account.email) {
            return Err(link_invalid());
        }
        // First the claim, then the account that repeats it: a claim that is not repeated counts for nothing.
        let key = layout::email_claim(&hash);
        let rival: Option<EmailClaim> = swap::look(core, key.clone()).await?;
        let rival_holds = match rival.filter(|rival| rival.account != account.id) {
            None => None,
            Some(rival) => {
                let other = vault::read_account(&*core.store.vault, &rival.account).await?;
                let repeated = other.is_some_and(|other| {
                    is_the_one(&other.verified_email().cloned()) && other.closed.is_none()
                });
                Some((rival.account, repeated))
            }
        };
        let now_s = core.clock.now_unix_s();
        swap::update(core, key, |there: Option<EmailClaim>| {
            if let Some(there) = there.filter(|there| there.account != account.id) {
                let repeated =
                    rival_holds.as_ref().is_none_or(|(id, repeated)| *id != there.account || *repeated);
                if repeated || now_s.saturating_sub(there.created) < CLAIM_S {
                    return Err(link_invalid());
                }
            }
            Ok(Change::Write(EmailClaim { v: 1, account: account.id.clone(), created: now_s }, ()))
        })
        .await?;
        core.change_account(&account.id, |there| {
            let verified = is_the_one(&there.email).then_some(there.email_verified.unwrap_or(now_s));
            AccountRecord { email_verified: verified.or(there.email_verified), ..there }
        })
        .await?;
        core.note(&account.id, AuditKind::EmailVerified, None).await
    }

    /// Sends a token to set a new password with, if there is such an account with a verified address.
    pub(crate) async fn ask_reset(&self, name: &str, from: Option<IpAddr>) -> Result<(), Refusal> {
        let core = &*self.core;
        let name = name.trim().to_ascii_lowercase();
        core.take_for_address(logins(&self.settings().limits), from).await?;
        core.take_shared(MAILS, &name).await?;
        let send = async {
            let account = self.account_of(&name).await?.filter(|account| account.closed.is_none());
            let Some(account) = account else { return Ok(()) };
            let Some(email) = account.verified_email().cloned() else { return Ok(()) };
            let purpose = LinkPurpose::Reset { credentials: account.credentials };
            let token = self.new_link(&account, purpose, RESET_S).await?;
            let mail = mail::reset(&self.settings(), email, account.login.as_str(), &token);
            mail::send(self.options.mailer.as_ref(), &mail).await
        };
        let (sent, ()) = join(send, core.clock.sleep(ASKING)).await;
        if let Err(refusal) = sent {
            // Whether there was anything to send is nobody's business.
            tracing::error!("a mail to set a password was not sent: {refusal}");
        }
        Ok(())
    }

    /// Sets a password by the token that was sent by mail. Every session ends.
    pub(crate) async fn reset_password(
        &self,
        text: &SecretText,
        new: &SecretText,
        from: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        // Looked at before the token is used up, so that a better one can be chosen.
        password::check(new, "", "").map_err(Refusal::new)?;
        let link = self.use_link(text, from).await?;
        let LinkPurpose::Reset { credentials } = link.purpose else { return Err(link_invalid()) };
        let account = vault::read_account(&*self.core.store.vault, &link.account).await?;
        let fits = |account: &AccountRecord| account.closed.is_none() && account.credentials == credentials;
        let account = account.filter(fits).ok_or_else(link_invalid)?;
        self.set_password(&account, new, AuditKind::PasswordReset, None).await
    }

    /// Changes the password of the account of a session. Every other session ends.
    pub(crate) async fn change_password(
        &self,
        by: &Token,
        asked: &PasswordChangeRequest,
    ) -> Result<(), Refusal> {
        let (record, session) = self.session_of(by).await?;
        let PasswordChangeRequest { old_password, new_password: new, code } = asked;
        let account = self.reauthenticate_fully(&record.account, old_password, code.as_ref()).await?;
        let email = account.email.as_ref().map_or("", Email::as_str);
        password::check(new, account.login.as_str(), email).map_err(Refusal::new)?;
        self.set_password(&account, new, AuditKind::PasswordChanged, Some(&session)).await
    }

    /// Sets a password, if it was not set since the account was read. Ends every session but one.
    pub(super) async fn set_password(
        &self,
        account: &AccountRecord,
        new: &SecretText,
        kind: AuditKind,
        but: Option<&EventId>,
    ) -> Result<(), Refusal> {
        let core = &*self.core;
        let hash = core.hasher.hash(new, &*core.entropy).await?;
        let seen = account.credentials;
        let set = swap::update(core, layout::account(&account.id), |there: Option<AccountRecord>| {
            let there = there.filter(|there| there.credentials == seen && there.closed.is_none());
            let there = there
                .ok_or_else(|| Refusal::code(Code::LoginFailed, "the password was changed meanwhile"))?;
            let password = Some(PasswordHash(hash.clone()));
            Ok(Change::Write(AccountRecord { password, credentials: seen + 1, ..there }, seen + 1))
        });
        let credentials = set.await?;
        if let Some(session) = but {
            core.keep_session(&account.id, session, credentials).await?;
        }
        core.end_sessions(&account.id, but).await?;
        core.drop_tokens(&account.id, |record| record.kind == TokenKind::Session).await?;
        core.committer.fence().await?;
        core.note(&account.id, kind, None).await?;
        self.tell(&account.id, "The password of your account was set anew. Every other session has ended.")
            .await;
        Ok(())
    }
}
