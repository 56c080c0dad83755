//! Trusted publishing: a CI identity publishes what its package lets it, and every variant that is not it does not.

use std::time::Duration;

use axum::http::Method;
use drystone_schemas::{Provider, Settings, Sha256Digest, TrustedIssuer};
use drystone_storage::{Clock, Store};
use drystone_tests::{
    Answer, Pkg, TestRegistry,
    issuer::{Issuer, IssuerKey},
    process::{Server, User},
};
use serde_json::{Value, json};

use super::{PASSWORD, new_token, post, post_as, register};

const URL: &str = "http://registry.test";

async fn registry_with(issuer: &Issuer, provider: Provider) -> TestRegistry {
    let settings = Settings {
        registration: drystone_schemas::Registration::Open,
        issuers: vec![TrustedIssuer { url: issuer.url.clone(), provider }],
        ..Settings::new("test", URL)
    };
    TestRegistry::with_settings(Store::memory(), settings).await
}

fn workflow(issuer: &Issuer) -> Value {
    json!({
        "issuer": issuer.url, "provider": "github", "repository": "acme/http", "owner_id": "4711",
        "repository_id": "815", "workflow": "release.yml", "environment": "release"
    })
}

/// What a job of that workflow claims.
fn job(now_s: u64, jti: &str) -> Value {
    json!({
        "aud": URL, "iat": now_s, "nbf": now_s, "exp": now_s + 300, "jti": jti, "sub": "repo:acme/http",
        "repository": "acme/http", "repository_owner_id": "4711", "repository_id": "815",
        "job_workflow_ref": "acme/http/.github/workflows/release.yml@refs/tags/v1", "environment": "release",
        "event_name": "push", "runner_environment": "github-hosted"
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

async fn exchange(registry: &TestRegistry, jwt: &str, package: Option<&str>) -> Answer {
    post(registry, "/api/v1/trusted_publishing/tokens", &json!({"jwt": jwt, "package": package})).await
}

async fn exchanged(registry: &TestRegistry, jwt: &str, package: Option<&str>) -> String {
    let answer = exchange(registry, jwt, package).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// A registry with a package that trusts the workflow, as its owner made it.
async fn trusting(issuer: &Issuer) -> TestRegistry {
    let registry = registry_with(issuer, Provider::Github).await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let added = registry.ask(Method::POST, "/api/v1/packages/http/publishers", Some(workflow(issuer))).await;
    assert_eq!(added.status, 200, "{}", added.json());
    registry
}

#[tokio::test]
async fn a_ci_job_publishes_what_its_package_lets_it_and_nothing_else() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = trusting(&issuer).await;
    let again = registry.ask(Method::POST, "/api/v1/packages/http/publishers", Some(workflow(&issuer))).await;
    assert_eq!((again.status, again.json()["seq"].is_null()), (200, true));
    let now_s = registry.clock.now_unix_s();
    let token = exchanged(&registry, &issuer.token(&job(now_s, "one")), Some("http")).await;
    assert!(token.starts_with("dry_tp_"));
    assert_eq!(registry.publish_as(&token, &Pkg::new("http", "1.1.0")).await.status, 201);

    // The actor is the publisher, which the document names.
    let document = registry.ask(Method::GET, "/api/v1/packages/http", None).await.json();
    let publisher = &document["publishers"][0];
    assert_eq!((&publisher["workflow"], &publisher["provider"]), (&json!("release.yml"), &json!("github")));
    let listed = registry.ask(Method::GET, "/api/v1/packages/http/publishers", None).await.json();
    assert_eq!(listed["publishers"][0], *publisher);

    for (what, method, path, body) in [
        ("a yank", Method::POST, "/api/v1/packages/http/1.0.0/yank", Value::Null),
        ("owners", Method::PUT, "/api/v1/packages/http/owners", json!({"users": ["operator"]})),
        ("publishers", Method::POST, "/api/v1/packages/http/publishers", workflow(&issuer)),
        ("deprecation", Method::POST, "/api/v1/packages/http/deprecate", Value::Null),
        ("an alias", Method::PUT, "/api/v1/aliases/h", json!({"package": "http"})),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        registry.ask_as(&token, method, path, body).await.assert_refused(what, 403, &["token-scope"]);
    }
    registry.publish_as(&token, &Pkg::new("other", "1.0.0")).await.assert_refused(
        "a new one",
        403,
        &["token-scope"],
    );
    registry.publish(&Pkg::new("third", "1.0.0")).await;
    let third = registry.publish_as(&token, &Pkg::new("third", "1.1.0")).await;
    third.assert_refused("another package", 403, &["token-pattern"]);
    // Nor does it govern anything that is an account's.
    let made = post_as(&registry, &token, "/api/v1/users/me/tokens", &json!({"name": "x"})).await;
    made.assert_refused("a token", 403, &["session-needed"]);

    registry.clock.advance(Duration::from_secs(15 * 60 + 1));
    let late = registry.publish_as(&token, &Pkg::new("http", "1.2.0")).await;
    late.assert_refused("a quarter of an hour later", 401, &["token-expired"]);
    registry.assert_clean("after publishes by a CI job").await;
}

#[tokio::test]
async fn every_identity_that_is_not_the_publisher_is_refused() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let elsewhere = Issuer::start(IssuerKey::new_ec()).await;
    let registry = trusting(&issuer).await;
    let now_s = registry.clock.now_unix_s();
    let good = job(now_s, "good");
    let place = |file: &str| json!(format!("acme/http/.github/workflows/{file}@refs/heads/main"));
    let unsigned = issuer.token(&good).rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap();
    let hs256 = IssuerKey::new_ec()
        .sign(&json!({"alg": "HS256", "kid": "key-1"}), &with(good.clone(), "iss", json!(issuer.url)));
    let no_kid =
        IssuerKey::new_ec().sign(&json!({"alg": "ES256"}), &with(good.clone(), "iss", json!(issuer.url)));
    let mut cases = vec![
        ("no token".to_owned(), "x".to_owned(), 401, "identity-invalid"),
        ("forged".into(), issuer.forged(&good), 401, "identity-invalid"),
        ("unsigned".into(), unsigned, 401, "identity-invalid"),
        ("another algorithm".into(), hs256, 401, "identity-invalid"),
        ("no key".into(), no_kid, 401, "identity-invalid"),
        ("of an unknown issuer".into(), elsewhere.token(&good), 403, "issuer-unknown"),
        (
            "of another issuer with this one's name".into(),
            elsewhere.token(&with(good.clone(), "iss", json!(issuer.url))),
            401,
            "identity-invalid",
        ),
    ];
    for (name, value, status, code) in [
        ("aud", json!("http://other.test"), 401, "identity-invalid"),
        ("aud", json!([URL, "http://other.test"]), 401, "identity-invalid"),
        ("exp", json!(now_s - 61), 401, "identity-invalid"),
        ("exp", json!(now_s + 7_200), 401, "identity-invalid"),
        ("iat", json!(now_s + 120), 401, "identity-invalid"),
        ("nbf", json!(now_s + 120), 401, "identity-invalid"),
        ("jti", json!(""), 401, "identity-invalid"),
        ("repository", json!("evil/http"), 403, "identity-refused"),
        ("repository_owner_id", json!("4712"), 403, "identity-refused"),
        ("repository_id", json!("816"), 403, "identity-refused"),
        ("job_workflow_ref", place("test.yml"), 403, "identity-refused"),
        ("environment", json!("test"), 403, "identity-refused"),
        ("event_name", json!("pull_request_target"), 403, "identity-refused"),
        ("event_name", json!("workflow_run"), 403, "identity-refused"),
        ("aud", json!(format!("{URL}#other")), 403, "identity-refused"),
    ] {
        cases.push((
            format!("{name} = {value}"),
            issuer.token(&with(good.clone(), name, value)),
            status,
            code,
        ));
    }
    for (what, jwt, status, code) in &cases {
        exchange(&registry, jwt, Some("http")).await.assert_refused(what, *status, &[code]);
    }
    let nowhere = exchange(&registry, &issuer.token(&good), Some("nothing")).await;
    nowhere.assert_refused("a package that is not there", 403, &["identity-refused"]);
    let unnamed = exchange(&registry, &issuer.token(&good), None).await;
    unnamed.assert_refused("no package", 400, &["malformed-request"]);
    // None of them has used the token up.
    exchanged(&registry, &issuer.token(&good), Some("http")).await;
    let again = exchange(&registry, &issuer.token(&good), Some("http")).await;
    again.assert_refused("the same once more", 403, &["identity-used"]);
}

/// An exchange at two instances at once succeeds once; and a publisher that is removed ends what was exchanged before.
#[tokio::test]
async fn an_identity_is_used_once_and_ends_with_its_publisher() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = trusting(&issuer).await;
    let other = registry.another(Clone::clone).await;
    let now_s = registry.clock.now_unix_s();
    let jwt = issuer.token(&job(now_s, "one"));
    let (a, b) = tokio::join!(exchange(&registry, &jwt, Some("http")), exchange(&other, &jwt, Some("http")));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403]);
    let won = if a.status == 200 { a } else { b };
    let token = won.json()["token"].as_str().unwrap().to_owned();
    // Past its end and the leeway of clocks as well.
    registry.clock.advance(Duration::from_secs(361));
    exchange(&registry, &jwt, Some("http")).await.assert_refused("too late", 401, &["identity-invalid"]);

    let listed = registry.ask(Method::GET, "/api/v1/packages/http/publishers", None).await.json();
    let id = listed["publishers"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/packages/http/publishers/{id}");
    assert_eq!(registry.ask(Method::DELETE, &path, None).await.status, 200);
    let ended = other.publish_as(&token, &Pkg::new("http", "1.1.0")).await;
    ended.assert_refused("no publisher any more", 403, &["not-an-owner"]);
    let back = post(&registry, "/api/v1/trusted_publishing/tokens", &json!({})).await;
    assert_eq!(back.status, 400);
    let given_back = registry.ask_as(&token, Method::DELETE, "/api/v1/trusted_publishing/tokens", None).await;
    assert_eq!(given_back.status, 204);
    let gone = other.publish_as(&token, &Pkg::new("http", "1.1.0")).await;
    gone.assert_refused("given back", 401, &["token-invalid"]);
    registry.assert_clean("after a publisher has gone").await;
}

#[tokio::test]
async fn a_token_may_be_for_one_archive_alone() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = trusting(&issuer).await;
    let (right, wrong) = (Pkg::new("http", "1.1.0"), Pkg::new("http", "1.2.0"));
    let digest = Sha256Digest::of(&right.archive());
    let aud = json!(format!("{URL}#{digest}#http@1.1.0"));
    let jwt = issuer.token(&with(job(registry.clock.now_unix_s(), "one"), "aud", aud));
    let token = exchanged(&registry, &jwt, None).await;
    registry.publish_as(&token, &wrong).await.assert_refused("another archive", 403, &["token-bound"]);
    assert_eq!(registry.publish_as(&token, &right).await.status, 201);
}

#[tokio::test]
async fn keys_turn_and_an_issuer_that_is_away_is_asked_again() {
    let mut issuer = Issuer::start(IssuerKey::new_rsa()).await;
    let registry = trusting(&issuer).await;
    let try_as = async |issuer: &Issuer, jti: &str| {
        exchange(&registry, &issuer.token(&job(registry.clock.now_unix_s(), jti)), Some("http")).await
    };
    issuer.set_down(true);
    try_as(&issuer, "1").await.assert_refused("away", 503, &["issuer-unreachable"]);
    issuer.set_down(false);
    try_as(&issuer, "2").await.assert_refused("not asked again at once", 503, &["issuer-unreachable"]);
    assert_eq!(issuer.looks(), 1);
    registry.clock.advance(Duration::from_secs(61));
    assert_eq!(try_as(&issuer, "3").await.status, 200);
    assert_eq!(try_as(&issuer, "4").await.status, 200);
    assert_eq!(issuer.looks(), 2);
    // A key that is not known is looked for, but not by everybody who invents one.
    let old = issuer.token(&job(registry.clock.now_unix_s() + 62, "5"));
    issuer.turn_key(IssuerKey::new_ec());
    try_as(&issuer, "6").await.assert_refused("too soon", 401, &["identity-invalid"]);
    registry.clock.advance(Duration::from_secs(61));
    assert_eq!(try_as(&issuer, "7").await.status, 200);
    assert_eq!(issuer.looks(), 3);
    exchange(&registry, &old, Some("http")).await.assert_refused("withdrawn", 401, &["identity-invalid"]);
}

#[tokio::test]
async fn an_identity_waits_for_a_package_and_is_its_publisher_then() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = registry_with(&issuer, Provider::Github).await;
    let (ann, bob) = (register(&registry, "ann").await, register(&registry, "bob").await);
    let waits = "/api/v1/pending-publishers/ann%2Fhttp";
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let refused = post_as(&registry, &tool, waits, &workflow(&issuer)).await;
    refused.assert_refused("a token without the scope", 403, &["token-scope"]);
    let added = post_as(&registry, &ann.token, waits, &workflow(&issuer)).await;
    assert_eq!(added.status, 201, "{}", added.json());
    for (who, count) in [(&ann, 1), (&bob, 0)] {
        let listed = registry.ask_as(&who.token, Method::GET, waits, None).await.json();
        assert_eq!(listed["publishers"].as_array().unwrap().len(), count);
    }
    let job = |jti: &str| job(registry.clock.now_unix_s(), jti);
    let first = exchanged(&registry, &issuer.token(&job("one")), Some("ann/http")).await;
    assert_eq!(registry.publish_as(&first, &Pkg::new("ann/http", "1.0.0")).await.status, 201);
    let second = registry.publish_as(&first, &Pkg::new("ann/http", "1.1.0")).await;
    second.assert_refused("the token was for the first one", 403, &["token-scope"]);
    let next = exchanged(&registry, &issuer.token(&job("two")), Some("ann/http")).await;
    assert_eq!(registry.publish_as(&next, &Pkg::new("ann/http", "1.1.0")).await.status, 201);
    let document = registry.ask(Method::GET, "/api/v1/packages/ann%2Fhttp", None).await.json();
    assert_eq!(document["owners"][0]["account"], json!(ann.id));
    assert_eq!(document["publishers"][0]["repository"], "acme/http");
    let left = registry.ask_as(&ann.token, Method::GET, waits, None).await.json();
    assert_eq!(left["publishers"], json!([]));

    // Whoever is first has the name; one who waited has nothing there.
    let waits = "/api/v1/pending-publishers/free";
    assert_eq!(post_as(&registry, &ann.token, waits, &workflow(&issuer)).await.status, 201);
    assert_eq!(registry.publish_as(&bob.token, &Pkg::new("free", "1.0.0")).await.status, 201);
    let late = exchange(&registry, &issuer.token(&job("three")), Some("free")).await;
    late.assert_refused("bob was first", 403, &["identity-refused"]);

    // An account that is gone has nobody waiting for it, and its tokens go with it.
    let waits = "/api/v1/pending-publishers/later";
    assert_eq!(post_as(&registry, &ann.token, waits, &workflow(&issuer)).await.status, 201);
    let token = exchanged(&registry, &issuer.token(&job("four")), Some("later")).await;
    let gone =
        registry.ask_as(&ann.token, Method::DELETE, "/api/v1/users/me", Some(json!({"password": PASSWORD})));
    assert_eq!(gone.await.status, 200);
    let late = registry.publish_as(&token, &Pkg::new("later", "1.0.0")).await;
    late.assert_refused("of an account that is gone", 401, &["token-invalid"]);
    let late = exchange(&registry, &issuer.token(&job("five")), Some("later")).await;
    late.assert_refused("of an account that is gone", 403, &["identity-refused"]);
    registry.assert_clean("after identities that waited").await;
}

#[tokio::test]
async fn publishers_that_cannot_be_are_refused() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = trusting(&issuer).await;
    let add =
        async |body: Value| registry.ask(Method::POST, "/api/v1/packages/http/publishers", Some(body)).await;
    for (name, value, status, code) in [
        ("repository", json!("acme"), 422, "invalid-publisher"),
        ("owner_id", json!("acme"), 422, "invalid-publisher"),
        ("workflow", json!("../release.yml"), 422, "invalid-publisher"),
        ("issuer", json!("https://other.test"), 403, "issuer-unknown"),
        ("provider", json!("jenkins"), 400, "malformed-request"),
    ] {
        add(with(workflow(&issuer), name, value)).await.assert_refused(name, status, &[code]);
    }
    let oidc = json!({"issuer": issuer.url, "provider": "oidc", "claims": {"sub": "x"}});
    add(oidc).await.assert_refused("another provider's claims", 422, &["invalid-publisher"]);
    for n in 1..10 {
        assert_eq!(
            add(with(workflow(&issuer), "workflow", json!(format!("{n}.yml")))).await.status,
            200,
            "{n}"
        );
    }
    add(with(workflow(&issuer), "workflow", json!("10.yml"))).await.assert_refused(
        "the 11th",
        403,
        &["publisher-limit"],
    );
}

/// The whole way: `drystone serve`, an issuer on loopback, and `drystone publish` in a job without a token.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_publishes_from_the_command_line() {
    let issuer = Issuer::start(IssuerKey::new_rsa()).await;
    let dir = tempfile::tempdir().unwrap();
    let (data, token_file) = (dir.path().join("data"), dir.path().join("token"));
    let of = format!("oidc={}", issuer.url);
    let arguments = [
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--token-file",
        token_file.to_str().unwrap(),
        "--issuer",
        &of,
    ];
    let server = Server::start(&arguments, &[]);
    let operator = User::new(&server.url, Some(fs_err::read_to_string(&token_file).unwrap().trim()));
    let here = dir.path().join("http");
    operator.ok(dir.path(), &["init", "http"]);
    fs_err::write(here.join("http.txt"), "one\n").unwrap();
    operator.ok(&here, &["publish"]);
    let claims = ["--claim", "sub=job:release", "--claim", "ref=main"];
    operator.ok(&here, &[&["trust-publisher", "add", "http", "oidc"][..], &claims].concat());
    let listed = operator.ok(&here, &["trust-publisher", "list", "http"]);
    assert!(listed.contains("sub=job:release"), "{listed}");

    let manifest = fs_err::read_to_string(here.join("drystone.toml")).unwrap();
    fs_err::write(here.join("drystone.toml"), manifest.replace("0.1.0", "0.2.0")).unwrap();
    let now_s = drystone_storage::SystemClock.now_unix_s();
    let jwt = |jti: &str, git_ref: &str| {
        issuer.token(&json!({
            "aud": server.url, "iat": now_s, "exp": now_s + 300, "jti": jti, "sub": "job:release", "ref": git_ref
        }))
    };
    let stranger = User::new(&server.url, None);
    let as_job = |jwt: &str| User::new(&server.url, None).with("DRYSTONE_ID_TOKEN", jwt);
    let refused = as_job(&jwt("1", "pull")).run(&here, &["publish"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(4) && told.contains("does not trust this CI identity"), "{told}");
    let published = as_job(&jwt("2", "main")).run(&here, &["publish"]);
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    stranger.ok(&here, &["verify", "http@0.2.0"]);
    let token = as_job(&jwt("3", "main")).run(&here, &["ci-token", "--package", "http"]);
    assert!(String::from_utf8_lossy(&token.stdout).starts_with("dry_tp_"), "{token:?}");
    assert_eq!(stranger.run(&here, &["publish"]).status.code(), Some(4));
    operator.ok(&here, &["fsck", &server.url]);
}
