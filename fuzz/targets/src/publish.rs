//! Whole requests that publish: multipart bodies, and Cargo's framed ones.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use bytes::Bytes;
use drystone_log::NoteSigner;
use drystone_publisher::{Options, Service, api_router};
use drystone_schemas::{ErrorBody, Limits, Settings};
use drystone_storage::{Clock, Entropy, Store, SystemClock, SystemEntropy};
use futures_util::stream;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const ORIGIN: &str = "fuzz.test/log";
/// Most bytes of an answer: a few dozen problems.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Any body is published or refused with problems, and is never an error of the server's.
///
/// The first byte says to which address the body goes, and in how long pieces it arrives.
pub fn publish(data: &[u8]) {
    thread_local! {
        static REGISTRY: std::cell::RefCell<Option<Registry>> = const { std::cell::RefCell::new(None) };
    }
    let Some((how, body)) = data.split_first() else { return };
    REGISTRY.with_borrow_mut(|kept| {
        let registry = kept.get_or_insert_with(Registry::new);
        let status = registry.publish(*how, body);
        // A registry that has grown would answer the same bytes otherwise.
        if status == 201 || (how & 1 == 1 && status == 200) {
            *kept = None;
        }
    });
}

struct Registry {
    runtime: Runtime,
    router: Router,
    token: String,
}

impl Registry {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime of one thread starts");
        let (router, token) = runtime.block_on(async {
            let store = Store::memory();
            let signer = || NoteSigner::from_seed(ORIGIN, &[7; 32]).expect("the origin is a key name");
            let mut settings = Settings::new("fuzz", "http://fuzz.test");
            settings.limits =
                Limits { tarball_bytes_max: 32 << 10, manifest_bytes_max: 4 << 10, ..Limits::default() };
            let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
                (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
            let made =
                Service::initialise(&store, signer(), ORIGIN, &settings, clock.clone(), entropy.clone());
            made.await.expect("an empty store takes a registry");
            let options = Options::new(std::env::temp_dir(), 1);
            let service = Service::open(store, signer(), ORIGIN, clock, entropy, options).await;
            let service = service.expect("the registry opens");
            let token = service.make_operator_token("fuzz").await.expect("a token can be made");
            (api_router(service, None), token.token.reveal().to_owned())
        });
        Self { runtime, router, token }
    }

    fn publish(&self, how: u8, body: &[u8]) -> u16 {
        let builder = if how & 1 == 0 {
            Request::post("/api/v1/packages").header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
        } else {
            Request::put("/api/v1/crates/new")
        };
        let piece = [usize::MAX, 1, 7, 512][usize::from(how >> 1 & 3)];
        let pieces: Vec<_> =
            body.chunks(piece).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        let request = builder
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Body::from_stream(stream::iter(pieces)))
            .expect("the request is one");
        let (status, body) = self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("a router answers");
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await.expect("an answer is short");
            (parts.status.as_u16(), body)
        });
        assert!(status < 500, "{status}: {}", String::from_utf8_lossy(&body));
        if status >= 400 {
            let refusal: ErrorBody = serde_json::from_slice(&body).expect("a refusal has problems");
            assert!((1..=60).contains(&refusal.errors.len()), "{}", refusal.errors.len());
        }
        status
    }
}
