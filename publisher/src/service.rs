//! The publisher itself: what every way of running it shares.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use drystone_log::{
    VerifierKey,
    commit::{CommitError, Committer, Head, Heartbeat, Signing, put_all},
    note::Algorithm,
};
use drystone_schemas::{Code, EventId, PackageDocument, PackageName, Settings, Sha256Digest, layout};
use drystone_storage::{Clock, Entropy, Key, NewObject, Store, new_ulid};
use futures_util::future::{Either, select};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Action, Done, Intent, Mailer, Refusal, SignInProvider, Token, TokenRecord,
    accounts::{Hasher, KeyRing, Uses},
    intent::{Answer, Caller, is_of_the_day},
    limits::{Counted, Known},
    plan::{ByName, Decision, Desk, Place, decide},
    sequencer::{self, Job, WAITING_INTENTS_MAX},
    spool::{self, IN_MEMORY_BYTES_MAX},
    swap::Turns,
    trust::policy_in_force,
    trusted::{HttpIssuers, IssuerKeys, IssuerLink},
    vault,
};

/// Longest public file that is read whole, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Longest settings object, in bytes.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;
/// How long a process that commits nothing goes by what it knows of head: settings, and from when on tokens are valid.
const HEAD_AGE_MS_MAX: u64 = 5_000;

/// Seconds until a heartbeat is tried again that could not be.
const HEARTBEAT_AGAIN_S: u64 = 5;

/// What a process decides for itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory for uploads on their way.
    pub spool: PathBuf,
    /// Most archives inspected at once: each takes a core.
    pub inspections_max: usize,
    /// Sends mail to accounts; without one, no address can be verified and no password reset.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// Where people sign in, beside their password.
    pub sign_in: Option<SignInProvider>,
    /// Asks issuers of CI identities, and that provider.
    pub issuers: Arc<dyn IssuerLink>,
}

impl Options {
    /// Options without mail and provider.
    pub fn new(spool: PathBuf, inspections_max: usize) -> Self {
        Self {
            spool,
            inspections_max,
            mailer: None,
            sign_in: None,
            issuers: Arc::new(HttpIssuers::default()),
        }
    }
}

/// What requests and the sequencer share.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    settings: Mutex<Option<(Sha256Digest, Arc<Settings>)>>,
    fence: AtomicU64,
    /// Tokens made before this time (seconds since 1970) are void.
    auth_epoch: AtomicU64,
    /// When head was last looked at, in milliseconds since 1970.
    looked_ms: AtomicU64,
    pub(crate) turns: Turns,
    pub(crate) key_ring: KeyRing,
    pub(crate) issuer_keys: IssuerKeys,
    pub(crate) hasher: Hasher,
    pub(crate) uses: Uses,
    pub(crate) counted: Counted,
    pub(crate) known: Known,
}

/// The publish function of one registry.
pub struct Service {
    pub(crate) core: Arc<Core>,
    pub(crate) options: Options,
    pub(crate) inspections: Semaphore,
    jobs: mpsc::Sender<Job>,
}

impl Service {
    /// Opens a registry that exists: finishes what a commit left undone, and checks that the log's key is the one given.
    pub async fn open(
        store: Store,
        signing: impl Into<Signing>,
        origin: impl Into<String>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Arc<Self>, Refusal> {
        let committer = Committer::new(store.clone(), signing, origin, clock.clone(), entropy.clone());
        let core = Arc::new(Core {
            store,
            committer,
            clock,
            entropy,
            settings: Mutex::new(None),
            fence: AtomicU64::new(0),
            auth_epoch: AtomicU64::new(0),
            looked_ms: AtomicU64::new(0),
            turns: Turns::default(),
            key_ring: KeyRing::default(),
            issuer_keys: IssuerKeys::default(),
            hasher: Hasher::default(),
            uses: Uses::default(),
            counted: Counted::default(),
            known: Known::default(),
        });
        if core.committer.signing().follows_policy() {
            core.committer.signing().adopt(policy_in_force(&core.store).await?);
        }
        let round = core.committer.begin().await?;
        core.saw(&round.head);
        core.settings_of(&round.head.config).await?;
        spool::remove_stale(&options.spool, core.clock.now_unix_s());
        let (jobs, queue) = mpsc::channel(WAITING_INTENTS_MAX);
        tokio::spawn(sequencer::run(core.clone(), queue));
        let inspections = Semaphore::new(options.inspections_max.max(1));
        Ok(Arc::new(Self { core, options, inspections, jobs }))
    }

    /// The settings in force, as of the last head that this process has seen.
    pub fn settings(&self) -> Arc<Settings> {
        let settings = self.core.settings.lock().expect("no holder of this lock panics");
        settings.as_ref().expect("a service has read its settings when it was opened").1.clone()
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// A new ULID.
    pub fn new_id(&self) -> EventId {
        self.core.new_id()
    }

    /// Checks an idempotency key that a client chose.
    pub(crate) fn client_id(&self, text: &str) -> Result<EventId, Refusal> {
        let invalid = |detail: String| Refusal::code(Code::InvalidIntentId, detail);
        let id = EventId::new(text).map_err(|e| invalid(e.to_string()))?;
        if !is_of_the_day(&id, self.core.clock.now_unix_s()) {
            return Err(invalid(format!("`{id}` was not made within the last 24 hours")));
        }
        Ok(id)
    }

    /// The settings in force, as they were a few seconds ago at most, while storage can be read.
    pub(crate) async fn recent_settings(&self) -> Arc<Settings> {
        self.core.look_at_head().await;
        self.settings()
    }

    /// Whether anybody may read, where that is known without a wait.
    pub(crate) fn lets_anybody_read(&self) -> Option<bool> {
        (!self.core.should_look_at_head()).then(|| self.settings().reads.is_public())
    }

    /// A public file as it lies by name: what it says is only a hint to whoever changes something, the commit reads it again.
    pub(crate) async fn file(&self, key: String) -> Result<Option<Bytes>, Refusal> {
        let key = Key::new(key).map_err(Refusal::internal)?;
        Ok(self.core.store.public.get(&key, FILE_BYTES_MAX).await?)
    }

    /// A package's document as it lies by name.
    pub(crate) async fn document_of(&self, name: &PackageName) -> Result<Option<PackageDocument>, Refusal> {
        let bytes = self.file(layout::document(name)).await?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(Refusal::internal)).transpose()
    }

    /// Looks a token up, before a request is worth any work. The commit looks again.
    pub(crate) async fn admit(&self, token: &Token) -> Result<TokenRecord, Refusal> {
        self.core.verify(token).await?;
        self.core.admit(&token.digest()).await
    }

    /// Commits a change for the bearer of a token.
    pub(crate) async fn submit(
        &self,
        id: EventId,
        token: &Token,
        action: Action,
        objects: Vec<NewObject>,
    ) -> Answer {
        self.core.verify(token).await?;
        self.submit_as(id, Caller::Token(token.digest()), action, objects).await
    }

    /// Commits a change, with the rights of the caller as they are when the commit is prepared.
    ///
    /// Answers within a bounded time; whatever is not known by then is a typed refusal to come back.
    pub(crate) async fn submit_as(
        &self,
        id: EventId,
        caller: Caller,
        action: Action,
        objects: Vec<NewObject>,
    ) -> Answer {
        let came_ms = self.core.clock.now_unix_ms();
        let fence = self.store_large(&caller, &objects).await?;
        let (answer, answered) = oneshot::channel();
        let intent = Intent { id, caller: caller.clone(), action, objects };
        if self.jobs.try_send(Job { intent, fence, came_ms, answer }).is_err() {
            return Err(Refusal::code(Code::Overloaded, "too many changes wait to be committed"));
        }
        match select(answered, pin!(turned_away(self.core.clone(), caller))).await {
            Either::Left((answered, _)) => {
                answered.unwrap_or_else(|_| Err(Refusal::outcome_unknown("the sequencer has stopped")))
            }
            Either::Right((refusal, _)) => Err(refusal),
        }
    }

    /// Stores large objects before their intent stands in the queue, so that no batch waits for them. Small ones are
    /// put by the commit itself, beside what it puts anyway; none if there are only those.
    async fn store_large(&self, caller: &Caller, objects: &[NewObject]) -> Result<Option<u64>, Refusal> {
        let bytes: u64 = objects.iter().map(|object| object.body.len()).sum();
        if bytes <= IN_MEMORY_BYTES_MAX {
            return Ok(None);
        }
        if let Caller::Token(digest) = caller {
            self.core.admit(digest).await?;
        }
        let fence = self.core.fence.load(Ordering::Acquire);
        self.core.store_objects(objects).await?;
        Ok(Some(fence))
    }

    /// What a change would come to now, without committing it.
    pub(crate) async fn preview(&self, token: &Token, action: Action) -> Answer {
        let core = &*self.core;
        core.verify(token).await?;
        let intent =
            Intent { id: self.new_id(), caller: Caller::Token(token.digest()), action, objects: Vec::new() };
        let by_name = ByName::read(&core.store, &[&intent]).await?;
        let mut round = core.committer.begin().await?;
        let settings = core.settings_of(&round.head.config).await?;
        let (store, known) = (&core.store, &core.known);
        let mut desk =
            Desk::gather(store, &core.committer, &mut round, &by_name, settings, known, &[&intent]).await?;
        match decide(&mut desk, &intent, &Place::next(&round, 0)) {
            Decision::Commit(_) => Ok(Done { seq: None, already: false, proof: None }),
            Decision::Answer(answer) => answer,
        }
    }

    /// Commits a change of the operator's.
    pub async fn operate(&self, action: Action, objects: Vec<NewObject>) -> Result<Done, Refusal> {
        let operator = self.operator().await?;
        self.submit_as(self.new_id(), Caller::Operator(operator), action, objects).await
    }

    /// Has the newest checkpoint cosigned again if its cosignatures are older than this, in seconds.
    ///
    /// # Errors
    ///
    /// Those of [`Committer::heartbeat`].
    pub async fn heartbeat(&self, age_s_max: u64) -> Result<Heartbeat, CommitError> {
        self.take_policy().await;
        self.core.committer.heartbeat(age_s_max).await
    }

    /// Asks the witnesses of the policy in force from now on, where no other policy was given. Whoever cannot read it goes on as
    /// before.
    pub(crate) async fn take_policy(&self) {
        let signing = self.core.committer.signing();
        if !signing.follows_policy() {
            return;
        }
        match policy_in_force(&self.core.store).await {
            Ok(policy) => signing.adopt(policy),
            Err(refusal) => tracing::warn!("the policy in force cannot be read: {refusal}"),
        }
    }

    /// Does so for ever: when half of this time has passed, in seconds, and soon again where it was not possible.
    pub async fn keep_fresh(&self, age_s_max: u64) {
        let age_s_max = age_s_max.max(2);
        loop {
            let wait_s = match self.heartbeat(age_s_max / 2).await {
                // A policy may name some later.
                Ok(Heartbeat::NoCosigner) if self.core.committer.signing().follows_policy() => age_s_max / 4,
                Ok(Heartbeat::NoCosigner) => return,
                Ok(Heartbeat::Fresh | Heartbeat::Renewed) => age_s_max / 4,
                Ok(Heartbeat::Pending) => HEARTBEAT_AGAIN_S,
                Err(error) => {
                    tracing::warn!("the newest checkpoint is not cosigned again: {error}");
                    HEARTBEAT_AGAIN_S
                }
            };
            self.core.clock.sleep(Duration::from_secs(wait_s.max(1))).await;
        }
    }

    /// Whether a commit could be made now: head and checkpoint can be read and agree.
    pub async fn ready(&self) -> Result<u64, Refusal> {
        Ok(self.core.committer.begin().await?.head.size())
    }
}

/// The freshness key that settings announce.
pub(crate) fn announced_key(settings: &Settings) -> Result<Option<VerifierKey>, Refusal> {
    let Some(freshness) = &settings.freshness else { return Ok(None) };
    match VerifierKey::parse(&freshness.key) {
        Ok(key) if key.algorithm() == Algorithm::CosignatureV1 => Ok(Some(key)),
        _ => Err(Refusal::code(
            Code::BadConfiguration,
            format!("`{}` is not the verifier key of a cosigner", freshness.key),
        )),
    }
}

/// Ends if nobody knows the caller, so that a stranger need not wait for a commit to hear it. The commit looks again.
async fn turned_away(core: Arc<Core>, caller: Caller) -> Refusal {
    if let Caller::Token(digest) = caller {
        let admitted = tokio::spawn(async move { core.admit(&digest).await }).await;
        if let Ok(Err(refusal)) = admitted
            && matches!(refusal.problems[0].code, Code::TokenInvalid | Code::TokenExpired)
        {
            return refusal;
        }
    }
    std::future::pending().await
}

impl Core {
    /// A new ULID.
    pub(crate) fn new_id(&self) -> EventId {
        EventId::new(new_ulid(&*self.clock, &*self.entropy)).expect("a new ULID is a ULID")
    }

    /// Who signs the tokens of sessions, and whom they are for: this registry's API.
    pub(crate) fn issuer(&self) -> String {
        let settings = self.settings.lock().expect("no holder of this lock panics");
        settings.as_ref().map(|(_, settings)| settings.api_url().to_owned()).unwrap_or_default()
    }

    /// Notes what a head says: about garbage collection, for objects that are put from now on, and about tokens.
    pub(crate) fn saw(&self, head: &Head) {
        self.fence.fetch_max(head.gc.n, Ordering::AcqRel);
        self.auth_epoch.fetch_max(head.auth_epoch, Ordering::AcqRel);
        self.looked_ms.fetch_max(self.clock.now_unix_ms(), Ordering::AcqRel);
    }

    /// Whether head was last looked at some time ago.
    fn should_look_at_head(&self) -> bool {
        let looked_ms = self.looked_ms.load(Ordering::Acquire);
        self.clock.now_unix_ms().saturating_sub(looked_ms) > HEAD_AGE_MS_MAX
    }

    /// Reads head if that was some time ago: another process may have changed the settings or voided tokens.
    ///
    /// One request of many does it; one that fails changes nothing, and the next one tries in a few seconds.
    async fn look_at_head(&self) {
        if !self.should_look_at_head() {
            return;
        }
        let (looked_ms, now_ms) = (self.looked_ms.load(Ordering::Acquire), self.clock.now_unix_ms());
        let order = Ordering::AcqRel;
        if self.looked_ms.compare_exchange(looked_ms, now_ms, order, Ordering::Acquire).is_err() {
            return;
        }
        let looked = async {
            let round = self.committer.begin().await?;
            self.saw(&round.head);
            self.settings_of(&round.head.config).await
        };
        if let Err(refusal) = looked.await {
            tracing::warn!("head could not be read: {refusal}");
        }
    }

    /// The settings with this digest; read once.
    pub(crate) async fn settings_of(&self, digest: &Sha256Digest) -> Result<Arc<Settings>, Refusal> {
        let known = self.settings.lock().expect("no holder of this lock panics").clone();
        if let Some((_, settings)) = known.filter(|(d, _)| d == digest) {
            return Ok(settings);
        }
        let key = layout::object(digest);
        let bytes = self
            .store
            .public
            .get(&Key::new(key.clone()).map_err(Refusal::internal)?, SETTINGS_BYTES_MAX)
            .await?;
        let bytes = bytes.filter(|bytes| Sha256Digest::of(bytes) == *digest);
        let bytes = bytes
            .ok_or_else(|| Refusal::internal(format!("`{key}`, the settings, is missing or damaged")))?;
        let settings: Settings = serde_json::from_slice(&bytes).map_err(Refusal::internal)?;
        let settings = Arc::new(settings);
        self.committer.signing().announce(announced_key(&settings)?);
        *self.settings.lock().expect("no holder of this lock panics") = Some((*digest, settings.clone()));
        Ok(settings)
    }

    pub(crate) async fn admit(&self, digest: &Sha256Digest) -> Result<TokenRecord, Refusal> {
        let token = vault::read_token(&*self.store.vault, digest).await?;
        let token = token.ok_or_else(|| Refusal::code(Code::TokenInvalid, Code::TokenInvalid.title()))?;
        token.refuse_if_void(self.auth_epoch.load(Ordering::Acquire))?;
        if token.expires.is_some_and(|expires| expires <= self.clock.now_unix_s()) {
            return Err(Refusal::code(Code::TokenExpired, format!("the token `{}` has expired", token.name)));
        }
        self.known.put(*digest, &token);
        Ok(token)
    }

    /// Puts the objects that an event will name.
    pub(crate) async fn store_objects(&self, objects: &[NewObject]) -> Result<(), Refusal> {
        if objects.is_empty() { Ok(()) } else { Ok(put_all(&*self.store.public, objects).await?) }
    }

    /// A random part of a duration, at least half of it.
    pub(crate) fn jitter(&self, duration: Duration) -> Duration {
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        duration / 2 + duration * u32::from(byte[0]) / 512
    }
}
