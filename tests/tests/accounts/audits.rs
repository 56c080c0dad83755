//! What audits of other registries have found, as far as it could be found here.
//!
//! Trail of Bits, review of PyPI's warehouse: 2023 (TOB-PYPI-n) and April 2026 (TOB-PYPI26-n). Findings about e-mail and
//! account state are in `people`; those about identities of CI systems are not applicable before there are any.

use axum::http::Method;
use drystone_storage::{Fault, Faults};
use drystone_tests::Pkg;
use serde_json::{Value, json};

use super::{PASSWORD, Session, new_token, open_registry, post_as, register, second_factor, sign_in};

/// Deleting others' tokens by their id (insecure direct object reference, 2026).
#[tokio::test]
async fn nobody_revokes_or_exchanges_anothers_token() {
    let registry = open_registry().await;
    let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
    let (anns, id) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let (bobs, _) = new_token(&registry, &bob, &json!({"name": "ci"})).await;
    for token in [&bob.token, &bobs] {
        let path = format!("/api/v1/users/me/tokens/{id}");
        let deleted = registry.ask_as(token, Method::DELETE, &path, None).await;
        assert!(matches!(deleted.status, 403 | 404), "{}", deleted.json());
        let rotated = post_as(&registry, token, &format!("{path}/rotate"), &Value::Null).await;
        assert!(matches!(rotated.status, 403 | 404), "{}", rotated.json());
    }
    assert_eq!(registry.publish_as(&anns, &Pkg::new("a", "1.0.0")).await.status, 201);
    // Not even another token of the same account.
    let (other, _) = new_token(&registry, &ann, &json!({"name": "other"})).await;
    let deleted =
        registry.ask_as(&other, Method::DELETE, &format!("/api/v1/users/me/tokens/{id}"), None).await;
    deleted.assert_refused("another tool", 403, &["session-needed"]);
}

/// A token of a tool that governs the account (2026: bans and checks that did not apply to API tokens).
#[tokio::test]
async fn a_token_of_a_tool_does_not_govern_the_account() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let all = json!({"name": "all", "scopes": ["publish-new", "publish-update", "yank", "owners", "alias", "trusted-publishing", "read"]});
    let (tool, id) = new_token(&registry, &ann, &all).await;
    for (method, path, body) in [
        (Method::POST, "/api/v1/users/me/tokens", json!({"name": "x"})),
        (Method::POST, &*format!("/api/v1/users/me/tokens/{id}/rotate"), Value::Null),
        (
            Method::POST,
            "/api/v1/auth/password/change",
            json!({"old_password": PASSWORD, "new_password": "another four words"}),
        ),
        (Method::POST, "/api/v1/auth/verify/send", Value::Null),
        (Method::DELETE, "/api/v1/users/me", json!({"password": PASSWORD})),
    ] {
        let body = if body.is_null() { None } else { Some(body) };
        let answer = registry.ask_as(&tool, method, path, body).await;
        answer.assert_refused(path, 403, &["session-needed"]);
    }
    assert_eq!(sign_in(&registry, "ann", PASSWORD).await.status, 200);
}

/// A code of an authenticator app that works again when it is written with spaces (TOB-PYPI26-9).
#[tokio::test]
async fn a_code_does_not_work_again_because_it_is_written_otherwise() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let (app, recovery) = second_factor::enrol(&registry, &ann, PASSWORD).await;
    let spaced = |code: &str| format!(" {} {}\t", &code[..3], &code[3..]);
    for code in [app.next(&registry), recovery[0].clone()] {
        let first = second_factor::sign_in_with(&registry, "ann", PASSWORD, &code).await;
        assert_eq!(first.status, 200, "{}", first.json());
        for again in [&code, &spaced(&code), &code.to_uppercase(), &code.replace('-', "")] {
            let again = second_factor::sign_in_with(&registry, "ann", PASSWORD, again).await;
            again.assert_refused(&code, 401, &["second-factor-invalid"]);
        }
    }
}

/// Audit events that are silently dropped (2026): what cannot be noted is not answered with success.
#[tokio::test]
async fn what_cannot_be_noted_does_not_succeed() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let faults =
        Faults::new(|call| if call.key.starts_with("audit/") { Fault::NotDone } else { Fault::None });
    let faulty = registry.another(|store| faults.wrap(store)).await;
    let made = post_as(&faulty, &ann.token, "/api/v1/users/me/tokens", &json!({"name": "ci"})).await;
    assert_eq!(made.status, 503, "{}", made.json());
    let signed_in = sign_in(&faulty, "ann", PASSWORD).await;
    assert_eq!(signed_in.status, 503, "{}", signed_in.json());
    assert_eq!(sign_in(&registry, "ann", PASSWORD).await.status, 200);
}

/// Changes of administrators that are not logged (2026), and everything else that concerns an account.
#[tokio::test]
async fn what_happens_to_an_account_is_in_its_trail() {
    let registry = open_registry().await;
    let ann = super::register_verified(&registry, "ann").await;
    let (_, id) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    registry.ask_as(&ann.token, Method::DELETE, &format!("/api/v1/users/me/tokens/{id}"), None).await;
    sign_in(&registry, "ann", "four words of hers").await;
    let other = Session::of(&sign_in(&registry, "ann", PASSWORD).await);
    post_as(&registry, &other.token, "/api/v1/auth/logout", &Value::Null).await;
    let body = json!({"old_password": PASSWORD, "new_password": "another four words"});
    assert_eq!(post_as(&registry, &ann.token, "/api/v1/auth/password/change", &body).await.status, 200);
    let events = registry.ask_as(&ann.token, Method::GET, "/api/v1/users/me/events", None).await.json();
    let mut kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "email-verified",
            "password-changed",
            "registered",
            "sign-in-failed",
            "signed-in",
            "signed-out",
            "token-made",
            "token-revoked",
        ]
    );
    // Neither a name nor an address nor a number of a peer is in it.
    assert!(!events.to_string().contains("example.org") && !events.to_string().contains("ann"));
}
