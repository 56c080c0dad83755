//! Processes that lose: one that never wins is served by the others, and one that nobody serves says so in time.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request},
};
use drystone_storage::{Call, Clock, Counter, Fault, Faults, Op, Store};
use drystone_tests::{Pkg, TestRegistry, in_virtual_time};
use futures_util::future::{Either, select};
use serde_json::json;

use crate::fleet::{Fleet, START_UNIX_MS};

const YANK: &str = "/api/v1/packages/http/1.0.0/yank";

/// A process that always loses the race for head.
async fn always_loses(registry: &TestRegistry) -> TestRegistry {
    let script = |call: &Call<'_>| {
        if (call.op, call.key) == (Op::Replace, "head") { Fault::AnswerConflict } else { Fault::None }
    };
    registry.another(|store| Faults::new(script).wrap(store)).await
}

#[test]
fn who_never_wins_is_served_by_the_others() {
    in_virtual_time(START_UNIX_MS, async |clock| {
        let clock: Arc<dyn Clock> = clock;
        let store = Store::memory();
        let far = store.delayed(&clock, Duration::from_millis(20));
        // After every third race that it loses, this process moves head; it never succeeds in anything else.
        let replaced = AtomicU64::new(0);
        let faults = Faults::new(move |call: &Call<'_>| {
            let commits =
                (call.op, call.key) == (Op::Replace, "head") && replaced.fetch_add(1, SeqCst) % 4 < 3;
            if commits { Fault::AnswerConflict } else { Fault::None }
        });
        // The other has work all the time, and no reason to look into the inbox until head is moved under it.
        let counter = Counter::new();
        let (losing, busy) = (0, 1);
        let fleet = Fleet::new(store, clock, vec![faults.wrap(&far), counter.wrap(&far)]).await;
        for name in ["http", "busy"] {
            assert_eq!(fleet.publish(busy, &Pkg::new(name, "1.0.0")).await.status, 201);
        }
        let mut asked = pin!(fleet.change(losing, "http/1.0.0/yank"));
        let mut others = 0;
        let answer = loop {
            others += 1;
            let toggle = if others % 2 == 1 { "busy/1.0.0/yank" } else { "busy/1.0.0/unyank" };
            match select(asked, pin!(fleet.change(busy, toggle))).await {
                Either::Left((answer, other)) => {
                    assert_eq!(other.await.status, 200);
                    break answer;
                }
                Either::Right((other, still_asked)) => {
                    assert_eq!(other.status, 200, "{}", other.json());
                    asked = still_asked;
                }
            }
        };
        assert_eq!(answer.status, 200, "{}", answer.json());
        assert!(others > 1 && counter.counts().lists > 0, "it was served by the busy one");
        assert_eq!(fleet.log_size().await, 4 + others);
        fleet.assert_clean().await;
    });
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
