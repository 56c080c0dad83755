//! Requests that become one commit together: none learns of another's event before it is in the log.

use axum::{
    body::Body,
    http::{Method, Request},
};
use drystone_storage::{Call, Fault, Faults, Op, Store};
use drystone_tests::{Answer, Pkg, TestRegistry};
use futures_util::future::join_all;
use serde_json::json;

const YANK: &str = "/api/v1/packages/http/1.0.0/yank";
const UNYANK: &str = "/api/v1/packages/http/1.0.0/unyank";
/// Idempotency keys of the time at which test registries start.
const IDS: [&str; 2] = ["01K742R2DRAAAAAAAAAAAAAAAA", "01K742R2DRBBBBBBBBBBBBBBBB"];

async fn ask_with_id(registry: &TestRegistry, id: &str, path: &str) -> Answer {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {}", registry.admin))
        .header("idempotency-key", id)
        .body(Body::empty());
    registry.send(request.expect("a test's request is a request")).await
}

/// A process whose next replacement of head ends so; the ones after it succeed.
async fn failing_at_head(registry: &TestRegistry, fault: Fault) -> (TestRegistry, Faults) {
    let faults = Faults::new(
        move |call: &Call<'_>| {
            if (call.op, call.key) == (Op::Replace, "head") { fault } else { Fault::None }
        },
    );
    (registry.another(|store| faults.wrap(store)).await, faults)
}

#[tokio::test]
async fn what_another_request_of_the_batch_does_is_not_told_before_it_is_committed() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let (crashing, faults) = failing_at_head(&registry, Fault::CrashBefore).await;
    // The first yanks, the others find it yanked: all in one batch, because all wait before the sequencer runs.
    let answers = join_all((0..4).map(|_| crashing.ask(Method::POST, YANK, None))).await;
    assert!(faults.crashed());
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let version = registry.another(Store::clone).await.get("/api/v1/packages/http/1.0.0").await;
    assert_eq!(version.json()["yanked"], json!(false));
    assert_eq!(statuses, [503; 4], "somebody was told of a yank that is not in the log");
}

#[tokio::test]
async fn a_batch_that_loses_the_race_is_decided_anew_as_a_whole() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let other = registry.another(Store::clone).await;
    // Another process commits between this batch's decision and its replacement of head.
    let lost = std::sync::atomic::AtomicBool::new(false);
    let faults = Faults::new(move |call: &Call<'_>| {
        let first = (call.op, call.key) == (Op::Replace, "head")
            && !lost.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first { Fault::AnswerConflict } else { Fault::None }
    });
    let losing = registry.another(|store| faults.wrap(store)).await;
    assert_eq!(other.publish(&Pkg::new("other", "1.0.0")).await.status, 201);
    let answers = join_all((0..4).map(|_| losing.ask(Method::POST, YANK, None))).await;
    let seqs: Vec<_> = answers.iter().map(|answer| (answer.status, answer.json()["seq"].clone())).collect();
    assert_eq!(seqs, [(200, json!(3)), (200, json!(null)), (200, json!(null)), (200, json!(null))]);
    assert_eq!(registry.log_size().await, 4);
    registry.assert_clean("after a lost race").await;
}

#[tokio::test]
async fn one_id_is_in_the_log_once_also_within_a_batch() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    // A yank whose answer was lost is repeated, and meanwhile somebody has taken it back.
    let requests = [(IDS[0], YANK), (IDS[1], UNYANK), (IDS[0], YANK)];
    let answers = join_all(requests.map(|(id, path)| ask_with_id(&registry, id, path))).await;
    let seqs: Vec<_> = answers.iter().map(|answer| (answer.status, answer.json()["seq"].clone())).collect();
    assert_eq!(seqs, [(200, json!(2)), (200, json!(3)), (200, json!(2))]);
    let version = registry.get("/api/v1/packages/http/1.0.0").await.json();
    assert_eq!((registry.log_size().await, &version["yanked"]), (4, &json!(false)));
    // One id for two requests of one batch is refused as it is across batches.
    let requests = [("01K742R2DRCCCCCCCCCCCCCCCC", YANK), ("01K742R2DRCCCCCCCCCCCCCCCC", UNYANK)];
    let [first, second] = requests.map(|(id, path)| ask_with_id(&registry, id, path));
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, &first.json()["seq"]), (200, &json!(4)));
    second.assert_refused("one id for two requests", 409, &["intent-reused"]);
    registry.assert_clean("after repeated ids").await;
}

#[tokio::test]
async fn more_requests_than_can_wait_are_sent_away_and_the_others_answered() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let answers =
        join_all((0..600).map(|i| registry.ask(Method::POST, if i % 2 == 0 { YANK } else { UNYANK }, None)))
            .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((done.len(), refused.len()), (512, 88));
    for answer in refused {
        answer.assert_refused("too many", 503, &["overloaded"]);
        assert_eq!(answer.headers["retry-after"], "2");
    }
    assert_eq!(registry.log_size().await, 2 + 512);
    registry.assert_clean("after a flood").await;
}
