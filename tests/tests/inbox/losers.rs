//! Processes that lose: one that never wins is served by the others, and one that nobody serves says so in time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use axum::{
    body::Body,
    http::{Method, Request},
};
use drystone_storage::{Call, Counter, Fault, Faults, Op};
use drystone_tests::{Pkg, TestRegistry};
use serde_json::json;

const YANK: &str = "/api/v1/packages/http/1.0.0/yank";

/// A process that always loses the race for head.
async fn always_loses(registry: &TestRegistry) -> TestRegistry {
    let script = |call: &Call<'_>| {
        if (call.op, call.key) == (Op::Replace, "head") { Fault::AnswerConflict } else { Fault::None }
    };
    registry.another(|store| Faults::new(script).wrap(store)).await
}

#[tokio::test]
async fn who_never_wins_is_served_by_the_others() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    // After every third race that it loses, this process moves head; it never succeeds in anything else.
    let replaced = AtomicU64::new(0);
    let faults = Faults::new(move |call: &Call<'_>| {
        let commits = (call.op, call.key) == (Op::Replace, "head") && replaced.fetch_add(1, SeqCst) % 4 < 3;
        if commits { Fault::AnswerConflict } else { Fault::None }
    });
    let loser = Arc::new(registry.another(|store| faults.wrap(store)).await);
    let asked = tokio::spawn({
        let loser = loser.clone();
        async move { loser.publish(&Pkg::new("json", "1.0.0")).await }
    });
    // Another has work all the time, and no reason to look into the inbox until head is moved under it.
    let counter = Counter::new();
    let busy = registry.another(|store| counter.wrap(store)).await;
    let mut version = 0;
    while !asked.is_finished() {
        version += 1;
        let answer = busy.publish(&Pkg::new("busy", &format!("1.{version}.0"))).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        assert!(version < 200, "the loser is never served");
    }
    let answer = asked.await.expect("it does not panic");
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert!(counter.counts().lists > 0, "it was served by the busy one");
    let seq = answer.json()["seq"].as_u64().expect("it has a position");
    let proof = answer.json()["proof"].as_str().map(str::to_owned).expect("it has a receipt");
    assert!(proof.starts_with(&format!("c2sp.org/tlog-proof@v1\nindex {seq}\n")), "{proof}");
    assert_eq!(registry.log_size().await, 3 + version);
    registry.assert_clean("after a loser was served").await;
}

#[tokio::test]
async fn who_is_never_served_is_told_to_come_back_in_both_interfaces() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let loser = always_loses(&registry).await;
    let refused = loser.ask(Method::POST, YANK, None).await;
    refused.assert_refused("a race that is always lost", 503, &["overloaded"]);
    assert_eq!(refused.headers["retry-after"], "2");
    let request = Request::delete("/api/v1/crates/http/1.0.0/yank").header("authorization", &registry.admin);
    let refused = loser.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"2".parse().expect("a value")));
    let detail = refused.json()["errors"][0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("hint: try again"), "{detail}");
    // What was left in the inbox may still be taken along; nothing is in doubt for whoever asks again.
    let version = registry.get("/api/v1/packages/http/1.0.0").await.json();
    assert_eq!(version["yanked"], json!(false));
    registry.assert_clean("after a refusal").await;
}
