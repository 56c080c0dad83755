//! Bodies that cannot be read, and bodies that do not arrive.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_schemas::Limits;
use drystone_tests::{
    Answer, Pkg, TestRegistry, multipart_body,
    raw::{Taken, stalled},
};
use futures_util::future::join_all;

use super::{assert_nothing_happened, registry_with};

async fn send(registry: &TestRegistry, path: &str, content_type: &str, body: Body) -> Answer {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, 1000)
        .body(body);
    registry.send(request.expect("a test's request is a request")).await
}

async fn publish(registry: &TestRegistry, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    send(registry, "/api/v1/packages", content_type, Body::from(body.into())).await
}

/// A body of these parts.
fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        body.extend_from_slice(
            format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    [&body[..], b"--b--\r\n"].concat()
}

const FORM: &str = "multipart/form-data; boundary=b";

#[tokio::test]
async fn bodies_that_are_not_a_publish() {
    let registry = TestRegistry::new().await;
    let archive = Pkg::new("http", "1.0.0").archive();
    let good: (&str, &[u8]) = ("package", &archive);
    let malformed: &[&str] = &["malformed-multipart"];
    let long = " ".repeat(65 << 10);
    for (case, content_type, body, status, codes) in [
        ("no boundary", "multipart/form-data", parts(&[good]), 400, malformed),
        ("another boundary", "multipart/form-data; boundary=c", parts(&[good]), 400, malformed),
        ("another content type", "application/gzip", archive.clone(), 400, malformed),
        ("an empty boundary", "multipart/form-data; boundary=", parts(&[good]), 400, malformed),
        ("no body", FORM, Vec::new(), 400, malformed),
        ("no part", FORM, parts(&[]), 400, malformed),
        ("no part `package`", FORM, parts(&[("metadata", b"{}")]), 400, malformed),
        ("no end", FORM, parts(&[good])[..200].to_vec(), 400, malformed),
        ("the part `package` twice", FORM, parts(&[good, good]), 400, malformed),
        (
            "the part `metadata` twice",
            FORM,
            parts(&[("metadata", b"{}"), ("metadata", b"{}"), good]),
            400,
            malformed,
        ),
        ("an unknown part", FORM, parts(&[("extra", b"x"), good]), 400, malformed),
        ("a part without a name", FORM, parts(&[("", b"x"), good]), 400, malformed),
        (
            "everything at once",
            FORM,
            parts(&[("extra", b"x"), ("metadata", b"{}"), ("metadata", b"{}")]),
            400,
            &["malformed-multipart", "malformed-multipart", "malformed-multipart"],
        ),
        (
            "metadata that are not JSON",
            FORM,
            parts(&[("metadata", b"name=http"), good]),
            400,
            &["malformed-request"],
        ),
        (
            "metadata of another shape",
            FORM,
            parts(&[("metadata", b"[1]"), good]),
            400,
            &["malformed-request"],
        ),
        (
            "metadata of other types",
            FORM,
            parts(&[("metadata", br#"{"size":"1"}"#), good]),
            400,
            &["malformed-request"],
        ),
        ("long metadata", FORM, parts(&[("metadata", long.as_bytes()), good]), 413, &["body-too-big"]),
        ("JSON without an upload", "application/json", b"{}".to_vec(), 404, &["upload-not-found"]),
        ("JSON that is none", "application/json", b"{".to_vec(), 400, &["malformed-request"]),
        ("long JSON", "application/json", long.clone().into_bytes(), 413, &["body-too-big"]),
    ] {
        publish(&registry, content_type, body).await.assert_refused(case, status, codes);
    }
    let many: Vec<(&str, &[u8])> = vec![("extra", b"x"); 1000];
    let answer = publish(&registry, FORM, parts(&many)).await;
    answer.assert_refused("a thousand unknown parts", 400, &["malformed-multipart"; 20]);
    // Either order is good.
    let swapped = publish(&registry, FORM, parts(&[good, ("metadata", br#"{"dry_run":true}"#)])).await;
    assert_eq!((swapped.status, &swapped.json()["outcome"]), (200, &"dry-run".into()));
    assert_nothing_happened(&registry, 1).await;
}

#[tokio::test]
async fn other_requests_that_cannot_be_read() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let yank = "/api/v1/packages/http/1.0.0/yank";
    let (owners, alias) = ("/api/v1/packages/http/owners", "/api/v1/aliases/h");
    let delete = "/api/v1/packages/http/1.0.0/delete";
    let long = " ".repeat(70 << 10);
    for (case, method, path, body, status, code) in [
        ("a reason that is not JSON", "POST", yank, "because", 400, "malformed-request"),
        ("a reason that is a number", "POST", yank, r#"{"reason":1}"#, 400, "malformed-request"),
        ("a long body", "POST", yank, &long, 413, "body-too-big"),
        ("owners without a body", "PUT", owners, "", 400, "malformed-request"),
        ("owners of no account", "PUT", owners, r#"{"users":["nobody"]}"#, 404, "account-not-found"),
        ("an unknown role", "PUT", owners, r#"{"users":["nobody"],"role":"king"}"#, 400, "malformed-request"),
        ("an alias without a package", "PUT", alias, "{}", 400, "malformed-request"),
        ("an alias of a bad name", "PUT", alias, r#"{"package":"a b"}"#, 422, "invalid-name"),
        ("an alias of no package", "PUT", alias, r#"{"package":"gone"}"#, 404, "package-not-found"),
        ("a bad alias", "PUT", "/api/v1/aliases/a.b", r#"{"package":"http"}"#, 422, "invalid-alias"),
        (
            "an alias that is not text",
            "PUT",
            "/api/v1/aliases/%ff",
            r#"{"package":"http"}"#,
            400,
            "malformed-request",
        ),
        ("a takedown without a code", "POST", delete, "{}", 400, "malformed-request"),
        ("a takedown with an unknown code", "POST", delete, r#"{"code":"boring"}"#, 400, "malformed-request"),
        (
            "an address that is not text",
            "POST",
            "/api/v1/packages/%ff/1.0.0/yank",
            "",
            400,
            "malformed-request",
        ),
        ("a query that is not one", "GET", "/api/v1/search?q=a&q=b", "", 400, "malformed-request"),
        ("an alias to resolve that is not text", "GET", "/api/v1/resolve/%ff", "", 400, "malformed-request"),
        ("an unknown address", "GET", "/api/v1/nothing", "", 404, "no-such-route"),
        ("an unknown verb", "POST", "/api/v1/packages/http/1.0.0/explode", "", 404, "no-such-route"),
        ("another method", "DELETE", "/healthz", "", 405, "method-not-allowed"),
        ("another method for a verb", "PATCH", yank, "", 405, "method-not-allowed"),
    ] {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
            .body(Body::from(body.to_owned()));
        let answer = registry.send(request.unwrap()).await;
        answer.assert_refused(case, status, &[code]);
        // RFC 9110 section 15.5.6.
        assert_eq!(answer.headers.contains_key(header::ALLOW), status == 405, "{case}");
    }
    let reason = serde_json::json!({"reason": "x".repeat(2000)});
    let answer = registry.ask(Method::POST, yank, Some(reason)).await;
    answer.assert_refused("a long reason", 422, &["text-too-long"]);
    assert_eq!(answer.json()["errors"][0]["facts"]["bytes_max"], "1024");
    assert_nothing_happened(&registry, 2).await;
}

/// Everything that waits for a body stops waiting.
#[tokio::test]
async fn bodies_that_do_not_arrive_in_time() {
    let registry = registry_with(Limits { request_s_max: 1, ..Limits::default() }).await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let (form, body) = multipart_body(None, &Pkg::new("slow", "1.0.0").archive());
    let taken = Taken::default();
    let json = "application/json";
    let requests = [
        ("/api/v1/packages", &*form, &b""[..]),
        ("/api/v1/packages", &form, &body[..40]),
        ("/api/v1/packages", &form, &body[..body.len() - 3]),
        ("/api/v1/packages", json, b"{"),
        ("/api/v1/uploads", json, b"{"),
        ("/api/v1/packages/http/1.0.0/yank", json, b"{"),
        ("/api/v1/packages/http/1.0.0/delete", json, b"{"),
    ];
    let slow =
        requests.map(|(path, content_type, head)| send(&registry, path, content_type, stalled(head, &taken)));
    for answer in join_all(slow).await {
        answer.assert_refused("a slow body", 408, &["body-too-slow"]);
        assert_eq!(answer.json()["errors"][0]["facts"]["seconds_max"], "1");
    }
    assert_nothing_happened(&registry, 2).await;
}
