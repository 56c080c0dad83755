//! The publisher itself: what every way of running it shares.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use drystone_log::{
    NoteSigner,
    commit::{Committer, Head, put_all},
};
use drystone_schemas::{Code, EventId, Settings, Sha256Digest, layout};
use drystone_storage::{Clock, Entropy, Key, NewObject, Store, new_ulid};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Action, Done, Intent, Refusal, Token, TokenRecord,
    intent::{Answer, Caller},
    plan::{ByName, Decision, Desk, Place, decide},
    sequencer::{self, Job, WAITING_INTENTS_MAX},
    spool::IN_MEMORY_BYTES_MAX,
    vault,
};

/// Longest settings object, in bytes.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;
/// Seconds for which a client may repeat a request under its id.
const INTENT_AGE_S_MAX: u64 = 24 * 3600;

/// What a process decides for itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory for uploads on their way.
    pub spool: PathBuf,
    /// Most archives inspected at once: each takes a core.
    pub inspections_max: usize,
}

/// What requests and the sequencer share.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    settings: Mutex<Option<(Sha256Digest, Arc<Settings>)>>,
    fence: AtomicU64,
    auth_epoch: AtomicU64,
}

/// The publish function of one registry.
pub struct Service {
    pub(crate) core: Arc<Core>,
    pub(crate) options: Options,
    pub(crate) inspections: Semaphore,
    jobs: mpsc::Sender<Job>,
}

impl Service {
    /// Opens a registry that exists: finishes what a commit left undone, and checks that the key is the log's.
    pub async fn open(
        store: Store,
        signer: NoteSigner,
        origin: impl Into<String>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Arc<Self>, Refusal> {
        let committer = Committer::new(store.clone(), signer, origin, clock.clone(), entropy.clone());
        let core = Arc::new(Core {
            store,
            committer,
            clock,
            entropy,
            settings: Mutex::new(None),
            fence: AtomicU64::new(0),
            auth_epoch: AtomicU64::new(0),
        });
        let round = core.committer.begin().await?;
        core.saw(&round.head);
        core.settings_of(&round.head.config).await?;
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
        EventId::new(new_ulid(&*self.core.clock, &*self.core.entropy)).expect("a new ULID is a ULID")
    }

    /// Checks an idempotency key that a client chose.
    pub(crate) fn client_id(&self, text: &str) -> Result<EventId, Refusal> {
        let invalid = |detail: String| Refusal::code(Code::InvalidIntentId, detail);
        let id = EventId::new(text).map_err(|e| invalid(e.to_string()))?;
        let age_ms = self.core.clock.now_unix_ms().abs_diff(id.unix_ms());
        if age_ms / 1000 > INTENT_AGE_S_MAX {
            return Err(invalid(format!("`{id}` was not made within the last 24 hours")));
        }
        Ok(id)
    }

    /// Looks a token up, before a request is worth any work. The commit looks again.
    pub(crate) async fn admit(&self, token: &Token) -> Result<TokenRecord, Refusal> {
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
        self.submit_as(id, Caller::Token(token.digest()), action, objects).await
    }

    /// Commits a change, with the rights of the caller as they are when the commit is prepared.
    ///
    /// Small objects are stored while the log's head is read and other commits are under way; the caller's token is
    /// looked up before.
    pub(crate) async fn submit_as(
        &self,
        id: EventId,
        caller: Caller,
        action: Action,
        objects: Vec<NewObject>,
    ) -> Answer {
        let core = self.core.clone();
        let (to_store, who) = (objects.clone(), caller.clone());
        let stored = tokio::spawn(async move {
            if let Caller::Token(digest) = &who {
                core.admit(digest).await?;
            }
            let fence = core.fence.load(Ordering::Acquire);
            core.store_objects(&to_store).await?;
            Ok(fence)
        });
        // A batch never waits for a large object: its upload ends before the intent stands in the queue.
        let bytes: u64 = objects.iter().map(|object| object.body.len()).sum();
        let stored = if bytes > IN_MEMORY_BYTES_MAX {
            let outcome = stored.await.map_err(Refusal::internal)?;
            tokio::spawn(async { outcome })
        } else {
            stored
        };
        let (answer, answered) = oneshot::channel();
        let job = Job { intent: Intent { id, caller, action, objects }, stored, answer };
        if self.jobs.try_send(job).is_err() {
            let refusal = Refusal::code(Code::Overloaded, "too many changes wait to be committed");
            return Err(Refusal { retry_after_s: Some(1), ..refusal });
        }
        answered.await.unwrap_or_else(|_| Err(Refusal::outcome_unknown("the sequencer has stopped")))
    }

    /// What a change would come to now, without committing it.
    pub(crate) async fn preview(&self, token: &Token, action: Action) -> Answer {
        let core = &*self.core;
        let intent =
            Intent { id: self.new_id(), caller: Caller::Token(token.digest()), action, objects: Vec::new() };
        let by_name = ByName::read(&core.store, &[&intent]).await?;
        let mut round = core.committer.begin().await?;
        let settings = core.settings_of(&round.head.config).await?;
        let mut desk =
            Desk::gather(&core.store, &core.committer, &mut round, &by_name, settings, &[&intent]).await?;
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

    /// Whether a commit could be made now: head and checkpoint can be read and agree.
    pub async fn ready(&self) -> Result<u64, Refusal> {
        Ok(self.core.committer.begin().await?.head.size())
    }
}

impl Core {
    /// Notes what a head says about garbage collection, for objects that are put from now on, and about old tokens.
    pub(crate) fn saw(&self, head: &Head) {
        self.auth_epoch.fetch_max(head.auth_epoch, Ordering::AcqRel);
        self.fence.fetch_max(head.gc.n, Ordering::AcqRel);
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
