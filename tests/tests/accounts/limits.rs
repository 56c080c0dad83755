//! Limits: how often anybody may ask, across instances, and what they are told.

use std::time::Duration;

use axum::http::Method;
use drystone_schemas::Limits;
use drystone_tests::{Answer, Pkg, TestRegistry};
use serde_json::{Value, json};

use super::{PASSWORD, ask_from, new_token, open_registry, register, sign_in, with_limits};

async fn read_from(registry: &TestRegistry, from: &str, token: Option<&str>, path: &str) -> Answer {
    ask_from(registry, Some(from), token, Method::GET, path, &Value::Null).await
}

#[tokio::test]
async fn sixty_an_hour_without_a_token_and_more_with_one() {
    let registry = with_limits(Limits { signed_in_requests_per_hour_max: 100, ..Limits::default() }).await;
    let ann = register(&registry, "ann").await;
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    for i in (0..60).rev() {
        let answer = read_from(&registry, "203.0.113.7", None, "/api/v1/packages/http").await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.headers["x-ratelimit-limit"], "60");
        assert_eq!(answer.headers["x-ratelimit-remaining"], i.to_string());
    }
    let refused = read_from(&registry, "203.0.113.7", None, "/api/v1/packages/http").await;
    refused.assert_refused("the 61st", 429, &["rate-limited"]);
    assert_eq!(
        ["retry-after", "x-ratelimit-remaining", "ratelimit-policy", "ratelimit"].map(|name| refused.headers
            [name]
            .to_str()
            .unwrap()
            .to_owned()),
        ["60", "0", "\"anonymous\";q=60;w=3600", "\"anonymous\";r=0;t=60"]
    );
    // Somebody else, static files, and whoever is signed in are not concerned.
    assert_eq!(read_from(&registry, "203.0.113.8", None, "/api/v1/packages/http").await.status, 404);
    assert_eq!(read_from(&registry, "203.0.113.7", None, "/config.json").await.status, 200);
    for i in 0..100 {
        let answer = read_from(&registry, "203.0.113.7", Some(&tool), "/api/v1/packages/http").await;
        assert_eq!(answer.status, 404, "{i}");
        assert_eq!(answer.headers["x-ratelimit-remaining"], (99 - i).to_string());
    }
    let refused = read_from(&registry, "203.0.113.9", Some(&tool), "/api/v1/me").await;
    refused.assert_refused("the 101st", 429, &["rate-limited"]);
    assert_eq!(refused.headers["ratelimit-policy"], "\"signed-in\";q=100;w=3600");
    // The operator is not counted.
    for _ in 0..110 {
        assert_eq!(
            read_from(&registry, "203.0.113.9", Some(&registry.admin), "/api/v1/me").await.status,
            200
        );
    }
    registry.clock.advance(Duration::from_secs(60));
    assert_eq!(read_from(&registry, "203.0.113.7", None, "/api/v1/packages/http").await.status, 404);
}

#[tokio::test]
async fn nobody_tries_many_tokens() {
    let registry = open_registry().await;
    for i in 0..61 {
        let token = drystone_publisher::Token::generate(&*registry.entropy);
        let answer = read_from(&registry, "203.0.113.7", Some(token.reveal()), "/api/v1/me").await;
        assert_eq!(answer.status, if i < 60 { 401 } else { 429 }, "{i}");
    }
    // Whoever is known is heard all the same.
    assert_eq!(registry.ask(Method::GET, "/api/v1/me", None).await.status, 200);
    assert_eq!(read_from(&registry, "203.0.113.7", Some(&registry.admin), "/api/v1/me").await.status, 200);
}

#[tokio::test]
async fn thirty_searches_a_minute() {
    let registry = open_registry().await;
    for i in 0..31 {
        let path = if i % 2 == 0 { "/api/v1/search?q=http" } else { "/api/v1/crates?q=http" };
        let answer = read_from(&registry, "203.0.113.7", None, path).await;
        assert_eq!(answer.status, if i < 30 { 200 } else { 429 }, "{i}");
    }
    registry.clock.advance(Duration::from_secs(2));
    assert_eq!(read_from(&registry, "203.0.113.7", None, "/api/v1/search?q=http").await.status, 200);
}

/// Ten sign-ins in five minutes, whichever instance is asked, for an account and from an address.
#[tokio::test]
async fn sign_ins_are_counted_across_instances() {
    let registry = open_registry().await;
    let other = registry.another(Clone::clone).await;
    register(&registry, "ann").await;
    for i in 0..10 {
        let instance = if i % 2 == 0 { &registry } else { &other };
        let answer = sign_in(instance, "ann", "four words of hers").await;
        assert_eq!(answer.status, 401, "{i}");
    }
    for instance in [&registry, &other] {
        // The right password helps as little.
        let refused = sign_in(instance, "ann", PASSWORD).await;
        refused.assert_refused("the 11th", 429, &["rate-limited"]);
        assert_eq!(refused.headers["retry-after"], "30");
        assert_eq!(refused.headers["x-ratelimit-limit"], "10");
    }
    registry.clock.advance(Duration::from_secs(30));
    assert_eq!(sign_in(&other, "ann", PASSWORD).await.status, 200);
    // From one address, whatever the login.
    for i in 0..11 {
        let body = json!({"username": format!("user-{i}"), "password": PASSWORD});
        let from = format!("2001:db8:1:2::{i}");
        let instance = if i % 2 == 0 { &registry } else { &other };
        let answer = ask_from(instance, Some(&from), None, Method::POST, "/api/v1/auth/login", &body).await;
        assert_eq!(answer.status, if i < 10 { 401 } else { 429 }, "{i}");
    }
}

#[tokio::test]
async fn mails_are_few_and_registrations_as_well() {
    let registry = open_registry().await;
    register(&registry, "ann").await;
    for i in 0..6 {
        let answer = super::post(&registry, "/api/v1/auth/password/reset", &json!({"username": "ann"})).await;
        assert_eq!(answer.status, if i < 5 { 202 } else { 429 }, "{i}");
    }
    for i in 0..11 {
        let login = format!("user-{i}");
        let body = json!({"username": login, "email": format!("{login}@example.org"), "password": PASSWORD});
        let answer =
            ask_from(&registry, Some("203.0.113.7"), None, Method::POST, "/api/v1/auth/register", &body)
                .await;
        assert_eq!(answer.status, if i < 10 { 201 } else { 429 }, "{i}");
    }
}

/// Releases in a day, across instances; what is refused or repeated costs nothing.
#[tokio::test]
async fn releases_of_a_day_are_counted_when_they_are_committed() {
    let registry =
        with_limits(Limits { uploads_per_day_max: 4, bytes_per_account_max: 10 << 20, ..Limits::default() })
            .await;
    let other = registry.another(Clone::clone).await;
    let ann = registry.token_of("ann").await.token;
    let publish = async |instance: &TestRegistry, name: &str, version: &str| {
        instance.publish_as(ann.reveal(), &Pkg::new(name, version)).await
    };
    assert_eq!(publish(&registry, "a", "1.0.0").await.status, 201);
    assert_eq!(publish(&other, "a", "1.1.0").await.status, 201);
    for _ in 0..5 {
        assert_eq!(publish(&other, "a", "1.1.0").await.status, 200, "the same again");
        publish(&registry, "a", "1.0").await.assert_refused("a bad version", 422, &["invalid-version"]);
    }
    let dry = Pkg::new("a", "1.9.0").archive();
    assert_eq!(registry.publish_bytes(ann.reveal(), Some(r#"{"dry_run":true}"#), &dry).await.status, 200);
    let (c, d, e) = tokio::join!(
        publish(&registry, "a", "1.2.0"),
        publish(&other, "a", "1.3.0"),
        publish(&registry, "a", "1.4.0")
    );
    let mut statuses = [c.status, d.status, e.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 429]);
    let refused = publish(&other, "b", "1.0.0").await;
    refused.assert_refused("the fifth", 429, &["rate-limited"]);
    // Waiting for a turn has moved this clock a little.
    let retry_after_s: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((6 * 3_600 - 120..=6 * 3_600).contains(&retry_after_s), "{retry_after_s}");
    // Other changes go on, and so do other accounts and the operator.
    let yank = registry.ask_as(ann.reveal(), Method::POST, "/api/v1/packages/a/1.0.0/yank", None).await;
    assert_eq!(yank.status, 200, "{}", yank.json());
    let bob = registry.token_of("bob").await.token;
    assert_eq!(registry.publish_as(bob.reveal(), &Pkg::new("b", "1.0.0")).await.status, 201);
    for i in 0..6 {
        assert_eq!(registry.publish(&Pkg::new("c", &format!("1.{i}.0"))).await.status, 201);
    }
    registry.clock.advance(Duration::from_secs(6 * 3_600));
    assert_eq!(publish(&other, "a", "1.5.0").await.status, 201);
    registry.assert_clean("after a limit").await;
}

#[tokio::test]
async fn the_bytes_of_an_account_have_an_end() {
    let size = Pkg::new("a", "1.0.0").archive().len() as u64;
    let registry =
        with_limits(Limits { bytes_per_account_max: 2 * size + size / 2, ..Limits::default() }).await;
    let ann = registry.token_of("ann").await.token;
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(registry.publish_as(ann.reveal(), &Pkg::new("a", version)).await.status, 201);
    }
    let refused = registry.publish_as(ann.reveal(), &Pkg::new("a", "1.2.0")).await;
    refused.assert_refused("too many bytes", 403, &["bytes-limit"]);
    assert_eq!(registry.publish(&Pkg::new("b", "1.0.0")).await.status, 201);
}

#[tokio::test]
async fn changes_of_an_hour_are_counted_across_instances() {
    let registry = with_limits(Limits { signed_in_requests_per_hour_max: 5, ..Limits::default() }).await;
    let ann = registry.token_of("ann").await.token;
    assert_eq!(registry.publish_as(ann.reveal(), &Pkg::new("a", "1.0.0")).await.status, 201);
    let mut statuses = Vec::new();
    for i in 0..5 {
        // Each instance is new, and has counted nothing.
        let instance = registry.another(Clone::clone).await;
        let verb = if i % 2 == 0 { "yank" } else { "unyank" };
        let path = format!("/api/v1/packages/a/1.0.0/{verb}");
        statuses.push(instance.ask_as(ann.reveal(), Method::POST, &path, None).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
}
