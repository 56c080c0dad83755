//! Large uploads, which go to storage without the publisher in between.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_schemas::Sha256Digest;
use drystone_tests::{Answer, Gate, Pkg, TestRegistry, checks::overwrite};
use serde_json::{Value, json};

use super::assert_nothing_happened;

/// A registry whose storage takes uploads.
async fn registry() -> TestRegistry {
    let registry = TestRegistry::new().await;
    registry.another(Gate::presigning).await
}

async fn begin(registry: &TestRegistry, token: &str, sha256: &str, size: u64) -> Answer {
    let body = json!({"sha256": sha256, "size": size});
    registry.ask_as(token, Method::POST, "/api/v1/uploads", Some(body)).await
}

/// Begins an upload of these bytes and, as the storage would, puts `arrived` where it belongs.
async fn upload(registry: &TestRegistry, token: &str, declared: &[u8], arrived: Option<&[u8]>) -> String {
    let begun = begin(registry, token, &Sha256Digest::of(declared).hex(), declared.len() as u64).await;
    assert_eq!(begun.status, 201, "{}", begun.json());
    let id = begun.json()["id"].as_str().expect("an upload has an id").to_owned();
    assert!(
        begun.json()["url"].as_str().expect("an upload has an address").ends_with(&format!("uploads/{id}"))
    );
    if let Some(arrived) = arrived {
        overwrite(&*registry.store.vault, &format!("uploads/{id}"), Some(arrived)).await;
    }
    id
}

async fn publish(registry: &TestRegistry, token: &str, metadata: Value) -> Answer {
    let request = Request::post("/api/v1/packages")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(metadata.to_string()));
    registry.send(request.expect("a test's request is a request")).await
}

#[tokio::test]
async fn an_upload_is_published_once() {
    let registry = registry().await;
    let archive = Pkg::new("http", "1.0.0").archive();
    let id = upload(&registry, &registry.admin, &archive, Some(&archive)).await;
    let answer = publish(&registry, &registry.admin, json!({"upload": id})).await;
    assert_eq!((answer.status, &answer.json()["seq"]), (201, &json!(1)), "{}", answer.json());
    let again = publish(&registry, &registry.admin, json!({"upload": id})).await;
    again.assert_refused("a used upload", 404, &["upload-not-found"]);
    assert_nothing_happened(&registry, 2).await;
}

#[tokio::test]
async fn uploads_that_are_not_what_was_declared() {
    let registry = registry().await;
    let archive = Pkg::new("http", "1.0.0").archive();
    let mut flipped = archive.clone();
    flipped[40] ^= 1;
    let cases: [(&str, Option<&[u8]>, u16, &str); 4] = [
        ("nothing has arrived", None, 404, "upload-not-found"),
        ("fewer bytes", Some(&archive[..100]), 422, "length-mismatch"),
        ("more bytes", Some(&[&archive[..], b"x"].concat()), 422, "length-mismatch"),
        ("other bytes", Some(&flipped), 422, "digest-mismatch"),
    ];
    for (case, arrived, status, code) in cases {
        let id = upload(&registry, &registry.admin, &archive, arrived).await;
        publish(&registry, &registry.admin, json!({"upload": id})).await.assert_refused(
            case,
            status,
            &[code],
        );
        // What did not arrive well can be sent again.
        overwrite(&*registry.store.vault, &format!("uploads/{id}"), Some(&archive)).await;
        let dry = publish(&registry, &registry.admin, json!({"upload": id, "dry_run": true})).await;
        assert_eq!(dry.status, 200, "{case}: {}", dry.json());
    }
    assert_nothing_happened(&registry, 1).await;
}

#[tokio::test]
async fn uploads_of_others_and_of_long_ago() {
    let registry = registry().await;
    let (ann, bob) = (registry.token_of("ann").await.token, registry.token_of("bob").await.token);
    let archive = Pkg::new("http", "1.0.0").archive();
    let id = upload(&registry, ann.reveal(), &archive, Some(&archive)).await;
    let missing = &["upload-not-found"];
    publish(&registry, bob.reveal(), json!({"upload": id})).await.assert_refused("another's", 404, missing);
    for id in ["01K742R2DRAAAAAAAAAAAAAAAA", "", "../head", "x"] {
        publish(&registry, ann.reveal(), json!({"upload": id})).await.assert_refused(id, 404, missing);
    }
    registry.clock.advance(Duration::from_secs(3601));
    publish(&registry, ann.reveal(), json!({"upload": id})).await.assert_refused(
        "an hour later",
        404,
        missing,
    );
    assert_nothing_happened(&registry, 1).await;
}

#[tokio::test]
async fn uploads_that_cannot_begin() {
    let registry = registry().await;
    let digest = "0".repeat(64);
    let big = begin(&registry, &registry.admin, &digest, 8 << 30).await;
    big.assert_refused("8 GiB", 413, &["tarball-too-big"]);
    for sha256 in ["", "abc", &digest[1..], &"g".repeat(64)] {
        let answer = begin(&registry, &registry.admin, sha256, 10).await;
        answer.assert_refused(sha256, 400, &["malformed-request"]);
    }
    for body in
        [json!({}), json!({"sha256": digest, "size": -1}), json!({"sha256": digest, "size": "1"}), json!([])]
    {
        let answer = registry.ask(Method::POST, "/api/v1/uploads", Some(body)).await;
        answer.assert_refused("another shape", 400, &["malformed-request"]);
    }
    let plain = TestRegistry::new().await;
    let answer = begin(&plain, &plain.admin, &digest, 10).await;
    answer.assert_refused("storage without uploads", 404, &["upload-not-found"]);
    assert_nothing_happened(&registry, 1).await;
}
