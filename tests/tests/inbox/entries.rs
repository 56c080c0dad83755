//! Entries that another process takes along: good ones, and those that are not what they should be.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::{
    body::Body,
    http::{Method, Request},
};
use drystone_publisher::NewToken;
use drystone_schemas::Sha256Digest;
use drystone_storage::{Call, Clock, Fault, Faults, Op};
use drystone_tests::{
    Answer, Pkg, TestRegistry,
    checks::{contents, overwrite},
};
use serde_json::{Value, json};

/// Idempotency keys of the time at which test registries start.
const IDS: [&str; 3] =
    ["01K742R2DRAAAAAAAAAAAAAAAA", "01K742R2DRBBBBBBBBBBBBBBBB", "01K742R2DRCCCCCCCCCCCCCCCC"];
const YANK: &str = "/api/v1/packages/http/1.0.0/yank";

/// A process that loses its first race for head, and so looks into the inbox at its next attempt; then its replacement
/// of head ends so.
async fn loses_once_and_then(registry: &TestRegistry, fault: Fault) -> (TestRegistry, Faults) {
    let replaced = AtomicU64::new(0);
    let faults = Faults::new(move |call: &Call<'_>| {
        if (call.op, call.key) != (Op::Replace, "head") {
            return Fault::None;
        }
        match replaced.fetch_add(1, SeqCst) {
            0 => Fault::AnswerConflict,
            1 => fault,
            _ => Fault::None,
        }
    });
    (registry.another(|store| faults.wrap(store)).await, faults)
}

async fn with_http() -> TestRegistry {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    registry
}

/// An entry as docs/formats.md describes it: the bearer of this token asks for a yank.
fn yank_entry(registry: &TestRegistry, id: &str, who: &NewToken) -> Value {
    json!({
        "v": 1, "id": id, "token": who.token.digest(), "actor": who.account.id, "fence": 0,
        "expires": registry.clock.now_unix_s() + 25, "kind": "yank", "pkg": "http", "vers": "1.0.0",
    })
}

/// The same with other fields.
fn with(entry: &Value, fields: Value) -> Value {
    let mut entry = entry.clone();
    let Value::Object(fields) = fields else { panic!("{fields} has no fields") };
    entry.as_object_mut().expect("an entry has fields").extend(fields);
    entry
}

async fn operator_of(registry: &TestRegistry) -> NewToken {
    registry.service.make_operator_token("another").await.expect("a token can be made")
}

async fn leave(registry: &TestRegistry, name: &str, entry: &Value) {
    overwrite(&*registry.store.vault, &format!("inbox/{name}"), Some(entry.to_string().as_bytes())).await;
}

/// What lies in the inbox and beside it, once what was removed is gone.
async fn inbox(registry: &TestRegistry) -> Vec<String> {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let keys = contents(&*registry.store.vault).await.into_keys();
    keys.filter(|key| key.starts_with("inbox")).collect()
}

async fn yanked(registry: &TestRegistry) -> bool {
    registry.get("/api/v1/packages/http/1.0.0").await.json()["yanked"] == json!(true)
}

async fn ask_with_id(registry: &TestRegistry, id: &str, token: &str) -> Answer {
    let request = Request::post(YANK)
        .header("authorization", format!("Bearer {token}"))
        .header("idempotency-key", id)
        .body(Body::empty());
    registry.send(request.expect("a test's request is a request")).await
}

#[tokio::test]
async fn a_good_entry_is_taken_along_and_its_owner_finds_the_outcome() {
    let registry = with_http().await;
    let operator = operator_of(&registry).await;
    leave(&registry, IDS[0], &yank_entry(&registry, IDS[0], &operator)).await;
    let (winner, _) = loses_once_and_then(&registry, Fault::None).await;
    assert_eq!(winner.publish(&Pkg::new("json", "1.0.0")).await.status, 201);
    assert!(yanked(&registry).await);
    assert_eq!((registry.log_size().await, inbox(&registry).await), (4, vec![]));
    // Its owner asks for itself at last, under the same id.
    let answer = ask_with_id(&registry, IDS[0], &registry.admin).await;
    assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(2)));
    assert_eq!(registry.log_size().await, 4);
    registry.assert_clean("after a guest").await;
}

#[tokio::test]
async fn the_same_id_in_the_inbox_and_directly_happens_once() {
    let registry = with_http().await;
    let operator = operator_of(&registry).await;
    leave(&registry, IDS[0], &yank_entry(&registry, IDS[0], &operator)).await;
    let (winner, _) = loses_once_and_then(&registry, Fault::None).await;
    let answer = ask_with_id(&winner, IDS[0], &registry.admin).await;
    assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(2)));
    assert_eq!(registry.log_size().await, 3);
    // An entry that was left behind by a winner who died before removing it is removed by the next.
    leave(&registry, IDS[0], &yank_entry(&registry, IDS[0], &operator)).await;
    let (winner, _) = loses_once_and_then(&registry, Fault::None).await;
    assert_eq!(winner.publish(&Pkg::new("json", "1.0.0")).await.status, 201);
    assert_eq!((registry.log_size().await, inbox(&registry).await), (4, vec![]));
    registry.assert_clean("after an id twice").await;
}

#[tokio::test]
async fn a_winner_that_crashes_loses_and_doubles_nothing() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::DoneButReportedFailed, Fault::NotDone] {
        let registry = with_http().await;
        let operator = operator_of(&registry).await;
        leave(&registry, IDS[0], &yank_entry(&registry, IDS[0], &operator)).await;
        let (winner, faults) = loses_once_and_then(&registry, fault).await;
        let answer = winner.publish(&Pkg::new("json", "1.0.0")).await;
        assert_eq!(answer.status == 201, !faults.crashed(), "{fault:?}: {}", answer.json());
        // The entry's owner goes on without, at another process.
        let owner = registry.another(drystone_storage::Store::clone).await;
        let answer = ask_with_id(&owner, IDS[0], &registry.admin).await;
        assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(2)), "{fault:?}");
        assert!(yanked(&registry).await);
        // Whatever is left in the inbox is found to be done, or is done now: the winner's own too, which lost once.
        let (next, _) = loses_once_and_then(&registry, Fault::None).await;
        assert_eq!(next.publish(&Pkg::new("tls", "1.0.0")).await.status, 201);
        assert_eq!((registry.log_size().await, inbox(&registry).await), (5, vec![]), "{fault:?}");
        registry.assert_clean("after a crashed winner").await;
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_or_too_weak_commits_nothing_from_the_inbox() {
    let registry = with_http().await;
    let (ann, bob) = (registry.token_of("ann").await, registry.token_of("bob").await);
    let users = Some(json!({ "users": ["ann"] }));
    let added = registry.ask(Method::PUT, "/api/v1/packages/http/owners", users).await;
    assert_eq!(added.status, 200, "{}", added.json());
    for (id, who) in [(IDS[0], &ann), (IDS[1], &bob)] {
        leave(&registry, id, &yank_entry(&registry, id, who)).await;
    }
    // Bob's token says that it is the operator's; that is nothing to go by.
    let actor = operator_of(&registry).await.account.id;
    let claims = with(&yank_entry(&registry, IDS[2], &bob), json!({ "actor": actor }));
    leave(&registry, IDS[2], &claims).await;
    registry.service.revoke_token(&ann.token).await.expect("a token can be revoked");
    let (winner, _) = loses_once_and_then(&registry, Fault::None).await;
    assert_eq!(winner.publish(&Pkg::new("json", "1.0.0")).await.status, 201);
    assert!(!yanked(&registry).await);
    assert_eq!((registry.log_size().await, inbox(&registry).await), (4, vec![]));
    // Their owners decide for themselves, and say why.
    let refused = ask_with_id(&registry, IDS[0], ann.token.reveal()).await;
    refused.assert_refused("a revoked token", 401, &["token-invalid"]);
    let refused = ask_with_id(&registry, IDS[1], bob.token.reveal()).await;
    refused.assert_refused("not an owner", 403, &["not-an-owner"]);
    registry.assert_clean("after refused guests").await;
}

#[tokio::test]
async fn what_is_no_entry_is_put_aside_and_what_has_expired_is_dropped() {
    let registry = with_http().await;
    let operator = operator_of(&registry).await;
    let good = yank_entry(&registry, IDS[0], &operator);
    let id = |n: u32| format!("01K742R2DR{n:016}");
    let vault = &*registry.store.vault;
    overwrite(vault, "inbox/garbage", Some(b"\x00\xff{")).await;
    overwrite(vault, &format!("inbox/{}", id(1)), Some(&[b' '; 20 << 10])).await;
    let (now_s, digest) = (registry.clock.now_unix_s(), Sha256Digest::of(b"x"));
    let entries = [
        with(&good, json!({ "id": id(9) })),
        with(&good, json!({ "id": id(3) })),
        with(&good, json!({ "id": id(4), "kind": "config", "config": digest })),
        with(&good, json!({ "id": id(5), "kind": "publish", "tarball": digest, "record": digest })),
        with(&good, json!({ "id": id(6), "expires": now_s })),
        with(&good, json!({ "id": id(7), "v": 2 })),
    ];
    for (n, entry) in (2..).zip(&entries) {
        leave(&registry, &id(n), entry).await;
    }
    let (winner, _) = loses_once_and_then(&registry, Fault::None).await;
    assert_eq!(winner.publish(&Pkg::new("json", "1.0.0")).await.status, 201);
    // Of all these one is good: number 3, which says what it is.
    assert!(yanked(&registry).await);
    assert_eq!(registry.log_size().await, 4);
    let aside = |name: &str| format!("inbox-bad/{name}");
    // What a newer process has written is for such a one.
    let expected = [aside(&id(2)), aside(&id(4)), aside("garbage"), format!("inbox/{}", id(7))];
    assert_eq!(inbox(&registry).await, expected);
    registry.assert_clean("after bad entries").await;
}
