//! Storage that is full, gone, read-only, or not what it was; clocks and keys that are wrong.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::http::Method;
use drystone_index_builder::{RecoverOptions, Silent, recover};
use drystone_log::NoteSigner;
use drystone_publisher::{Options, Refusal, Service};
use drystone_storage::{Clock, MemoryArea, Op, Store, StoreError};
use drystone_tests::{
    Answer, Gate, Pkg, TestRegistry,
    checks::{contents, overwrite},
};

/// A process on the registry's store, some of whose calls fail while the switch is on.
async fn failing(
    registry: &TestRegistry,
    refuse: impl Fn(Op, &str) -> Option<StoreError> + Send + Sync + 'static,
) -> (TestRegistry, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let on = switch.clone();
    let decide = move |op: Op, key: &str| on.load(Ordering::SeqCst).then(|| refuse(op, key)).flatten();
    let process = registry.another(|store| Gate::store(store, decide)).await;
    switch.store(true, Ordering::SeqCst);
    (process, switch)
}

fn writes(op: Op) -> bool {
    matches!(op, Op::PutNew | Op::Replace | Op::Delete)
}

fn full(op: Op, key: &str) -> Option<StoreError> {
    writes(op).then(|| StoreError::Full { op: op.as_str(), key: key.into() })
}

fn read_only(op: Op, key: &str) -> Option<StoreError> {
    let detail = "the file system of /srv/registry is mounted read-only".into();
    writes(op).then(|| StoreError::Refused { op: op.as_str(), key: key.into(), detail })
}

fn gone(op: Op, key: &str) -> Option<StoreError> {
    let detail = "dispatch failure: connection refused by 192.0.2.1".into();
    Some(StoreError::Unavailable { op: op.as_str(), key: key.into(), detail })
}

/// Refused with a time to try again, and nothing of the inside.
fn assert_unavailable(case: &str, answer: &Answer, status: u16, code: &str) {
    answer.assert_refused(case, status, &[code]);
    let seconds = answer.headers["retry-after"].to_str().ok().and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{case}: {seconds:?}");
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains("/srv") && !text.contains("192.0.2.1"), "{case}: {text}");
}

#[tokio::test]
async fn storage_that_fails_before_the_commit() {
    type Refuse = fn(Op, &str) -> Option<StoreError>;
    let cases: [(&str, Refuse, u16, &str); 3] = [
        ("full", full, 507, "storage-full"),
        ("read-only", read_only, 503, "storage-refused"),
        ("gone", gone, 503, "storage-unavailable"),
    ];
    for (case, refuse, status, code) in cases {
        let registry = TestRegistry::new().await;
        assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
        let before = contents(&*registry.store.public).await;
        let (process, switch) = failing(&registry, refuse).await;
        let package = Pkg::new("http", "1.1.0");
        assert_unavailable(case, &process.publish(&package).await, status, code);
        let yank = process.ask(Method::POST, "/api/v1/packages/http/1.0.0/yank", None).await;
        assert_unavailable(case, &yank, status, code);
        assert_eq!(contents(&*registry.store.public).await, before, "{case}");
        // What can be read is read.
        let readable = if status == 503 && code == "storage-unavailable" { 503 } else { 200 };
        for path in ["/index/ht/tp/http", "/api/v1/packages/http", "/readyz", "/log/checkpoint"] {
            assert_eq!(process.get(path).await.status, readable, "{case} {path}");
        }
        assert_eq!(process.get("/healthz").await.status, 200, "{case}");
        switch.store(false, Ordering::SeqCst);
        assert_eq!(process.publish(&package).await.status, 201, "{case}");
        registry.assert_clean(case).await;
    }
}

/// Whichever write it is that finds no room, the same request succeeds once there is some.
#[tokio::test]
async fn storage_that_is_full_at_one_place() {
    for (place, statuses) in [
        ("o/", &[507][..]),
        ("log/state/", &[507]),
        ("staging/", &[507]),
        ("head", &[507]),
        // After the commit point nobody can say that it has not happened.
        ("log/tile/", &[503]),
        ("index/", &[503]),
        ("resolve/", &[503]),
        ("packages/", &[503]),
        ("done/", &[503]),
        // Its event is in the log and its files are there; only the signature waits.
        ("log/checkpoint", &[201, 503]),
    ] {
        let registry = TestRegistry::new().await;
        let (process, switch) =
            failing(&registry, move |op, key| full(op, key).filter(|_| key.starts_with(place))).await;
        let package = Pkg::new("http", "1.0.0");
        let answer = process.publish(&package).await;
        assert!(statuses.contains(&answer.status), "{place}: {} {}", answer.status, answer.json());
        switch.store(false, Ordering::SeqCst);
        let again = process.publish(&package).await;
        assert!(matches!(again.status, 200 | 201), "{place}: {}", again.json());
        assert_eq!(again.json()["seq"], 1, "{place}");
        assert_eq!(registry.visible().await["http"], ["1.0.0"], "{place}");
        registry.assert_clean(place).await;
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let vault = MemoryArea::new();
    let store = Store { public: Arc::new(MemoryArea::new()), vault: Arc::new(vault.clone()) };
    let registry = TestRegistry::on(store).await;
    let now = registry.clock.now_unix_ms() / 1000;
    for (i, (store_time, off)) in
        [(now - 61, true), (now - 60, false), (now + 60, false), (now + 61, true), (0, true)]
            .into_iter()
            .enumerate()
    {
        vault.set_store_time_unix(Some(store_time));
        let answer = registry.publish(&Pkg::new(&format!("p{i}"), "1.0.0")).await;
        if off {
            assert_unavailable("a wrong clock", &answer, 503, "clock-wrong");
            assert_unavailable("a wrong clock", &registry.get("/readyz").await, 503, "clock-wrong");
        } else {
            assert_eq!(answer.status, 201, "{i}: {}", answer.json());
        }
    }
    vault.set_store_time_unix(None);
    assert_eq!(registry.visible().await.len(), 2);
    registry.assert_clean("after a wrong clock").await;
}

#[tokio::test]
async fn a_head_that_was_restored_from_a_backup() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let old = contents(&*registry.store.vault).await["head"].clone();
    assert_eq!(registry.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    for head in [Some(&old[..]), None] {
        overwrite(&*registry.store.vault, "head", head).await;
        let before = contents(&*registry.store.public).await;
        let answer = registry.publish(&Pkg::new("http", "1.2.0")).await;
        assert_unavailable("an old head", &answer, 503, "head-behind-log");
        let refused = registry.try_another(registry.store.clone()).await.err().expect("it does not open");
        assert_eq!(refused.problems[0].code.slug(), "head-behind-log");
        // The object of a publish that was refused may lie there; nothing that is found by name has changed.
        let after = contents(&*registry.store.public).await;
        assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)));
        assert!(after.keys().all(|key| before.contains_key(key) || key.starts_with("o/")));
        let problems = registry.fsck().await.problems;
        assert!(
            problems.iter().all(|problem| problem.key == "vault/head") && !problems.is_empty(),
            "{problems:?}"
        );
    }
    let now_unix_s = registry.clock.now_unix_ms() / 1000;
    let options = RecoverOptions { key: Some(TestRegistry::log_key()), now_unix_s };
    recover(&registry.store, &options, &*registry.entropy, &Silent).await.unwrap();
    assert_eq!(registry.publish(&Pkg::new("http", "1.2.0")).await.json()["seq"], 3);
    registry.assert_clean("after a recovery").await;
}

async fn open_with(registry: &TestRegistry, origin: &str, seed: u8) -> Result<Arc<Service>, Refusal> {
    let spool = tempfile::tempdir().expect("a test may make a directory");
    let options = Options::new(spool.path().to_owned(), 1);
    let signer = NoteSigner::from_seed(origin, &[seed; 32]).expect("the origin is a key name");
    let (store, clock, entropy) = (registry.store.clone(), registry.clock.clone(), registry.entropy.clone());
    Service::open(store, signer, origin, clock, entropy, options).await
}

#[tokio::test]
async fn a_key_or_origin_that_is_not_the_logs() {
    let registry = TestRegistry::new().await;
    let before = contents(&*registry.store.public).await;
    assert!(open_with(&registry, "registry.test/log/1", 7).await.is_ok());
    for (origin, seed) in [("registry.test/log/1", 8), ("registry.test/log/2", 7)] {
        let refusal = open_with(&registry, origin, seed).await.err().expect("it does not open");
        let problem = &refusal.problems[0];
        assert_eq!((refusal.status(), problem.code.slug()), (503, "wrong-key"));
        assert!(!problem.hint.is_empty() && refusal.inside.is_some());
    }
    assert_eq!(contents(&*registry.store.public).await, before);
}

#[tokio::test]
async fn a_store_without_a_registry_or_with_one_already() {
    let registry = TestRegistry::new().await;
    let refused = registry.try_another(Store::memory()).await.err().expect("it does not open");
    assert_eq!((refused.status(), refused.problems[0].code.slug()), (503, "not-initialised"));
    let settings = drystone_schemas::Settings::new("again", "http://registry.test");
    let (clock, entropy) = (registry.clock.clone(), registry.entropy.clone());
    let signer = TestRegistry::signer();
    let made =
        Service::initialise(&registry.store, signer, "registry.test/log/1", &settings, clock, entropy).await;
    let refused = made.expect_err("there is one already");
    assert_eq!((refused.status(), refused.problems[0].code.slug()), (409, "already-initialised"));
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    registry.assert_clean("after a second genesis").await;
}
