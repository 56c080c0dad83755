//! Transfers: a package is offered by its owners, and changes hands when whoever it was offered to accepts.

use std::time::Duration;

use axum::http::Method;
use drystone_schemas::{PackageDocument, Role};
use drystone_tests::{
    Answer, Pkg, TestRegistry,
    issuer::{Issuer, IssuerKey},
};
use serde_json::{Value, json};

use super::{Session, new_token, open_registry, post, post_as, register};

const HOUR: Duration = Duration::from_secs(3_600);

/// A public key of an author: that of RFC 8032 section 7.1, test 1.
const AUTHOR_KEY: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

async fn offer(registry: &TestRegistry, by: &str, package: &str, to: &str) -> Answer {
    let path = format!("/api/v1/packages/{package}/transfer");
    registry.ask_as(by, Method::PUT, &path, Some(json!({"to": to}))).await
}

async fn accept(registry: &TestRegistry, by: &str, package: &str) -> Answer {
    registry.ask_as(by, Method::POST, &format!("/api/v1/packages/{package}/transfer/accept"), None).await
}

async fn withdraw(registry: &TestRegistry, by: &str, package: &str) -> Answer {
    registry.ask_as(by, Method::DELETE, &format!("/api/v1/packages/{package}/transfer"), None).await
}

async fn put(registry: &TestRegistry, by: &str, path: &str, body: Value) -> Answer {
    registry.ask_as(by, Method::PUT, &format!("/api/v1/packages/{path}"), Some(body)).await
}

async fn document(registry: &TestRegistry, package: &str) -> PackageDocument {
    let answer = registry.get(&format!("/packages/{package}.json")).await;
    serde_json::from_slice(&answer.body).unwrap()
}

async fn publish(registry: &TestRegistry, by: &Session, name: &str, version: &str) -> Answer {
    registry.publish_as(&by.token, &Pkg::new(name, version)).await
}

fn sure(answer: &Answer) {
    assert!((200..300).contains(&answer.status), "{}", answer.json());
}

/// Roles in a project that outlive its transfer (2026): owners, collaborators, organisations, changes that wait and CI
/// identities of before act no more, and tokens that they made are good for nothing there.
#[tokio::test]
async fn nobody_of_before_acts_for_a_package_that_changed_hands() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let settings = drystone_schemas::Settings {
        registration: drystone_schemas::Registration::Open,
        issuers: vec![drystone_schemas::TrustedIssuer {
            url: issuer.url.clone(),
            provider: drystone_schemas::Provider::Oidc,
        }],
        ..drystone_schemas::Settings::new("test", "http://registry.test")
    };
    let registry = TestRegistry::with_settings(drystone_storage::Store::memory(), settings).await;
    let (ann, bob, mia, eve) = (
        register(&registry, "ann").await,
        register(&registry, "bob").await,
        register(&registry, "mia").await,
        register(&registry, "eve").await,
    );
    sure(&publish(&registry, &ann, "http", "1.0.0").await);
    sure(&post_as(&registry, &ann.token, "/api/v1/orgs", &json!({"name": "acme"})).await);
    let member = Some(json!({"role": "owner"}));
    sure(&registry.ask_as(&ann.token, Method::PUT, "/api/v1/orgs/acme/members/mia", member).await);
    sure(&post_as(&registry, &mia.token, "/api/v1/orgs/acme/join", &Value::Null).await);
    sure(&put(&registry, &ann.token, "http/owners", json!({"users": ["acme"]})).await);
    let collaborator = json!({"users": ["bob"], "role": "collaborator"});
    sure(&put(&registry, &ann.token, "http/owners", collaborator).await);
    let identity = json!({"issuer": issuer.url, "provider": "oidc", "claims": {"sub": "job"}});
    sure(&post_as(&registry, &ann.token, "/api/v1/packages/http/publishers", &identity).await);
    let now_s = drystone_storage::Clock::now_unix_s(&*registry.clock);
    let jwt = issuer.token(&json!({
        "aud": "http://registry.test", "iat": now_s, "exp": now_s + 300, "jti": "1", "sub": "job"
    }));
    let ci =
        post(&registry, "/api/v1/trusted_publishing/tokens", &json!({"jwt": jwt, "package": "http"})).await;
    let ci = ci.json()["token"].as_str().unwrap().to_owned();
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "tool", "packages": ["http"]})).await;
    sure(&registry.publish_as(&ci, &Pkg::new("http", "1.0.1")).await);

    sure(&offer(&registry, &ann.token, "http", "eve").await);
    // An offer gives nothing.
    publish(&registry, &eve, "http", "1.1.0").await.assert_refused("offered", 403, &["not-an-owner"]);
    sure(&publish(&registry, &bob, "http", "1.1.0").await);
    sure(&accept(&registry, &eve.token, "http").await);

    let document = document(&registry, "http").await;
    assert_eq!(document.owners.len(), 1);
    assert_eq!((document.owners[0].account.as_str(), document.owners[0].role), (&*eve.id, Role::Owner));
    assert_eq!((document.transfer, document.publishers), (None, vec![]));
    for (who, token) in [
        ("owner", &ann.token),
        ("collaborator", &bob.token),
        ("member", &mia.token),
        ("tool", &tool),
        ("ci", &ci),
    ] {
        let after = registry.publish_as(token, &Pkg::new("http", "2.0.0")).await;
        after.assert_refused(who, 403, &["not-an-owner"]);
    }
    let back = put(&registry, &ann.token, "http/owners", json!({"users": ["ann"]})).await;
    back.assert_refused("taken back", 403, &["not-an-owner"]);
    sure(&publish(&registry, &eve, "http", "2.0.0").await);
    registry.assert_clean("after a transfer").await;
}

#[tokio::test]
async fn only_who_is_offered_a_package_takes_it_and_only_owners_offer_it() {
    let registry = open_registry().await;
    let (ann, bob, eve) = (
        register(&registry, "ann").await,
        register(&registry, "bob").await,
        register(&registry, "eve").await,
    );
    sure(&publish(&registry, &ann, "http", "1.0.0").await);
    let collaborator = json!({"users": ["bob"], "role": "collaborator"});
    sure(&put(&registry, &ann.token, "http/owners", collaborator).await);
    for by in [&bob, &eve] {
        offer(&registry, &by.token, "http", "eve").await.assert_refused("no owner", 403, &["not-an-owner"]);
    }
    offer(&registry, &ann.token, "http", "nobody").await.assert_refused(
        "nobody",
        404,
        &["account-not-found"],
    );
    offer(&registry, &ann.token, "none", "eve").await.assert_refused("none", 404, &["package-not-found"]);
    let nothing = async |by: &Session, case: &str| {
        accept(&registry, &by.token, "http").await.assert_refused(case, 404, &["transfer-not-found"]);
    };
    nothing(&eve, "before").await;
    sure(&offer(&registry, &ann.token, "http", "eve").await);
    let again = offer(&registry, &ann.token, "http", "eve").await;
    assert_eq!((again.status, &again.json()["seq"]), (200, &Value::Null), "the same offer is there already");
    nothing(&bob, "another's").await;
    nothing(&ann, "one's own").await;
    accept(&registry, &registry.admin, "http").await.assert_refused(
        "the operator",
        404,
        &["transfer-not-found"],
    );
    withdraw(&registry, &bob.token, "http").await.assert_refused("a stranger", 403, &["not-an-owner"]);

    // Taken back, declined, replaced by another, or made by somebody who is removed: it is no more.
    sure(&withdraw(&registry, &ann.token, "http").await);
    nothing(&eve, "taken back").await;
    sure(&offer(&registry, &ann.token, "http", "eve").await);
    sure(&withdraw(&registry, &eve.token, "http").await);
    nothing(&eve, "declined").await;
    sure(&offer(&registry, &ann.token, "http", "eve").await);
    sure(&offer(&registry, &ann.token, "http", "bob").await);
    nothing(&eve, "replaced").await;
    sure(&put(&registry, &ann.token, "http/owners", json!({"users": ["bob"]})).await);
    sure(&offer(&registry, &bob.token, "http", "eve").await);
    let removal = Some(json!({"users": ["bob"]}));
    sure(&registry.ask_as(&ann.token, Method::DELETE, "/api/v1/packages/http/owners", removal).await);
    nothing(&eve, "made by somebody who was removed").await;

    // It ends after two weeks.
    let tool = async |by: &Session| new_token(&registry, by, &json!({"name": "t"})).await.0;
    let (anns, eves) = (tool(&ann).await, tool(&eve).await);
    sure(&offer(&registry, &anns, "http", "eve").await);
    registry.clock.advance(14 * 24 * HOUR);
    accept(&registry, &eves, "http").await.assert_refused("late", 404, &["transfer-not-found"]);
    sure(&offer(&registry, &anns, "http", "eve").await);
    registry.clock.advance(14 * 24 * HOUR - Duration::from_secs(10));
    sure(&accept(&registry, &eves, "http").await);
    registry.assert_clean("after offers came and went").await;
}

/// Two who decide at once, at two instances: the one whose commit comes second is decided against the first.
#[tokio::test]
async fn of_an_offer_taken_back_and_accepted_at_once_one_thing_happens() {
    let registry = open_registry().await;
    let (ann, eve) = (register(&registry, "ann").await, register(&registry, "eve").await);
    let other = registry.another(Clone::clone).await;
    for (turn, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        sure(&publish(&registry, &ann, name, "1.0.0").await);
        sure(&offer(&registry, &ann.token, name, "eve").await);
        let (left, right) =
            tokio::join!(withdraw(&registry, &ann.token, name), accept(&other, &eve.token, name));
        let owner = document(&registry, name).await.owners[0].account.clone();
        match (left.status, right.status) {
            (200, 404) => assert_eq!(owner.as_str(), ann.id, "{turn}"),
            (403, 200) => assert_eq!(owner.as_str(), eve.id, "{turn}"),
            statuses => panic!("{turn}: {statuses:?}"),
        }
    }
    registry.assert_clean("after races").await;
}

#[tokio::test]
async fn an_organisation_accepts_by_its_owners_and_names_stay_with_who_has_them() {
    let registry = open_registry().await;
    let (ann, bob, mia) = (
        register(&registry, "ann").await,
        register(&registry, "bob").await,
        register(&registry, "mia").await,
    );
    sure(&post_as(&registry, &bob.token, "/api/v1/orgs", &json!({"name": "acme"})).await);
    let member = Some(json!({"role": "collaborator"}));
    sure(&registry.ask_as(&bob.token, Method::PUT, "/api/v1/orgs/acme/members/mia", member).await);
    sure(&post_as(&registry, &mia.token, "/api/v1/orgs/acme/join", &Value::Null).await);
    sure(&publish(&registry, &ann, "ann/http", "1.0.0").await);
    sure(&offer(&registry, &ann.token, "ann%2Fhttp", "acme").await);
    accept(&registry, &mia.token, "ann%2Fhttp").await.assert_refused(
        "a member",
        404,
        &["transfer-not-found"],
    );
    let (narrow, _) = new_token(&registry, &bob, &json!({"name": "n", "scopes": ["publish-update"]})).await;
    accept(&registry, &narrow, "ann%2Fhttp").await.assert_refused("a scope", 403, &["token-scope"]);
    let (other, _) = new_token(&registry, &bob, &json!({"name": "o", "packages": ["bob/*"]})).await;
    accept(&registry, &other, "ann%2Fhttp").await.assert_refused("a pattern", 403, &["token-pattern"]);
    sure(&accept(&registry, &bob.token, "ann%2Fhttp").await);
    // The members act for it, the owner of the name does not; what is new below the name is still hers alone.
    sure(&publish(&registry, &mia, "ann/http", "1.1.0").await);
    publish(&registry, &ann, "ann/http", "1.2.0").await.assert_refused("before", 403, &["not-an-owner"]);
    publish(&registry, &bob, "ann/other", "1.0.0").await.assert_refused("new", 403, &["scope-held"]);
    sure(&publish(&registry, &ann, "ann/other", "1.0.0").await);
    registry.assert_clean("after an organisation took over").await;
}

#[tokio::test]
async fn a_time_lock_lies_between_an_offer_and_its_acceptance() {
    let registry = open_registry().await;
    let (ann, eve) = (register(&registry, "ann").await, register(&registry, "eve").await);
    let tool = async |by: &Session| new_token(&registry, by, &json!({"name": "t"})).await.0;
    let (anns, eves) = (tool(&ann).await, tool(&eve).await);
    let rule = json!({"threshold": 1, "keys": [AUTHOR_KEY], "lock_hours": 48});
    for name in ["before", "after"] {
        sure(&publish(&registry, &ann, name, "1.0.0").await);
        sure(&put(&registry, &anns, &format!("{name}/keys"), json!({"key": AUTHOR_KEY})).await);
    }
    // A rule that comes after the offer holds for it as well.
    sure(&put(&registry, &anns, "before/policy", rule.clone()).await);
    for name in ["before", "after"] {
        let offered = offer(&registry, &anns, name, "eve").await;
        sure(&offered);
        let waits = offered.json()["msg"].as_str().unwrap().contains(", from ");
        assert_eq!(waits, name == "before", "{}", offered.json());
    }
    sure(&put(&registry, &anns, "after/policy", rule).await);
    registry.clock.advance(47 * HOUR);
    for name in ["before", "after"] {
        accept(&registry, &eves, name).await.assert_refused(name, 409, &["transfer-waits"]);
    }
    registry.clock.advance(HOUR);
    for name in ["before", "after"] {
        sure(&accept(&registry, &eves, name).await);
        // What the authors said is still said: clients go by it.
        assert_eq!(document(&registry, name).await.author_keys.unwrap().rules.len(), 1);
    }
    registry.assert_clean("after locks").await;
}
