//! Codes beside the password: enrolling, signing in, recovering, giving up.

use std::time::Duration;

use axum::http::Method;
use drystone_schemas::{AccountId, Limits, Login};
use drystone_storage::Clock;
use drystone_tests::{Answer, TestRegistry, checks::contents};
use serde_json::{Value, json};

use super::{
    PASSWORD, Session, address_of, new_token, open_registry, post, post_as, register, register_verified,
    sign_in, with_limits,
};

const PATH: &str = "/api/v1/users/me/second-factor";
const STEP: Duration = Duration::from_secs(30);

/// An authenticator app: RFC 6238, with SHA-1, six digits and 30 seconds.
pub(super) struct App {
    pub(super) secret: String,
    key: Vec<u8>,
}

impl App {
    /// An app that was told this secret, in base 32.
    pub(super) fn told(secret: &str) -> Self {
        let digit = |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|d| *d == c).unwrap() as u64;
        let word = |eight: &[u8]| eight.iter().fold(0, |word, c| word << 5 | digit(*c)).to_be_bytes();
        let key = secret.as_bytes().chunks(8).flat_map(|eight| word(eight)[3..].to_vec()).collect();
        Self { secret: secret.to_owned(), key }
    }

    fn code(&self, registry: &TestRegistry) -> String {
        self.code_at(registry.clock.now_unix_s())
    }

    /// What it shows at this time, in seconds since 1970.
    pub(super) fn code_at(&self, now_s: u64) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.key);
        let step = now_s / STEP.as_secs();
        let tag = ring::hmac::sign(&key, &step.to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    }

    /// The next code, which nobody has used.
    pub(super) fn next(&self, registry: &TestRegistry) -> String {
        registry.clock.advance(STEP);
        self.code(registry)
    }
}

/// Enrols an app, with its recovery codes.
pub(super) async fn enrol(registry: &TestRegistry, session: &Session, password: &str) -> (App, Vec<String>) {
    let begun = post_as(registry, &session.token, PATH, &json!({"password": password})).await;
    assert_eq!(begun.status, 201, "{}", begun.json());
    let app = App::told(begun.json()["secret"].as_str().unwrap());
    let code = json!({"code": app.next(registry)});
    let confirmed = post_as(registry, &session.token, &format!("{PATH}/confirm"), &code).await;
    (app, recovery_codes(&confirmed))
}

fn recovery_codes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let codes = answer.json()["recovery_codes"].clone();
    codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

pub(super) async fn sign_in_with(registry: &TestRegistry, login: &str, password: &str, code: &str) -> Answer {
    let asked = json!({"username": login, "password": password, "code": code});
    post(registry, "/api/v1/auth/login", &asked).await
}

async fn status(registry: &TestRegistry, token: &str) -> Value {
    registry.ask_as(token, Method::GET, PATH, None).await.json()
}

/// A registry in which many codes are tried.
async fn patient_registry() -> TestRegistry {
    with_limits(Limits { logins_per_5_minutes_max: 1_000, ..Limits::default() }).await
}

#[tokio::test]
async fn signing_in_takes_a_code_once_one_was_confirmed() {
    let registry = patient_registry().await;
    let ann = register_verified(&registry, "ann").await;
    let elsewhere = Session::of(&sign_in(&registry, "ann", PASSWORD).await);
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    assert_eq!(status(&registry, &tool).await, json!({"enabled": false, "recovery_codes_left": 0}));

    // Beginning takes the password, and changes nothing; the last secret counts.
    let wrong = post_as(&registry, &ann.token, PATH, &json!({"password": "four words of hers"})).await;
    wrong.assert_refused("another password", 401, &["login-failed"]);
    let begun = post_as(&registry, &ann.token, PATH, &json!({"password": PASSWORD})).await.json();
    let first = App::told(begun["secret"].as_str().unwrap());
    let (uri, secret) = (begun["uri"].as_str().unwrap(), begun["secret"].as_str().unwrap());
    assert!(uri.starts_with("otpauth://totp/test:ann?secret=") && uri.contains(secret), "{uri}");
    assert_eq!(sign_in(&registry, "ann", PASSWORD).await.status, 200);
    let begun = post_as(&registry, &ann.token, PATH, &json!({"password": PASSWORD})).await.json();
    let app = App::told(begun["secret"].as_str().unwrap());
    let confirm = async |code: String| {
        post_as(&registry, &ann.token, &format!("{PATH}/confirm"), &json!({ "code": code })).await
    };
    confirm(first.code(&registry)).await.assert_refused("overtaken", 401, &["second-factor-invalid"]);
    let codes = recovery_codes(&confirm(app.code(&registry)).await);
    assert_eq!(codes.len(), 10);
    confirm(app.next(&registry)).await.assert_refused("twice", 409, &["second-factor-state"]);
    let again = post_as(&registry, &ann.token, PATH, &json!({"password": PASSWORD})).await;
    again.assert_refused("another app", 409, &["second-factor-state"]);
    let there = status(&registry, &tool).await;
    assert_eq!((&there["enabled"], &there["recovery_codes_left"]), (&json!(true), &json!(10)));

    // What began without a code has ended; this session and tokens of tools go on.
    let refreshed =
        post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": elsewhere.refresh})).await;
    refreshed.assert_refused("a session without a code", 401, &["session-ended"]);
    let me = async |token: &str| registry.ask_as(token, Method::GET, "/api/v1/users/me", None).await.status;
    assert_eq!((me(&elsewhere.token).await, me(&ann.token).await, me(&tool).await), (401, 200, 200));
    let refreshed = post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": ann.refresh})).await;
    assert_eq!(refreshed.status, 200);

    // A code is asked for after the password alone, by login and by address; it works once, at every instance.
    let other = registry.another(Clone::clone).await;
    sign_in(&registry, "ann", PASSWORD).await.assert_refused("no code", 401, &["second-factor-needed"]);
    sign_in(&registry, &address_of("ann"), PASSWORD).await.assert_refused(
        "no code",
        401,
        &["second-factor-needed"],
    );
    let code = app.next(&registry);
    sign_in_with(&registry, "ann", "four words of hers", &code).await.assert_refused(
        "another password",
        401,
        &["login-failed"],
    );
    let both = tokio::join!(
        sign_in_with(&registry, "ann", PASSWORD, &code),
        sign_in_with(&other, "ann", PASSWORD, &code)
    );
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    // One step to either side, as people write it.
    registry.clock.advance(STEP * 5);
    let code = app.code(&registry);
    registry.clock.advance(STEP);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    assert_eq!(sign_in_with(&registry, "ann", PASSWORD, &spaced).await.status, 200);
    let late = app.next(&registry);
    registry.clock.advance(STEP * 2);
    let refused = sign_in_with(&registry, "ann", PASSWORD, &late).await;
    refused.assert_refused("two steps late", 401, &["second-factor-invalid"]);
    // Whoever has no second factor may send a code all the same.
    register(&registry, "bob").await;
    assert_eq!(sign_in_with(&registry, "bob", PASSWORD, "123456").await.status, 200);
}

#[tokio::test]
async fn recovery_codes_stand_in_and_giving_up_takes_both() {
    let registry = patient_registry().await;
    let ann = register_verified(&registry, "ann").await;
    let (app, codes) = enrol(&registry, &ann, PASSWORD).await;
    assert_eq!(sign_in_with(&registry, "ann", PASSWORD, &codes[0].to_uppercase()).await.status, 200);
    let twice = sign_in_with(&registry, "ann", PASSWORD, &codes[0]).await;
    twice.assert_refused("twice", 401, &["second-factor-invalid"]);
    assert_eq!(status(&registry, &ann.token).await["recovery_codes_left"], 9);

    let both = async |method: Method, path: &str, password: &str, code: &str| {
        let body = json!({"password": password, "code": code});
        registry.ask_as(&ann.token, method, path, Some(body)).await
    };
    let renewal = format!("{PATH}/recovery-codes");
    let renewed = recovery_codes(&both(Method::POST, &renewal, PASSWORD, &app.next(&registry)).await);
    let old = sign_in_with(&registry, "ann", PASSWORD, &codes[1]).await;
    old.assert_refused("an old one", 401, &["second-factor-invalid"]);

    // What takes the password once more takes a code as well.
    let change = |code: Option<String>| json!({"old_password": PASSWORD, "new_password": "quite another one", "code": code});
    let path = "/api/v1/auth/password/change";
    let refused = post_as(&registry, &ann.token, path, &change(None)).await;
    refused.assert_refused("a change of password", 401, &["second-factor-needed"]);
    let body = json!({"password": PASSWORD});
    let refused = registry.ask_as(&ann.token, Method::DELETE, "/api/v1/users/me", Some(body)).await;
    refused.assert_refused("a deletion", 401, &["second-factor-needed"]);
    // A password set by mail does not go round it.
    assert_eq!(post(&registry, "/api/v1/auth/password/reset", &json!({"username": "ann"})).await.status, 202);
    let mailed = registry.mails.token_to(&address_of("ann"));
    let body = json!({"token": mailed, "new_password": PASSWORD});
    assert_eq!(post(&registry, "/api/v1/auth/password/set", &body).await.status, 200);
    sign_in(&registry, "ann", PASSWORD).await.assert_refused("by mail", 401, &["second-factor-needed"]);
    let ann = Session::of(&sign_in_with(&registry, "ann", PASSWORD, &app.next(&registry)).await);

    let end = async |password: &str, code: &str| {
        let body = json!({"password": password, "code": code});
        registry.ask_as(&ann.token, Method::DELETE, PATH, Some(body)).await
    };
    end("four words of hers", &app.next(&registry)).await.assert_refused("no", 401, &["login-failed"]);
    end(PASSWORD, "000000").await.assert_refused("no", 401, &["second-factor-invalid"]);
    assert_eq!(end(PASSWORD, &renewed[3]).await.status, 200);
    end(PASSWORD, &renewed[4]).await.assert_refused("twice", 409, &["second-factor-state"]);
    assert_eq!(sign_in(&registry, "ann", PASSWORD).await.status, 200);
    assert_eq!(status(&registry, &ann.token).await, json!({"enabled": false, "recovery_codes_left": 0}));

    // Everything leaves a trace, and is told by mail.
    let id = AccountId::new(ann.id.clone()).unwrap();
    let events = registry.service.security_events(&id).await.unwrap();
    for kind in ["enabled", "disabled", "failed"]
        .map(|kind| format!("second-factor-{kind}"))
        .iter()
        .map(String::as_str)
    {
        assert!(events.iter().any(|event| event.kind == kind), "{kind}: {events:?}");
    }
    for kind in ["recovery-code-used", "recovery-codes-made"] {
        assert!(events.iter().any(|event| event.kind == kind), "{kind}: {events:?}");
    }
    let mails = registry.mails.to(&address_of("ann"));
    for part in ["takes a code", "password alone", "was used; 9 are left", "other recovery codes"] {
        assert!(mails.iter().any(|mail| mail.text.contains(part)), "{part}");
    }
    // A deletion takes the secret along.
    let (app, _) = enrol(&registry, &ann, PASSWORD).await;
    let body = json!({"password": PASSWORD, "code": app.next(&registry)});
    let deleted = registry.ask_as(&ann.token, Method::DELETE, "/api/v1/users/me", Some(body)).await;
    assert_eq!(deleted.status, 200, "{}", deleted.json());
    let left = contents(&*registry.store.vault).await;
    assert!(!left.keys().any(|key| key.starts_with("factors/")));
}

#[tokio::test]
async fn guesses_end_soon() {
    let registry = open_registry().await;
    let ann = register(&registry, "ann").await;
    enrol(&registry, &ann, PASSWORD).await;
    // The enrolment took one, and the time until its code gave one back.
    for i in 0..11 {
        let guess = sign_in_with(&registry, "ann", PASSWORD, &format!("{i:06}")).await;
        let expected = if i < 10 { (401, "second-factor-invalid") } else { (429, "rate-limited") };
        assert_eq!((guess.status, &*guess.codes()[0]), expected, "{i}");
    }
    // Who is patient has fifty a day, the enrolment's among them, wherever they come from.
    let mut tried = 10;
    let refused = loop {
        registry.clock.advance(Duration::from_secs(31));
        let guess = sign_in_with(&registry, "ann", PASSWORD, "000000").await;
        if guess.status == 429 {
            break guess;
        }
        tried += 1;
    };
    assert_eq!((tried, &refused.json()["errors"][0]["facts"]["limit"]), (49, &json!("code")));

    // Whoever lost everything goes to the operator.
    registry.clock.advance(Duration::from_secs(300));
    registry.service.drop_second_factor(&Login::new("ann").unwrap()).await.unwrap();
    assert_eq!(sign_in(&registry, "ann", PASSWORD).await.status, 200);
    let missing = registry.service.drop_second_factor(&Login::new("nobody").unwrap()).await.unwrap_err();
    assert_eq!(missing.problems[0].code.slug(), "account-not-found");
}
