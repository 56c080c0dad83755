//! Accounts, sessions, tokens, and limits: who somebody is, and what they hand to their tools.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audits;
mod commands;
mod device;
mod edge;
mod expired;
mod instances;
mod limits;
mod matrix;
mod orgs;
mod people;
mod provider;
mod second_factor;
mod secrets;
mod sessions;
mod smtp;
mod teams;
mod tokens;
mod transfers;
mod trusted;

use std::net::IpAddr;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_publisher::Peer;
use drystone_schemas::{Limits, Registration, Settings};
use drystone_storage::Store;
use drystone_tests::{Answer, TestRegistry};
use serde_json::{Value, json};

/// A password that anybody may have.
const PASSWORD: &str = "four words of mine";

/// A registry where anybody may make an account.
async fn open_registry() -> TestRegistry {
    with_limits(Limits::default()).await
}

/// The same with other limits.
async fn with_limits(limits: Limits) -> TestRegistry {
    let settings = Settings {
        registration: Registration::Open,
        limits,
        ..Settings::new("test", "http://registry.test")
    };
    TestRegistry::with_settings(Store::memory(), settings).await
}

/// Sends JSON from an address, with a token if there is one.
async fn ask_from(
    registry: &TestRegistry,
    from: Option<&str>,
    token: Option<&str>,
    method: Method,
    path: &str,
    body: &Value,
) -> Answer {
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_LENGTH, bytes.len());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(from) = from {
        request = request.extension(Peer(from.parse::<IpAddr>().unwrap()));
    }
    registry.send(request.body(Body::from(bytes)).unwrap()).await
}

/// Posts JSON from nowhere.
async fn post(registry: &TestRegistry, path: &str, body: &Value) -> Answer {
    ask_from(registry, None, None, Method::POST, path, body).await
}

/// Posts JSON with a token.
async fn post_as(registry: &TestRegistry, token: &str, path: &str, body: &Value) -> Answer {
    ask_from(registry, None, Some(token), Method::POST, path, body).await
}

/// A session as its owner has it.
#[derive(Clone)]
struct Session {
    token: String,
    refresh: String,
    id: String,
}

impl Session {
    fn of(answer: &Answer) -> Self {
        assert!((200..300).contains(&answer.status), "{}", answer.json());
        let body = answer.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            token: text(&body["token"]),
            refresh: text(&body["refresh_token"]),
            id: text(&body["user"]["id"]),
        }
    }
}

/// Makes an account.
async fn register(registry: &TestRegistry, login: &str) -> Session {
    let body = json!({"username": login, "email": address_of(login), "password": PASSWORD});
    Session::of(&post(registry, "/api/v1/auth/register", &body).await)
}

/// Makes an account with a verified address.
async fn register_verified(registry: &TestRegistry, login: &str) -> Session {
    let session = register(registry, login).await;
    let token = registry.mails.token_to(&address_of(login));
    let verified = post(registry, "/api/v1/auth/verify", &json!({"token": token})).await;
    assert_eq!(verified.status, 200, "{}", verified.json());
    session
}

fn address_of(login: &str) -> String {
    format!("{login}@example.org")
}

/// Signs in.
async fn sign_in(registry: &TestRegistry, name: &str, password: &str) -> Answer {
    post(registry, "/api/v1/auth/login", &json!({"username": name, "password": password})).await
}

/// Makes a token for tools.
async fn new_token(registry: &TestRegistry, session: &Session, asked: &Value) -> (String, String) {
    let made = post_as(registry, &session.token, "/api/v1/users/me/tokens", asked).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let body = made.json();
    (body["token"].as_str().unwrap().to_owned(), body["id"].as_str().unwrap().to_owned())
}
