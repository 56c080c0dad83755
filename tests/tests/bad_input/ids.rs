//! Idempotency keys.

use axum::{
    body::Body,
    http::{Request, header},
};
use drystone_schemas::EventId;
use drystone_storage::{Clock, Store};
use drystone_tests::{Answer, Pkg, TestRegistry, multipart_body};
use std::time::Duration;

async fn publish_with_id(registry: &TestRegistry, id: &str, package: &Pkg) -> Answer {
    let (content_type, body) = multipart_body(None, &package.archive());
    let request = Request::post("/api/v1/packages")
        .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .header("idempotency-key", id.as_bytes())
        .body(Body::from(body));
    registry.send(request.expect("a test's request is a request")).await
}

/// A key as a client makes it now.
fn id_now(registry: &TestRegistry) -> EventId {
    registry.service.new_id()
}

#[tokio::test]
async fn keys_that_cannot_be_used() {
    let registry = TestRegistry::new().await;
    let package = Pkg::new("http", "1.0.0");
    let old = id_now(&registry);
    registry.clock.advance(Duration::from_secs(24 * 3600 + 1));
    let lower = id_now(&registry).to_string().to_lowercase();
    for id in [
        "",
        "1",
        "not-a-ulid",
        "01K742R2DRUUUUUUUUUUUUUUUU",
        "01K742R2DRAAAAAAAAAAAAAAAA0",
        &lower,
        "é",
        old.as_str(),
    ] {
        let answer = publish_with_id(&registry, id, &package).await;
        answer.assert_refused(id, 400, &["invalid-intent-id"]);
    }
    // One of the far future is as wrong as an old one.
    let now = registry.clock.now_unix_ms();
    registry.clock.advance(Duration::from_secs(25 * 3600));
    let later = id_now(&registry);
    let fresh = TestRegistry::new().await;
    fresh.clock.advance(Duration::from_millis(now - fresh.clock.now_unix_ms()));
    let answer = publish_with_id(&fresh, later.as_str(), &package).await;
    answer.assert_refused("a key of the future", 400, &["invalid-intent-id"]);
    assert_eq!((registry.log_size().await, fresh.log_size().await), (1, 1));
}

#[tokio::test]
async fn the_same_key_again_is_the_same_answer() {
    let registry = TestRegistry::new().await;
    let (id, package) = (id_now(&registry), Pkg::new("http", "1.0.0"));
    let first = publish_with_id(&registry, id.as_str(), &package).await;
    assert_eq!((first.status, &first.json()["seq"]), (201, &1.into()));
    assert_eq!(registry.publish(&Pkg::new("other", "1.0.0")).await.status, 201);
    // In this process and in another, also hours later.
    registry.clock.advance(Duration::from_secs(20 * 3600));
    for process in [&registry, &registry.another(Store::clone).await] {
        let again = publish_with_id(process, id.as_str(), &package).await;
        assert_eq!((again.status, &again.json()["seq"]), (201, &1.into()));
        assert_eq!(again.json()["tarball"], first.json()["tarball"]);
    }
    assert_eq!(registry.log_size().await, 3);
    registry.assert_clean("after repetitions").await;
}

#[tokio::test]
async fn every_change_can_be_repeated() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let alias = r#"{"package":"http"}"#;
    let changes = [
        ("POST", "/api/v1/packages/http/1.0.0/yank", r#"{"reason":"it leaks"}"#),
        ("POST", "/api/v1/packages/http/1.0.0/unyank", ""),
        ("POST", "/api/v1/packages/http/deprecate", ""),
        ("POST", "/api/v1/packages/http/undeprecate", ""),
        ("PUT", "/api/v1/aliases/h", alias),
        ("DELETE", "/api/v1/aliases/h", ""),
        ("POST", "/api/v1/packages/http/1.0.0/delete", r#"{"code":"spam"}"#),
    ];
    let mut asked = Vec::new();
    for (i, (method, path, body)) in changes.into_iter().enumerate() {
        let id = id_now(&registry);
        let ask = async || {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
                .header("idempotency-key", id.as_str())
                .body(Body::from(body));
            let answer = registry.send(request.unwrap()).await;
            (answer.status, answer.json()["seq"].clone())
        };
        let first = ask().await;
        assert_eq!(first, (200, (i + 2).into()), "{method} {path}");
        assert_eq!(ask().await, first, "{method} {path} again");
        asked.push((method, path, body, id, first));
    }
    // Also when other changes have come between.
    for (method, path, body, id, first) in asked {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
            .header("idempotency-key", id.as_str())
            .body(Body::from(body));
        let answer = registry.send(request.unwrap()).await;
        assert_eq!((answer.status, answer.json()["seq"].clone()), first, "{method} {path} later");
    }
    assert_eq!(registry.log_size().await, 9);
    registry.assert_clean("after repetitions").await;
}

#[tokio::test]
async fn a_key_serves_one_request_only() {
    let registry = TestRegistry::new().await;
    let id = id_now(&registry);
    assert_eq!(publish_with_id(&registry, id.as_str(), &Pkg::new("http", "1.0.0")).await.status, 201);
    for other in
        [Pkg::new("http", "1.1.0"), Pkg::new("http", "1.0.0").with_payload("x"), Pkg::new("b", "1.0.0")]
    {
        let answer = publish_with_id(&registry, id.as_str(), &other).await;
        answer.assert_refused("a used key", 409, &["intent-reused"]);
        assert_eq!(answer.json()["errors"][0]["facts"]["seq"], "1");
    }
    // A request that was refused has not used its key up.
    let id = id_now(&registry);
    let refused = publish_with_id(&registry, id.as_str(), &Pkg::new("http", "1.0.0").with_payload("x")).await;
    refused.assert_refused("other bytes", 409, &["version-exists"]);
    let answer = publish_with_id(&registry, id.as_str(), &Pkg::new("http", "1.1.0")).await;
    assert_eq!((answer.status, &answer.json()["seq"]), (201, &2.into()));
    registry.assert_clean("after used keys").await;
}
