//! Teams: members of an organisation who act for the packages that name the team.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::Method;
use drystone_storage::{Fault, Faults, Op};
use drystone_tests::{Answer, Pkg, TestRegistry};
use serde_json::{Value, json};

use super::{PASSWORD, Session, new_token, open_registry, post_as, register};

async fn ask(registry: &TestRegistry, by: &str, method: Method, path: &str) -> Answer {
    registry.ask_as(by, method, &format!("/api/v1/orgs/acme/{path}"), None).await
}

fn sure(answer: &Answer) {
    assert!((200..300).contains(&answer.status), "{}", answer.json());
}

async fn own(registry: &TestRegistry, by: &str, package: &str, user: &str, role: &str) -> Answer {
    let body = Some(json!({"users": [user], "role": role}));
    registry.ask_as(by, Method::PUT, &format!("/api/v1/packages/{package}/owners"), body).await
}

/// An organisation `acme` of `ann`, with `bob` and `mia` as collaborators and a team `core` that bob is in.
async fn acme() -> (TestRegistry, Session, Session, Session) {
    let registry = open_registry().await;
    let (ann, bob, mia) = (
        register(&registry, "ann").await,
        register(&registry, "bob").await,
        register(&registry, "mia").await,
    );
    sure(&post_as(&registry, &ann.token, "/api/v1/orgs", &json!({"name": "acme"})).await);
    for (login, session) in [("bob", &bob), ("mia", &mia)] {
        let path = format!("/api/v1/orgs/acme/members/{login}");
        let role = Some(json!({"role": "collaborator"}));
        sure(&registry.ask_as(&ann.token, Method::PUT, &path, role).await);
        sure(&post_as(&registry, &session.token, "/api/v1/orgs/acme/join", &Value::Null).await);
    }
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core").await);
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core/members/bob").await);
    (registry, ann, bob, mia)
}

#[tokio::test]
async fn a_team_acts_for_packages_that_name_it_as_far_as_their_entry_goes() {
    let (registry, ann, bob, mia) = acme().await;
    let publish = async |by: &str, version: &str| registry.publish_as(by, &Pkg::new("http", version)).await;
    sure(&publish(&ann.token, "1.0.0").await);
    publish(&bob.token, "1.1.0").await.assert_refused("nobody yet", 403, &["not-an-owner"]);
    for none in ["acme/none", "none/core", "acme/", "/core", "acme/core/x"] {
        let refused = own(&registry, &ann.token, "http", none, "owner").await;
        refused.assert_refused(none, 404, &["account-not-found"]);
    }
    sure(&own(&registry, &ann.token, "http", "acme/core", "collaborator").await);
    sure(&publish(&bob.token, "1.1.0").await);
    publish(&mia.token, "1.2.0").await.assert_refused("another member", 403, &["not-an-owner"]);
    let refused = own(&registry, &bob.token, "http", "mia", "collaborator").await;
    refused.assert_refused("a collaborator", 403, &["not-an-owner"]);
    let listed = registry.get("/api/v1/packages/http/owners").await.json();
    let logins: Vec<&str> =
        listed["users"].as_array().unwrap().iter().map(|user| user["login"].as_str().unwrap()).collect();
    assert!(logins.contains(&"acme/core") && logins.contains(&"ann"), "{logins:?}");
    // As an owner of the package, whatever bob is in the organisation; and tokens of tools within their scopes.
    sure(&own(&registry, &ann.token, "http", "acme/core", "owner").await);
    sure(&own(&registry, &bob.token, "http", "mia", "collaborator").await);
    let (tool, _) = new_token(&registry, &bob, &json!({"name": "ci", "scopes": ["publish-update"]})).await;
    sure(&publish(&tool, "1.2.0").await);

    // Out of the team, at any instance; out of the organisation; and the team itself.
    let other = registry.another(Clone::clone).await;
    sure(&ask(&registry, &ann.token, Method::DELETE, "teams/core/members/bob").await);
    let after = other.publish_as(&bob.token, &Pkg::new("http", "1.3.0")).await;
    after.assert_refused("out of the team", 403, &["not-an-owner"]);
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core/members/bob").await);
    sure(&publish(&bob.token, "1.3.0").await);
    sure(&ask(&registry, &ann.token, Method::DELETE, "members/bob").await);
    publish(&bob.token, "1.4.0").await.assert_refused("out of the organisation", 403, &["not-an-owner"]);
    let shown = registry.ask_as(&ann.token, Method::GET, "/api/v1/orgs/acme", None).await.json();
    assert_eq!(shown["teams"][0]["members"], json!([]));
    sure(
        &registry
            .ask_as(
                &ann.token,
                Method::DELETE,
                "/api/v1/packages/http/owners",
                Some(json!({"users": ["mia"]})),
            )
            .await,
    );
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core/members/mia").await);
    sure(&publish(&mia.token, "1.4.0").await);
    sure(&ask(&registry, &ann.token, Method::DELETE, "teams/core").await);
    publish(&mia.token, "1.5.0").await.assert_refused("dissolved", 403, &["not-an-owner"]);
    // A team of the same name later is another one.
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core").await);
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core/members/mia").await);
    publish(&mia.token, "1.5.0").await.assert_refused("another team", 403, &["not-an-owner"]);
    registry.assert_clean("after teams came and went").await;
}

#[tokio::test]
async fn owners_of_the_organisation_make_teams_of_its_members_alone() {
    let (registry, ann, bob, mia) = acme().await;
    register(&registry, "eve").await;
    for (method, path) in [
        (Method::PUT, "teams/docs"),
        (Method::DELETE, "teams/core"),
        (Method::PUT, "teams/core/members/mia"),
        (Method::DELETE, "teams/core/members/bob"),
    ] {
        ask(&registry, &mia.token, method, path).await.assert_refused(path, 403, &["not-an-owner"]);
    }
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci", "scopes": ["owners"]})).await;
    ask(&registry, &tool, Method::PUT, "teams/docs").await.assert_refused("a tool", 403, &["session-needed"]);
    let stranger = ask(&registry, &ann.token, Method::PUT, "teams/core/members/eve").await;
    stranger.assert_refused("no member", 403, &["not-invited"]);
    let missing = ask(&registry, &ann.token, Method::PUT, "teams/none/members/mia").await;
    missing.assert_refused("no team", 404, &["account-not-found"]);
    let wrong = ask(&registry, &ann.token, Method::PUT, "teams/X").await;
    assert_eq!((wrong.status, wrong.codes()), (422, vec!["invalid-login".to_owned()]));
    // Whoever is in a team may leave it; teams are the members' business; a team is no organisation.
    let teams = async |token: Option<&str>| {
        let shown = match token {
            Some(token) => registry.ask_as(token, Method::GET, "/api/v1/orgs/acme", None).await,
            None => registry.get("/api/v1/orgs/acme").await,
        };
        shown.json()["teams"].clone()
    };
    let shown = teams(Some(&mia.token)).await;
    assert_eq!((&shown[0]["name"], &shown[0]["members"]), (&json!("core"), &json!(["bob"])));
    assert_eq!(teams(None).await, json!([]));
    let id = shown[0]["id"].as_str().unwrap();
    assert_eq!(registry.get(&format!("/api/v1/orgs/{id}")).await.status, 404);
    sure(&ask(&registry, &bob.token, Method::DELETE, "teams/core/members/bob").await);
    assert_eq!(teams(Some(&mia.token)).await[0]["members"], json!([]));
    // An organisation takes packages over and holds names; a team does neither.
    sure(&registry.publish_as(&ann.token, &Pkg::new("http", "1.0.0")).await);
    for to in ["acme/core", id] {
        let body = Some(json!({"to": to}));
        let refused = registry.ask_as(&ann.token, Method::PUT, "/api/v1/packages/http/transfer", body).await;
        refused.assert_refused(to, 404, &["account-not-found"]);
    }
    // Somebody who deletes their account is in no team.
    sure(&ask(&registry, &ann.token, Method::PUT, "teams/core/members/mia").await);
    let gone = Some(json!({"password": PASSWORD}));
    sure(&registry.ask_as(&mia.token, Method::DELETE, "/api/v1/users/me", gone).await);
    assert_eq!(teams(Some(&bob.token)).await[0]["members"], json!([]));
}

/// Whatever call fails, nobody acts who was told to be out, and repeating the request does the rest.
#[tokio::test]
async fn leaving_a_team_that_breaks_off_is_finished_by_whoever_repeats_it() {
    for path in ["teams/core/members/bob", "members/bob"] {
        for at in 0..6 {
            let (registry, ann, bob, _) = acme().await;
            sure(&registry.publish_as(&ann.token, &Pkg::new("http", "1.0.0")).await);
            sure(&own(&registry, &ann.token, "http", "acme/core", "owner").await);
            let written = AtomicU64::new(0);
            let faults = Faults::new(move |call| {
                let writes = matches!(call.op, Op::Replace | Op::Delete);
                let dies = writes && written.fetch_add(1, Ordering::SeqCst) >= at;
                if dies { Fault::CrashBefore } else { Fault::None }
            });
            let dying = registry.another(|store| faults.wrap(store)).await;
            ask(&dying, &ann.token, Method::DELETE, path).await;
            sure(&ask(&registry, &ann.token, Method::DELETE, path).await);
            let after = registry.publish_as(&bob.token, &Pkg::new("http", "1.1.0")).await;
            after.assert_refused(&format!("{path} {at}"), 403, &["not-an-owner"]);
        }
    }
}
