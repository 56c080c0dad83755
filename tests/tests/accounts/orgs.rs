//! Organisations: members act for them; names with an owner belong to whoever has the name.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::Method;
use drystone_storage::{Fault, Faults, Op};
use drystone_tests::{Answer, Pkg, TestRegistry};
use serde_json::{Value, json};

use super::{Session, new_token, open_registry, post_as, register};

async fn org(registry: &TestRegistry, by: &Session, name: &str) {
    let made = post_as(registry, &by.token, "/api/v1/orgs", &json!({"name": name})).await;
    assert_eq!(made.status, 201, "{}", made.json());
}

async fn set(registry: &TestRegistry, by: &str, org: &str, login: &str, role: &str) -> Answer {
    let body = Some(json!({"role": role}));
    registry.ask_as(by, Method::PUT, &format!("/api/v1/orgs/{org}/members/{login}"), body).await
}

async fn remove(registry: &TestRegistry, by: &str, org: &str, login: &str) -> Answer {
    registry.ask_as(by, Method::DELETE, &format!("/api/v1/orgs/{org}/members/{login}"), None).await
}

async fn join(registry: &TestRegistry, by: &str, org: &str) -> Answer {
    post_as(registry, by, &format!("/api/v1/orgs/{org}/join"), &Value::Null).await
}

async fn own(registry: &TestRegistry, by: &str, package: &str, user: &str, role: &str) -> Answer {
    let body = Some(json!({"users": [user], "role": role}));
    registry.ask_as(by, Method::PUT, &format!("/api/v1/packages/{package}/owners"), body).await
}

#[tokio::test]
async fn members_act_for_an_organisation_as_far_as_both_roles_go() {
    let registry = open_registry().await;
    let (ann, bob, eve) = (
        register(&registry, "ann").await,
        register(&registry, "bob").await,
        register(&registry, "eve").await,
    );
    org(&registry, &ann, "acme").await;
    assert_eq!(registry.publish_as(&ann.token, &Pkg::new("acme/http", "1.0.0")).await.status, 201);
    assert_eq!(own(&registry, &ann.token, "acme%2Fhttp", "acme", "owner").await.status, 200);
    let publish = async |by: &Session, version: &str| {
        registry.publish_as(&by.token, &Pkg::new("acme/http", version)).await
    };
    publish(&bob, "1.1.0").await.assert_refused("nobody yet", 403, &["not-an-owner"]);
    // An invitation gives nothing before it is taken, and only who is invited takes it.
    assert_eq!(set(&registry, &ann.token, "acme", "bob", "collaborator").await.status, 200);
    publish(&bob, "1.1.0").await.assert_refused("invited", 403, &["not-an-owner"]);
    join(&registry, &eve.token, "acme").await.assert_refused("not invited", 403, &["not-invited"]);
    for _ in 0..2 {
        assert_eq!(join(&registry, &bob.token, "acme").await.status, 200);
    }
    assert_eq!(publish(&bob, "1.1.0").await.status, 201);
    let yank = async |by: &Session| {
        registry.ask_as(&by.token, Method::POST, "/api/v1/packages/acme%2Fhttp/1.0.0/yank", None).await
    };
    assert_eq!(yank(&bob).await.status, 200);
    // The package's entry says owner, the membership collaborator.
    own(&registry, &bob.token, "acme%2Fhttp", "bob", "owner").await.assert_refused(
        "a member",
        403,
        &["not-an-owner"],
    );
    assert_eq!(set(&registry, &ann.token, "acme", "bob", "owner").await.status, 200);
    assert_eq!(own(&registry, &bob.token, "acme%2Fhttp", "eve", "collaborator").await.status, 200);
    assert_eq!(publish(&eve, "1.2.0").await.status, 201);

    // Whoever is removed acts no more, at any instance, whatever was prepared before.
    let other = registry.another(Clone::clone).await;
    assert_eq!(remove(&registry, &ann.token, "acme", "bob").await.status, 200);
    let after = other.publish_as(&bob.token, &Pkg::new("acme/http", "1.3.0")).await;
    after.assert_refused("removed", 403, &["not-an-owner"]);
    join(&registry, &bob.token, "acme").await.assert_refused("an old invitation", 403, &["not-invited"]);
    // Tokens of tools act for the organisations of their account, within their scopes.
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci", "scopes": ["publish-update"]})).await;
    assert_eq!(registry.publish_as(&tool, &Pkg::new("acme/http", "2.0.0")).await.status, 201);
    registry.assert_clean("after members came and went").await;
}

/// An organisation's member who invites owners, by a request behind a right to read (2026).
#[tokio::test]
async fn only_owners_invite_and_tools_govern_nothing() {
    let registry = open_registry().await;
    let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
    register(&registry, "eve").await;
    org(&registry, &ann, "acme").await;
    set(&registry, &ann.token, "acme", "bob", "collaborator").await;
    join(&registry, &bob.token, "acme").await;
    for role in ["owner", "collaborator"] {
        let refused = set(&registry, &bob.token, "acme", "eve", role).await;
        refused.assert_refused(role, 403, &["not-an-owner"]);
    }
    set(&registry, &bob.token, "acme", "bob", "owner").await.assert_refused(
        "oneself",
        403,
        &["not-an-owner"],
    );
    remove(&registry, &bob.token, "acme", "ann").await.assert_refused("an owner", 403, &["not-an-owner"]);
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci", "scopes": ["owners"]})).await;
    set(&registry, &tool, "acme", "eve", "owner").await.assert_refused("a tool", 403, &["session-needed"]);
    // Members are nobody's business but the members'.
    let members = async |token: Option<&str>| {
        let answer = match token {
            Some(token) => registry.ask_as(token, Method::GET, "/api/v1/orgs/acme", None).await,
            None => registry.get("/api/v1/orgs/acme").await,
        };
        answer.json()["members"].as_array().unwrap().len()
    };
    assert_eq!((members(None).await, members(Some(&bob.token)).await), (0, 2));
    assert_eq!(
        remove(&registry, &bob.token, "acme", "bob").await.status,
        200,
        "whoever is a member may leave"
    );
    assert_eq!(members(Some(&bob.token)).await, 0);
}

#[tokio::test]
async fn the_last_owner_stays() {
    let registry = open_registry().await;
    let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
    org(&registry, &ann, "acme").await;
    remove(&registry, &ann.token, "acme", "ann").await.assert_refused("leaves", 409, &["last-owner"]);
    set(&registry, &ann.token, "acme", "ann", "collaborator").await.assert_refused(
        "gives up",
        409,
        &["last-owner"],
    );
    set(&registry, &ann.token, "acme", "bob", "owner").await;
    remove(&registry, &ann.token, "acme", "ann").await.assert_refused(
        "before it is taken",
        409,
        &["last-owner"],
    );
    join(&registry, &bob.token, "acme").await;
    // Of two owners who leave at once, one stays.
    let other = registry.another(Clone::clone).await;
    let (a, b) =
        tokio::join!(remove(&registry, &ann.token, "acme", "ann"), remove(&other, &bob.token, "acme", "bob"));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn names_with_an_owner_belong_to_whoever_has_the_name() {
    let registry = open_registry().await;
    let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
    let publish =
        async |by: &Session, name: &str| registry.publish_as(&by.token, &Pkg::new(name, "1.0.0")).await;
    // A login's packages are that account's.
    publish(&bob, "ann/http").await.assert_refused("another's login", 403, &["scope-held"]);
    publish(&bob, "Ann/http").await.assert_refused("another spelling", 403, &["scope-held"]);
    assert_eq!(publish(&ann, "ann/http").await.status, 201);
    // A name that nobody has belongs to whoever uses it first, and cannot be registered by others then.
    assert_eq!(publish(&bob, "tools/a").await.status, 201);
    publish(&ann, "tools/b").await.assert_refused("used by another", 403, &["scope-held"]);
    publish(&ann, "Tools/b").await.assert_refused("another spelling", 403, &["scope-held"]);
    let made = post_as(&registry, &ann.token, "/api/v1/orgs", &json!({"name": "tools"})).await;
    made.assert_refused("an organisation of that name", 409, &["login-taken"]);
    let body = json!({"username": "tools", "email": "tools@example.org", "password": super::PASSWORD});
    let made = super::post(&registry, "/api/v1/auth/register", &body).await;
    made.assert_refused("a login of that name", 409, &["login-taken"]);
    // Who has it makes it an organisation, and members may create packages there.
    org(&registry, &bob, "tools").await;
    assert_eq!(publish(&bob, "tools/b").await.status, 201);
    set(&registry, &bob.token, "tools", "ann", "collaborator").await;
    join(&registry, &ann.token, "tools").await;
    assert_eq!(publish(&ann, "tools/c").await.status, 201);
    remove(&registry, &bob.token, "tools", "ann").await;
    publish(&ann, "tools/d").await.assert_refused("no member", 403, &["scope-held"]);
    // What was created stays its owner's.
    assert_eq!(registry.publish_as(&ann.token, &Pkg::new("tools/c", "1.1.0")).await.status, 201);
    let (x, y) = tokio::join!(publish(&ann, "race/x"), publish(&bob, "race/y"));
    let mut statuses = [x.status, y.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403], "one of two who begin at once");
    assert_eq!(registry.publish(&Pkg::new("ann/by-the-operator", "1.0.0")).await.status, 201);
    registry.assert_clean("after names were given").await;
}

/// Whatever call fails, nobody acts who was told to be removed, and repeating the request does the rest.
#[tokio::test]
async fn a_removal_that_breaks_off_is_finished_by_whoever_repeats_it() {
    for at in 0..8 {
        let registry = open_registry().await;
        let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
        org(&registry, &ann, "acme").await;
        assert_eq!(registry.publish_as(&ann.token, &Pkg::new("http", "1.0.0")).await.status, 201);
        assert_eq!(own(&registry, &ann.token, "http", "acme", "owner").await.status, 200);
        set(&registry, &ann.token, "acme", "bob", "owner").await;
        join(&registry, &bob.token, "acme").await;
        let written = AtomicU64::new(0);
        let faults = Faults::new(move |call| {
            let writes = matches!(call.op, Op::Replace | Op::Delete);
            let dies = writes && written.fetch_add(1, Ordering::SeqCst) >= at;
            if dies { Fault::CrashBefore } else { Fault::None }
        });
        let dying = registry.another(|store| faults.wrap(store)).await;
        let first = remove(&dying, &ann.token, "acme", "bob").await;
        let second = remove(&registry, &ann.token, "acme", "bob").await;
        assert_eq!(second.status, 200, "{at}: {} {}", first.status, second.json());
        let after = registry.publish_as(&bob.token, &Pkg::new("http", "1.1.0")).await;
        after.assert_refused(&at.to_string(), 403, &["not-an-owner"]);
        let members = registry.ask_as(&ann.token, Method::GET, "/api/v1/orgs/acme", None).await.json();
        assert_eq!(members["members"].as_array().unwrap().len(), 1, "{at}");
    }
}
