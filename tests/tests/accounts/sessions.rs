//! Sessions: refreshing, stolen refresh tokens, signing out, and the JWTs that carry them.

use std::time::Duration;

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use drystone_tests::{Answer, Pkg, TestRegistry};
use serde_json::{Value, json};

use super::{PASSWORD, Session, ask_from, new_token, open_registry, post, post_as, register, sign_in};

async fn me(registry: &TestRegistry, token: &str) -> Answer {
    registry.ask_as(token, Method::GET, "/api/v1/users/me", None).await
}

async fn refresh(registry: &TestRegistry, text: &str) -> Answer {
    post(registry, "/api/v1/auth/refresh", &json!({"refresh_token": text})).await
}

#[tokio::test]
async fn a_session_goes_on_for_as_long_as_it_is_refreshed() {
    let registry = open_registry().await;
    let mut session = register(&registry, "ann").await;
    for _ in 0..3 {
        assert_eq!(me(&registry, &session.token).await.status, 200);
        registry.clock.advance(Duration::from_secs(600));
        let late = me(&registry, &session.token).await;
        late.assert_refused("after ten minutes", 401, &["token-expired"]);
        registry.clock.advance(Duration::from_secs(29 * 24 * 3_600));
        let next = Session::of(&refresh(&registry, &session.refresh).await);
        assert_ne!((&next.token, &next.refresh), (&session.token, &session.refresh));
        session = next;
    }
    registry.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    refresh(&registry, &session.refresh).await.assert_refused("after a month", 401, &["session-ended"]);
}

#[tokio::test]
async fn a_refresh_token_that_is_used_twice_ends_the_session() {
    let registry = open_registry().await;
    let first = register(&registry, "ann").await;
    let second = Session::of(&refresh(&registry, &first.refresh).await);
    // The bearer token before it is over at once.
    me(&registry, &first.token).await.assert_refused("the one before", 401, &["token-invalid"]);
    let third = Session::of(&refresh(&registry, &second.refresh).await);
    let other = Session::of(&sign_in(&registry, "ann", PASSWORD).await);
    // Whoever has the first one has stolen it.
    refresh(&registry, &first.refresh).await.assert_refused("stolen", 401, &["session-ended"]);
    refresh(&registry, &third.refresh).await.assert_refused("the family", 401, &["session-ended"]);
    me(&registry, &third.token).await.assert_refused("its token", 401, &["token-invalid"]);
    // Other sessions are not concerned, and their owner can see what happened.
    assert_eq!(me(&registry, &other.token).await.status, 200);
    let events = registry.ask_as(&other.token, Method::GET, "/api/v1/users/me/events", None).await.json();
    let is_there = |event: &Value| event["kind"] == "refresh-reused";
    assert!(events["events"].as_array().unwrap().iter().any(is_there), "{events}");
}

#[tokio::test]
async fn what_is_no_refresh_token() {
    let registry = open_registry().await;
    let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
    let parts = |session: &Session| session.refresh.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (of_ann, of_bob) = (parts(&ann), parts(&bob));
    let mixed = [
        format!("{}.{}.{}", of_ann[0], of_bob[1], of_bob[2]),
        format!("{}.{}.{}", of_ann[0], of_ann[1], of_bob[2]),
        format!("{}.{}.{}.x", of_ann[0], of_ann[1], of_ann[2]),
        format!("{}.{}.{}", of_ann[0], "../../head", of_ann[2]),
        of_ann[0].clone(),
        ann.token.clone(),
        String::new(),
    ];
    for text in &mixed {
        refresh(&registry, text).await.assert_refused(text, 401, &["session-ended"]);
    }
    // None of that has hurt anybody.
    for session in [&ann, &bob] {
        assert_eq!(refresh(&registry, &session.refresh).await.status, 200);
    }
    // A refresh token is no bearer token.
    me(&registry, &of_ann[0]).await.assert_refused("a refresh token", 401, &["token-invalid"]);
}

#[tokio::test]
async fn signing_out_ends_what_was_signed_in() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let others = [
        Session::of(&sign_in(&registry, "ann", PASSWORD).await),
        Session::of(&sign_in(&registry, "ann", PASSWORD).await),
    ];
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let out = async |token: &str, body: &Value| post_as(&registry, token, "/api/v1/auth/logout", body).await;
    assert_eq!(out(&others[0].token, &Value::Null).await.status, 200);
    me(&registry, &others[0].token).await.assert_refused("signed out", 401, &["token-invalid"]);
    refresh(&registry, &others[0].refresh).await.assert_refused("signed out", 401, &["session-ended"]);
    out(&others[0].token, &Value::Null).await.assert_refused("twice", 401, &["token-invalid"]);
    assert_eq!(me(&registry, &others[1].token).await.status, 200);
    assert_eq!(out(&ann.token, &json!({"everywhere": true})).await.status, 200);
    for session in [&ann, &others[1]] {
        me(&registry, &session.token).await.assert_refused("everywhere", 401, &["token-invalid"]);
    }
    // A tool that signs out gives its own token back, and no more.
    assert_eq!(registry.publish_as(&tool, &Pkg::new("http", "1.0.0")).await.status, 201);
    let again = Session::of(&sign_in(&registry, "ann", PASSWORD).await);
    assert_eq!(out(&tool, &json!({"everywhere": true})).await.status, 200);
    registry.publish_as(&tool, &Pkg::new("http", "1.1.0")).await.assert_refused(
        "a tool",
        401,
        &["token-invalid"],
    );
    assert_eq!(me(&registry, &again.token).await.status, 200);
}

#[tokio::test]
async fn a_session_token_is_signed_and_says_what_it_is_for() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let parts: Vec<&str> = ann.token.split('.').collect();
    let decode =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (head, claims) = (decode(parts[0]), decode(parts[1]));
    assert_eq!(head["alg"], "EdDSA");
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("http://registry.test"), &json!("http://registry.test"))
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
    assert_eq!(claims["sub"], json!(ann.id));
    let keys = registry.get("/api/v1/auth/keys").await.json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == head["kid"]).unwrap().clone();
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    key.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();

    // Any other claim, header or signature is refused.
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        encode(&claims)
    };
    let none = json!({"alg": "none", "kid": head["kid"]});
    let other_key = json!({"alg": "EdDSA", "kid": "0000000000000000"});
    for (case, text) in [
        ("claims", format!("{}.{}.{}", parts[0], with("sub", json!("acct:0")), parts[2])),
        ("lifetime", format!("{}.{}.{}", parts[0], with("exp", json!(u64::MAX / 2)), parts[2])),
        ("no signature", format!("{}.{}.", encode(&none), parts[1])),
        ("another key", format!("{}.{}.{}", encode(&other_key), parts[1], parts[2])),
        ("no key", format!("{}.{}.{}", encode(&json!({"alg": "EdDSA"})), parts[1], parts[2])),
    ] {
        me(&registry, &text).await.assert_refused(case, 401, &["token-invalid"]);
    }
}

/// Keys turn every month; what was signed with the last one is good for as long as it says.
#[tokio::test]
async fn keys_turn_with_overlap_and_instances_agree() {
    let registry = open_registry().await;
    let other = registry.another(Clone::clone).await;
    let mut session = register(&registry, "ann").await;
    let mut seen = std::collections::BTreeSet::new();
    for day in 0..70 {
        let keys = other.get("/api/v1/auth/keys").await.json();
        let kids = keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
        seen.extend(kids);
        session = Session::of(&refresh(&registry, &session.refresh).await);
        assert_eq!(me(&other, &session.token).await.status, 200, "day {day}");
        registry.clock.advance(Duration::from_secs(24 * 3_600 - 300));
        session = Session::of(&refresh(&other, &session.refresh).await);
        registry.clock.advance(Duration::from_secs(300));
        assert_eq!(me(&registry, &session.token).await.status, 200, "day {day}");
    }
    assert!((3..=4).contains(&seen.len()), "{seen:?}");
}

#[tokio::test]
async fn where_reads_are_private_a_session_reads_and_the_keys_are_open() {
    let settings = drystone_schemas::Settings {
        registration: drystone_schemas::Registration::Open,
        reads: drystone_schemas::ReadAccess::Token,
        ..drystone_schemas::Settings::new("test", "http://registry.test")
    };
    let registry = TestRegistry::with_settings(drystone_storage::Store::memory(), settings).await;
    let ann = register(&registry, "ann").await;
    assert_eq!(registry.get("/api/v1/auth/keys").await.status, 200);
    registry.get("/config.json").await.assert_refused("nobody", 401, &["token-missing"]);
    let read = async |token: &str| {
        ask_from(&registry, None, Some(token), Method::GET, "/config.json", &Value::Null).await
    };
    assert_eq!(read(&ann.token).await.status, 200);
    assert_eq!(post_as(&registry, &ann.token, "/api/v1/auth/logout", &Value::Null).await.status, 200);
    read(&ann.token).await.assert_refused("signed out", 401, &["token-invalid"]);
}
