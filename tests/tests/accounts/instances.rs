//! Two instances on one store: what one has revoked the other refuses, and nothing is lost when many act at once.

use axum::http::Method;
use drystone_schemas::{Limits, Registration, Settings};
use drystone_storage::Clock;
use drystone_tests::{Pkg, TestRegistry, checks::contents, every_store};
use serde_json::{Value, json};

use super::{PASSWORD, Session, new_token, open_registry, post, post_as, register, sign_in, with_limits};

#[tokio::test]
async fn what_one_instance_revokes_the_other_refuses_on_the_next_request() {
    let registry = open_registry().await;
    let other = registry.another(Clone::clone).await;
    let ann = register(&registry, "ann").await;
    let (tool, id) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    for token in [&ann.token, &tool] {
        assert_eq!(other.ask_as(token, Method::GET, "/api/v1/users/me", None).await.status, 200);
    }
    assert_eq!(other.publish_as(&tool, &Pkg::new("a", "1.0.0")).await.status, 201);
    let revoked =
        registry.ask_as(&ann.token, Method::DELETE, &format!("/api/v1/users/me/tokens/{id}"), None).await;
    assert_eq!(revoked.status, 200);
    other.publish_as(&tool, &Pkg::new("a", "1.1.0")).await.assert_refused("a tool", 401, &["token-invalid"]);
    assert_eq!(post_as(&registry, &ann.token, "/api/v1/auth/logout", &Value::Null).await.status, 200);
    other.publish_as(&ann.token, &Pkg::new("a", "1.1.0")).await.assert_refused(
        "a session",
        401,
        &["token-invalid"],
    );
    let refresh = json!({"refresh_token": ann.refresh});
    post(&other, "/api/v1/auth/refresh", &refresh).await.assert_refused("a session", 401, &["session-ended"]);
}

/// Whatever happens first, one of two refreshes with one token wins, and the session is over afterwards.
#[tokio::test]
async fn one_refresh_token_refreshes_once_though_two_instances_are_asked() {
    let registry = open_registry().await;
    let other = registry.another(Clone::clone).await;
    let ann = register(&registry, "ann").await;
    let body = json!({"refresh_token": ann.refresh});
    let (a, b) = tokio::join!(
        post(&registry, "/api/v1/auth/refresh", &body),
        post(&other, "/api/v1/auth/refresh", &body)
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let won = Session::of(if a.status == 200 { &a } else { &b });
    let after = registry.ask_as(&won.token, Method::GET, "/api/v1/users/me", None).await;
    after.assert_refused("the one that won", 401, &["token-invalid"]);
}

/// A hundred sign-ins and uses of tokens at once: each is answered, each session works, each is in the trail, and the bucket
/// has counted them all.
#[tokio::test]
async fn a_hundred_at_once_lose_nothing() {
    let limits = Limits { logins_per_5_minutes_max: 100, ..Limits::default() };
    let registry = with_limits(limits).await;
    let other = registry.another(Clone::clone).await;
    let ann = register(&registry, "ann").await;
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let began_ms = registry.clock.now_unix_ms();
    let instances = [&registry, &other];
    let sign_ins = (0..100).map(async |i| Session::of(&sign_in(instances[i % 2], "ann", PASSWORD).await));
    let uses = (0..100)
        .map(async |i| instances[i % 2].ask_as(&tool, Method::GET, "/api/v1/users/me", None).await.status);
    let (sessions, uses) =
        tokio::join!(futures_util::future::join_all(sign_ins), futures_util::future::join_all(uses));
    assert!(uses.iter().all(|status| *status == 200), "{uses:?}");
    // Each has moved the time at which the bucket is full by three seconds, and none was lost.
    let buckets = contents(&*registry.store.vault).await;
    let full_at_ms = buckets.iter().filter(|(key, _)| key.starts_with("limits/login/")).map(|(_, bytes)| {
        let bucket: Value = serde_json::from_slice(bytes).unwrap();
        bucket["full_at_ms"].as_u64().unwrap()
    });
    assert!(full_at_ms.max().unwrap() >= began_ms + 300_000);
    for session in &sessions {
        let me = other.ask_as(&session.token, Method::GET, "/api/v1/users/me", None).await;
        assert_eq!(me.status, 200);
    }
    let folder = drystone_schemas::layout::audit_of(&drystone_schemas::AccountId::new(&*ann.id).unwrap());
    let events = contents(&*registry.store.vault).await;
    let signed_in = events.iter().filter(|(key, bytes)| {
        key.starts_with(&folder) && String::from_utf8_lossy(bytes).contains("\"signed-in\"")
    });
    assert!(signed_in.count() >= 100);
}

#[tokio::test]
async fn accounts_live_on_every_kind_of_store() {
    for store in every_store("accounts").await {
        let registry = TestRegistry::now_on(store.store.clone()).await;
        let open = Settings { registration: Registration::Open, ..(*registry.service.settings()).clone() };
        registry.service.configure(open).await.unwrap();
        let ann = register(&registry, "ann").await;
        let (tool, id) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
        let next = Session::of(
            &post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": ann.refresh})).await,
        );
        let revoked = registry
            .ask_as(&next.token, Method::DELETE, &format!("/api/v1/users/me/tokens/{id}"), None)
            .await;
        assert_eq!(revoked.status, 200);
        let after = registry.ask_as(&tool, Method::GET, "/api/v1/users/me", None).await;
        after.assert_refused("revoked", 401, &["token-invalid"]);
    }
}
