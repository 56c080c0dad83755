//! Signing in a machine at the provider where people sign in anyway.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_publisher::SignInProvider;
use drystone_schemas::{Registration, SecretText, Settings};
use drystone_storage::{Clock, Store};
use drystone_tests::{
    Answer, TestRegistry,
    checks::contents,
    issuer::{Issuer, IssuerKey},
};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    PASSWORD,
    device::{begin, form, poll, text},
    open_registry, post, register,
    second_factor::enrol,
    sign_in,
};

const BACK: &str = "/device/signed-in";
const SECRET: &str = "planted client secret/+";

fn provider(issuer: &Issuer) -> SignInProvider {
    SignInProvider {
        name: "Example & Sons".into(),
        issuer: issuer.url.clone(),
        client_id: "registry".into(),
        client_secret: Some(SecretText::new(SECRET)),
        makes_accounts: false,
    }
}

/// A registry where anybody may make an account, and people sign in at this issuer.
async fn registry_at(issuer: &Issuer) -> TestRegistry {
    open_registry().await.with_provider(provider(issuer)).await
}

/// Leaves for the provider; what is sent along.
async fn leave(registry: &TestRegistry, typed: &str) -> HashMap<String, String> {
    let page = text(&registry.get(&format!("/device?user_code={typed}")).await);
    let link = format!("<a href=\"/device/provider?user_code={typed}\">Sign in with Example &amp; Sons</a>");
    assert!(page.contains(&link), "{page}");
    let gone = registry.get(&format!("/device/provider?user_code={typed}")).await;
    assert_eq!(gone.status, 303, "{}", text(&gone));
    assert_eq!(
        (&gone.headers["cache-control"], &gone.headers["referrer-policy"]),
        (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
    );
    let url = url::Url::parse(gone.headers["location"].to_str().unwrap()).unwrap();
    assert_eq!(url.path(), "/authorize");
    let sent: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let kept = sent["state"].split('.').next().unwrap();
    assert_eq!(
        gone.headers["set-cookie"],
        format!("drystone-sign-in={kept}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax")
    );
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "registry"),
        ("redirect_uri", "http://registry.test/device/signed-in"),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
    sent
}

/// What the provider says of somebody who was sent with this.
fn claims_of(registry: &TestRegistry, sent: &HashMap<String, String>, subject: &str) -> Value {
    let now_s = registry.clock.now_unix_s();
    json!({
        "aud": "registry", "iat": now_s, "exp": now_s + 300, "nonce": sent["nonce"], "sub": subject,
        "preferred_username": "ann", "email": "ann@example.org", "email_verified": true
    })
}

/// Comes back in the browser that left.
async fn arrive(registry: &TestRegistry, brought: &[(&str, &str)]) -> Answer {
    let state = brought.iter().find(|(name, _)| *name == "state").unwrap().1;
    let cookie = format!("other=1; drystone-sign-in={}", state.split('.').next().unwrap());
    arrive_with(registry, brought, &cookie).await
}

async fn arrive_with(registry: &TestRegistry, brought: &[(&str, &str)], cookie: &str) -> Answer {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(brought).finish();
    let request = Request::get(format!("{BACK}?{query}")).header(header::COOKIE, cookie);
    registry.send(request.body(Body::empty()).unwrap()).await
}

/// Goes to the provider, is known there, and comes back; what the page says then, with its secret.
async fn through(registry: &TestRegistry, issuer: &Issuer, typed: &str, subject: &str) -> (String, String) {
    let sent = leave(registry, typed).await;
    issuer.let_in(&sent, "code-1", issuer.token(&claims_of(registry, &sent, subject)));
    let page = arrive(registry, &[("code", "code-1"), ("state", &sent["state"]), ("iss", &issuer.url)]).await;
    assert_eq!(page.status, 200, "{}", text(&page));
    let page = text(&page);
    let secret = page.split("name=\"page\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (page, secret)
}

async fn me(registry: &TestRegistry, device: &str) -> Value {
    registry.clock.advance(Duration::from_secs(60));
    let made = poll(registry, device).await;
    assert_eq!(made.status, 200, "{}", made.json());
    registry.ask_as(made.json()["token"].as_str().unwrap(), Method::GET, "/api/v1/me", None).await.json()
}

#[tokio::test]
async fn who_comes_for_the_first_time_makes_an_account_and_has_it_from_then_on() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = registry_at(&issuer).await;
    let (device, typed) = begin(&registry).await;
    let (page, secret) = through(&registry, &issuer, &typed, "person-4711").await;
    assert!(page.contains("name=\"new_login\" required value=\"ann\""), "{page}");
    // Having come back says nothing to the machine.
    poll(&registry, &device).await.assert_refused("nobody", 400, &["authorization-pending"]);
    let said = |login: &'static str, answer: &'static str| {
        [("page", &*secret), ("user_code", &typed), ("new_login", login), ("answer", answer)]
    };
    // A login that cannot be had can be chosen better.
    assert_eq!(form(&registry, BACK, &said("root", "yes")).await.status, 422);
    let done = form(&registry, BACK, &said("ann-of-example", "yes")).await;
    assert!(done.status == 200 && text(&done).contains("the machine is signed in"), "{}", text(&done));
    assert_eq!(me(&registry, &device).await["login"], "ann-of-example");
    // The client's name and secret went to the provider, encoded as RFC 6749 has it.
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        "registry:planted+client+secret%2F%2B",
    );
    assert_eq!(issuer.exchanges(), [Some(format!("Basic {basic}"))]);
    // The address is asked about like any other; the account has no password.
    assert!(!registry.mails.token_to("ann@example.org").is_empty());
    assert_eq!(sign_in(&registry, "ann-of-example", PASSWORD).await.status, 401);

    // The next time, at another process, there is nothing to ask but yes or no.
    let other = registry.with_provider(provider(&issuer)).await;
    let (device, typed) = begin(&other).await;
    let (page, secret) = through(&other, &issuer, &typed, "person-4711").await;
    assert!(
        page.contains("You are <strong>ann-of-example</strong>") && !page.contains("new_login"),
        "{page}"
    );
    let yes = [("page", &*secret), ("user_code", &typed), ("answer", "yes")];
    assert_eq!(form(&other, BACK, &yes).await.status, 200);
    assert_eq!(form(&other, BACK, &yes).await.status, 400, "once is enough");
    assert_eq!(me(&other, &device).await["login"], "ann-of-example");

    // Nothing of it lies in the vault but hashes.
    let plain = typed.replace('-', "");
    for (key, bytes) in contents(&*registry.store.vault).await {
        let bytes = String::from_utf8_lossy(&bytes).into_owned();
        for hidden in ["person-4711", SECRET, &typed, &plain, &secret, secret.split('.').next().unwrap()] {
            assert!(!key.contains(hidden) && !bytes.contains(hidden), "{key}");
        }
    }
}

#[tokio::test]
async fn who_has_an_account_already_joins_it_and_shows_its_second_factor() {
    let issuer = Issuer::start(IssuerKey::new_rsa()).await;
    let registry = registry_at(&issuer).await;
    let bob = register(&registry, "bob").await;
    let (device, typed) = begin(&registry).await;
    let (_, secret) = through(&registry, &issuer, &typed, "person-1").await;
    let by = |password: &'static str, code: &'static str| {
        [
            ("page", &*secret),
            ("user_code", &typed),
            ("username", "bob"),
            ("password", password),
            ("code", code),
            ("answer", "yes"),
        ]
    };
    assert_eq!(form(&registry, BACK, &by("four words of hers", "")).await.status, 401);
    assert_eq!(form(&registry, BACK, &by(PASSWORD, "")).await.status, 200);
    assert_eq!(me(&registry, &device).await["login"], "bob");

    // From now on the provider is enough; unless there is a second factor.
    let (_, recovery) = enrol(&registry, &bob, PASSWORD).await;
    let (device, typed) = begin(&registry).await;
    let (page, secret) = through(&registry, &issuer, &typed, "person-1").await;
    assert!(page.contains("You are <strong>bob</strong>") && page.contains("name=\"code\""), "{page}");
    let yes = |code: &str| {
        [("page", &*secret), ("user_code", &typed), ("answer", "yes"), ("code", code)]
            .map(|(name, value)| (name, value.to_owned()))
    };
    for (code, status) in [("", 401), ("000000", 401), (&*recovery[0], 200)] {
        let fields = yes(code);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(form(&registry, BACK, &fields).await.status, status, "{code}");
    }
    assert_eq!(me(&registry, &device).await["login"], "bob");

    // Another person of the provider's is somebody else.
    let (_, typed) = begin(&registry).await;
    let (page, _) = through(&registry, &issuer, &typed, "person-2").await;
    assert!(!page.contains("You are"), "{page}");
}

#[tokio::test]
async fn a_deleted_account_is_nobodys_at_the_provider() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = registry_at(&issuer).await;
    let bob = register(&registry, "bob").await;
    let (_, typed) = begin(&registry).await;
    let (_, secret) = through(&registry, &issuer, &typed, "person-1").await;
    let by = [
        ("page", &*secret),
        ("user_code", &typed),
        ("username", "bob"),
        ("password", PASSWORD),
        ("answer", "yes"),
    ];
    assert_eq!(form(&registry, BACK, &by).await.status, 200);
    let people = async || {
        contents(&*registry.store.vault).await.into_keys().filter(|key| key.starts_with("people/")).count()
    };
    assert_eq!(people().await, 1);
    let body = json!({"password": PASSWORD});
    let gone = registry.ask_as(&bob.token, Method::DELETE, "/api/v1/users/me", Some(body)).await;
    assert_eq!((gone.status, people().await), (200, 0), "{}", gone.json());
    let (_, typed) = begin(&registry).await;
    let (page, _) = through(&registry, &issuer, &typed, "person-1").await;
    assert!(!page.contains("You are"), "{page}");
}

#[tokio::test]
async fn nothing_counts_that_was_not_made_for_this_sign_in() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let registry = registry_at(&issuer).await;
    let (device, typed) = begin(&registry).await;
    let (_, other_typed) = begin(&registry).await;
    let with = |mut claims: Value, name: &str, value: Value| {
        claims[name] = value;
        claims
    };
    type Change<'a> = &'a dyn Fn(Value) -> Value;
    let changes: [(&str, Change<'_>); 5] = [
        ("another's nonce", &|claims| with(claims, "nonce", json!("n"))),
        ("another client's", &|claims| with(claims, "aud", json!("another"))),
        ("another issuer's", &|claims| with(claims, "iss", json!("https://id.example.org"))),
        ("over", &|claims| with(claims, "exp", json!(1_700_000_000))),
        ("nobody's", &|claims| with(claims, "sub", Value::Null)),
    ];
    for (what, change) in changes {
        let sent = leave(&registry, &typed).await;
        issuer.let_in(&sent, what, issuer.token(&change(claims_of(&registry, &sent, "person-1"))));
        let page = arrive(&registry, &[("code", what), ("state", &sent["state"])]).await;
        assert!(page.status == 400 && !text(&page).contains("name=\"page\""), "{what}: {}", text(&page));
    }
    let sent = leave(&registry, &typed).await;
    issuer.let_in(&sent, "forged", issuer.forged(&claims_of(&registry, &sent, "person-1")));
    assert_eq!(arrive(&registry, &[("code", "forged"), ("state", &sent["state"])]).await.status, 400);

    // A code counts for who left with its challenge, once; what comes back in another's name or for another machine, never.
    let sent = leave(&registry, &typed).await;
    let other = leave(&registry, &typed).await;
    issuer.let_in(&other, "others", issuer.token(&claims_of(&registry, &sent, "person-1")));
    assert_eq!(arrive(&registry, &[("code", "others"), ("state", &sent["state"])]).await.status, 503);
    let secret = |sent: &HashMap<String, String>| sent["state"].split('.').next().unwrap().to_owned();
    let sent = leave(&registry, &typed).await;
    issuer.let_in(&sent, "code", issuer.token(&claims_of(&registry, &sent, "person-1")));
    for state in ["", ".", "a.b", &secret(&sent), &format!("{}.{other_typed}", secret(&sent))] {
        assert_eq!(arrive(&registry, &[("code", "code"), ("state", state)]).await.status, 400, "{state}");
    }
    let brought = [("code", "code"), ("state", &*sent["state"])];
    // Somebody else's browser has not left with it.
    for cookie in
        ["", "drystone-sign-in=", "drystone-sign-in=another", &format!("xdrystone-sign-in={}", secret(&sent))]
    {
        assert_eq!(arrive_with(&registry, &brought, cookie).await.status, 400, "{cookie}");
    }
    let first = arrive(&registry, &brought).await;
    assert_eq!((first.status, arrive(&registry, &brought).await.status), (200, 400));
    let sent = leave(&registry, &typed).await;
    let mixed = [("code", "code"), ("state", &*sent["state"]), ("iss", "https://id.example.org")];
    assert_eq!(arrive(&registry, &mixed).await.status, 400);
    let sent = leave(&registry, &typed).await;
    let no = arrive(&registry, &[("error", "access_denied<b>"), ("state", &sent["state"])]).await;
    assert!(no.status == 403 && !text(&no).contains("<b>"), "{}", text(&no));
    issuer.set_down(true);
    let sent = leave(&registry, &typed).await;
    assert_eq!(arrive(&registry, &[("code", "down"), ("state", &sent["state"])]).await.status, 503);
    issuer.set_down(false);

    // The page's own secret answers, for its machine and in time, and nothing else does.
    let (_, page) = through(&registry, &issuer, &typed, "person-1").await;
    let (_, another) = through(&registry, &issuer, &typed, "person-1").await;
    let halves = |text: &str| text.split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let mixed = format!("{}.{}", halves(&page).0, halves(&another).1);
    for (secret, code) in [("", &typed), ("a.b", &typed), (&*mixed, &typed), (&*page, &other_typed)] {
        let fields = [("page", secret), ("user_code", code), ("new_login", "ann"), ("answer", "yes")];
        assert_eq!(form(&registry, BACK, &fields).await.status, 400, "{secret}");
    }
    poll(&registry, &device).await.assert_refused("nobody", 400, &["authorization-pending"]);
    let fields = [("page", &*page), ("user_code", &typed), ("answer", "no")];
    let said = form(&registry, BACK, &fields).await;
    assert!(said.status == 200 && text(&said).contains("is not signed in"), "{}", text(&said));
    registry.clock.advance(Duration::from_secs(60));
    poll(&registry, &device).await.assert_refused("no", 403, &["authorization-denied"]);
    let (_, typed) = begin(&registry).await;
    let (_, page) = through(&registry, &issuer, &typed, "person-1").await;
    registry.clock.advance(Duration::from_secs(600));
    let fields = [("page", &*page), ("user_code", &typed), ("new_login", "ann"), ("answer", "yes")];
    assert_eq!(form(&registry, BACK, &fields).await.status, 400, "late");
}

#[tokio::test]
async fn where_accounts_are_the_operators_the_provider_makes_them_only_if_it_may() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let settings =
        Settings { registration: Registration::Closed, ..Settings::new("test", "http://registry.test") };
    let closed = TestRegistry::with_settings(Store::memory(), settings).await;
    for makes_accounts in [false, true] {
        let provider = SignInProvider { makes_accounts, client_secret: None, ..provider(&issuer) };
        let registry = closed.with_provider(provider).await;
        let (device, typed) = begin(&registry).await;
        let (page, secret) = through(&registry, &issuer, &typed, "person-1").await;
        assert_eq!(page.contains("new_login"), makes_accounts, "{page}");
        let fields = [("page", &*secret), ("user_code", &typed), ("new_login", "ann"), ("answer", "yes")];
        let done = form(&registry, BACK, &fields).await;
        assert_eq!(done.status, if makes_accounts { 200 } else { 403 }, "{}", text(&done));
        if makes_accounts {
            assert_eq!(me(&registry, &device).await["login"], "ann");
            assert_eq!(issuer.exchanges().last(), Some(&None), "a public client has no secret");
        }
    }
    // Where there is no provider, nothing leads there.
    let (_, typed) = begin(&closed).await;
    assert!(!text(&closed.get(&format!("/device?user_code={typed}")).await).contains("/device/provider"));
    assert_eq!(closed.get(&format!("/device/provider?user_code={typed}")).await.status, 400);
    assert_eq!(arrive(&closed, &[("code", "code"), ("state", "a.b")]).await.status, 400);
    assert_eq!(post(&closed, "/api/v1/auth/device/token", &json!({"device_code": "x"})).await.status, 400);
}

#[tokio::test]
async fn over_tls_no_other_host_sets_what_the_browser_keeps() {
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let settings = Settings::new("test", "https://registry.test");
    let registry = TestRegistry::with_settings(Store::memory(), settings).await;
    let registry = registry.with_provider(provider(&issuer)).await;
    let codes = post(&registry, "/api/v1/auth/device", &json!({"name": "laptop"})).await.json();
    let typed = codes["user_code"].as_str().unwrap();
    let gone = registry.get(&format!("/device/provider?user_code={typed}")).await;
    let cookie = gone.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("__Host-drystone-sign-in=")
            && cookie.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
}
