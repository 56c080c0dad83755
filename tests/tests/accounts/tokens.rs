//! Tokens for tools: what they may do, for which packages, how long, and how they end.

use std::time::Duration;

use axum::http::Method;
use drystone_tests::{Answer, Pkg, TestRegistry, checks::contents};
use serde_json::{Value, json};

use super::{Session, ask_from, new_token, open_registry, post, post_as, register};

async fn listed(registry: &TestRegistry, token: &str) -> Vec<Value> {
    let answer = registry.ask_as(token, Method::GET, "/api/v1/users/me/tokens", None).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["tokens"].as_array().unwrap().clone()
}

async fn delete(registry: &TestRegistry, token: &str, id: &str) -> Answer {
    registry.ask_as(token, Method::DELETE, &format!("/api/v1/users/me/tokens/{id}"), None).await
}

#[tokio::test]
async fn a_token_does_what_its_scopes_and_patterns_say() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    for name in ["http", "acme/http"] {
        assert_eq!(registry.publish_as(&ann.token, &Pkg::new(name, "1.0.0")).await.status, 201);
    }
    let asked = json!({"name": "acme ci", "scopes": ["publish-update"], "packages": ["acme/*", "json*"]});
    let (token, _) = new_token(&registry, &ann, &asked).await;
    assert!(token.starts_with("dry_pat_") && token.len() == 46);
    let publish =
        async |name: &str, version: &str| registry.publish_as(&token, &Pkg::new(name, version)).await;
    assert_eq!(publish("acme/http", "1.1.0").await.status, 201);
    publish("http", "1.1.0").await.assert_refused("another package", 403, &["token-pattern"]);
    publish("acme/new", "1.0.0").await.assert_refused("a new package", 403, &["token-scope"]);
    let yank = registry.ask_as(&token, Method::POST, "/api/v1/packages/acme%2Fhttp/1.0.0/yank", None).await;
    yank.assert_refused("a yank", 403, &["token-scope"]);
    // A dry run is refused like the real thing.
    let dry = Pkg::new("http", "1.1.0").archive();
    let dry = registry.publish_bytes(&token, Some(r#"{"dry_run":true}"#), &dry).await;
    dry.assert_refused("a dry run", 403, &["token-pattern"]);

    let (alias, _) =
        new_token(&registry, &ann, &json!({"name": "a", "scopes": ["alias"], "packages": ["http"]})).await;
    let set = async |name: &str, package: &str| {
        let body = Some(json!({"package": package}));
        registry.ask_as(&alias, Method::PUT, &format!("/api/v1/aliases/{name}"), body).await
    };
    assert_eq!(set("h", "http").await.status, 200);
    set("ah", "acme/http").await.assert_refused("another package", 403, &["token-pattern"]);
}

#[tokio::test]
async fn tokens_expire_after_ninety_days_unless_somebody_said_otherwise() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let (token, _) = new_token(&registry, &ann, &json!({"name": "default"})).await;
    let (short, _) = new_token(&registry, &ann, &json!({"name": "short", "days": 1})).await;
    let mut expires: Vec<String> = listed(&registry, &token)
        .await
        .into_iter()
        .map(|token| token["expires_at"].as_str().unwrap().to_owned())
        .collect();
    expires.sort_unstable();
    assert_eq!(expires, ["2025-10-10T09:09:59Z", "2026-01-07T09:09:59Z"]);
    registry.clock.advance(Duration::from_secs(24 * 3_600));
    registry.publish_as(&short, &Pkg::new("a", "1.0.0")).await.assert_refused(
        "a day",
        401,
        &["token-expired"],
    );
    assert_eq!(registry.publish_as(&token, &Pkg::new("a", "1.0.0")).await.status, 201);
    registry.clock.advance(Duration::from_secs(89 * 24 * 3_600));
    registry.publish_as(&token, &Pkg::new("a", "1.0.1")).await.assert_refused(
        "ninety",
        401,
        &["token-expired"],
    );
}

#[tokio::test]
async fn tokens_are_listed_used_exchanged_and_revoked() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let (first, first_id) =
        new_token(&registry, &ann, &json!({"name": "first", "scopes": ["publish-new"]})).await;
    registry.clock.advance(Duration::from_secs(1));
    let (second, second_id) =
        new_token(&registry, &ann, &json!({"name": "second", "packages": ["b*"]})).await;
    let tokens = listed(&registry, &ann.token).await;
    assert_eq!(
        tokens.iter().map(|token| &token["name"]).collect::<Vec<_>>(),
        [&json!("first"), &json!("second")]
    );
    assert!(tokens.iter().all(|token| token["last_used_at"].is_null()));
    assert!(!tokens.iter().any(|token| token.to_string().contains(&first[8..])));

    // The day of its last use is noted once, beside what it is used for.
    registry.clock.advance(Duration::from_secs(3_600));
    assert_eq!(registry.publish_as(&first, &Pkg::new("a", "1.0.0")).await.status, 201);
    // The session is older than ten minutes by now.
    let ann =
        Session::of(&post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": ann.refresh})).await);
    let used = loop {
        let used = listed(&registry, &ann.token).await.remove(0)["last_used_at"].clone();
        if !used.is_null() {
            break used;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(used, "2025-10-09T00:00:00Z");

    // Exchanged: the same rights, another secret, and the old one is over.
    let path = format!("/api/v1/users/me/tokens/{second_id}/rotate");
    let rotated = post_as(&registry, &ann.token, &path, &Value::Null).await;
    assert_eq!(rotated.status, 201, "{}", rotated.json());
    assert_eq!((&rotated.json()["name"], &rotated.json()["packages"]), (&json!("second"), &json!(["b*"])));
    registry.publish_as(&second, &Pkg::new("b", "1.0.0")).await.assert_refused(
        "exchanged",
        401,
        &["token-invalid"],
    );
    let third = rotated.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(registry.publish_as(&third, &Pkg::new("b", "1.0.0")).await.status, 201);

    assert_eq!(delete(&registry, &ann.token, &first_id).await.status, 200);
    registry.publish_as(&first, &Pkg::new("c", "1.0.0")).await.assert_refused(
        "revoked",
        401,
        &["token-invalid"],
    );
    delete(&registry, &ann.token, &first_id).await.assert_refused("again", 404, &["token-not-found"]);
    delete(&registry, &ann.token, "x").await.assert_refused("no id", 404, &["token-not-found"]);
    assert_eq!(listed(&registry, &ann.token).await.len(), 1);
    // Nothing in the vault is a secret of a token.
    for (key, bytes) in contents(&*registry.store.vault).await {
        let text = key.clone() + &String::from_utf8_lossy(&bytes);
        for secret in [&first, &second, &third, &ann.token, &ann.refresh, &ann.refresh[..46].to_owned()] {
            assert!(!text.contains(secret.as_str()), "{key}");
        }
    }
}

#[tokio::test]
async fn tokens_that_cannot_be_made() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let ask =
        async |token: &str, asked: Value| post_as(&registry, token, "/api/v1/users/me/tokens", &asked).await;
    let bad =
        ask(&ann.token, json!({"name": "", "scopes": ["fly", "admin"], "packages": ["a*b"], "days": 0}))
            .await;
    bad.assert_refused("all at once", 422, &["invalid-token-request"; 5]);
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    // A stolen token makes no other.
    ask(&tool, json!({"name": "more"})).await.assert_refused("a tool", 403, &["session-needed"]);
    let by_nobody =
        ask_from(&registry, None, None, Method::POST, "/api/v1/users/me/tokens", &json!({"name": "x"})).await;
    by_nobody.assert_refused("nobody", 401, &["token-missing"]);
    for i in 1..30 {
        assert_eq!(ask(&ann.token, json!({"name": format!("t{i}")})).await.status, 201);
    }
    ask(&ann.token, json!({"name": "one more"})).await.assert_refused("a flood", 429, &["rate-limited"]);
    registry.assert_clean("after a flood").await;
}

#[tokio::test]
async fn tokens_that_leak_are_revoked_and_their_owners_told() {
    let registry = open_registry().await;
    let ann = super::register_verified(&registry, "ann").await;
    let (token, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let other = drystone_publisher::Token::generate(&*registry.entropy);
    let report = json!([
        {"token": token, "type": "drystone_personal", "url": "https://example.org/x", "source": "content"},
        {"token": other.reveal(), "type": "drystone_personal", "url": null, "source": "commit"},
        {"token": ann.token, "type": "jwt"},
        {"token": "hunter2"},
    ]);
    let answer = post(&registry, "/api/v1/secret-scanning/reports", &report).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let labels: Vec<Value> =
        answer.json().as_array().unwrap().iter().map(|verdict| verdict["label"].clone()).collect();
    assert_eq!(labels, ["true_positive", "false_positive", "true_positive", "false_positive"]);
    assert_eq!(
        answer.json()[0]["token_hash"],
        json!(drystone_schemas::Sha256Digest::of(token.as_bytes()).hex())
    );
    for token in [&token, &ann.token] {
        let after = registry.publish_as(token, &Pkg::new("a", "1.0.0")).await;
        after.assert_refused("leaked", 401, &["token-invalid"]);
    }
    let mails = registry.mails.to("ann@example.org");
    assert!(mails.last().unwrap().text.contains("was found where others can read it"));
}
