//! Who may do what: tokens, scopes, owners, limits of accounts, and names that are taken.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, header},
};
use drystone_publisher::Scope;
use drystone_schemas::{Limits, Login};
use drystone_tests::{Pkg, TestRegistry};
use serde_json::json;

use super::{assert_nothing_happened, registry_with};

/// Cargo's challenge and the usual one, in one field.
const CHALLENGES: &str = "Cargo login_url=\"http://registry.test/me\", Bearer";

#[tokio::test]
async fn tokens_that_are_none() {
    let registry = TestRegistry::new().await;
    let mut mistyped = registry.admin.clone().into_bytes();
    mistyped[20] = if mistyped[20] == b'x' { b'y' } else { b'x' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    let unknown = drystone_publisher::Token::generate(&*registry.entropy);
    let long = "x".repeat(10_000);
    let values =
        ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer a b", &mistyped, unknown.reveal(), &long];
    for path in [
        "/api/v1/me",
        "/api/v1/packages/http/1.0.0/yank",
        "/api/v1/packages",
        "/api/v1/uploads",
        "/api/v1/aliases/h",
    ] {
        let method = match path {
            "/api/v1/me" => Method::GET,
            "/api/v1/aliases/h" => Method::PUT,
            _ => Method::POST,
        };
        let request = || Request::builder().method(method.clone()).uri(path);
        let answer = registry.send(request().body(Body::empty()).unwrap()).await;
        answer.assert_refused(path, 401, &["token-missing"]);
        assert_eq!(answer.headers["www-authenticate"], CHALLENGES);
        let values = values.iter().map(|value| HeaderValue::from_str(value).unwrap());
        for value in values.chain([HeaderValue::from_bytes(b"Bearer \xff").unwrap()]) {
            let request = request().header(header::AUTHORIZATION, &value);
            // With a body that would do, so that the token is what is wrong.
            let request = if path == "/api/v1/packages" {
                let (content_type, body) =
                    drystone_tests::multipart_body(None, &Pkg::new("http", "1.0.0").archive());
                request.header(header::CONTENT_TYPE, content_type).body(Body::from(body))
            } else {
                request.body(Body::from(r#"{"package":"http"}"#))
            };
            let answer = registry.send(request.unwrap()).await;
            answer.assert_refused(&format!("{path} {value:?}"), 401, &["token-invalid"]);
            assert_eq!(answer.headers["www-authenticate"], CHALLENGES);
        }
    }
    assert_nothing_happened(&registry, 1).await;
}

#[tokio::test]
async fn tokens_that_have_ended() {
    let registry = TestRegistry::new().await;
    let login = Login::new("ann").unwrap();
    let short =
        registry.service.make_token(&login, "short", Scope::ORDINARY.to_vec(), Some(60)).await.unwrap();
    let token = short.token.reveal();
    assert_eq!(registry.publish_as(token, &Pkg::new("http", "1.0.0")).await.status, 201);
    registry.clock.advance(Duration::from_secs(59));
    assert_eq!(registry.publish_as(token, &Pkg::new("http", "1.0.1")).await.status, 201);
    registry.clock.advance(Duration::from_secs(1));
    let package = Pkg::new("http", "1.0.2");
    registry.publish_as(token, &package).await.assert_refused("expired", 401, &["token-expired"]);
    let me = registry.ask_as(token, Method::GET, "/api/v1/me", None).await;
    me.assert_refused("expired", 401, &["token-expired"]);
    let other = registry.token_of("ann").await.token;
    registry.service.revoke_token(&other).await.unwrap();
    registry.publish_as(other.reveal(), &package).await.assert_refused("revoked", 401, &["token-invalid"]);
    assert_eq!(registry.log_size().await, 3);
    registry.assert_clean("after tokens ended").await;
}

#[tokio::test]
async fn each_change_takes_its_scope() {
    let registry = TestRegistry::new().await;
    let login = Login::new("ann").unwrap();
    let all = registry.token_of("ann").await;
    assert_eq!(registry.publish_as(all.token.reveal(), &Pkg::new("http", "1.0.0")).await.status, 201);
    for missing in Scope::ORDINARY {
        let scopes = Scope::ORDINARY.into_iter().filter(|scope| *scope != missing).collect();
        let made = registry.service.make_token(&login, "weak", scopes, None).await.unwrap();
        let token = made.token.reveal();
        let ask = async |method: Method, path: &str, body: Option<serde_json::Value>| {
            registry.ask_as(token, method, path, body).await
        };
        let answers = match missing {
            Scope::PublishNew => vec![registry.publish_as(token, &Pkg::new("new", "1.0.0")).await],
            Scope::PublishUpdate => vec![registry.publish_as(token, &Pkg::new("http", "2.0.0")).await],
            Scope::Yank => vec![
                ask(Method::POST, "/api/v1/packages/http/1.0.0/yank", None).await,
                ask(Method::DELETE, "/api/v1/packages/http/1.0.0", None).await,
                ask(Method::POST, "/api/v1/packages/http/1.0.0/unyank", None).await,
                ask(Method::POST, "/api/v1/packages/http/deprecate", None).await,
                ask(Method::POST, "/api/v1/packages/http/undeprecate", None).await,
            ],
            Scope::Owners => vec![
                ask(Method::PUT, "/api/v1/packages/http/owners", Some(json!({"users": ["operator"]}))).await,
                ask(Method::DELETE, "/api/v1/packages/http/owners", Some(json!({"users": ["operator"]})))
                    .await,
            ],
            _ => vec![ask(Method::PUT, "/api/v1/aliases/h", Some(json!({"package": "http"}))).await],
        };
        for answer in answers {
            answer.assert_refused(missing.as_str(), 403, &["token-scope"]);
            assert_eq!(answer.json()["errors"][0]["facts"]["scope"], missing.as_str());
        }
        let takedown =
            ask(Method::POST, "/api/v1/packages/http/1.0.0/delete", Some(json!({"code": "spam"}))).await;
        takedown.assert_refused("a takedown", 403, &["token-scope"]);
    }
    assert_nothing_happened(&registry, 2).await;
}

#[tokio::test]
async fn what_belongs_to_somebody_else() {
    let registry = TestRegistry::new().await;
    let (ann, bob) = (registry.token_of("ann").await.token, registry.token_of("bob").await.token);
    assert_eq!(registry.publish_as(ann.reveal(), &Pkg::new("my-http", "1.0.0")).await.status, 201);
    let ask = async |method: Method, path: &str, body: Option<serde_json::Value>| {
        registry.ask_as(bob.reveal(), method, path, body).await
    };
    let answers = [
        registry.publish_as(bob.reveal(), &Pkg::new("my-http", "1.1.0")).await,
        registry.publish_as(bob.reveal(), &Pkg::new("my-http", "1.0.0").with_payload("x")).await,
        ask(Method::POST, "/api/v1/packages/my-http/1.0.0/yank", None).await,
        ask(Method::POST, "/api/v1/packages/my-http/deprecate", None).await,
        ask(Method::PUT, "/api/v1/packages/my-http/owners", Some(json!({"users": ["bob"]}))).await,
        ask(Method::DELETE, "/api/v1/packages/my-http/owners", Some(json!({"users": ["ann"]}))).await,
        ask(Method::PUT, "/api/v1/aliases/mh", Some(json!({"package": "my-http"}))).await,
    ];
    for (i, answer) in answers.iter().enumerate() {
        answer.assert_refused(&i.to_string(), 403, &["not-an-owner"]);
        let facts = &answer.json()["errors"][0]["facts"];
        assert!(facts["account"].is_string() && facts["owners"].is_string(), "{facts}");
    }
    for spelling in ["My-Http", "my_http"] {
        let answer = registry.publish_as(ann.reveal(), &Pkg::new(spelling, "1.1.0")).await;
        answer.assert_refused(spelling, 409, &["name-collision"]);
        assert_eq!(answer.json()["errors"][0]["facts"]["existing"], "my-http");
    }
    let answer = registry.publish_as(ann.reveal(), &Pkg::new("my-http", "1.0.0").with_payload("x")).await;
    answer.assert_refused("other bytes", 409, &["version-exists"]);
    let facts = answer.json()["errors"][0]["facts"].clone();
    assert_eq!(facts["existing_seq"], "1");
    assert_ne!(facts["existing_sha256"], facts["uploaded_sha256"]);
    assert_nothing_happened(&registry, 2).await;
}

#[tokio::test]
async fn an_account_creates_as_many_packages_as_it_may() {
    let registry = registry_with(Limits { packages_per_account_max: 2, ..Limits::default() }).await;
    let ann = registry.token_of("ann").await.token;
    let publish =
        async |name: &str, version: &str| registry.publish_as(ann.reveal(), &Pkg::new(name, version)).await;
    assert_eq!(publish("a", "1.0.0").await.status, 201);
    // What is refused, repeated or an update does not count.
    publish("a", "1.0").await.assert_refused("a bad version", 422, &["invalid-version"]);
    assert_eq!((publish("a", "1.0.0").await.status, publish("a", "1.1.0").await.status), (200, 201));
    // Of many at once only as many succeed as are left.
    let (b, c, d) = tokio::join!(publish("b", "1.0.0"), publish("c", "1.0.0"), publish("d", "1.0.0"));
    let mut statuses = [b.status, c.status, d.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403, 403]);
    let answer = publish("e", "1.0.0").await;
    answer.assert_refused("one too many", 403, &["package-limit"]);
    assert_eq!(answer.json()["errors"][0]["facts"], json!({"packages": "2", "packages_max": "2"}));
    assert_eq!(publish("a", "1.2.0").await.status, 201);
    assert_eq!(
        registry
            .publish_as(registry.token_of("bob").await.token.reveal(), &Pkg::new("e", "1.0.0"))
            .await
            .status,
        201
    );
    assert_eq!(registry.publish(&Pkg::new("f", "1.0.0")).await.status, 201);
    registry.assert_clean("after a limit").await;
}
