//! Who says how new a checkpoint is, and that it is said again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use drystone_log::{
    Note, NoteSigner, SignedCheckpoint, TlogProof, VerifierKey,
    commit::{CommitError, Heartbeat, KeyUnavailable, LogKey, Signing},
    note::NoteSignature,
};
use drystone_publisher::{Options, Service, api_router};
use drystone_schemas::{Settings, layout};
use drystone_storage::{Key, Meta, Store};
use drystone_tests::{Pkg, TestClock, TestEntropy, TestRegistry, ask_router, publish_request};
use tokio::sync::{mpsc, oneshot};

pub(crate) const ORIGIN: &str = "registry.test/log/1";
pub(crate) const START_S: u64 = 1_760_000_999;

/// A registry in memory that signs as it is told.
pub(crate) struct Registry {
    pub(crate) service: Arc<Service>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<TestClock>,
    token: String,
}

impl Registry {
    pub(crate) async fn new(signing: Signing) -> Self {
        let (store, clock) = (Store::memory(), Arc::new(TestClock::at(START_S * 1_000)));
        let entropy = Arc::new(TestEntropy::seeded(5));
        let settings = Settings::new("demo", "http://registry.test");
        let made = TestRegistry::make(&store, &settings, entropy).await;
        made.expect("an empty store takes a registry");
        let service = Self::open(&store, &clock, signing).await.expect("the registry opens");
        let token = service.make_operator_token("test").await.expect("a token can be made");
        Self { service, store, clock, token: token.token.reveal().to_owned() }
    }

    pub(crate) async fn open(
        store: &Store,
        clock: &Arc<TestClock>,
        signing: Signing,
    ) -> Result<Arc<Service>, drystone_publisher::Refusal> {
        let options = Options::new(std::env::temp_dir(), 1);
        let entropy = Arc::new(TestEntropy::seeded(6));
        Service::open(store.clone(), signing, ORIGIN, clock.clone(), entropy, options).await
    }

    /// Publishes a package, and answers with the status and the body.
    pub(crate) async fn publish(&self, version: &str) -> (u16, serde_json::Value) {
        let request = publish_request(&self.token, None, &Pkg::new("http", version).archive());
        let answer = ask_router(&api_router(self.service.clone(), None), request).await;
        (answer.status, answer.json())
    }

    pub(crate) async fn file(&self, key: &str) -> Bytes {
        let key = Key::new(key).expect("it is a key");
        self.store.public.get(&key, 1 << 20).await.expect("memory answers").expect("the file is there")
    }

    /// The published checkpoint's note.
    pub(crate) async fn checkpoint(&self) -> Note {
        Note::parse(&self.file(layout::CHECKPOINT).await).expect("it is a note")
    }

    /// What the proof file shows: the number of events, and its checkpoint's note.
    pub(crate) async fn latest(&self) -> (u64, Note) {
        let proof = TlogProof::decode(&self.file(layout::LATEST_PROOF).await).expect("it is a proof file");
        (proof.index + 1, Note::parse(&proof.checkpoint).expect("it is a note"))
    }
}

/// The time that this key states.
pub(crate) fn time_of(note: &Note, key: &VerifierKey) -> Option<u64> {
    note.verify(std::slice::from_ref(key)).ok()?.first()?.time
}

fn signing() -> Signing {
    TestRegistry::signing()
}

#[tokio::test]
async fn every_checkpoint_says_how_new_it_is_and_the_history_does_not() {
    let registry = Registry::new(signing()).await;
    registry.clock.advance(Duration::from_secs(100));
    let (status, answer) = registry.publish("1.0.0").await;
    assert_eq!(status, 201, "{answer}");
    let key = TestRegistry::cosigner().verifier().clone();
    let (size, latest) = registry.latest().await;
    assert_eq!((size, time_of(&latest, &key)), (2, Some(START_S + 100)));
    let checkpoint = registry.checkpoint().await;
    assert_eq!(checkpoint, latest);
    // A line that nobody can verify keeps readers honest.
    let names: Vec<&str> = checkpoint.signatures().iter().map(NoteSignature::name).collect();
    assert!(
        names[..2] == [ORIGIN, "registry.test/freshness"] && names[2].starts_with("grease."),
        "{names:?}"
    );
    // The history is the same whoever writes it, and whenever.
    let history = Note::parse(&registry.file(&layout::checkpoint_history(2)).await).unwrap();
    assert_eq!((history.signatures().len(), history.text()), (1, checkpoint.text()));
    // So is the receipt's checkpoint that of the proof file.
    let receipt = TlogProof::decode(answer["proof"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(Note::parse(&receipt.checkpoint).unwrap(), checkpoint);
}

#[tokio::test]
async fn a_heartbeat_renews_the_time_and_nothing_else() {
    let registry = Registry::new(signing()).await;
    let key = TestRegistry::cosigner().verifier().clone();
    registry.publish("1.0.0").await;
    let before = registry.checkpoint().await;
    assert_eq!(registry.service.heartbeat(300).await.unwrap(), Heartbeat::Fresh);
    registry.clock.advance(Duration::from_secs(299));
    assert_eq!(registry.service.heartbeat(300).await.unwrap(), Heartbeat::Fresh);
    registry.clock.advance(Duration::from_secs(1));
    assert_eq!(registry.service.heartbeat(300).await.unwrap(), Heartbeat::Renewed);
    let (size, latest) = registry.latest().await;
    assert_eq!((size, latest.text()), (2, before.text()));
    assert_eq!(time_of(&latest, &key), Some(START_S + 300));
    assert_eq!(registry.checkpoint().await, latest);
    // A process whose clock is behind does not take it back.
    let behind = Arc::new(TestClock::at((START_S + 10) * 1_000));
    let slow = Registry::open(&registry.store, &behind, signing()).await.unwrap();
    slow.heartbeat(0).await.unwrap();
    assert_eq!(time_of(&registry.checkpoint().await, &key), Some(START_S + 300));
}

#[tokio::test]
async fn without_a_cosigner_nothing_is_said() {
    let registry = Registry::new(TestRegistry::signer().into()).await;
    assert_eq!(registry.service.heartbeat(0).await.unwrap(), Heartbeat::NoCosigner);
}

#[tokio::test]
async fn a_store_that_went_back_is_not_called_new() {
    let registry = Registry::new(signing()).await;
    registry.publish("1.0.0").await;
    let old = old_files(&registry.store).await;
    registry.publish("1.1.0").await;
    registry.clock.advance(Duration::from_secs(1_000));
    put_back(&registry.store, old).await;
    let refused = registry.service.heartbeat(1).await;
    assert!(matches!(refused, Err(CommitError::HeadBehindLog { head: 2, published: 3 })), "{refused:?}");
}

/// Everything that a thief of the bucket needs to show yesterday's registry.
async fn old_files(store: &Store) -> Vec<(bool, Key, Bytes)> {
    let mut files = Vec::new();
    for (is_public, key) in [(false, layout::HEAD), (true, layout::CHECKPOINT), (true, layout::LATEST_PROOF)]
    {
        let area = if is_public { &store.public } else { &store.vault };
        let key = Key::new(key).unwrap();
        let bytes = area.read(&key, 1 << 20).await.unwrap().unwrap().bytes;
        files.push((is_public, key, bytes));
    }
    files
}

async fn put_back(store: &Store, files: Vec<(bool, Key, Bytes)>) {
    for (is_public, key, bytes) in files {
        let area = if is_public { &store.public } else { &store.vault };
        let seen = area.read(&key, 1 << 20).await.unwrap().unwrap().tag;
        area.replace(&key, Some(&seen), bytes, Meta::PRIVATE).await.unwrap();
    }
}

/// What goes to a key service: a text, and where its signature is waited for.
type SignRequest = (String, oneshot::Sender<NoteSignature>);

/// A key whose secret is elsewhere, as with a key service or in hardware: what is here asks, and waits.
struct RemoteKey {
    public: VerifierKey,
    service: mpsc::Sender<SignRequest>,
    works: Arc<std::sync::atomic::AtomicBool>,
}

impl RemoteKey {
    /// Begins the service, which is the only one that has the key.
    fn begin(key: NoteSigner, works: Arc<std::sync::atomic::AtomicBool>) -> Self {
        let (service, mut requests) = mpsc::channel::<SignRequest>(1);
        let public = key.verifier().clone();
        tokio::spawn(async move {
            while let Some((text, answer)) = requests.recv().await {
                // Nobody may wait any more.
                let _ = answer.send(key.sign(&text));
            }
        });
        Self { public, service, works }
    }
}

#[async_trait]
impl LogKey for RemoteKey {
    fn verifier(&self) -> &VerifierKey {
        &self.public
    }

    async fn sign(&self, text: &str) -> Result<NoteSignature, KeyUnavailable> {
        let unavailable =
            |detail: &str| KeyUnavailable { name: self.public.name().to_owned(), detail: detail.into() };
        if !self.works.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(unavailable("it is out of order"));
        }
        let (answer, waited) = oneshot::channel();
        self.service.send((text.to_owned(), answer)).await.map_err(|_| unavailable("it is gone"))?;
        waited.await.map_err(|_| unavailable("it does not answer"))
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_stops_publishing_before_more_is_committed() {
    let works = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let service = RemoteKey::begin(TestRegistry::signer(), works.clone());
    let registry = Registry::new(Signing::new(Arc::new(service))).await;
    assert_eq!(registry.publish("1.0.0").await.0, 201);
    works.store(false, std::sync::atomic::Ordering::SeqCst);
    // What was committed stands, and is not published: the answer has no proof.
    let (status, answer) = registry.publish("1.1.0").await;
    assert_eq!((status, &answer["seq"], &answer["proof"]), (201, &2.into(), &serde_json::Value::Null));
    assert_eq!(registry.latest().await.0, 2);
    // Nothing is committed on top of it.
    let (status, answer) = registry.publish("1.2.0").await;
    assert_eq!((status, &answer["errors"][0]["code"]), (503, &"log-unpublished".into()), "{answer}");
    works.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(registry.publish("1.2.0").await.0, 201);
    assert_eq!(registry.latest().await.0, 4);
}

#[tokio::test]
async fn a_process_without_the_freshness_key_leaves_the_proof_to_one_that_has_it() {
    let registry = Registry::new(signing()).await;
    let key = TestRegistry::cosigner().verifier().to_string();
    let freshness = Some(drystone_schemas::Freshness { key, max_age_s: 60 });
    let settings = Settings { freshness, ..(*registry.service.settings()).clone() };
    registry.service.configure(settings).await.unwrap();
    assert_eq!(registry.latest().await.0, 2);
    let without =
        Registry::open(&registry.store, &registry.clock, TestRegistry::signer().into()).await.unwrap();
    without.configure(Settings { name: "other".into(), ..(*without.settings()).clone() }).await.unwrap();
    let published = SignedCheckpoint::open(
        &registry.file(layout::CHECKPOINT).await,
        TestRegistry::signer().verifier(),
        ORIGIN,
    );
    assert_eq!(published.unwrap().checkpoint().size(), 3);
    assert_eq!(registry.latest().await.0, 2, "nobody has said how new it is");
    assert_eq!(registry.service.heartbeat(300).await.unwrap(), Heartbeat::Renewed);
    assert_eq!(registry.latest().await.0, 3);
}

#[tokio::test]
async fn a_freshness_key_that_is_none_is_refused() {
    let registry = Registry::new(signing()).await;
    for key in ["nonsense".to_owned(), TestRegistry::signer().verifier().to_string()] {
        let freshness = Some(drystone_schemas::Freshness { key, max_age_s: 60 });
        let settings = Settings { freshness, ..(*registry.service.settings()).clone() };
        let refused = registry.service.configure(settings).await.unwrap_err();
        assert_eq!(refused.problems[0].code.slug(), "bad-configuration");
    }
}
