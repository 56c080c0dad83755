//! Signing in a machine by a code that somebody types in elsewhere (RFC 8628).

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_tests::{Answer, TestRegistry, checks::contents};
use serde_json::{Value, json};

use super::{PASSWORD, Session, ask_from, new_token, open_registry, post, post_as, register, sign_in};

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn begin(registry: &TestRegistry) -> (String, String) {
    let answer = post(registry, "/api/v1/auth/device", &json!({"name": "laptop", "days": 7})).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let codes = answer.json();
    let text = |field: &str| codes[field].as_str().unwrap().to_owned();
    assert_eq!((&codes["expires_in"], &codes["interval"]), (&json!(600), &json!(5)));
    assert_eq!(text("verification_uri"), "http://registry.test/device");
    assert_eq!(
        text("verification_uri_complete"),
        format!("http://registry.test/device?user_code={}", text("user_code"))
    );
    (text("device_code"), text("user_code"))
}

pub(super) async fn poll(registry: &TestRegistry, device: &str) -> Answer {
    post(registry, "/api/v1/auth/device/token", &json!({"device_code": device})).await
}

async fn answer(registry: &TestRegistry, by: &str, typed: &str, approve: bool) -> Answer {
    let body = json!({"user_code": typed, "approve": approve});
    post_as(registry, by, "/api/v1/auth/device/answer", &body).await
}

/// Sends a form of a page.
pub(super) async fn form(registry: &TestRegistry, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = fields
        .iter()
        .fold(url::form_urlencoded::Serializer::new(String::new()), |mut form, (name, value)| {
            form.append_pair(name, value);
            form
        })
        .finish();
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::CONTENT_LENGTH, body.len());
    registry.send(request.body(Body::from(body)).unwrap()).await
}

pub(super) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[tokio::test]
async fn a_machine_gets_one_token_once_somebody_said_yes() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let (device, typed) = begin(&registry).await;
    poll(&registry, &device).await.assert_refused("nobody", 400, &["authorization-pending"]);
    // Whoever asks too soon waits five seconds more each time.
    for _ in 0..2 {
        registry.clock.advance(4 * SECOND);
        poll(&registry, &device).await.assert_refused("too soon", 400, &["slow-down"]);
    }
    registry.clock.advance(14 * SECOND);
    poll(&registry, &device).await.assert_refused("still too soon", 400, &["slow-down"]);
    registry.clock.advance(20 * SECOND);
    poll(&registry, &device).await.assert_refused("nobody yet", 400, &["authorization-pending"]);

    // Only a session answers; case, blanks and hyphens are all the same.
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "tool"})).await;
    answer(&registry, &tool, &typed, true).await.assert_refused("a tool", 403, &["session-needed"]);
    let other = registry.another(Clone::clone).await;
    let spaced = typed.to_lowercase().replace('-', " ");
    assert_eq!(answer(&other, &ann.token, &spaced, true).await.status, 200);
    answer(&registry, &ann.token, &typed, false).await.assert_refused(
        "answered",
        400,
        &["device-code-invalid"],
    );

    // Two polls at once, at two instances: one token.
    let (a, b) = tokio::join!(poll(&registry, &device), poll(&other, &device));
    let (made, refused) = if a.status == 200 { (a, b) } else { (b, a) };
    assert_eq!(made.status, 200, "{}", made.json());
    refused.assert_refused("used", 400, &["device-code-invalid"]);
    let made = made.json();
    assert_eq!((&made["name"], made["packages"].as_array().unwrap().len()), (&json!("laptop"), 0));
    let me = registry.ask_as(made["token"].as_str().unwrap(), Method::GET, "/api/v1/me", None).await;
    assert_eq!(me.json()["login"], "ann");
    // The code that the machine keeps is no token, and neither code is kept in clear.
    let me = registry.ask_as(&device, Method::GET, "/api/v1/me", None).await;
    me.assert_refused("the code", 401, &["token-invalid"]);
    let plain = typed.replace('-', "");
    for (key, bytes) in contents(&*registry.store.vault).await {
        let bytes = String::from_utf8_lossy(&bytes).into_owned();
        for secret in [&*device, &typed, &plain, made["token"].as_str().unwrap()] {
            assert!(!key.contains(secret) && !bytes.contains(secret), "{key}");
        }
    }
}

#[tokio::test]
async fn a_machine_gets_nothing_without_a_yes_that_still_counts() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    let (device, typed) = begin(&registry).await;
    assert_eq!(answer(&registry, &ann.token, &typed, false).await.status, 200);
    for _ in 0..2 {
        poll(&registry, &device).await.assert_refused("no", 403, &["authorization-denied"]);
    }
    // A password that changes after the yes.
    let (device, typed) = begin(&registry).await;
    assert_eq!(answer(&registry, &ann.token, &typed, true).await.status, 200);
    let change = json!({"old_password": PASSWORD, "new_password": "quite another phrase"});
    assert_eq!(post_as(&registry, &ann.token, "/api/v1/auth/password/change", &change).await.status, 200);
    for _ in 0..2 {
        poll(&registry, &device).await.assert_refused("another password", 400, &["device-code-invalid"]);
    }
    // Nobody answers in time, or too late.
    let (device, typed) = begin(&registry).await;
    registry.clock.advance(600 * SECOND);
    let ann = Session::of(&sign_in(&registry, "ann", "quite another phrase").await);
    answer(&registry, &ann.token, &typed, true).await.assert_refused("late", 400, &["device-code-invalid"]);
    poll(&registry, &device).await.assert_refused("late", 400, &["device-code-invalid"]);
    // What nobody ever had, and what nobody may have.
    let none = format!("{}A", &device[..device.len() - 1]);
    for code in ["", "dry_dev_x", &none, &ann.token] {
        poll(&registry, code).await.assert_refused(code, 400, &["device-code-invalid"]);
    }
    let asked = json!({"name": "", "scopes": ["all"]});
    let wrong = post(&registry, "/api/v1/auth/device", &asked).await;
    assert_eq!((wrong.status, wrong.codes().len()), (422, 2), "{}", wrong.json());
    // Only an administrator says yes to a machine that wants to be one.
    let asked = json!({"name": "root", "scopes": ["admin"]});
    let codes = post(&registry, "/api/v1/auth/device", &asked).await.json();
    let refused = answer(&registry, &ann.token, codes["user_code"].as_str().unwrap(), true).await;
    refused.assert_refused("no administrator", 422, &["invalid-token-request"]);
}

#[tokio::test]
async fn codes_cannot_be_tried_and_machines_cannot_begin_without_end() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    for _ in 0..20 {
        let refused = answer(&registry, &ann.token, "BBBB-BBBB", true).await;
        refused.assert_refused("a guess", 400, &["device-code-invalid"]);
    }
    answer(&registry, &ann.token, "BBBB-BBBB", true).await.assert_refused("a guess", 429, &["rate-limited"]);
    let from = Some("192.0.2.7");
    let ask = async |path: &str, body: Value| {
        ask_from(&registry, from, None, Method::POST, path, &body).await.status
    };
    for at in 0..31 {
        let status = ask("/api/v1/auth/device", json!({"name": "laptop"})).await;
        assert_eq!(status, if at < 30 { 200 } else { 429 });
    }
    // A machine that waits as it should is not refused for asking often, though nobody else from there may ask any more.
    let (device, _) = begin(&registry).await;
    for _ in 0..100 {
        registry.clock.advance(5 * SECOND);
        assert_eq!(ask("/api/v1/auth/device/token", json!({"device_code": device})).await, 400);
    }
}

#[tokio::test]
async fn the_page_asks_whoever_has_a_password_and_shows_what_they_say_yes_to() {
    let registry = open_registry().await;
    register(&registry, "ann").await;
    let hostile = json!({"name": "<script>alert(1)</script>\"'", "packages": ["acme/*"]});
    let codes = post(&registry, "/api/v1/auth/device", &hostile).await.json();
    let (device, typed) = (codes["device_code"].as_str().unwrap(), codes["user_code"].as_str().unwrap());
    let page = registry.get("/device").await;
    assert_eq!((page.status, text(&page).contains("name=\"user_code\"")), (200, true));
    let page = registry.get(&format!("/device?user_code={typed}")).await;
    let shown = text(&page);
    assert_eq!(page.status, 200);
    assert!(
        shown.contains("&lt;script&gt;") && shown.contains("acme/*") && !shown.contains("<script"),
        "{shown}"
    );
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    let unknown = registry.get("/device?user_code=%22%3E%3Cscript%3E").await;
    assert_eq!((unknown.status, text(&unknown).contains("<script")), (400, false));

    // A wrong password and a login that nobody has look alike, and answer nothing.
    let fields = |login: &'static str, password: &'static str, said: &'static str| {
        [("user_code", typed), ("username", login), ("password", password), ("answer", said)]
    };
    let wrong = form(&registry, "/device", &fields("ann", "four words of hers", "yes")).await;
    let nobody = form(&registry, "/device", &fields("nobody", "four words of hers", "yes")).await;
    assert_eq!((wrong.status, text(&wrong)), (401, text(&nobody)));
    poll(&registry, device).await.assert_refused("wrong", 400, &["authorization-pending"]);
    let neither = form(&registry, "/device", &fields("ann", PASSWORD, "maybe")).await;
    assert_eq!((neither.status, neither.codes()), (400, vec!["malformed-request".to_owned()]));
    let done = form(&registry, "/device", &fields("ann", PASSWORD, "yes")).await;
    assert!(done.status == 200 && text(&done).contains("the machine is signed in"), "{}", text(&done));
    registry.clock.advance(5 * SECOND);
    assert_eq!(poll(&registry, device).await.status, 200);
    let twice = form(&registry, "/device", &fields("ann", PASSWORD, "yes")).await;
    assert_eq!(twice.status, 400);
}
