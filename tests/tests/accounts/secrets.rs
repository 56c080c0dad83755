//! No secret that is planted comes out in a log, however much is logged, whatever becomes of the request that carries it.

use std::sync::{Arc, Mutex};

use axum::http::Method;
use drystone_schemas::{Provider, Registration, Settings, TrustedIssuer};
use drystone_storage::{Clock, Store};
use drystone_tests::{
    Pkg, TestRegistry,
    issuer::{Issuer, IssuerKey},
};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::{Session, address_of, new_token, post, post_as, second_factor, sign_in};

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn whatever_is_logged_no_planted_secret_is() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    // What the tests beside this one cause is logged as well.
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let issuer = Issuer::start(IssuerKey::new_ec()).await;
    let settings = Settings {
        registration: Registration::Open,
        issuers: vec![TrustedIssuer { url: issuer.url.clone(), provider: Provider::Oidc }],
        ..Settings::new("test", "http://registry.test")
    };
    let registry = TestRegistry::with_settings(Store::memory(), settings).await;
    let (password, next) = ("planted horses eat planted bread", "other planted horses eat bread");
    let asked = json!({"username": "ann", "email": address_of("ann"), "password": password});
    let ann = Session::of(&post(&registry, "/api/v1/auth/register", &asked).await);
    let mailed = registry.mails.token_to(&address_of("ann"));
    let (tool, _) = new_token(&registry, &ann, &json!({"name": "ci"})).await;
    let now_s = registry.clock.now_unix_s();
    let claims = json!({"aud": "http://registry.test", "iat": now_s, "exp": now_s + 300, "jti": "planted-jti", "sub": "x"});
    let (jwt, forged) = (issuer.token(&claims), issuer.forged(&claims));
    let wrong = "a planted password that is wrong";
    sign_in(&registry, "ann", wrong).await.assert_refused("a wrong password", 401, &["login-failed"]);
    let mut secrets = vec![
        password.to_owned(),
        next.into(),
        mailed.clone(),
        tool.clone(),
        wrong.into(),
        jwt.clone(),
        forged.clone(),
    ];
    secrets.extend([ann.token.clone(), ann.refresh.clone(), registry.admin.clone(), address_of("ann")]);

    // Each is sent where it works, and where it does not.
    let identity = json!({"issuer": issuer.url, "provider": "oidc", "claims": {"sub": "x"}});
    assert_eq!(registry.publish_as(&tool, &Pkg::new("a", "1.0.0")).await.status, 201);
    registry.publish_as(&format!("{tool}x"), &Pkg::new("a", "1.1.0")).await;
    registry.ask_as(&jwt, Method::GET, "/api/v1/users/me", None).await;
    assert_eq!(registry.ask(Method::POST, "/api/v1/packages/a/publishers", Some(identity)).await.status, 200);
    for jwt in [&forged, &jwt, &jwt] {
        let asked = json!({"jwt": jwt, "package": "a"});
        let answer = post(&registry, "/api/v1/trusted_publishing/tokens", &asked).await;
        secrets.extend(answer.json()["token"].as_str().map(str::to_owned));
    }
    for body in [json!({"token": mailed}), json!({"token": [mailed]}), json!({"token": mailed})] {
        post(&registry, "/api/v1/auth/verify", &body).await;
    }
    for old in [wrong, password] {
        let body = json!({"old_password": old, "new_password": next});
        post_as(&registry, &ann.token, "/api/v1/auth/password/change", &body).await;
    }
    for _ in 0..2 {
        let answer = post(&registry, "/api/v1/auth/refresh", &json!({"refresh_token": ann.refresh})).await;
        for field in ["token", "refresh_token"] {
            secrets.extend(answer.json()[field].as_str().map(str::to_owned));
        }
    }
    let again = Session::of(&sign_in(&registry, "ann", next).await);
    let (app, recovery) = second_factor::enrol(&registry, &again, next).await;
    for code in [&recovery[0], &recovery[0], &app.next(&registry)] {
        let asked = json!({"username": "ann", "password": next, "code": code});
        post(&registry, "/api/v1/auth/login", &asked).await;
    }
    secrets.extend([again.token, again.refresh, app.secret]);
    secrets.extend(recovery);
    let report = json!([{"token": tool, "type": "x", "url": "http://elsewhere.test", "source": "x"}]);
    assert_eq!(post(&registry, "/api/v1/secret-scanning/reports", &report).await.status, 200);
    registry.get(&format!("/api/v1/users/{tool}")).await;
    post(&registry, "/api/v1/auth/password/reset", &json!({"username": "ann"})).await;
    secrets.push(registry.mails.token_to(&address_of("ann")));
    registry.ask_as(&ann.token, Method::DELETE, "/api/v1/users/me", Some(json!({"password": next}))).await;
    post_as(&registry, &registry.admin.clone(), "/api/v1/auth/logout", &Value::Null).await;

    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.lines().count() > 20 && text.contains("request"), "nothing is logged");
    assert_eq!(secrets.len(), 28, "some of what was made was not seen");
    for secret in &secrets {
        // A JWT is known by its signature as well.
        let last = secret.rsplit('.').next().unwrap_or(secret);
        for part in [secret.as_str(), last] {
            let line = text.lines().find(|line| line.contains(part));
            assert!(line.is_none(), "logged: {line:?}");
        }
    }
}
