//! Archives and manifests that cannot be published.

use drystone_archive::{PackFile, pack};
use drystone_schemas::{Format, Limits, Settings};
use drystone_storage::Store;
use drystone_tests::{Pkg, TestRegistry, raw::RawArchive};

use super::{assert_nothing_happened, registry_with};

/// A case, the archive, and the codes of all its problems.
type Case = (&'static str, Vec<u8>, &'static [&'static str]);

fn small_limits() -> Limits {
    Limits {
        tarball_bytes_max: 16 << 10,
        unpacked_bytes_max: 32 << 10,
        files_max: 5,
        path_bytes_max: 60,
        depth_max: 4,
        manifest_bytes_max: 1 << 10,
        readme_bytes_max: 512,
        dependencies_max: 3,
        ..Limits::default()
    }
}

const MANIFEST: &str = "[package]\nname = \"http\"\nversion = \"1.0.0\"\n";

fn raw() -> RawArchive {
    RawArchive::default().file("http-1.0.0/drystone.toml", MANIFEST.as_bytes())
}

/// An archive with nothing wrong but its manifest.
fn of(manifest: &str) -> Vec<u8> {
    RawArchive::default().file("http-1.0.0/drystone.toml", manifest.as_bytes()).finish()
}

fn with(text: &str) -> Vec<u8> {
    of(&format!("{MANIFEST}{text}"))
}

/// Bytes that do not compress.
fn noise(len: u32) -> Vec<u8> {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn broken_archives() -> Vec<Case> {
    let good = Pkg::new("http", "1.0.0").archive();
    let cut = |at: usize| good[..at].to_vec();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let end = good.len();
    let files: Vec<String> = (0..6).map(|i| format!("http-1.0.0/{i}")).collect();
    let many = files.iter().fold(RawArchive::default(), |archive, path| archive.file(path, b"x"));
    vec![
        ("text", b"this is no archive".to_vec(), &["not-an-archive"]),
        ("nothing", Vec::new(), &["not-an-archive"]),
        ("a zip", b"PK\x03\x04\x14\x00\x00\x00".to_vec(), &["not-an-archive"]),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x00".to_vec(), &["not-an-archive"]),
        ("cut in the gzip header", cut(5), &["archive-truncated"]),
        ("cut in the middle", cut(end / 2), &["archive-truncated"]),
        ("cut in the trailer", cut(end - 3), &["archive-truncated"]),
        ("a wrong checksum", flipped(end - 6), &["archive-corrupt"]),
        ("a wrong length", flipped(end - 2), &["archive-corrupt"]),
        ("bytes after the end", [&good[..], b"more"].concat(), &["archive-trailing-data"]),
        ("a second member", [&good[..], &good[..]].concat(), &["archive-trailing-data"]),
        ("no file", RawArchive::default().finish(), &["empty-archive"]),
        (
            "too many packed bytes",
            raw().file("http-1.0.0/n", &noise(20 << 10)).finish(),
            &["tarball-too-big"],
        ),
        ("too many unpacked bytes", raw().zeros("http-1.0.0/z", 40 << 10).finish(), &["unpacked-too-big"]),
        ("too many entries", many.finish(), &["too-many-files"]),
        (
            "a long path",
            raw().file(&format!("http-1.0.0/{}", "p".repeat(60)), b"").finish(),
            &["path-too-long"],
        ),
        ("a deep path", raw().file("http-1.0.0/a/b/c/d/e/f", b"").finish(), &["path-too-long"]),
        ("a symbolic link", raw().entry("http-1.0.0/l", b'2').finish(), &["entry-type"]),
        ("a device", raw().entry("http-1.0.0/d", b'3').finish(), &["entry-type"]),
        (
            "two entries of one path",
            raw().file("http-1.0.0/a", b"1").file("http-1.0.0/a", b"2").finish(),
            &["duplicate-path"],
        ),
        (
            "paths that differ in case",
            raw().file("http-1.0.0/a", b"1").file("http-1.0.0/A", b"2").finish(),
            &["duplicate-path"],
        ),
        ("two directories", raw().file("http-1.0.1/a", b"1").finish(), &["wrong-root"]),
        (
            "an entry that says it is longer",
            raw().file_declared("http-1.0.0/a", 9999, b"1").finish(),
            &["archive-truncated"],
        ),
        ("a long README", raw().file("http-1.0.0/README.md", &[b'x'; 600]).finish(), &["readme-too-big"]),
    ]
}

fn broken_manifests() -> Vec<Case> {
    let many: String = (0..4).map(|i| format!("d{i} = \"1\"\n")).collect();
    vec![
        ("no manifest", RawArchive::default().file("http-1.0.0/a", b"x").finish(), &["manifest-missing"]),
        (
            "a manifest in a folder",
            RawArchive::default().file("http-1.0.0/a/drystone.toml", MANIFEST.as_bytes()).finish(),
            &["manifest-missing"],
        ),
        ("two manifests", raw().file("http-1.0.0/Cargo.toml", b"").finish(), &["manifest-ambiguous"]),
        (
            "another spelling",
            RawArchive::default().file("http-1.0.0/Drystone.toml", MANIFEST.as_bytes()).finish(),
            &["manifest-ambiguous"],
        ),
        ("a second spelling", raw().file("http-1.0.0/Drystone.toml", b"").finish(), &["duplicate-path"]),
        ("not TOML", of("[package\nname"), &["manifest-invalid"]),
        (
            "not UTF-8",
            RawArchive::default().file("http-1.0.0/drystone.toml", b"\xff").finish(),
            &["manifest-invalid"],
        ),
        ("no package", of("[dependencies]\n"), &["manifest-invalid"]),
        ("no name, no version", of("[package]\n"), &["manifest-invalid", "manifest-invalid"]),
        ("a name that is a number", of("[package]\nname = 1\nversion = \"1.0.0\"\n"), &["manifest-invalid"]),
        ("a long manifest", with(&"# long\n".repeat(200)), &["manifest-too-big"]),
        ("a bad name", of("[package]\nname = \"a b\"\nversion = \"1.0.0\"\n"), &["invalid-name"]),
        (
            "a name in three parts",
            of("[package]\nname = \"a/b/c\"\nversion = \"1.0.0\"\n"),
            &["invalid-name"],
        ),
        ("a bad version", of("[package]\nname = \"http\"\nversion = \"1.0\"\n"), &["invalid-version"]),
        ("another directory", of("[package]\nname = \"http\"\nversion = \"1.0.1\"\n"), &["wrong-root"]),
        ("too many dependencies", with(&format!("[dependencies]\n{many}")), &["too-many-dependencies"]),
        ("a bad requirement", with("[dependencies]\na = \"newest\"\n"), &["invalid-dependency"]),
        (
            "a path instead of a version",
            with("[dependencies]\na = { path = \"../a\" }\n"),
            &["invalid-dependency"],
        ),
        (
            "a Git source",
            with("[dependencies]\na = { git = \"https://git.example/a\" }\n"),
            &["invalid-dependency"],
        ),
        (
            "a registry without its index",
            with("[dependencies]\na = { version = \"1\", registry = \"b\" }\n"),
            &["invalid-dependency"],
        ),
        (
            "an index that is no URL",
            with("[dependencies]\na = { version = \"1\", registry-index = \"b\" }\n"),
            &["invalid-dependency"],
        ),
        ("a bad dependency name", with("[dependencies]\n\"../a\" = \"1\"\n"), &["invalid-dependency"]),
        (
            "a dependency that is a number, and two bad requirements",
            with("[dependencies]\na = 1\nb = \"q\"\nc = \"y\"\n"),
            &["manifest-invalid", "invalid-dependency", "invalid-dependency"],
        ),
    ]
}

#[tokio::test]
async fn archives_that_are_not_packages() {
    let registry = registry_with(small_limits()).await;
    for (case, archive, codes) in broken_archives().into_iter().chain(broken_manifests()) {
        let answer = registry.publish_bytes(&registry.admin, None, &archive).await;
        let status = if codes == ["tarball-too-big"] { 413 } else { 422 };
        answer.assert_refused(case, status, codes);
        assert_eq!(registry.log_size().await, 1, "{case}");
    }
    assert_nothing_happened(&registry, 1).await;
}

#[tokio::test]
async fn the_facts_of_a_limit_are_told() {
    let registry = registry_with(small_limits()).await;
    let deep = raw().file("http-1.0.0/a/b/c/d/e/f", b"").finish();
    let answer = registry.publish_bytes(&registry.admin, None, &deep).await.json();
    let facts = &answer["errors"][0]["facts"];
    assert_eq!(
        (facts["limit"].as_str(), facts["path"].as_str()),
        (Some("4"), Some("http-1.0.0/a/b/c/d/e/f"))
    );
    let big = raw().file("http-1.0.0/n", &noise(20 << 10)).finish();
    let answer = registry.publish_bytes(&registry.admin, None, &big).await.json();
    assert_eq!(answer["errors"][0]["facts"]["bytes_max"], "16384");
}

#[tokio::test]
async fn a_record_that_is_too_long() {
    let registry = registry_with(Limits { record_bytes_max: 500, ..Limits::default() }).await;
    let answer = registry.publish(&Pkg::new("http", "1.0.0")).await;
    answer.assert_refused("a long record", 422, &["record-too-big"]);
    assert_eq!((registry.log_size().await, registry.visible().await.len()), (1, 0));
}

/// Everything that the request says is compared, and every difference told in one answer.
#[tokio::test]
async fn a_request_that_says_something_else_than_the_archive() {
    let registry = TestRegistry::new().await;
    let archive = Pkg::new("http", "1.0.0").archive();
    let publish =
        async |metadata: &str| registry.publish_bytes(&registry.admin, Some(metadata), &archive).await;
    let zeros = "0".repeat(64);
    let all = format!(r#"{{"name":"other","vers":"2.0.0","sha256":"{zeros}","size":1,"format":"generic"}}"#);
    let answer = publish(&all).await;
    let codes = ["digest-mismatch", "length-mismatch", "manifest-disagrees", "manifest-disagrees"];
    answer.assert_refused("every field", 422, &codes);
    let errors = answer.json()["errors"].clone();
    assert_eq!(
        (&errors[1]["facts"]["declared"], &errors[1]["facts"]["found"]),
        (&"1".into(), &archive.len().to_string().into())
    );
    assert_eq!(
        (&errors[2]["facts"]["field"], &errors[2]["facts"]["manifest"]),
        (&"name".into(), &"http".into())
    );
    assert_eq!(
        (&errors[3]["facts"]["field"], &errors[3]["facts"]["request"]),
        (&"vers".into(), &"2.0.0".into())
    );
    publish(r#"{"sha256":"abc"}"#).await.assert_refused("no digest", 400, &["malformed-request"]);
    publish(r#"{"format":"npm"}"#).await.assert_refused("an unknown format", 422, &["unknown-format"]);
    publish(r#"{"format":"cargo"}"#).await.assert_refused("another format", 422, &["manifest-missing"]);
    assert_nothing_happened(&registry, 1).await;
}

#[tokio::test]
async fn a_format_that_the_registry_does_not_take() {
    let settings = Settings { formats: vec![Format::Cargo], ..Settings::new("test", "http://registry.test") };
    let registry = TestRegistry::with_settings(Store::memory(), settings.clone()).await;
    let package = Pkg::new("http", "1.0.0");
    registry.publish(&package).await.assert_refused("a disabled format", 422, &["format-disabled"]);
    let named =
        registry.publish_bytes(&registry.admin, Some(r#"{"format":"generic"}"#), &package.archive()).await;
    named.assert_refused("a disabled format by name", 422, &["format-disabled"]);
    assert_eq!(registry.publish(&Pkg::cargo("http", "1.0.0")).await.status, 201);
    // Settings are changed while the registry runs, and another process has not heard of it.
    let other = registry.another(Store::clone).await;
    let seq = registry.service.configure(Settings { formats: vec![Format::Generic], ..settings }).await;
    assert_eq!(seq.unwrap(), Some(2));
    for process in [&registry, &other] {
        let answer = process.publish(&Pkg::cargo("http", "1.1.0")).await;
        answer.assert_refused("disabled now", 422, &["format-disabled"]);
    }
    assert_eq!(registry.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    registry.assert_clean("after refusals").await;
}

/// Problems of the archive, of the manifest and of the request come together.
#[tokio::test]
async fn all_problems_of_an_upload_come_at_once() {
    let registry = TestRegistry::new().await;
    let manifest = b"[package]\nname = \"a b\"\nversion = \"1\"\n[dependencies]\nc = \"newest\"\n";
    let files = [PackFile::bytes("drystone.toml", false, manifest), PackFile::bytes("a", false, b"x")];
    let archive = pack(Vec::new(), "http-1.0.0", files, &Limits::default()).unwrap();
    let metadata = r#"{"size":7,"name":"other"}"#;
    let answer = registry.publish_bytes(&registry.admin, Some(metadata), &archive).await;
    let codes =
        ["length-mismatch", "invalid-name", "invalid-version", "invalid-dependency", "manifest-disagrees"];
    answer.assert_refused("manifest and request", 422, &codes);
    let archive = RawArchive::default()
        .file("http-1.0.0/drystone.toml", manifest)
        .file("http-1.0.0/../evil", b"x")
        .entry("http-1.0.0/link", b'2')
        .file("http-1.0.0/a", b"1")
        .file("http-1.0.0/A", b"2")
        .finish();
    let answer = registry.publish_bytes(&registry.admin, Some(metadata), &archive).await;
    let codes = [
        "unsafe-path",
        "entry-type",
        "duplicate-path",
        "length-mismatch",
        "invalid-name",
        "invalid-version",
        "invalid-dependency",
        "manifest-disagrees",
    ];
    answer.assert_refused("archive, manifest and request", 422, &codes);
    assert_nothing_happened(&registry, 1).await;
}
