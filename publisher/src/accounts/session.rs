//! Sessions: signing in, going on, signing out.
//!
//! A session is a family of refresh tokens. Each refresh uses one up and makes the next; whoever presents one that was used has
//! stolen it, or was stolen from, so the family ends (RFC 9700 section 4.14.2). The bearer token of a session is a JWT for ten
//! minutes, signed with Ed25519; it is kept under its digest like every token, so that ending a session ends it at once.
//! Invariant: a bearer token is kept before its session names it, and handed out after; so whoever ends a session knows it.

use std::net::IpAddr;

use drystone_schemas::{
    AccountId, Code, EventId, LoginRequest, SecretText, SessionResponse, Sha256Digest, layout, rfc3339,
};
use drystone_storage::Key;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;

use super::{
    AccountRecord,
    record::{AuditKind, SessionRecord},
};
use crate::{
    Refusal, Scope, Service, Token, TokenRecord,
    jwt::{self, Unverified},
    limits::{self, ATTEMPTS},
    service::Core,
    swap::{self, Change},
    token::TokenKind,
    vault,
};

/// Seconds for which the bearer token of a session is good.
const ACCESS_S: u64 = 600;
/// Seconds by which clocks may differ.
const SKEW_S: u64 = 60;
/// Seconds for which a session can be refreshed.
const REFRESH_S: u64 = 30 * 24 * 3_600;
/// How many used refresh tokens a session knows again.
const USED_MAX: usize = 64;
/// Seconds for which a client signs in that cannot refresh.
const LONG_S: u64 = 30 * 24 * 3_600;

/// What is wrong with a password, or whose it is: nobody learns which.
pub(super) fn login_failed() -> Refusal {
    Refusal::code(Code::LoginFailed, Code::LoginFailed.title())
}

fn session_ended() -> Refusal {
    Refusal::code(Code::SessionEnded, Code::SessionEnded.title())
}

/// What a session's refresh token names beside its secret: account and session.
struct RefreshToken {
    secret: Token,
    account: AccountId,
    session: EventId,
}

impl RefreshToken {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let secret = Token::parse_kind(TokenKind::Refresh, parts.next()?).ok()?;
        let account = AccountId::new(format!("acct:{}", parts.next()?)).ok()?;
        let session = EventId::new(parts.next()?).ok()?;
        parts.next().is_none().then_some(Self { secret, account, session })
    }

    fn to_secret_text(&self) -> SecretText {
        SecretText::new(format!("{}.{}.{}", self.secret.reveal(), self.account.ulid(), self.session))
    }
}

impl Service {
    /// Signs in with a password, and begins a session.
    pub(crate) async fn sign_in(
        &self,
        asked: &LoginRequest,
        from: Option<IpAddr>,
    ) -> Result<SessionResponse, Refusal> {
        let account = self.authenticate(asked, from).await?;
        self.begin_session(&account).await
    }

    /// Signs in a client that keeps one token and cannot refresh it: an opaque one, for a month.
    pub(crate) async fn sign_in_for_long(
        &self,
        asked: &LoginRequest,
        from: Option<IpAddr>,
    ) -> Result<(Token, TokenRecord, AccountRecord), Refusal> {
        let account = self.authenticate(asked, from).await?;
        let (token, record) = self.long_token(&account).await?;
        Ok((token, record, account))
    }

    /// The token of such a client.
    pub(super) async fn long_token(&self, account: &AccountRecord) -> Result<(Token, TokenRecord), Refusal> {
        let core = &*self.core;
        let token = Token::generate_kind(TokenKind::Session, &*core.entropy);
        let created = core.clock.now_unix_s();
        let record = TokenRecord {
            name: "signed in".into(),
            expires: Some(created + LONG_S),
            kind: TokenKind::Session,
            ..TokenRecord::new(account.id.clone(), core.new_id(), Scope::ORDINARY.to_vec(), created)
        };
        core.keep_token(&token, &record).await?;
        self.still_valid(account).await.map_err(|_| login_failed())?;
        Ok((token, record))
    }

    /// The account whose login or verified address, and whose password and second factor, these are.
    pub(super) async fn authenticate(
        &self,
        asked: &LoginRequest,
        from: Option<IpAddr>,
    ) -> Result<AccountRecord, Refusal> {
        let core = &*self.core;
        let name = asked.username.as_deref().or(asked.email.as_deref()).unwrap_or_default().trim();
        let name = name.to_ascii_lowercase();
        let rate = limits::logins(&self.settings().limits);
        core.take_for_address(rate, from).await?;
        core.take_shared(rate, &name).await?;
        let account = self.account_of(&name).await?.filter(|account| account.closed.is_none());
        let kept = account.as_ref().and_then(|account| account.password.as_ref());
        let fits = core.hasher.verify(&asked.password, kept.map(|hash| &*hash.0)).await?;
        match account {
            Some(account) if fits => {
                self.show_second_factor(&account, asked.code.as_ref()).await?;
                core.note(&account.id, AuditKind::SignedIn, None).await?;
                Ok(account)
            }
            Some(account) => {
                core.note(&account.id, AuditKind::SignInFailed, None).await?;
                Err(login_failed())
            }
            None => Err(login_failed()),
        }
    }

    /// Begins a session of an account whose password was given just now.
    pub(super) async fn begin_session(&self, account: &AccountRecord) -> Result<SessionResponse, Refusal> {
        let core = &*self.core;
        let id = core.new_id();
        let (access, access_record) = core.session_token(account, &id).await?;
        let secret = Token::generate_kind(TokenKind::Refresh, &*core.entropy);
        let refresh = RefreshToken { secret, account: account.id.clone(), session: id.clone() };
        let expires = core.clock.now_unix_s() + REFRESH_S;
        let session = SessionRecord {
            v: 1,
            credentials: account.credentials,
            expires,
            refresh: refresh.secret.digest(),
            used: Vec::new(),
            access: access.digest(),
            ended: false,
        };
        core.keep_bearer(&access, &access_record).await?;
        swap::update(core, layout::session(&account.id, &id), |_: Option<SessionRecord>| {
            Ok(Change::Write(session.clone(), ()))
        })
        .await?;
        // Whoever changed the password, or deleted the account, meanwhile has not seen this session.
        if self.still_valid(account).await.is_err() {
            core.end_session(&account.id, &id).await?;
            return Err(login_failed());
        }
        Ok(response(account, &access, &access_record, &refresh, expires))
    }

    /// Whether an account is open, and its password the one that it was.
    pub(super) async fn still_valid(&self, account: &AccountRecord) -> Result<(), Refusal> {
        let now = vault::read_account(&*self.core.store.vault, &account.id).await?;
        match now {
            Some(now) if now.closed.is_none() && now.credentials == account.credentials => Ok(()),
            _ => Err(session_ended()),
        }
    }

    /// Goes on with a session: the next refresh token, and the next bearer token.
    pub(crate) async fn refresh(
        &self,
        text: &SecretText,
        from: Option<IpAddr>,
    ) -> Result<SessionResponse, Refusal> {
        let core = &*self.core;
        core.take_for_address(ATTEMPTS, from).await?;
        let asked = RefreshToken::parse(text.expose()).ok_or_else(session_ended)?;
        let key = layout::session(&asked.account, &asked.session);
        let (now_s, digest) = (core.clock.now_unix_s(), asked.secret.digest());
        let known = |session: &SessionRecord| session.refresh == digest || session.used.contains(&digest);
        let there = swap::look::<SessionRecord>(core, key.clone()).await?;
        let there = there.filter(known).ok_or_else(session_ended)?;
        let account = vault::read_account(&*core.store.vault, &asked.account).await?;
        let account = account
            .filter(|account| account.closed.is_none() && account.credentials == there.credentials)
            .ok_or_else(session_ended)?;

        let (access, access_record) = core.session_token(&account, &asked.session).await?;
        core.keep_bearer(&access, &access_record).await?;
        let secret = Token::generate_kind(TokenKind::Refresh, &*core.entropy);
        let next = RefreshToken { secret, ..asked };
        let turned = swap::update(core, key, |there: Option<SessionRecord>| {
            let Some(session) = there.filter(|session| !session.ended && session.expires > now_s) else {
                return Ok(Change::Leave(Turned::Ended));
            };
            if session.refresh != digest {
                let reused = session.used.contains(&digest);
                return Ok(if reused {
                    let last = session.access;
                    Change::Write(SessionRecord { ended: true, ..session }, Turned::Reused(last))
                } else {
                    Change::Leave(Turned::Ended)
                });
            }
            let last = session.access;
            let mut used = session.used.clone();
            used.push(digest);
            used.drain(..used.len().saturating_sub(USED_MAX));
            let (refresh, access) = (next.secret.digest(), access.digest());
            let expires = now_s + REFRESH_S;
            let turned = SessionRecord { refresh, access, used, expires, ..session };
            Ok(Change::Write(turned, Turned::Next(last)))
        })
        .await?;
        match turned {
            Turned::Next(last) => {
                core.forget_token(&last).await?;
                Ok(response(&account, &access, &access_record, &next, now_s + REFRESH_S))
            }
            Turned::Ended => {
                core.forget_token(&access.digest()).await?;
                Err(session_ended())
            }
            Turned::Reused(last) => {
                core.forget_token(&access.digest()).await?;
                core.forget_token(&last).await?;
                core.committer.fence().await?;
                core.note(&account.id, AuditKind::RefreshReused, Some(&next.session)).await?;
                Err(session_ended())
            }
        }
    }

    /// Ends what a request was sent with: its session, or its token; or every session of its account.
    pub(crate) async fn sign_out(&self, token: &Token, everywhere: bool) -> Result<(), Refusal> {
        let core = &*self.core;
        let record = self.admit(token).await?;
        match &record.session {
            Some(session) => core.end_session(&record.account, session).await?,
            None => core.drop_token(&record, &token.digest()).await?,
        }
        if everywhere && record.session.is_some() {
            core.end_sessions(&record.account, None).await?;
        }
        core.note(&record.account, AuditKind::SignedOut, record.session.as_ref().or(record.id.as_ref()))
            .await?;
        Ok(core.committer.fence().await?)
    }

    /// The record of a session's token; refuses every other token.
    pub(crate) async fn session_of(&self, token: &Token) -> Result<(TokenRecord, EventId), Refusal> {
        let record = self.admit(token).await?;
        let Some(session) = record.session.clone() else {
            return Err(Refusal::code(Code::SessionNeeded, "tokens of tools may not govern the account"));
        };
        Ok((record, session))
    }
}

/// What became of a refresh.
enum Turned {
    /// This bearer token was the last one.
    Next(Sha256Digest),
    Ended,
    Reused(Sha256Digest),
}

fn response(
    account: &AccountRecord,
    access: &Token,
    record: &TokenRecord,
    refresh: &RefreshToken,
    refresh_expires: u64,
) -> SessionResponse {
    SessionResponse {
        token: SecretText::new(access.reveal()),
        expires_at: rfc3339(record.expires.unwrap_or_default()),
        refresh_token: refresh.to_secret_text(),
        refresh_expires_at: rfc3339(refresh_expires),
        user: account.to_user(),
    }
}

/// What a session's JWT claims, as far as it is looked at.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
}

impl Core {
    /// Checks what can be told of a token without its record: the signature and the claims of a session's JWT.
    pub(crate) async fn verify(&self, token: &Token) -> Result<(), Refusal> {
        let Some(text) = token.jwt() else { return Ok(()) };
        let invalid = || Refusal::code(Code::TokenInvalid, Code::TokenInvalid.title());
        let jwt = Unverified::parse(text).map_err(|_| invalid())?;
        let key = self.public_key(jwt.kid().ok_or_else(invalid)?).await?.ok_or_else(invalid)?;
        let claims: Claims = jwt.verify(&key).map_err(|_| invalid())?;
        let (issuer, now_s) = (self.issuer(), self.clock.now_unix_s());
        if claims.iss != issuer || claims.aud != issuer || claims.iat > now_s + SKEW_S {
            return Err(invalid());
        }
        if claims.exp + SKEW_S <= now_s {
            return Err(Refusal::code(Code::TokenExpired, "the session's token has expired: refresh it"));
        }
        Ok(())
    }

    /// A new bearer token for a session, and what is to be kept of it.
    async fn session_token(
        &self,
        account: &AccountRecord,
        session: &EventId,
    ) -> Result<(Token, TokenRecord), Refusal> {
        let now_s = self.clock.now_unix_s();
        let keys = self.keys().await?;
        let (pair, kid) = keys.signing(now_s)?;
        let (issuer, id) = (self.issuer(), self.new_id());
        let claims = json!({
            "iss": issuer, "aud": issuer, "sub": account.id, "sid": session, "jti": id,
            "iat": now_s, "exp": now_s + ACCESS_S,
        });
        let claims = claims.as_object().ok_or_else(|| Refusal::internal("claims are an object"))?;
        let token = Token::of_session(jwt::sign(&pair, kid, claims));
        let mut scopes = Scope::ORDINARY.to_vec();
        scopes.push(Scope::TrustedPublishing);
        if account.admin {
            scopes.push(Scope::Admin);
        }
        let record = TokenRecord {
            name: "session".into(),
            expires: Some(now_s + ACCESS_S),
            session: Some(session.clone()),
            kind: TokenKind::Session,
            ..TokenRecord::new(account.id.clone(), id, scopes, now_s)
        };
        Ok((token, record))
    }

    /// Ends a session, and its bearer token. Without a fence.
    pub(super) async fn end_session(&self, account: &AccountId, session: &EventId) -> Result<(), Refusal> {
        let key = layout::session(account, session);
        let access = swap::update(self, key, |there: Option<SessionRecord>| {
            Ok(match there {
                None => Change::Leave(None),
                Some(session) => {
                    let access = session.access;
                    Change::Write(SessionRecord { ended: true, ..session }, Some(access))
                }
            })
        })
        .await?;
        match access {
            Some(access) => self.forget_token(&access).await,
            None => Ok(()),
        }
    }

    /// Lets a session go on though the password was set meanwhile.
    pub(super) async fn keep_session(
        &self,
        account: &AccountId,
        session: &EventId,
        credentials: u64,
    ) -> Result<(), Refusal> {
        swap::update(self, layout::session(account, session), |there: Option<SessionRecord>| {
            Ok(match there {
                Some(there) => Change::Write(SessionRecord { credentials, ..there }, ()),
                None => Change::Leave(()),
            })
        })
        .await
    }

    /// Ends every session of an account but one. Without a fence.
    pub(super) async fn end_sessions(
        &self,
        account: &AccountId,
        but: Option<&EventId>,
    ) -> Result<(), Refusal> {
        let folder = layout::sessions_of(account);
        let keys = vault::list(&*self.store.vault, &folder).await?;
        let ids = keys.iter().filter_map(|key| EventId::new(key.strip_prefix(&folder)?).ok());
        let ids: Vec<EventId> = ids.filter(|id| Some(id) != but).collect();
        try_join_all(ids.iter().map(|id| self.end_session(account, id))).await?;
        Ok(())
    }

    /// Deletes what is kept of a token.
    pub(super) async fn forget_token(&self, digest: &Sha256Digest) -> Result<(), Refusal> {
        let key = Key::new(layout::token(digest)).map_err(Refusal::internal)?;
        Ok(self.store.vault.delete(&key).await?)
    }
}
