//! Bodies and names that no cargo sends, connections that break, and many who want the same.

use axum::{
    body::Body,
    http::{Request, header},
};
use drystone_schemas::{Format, Limits, Settings};
use drystone_storage::Store;
use drystone_tests::{
    Pkg, TestRegistry,
    checks::everything,
    raw::{RawArchive, Taken, cut, endless, stalled},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{body_of, frame, metadata_of, put, put_bytes};

fn le(len: u32) -> [u8; 4] {
    len.to_le_bytes()
}

#[tokio::test]
async fn lengths_that_lie_are_refused_before_what_they_announce() {
    let registry = TestRegistry::new().await;
    let good = body_of(&Pkg::cargo("dry-lib", "1.0.0"));
    let metadata_len = u32::from_le_bytes(good[..4].try_into().unwrap());
    let after_metadata = 4 + metadata_len as usize;
    let with = |at: usize, bytes: &[u8]| [&good[..at], bytes, &good[at + bytes.len()..]].concat();
    let gzip = Pkg::cargo("dry-lib", "1.0.0").archive();
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("nothing", Vec::new(), 422, "length-mismatch"),
        ("three bytes", vec![0; 3], 422, "length-mismatch"),
        ("half of the metadata", good[..after_metadata / 2].to_vec(), 422, "length-mismatch"),
        ("no archive length", good[..after_metadata].to_vec(), 422, "length-mismatch"),
        ("no archive", good[..after_metadata + 4].to_vec(), 422, "length-mismatch"),
        ("half of the archive", good[..good.len() - 100].to_vec(), 422, "length-mismatch"),
        ("more than the archive", [&good[..], b"x"].concat(), 422, "length-mismatch"),
        ("huge metadata", with(0, &le(u32::MAX)), 413, "body-too-big"),
        ("metadata of a megabyte and a byte", with(0, &le((1 << 20) + 1)), 413, "body-too-big"),
        ("huge archive", with(after_metadata, &le(u32::MAX)), 413, "tarball-too-big"),
        ("long archive", with(after_metadata, &le(1 << 20)), 422, "length-mismatch"),
        ("no metadata", frame("", &gzip), 400, "malformed-request"),
        ("metadata that is no object", frame("[]", &gzip), 400, "malformed-request"),
        ("metadata that is no JSON", frame("{", &gzip), 400, "malformed-request"),
        (
            "metadata without dependencies",
            frame(r#"{"name":"a","vers":"1.0.0"}"#, &gzip),
            400,
            "malformed-request",
        ),
        ("nested metadata", frame(&"[".repeat(100_000), &gzip), 400, "malformed-request"),
        (
            "an empty archive",
            frame(&metadata_of(&Pkg::cargo("a", "1.0.0")).to_string(), b""),
            422,
            "not-an-archive",
        ),
        ("no frame", gzip.clone(), 422, "length-mismatch"),
    ];
    for (case, body, status, code) in cases {
        let len = body.len() as u64;
        put_bytes(&registry, body.clone()).await.assert_refused(case, status, &[code]);
        // The same without a length, as chunks.
        let chunked = put(&registry, &registry.admin, None, Body::from(body)).await;
        chunked.assert_refused(&format!("{case}, chunked"), status, &[code]);
        assert!(len < 1 << 20);
    }
    assert_eq!(registry.log_size().await, 1);
    assert_eq!(put_bytes(&registry, good).await.status, 200);
    registry.assert_clean("after refusals").await;
}

#[tokio::test]
async fn nothing_is_read_that_was_declared_too_long() {
    let limits = Limits { tarball_bytes_max: 2 << 20, ..Limits::default() };
    let settings = Settings { limits, ..Settings::new("test", "http://registry.test") };
    let registry = TestRegistry::with_settings(Store::memory(), settings).await;
    let metadata = metadata_of(&Pkg::cargo("dry-lib", "1.0.0")).to_string();
    let mut head = le(metadata.len() as u32).to_vec();
    head.extend_from_slice(metadata.as_bytes());
    let announced = |len: u32| [&head[..], &le(len)].concat();
    let chunk = 64 << 10;
    for (case, head, len, token, code, status, read_max) in [
        (
            "by the content length",
            announced(3 << 20),
            Some(4 << 20),
            &*registry.admin,
            "tarball-too-big",
            413,
            0,
        ),
        (
            "by the archive's length",
            announced(3 << 20),
            Some(3 << 20),
            &registry.admin,
            "tarball-too-big",
            413,
            1,
        ),
        (
            "by the metadata's length",
            le(u32::MAX).to_vec(),
            Some(2 << 20),
            &registry.admin,
            "body-too-big",
            413,
            1,
        ),
        ("for nobody", announced(1 << 20), Some(2 << 20), "dry_pat_nobody", "token-invalid", 401, 0),
        // Whoever sends a small body reads the answer after it.
        ("past the archive", announced(100), None, &registry.admin, "length-mismatch", 422, 19),
    ] {
        let taken = Taken::default();
        let answer = put(&registry, token, len, endless(&head, b'x', &taken)).await;
        answer.assert_refused(case, status, &[code]);
        assert!(taken.bytes() <= head.len() as u64 + read_max * chunk, "{case}: {}", taken.bytes());
    }
}

#[tokio::test]
async fn a_body_that_stops_is_not_waited_for() {
    let limits = Limits { request_s_max: 0, ..Limits::default() };
    let settings = Settings { limits, ..Settings::new("test", "http://registry.test") };
    let registry = TestRegistry::with_settings(Store::memory(), settings).await;
    let good = body_of(&Pkg::cargo("dry-lib", "1.0.0"));
    for at in [2, 20, good.len() - 1] {
        let answer =
            put(&registry, &registry.admin, Some(good.len() as u64), stalled(&good[..at], &Taken::default()))
                .await;
        answer.assert_refused(&format!("after {at} bytes"), 408, &["body-too-slow"]);
    }
}

#[tokio::test]
async fn a_broken_connection_leaves_nothing_and_a_retry_succeeds() {
    let registry = TestRegistry::new().await;
    let noise: Vec<u8> = (0..500_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for package in [Pkg::cargo("small", "1.0.0"), Pkg::cargo("large", "1.0.0").with_payload(noise)] {
        let body = body_of(&package);
        for at in [1, 100, body.len() / 2, body.len() - 1] {
            let answer = put(&registry, &registry.admin, Some(body.len() as u64), cut(&body[..at])).await;
            answer.assert_refused(&format!("{} after {at} bytes", package.name), 400, &["malformed-request"]);
        }
        assert_eq!(put_bytes(&registry, body.clone()).await.status, 200);
        // The answer was lost on its way: the same again is no error, and says so.
        let again = put_bytes(&registry, body).await;
        let said = format!("`{}` 1.0.0 was published before, with the same bytes", package.name);
        assert_eq!((again.status, &again.json()["warnings"]["other"]), (200, &json!([said])));
    }
    assert_eq!(registry.log_size().await, 3);
    registry.assert_clean("after broken connections").await;
}

/// Archives and metadata that no cargo makes: each is refused by name, and nothing of it stays.
#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let registry = TestRegistry::new().await;
    let before = everything(&registry.store).await;
    let good = Pkg::cargo("dry-lib", "1.0.0");
    let (metadata, archive) = (metadata_of(&good), good.archive());
    let manifest = |vers: &str| format!("[package]\nname = \"dry-lib\"\nversion = \"{vers}\"\n");
    let raw = |vers: &str| {
        RawArchive::default().file(&format!("dry-lib-{vers}/Cargo.toml"), manifest(vers).as_bytes())
    };
    let corrupt = {
        let mut bytes = archive.clone();
        let last = bytes.len() - 6;
        bytes[last] ^= 1;
        bytes
    };
    let said = |field: &str, value: &str| {
        let mut metadata = metadata.clone();
        metadata[field] = json!(value);
        metadata
    };
    let cases: Vec<(&str, Value, Vec<u8>, &[&str])> = vec![
        (
            "a path that leads up",
            metadata.clone(),
            raw("1.0.0").file("dry-lib-1.0.0/../../evil", b"x").finish(),
            &["unsafe-path"],
        ),
        (
            "an absolute path",
            metadata.clone(),
            raw("1.0.0").file("/etc/evil", b"x").finish(),
            &["unsafe-path"],
        ),
        (
            "a link",
            metadata.clone(),
            raw("1.0.0").entry("dry-lib-1.0.0/link", b'2').finish(),
            &["entry-type"],
        ),
        ("half an archive", metadata.clone(), archive[..archive.len() / 2].to_vec(), &["archive-truncated"]),
        ("a wrong checksum inside", metadata.clone(), corrupt, &["archive-corrupt"]),
        (
            "no manifest",
            metadata.clone(),
            RawArchive::default().file("dry-lib-1.0.0/src/lib.rs", b"").finish(),
            &["manifest-missing"],
        ),
        (
            "a version that is none, in the manifest",
            said("vers", "1.0"),
            raw("1.0").finish(),
            &["invalid-version"],
        ),
        (
            "a version that is none, in the request",
            said("vers", "1.0"),
            archive.clone(),
            &["manifest-disagrees"],
        ),
        ("another name", said("name", "other"), archive.clone(), &["manifest-disagrees"]),
        ("another spelling", said("name", "Dry_Lib"), archive.clone(), &["manifest-disagrees"]),
    ];
    for (case, metadata, archive, codes) in cases {
        let answer = put_bytes(&registry, frame(&metadata.to_string(), &archive)).await;
        answer.assert_refused(case, 422, codes);
        let detail = answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("\nhint: "), "{case}: {detail}");
        assert!(everything(&registry.store).await == before, "{case} left something");
    }
}

#[tokio::test]
async fn of_eight_with_one_version_exactly_one_wins() {
    let registry = TestRegistry::new().await;
    let bodies: Vec<Vec<u8>> = (0..8)
        .map(|i| body_of(&Pkg::cargo("dry-lib", "1.0.0").with_payload(format!("pub const N: u8 = {i};\n"))))
        .collect();
    let answers = join_all(bodies.iter().map(|body| put_bytes(&registry, body.clone()))).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_refused("a loser", 409, &["version-exists"]);
    }
    // Eight with the same bytes want the same, and all of them get it.
    let body = body_of(&Pkg::cargo("dry-lib", "2.0.0"));
    let answers = join_all((0..8).map(|_| put_bytes(&registry, body.clone()))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let already = answers.iter().filter(|answer| answer.json()["warnings"]["other"] != json!([])).count();
    assert_eq!(already, 7);
    assert_eq!(registry.log_size().await, 3);
    assert_eq!(registry.visible().await["dry-lib"], ["1.0.0", "2.0.0"]);
}

#[tokio::test]
async fn names_that_cargo_or_the_compiler_would_misread() {
    let registry = TestRegistry::new().await;
    let long = "a".repeat(65);
    for name in
        ["0x", "9lives", "std", "core", "alloc", "test", "proc_macro", "Proc-Macro", "nul", "COM1", &long]
    {
        let package = Pkg::cargo(name, "1.0.0");
        put_bytes(&registry, body_of(&package)).await.assert_refused(name, 422, &["invalid-name"]);
        // However it comes.
        registry.publish(&package).await.assert_refused(name, 422, &["invalid-name"]);
    }
    for package in [Pkg::new("0x", "1.0.0"), Pkg::cargo("std-lib", "1.0.0"), Pkg::cargo("x0", "1.0.0")] {
        assert_eq!(registry.publish(&package).await.status, 201, "{}", package.name);
    }
    put_bytes(&registry, body_of(&Pkg::cargo("STD_lib", "1.1.0"))).await.assert_refused(
        "another spelling",
        409,
        &["name-collision"],
    );
}

#[tokio::test]
async fn only_crates_and_only_with_a_token() {
    let registry = TestRegistry::new().await;
    let body = body_of(&Pkg::cargo("dry-lib", "1.0.0"));
    let request = Request::put("/api/v1/crates/new").header(header::CONTENT_LENGTH, body.len());
    let answer = registry.send(request.body(Body::from(body.clone())).unwrap()).await;
    answer.assert_refused("no token", 401, &["token-missing"]);
    assert_eq!(answer.headers["www-authenticate"], "Cargo login_url=\"http://registry.test/me\", Bearer");
    put(&registry, "nonsense", Some(body.len() as u64), Body::from(body.clone())).await.assert_refused(
        "no token of ours",
        401,
        &["token-invalid"],
    );
    let generic = Pkg::new("dry-lib", "1.0.0");
    put_bytes(&registry, body_of(&generic)).await.assert_refused("generic", 422, &["manifest-missing"]);

    let settings =
        Settings { formats: vec![Format::Generic], ..Settings::new("test", "http://registry.test") };
    let without = TestRegistry::with_settings(Store::memory(), settings).await;
    put_bytes(&without, body).await.assert_refused("no crates here", 422, &["format-disabled"]);

    let get = registry.get("/api/v1/crates/new").await;
    get.assert_refused("GET", 405, &["method-not-allowed"]);
    for (path, status, code) in [
        ("/api/v1/crates/%ff/owners", 400, "malformed-request"),
        ("/api/v1/crates/-/owners", 422, "invalid-name"),
        ("/api/v1/crates/nothing/owners", 404, "package-not-found"),
    ] {
        registry.get(path).await.assert_refused(path, status, &[code]);
    }
    let yank = registry.ask(axum::http::Method::DELETE, "/api/v1/crates/a/1.0/yank", None).await;
    yank.assert_refused("no version", 422, &["invalid-version"]);

    let me = registry.get("/me").await;
    assert_eq!(
        (me.status, &me.headers["content-type"]),
        (200, &"text/plain; charset=utf-8".parse().unwrap())
    );
    assert!(String::from_utf8(me.body).unwrap().contains("cargo login"));
}
