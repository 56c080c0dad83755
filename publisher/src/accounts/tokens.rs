//! Tokens for tools: making, listing, exchanging and revoking them, and what becomes of one that leaked.
//!
//! Invariant: a token can be found through its account before it can be used; so whoever revokes all of an account's tokens
//! has all of them. A token is revoked when its record is gone and head was fenced after that.

use std::{collections::HashMap, sync::Arc};

use drystone_schemas::{
    AccountId, Code, EventId, LeakVerdict, NewTokenRequest, NewTokenResponse, Problem, SecretText,
    Sha256Digest, TokenInfo, layout, rfc3339,
};
use drystone_storage::{Key, Replace};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    AccountRecord, PackagePattern, mail,
    record::{AuditKind, TokenPlace},
};
use crate::{
    Refusal, Scope, Service, Token, TokenRecord,
    limits::{NEW_TOKENS, subject_of},
    service::Core,
    token::TokenKind,
    vault::{self, RECORD_BYTES_MAX},
};

/// Seconds of a day.
const DAY_S: u64 = 24 * 3_600;
/// Days for which a token is good unless its maker says otherwise, and the most.
const DAYS_DEFAULT: u64 = 90;
const DAYS_MAX: u64 = 366;
/// Most tokens of an account.
const TOKENS_MAX: usize = 100;
/// Longest name of a token, in characters, and most patterns.
const NAME_CHARS_MAX: usize = 64;
const PATTERNS_MAX: usize = 50;
/// Most reports in one request.
const LEAKS_MAX: usize = 100;
/// Most tokens of whose use a process remembers the day.
const USES_MAX: usize = 50_000;

/// `used/<sha256>`: when a token was used last, to the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LastUse {
    /// Days since 1970.
    day: u64,
}

/// The days on which this process saw tokens used, so that each is written once a day.
#[derive(Default)]
pub(crate) struct Uses(std::sync::Mutex<HashMap<Sha256Digest, u64>>);

impl Uses {
    /// Whether this is the first use of the day.
    fn is_first(&self, digest: Sha256Digest, day: u64) -> bool {
        let mut uses = self.0.lock().expect("no holder of this lock panics");
        if uses.len() >= USES_MAX {
            uses.clear();
        }
        uses.insert(digest, day) != Some(day)
    }
}

impl Service {
    /// Makes a token for the account of a session.
    pub(crate) async fn new_token(
        &self,
        by: &Token,
        asked: &NewTokenRequest,
    ) -> Result<NewTokenResponse, Refusal> {
        let core = &*self.core;
        let (session, _) = self.session_of(by).await?;
        let account = vault::read_account(&*core.store.vault, &session.account).await?;
        let account = account.filter(|account| account.closed.is_none());
        let account = account.ok_or_else(|| Refusal::code(Code::SessionEnded, "the account is gone"))?;
        let (token, record) = self.token_for(&account, asked).await?;
        // Whoever ended the session, or changed the password, meanwhile has not seen this token.
        if self.still_valid(&account).await.is_err() || self.session_of(by).await.is_err() {
            core.drop_token(&record, &token.digest()).await?;
            return Err(Refusal::code(Code::SessionEnded, Code::SessionEnded.title()));
        }
        Ok(shown(&token, &record))
    }

    /// Makes a token for an account, and keeps it. Whether the account still may have it is the caller's to ask, afterwards.
    pub(super) async fn token_for(
        &self,
        account: &AccountRecord,
        asked: &NewTokenRequest,
    ) -> Result<(Token, TokenRecord), Refusal> {
        let core = &*self.core;
        let wanted = Wanted::read(asked, account.admin)?;
        core.take_shared(NEW_TOKENS, &subject_of(&account.id)).await?;
        if vault::list(&*core.store.vault, &layout::tokens_of(&account.id)).await?.len() >= TOKENS_MAX {
            let problem = Problem::new(Code::TokenLimit, format!("the account has {TOKENS_MAX} tokens"));
            return Err(Refusal::new(problem.fact("tokens_max", TOKENS_MAX)));
        }
        let token = Token::generate(&*core.entropy);
        let created = core.clock.now_unix_s();
        let record = TokenRecord {
            name: wanted.name,
            packages: wanted.packages,
            expires: Some(created + wanted.days * DAY_S),
            ..TokenRecord::new(account.id.clone(), core.new_id(), wanted.scopes, created)
        };
        core.note(&account.id, AuditKind::TokenMade, record.id.as_ref()).await?;
        core.keep_token(&token, &record).await?;
        Ok((token, record))
    }

    /// The tokens of an account.
    pub(crate) async fn tokens_of(&self, account: &AccountId) -> Result<Vec<TokenInfo>, Refusal> {
        let vault = &*self.core.store.vault;
        let mut keys = vault::list(vault, &layout::tokens_of(account)).await?;
        keys.sort_unstable();
        let infos = try_join_all(keys.into_iter().map(async |key| {
            let Some(TokenPlace { digest, .. }) = vault::read(vault, key).await? else { return Ok(None) };
            let Some(record) = vault::read_token(vault, &digest).await? else { return Ok(None) };
            let used: Option<LastUse> = vault::read(vault, layout::token_use(&digest)).await?;
            Ok::<_, Refusal>(Some(info(&record, used)))
        }));
        Ok(infos.await?.into_iter().flatten().collect())
    }

    /// Revokes one token of an account.
    pub(crate) async fn revoke_by_id(&self, account: &AccountId, id: &EventId) -> Result<(), Refusal> {
        let core = &*self.core;
        let (digest, record) = self.token_by_id(account, id).await?;
        core.drop_token(&record, &digest).await?;
        core.note(account, AuditKind::TokenRevoked, Some(id)).await?;
        Ok(core.committer.fence().await?)
    }

    /// Makes a token like this one and revokes it.
    pub(crate) async fn rotate(&self, by: &Token, id: &EventId) -> Result<NewTokenResponse, Refusal> {
        let (session, _) = self.session_of(by).await?;
        let (_, record) = self.token_by_id(&session.account, id).await?;
        let days =
            record.expires.map(|expires| expires.saturating_sub(record.created).div_ceil(DAY_S).max(1));
        let asked = NewTokenRequest {
            name: record.name.clone(),
            scopes: record.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            packages: record.packages.iter().map(PackagePattern::to_string).collect(),
            days: Some(days.unwrap_or(DAYS_DEFAULT).min(DAYS_MAX)),
        };
        let made = self.new_token(by, &asked).await?;
        self.revoke_by_id(&session.account, id).await?;
        Ok(made)
    }

    async fn token_by_id(
        &self,
        account: &AccountId,
        id: &EventId,
    ) -> Result<(Sha256Digest, TokenRecord), Refusal> {
        let vault = &*self.core.store.vault;
        let missing = || Refusal::code(Code::TokenNotFound, format!("the account has no token `{id}`"));
        let place: Option<TokenPlace> = vault::read(vault, layout::token_of(account, id)).await?;
        let digest = place.ok_or_else(missing)?.digest;
        let record = vault::read_token(vault, &digest).await?.ok_or_else(missing)?;
        // The place lies below the account, and the record says so as well.
        if record.account == *account { Ok((digest, record)) } else { Err(missing()) }
    }

    /// Revokes tokens that were found where they should not be.
    ///
    /// A report needs no signature: whoever can name a token has it, and could use it as well.
    pub(crate) async fn leaked(&self, texts: &[SecretText]) -> Result<Vec<LeakVerdict>, Refusal> {
        if texts.len() > LEAKS_MAX {
            let detail = format!("there are {} reports of {LEAKS_MAX}", texts.len());
            return Err(Refusal::code(Code::MalformedRequest, detail));
        }
        let mut verdicts = Vec::with_capacity(texts.len());
        let mut owners = Vec::new();
        for text in texts {
            let digest = Sha256Digest::of(text.expose().as_bytes());
            let owner = self.revoke_leaked(text).await?;
            let kind = Token::kind_of(text.expose()).unwrap_or(TokenKind::Personal);
            verdicts.push(LeakVerdict {
                token_hash: digest.hex(),
                token_type: format!(
                    "drystone_{}",
                    serde_json::to_value(kind).unwrap_or_default().as_str().unwrap_or_default()
                ),
                label: if owner.is_some() { "true_positive" } else { "false_positive" }.into(),
            });
            owners.extend(owner);
        }
        if !owners.is_empty() {
            self.core.committer.fence().await?;
        }
        for owner in owners {
            self.tell(&owner, "A token of yours was found where others can read it. It is revoked.").await;
        }
        Ok(verdicts)
    }

    async fn revoke_leaked(&self, text: &SecretText) -> Result<Option<AccountId>, Refusal> {
        let core = &*self.core;
        let Ok(token) = Token::parse(text.expose()) else { return Ok(None) };
        let digest = token.digest();
        let Some(record) = vault::read_token(&*core.store.vault, &digest).await? else { return Ok(None) };
        match &record.session {
            Some(session) => core.end_session(&record.account, session).await?,
            None => core.drop_token(&record, &digest).await?,
        }
        core.note(&record.account, AuditKind::TokenLeaked, record.id.as_ref()).await?;
        Ok(Some(record.account))
    }

    /// Tells the owner of an account something by mail, if that is possible.
    pub(super) async fn tell(&self, account: &AccountId, what: &str) {
        let told = async {
            let account = vault::read_account(&*self.core.store.vault, account).await?;
            let Some(account) = account else { return Ok(()) };
            let Some(email) = account.verified_email() else { return Ok(()) };
            let notice = mail::notice(&self.settings(), email.clone(), account.login.as_str(), what);
            mail::send(self.options.mailer.as_ref(), &notice).await
        };
        let told: Result<(), Refusal> = told.await;
        if let Err(refusal) = told {
            tracing::warn!("a notice was not sent: {refusal}");
        }
    }
}

/// A token that somebody may have.
pub(super) struct Wanted {
    name: String,
    scopes: Vec<Scope>,
    packages: Vec<PackagePattern>,
    days: u64,
}

impl Wanted {
    /// Reads what is asked for; all that is wrong with it at once.
    pub(super) fn read(asked: &NewTokenRequest, admin: bool) -> Result<Self, Refusal> {
        let mut problems = Vec::new();
        let mut wrong = |detail: String| problems.push(Problem::new(Code::InvalidTokenRequest, detail));
        let name = asked.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            wrong(format!("a token's name has 1 to {NAME_CHARS_MAX} characters"));
        }
        let mut scopes = Vec::new();
        for text in &asked.scopes {
            match Scope::parse(text) {
                Some(Scope::Admin) if !admin => {
                    wrong("only an administrator's token may do everything".into())
                }
                Some(scope) => scopes.push(scope),
                None => wrong(format!("`{}` is no scope", text.chars().take(40).collect::<String>())),
            }
        }
        if asked.scopes.is_empty() {
            scopes = Scope::ORDINARY.to_vec();
        }
        scopes.sort_unstable();
        scopes.dedup();
        if asked.packages.len() > PATTERNS_MAX {
            wrong(format!("a token has at most {PATTERNS_MAX} patterns"));
        }
        let mut packages = Vec::new();
        for text in asked.packages.iter().take(PATTERNS_MAX) {
            match PackagePattern::new(text) {
                Ok(pattern) => packages.push(pattern),
                Err(error) => wrong(error.to_string()),
            }
        }
        let days = asked.days.unwrap_or(DAYS_DEFAULT);
        if !(1..=DAYS_MAX).contains(&days) {
            wrong(format!("a token is good for 1 to {DAYS_MAX} days"));
        }
        if problems.is_empty() { Ok(Self { name, scopes, packages, days }) } else { Err(problems.into()) }
    }
}

/// A new token, as it is shown this once.
pub(super) fn shown(token: &Token, record: &TokenRecord) -> NewTokenResponse {
    NewTokenResponse { token: SecretText::new(token.reveal()), info: info(record, None) }
}

fn info(record: &TokenRecord, used: Option<LastUse>) -> TokenInfo {
    TokenInfo {
        id: record.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        name: record.name.clone(),
        scopes: record.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        packages: record.packages.iter().map(PackagePattern::to_string).collect(),
        created_at: rfc3339(record.created),
        expires_at: record.expires.map(rfc3339),
        last_used_at: used.map(|used| rfc3339(used.day * DAY_S)),
    }
}

impl Core {
    /// Keeps a token: first where its account finds it, then where its bearer does.
    pub(crate) async fn keep_token(&self, token: &Token, record: &TokenRecord) -> Result<(), Refusal> {
        if let Some(id) = &record.id {
            let place = TokenPlace { v: 1, digest: token.digest() };
            vault::create(&*self.store.vault, layout::token_of(&record.account, id), &place).await?;
        }
        self.keep_bearer(token, record).await
    }

    /// Keeps a token where its bearer finds it.
    pub(crate) async fn keep_bearer(&self, token: &Token, record: &TokenRecord) -> Result<(), Refusal> {
        let created = vault::create(&*self.store.vault, layout::token(&token.digest()), record).await?;
        if created { Ok(()) } else { Err(Refusal::internal("a new token exists already")) }
    }

    /// Deletes a token: first where its bearer finds it. Without a fence.
    pub(crate) async fn drop_token(
        &self,
        record: &TokenRecord,
        digest: &Sha256Digest,
    ) -> Result<(), Refusal> {
        self.forget_token(digest).await?;
        let mut rest = vec![layout::token_use(digest)];
        rest.extend(record.id.as_ref().map(|id| layout::token_of(&record.account, id)));
        for key in rest {
            self.store.vault.delete(&Key::new(key).map_err(Refusal::internal)?).await?;
        }
        Ok(())
    }

    /// Deletes every token of an account that `doomed` names. Without a fence.
    pub(crate) async fn drop_tokens(
        &self,
        account: &AccountId,
        doomed: impl Fn(&TokenRecord) -> bool,
    ) -> Result<(), Refusal> {
        let vault = &*self.store.vault;
        for key in vault::list(vault, &layout::tokens_of(account)).await? {
            let Some(TokenPlace { digest, .. }) = vault::read(vault, key.clone()).await? else { continue };
            match vault::read_token(vault, &digest).await? {
                Some(record) if doomed(&record) => self.drop_token(&record, &digest).await?,
                Some(_) => {}
                None => vault.delete(&Key::new(key).map_err(Refusal::internal)?).await?,
            }
        }
        Ok(())
    }

    /// Notes that a token of a tool was used today, once a day, beside whatever it is used for.
    pub(crate) fn note_use_once(self: &Arc<Self>, digest: Sha256Digest) {
        let day = self.clock.now_unix_s() / DAY_S;
        if self.uses.is_first(digest, day) {
            let core = self.clone();
            tokio::spawn(async move { core.note_use(digest, day).await });
        }
    }

    async fn note_use(&self, digest: Sha256Digest, day: u64) {
        let noted = async {
            let vault = &*self.store.vault;
            let key = Key::new(layout::token_use(&digest)).map_err(Refusal::internal)?;
            let there = vault.read(&key, RECORD_BYTES_MAX).await?;
            let known = there.as_ref().and_then(|file| serde_json::from_slice::<LastUse>(&file.bytes).ok());
            if known.is_some_and(|known| known.day >= day) {
                return Ok(());
            }
            let bytes = drystone_schemas::canonical_json(&LastUse { day }).into();
            let tag = there.map(|file| file.tag);
            match vault.replace(&key, tag.as_ref(), bytes, drystone_storage::Meta::PRIVATE).await? {
                // Somebody else noted it.
                Replace::Replaced(_) | Replace::Conflict => Ok(()),
                Replace::Unknown(detail) => Err(Refusal::outcome_unknown(detail)),
            }
        };
        let noted: Result<(), Refusal> = noted.await;
        if let Err(refusal) = noted {
            tracing::debug!("the use of a token was not noted: {refusal}");
        }
    }
}
