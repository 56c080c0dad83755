//! Several publishers over one store, each with its own memory, caches and sequencer.

use std::{path::PathBuf, sync::Arc};

use axum::{Router, body::Body, http::Request};
use drystone_publisher::{Options, Service, api_router};
use drystone_schemas::{IndexFile, PackageName, Settings, Sha256Digest, layout};
use drystone_storage::{Clock, Key, Store};
use drystone_tests::{
    Answer, Pkg, TestEntropy, TestRegistry, ask_router,
    checks::{contents, fsck_store},
    publish_request,
};
use futures_util::future::join_all;

/// 2025-10-09T09:09:59Z.
pub(crate) const START_UNIX_MS: u64 = 1_760_000_999_000;

pub(crate) struct Fleet {
    /// The store itself, without what lies between it and the processes.
    store: Store,
    clock: Arc<dyn Clock>,
    processes: Vec<Router>,
    token: String,
}

/// What a fleet's work came to.
pub(crate) struct Work {
    pub(crate) publishes: u64,
    /// Commits that it took.
    pub(crate) commits: u64,
    /// The longest that one publish took, in milliseconds of the fleet's clock.
    pub(crate) longest_ms: u64,
}

impl Fleet {
    /// A new registry, and publishers that reach it as each of them sees it.
    pub(crate) async fn new(store: Store, clock: Arc<dyn Clock>, seen: Vec<Store>) -> Self {
        let (signer, entropy) = (TestRegistry::signer(), Arc::new(TestEntropy::seeded(1)));
        let origin = signer.verifier().name().to_owned();
        let settings = Settings::new("test", "http://registry.test");
        let made = Service::initialise(&store, signer, &origin, &settings, clock.clone(), entropy).await;
        made.expect("an empty store takes a registry");
        let (mut processes, mut token) = (Vec::new(), String::new());
        for (seed, store) in (2..).zip(seen) {
            // Small uploads never touch the spool.
            let options = Options::new(PathBuf::from("nowhere"), 2);
            let entropy = Arc::new(TestEntropy::seeded(seed));
            let service =
                Service::open(store, TestRegistry::signer(), &*origin, clock.clone(), entropy, options).await;
            let service = service.expect("the registry opens");
            let made = service.make_operator_token("test").await.expect("a token can be made");
            token = made.token.reveal().to_owned();
            processes.push(api_router(service, None));
        }
        Self { store, clock, processes, token }
    }

    pub(crate) async fn publish(&self, process: usize, package: &Pkg) -> Answer {
        ask_router(&self.processes[process], publish_request(&self.token, None, &package.archive())).await
    }

    /// Asks a process for a change of a package.
    pub(crate) async fn change(&self, process: usize, what: &str) -> Answer {
        let request = Request::post(format!("/api/v1/packages/{what}"))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::empty());
        ask_router(&self.processes[process], request.expect("a test's request is a request")).await
    }

    /// Number of events in the published log.
    pub(crate) async fn log_size(&self) -> u64 {
        let checkpoint = self.store.public.get(&Key::new(layout::CHECKPOINT).expect("a key"), 1 << 16).await;
        let text =
            String::from_utf8_lossy(&checkpoint.expect("the store reads").unwrap_or_default()).into_owned();
        text.lines().nth(1).and_then(|line| line.parse().ok()).expect("a checkpoint has a size")
    }

    /// Checks every file of the registry.
    pub(crate) async fn assert_clean(&self) {
        let report = fsck_store(&self.store).await;
        assert!(report.is_clean(), "{:#?}", report.problems);
    }

    /// Every writer of every process publishes some versions of its own package, one after the other; every answer must
    /// be a success with a receipt, and everything that was acknowledged must be there.
    pub(crate) async fn work(&self, writers: usize, versions: usize) -> Work {
        let commits_before = self.commits().await;
        let writer = async |process: usize, writer: usize| {
            let mut longest_ms = 0;
            for version in 0..versions {
                let package = Pkg::new(&format!("p{process}-w{writer}"), &format!("1.{version}.0"));
                let began_ms = self.clock.now_unix_ms();
                let answer = self.publish(process, &package).await;
                longest_ms = longest_ms.max(self.clock.now_unix_ms() - began_ms);
                assert_eq!(answer.status, 201, "{}", answer.json());
                let receipt = answer.json()["proof"].as_str().map(str::to_owned);
                assert!(receipt.is_some_and(|text| text.starts_with("c2sp.org/tlog-proof@v1\n")));
            }
            longest_ms
        };
        let all = (0..self.processes.len()).flat_map(|process| (0..writers).map(move |w| (process, w)));
        let longest = join_all(all.map(|(process, w)| writer(process, w))).await;
        self.check(writers, versions).await;
        Work {
            publishes: (self.processes.len() * writers * versions) as u64,
            commits: self.commits().await - commits_before,
            longest_ms: longest.into_iter().max().unwrap_or_default(),
        }
    }

    /// Every published checkpoint is kept: as many as there were commits.
    pub(crate) async fn commits(&self) -> u64 {
        let keys = contents(&*self.store.public).await.into_keys();
        keys.filter(|key| key.starts_with("log/checkpoints/")).count() as u64
    }

    /// Reads back every version that was acknowledged, and checks every file of the registry.
    async fn check(&self, writers: usize, versions: usize) {
        let public = &*self.store.public;
        let read = async |key: String| {
            let bytes = public.get(&Key::new(key.clone()).expect("a key"), u64::MAX).await;
            bytes.expect("the store reads").unwrap_or_else(|| panic!("`{key}` is lost"))
        };
        for (process, writer) in
            (0..self.processes.len()).flat_map(|process| (0..writers).map(move |w| (process, w)))
        {
            let name = format!("p{process}-w{writer}");
            let index = read(layout::index_file(&PackageName::new(&*name).expect("a name"))).await;
            let index = IndexFile::parse(&index).expect("an index file is one");
            let lines: Vec<(String, String)> =
                index.lines.iter().map(|line| (line.vers.to_string(), line.cksum.clone())).collect();
            let published = (0..versions).map(|version| {
                let vers = format!("1.{version}.0");
                let digest = Sha256Digest::of(&Pkg::new(&name, &vers).archive());
                (vers, digest.hex())
            });
            assert_eq!(lines, published.collect::<Vec<_>>(), "{name}");
            for (_, digest) in lines {
                let archive = read(format!("o/{digest}")).await;
                assert_eq!(Sha256Digest::of(&archive).hex(), digest, "{name}");
            }
        }
        self.assert_clean().await;
    }

    /// Names of what lies in the inbox.
    pub(crate) async fn inbox(&self) -> Vec<String> {
        let keys = contents(&*self.store.vault).await.into_keys();
        keys.filter(|key| key.starts_with("inbox")).collect()
    }
}
