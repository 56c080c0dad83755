//! What the operator does at the machine: make a registry, accounts and tokens, change settings.

use std::sync::Arc;

use drystone_index_builder::{PROJECTION_VERSION, project_config};
use drystone_log::commit::{Committer, Genesis, PlainFile, Signing};
use drystone_schemas::{AccountId, Code, EventId, Login, Settings, canonical_json, layout};
use drystone_storage::{Area, Body, Clock, Entropy, Key, NewObject, Store, new_ulid};

use crate::{
    AccountRecord, Action, Refusal, Scope, Service, Token, TokenRecord,
    accounts::AuditKind,
    service::announced_key,
    vault::{self, DoneRecord},
};

/// The login of the account that a new registry starts with.
const OPERATOR_LOGIN: &str = "operator";

/// A token that was made just now; its secret is nowhere else.
pub struct NewToken {
    /// The secret.
    pub token: Token,
    /// The account that it acts for.
    pub account: AccountRecord,
    /// What is kept of it.
    pub record: TokenRecord,
}

impl Service {
    /// Makes a registry in an empty store: the operator's account, the first event, the configuration files. Nobody has
    /// a token yet, see [`Service::first_token`].
    ///
    /// Refuses if anything is there. Repeating it after a crash works: the log decides whether there is a registry.
    pub async fn initialise(
        store: &Store,
        signing: impl Into<Signing>,
        origin: &str,
        settings: &Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(), Refusal> {
        settings.check().map_err(|e| Refusal::code(Code::BadConfiguration, e.to_string()))?;
        let announced = announced_key(settings)?;
        let signing = signing.into();
        signing.announce(announced);
        let log_key = signing.log_key().to_string();
        let committer = Committer::new(store.clone(), signing, origin, clock.clone(), entropy.clone());
        let vault = &*store.vault;
        let login = Login::new(OPERATOR_LOGIN).expect("the operator's login is a login");
        let account = ensure_account(vault, &login, &*clock, &*entropy).await?;
        let id = EventId::new(new_ulid(&*clock, &*entropy)).expect("a new ULID is a ULID");
        let plain = project_config(0, origin, &log_key, settings);
        let intent = drystone_schemas::Sha256Digest::of(&settings.to_bytes());
        let genesis = Genesis {
            id,
            actor: account.id,
            settings: settings.to_bytes(),
            projection: PROJECTION_VERSION,
            plain: plain.into_iter().map(PlainFile::unseen).collect(),
            done: canonical_json(&DoneRecord { v: 1, seq: 0, intent }).into(),
        };
        committer.genesis(genesis).await?;
        Ok(())
    }

    /// Whether nobody has ever used the registry: its log has nothing but the first event, and nobody has a token.
    ///
    /// A registry whose tokens were all revoked is not unused: its operator makes the next one on purpose.
    pub async fn is_unused(&self) -> Result<bool, Refusal> {
        let tokens = self.core.store.vault.list(layout::TOKENS, None).await?;
        Ok(tokens.keys.is_empty() && self.ready().await? == 1)
    }

    /// Makes this the operator's token, with every right. Repeating it with the same token works.
    ///
    /// The caller keeps the secret where it belongs *before* it calls this, so that a crash between the two leaves no
    /// token that nobody knows.
    pub async fn first_token(&self, token: &Token) -> Result<(), Refusal> {
        let vault = &*self.core.store.vault;
        let account = vault::find_account(vault, OPERATOR_LOGIN).await?;
        let account = account.ok_or_else(|| Refusal::internal("the operator's account is missing"))?;
        let created = self.core.clock.now_unix_s();
        let record = TokenRecord {
            name: "first".into(),
            id: None,
            ..TokenRecord::new(account.id, self.new_id(), vec![Scope::Admin], created)
        };
        // Where it is taken, another process has made the same token just now.
        vault::create(vault, layout::token(&token.digest()), &record).await?;
        Ok(())
    }

    /// The operator's account.
    pub(crate) async fn operator(&self) -> Result<AccountId, Refusal> {
        let account = vault::find_account(&*self.core.store.vault, OPERATOR_LOGIN).await?;
        account
            .map(|account| account.id)
            .ok_or_else(|| Refusal::internal("the operator's account is missing"))
    }

    /// Makes a token for an account, and the account if there is none with this login.
    pub async fn make_token(
        &self,
        login: &Login,
        name: &str,
        scopes: Vec<Scope>,
        valid_s: Option<u64>,
    ) -> Result<NewToken, Refusal> {
        let core = &*self.core;
        let account = ensure_account(&*core.store.vault, login, &*core.clock, &*core.entropy).await?;
        let token = Token::generate(&*core.entropy);
        let created = core.clock.now_unix_s();
        let record = TokenRecord {
            name: name.to_owned(),
            expires: valid_s.map(|valid_s| created.saturating_add(valid_s)),
            ..TokenRecord::new(account.id.clone(), core.new_id(), scopes, created)
        };
        core.note(&account.id, AuditKind::TokenMade, record.id.as_ref()).await?;
        core.keep_token(&token, &record).await?;
        Ok(NewToken { token, account, record })
    }

    /// Makes another admin token for the operator.
    pub async fn make_operator_token(&self, name: &str) -> Result<NewToken, Refusal> {
        let login = Login::new(OPERATOR_LOGIN).expect("the operator's login is a login");
        self.make_token(&login, name, vec![Scope::Admin], None).await
    }

    /// Revokes a token: it is gone, and no commit that was prepared with it can succeed after this returns.
    pub async fn revoke_token(&self, token: &Token) -> Result<(), Refusal> {
        let (core, digest) = (&*self.core, token.digest());
        if let Some(record) = vault::read_token(&*core.store.vault, &digest).await? {
            core.drop_token(&record, &digest).await?;
            core.note(&record.account, AuditKind::TokenRevoked, record.id.as_ref()).await?;
        }
        // Also where it is gone: whoever deleted it may have died before this.
        Ok(core.committer.fence().await?)
    }

    /// Puts settings in force, if they are not; answers with the position of the event that did.
    pub async fn configure(&self, settings: Settings) -> Result<Option<u64>, Refusal> {
        settings.check().map_err(|e| Refusal::code(Code::BadConfiguration, e.to_string()))?;
        announced_key(&settings)?;
        let bytes = settings.to_bytes();
        let digest = drystone_schemas::Sha256Digest::of(&bytes);
        let object = NewObject {
            key: Key::new(layout::object(&digest)).map_err(Refusal::internal)?,
            body: Body::Bytes(bytes.into()),
            meta: crate::spool::object_meta(layout::JSON),
        };
        let done = self.operate(Action::Configure { settings: Arc::new(settings) }, vec![object]).await?;
        // What this process inspects from now on, it inspects under the settings of the newest head.
        // Should that fail, the next commit reads them all the same.
        if let Ok(round) = self.core.committer.begin().await {
            drop(self.core.settings_of(&round.head.config).await);
        }
        Ok(if done.already { None } else { done.seq })
    }
}

async fn ensure_account(
    vault: &dyn Area,
    login: &Login,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<AccountRecord, Refusal> {
    if let Some(account) = vault::find_account(vault, login.as_str()).await? {
        return Ok(account);
    }
    let id =
        AccountId::new(format!("acct:{}", new_ulid(clock, entropy))).expect("a new ULID makes an account id");
    let account = AccountRecord::new(id.clone(), login.clone(), clock.now_unix_s());
    vault::create(vault, layout::account(&id), &account).await?;
    if vault::create(vault, layout::login(login), &id).await? {
        return Ok(account);
    }
    // Somebody else made it meanwhile; the record made above is never referred to.
    let winner = vault::find_account(vault, login.as_str()).await?;
    winner.ok_or_else(|| Refusal::internal(format!("the login `{login}` points at no account")))
}
