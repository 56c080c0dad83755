//! Who may do what: every address of the API, asked by every kind of caller, beside the table in `docs/access.md`.
//!
//! The table is both documentation and expectation: `DRYSTONE_UPDATE=1` writes it anew, and whoever changes it reads it.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use axum::http::Method;
use drystone_publisher::Scope;
use drystone_schemas::{Login, Provider, Registration, Settings, TrustedIssuer};
use drystone_storage::{Clock, Store};
use drystone_tests::{
    Pkg, TestRegistry,
    checks::{contents, overwrite},
    issuer::{Issuer, IssuerKey},
};
use serde_json::{Value, json};

use super::{PASSWORD, Session, ask_from, new_token, post, register};

/// Who asks, in the order of the columns.
const CALLERS: [(&str, &str); 14] = [
    ("none", "nobody: no token"),
    ("reader", "a token of the owner with the scope `read` alone"),
    ("stranger", "the owner of another package, with a token for everything ordinary"),
    ("collab", "a collaborator of the package"),
    ("member", "a member of an organisation that owns the package, as a collaborator there"),
    ("owner", "an owner of the package, with a token for everything ordinary"),
    ("session", "the same owner, signed in"),
    ("scope", "a token of the owner for another scope: `alias` alone"),
    ("pattern", "a token of the owner for other packages"),
    ("expired", "a token of the owner that has expired"),
    ("revoked", "a token of the owner that was revoked"),
    ("ci", "a CI job that the package trusts"),
    ("admin", "the operator's token"),
    ("chief", "an administrator, signed in"),
];

/// A public key of an author: that of RFC 8032 section 7.1, test 1.
const AUTHOR_KEY: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// What is asked.
enum Ask {
    /// A request with a JSON body, or none.
    Json(Method, &'static str, Value),
    /// `POST /api/v1/packages` with this release.
    Publish(&'static str, &'static str),
}

fn get(path: &'static str) -> Ask {
    Ask::Json(Method::GET, path, Value::Null)
}

fn change(method: Method, path: &'static str) -> Ask {
    Ask::Json(method, path, Value::Null)
}

/// Everything that may be asked, in the order of the rows. `PUBLISHER`, `WAITING` and `TOKEN` stand for ids.
fn asks(issuer: &Issuer) -> Vec<(&'static str, Ask)> {
    let (bob, role) = (json!({"users": ["bob"]}), json!({"role": "collaborator"}));
    let identity = json!({
        "issuer": issuer.url, "provider": "oidc", "claims": {"sub": "another job"}
    });
    let both = json!({"password": PASSWORD, "code": "000000"});
    let json = |method, path, body: &Value| Ask::Json(method, path, body.clone());
    vec![
        ("GET /healthz", get("/healthz")),
        ("GET /readyz", get("/readyz")),
        ("GET /me", get("/me")),
        ("GET /config.json", get("/config.json")),
        ("GET /index/ht/tp/http", get("/index/ht/tp/http")),
        ("GET /packages/http.json", get("/packages/http.json")),
        ("GET /log/checkpoint", get("/log/checkpoint")),
        ("GET /api/v1/registry/config", get("/api/v1/registry/config")),
        ("GET /api/v1/registry/access", get("/api/v1/registry/access")),
        ("GET /api/v1/resolve/ALIAS", get("/api/v1/resolve/h")),
        ("GET /api/v1/search", get("/api/v1/search?q=http")),
        ("GET /api/v1/crates", get("/api/v1/crates?q=http")),
        ("GET /api/v1/packages/NAME", get("/api/v1/packages/http")),
        ("GET /api/v1/packages/NAME/VERSION", get("/api/v1/packages/http/1.0.0")),
        ("GET /api/v1/packages/NAME/VERSION/download", get("/api/v1/packages/http/1.0.0/download")),
        ("GET /api/v1/packages/NAME/owners", get("/api/v1/packages/http/owners")),
        ("GET /api/v1/packages/NAME/publishers", get("/api/v1/packages/http/publishers")),
        ("GET /api/v1/crates/NAME/owners", get("/api/v1/crates/http/owners")),
        ("GET /api/v1/users/LOGIN", get("/api/v1/users/ann")),
        ("GET /api/v1/auth/keys", get("/api/v1/auth/keys")),
        ("POST /api/v1/packages (new package)", Ask::Publish("fresh", "1.0.0")),
        ("POST /api/v1/packages (new, below a login of the owner)", Ask::Publish("ann/fresh", "1.0.0")),
        ("POST /api/v1/packages (new version)", Ask::Publish("http", "1.2.0")),
        (
            "POST /api/v1/uploads",
            json(Method::POST, "/api/v1/uploads", &json!({"sha256": "00".repeat(32), "size": 100})),
        ),
        ("POST .../NAME/VERSION/yank", change(Method::POST, "/api/v1/packages/http/1.0.0/yank")),
        ("POST .../NAME/VERSION/unyank", change(Method::POST, "/api/v1/packages/http/1.1.0/unyank")),
        ("DELETE .../NAME/VERSION", change(Method::DELETE, "/api/v1/packages/http/1.0.0")),
        ("DELETE /api/v1/crates/NAME/VERSION/yank", change(Method::DELETE, "/api/v1/crates/http/1.0.0/yank")),
        ("PUT /api/v1/crates/NAME/VERSION/unyank", change(Method::PUT, "/api/v1/crates/http/1.1.0/unyank")),
        ("POST .../NAME/deprecate", change(Method::POST, "/api/v1/packages/http/deprecate")),
        ("POST .../NAME/undeprecate", change(Method::POST, "/api/v1/packages/old/undeprecate")),
        (
            "POST .../NAME/VERSION/delete",
            json(Method::POST, "/api/v1/packages/http/1.0.0/delete", &json!({"code": "spam"})),
        ),
        ("PUT .../NAME/owners", json(Method::PUT, "/api/v1/packages/http/owners", &bob)),
        ("DELETE .../NAME/owners", json(Method::DELETE, "/api/v1/packages/http/owners", &bob)),
        ("PUT .../NAME/transfer", json(Method::PUT, "/api/v1/packages/http/transfer", &json!({"to": "bob"}))),
        (
            "DELETE .../NAME/transfer (to the stranger)",
            change(Method::DELETE, "/api/v1/packages/old/transfer"),
        ),
        (
            "POST .../NAME/transfer/accept (to the stranger)",
            change(Method::POST, "/api/v1/packages/old/transfer/accept"),
        ),
        ("PUT /api/v1/crates/NAME/owners", json(Method::PUT, "/api/v1/crates/http/owners", &bob)),
        ("DELETE /api/v1/crates/NAME/owners", json(Method::DELETE, "/api/v1/crates/http/owners", &bob)),
        ("POST .../NAME/publishers", json(Method::POST, "/api/v1/packages/http/publishers", &identity)),
        (
            "DELETE .../NAME/publishers/ID",
            change(Method::DELETE, "/api/v1/packages/http/publishers/PUBLISHER"),
        ),
        ("PUT .../NAME/keys", json(Method::PUT, "/api/v1/packages/http/keys", &json!({"key": AUTHOR_KEY}))),
        (
            "DELETE .../NAME/keys",
            json(Method::DELETE, "/api/v1/packages/old/keys", &json!({"key": AUTHOR_KEY})),
        ),
        (
            "PUT .../NAME/policy",
            json(Method::PUT, "/api/v1/packages/old/policy", &json!({"threshold": 1, "keys": [AUTHOR_KEY]})),
        ),
        (
            "PUT /api/v1/aliases/ALIAS",
            json(Method::PUT, "/api/v1/aliases/hyper", &json!({"package": "http"})),
        ),
        ("DELETE /api/v1/aliases/ALIAS", change(Method::DELETE, "/api/v1/aliases/h")),
        ("GET /api/v1/pending-publishers/NAME", get("/api/v1/pending-publishers/fresh")),
        (
            "POST /api/v1/pending-publishers/NAME",
            json(Method::POST, "/api/v1/pending-publishers/fresh", &identity),
        ),
        (
            "DELETE /api/v1/pending-publishers/NAME/ID",
            change(Method::DELETE, "/api/v1/pending-publishers/fresh/WAITING"),
        ),
        ("GET /api/v1/me", get("/api/v1/me")),
        ("GET /api/v1/users/me", get("/api/v1/users/me")),
        ("GET /api/v1/users/me/tokens", get("/api/v1/users/me/tokens")),
        ("GET /api/v1/users/me/events", get("/api/v1/users/me/events")),
        ("GET /api/v1/users/me/second-factor", get("/api/v1/users/me/second-factor")),
        (
            "POST /api/v1/users/me/second-factor",
            json(Method::POST, "/api/v1/users/me/second-factor", &json!({"password": PASSWORD})),
        ),
        (
            "POST /api/v1/users/me/second-factor/confirm (none begun)",
            json(Method::POST, "/api/v1/users/me/second-factor/confirm", &json!({"code": "000000"})),
        ),
        (
            "POST /api/v1/users/me/second-factor/recovery-codes (none)",
            json(Method::POST, "/api/v1/users/me/second-factor/recovery-codes", &both),
        ),
        (
            "DELETE /api/v1/users/me/second-factor (none)",
            json(Method::DELETE, "/api/v1/users/me/second-factor", &both),
        ),
        (
            "POST /api/v1/users/me/tokens",
            json(Method::POST, "/api/v1/users/me/tokens", &json!({"name": "new"})),
        ),
        (
            "POST /api/v1/users/me/tokens/ID/rotate",
            change(Method::POST, "/api/v1/users/me/tokens/TOKEN/rotate"),
        ),
        ("DELETE /api/v1/users/me/tokens/ID", change(Method::DELETE, "/api/v1/users/me/tokens/TOKEN")),
        ("DELETE /api/v1/users/me", json(Method::DELETE, "/api/v1/users/me", &json!({"password": PASSWORD}))),
        ("GET /device", get("/device")),
        ("GET /device/provider (there is none)", get("/device/provider?user_code=BBBB-BBBB")),
        ("GET /device/signed-in (nobody has left)", get("/device/signed-in?state=a.b&code=c")),
        ("POST /api/v1/auth/device", json(Method::POST, "/api/v1/auth/device", &json!({"name": "laptop"}))),
        (
            "POST /api/v1/auth/device/answer (no such code)",
            json(
                Method::POST,
                "/api/v1/auth/device/answer",
                &json!({"user_code": "BBBB-BBBB", "approve": true}),
            ),
        ),
        ("POST /api/v1/auth/verify/send", change(Method::POST, "/api/v1/auth/verify/send")),
        (
            "POST /api/v1/auth/password/change",
            json(
                Method::POST,
                "/api/v1/auth/password/change",
                &json!({"old_password": PASSWORD, "new_password": "quite another phrase"}),
            ),
        ),
        ("POST /api/v1/auth/logout", change(Method::POST, "/api/v1/auth/logout")),
        (
            "DELETE /api/v1/trusted_publishing/tokens",
            change(Method::DELETE, "/api/v1/trusted_publishing/tokens"),
        ),
        ("GET /api/v1/orgs/ORG", get("/api/v1/orgs/acme")),
        ("POST /api/v1/orgs", json(Method::POST, "/api/v1/orgs", &json!({"name": "brand-new"}))),
        ("POST /api/v1/orgs/ORG/join", change(Method::POST, "/api/v1/orgs/acme/join")),
        ("PUT /api/v1/orgs/ORG/members/LOGIN", json(Method::PUT, "/api/v1/orgs/acme/members/eve", &role)),
        ("PUT /api/v1/orgs/ORG/teams/TEAM", change(Method::PUT, "/api/v1/orgs/acme/teams/docs")),
        ("DELETE /api/v1/orgs/ORG/teams/TEAM", change(Method::DELETE, "/api/v1/orgs/acme/teams/core")),
        (
            "PUT /api/v1/orgs/ORG/teams/TEAM/members/LOGIN",
            change(Method::PUT, "/api/v1/orgs/acme/teams/core/members/ann"),
        ),
        (
            "DELETE /api/v1/orgs/ORG/teams/TEAM/members/LOGIN",
            change(Method::DELETE, "/api/v1/orgs/acme/teams/core/members/mia"),
        ),
        ("DELETE /api/v1/orgs/ORG/members/LOGIN", change(Method::DELETE, "/api/v1/orgs/acme/members/mia")),
    ]
}

/// A registry with a package, people around it, and a token for each caller.
struct World {
    registry: TestRegistry,
    /// In the order of [`CALLERS`].
    tokens: Vec<Option<String>>,
    publisher: String,
    waiting: String,
    token: String,
    /// What both areas hold.
    files: [std::collections::BTreeMap<String, Vec<u8>>; 2],
}

impl World {
    async fn new(issuer: &Issuer) -> Self {
        let settings = Settings {
            registration: Registration::Open,
            issuers: vec![TrustedIssuer { url: issuer.url.clone(), provider: Provider::Oidc }],
            ..Settings::new("test", "http://registry.test")
        };
        let registry = TestRegistry::with_settings(Store::memory(), settings).await;
        let all = [&Scope::ORDINARY[..], &[Scope::TrustedPublishing]].concat();
        let made = async |login: &str, scopes: Vec<Scope>, valid_s: Option<u64>| {
            let login = Login::new(login).unwrap();
            let made = registry.service.make_token(&login, "test", scopes, valid_s).await.unwrap();
            made.token.reveal().to_owned()
        };
        let ann = register(&registry, "ann").await;
        let (owner, reader) =
            (made("ann", all.clone(), None).await, made("ann", vec![Scope::Read], None).await);
        let (scope, expired) =
            (made("ann", vec![Scope::Alias], None).await, made("ann", all.clone(), Some(1)).await);
        let (pattern, _) = new_token(
            &registry,
            &ann,
            &json!({"name": "p", "packages": ["zz*"], "scopes": [
                "publish-new", "publish-update", "yank", "owners", "alias", "trusted-publishing"
            ]}),
        )
        .await;
        let (revoked, id) = new_token(&registry, &ann, &json!({"name": "r"})).await;
        registry.ask_as(&ann.token, Method::DELETE, &format!("/api/v1/users/me/tokens/{id}"), None).await;
        let (_, token) = new_token(&registry, &ann, &json!({"name": "kept"})).await;
        let (bob, mia) = (made("bob", all.clone(), None).await, made("mia", all.clone(), None).await);
        let eve = made("eve", all.clone(), None).await;
        for (by, package) in [
            (&owner, Pkg::new("http", "1.0.0")),
            (&owner, Pkg::new("http", "1.1.0")),
            (&owner, Pkg::new("old", "1.0.0")),
            (&eve, Pkg::new("other", "1.0.0")),
        ] {
            assert_eq!(registry.publish_as(by, &package).await.status, 201);
        }
        let sure = async |by: &str, method: Method, path: &str, body: Value| {
            let body = Some(body).filter(|body| !body.is_null());
            let answer = registry.ask_as(by, method, path, body).await;
            assert!((200..300).contains(&answer.status), "{path}: {}", answer.json());
            answer.json()
        };
        sure(&ann.token, Method::POST, "/api/v1/orgs", json!({"name": "acme"})).await;
        sure(&ann.token, Method::PUT, "/api/v1/orgs/acme/members/mia", json!({"role": "collaborator"})).await;
        let mia_session = Self::signed_in(&registry, "mia").await;
        sure(&mia_session, Method::POST, "/api/v1/orgs/acme/join", Value::Null).await;
        sure(&ann.token, Method::PUT, "/api/v1/orgs/acme/teams/core", Value::Null).await;
        sure(&ann.token, Method::PUT, "/api/v1/orgs/acme/teams/core/members/mia", Value::Null).await;
        let owners = "/api/v1/packages/http/owners";
        sure(&owner, Method::PUT, owners, json!({"users": ["acme"]})).await;
        sure(&owner, Method::PUT, owners, json!({"users": ["bob"], "role": "collaborator"})).await;
        let identity = json!({"issuer": issuer.url, "provider": "oidc", "claims": {"sub": "job"}});
        sure(&owner, Method::POST, "/api/v1/packages/http/publishers", identity.clone()).await;
        for (method, path, body) in [
            (Method::PUT, "/api/v1/packages/old/keys", json!({"key": AUTHOR_KEY})),
            (Method::POST, "/api/v1/packages/http/1.1.0/yank", Value::Null),
            (Method::POST, "/api/v1/packages/old/deprecate", Value::Null),
            (Method::PUT, "/api/v1/aliases/h", json!({"package": "http"})),
            (Method::PUT, "/api/v1/packages/old/transfer", json!({"to": "eve"})),
        ] {
            sure(&owner, method, path, body).await;
        }
        let waiting = sure(&owner, Method::POST, "/api/v1/pending-publishers/fresh", identity).await;
        let listed = registry.get("/api/v1/packages/http/publishers").await.json();
        let now_s = registry.clock.now_unix_s();
        let jwt = issuer.token(&json!({
            "aud": "http://registry.test", "iat": now_s, "exp": now_s + 300, "jti": "1", "sub": "job"
        }));
        let ci =
            post(&registry, "/api/v1/trusted_publishing/tokens", &json!({"jwt": jwt, "package": "http"}))
                .await;
        let chief = Self::signed_in(&registry, "chief").await;
        registry.clock.advance(Duration::from_secs(2));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let tokens = vec![
            None,
            Some(reader),
            Some(eve),
            Some(bob),
            Some(mia),
            Some(owner),
            Some(ann.token),
            Some(scope),
            Some(pattern),
            Some(expired),
            Some(revoked),
            Some(text(&ci.json()["token"])),
            Some(registry.admin.clone()),
            Some(chief),
        ];
        let files = [contents(&*registry.store.public).await, contents(&*registry.store.vault).await];
        let (publisher, waiting) = (text(&listed["publishers"][0]["id"]), text(&waiting["id"]));
        Self { registry, tokens, publisher, waiting, token, files }
    }

    /// A session of somebody whose password the operator sets; an administrator if they are called so.
    async fn signed_in(registry: &TestRegistry, login: &str) -> String {
        let name = Login::new(login).unwrap();
        let secret = drystone_schemas::SecretText::new(PASSWORD);
        registry.service.make_person(&name, &secret, login == "chief").await.unwrap();
        Session::of(&super::sign_in(registry, login, PASSWORD).await).token
    }

    /// The same again, untouched.
    async fn again(&self) -> TestRegistry {
        let store = Store::memory();
        for (area, files) in [&store.public, &store.vault].into_iter().zip(&self.files) {
            for (key, bytes) in files {
                overwrite(&**area, key, Some(bytes)).await;
            }
        }
        self.registry.another(|_| store).await
    }

    async fn ask(&self, registry: &TestRegistry, ask: &Ask, token: Option<&str>) -> String {
        let answer = match ask {
            Ask::Json(method, path, body) => {
                let path = path.replace("PUBLISHER", &self.publisher).replace("WAITING", &self.waiting);
                let path = path.replace("TOKEN", &self.token);
                ask_from(registry, None, token, method.clone(), &path, body).await
            }
            Ask::Publish(name, version) => match token {
                Some(token) => registry.publish_as(token, &Pkg::new(name, version)).await,
                None => ask_from(registry, None, None, Method::POST, "/api/v1/packages", &json!({})).await,
            },
        };
        let is_page =
            answer.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if answer.status < 400 || is_page {
            return answer.status.to_string();
        }
        format!("{} {}", answer.status, answer.codes().join(" "))
    }
}

fn document() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/access.md")
}

#[expect(clippy::disallowed_methods, reason = "a test that refreshes a checked-in file")]
#[tokio::test]
async fn every_caller_gets_what_the_table_says() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let world = World::new(&issuer).await;
    let mut text = "# Who may do what\n\nMade by `tests/tests/accounts/matrix.rs`, which asks every address as every kind of caller, in a registry with public reads; it fails\n\
         where an answer is another one than this table says. With private reads every `GET` but those of health, `/me` and the keys\n\
         needs a token of any kind. A cell is a status, and the code of the refusal. Registration, sign-in, refresh, the addresses that\n\
         take a mailed token, the exchange of CI identities and reports of leaked tokens look at no token.\n\n\
         | caller | who |\n|---|---|\n"
        .to_owned();
    for (name, who) in CALLERS {
        writeln!(text, "| {name} | {who} |").unwrap();
    }
    let names: Vec<&str> = CALLERS.iter().map(|(name, _)| *name).collect();
    write!(text, "\n| request | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len())).unwrap();
    let mut registry = world.again().await;
    for (what, ask) in asks(&issuer) {
        let mut cells = Vec::new();
        for token in &world.tokens {
            let reads = matches!(&ask, Ask::Json(method, ..) if *method == Method::GET);
            let cell = world.ask(&registry, &ask, token.as_deref()).await;
            if !reads && cell.len() == 3 {
                registry = world.again().await;
            }
            cells.push(cell);
        }
        writeln!(text, "| `{what}` | {} |", cells.join(" | ")).unwrap();
    }
    assert!(!text.contains("| 5"), "an answer is a failure of the server:\n{text}");
    if std::env::var_os("DRYSTONE_UPDATE").is_some() {
        fs_err::write(document(), &text).unwrap();
    }
    let there = fs_err::read_to_string(document()).unwrap_or_default();
    for (line, expected) in text.lines().zip(there.lines()) {
        assert_eq!(
            line, expected,
            "docs/access.md says otherwise; with DRYSTONE_UPDATE=1 it is written anew"
        );
    }
    assert_eq!(text, there);
}
