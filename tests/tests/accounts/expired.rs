//! What has expired goes from the vault, and nothing else does.

use std::{collections::BTreeSet, time::Duration};

use axum::http::Method;
use drystone_publisher::{ExpiredClass, ExpiredOptions, ExpiredReport, Scope, collect_expired};
use drystone_schemas::{Login, Provider, Registration, Settings, TrustedIssuer};
use drystone_storage::Store;
use drystone_tests::{
    Pkg, TestRegistry,
    checks::{contents, overwrite},
};
use serde_json::json;

use super::{PASSWORD, Session, new_token, post, register, sign_in};

const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn collect(registry: &TestRegistry, apply: bool, looked_at_max: u64) -> ExpiredReport {
    let options = ExpiredOptions { apply, list: true, looked_at_max };
    collect_expired(&registry.store, &*registry.clock, &options).await.unwrap()
}

async fn keys(registry: &TestRegistry) -> BTreeSet<String> {
    contents(&*registry.store.vault).await.into_keys().collect()
}

fn count(report: &ExpiredReport, class: ExpiredClass) -> u64 {
    report.classes.get(&class).map_or(0, |tally| tally.count)
}

#[tokio::test]
async fn what_has_expired_goes_and_nothing_else() {
    let issuer = TrustedIssuer { url: "https://issuer.test".into(), provider: Provider::Oidc };
    let settings = Settings {
        registration: Registration::Open,
        issuers: vec![issuer],
        ..Settings::new("test", "http://registry.test")
    };
    let registry = TestRegistry::with_settings(Store::memory(), settings).await;
    let ann = register(&registry, "ann").await;
    let (short, _) = new_token(&registry, &ann, &json!({"name": "short", "days": 1})).await;
    let (long, _) = new_token(&registry, &ann, &json!({"name": "long", "days": 90})).await;
    assert_eq!(registry.publish_as(&short, &Pkg::new("a", "1.0.0")).await.status, 201);
    let ever =
        registry.service.make_token(&Login::new("ann").unwrap(), "ever", vec![Scope::Yank], None).await;
    let ever = ever.unwrap().token;
    let trusting = vec![Scope::TrustedPublishing];
    let trusting =
        registry.service.make_token(&Login::new("ann").unwrap(), "t", trusting, None).await.unwrap().token;
    let identity = json!({"issuer": "https://issuer.test", "provider": "oidc", "claims": {"sub": "a job"}});
    let pending = "/api/v1/pending-publishers/waited-for";
    let waits = registry.ask_as(trusting.reveal(), Method::POST, pending, Some(identity)).await;
    assert_eq!(waits.status, 201, "{}", waits.json());
    let vault = &*registry.store.vault;
    overwrite(vault, "jti/00", Some(br#"{"v": 1, "until": 1760000999}"#)).await;
    overwrite(vault, "jti/11", Some(b"damaged")).await;
    let listed = async |session: &Session| {
        let answer = registry.ask_as(&session.token, Method::GET, "/api/v1/users/me/tokens", None).await;
        answer.json()["tokens"].as_array().unwrap().len()
    };

    // That a token was used is noted beside the answer.
    while keys(&registry).await.iter().filter(|key| key.starts_with("used/")).count() < 2 {
        tokio::task::yield_now().await;
    }

    // Nothing has expired yet, however often it is asked.
    let before = keys(&registry).await;
    for apply in [false, true, true] {
        let report = collect(&registry, apply, 1_000).await;
        assert!(report.classes.is_empty() && !report.more && report.looked_at > 5, "{report:?}");
    }
    assert_eq!(keys(&registry).await, before);

    // Two days later mails, buckets and bearers of the day are over; the session goes on, and the token is still told of.
    registry.clock.advance(DAY * 2 + Duration::from_secs(601));
    let told = collect(&registry, false, 1_000).await;
    for (class, expected) in [
        (ExpiredClass::Tokens, 1),
        (ExpiredClass::Sessions, 0),
        (ExpiredClass::Links, 1),
        (ExpiredClass::Identities, 1),
        (ExpiredClass::Waiting, 0),
    ] {
        assert_eq!(count(&told, class), expected, "{class:?}: {told:?}");
    }
    assert!(count(&told, ExpiredClass::Buckets) > 0, "{told:?}");
    assert_eq!(keys(&registry).await, before, "a run that only tells changes nothing");
    // A run that stops early goes on where it stopped, and comes to the same.
    let mut removed = Vec::new();
    let mut runs = 0;
    loop {
        let report = collect(&registry, true, 1).await;
        (removed, runs) = ([removed, report.keys].concat(), runs + 1);
        if !report.more {
            break;
        }
        assert!(runs < 10, "it does not end");
    }
    assert!(runs > 2);
    assert_eq!(removed, told.keys);
    let gone: BTreeSet<String> = removed.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys(&registry).await, before.difference(&gone).cloned().collect());
    let ann =
        Session::of(&post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": ann.refresh})).await);
    assert_eq!(listed(&ann).await, 4);

    // A month later the session, what waited and the expired token are over as well; what is good works.
    registry.clock.advance(DAY * 31 + Duration::from_secs(1));
    let report = collect(&registry, true, 1_000).await;
    for (class, expected) in
        [(ExpiredClass::Tokens, 2), (ExpiredClass::Sessions, 1), (ExpiredClass::Waiting, 1)]
    {
        assert_eq!(count(&report, class), expected, "{class:?}: {report:?}");
    }
    assert!(collect(&registry, true, 1_000).await.classes.is_empty());
    let left = keys(&registry).await;
    assert!(left.contains("jti/11") && !left.contains("collect/expired"));
    for (folder, expected) in [("tokens-of/", 3), ("used/", 1), ("sessions/", 0), ("pending/", 0)] {
        let there: Vec<&String> = left.iter().filter(|key| key.starts_with(folder)).collect();
        assert!(there.len() <= expected, "{there:?}");
    }
    for token in [&long, ever.reveal()] {
        assert_eq!(registry.ask_as(token, Method::GET, "/api/v1/me", None).await.status, 200);
    }
    registry.ask_as(&short, Method::GET, "/api/v1/me", None).await.assert_refused(
        "gone",
        401,
        &["token-invalid"],
    );
    let ended = post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": ann.refresh})).await;
    ended.assert_refused("gone", 401, &["session-ended"]);
    let ann = Session::of(&sign_in(&registry, "ann", PASSWORD).await);
    assert_eq!(listed(&ann).await, 3);
    registry.assert_clean("after a collection").await;
}

/// An identity waits for a month, whether anything was collected or not.
#[tokio::test]
async fn an_identity_does_not_wait_for_ever() {
    let issuer = TrustedIssuer { url: "https://issuer.test".into(), provider: Provider::Oidc };
    let settings = Settings { issuers: vec![issuer], ..Settings::new("test", "http://registry.test") };
    let registry = TestRegistry::with_settings(Store::memory(), settings).await;
    let identity = json!({"issuer": "https://issuer.test", "provider": "oidc", "claims": {"sub": "a job"}});
    let path = "/api/v1/pending-publishers/waited-for";
    assert_eq!(registry.ask(Method::POST, path, Some(identity)).await.status, 201);
    let waiting = async || {
        let listed = registry.ask(Method::GET, path, None).await.json();
        listed["publishers"].as_array().unwrap().len()
    };
    registry.clock.advance(DAY * 30 - Duration::from_secs(1));
    assert_eq!(waiting().await, 1);
    registry.clock.advance(Duration::from_secs(2));
    assert_eq!(waiting().await, 0);
}
