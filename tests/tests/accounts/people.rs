//! Accounts from registration to deletion, their addresses and their passwords.

use std::time::Duration;

use axum::http::Method;
use drystone_schemas::{Login, SecretText};
use drystone_tests::{Pkg, TestRegistry, checks::contents};
use serde_json::{Value, json};

use super::{
    PASSWORD, Session, address_of, ask_from, new_token, open_registry, post, post_as, register,
    register_verified, sign_in,
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test]
async fn an_account_from_registration_to_deletion() {
    let registry = open_registry().await;
    let ann = register_verified(&registry, "ann-lee").await;
    let me = registry.ask_as(&ann.token, Method::GET, "/api/v1/users/me", None).await;
    assert_eq!(
        (me.status, &me.json()["username"], &me.json()["email"], &me.json()["email_verified"]),
        (200, &json!("ann-lee"), &json!("ann-lee@example.org"), &json!(true))
    );
    assert_eq!(me.headers["cache-control"], "no-store");
    assert_eq!(registry.publish_as(&ann.token, &Pkg::new("http", "1.0.0")).await.status, 201);
    let public = registry.get("/api/v1/users/ann-lee").await.json();
    assert_eq!(public, json!({"created_at": "2025-10-09T09:09:59Z", "id": ann.id, "username": "ann-lee"}));
    for name in ["ann-lee", "Ann-Lee@example.org"] {
        assert_eq!(sign_in(&registry, name, PASSWORD).await.status, 200, "{name}");
    }
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;

    let body = json!({"password": "four words of nobody"});
    let wrong = registry.ask_as(&ann.token, Method::DELETE, "/api/v1/users/me", Some(body)).await;
    wrong.assert_refused("another password", 401, &["login-failed"]);
    let body = json!({"password": PASSWORD});
    let by_tool = registry.ask_as(&tool, Method::DELETE, "/api/v1/users/me", Some(body.clone())).await;
    by_tool.assert_refused("a tool", 403, &["session-needed"]);
    let deleted = registry.ask_as(&ann.token, Method::DELETE, "/api/v1/users/me", Some(body)).await;
    assert_eq!(deleted.status, 200, "{}", deleted.json());

    for token in [&ann.token, &tool] {
        let after = registry.publish_as(token, &Pkg::new("http", "1.1.0")).await;
        after.assert_refused("after the deletion", 401, &["token-invalid"]);
    }
    sign_in(&registry, "ann-lee", PASSWORD).await.assert_refused("signing in", 401, &["login-failed"]);
    assert_eq!(registry.get("/api/v1/users/ann-lee").await.codes(), ["account-not-found"]);
    // The log still names the account, and nothing that is left says who that was.
    let owners = registry.get("/api/v1/packages/http/owners").await.json();
    assert_eq!(owners["users"][0]["account"], json!(ann.id));
    assert!(owners["users"][0]["login"].as_str().unwrap().starts_with("deleted-"));
    for area in [&registry.store.vault, &registry.store.public] {
        for (key, bytes) in contents(&**area).await {
            let text = String::from_utf8_lossy(&bytes).into_owned() + &key;
            assert!(!text.contains("ann-lee") && !text.contains("argon2"), "{key}: {text}");
        }
    }
    // Nobody takes the name over; the address is free again.
    let again = json!({"username": "ann-lee", "email": "other@example.org", "password": PASSWORD});
    post(&registry, "/api/v1/auth/register", &again).await.assert_refused("the login", 409, &["login-taken"]);
    let again = json!({"username": "ann-new", "email": "ann-lee@example.org", "password": PASSWORD});
    assert_eq!(post(&registry, "/api/v1/auth/register", &again).await.status, 201);
    let token = registry.mails.token_to("ann-lee@example.org");
    assert_eq!(post(&registry, "/api/v1/auth/verify", &json!({"token": token})).await.status, 200);
    registry.assert_clean("after a deletion").await;
}

#[tokio::test]
async fn where_the_operator_makes_accounts_nobody_else_does() {
    let registry = TestRegistry::new().await;
    let body = json!({"username": "ann", "email": "ann@example.org", "password": PASSWORD});
    let refused = post(&registry, "/api/v1/auth/register", &body).await;
    assert_eq!((refused.status, refused.codes()), (403, vec!["accounts-closed".to_owned()]));
    let login = Login::new("chief").unwrap();
    let weak = registry.service.make_person(&login, &SecretText::new("secret"), true).await.unwrap_err();
    assert_eq!(weak.problems[0].code.slug(), "weak-password");
    let id = registry.service.make_person(&login, &SecretText::new(PASSWORD), true).await.unwrap();
    let chief = Session::of(&sign_in(&registry, "chief", PASSWORD).await);
    assert_eq!(chief.id, id.as_str());
    registry.publish(&Pkg::new("http", "1.0.0")).await;
    let takedown = json!({"code": "spam"});
    let path = "/api/v1/packages/http/1.0.0/delete";
    let done = registry.ask_as(&chief.token, Method::POST, path, Some(takedown.clone())).await;
    assert_eq!(done.status, 200, "{}", done.json());
    let (tool, _) = new_token(&registry, &chief, &json!({"name": "all", "scopes": ["admin"]})).await;

    // A right that is withdrawn ends sessions and tokens that had it, and leaves a trace.
    registry.service.make_person(&login, &SecretText::new("four other words"), false).await.unwrap();
    for token in [&chief.token, &tool] {
        let after = registry.ask_as(token, Method::POST, path, Some(takedown.clone())).await;
        after.assert_refused("no administrator", 401, &["token-invalid"]);
    }
    let kinds: Vec<String> =
        registry.service.security_events(&id).await.unwrap().into_iter().map(|event| event.kind).collect();
    for kind in ["admin-granted", "admin-withdrawn", "password-reset", "token-made", "signed-in"] {
        assert!(kinds.iter().any(|there| there == kind), "{kind} in {kinds:?}");
    }
}

#[tokio::test]
async fn what_the_outside_is_told_does_not_depend_on_what_is_known() {
    let registry = open_registry().await;
    register_verified(&registry, "ann").await;
    let blank = |answer: drystone_tests::Answer| {
        let mut body = answer.json();
        let mut strip = |path: &[&str]| {
            let mut at = &mut body;
            for part in path {
                at = &mut at[*part];
            }
            *at = Value::Null;
        };
        for path in [
            &["request_id"][..],
            &["token"],
            &["refresh_token"],
            &["expires_at"],
            &["refresh_expires_at"],
            &["user", "id"],
            &["user", "username"],
            &["user", "created_at"],
        ] {
            if path.len() == 1 && body_has(&answer, path[0]) || path.len() == 2 && body_has(&answer, "user") {
                strip(path);
            }
        }
        (answer.status, body)
    };
    // A registration with an address that has an account, and one with a new address.
    let known = json!({"username": "eve", "email": "ann@example.org", "password": PASSWORD});
    let new = json!({"username": "bob", "email": "ann@example.com", "password": PASSWORD});
    let (known, mut new) = (
        blank(post(&registry, "/api/v1/auth/register", &known).await),
        blank(post(&registry, "/api/v1/auth/register", &new).await),
    );
    new.1["user"]["email"] = json!("ann@example.org");
    assert_eq!(known, new);
    // Only the owner of the address learns of it, and keeps it.
    let mails = registry.mails.to("ann@example.org");
    assert_eq!(mails.len(), 2, "one to verify, one that tells of the other");
    assert!(!mails[1].text.contains("dry_rec_") && mails[1].text.contains("belongs to an account"));
    assert_eq!(sign_in(&registry, "ann@example.org", PASSWORD).await.json()["user"]["username"], "ann");

    // A password that is wrong, a login that nobody has, an account without a password, an address that is not verified.
    registry.token_of("toolsmith").await;
    let mut answers = Vec::new();
    for name in ["ann", "nobody", "toolsmith", "ann@example.com", "no@example.org", "é", ""] {
        answers.push(blank(sign_in(&registry, name, "four words of hers").await));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    // Mails for those who have an address and those who have not.
    let mut answers = Vec::new();
    for name in ["ann", "nobody", "bob", "no@example.org", "é"] {
        answers.push(blank(post(&registry, "/api/v1/auth/password/reset", &json!({"username": name})).await));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(registry.mails.to("ann@example.org").len(), 3);
}

fn body_has(answer: &drystone_tests::Answer, field: &str) -> bool {
    !answer.json()[field].is_null()
}

#[tokio::test]
async fn an_address_belongs_to_whoever_verifies_it() {
    let registry = open_registry().await;
    let squatter = json!({"username": "squatter", "email": "ann@example.org", "password": PASSWORD});
    assert_eq!(post(&registry, "/api/v1/auth/register", &squatter).await.status, 201);
    let squatters = registry.mails.token_to("ann@example.org");
    // Without the mail nobody signs in by that address.
    let by_address = sign_in(&registry, "ann@example.org", PASSWORD).await;
    by_address.assert_refused("an address that is not verified", 401, &["login-failed"]);
    register(&registry, "ann").await;
    let anns = registry.mails.token_to("ann@example.org");
    assert_ne!(squatters, anns);
    assert_eq!(post(&registry, "/api/v1/auth/verify", &json!({"token": anns})).await.status, 200);
    for (case, token) in
        [("used", &anns), ("of somebody slower", &squatters), ("mistyped", &anns.replace('r', "s"))]
    {
        let refused = post(&registry, "/api/v1/auth/verify", &json!({"token": token})).await;
        refused.assert_refused(case, 400, &["link-invalid"]);
    }
    assert_eq!(sign_in(&registry, "ann@example.org", PASSWORD).await.json()["user"]["username"], "ann");
    // A link ends after a day.
    let bob = register(&registry, "bob").await;
    registry.clock.advance(DAY);
    let late = json!({"token": registry.mails.token_to("bob@example.org")});
    post(&registry, "/api/v1/auth/verify", &late).await.assert_refused("late", 400, &["link-invalid"]);
    let bob =
        Session::of(&post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": bob.refresh})).await);
    let sent = post_as(&registry, &bob.token, "/api/v1/auth/verify/send", &Value::Null).await;
    assert_eq!(sent.status, 202, "{}", sent.json());
    let token = registry.mails.token_to("bob@example.org");
    assert_eq!(post(&registry, "/api/v1/auth/verify", &json!({"token": token})).await.status, 200);
}

/// The claim that a process made which died before its account repeated it.
#[tokio::test]
async fn a_claim_that_its_account_does_not_repeat_can_be_replaced_after_a_day() {
    let registry = open_registry().await;
    register(&registry, "dead").await;
    let claim = registry.mails.token_to(&address_of("dead"));
    // Make the claim, and undo what the account said.
    assert_eq!(post(&registry, "/api/v1/auth/verify", &json!({"token": claim})).await.status, 200);
    let vault = &*registry.store.vault;
    let accounts = contents(vault).await;
    let (key, bytes) = accounts
        .iter()
        .find(|(key, bytes)| {
            key.starts_with("accounts/0") && String::from_utf8_lossy(bytes).contains("dead@")
        })
        .unwrap();
    let mut record: Value = serde_json::from_slice(bytes).unwrap();
    record.as_object_mut().unwrap().remove("email_verified");
    let key = drystone_storage::Key::new(key.clone()).unwrap();
    let tag = vault.read(&key, 1 << 20).await.unwrap().unwrap().tag;
    vault
        .replace(&key, Some(&tag), record.to_string().into(), drystone_storage::Meta::PRIVATE)
        .await
        .unwrap();

    let verify_as = async |login: &str| {
        let body = json!({"username": login, "email": "dead@example.org", "password": PASSWORD});
        assert_eq!(post(&registry, "/api/v1/auth/register", &body).await.status, 201);
        let token = registry.mails.token_to("dead@example.org");
        post(&registry, "/api/v1/auth/verify", &json!({"token": token})).await
    };
    verify_as("early").await.assert_refused("within the day", 400, &["link-invalid"]);
    registry.clock.advance(DAY);
    assert_eq!(verify_as("late").await.status, 200);
    assert_eq!(sign_in(&registry, "dead@example.org", PASSWORD).await.json()["user"]["username"], "late");
}

#[tokio::test]
async fn passwords_are_changed_and_reset() {
    let registry = open_registry().await;
    let ann = register_verified(&registry, "ann").await;
    let other = Session::of(&sign_in(&registry, "ann", PASSWORD).await);
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let change = async |token: &str, old: &str, new: &str| {
        let body = json!({"old_password": old, "new_password": new});
        post_as(&registry, token, "/api/v1/auth/password/change", &body).await
    };
    change(&tool, PASSWORD, "quite another one").await.assert_refused("a tool", 403, &["session-needed"]);
    change(&ann.token, "wrong wrong wrong", "quite another one").await.assert_refused(
        "old",
        401,
        &["login-failed"],
    );
    change(&ann.token, PASSWORD, "password1234").await.assert_refused("new", 422, &["weak-password"]);
    assert_eq!(change(&ann.token, PASSWORD, "quite another one").await.status, 200);
    // This session goes on, others do not, and tools are not concerned.
    let me = async |token: &str| registry.ask_as(token, Method::GET, "/api/v1/users/me", None).await;
    assert_eq!((me(&ann.token).await.status, me(&tool).await.status), (200, 200));
    me(&other.token).await.assert_refused("another session", 401, &["token-invalid"]);
    let refresh = async |session: &Session| {
        post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": session.refresh})).await
    };
    refresh(&other).await.assert_refused("another session", 401, &["session-ended"]);
    let ann = Session::of(&refresh(&ann).await);
    sign_in(&registry, "ann", PASSWORD).await.assert_refused("the old one", 401, &["login-failed"]);

    // By mail: once, within an hour, and for the password that it was asked for.
    let ask = async || post(&registry, "/api/v1/auth/password/reset", &json!({"username": "ann"})).await;
    let set = async |token: &str, new: &str| {
        post(&registry, "/api/v1/auth/password/set", &json!({"token": token, "new_password": new})).await
    };
    assert_eq!(ask().await.status, 202);
    let first = registry.mails.token_to("ann@example.org");
    assert_eq!(ask().await.status, 202);
    let second = registry.mails.token_to("ann@example.org");
    set(&first, "short").await.assert_refused("a weak one", 422, &["weak-password"]);
    assert_eq!(set(&first, "words from the mail").await.status, 200);
    set(&first, "words from the mail").await.assert_refused("twice", 400, &["link-invalid"]);
    set(&second, "words from the mail").await.assert_refused("overtaken", 400, &["link-invalid"]);
    me(&ann.token).await.assert_refused("after a reset", 401, &["token-invalid"]);
    assert_eq!(sign_in(&registry, "ann", "words from the mail").await.status, 200);
    let verify = post(&registry, "/api/v1/auth/verify", &json!({"token": second})).await;
    verify.assert_refused("for something else", 400, &["link-invalid"]);
    assert_eq!(ask().await.status, 202);
    registry.clock.advance(Duration::from_secs(3_600));
    let late = registry.mails.token_to("ann@example.org");
    set(&late, "words that are late").await.assert_refused("late", 400, &["link-invalid"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_registration() {
    let registry = open_registry().await;
    register(&registry, "ann").await;
    let ask = async |username: &str, email: &str, password: &str| {
        let body = json!({"username": username, "email": email, "password": password});
        post(&registry, "/api/v1/auth/register", &body).await
    };
    ask("ann", "x@example.org", PASSWORD).await.assert_refused("taken", 409, &["login-taken"]);
    ask("operator", "x@example.org", PASSWORD).await.assert_refused("the operator", 409, &["login-taken"]);
    let all = ask("A", "b", "c").await;
    all.assert_refused("all", 422, &["invalid-login", "invalid-email", "weak-password"]);
    for body in [json!([]), json!({}), json!({"username": 1}), Value::Null] {
        let refused = post(&registry, "/api/v1/auth/register", &body).await;
        assert_eq!((refused.status, refused.codes()), (400, vec!["malformed-request".to_owned()]), "{body}");
    }
    let get = ask_from(&registry, None, None, Method::GET, "/api/v1/auth/register", &Value::Null).await;
    assert_eq!((get.status, get.codes()), (405, vec!["method-not-allowed".to_owned()]));
}

/// Clients of languages keep one token, and cannot refresh it.
#[tokio::test]
async fn clients_of_languages_sign_in_with_accounts() {
    for (language, name) in [("raven", "email"), ("vais", "username")] {
        let (manifest, preset) = drystone_schemas::Language::preset(language).unwrap();
        let settings = drystone_schemas::Settings {
            registration: drystone_schemas::Registration::Open,
            generic_manifest: manifest.into(),
            language: Some(preset),
            ..drystone_schemas::Settings::new("test", "http://registry.test")
        };
        let registry = TestRegistry::with_settings(drystone_storage::Store::memory(), settings).await;
        let body = json!({"username": "ann", "email": "ann@example.org", "password": PASSWORD});
        let made = post(&registry, "/api/v1/auth/register", &body).await;
        assert_eq!(made.status, 201, "{}", made.json());
        let signed_in =
            post(&registry, "/api/v1/auth/login", &json!({name: "ann", "password": PASSWORD})).await;
        assert_eq!(signed_in.status, 200, "{}", signed_in.json());
        assert_eq!(signed_in.json()["user"]["username"], "ann");
        for answer in [&made, &signed_in] {
            let token = answer.json()["token"].as_str().unwrap().to_owned();
            assert!(token.starts_with("dry_ses_"), "{language}");
            assert_eq!(registry.ask_as(&token, Method::GET, "/api/v1/users/me", None).await.status, 200);
            let more = post_as(&registry, &token, "/api/v1/users/me/tokens", &json!({"name": "x"})).await;
            assert_eq!((more.status, more.codes()), (403, vec!["session-needed".to_owned()]));
        }
        let wrong =
            post(&registry, "/api/v1/auth/login", &json!({name: "ann", "password": "four words of hers"}))
                .await;
        assert_eq!((wrong.status, wrong.codes()), (401, vec!["login-failed".to_owned()]));
    }
}
