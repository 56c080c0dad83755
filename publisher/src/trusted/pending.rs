//! CI identities that wait for a package: they publish its first version, and are its publishers from then on.
//!
//! Owns: their records. Invariant: a waiting identity acts for the account that named it, and with no more than that account may
//! do; it holds no name, so that whoever publishes first has the package.

use drystone_schemas::{
    AccountId, Code, EventId, PackageDocument, PackageName, Problem, PublisherRequest, Role,
    TrustedPublisher, layout,
};
use drystone_storage::Key;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    exchange::{Grant, Identity},
    shown,
};
use crate::{
    Action, Refusal, Scope, Service, Token,
    intent::Caller,
    limits::{NEW_TOKENS, subject_of},
    vault,
};

/// Most waiting identities that an account may name for one package, and most that are looked at for one package.
const PER_ACCOUNT_MAX: usize = 3;
const LOOKED_AT_MAX: usize = 200;
/// Seconds for which an identity waits, from the time in its id.
pub(crate) const WAITING_S: u64 = 30 * 24 * 3_600;

/// `pending/<package>/<ulid>`: an identity that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PendingPublisher {
    /// Version of this format; 1.
    v: u32,
    /// For whom it acts.
    account: AccountId,
    publisher: TrustedPublisher,
}

/// Whether the identity under this key has not waited for too long.
fn waits(key: &str, now_s: u64) -> bool {
    let id = key.rsplit('/').next().and_then(|id| EventId::new(id).ok());
    id.is_some_and(|id| (id.unix_ms() / 1_000).saturating_add(WAITING_S) > now_s)
}

impl Service {
    /// Lets an identity wait for a package that is not there yet.
    pub(crate) async fn add_pending(
        &self,
        by: &Token,
        name: &PackageName,
        asked: &PublisherRequest,
    ) -> Result<TrustedPublisher, Refusal> {
        let account = self.who_trusts(by, name).await?;
        let core = &*self.core;
        core.take_shared(NEW_TOKENS, &subject_of(&account)).await?;
        let publisher = self.publisher_of(asked)?;
        let document = self.document_of(name).await?;
        if document.is_some() {
            let problem = Problem::new(Code::NameCollision, format!("`{name}` is there already"));
            return Err(Refusal::new(problem.with_hint("an owner adds the publisher to the package itself")));
        }
        let waiting = self.pending(name).await?;
        let own = waiting.iter().filter(|there| there.account == account);
        if own.count() >= PER_ACCOUNT_MAX || waiting.len() >= LOOKED_AT_MAX {
            let problem = Problem::new(Code::PublisherLimit, Code::PublisherLimit.title());
            return Err(Refusal::new(problem.fact("publishers_max", PER_ACCOUNT_MAX)));
        }
        let pending = PendingPublisher { v: 1, account, publisher };
        let key = layout::pending_publisher(name, &pending.publisher.id);
        vault::create(&*core.store.vault, key, &pending).await?;
        Ok(pending.publisher)
    }

    /// The identities that an account lets wait for a package.
    pub(crate) async fn pending_of(
        &self,
        by: &Token,
        name: &PackageName,
    ) -> Result<Vec<TrustedPublisher>, Refusal> {
        let account = self.who_trusts(by, name).await?;
        let own = self.pending(name).await?.into_iter().filter(|there| there.account == account);
        Ok(own.map(|there| there.publisher).collect())
    }

    /// Lets an identity wait no longer.
    pub(crate) async fn remove_pending(
        &self,
        by: &Token,
        name: &PackageName,
        id: &AccountId,
    ) -> Result<(), Refusal> {
        let account = self.who_trusts(by, name).await?;
        let waiting = self.pending(name).await?;
        if !waiting.iter().any(|there| there.account == account && there.publisher.id == *id) {
            return Err(Refusal::code(
                Code::PublisherNotFound,
                format!("nobody waits for `{name}` as `{id}`"),
            ));
        }
        self.drop_pending(name, id).await
    }

    /// What a waiting identity may do: the first release for its account; and when the package is there and the account owns it,
    /// what every publisher may, because it is made one now.
    pub(super) async fn pending_grant(
        &self,
        name: &PackageName,
        document: Option<&PackageDocument>,
        identity: &Identity,
    ) -> Result<Option<Grant>, Refusal> {
        let waiting = self.pending(name).await?;
        let Some(PendingPublisher { account, publisher, .. }) =
            waiting.into_iter().find(|there| identity.differs_from(&there.publisher).is_ok())
        else {
            return Ok(None);
        };
        if !self.is_open(&account).await? {
            self.drop_pending(name, &publisher.id).await?;
            return Ok(None);
        }
        let Some(document) = document else {
            return Ok(Some(Grant { account, scopes: vec![Scope::PublishNew], waits: true }));
        };
        if document.role_of(&account) != Some(Role::Owner) {
            // Somebody else was first; what was named for a package of one's own must not reach theirs.
            self.drop_pending(name, &publisher.id).await?;
            return Ok(None);
        }
        let id = publisher.id.clone();
        let action = Action::PublisherAdd { pkg: document.name.clone(), publisher: Box::new(publisher) };
        self.submit_as(self.new_id(), Caller::Account(account), action, Vec::new()).await?;
        self.drop_pending(name, &id).await?;
        Ok(Some(Grant::of_publisher(id)))
    }

    /// The account of a token that may say which identities a package trusts.
    async fn who_trusts(&self, by: &Token, name: &PackageName) -> Result<AccountId, Refusal> {
        let record = self.admit(by).await?;
        let detail = |lacks: &str| format!("the token `{}` {lacks} `{name}`", record.name);
        if !record.allows(Scope::TrustedPublishing) {
            let problem = Problem::new(Code::TokenScope, detail("may not say whom to trust with"));
            return Err(Refusal::new(problem.fact("scope", Scope::TrustedPublishing.as_str())));
        }
        if !record.covers(name) {
            return Err(Refusal::code(Code::TokenPattern, detail("is not for")));
        }
        Ok(record.account)
    }

    /// A publisher as it was asked for, with an id of its own.
    pub(crate) fn publisher_of(&self, asked: &PublisherRequest) -> Result<TrustedPublisher, Refusal> {
        let refused = |detail: String| Refusal::code(Code::InvalidPublisher, detail);
        asked.identity.check().map_err(|e| refused(e.to_string()))?;
        let settings = self.settings();
        let issuer = settings.issuers.iter().find(|issuer| issuer.url == asked.issuer);
        let unknown =
            || Refusal::code(Code::IssuerUnknown, format!("`{}` is not trusted here", shown(&asked.issuer)));
        if issuer.ok_or_else(unknown)?.provider != asked.identity.provider() {
            return Err(refused(format!("the tokens of `{}` have other claims", asked.issuer)));
        }
        let id = AccountId::new(format!("acct:{}", self.new_id())).map_err(Refusal::internal)?;
        Ok(TrustedPublisher { id, issuer: asked.issuer.clone(), identity: asked.identity.clone() })
    }

    /// Whether an account is there and was not deleted.
    pub(super) async fn is_open(&self, account: &AccountId) -> Result<bool, Refusal> {
        let account = vault::read_account(&*self.core.store.vault, account).await?;
        Ok(account.is_some_and(|account| account.closed.is_none()))
    }

    async fn pending(&self, name: &PackageName) -> Result<Vec<PendingPublisher>, Refusal> {
        let vault = &*self.core.store.vault;
        let mut keys = vault::list(vault, &layout::pending_publishers(name)).await?;
        let now_s = self.core.clock.now_unix_s();
        keys.retain(|key| waits(key, now_s));
        keys.sort_unstable();
        keys.truncate(LOOKED_AT_MAX);
        let reads = keys.into_iter().map(|key| vault::read::<PendingPublisher>(vault, key));
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }

    async fn drop_pending(&self, name: &PackageName, id: &AccountId) -> Result<(), Refusal> {
        let key = Key::new(layout::pending_publisher(name, id)).map_err(Refusal::internal)?;
        Ok(self.core.store.vault.delete(&key).await?)
    }
}
