//! What the rows do, where it takes more than a few lines.

use std::{future::poll_fn, task::Poll};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_archive::{PackFile, pack};
use drystone_schemas::Limits;
use drystone_storage::{Call, Fault, Faults, Op, Store};
use drystone_tests::{
    Answer, Pkg, TestRegistry, multipart_body,
    raw::{RawArchive, Taken, cut, stalled},
};
use futures_util::{FutureExt, future::join_all};

pub(crate) const PACKAGE_PART: &[u8] =
    b"--b\r\ncontent-disposition: form-data; name=\"package\"; filename=\"p.tar.gz\"\r\n\r\n";

pub(crate) fn http() -> Pkg {
    Pkg::new("http", "1.0.0")
}

pub(crate) fn manifest(name: &str, version: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n")
}

pub(crate) fn packed(root: &str, manifest: &str) -> Vec<u8> {
    let files = [PackFile::bytes("drystone.toml", false, manifest.as_bytes())];
    pack(Vec::new(), root, files, &Limits::default()).expect("it can be packed")
}

/// A good archive of a package that says to be called so.
pub(crate) fn archive(name: &str, version: &str) -> Vec<u8> {
    packed("http-1.0.0", &manifest(name, version))
}

pub(crate) fn with_manifest() -> RawArchive {
    RawArchive::default().file("http-1.0.0/drystone.toml", manifest("http", "1.0.0").as_bytes())
}

pub(crate) fn request(registry: &TestRegistry) -> axum::http::request::Builder {
    Request::post("/api/v1/packages")
        .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
}

pub(crate) async fn send(registry: &TestRegistry, len: u64, body: Body) -> Answer {
    registry
        .send(
            request(registry)
                .header(header::CONTENT_LENGTH, len)
                .body(body)
                .expect("a test's request is a request"),
        )
        .await
}

pub(crate) async fn send_chunked(registry: &TestRegistry, body: Body) -> Answer {
    registry.send(request(registry).body(body).expect("a test's request is a request")).await
}

pub(crate) async fn bad_versions(registry: &TestRegistry) -> Vec<Answer> {
    let long = format!("1.0.0-{}", "a".repeat(150));
    let versions = [
        "../1.0.0",
        "1.0.0/../..",
        "not.a.version",
        "1.0",
        "1",
        "01.0.0",
        "1.0.0-",
        "1.0.0+",
        "1.0.0-01",
        "1.0.0-a..b",
        "",
        "v1.0.0",
        "1.0.0.0",
        " 1.0.0",
        "1.0.0 ",
        "1.0.x",
        "99999999999999999999.0.0",
        "1.0.0-é",
        &long,
    ];
    let mut answers = Vec::new();
    for version in versions {
        answers.push(registry.publish_bytes(&registry.admin, None, &archive("http", version)).await);
    }
    for address in ["http/..%2f1.0.0/yank", "http/1.0/yank", "http/1.0.0-/yank"] {
        answers.push(registry.ask(Method::POST, &format!("/api/v1/packages/{address}"), None).await);
    }
    answers
}

pub(crate) async fn lengths_that_lie(registry: &TestRegistry) -> Vec<Answer> {
    let publish = async |metadata: Option<&str>, archive: Vec<u8>| {
        registry.publish_bytes(&registry.admin, metadata, &archive).await
    };
    let (_, body) = multipart_body(None, &http().archive());
    vec![
        // A server ends such a body with an error.
        send(registry, 0xffff, cut(&body[..body.len() - 4])).await,
        publish(Some(r#"{"size":4294967295}"#), http().archive()).await,
        publish(None, with_manifest().file_declared("http-1.0.0/x", 4096, b"x").finish()).await,
        publish(None, with_manifest().file_declared("http-1.0.0/x", 0xffff_ffff, b"x").finish()).await,
    ]
}

pub(crate) fn dependencies(count: u32) -> String {
    let digit = |n: u32| char::from_digit(n % 36, 36).expect("less than 36");
    let name =
        |i: u32| [digit(i / 46_656), digit(i / 1_296), digit(i / 36), digit(i)].iter().collect::<String>();
    (0..count).fold("[dependencies]\n".to_owned(), |text, i| text + &name(i) + "=\"1\"\n")
}

pub(crate) async fn bomb(registry: &TestRegistry) -> Vec<Answer> {
    let archive = with_manifest().zeros("http-1.0.0/zeros", 256 << 20).finish();
    assert!(archive.len() < 4 << 20, "{}", archive.len());
    vec![registry.publish_bytes(&registry.admin, None, &archive).await]
}

pub(crate) async fn strangers(registry: &TestRegistry) -> Vec<Answer> {
    let (content_type, body) = multipart_body(None, &http().archive());
    let request =
        Request::post("/api/v1/packages").header(header::CONTENT_TYPE, content_type).body(Body::from(body));
    let unknown = drystone_publisher::Token::generate(&*registry.entropy);
    vec![
        registry.send(request.expect("a test's request is a request")).await,
        registry.publish_as("wrong", &http()).await,
        registry.publish_as(unknown.reveal(), &http()).await,
    ]
}

pub(crate) async fn stalled_uploads(registry: &TestRegistry) -> Vec<Answer> {
    let taken = Taken::default();
    let (_, body) = multipart_body(None, &Pkg::new("stalled", "1.0.0").archive());
    let head = &body[..body.len() / 2];
    let mut held = join_all((0..200).map(|_| send(registry, body.len() as u64, stalled(head, &taken))));
    poll_fn(|context| {
        assert!(held.poll_unpin(context).is_pending(), "a stalled upload was answered");
        if taken.bytes() == 200 * head.len() as u64 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let answer = registry.publish(&http()).await;
    let still_held = poll_fn(|context| Poll::Ready(held.poll_unpin(context).is_pending())).await;
    assert!(still_held, "a stalled upload was answered");
    vec![answer]
}

/// Where a crash strikes: the area, the call, the beginning of the key, before or after.
pub(crate) type Point = (&'static str, Op, &'static str, Fault);

pub(crate) const BEFORE_COMMIT: [Point; 3] = [
    ("public", Op::PutNew, "o/", Fault::CrashAfter),
    ("vault", Op::PutNew, "staging/", Fault::CrashAfter),
    ("vault", Op::Replace, "head", Fault::CrashBefore),
];
pub(crate) const AFTER_COMMIT: [Point; 4] = [
    ("vault", Op::Replace, "head", Fault::CrashAfter),
    ("public", Op::Replace, "index/", Fault::CrashBefore),
    ("public", Op::PutNew, "log/tile/", Fault::CrashAfter),
    ("public", Op::Replace, "log/checkpoint", Fault::CrashBefore),
];

/// Publishes a package by a process that crashes, for each point another, and then by one that does not.
pub(crate) async fn crashes(registry: &TestRegistry, points: &[Point]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (i, &(area, op, key, fault)) in points.iter().enumerate() {
        let faults = Faults::new(move |call: &Call<'_>| {
            if (call.area, call.op) == (area, op) && call.key.starts_with(key) { fault } else { Fault::None }
        });
        let crashing = registry.another(|store| faults.wrap(store)).await;
        let package = Pkg::new(&format!("crash-{i}"), "1.0.0");
        let lost = crashing.publish(&package).await;
        assert!(faults.crashed(), "{op} {key}");
        // A process that dies after the commit may still have said so.
        assert!(matches!(lost.status, 201 | 503), "{op} {key}: {}", lost.json());
        answers.push(registry.another(Store::clone).await.publish(&package).await);
    }
    answers
}
