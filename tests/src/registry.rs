//! A registry in this process, asked through its router.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, header},
};
use drystone_log::{Cosigner, NoteSigner, VerifierKey, commit::Signing};
use drystone_publisher::{Front, NewToken, Options, PublicFiles, Refusal, Service, SignInProvider, Token};
use drystone_schemas::{Login, Settings};
use drystone_storage::{Clock, Entropy, Store};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{Pkg, TestClock, TestEntropy, TestMailer};

/// Origin of every test's log.
const ORIGIN: &str = "registry.test/log/1";
/// 2025-10-09T09:09:59Z.
const START_UNIX_MS: u64 = 1_760_000_999_000;

/// A registry with a store, a clock and a token.
pub struct TestRegistry {
    /// Where it keeps its files.
    pub store: Store,
    /// Its time.
    pub clock: Arc<TestClock>,
    /// Its randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What it sends by mail.
    pub mails: Arc<TestMailer>,
    /// Its publisher.
    pub service: Arc<Service>,
    /// The operator's token.
    pub admin: String,
    front: Front,
    spool: TempDir,
}

/// What the registry answered.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The slugs of its problems.
    pub fn codes(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("no errors in {json}"));
        errors.iter().map(|error| error["code"].as_str().expect("a problem has a code").to_owned()).collect()
    }
}

/// A `multipart/form-data` body with the parts `metadata` and `package`, and its content type.
pub fn multipart_body(metadata: Option<&str>, package: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    if let Some(metadata) = metadata {
        body.extend_from_slice(b"--b\r\ncontent-disposition: form-data; name=\"metadata\"\r\ncontent-type: application/json\r\n\r\n");
        body.extend_from_slice(metadata.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b\r\ncontent-disposition: form-data; name=\"package\"; filename=\"p.tar.gz\"\r\ncontent-type: application/gzip\r\n\r\n");
    body.extend_from_slice(package);
    body.extend_from_slice(b"\r\n--b--\r\n");
    ("multipart/form-data; boundary=b".into(), body)
}

impl TestRegistry {
    /// A new registry in memory.
    pub async fn new() -> Self {
        Self::on(Store::memory()).await
    }

    /// A new registry in this store.
    pub async fn on(store: Store) -> Self {
        let settings = Settings::new("test", "http://registry.test");
        Self::with_settings(store, settings).await
    }

    /// A new registry in this store, with these settings.
    pub async fn with_settings(store: Store, settings: Settings) -> Self {
        Self::at(store, settings, START_UNIX_MS).await
    }

    /// A new registry in a store that has a clock of its own, so that it begins now.
    pub async fn now_on(store: Store) -> Self {
        let settings = Settings::new("test", "http://registry.test");
        Self::at(store, settings, drystone_storage::SystemClock.now_unix_ms()).await
    }

    async fn at(store: Store, settings: Settings, start_unix_ms: u64) -> Self {
        let clock = Arc::new(TestClock::at(start_unix_ms));
        let entropy: Arc<dyn Entropy> = Arc::new(TestEntropy::seeded(1));
        let made = Self::make_by(&store, &settings, clock.clone(), entropy.clone()).await;
        made.expect("an empty store takes a registry");
        Self::opened(store, clock, entropy).await.expect("the registry opens")
    }

    /// Makes a registry in an empty store; nobody has a token.
    pub async fn make(store: &Store, settings: &Settings, entropy: Arc<dyn Entropy>) -> Result<(), Refusal> {
        Self::make_by(store, settings, Arc::new(TestClock::at(START_UNIX_MS)), entropy).await
    }

    async fn make_by(
        store: &Store,
        settings: &Settings,
        clock: Arc<TestClock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(), Refusal> {
        Service::initialise(store, Self::signing(), ORIGIN, settings, clock, entropy).await
    }

    /// What a listener would answer with.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// The registry in this store, with another token of the operator's.
    pub async fn opened(
        store: Store,
        clock: Arc<TestClock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Refusal> {
        let token = Token::generate(&*entropy);
        let registry = Self::open(store, clock, entropy, token.reveal().to_owned(), None).await?;
        registry.service.first_token(&token).await?;
        Ok(registry)
    }

    async fn open(
        store: Store,
        clock: Arc<TestClock>,
        entropy: Arc<dyn Entropy>,
        admin: String,
        sign_in: Option<SignInProvider>,
    ) -> Result<Self, Refusal> {
        let spool = tempfile::tempdir().expect("a test may make a directory");
        let mails = Arc::new(TestMailer::default());
        let options = Self::options(&spool, &mails);
        let options = Options { sign_in, ..options };
        let service = Self::service(store.clone(), clock.clone(), entropy.clone(), options).await?;
        let front = Front::new(service.clone(), PublicFiles::new(store.public.clone(), clock.clone()));
        Ok(Self { store, clock, entropy, mails, service, admin, front, spool })
    }

    fn options(spool: &TempDir, mails: &Arc<TestMailer>) -> Options {
        Options { mailer: Some(mails.clone()), ..Options::new(spool.path().to_owned(), 2) }
    }

    async fn service(
        store: Store,
        clock: Arc<TestClock>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Arc<Service>, Refusal> {
        let clock: Arc<dyn Clock> = clock;
        Service::open(store, Self::signing(), ORIGIN, clock, entropy, options).await
    }

    /// Another process on the same store, with its own memory; `wrap` may come between.
    pub async fn another(&self, wrap: impl FnOnce(&Store) -> Store) -> Self {
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let opened = Self::open(wrap(&self.store), clock, entropy, self.admin.clone(), None).await;
        opened.expect("the registry opens")
    }

    /// Another process, in which people sign in at a provider.
    pub async fn with_provider(&self, provider: SignInProvider) -> Self {
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let opened = Self::open(self.store.clone(), clock, entropy, self.admin.clone(), Some(provider)).await;
        opened.expect("the registry opens")
    }

    /// The same, for a store that may refuse to open.
    pub async fn try_another(&self, store: Store) -> Result<Arc<Service>, Refusal> {
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        Self::service(store, clock, entropy, Self::options(&self.spool, &self.mails)).await
    }

    /// Everything that signs for a test's log: its key, and one that says how new a checkpoint is.
    pub fn signing() -> Signing {
        Signing::from(Self::signer()).with_freshness(Arc::new(Self::cosigner()))
    }

    /// The freshness key of every test's log.
    pub fn cosigner() -> Cosigner {
        Cosigner::from_seed("registry.test/freshness", &[8; 32]).expect("it is a key name")
    }

    /// The key of every test's log.
    pub fn signer() -> NoteSigner {
        static SIGNER: LazyLock<NoteSigner> =
            LazyLock::new(|| NoteSigner::from_seed(ORIGIN, &[7; 32]).expect("the origin is a key name"));
        SIGNER.clone()
    }

    /// Its public half.
    pub fn log_key() -> VerifierKey {
        Self::signer().verifier().clone()
    }

    /// A token with every ordinary scope for an account with this login.
    pub async fn token_of(&self, login: &str) -> NewToken {
        let login = Login::new(login).expect("a test's login is a login");
        let made =
            self.service.make_token(&login, "test", drystone_publisher::Scope::ORDINARY.to_vec(), None).await;
        made.expect("a token can be made")
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        ask_router(self.front.router(), request).await
    }

    /// Sends a request of the operator's, with a JSON body if there is one.
    pub async fn ask(&self, method: Method, path: &str, body: Option<serde_json::Value>) -> Answer {
        self.ask_as(&self.admin, method, path, body).await
    }

    /// Sends a request with a token.
    pub async fn ask_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).expect("a test's request is a request")).await
    }

    /// Reads a public file.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a test's request is a request")).await
    }

    /// Publishes as the operator.
    pub async fn publish(&self, package: &Pkg) -> Answer {
        self.publish_as(&self.admin, package).await
    }

    /// Publishes with a token.
    pub async fn publish_as(&self, token: &str, package: &Pkg) -> Answer {
        self.publish_bytes(token, None, &package.archive()).await
    }

    /// Publishes these bytes.
    pub async fn publish_bytes(&self, token: &str, metadata: Option<&str>, archive: &[u8]) -> Answer {
        self.send(publish_request(token, metadata, archive)).await
    }
}

/// The request that publishes these bytes.
pub fn publish_request(token: &str, metadata: Option<&str>, archive: &[u8]) -> Request<Body> {
    let (content_type, body) = multipart_body(metadata, archive);
    let request = Request::post("/api/v1/packages")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body));
    request.expect("a test's request is a request")
}

/// What a router answers.
pub async fn ask_router(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.expect("a router answers");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("the body arrives").to_vec();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}
