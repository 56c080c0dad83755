//! Zion 1.1 on the wire: its requests byte for byte, and its answers read by parsers as strict as its own.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_tests::{Answer, TestRegistry};
use serde::{Deserialize, de::DeserializeOwned};

use super::packages::{manifest, package};

/// The body that Zion sends; no header says what it is.
fn upload(metadata: &str, archive: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "------ZionPackageUpload\r\nContent-Disposition: form-data; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n\
         ------ZionPackageUpload\r\nContent-Disposition: form-data; name=\"package\"; filename=\"package.tar.gz\"\r\nContent-Type: application/gzip\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(archive);
    body.extend_from_slice(b"\r\n------ZionPackageUpload--\r\n");
    body
}

/// Sends a request with exactly the headers that Zion sends.
async fn zion(
    registry: &TestRegistry,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Vec<u8>,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "registry.test")
        .header(header::USER_AGENT, "zion")
        .header(header::CONNECTION, "keep-alive")
        .header(header::ACCEPT, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_LENGTH, body.len());
    }
    registry.send(request.body(Body::from(body)).unwrap()).await
}

/// What Zion asks of every answer before it parses it: 2xx, JSON, at most 8 MiB, beginning with `{` or `[`.
fn read<T: DeserializeOwned>(answer: &Answer) -> T {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    let content_type =
        answer.headers[header::CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap().trim();
    assert!(content_type == "application/json" || content_type.ends_with("+json"), "{content_type}");
    assert!(answer.body.len() <= 8 << 20);
    assert!(matches!(answer.body.trim_ascii_start().first(), Some(b'{' | b'[')));
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&answer.body)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolved {
    full_name: String,
    resolved: bool,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    full_name: String,
    version: String,
    tarball_url: String,
}

/// As versions 0.7 to 1.0 read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there is what is tested")]
struct StrictRelease {
    tag_name: String,
    name: String,
    published_at: String,
    prerelease: bool,
    tarball_url: String,
    zipball_url: String,
}

#[derive(Deserialize)]
struct Release {
    tag_name: String,
    tarball_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    items: Vec<Item>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    // Without a default, the field must be there, though it may be null.
    Option::deserialize(deserializer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there is what is tested")]
struct Item {
    name: String,
    full_name: String,
    #[serde(deserialize_with = "present")]
    description: Option<String>,
    version: String,
    tarball_url: String,
    #[serde(deserialize_with = "present")]
    sha256_hash: Option<String>,
    published_at: String,
    registry_name: String,
    last_updated: String,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    homepage: Option<String>,
    #[serde(default)]
    repository_url: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    download_count: u64,
    #[serde(default)]
    stars: u64,
    #[serde(default)]
    zig_version_min: Option<String>,
    #[serde(default)]
    zig_version_max: Option<String>,
    #[serde(default)]
    categories: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependencies {
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependency {
    name: String,
    version: String,
    optional: bool,
}

const METADATA: &str = r#"{"name":"http","version":"1.0.0","description":"talks "http"","license":"MIT"}"#;

fn http(vers: &str) -> String {
    let hash = format!("json-2.1.0-{}", "A".repeat(44));
    let deps = format!(
        "    .dependencies = .{{ .json = .{{ .url = \"https://x.example/j\", .hash = \"{hash}\", .lazy = true }} }},\n    .description = \"talks\",\n"
    );
    manifest("http", vers, &deps)
}

#[tokio::test]
async fn what_zion_publishes_it_finds_and_adds() {
    let registry = TestRegistry::new().await;
    let token = registry.token_of("ann").await.token.reveal().to_owned();
    let token = Some(&*token);
    let get = async |path: &str, token| zion(&registry, Method::GET, path, token, Vec::new()).await;

    // Before anything else, and again before every command.
    let _: serde_json::Map<String, serde_json::Value> = read(&get("/health", token).await);
    assert_eq!(get("/api/v1/packages/http/http", token).await.status, 404);
    // A flat archive, metadata that is not JSON, and no content type.
    let body = upload(METADATA, &package("", &http("1.0.0")));
    let answer = zion(&registry, Method::POST, "/api/v1/packages", token, body).await;
    assert_eq!(answer.status, 201, "{:?}", String::from_utf8_lossy(&answer.body));
    let release: Release = read(&answer);
    assert_eq!(release.tag_name, "1.0.0");
    let body = upload(
        r#"{"name":"http","version":"2.0.0-rc.1","description":"","license":""}"#,
        &package("", &http("2.0.0-rc.1")),
    );
    assert_eq!(zion(&registry, Method::POST, "/api/v1/packages", token, body).await.status, 201);

    // What it reads when it adds, with and without a token.
    for token in [token, None] {
        let found: Search = read(
            &get("/api/v1/search?q=http&language=zig&sort=relevance&order=desc&per_page=20&page=1", token)
                .await,
        );
        let names: Vec<_> = found.items.iter().map(|item| (&*item.full_name, &*item.version)).collect();
        assert_eq!(names, [("ann/http", "1.0.0")]);
        let metadata: Metadata = read(&get("/api/v1/packages/ann/http", token).await);
        assert_eq!(
            (&*metadata.name, &*metadata.full_name, &*metadata.version, &metadata.tarball_url),
            ("http", "ann/http", "1.0.0", &release.tarball_url)
        );
        let old: Vec<StrictRelease> = read(&get("/api/v1/packages/ann/http/releases", token).await);
        let new: Vec<Release> = read(&get("/api/v1/repos/ann/http/releases", token).await);
        let tags: Vec<_> = new.iter().map(|release| &*release.tag_name).collect();
        assert_eq!((old.len(), &*tags), (2, &["2.0.0-rc.1", "1.0.0"][..]));
        assert_eq!(new[1].tarball_url, release.tarball_url);
        let needs: Dependencies = read(&get("/api/v1/packages/ann/http/dependencies", token).await);
        let needs: Vec<_> = needs.dependencies.iter().map(|d| (&*d.name, &*d.version, d.optional)).collect();
        assert_eq!(needs, [("json", "2.1.0", true)]);
    }
    registry
        .ask(Method::PUT, "/api/v1/aliases/ahttp", Some(serde_json::json!({"package": "ann/http"})))
        .await;
    for sort in ["relevance", "stars", "downloads", "updated", "created", "name"] {
        let asked = format!("/api/v1/search?q=http&language=zig&sort={sort}&order=desc&per_page=20&page=1");
        let sorted: Search = read(&get(&asked, None).await);
        assert_eq!(sorted.items.len(), 1, "{sort}");
    }
    let resolved: Resolved = read(&get("/api/v1/resolve/ahttp", None).await);
    assert!(resolved.resolved && resolved.full_name == "ann/http");
    let by_alias: Search = read(&get("/api/v1/search?q=ahttp&language=zig", None).await);
    assert_eq!(by_alias.items.len(), 1);

    // The archive has one root directory, which Zion strips, and the type by which zig knows it.
    let archive = registry.get(release.tarball_url.strip_prefix("http://registry.test").unwrap()).await;
    assert_eq!(archive.headers[header::CONTENT_TYPE], "application/gzip");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*archive.body));
    let paths: Vec<String> =
        tar.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(paths, ["http-1.0.0/build.zig", "http-1.0.0/build.zig.zon", "http-1.0.0/src/root.zig"]);
}

#[tokio::test]
async fn refusals_are_clear() {
    let registry = TestRegistry::new().await;
    let token = registry.token_of("ann").await.token.reveal().to_owned();
    let flat = package("", &http("1.0.0"));
    let post =
        async |body: Vec<u8>| zion(&registry, Method::POST, "/api/v1/packages", Some(&token), body).await;
    for (body, status, code) in [
        (b"{}\r\n".to_vec(), 400, "malformed-multipart"),
        (vec![b'-'; 100], 400, "malformed-multipart"),
        (upload("{\"name\": 1}", &flat), 400, "malformed-request"),
        (upload(&METADATA.replace("1.0.0", "1.0.1"), &flat), 422, "manifest-disagrees"),
        (upload(METADATA, &package("", &http("1.0"))), 422, "invalid-version"),
        (upload(METADATA, b"not an archive"), 422, "not-an-archive"),
    ] {
        let answer = post(body).await;
        assert_eq!((answer.status, &*answer.codes()[0]), (status, code));
    }
    let anonymous = zion(&registry, Method::POST, "/api/v1/packages", None, upload(METADATA, &flat)).await;
    assert_eq!(anonymous.status, 401);
    assert_eq!(post(upload(METADATA, &flat)).await.status, 201);
    // The same again is the same; other bytes are not.
    assert_eq!(post(upload(METADATA, &flat)).await.status, 201);
    let other = manifest("http", "1.0.0", "    // other\n");
    assert_eq!(post(upload(METADATA, &package("", &other))).await.codes(), ["version-exists"]);
}

#[tokio::test]
async fn others_get_the_shapes_that_they_know() {
    let registry = TestRegistry::new().await;
    let metadata = r#"{"format":"zig","owner":"acme"}"#;
    let archive = package("http-1.0.0", &http("1.0.0"));
    let answer = registry.publish_bytes(&registry.admin, Some(metadata), &archive).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    // A canonical layout is stored as it came.
    let tarball = answer.json()["tarball"].as_str().unwrap().to_owned();
    assert_eq!(tarball, drystone_schemas::Sha256Digest::of(&archive).to_string());

    assert_eq!(registry.get("/health").await.body, b"OK");
    let found = registry.get("/api/v1/search?q=http").await.json();
    assert_eq!((&found["total_count"], &found["items"][0]["full_name"]), (&1.into(), &"acme/http".into()));
    assert_eq!(found["crates"][0]["name"], "acme/http");
    let tags = registry.get("/api/v1/packages/Acme/HTTP/tags").await.json();
    assert_eq!(tags[0]["name"], "1.0.0");
    let download = registry.get("/api/v1/packages/acme/http/download/1.0.0").await;
    assert_eq!(download.status, 302);
    assert!(download.headers[header::LOCATION].to_str().unwrap().ends_with(&tarball["sha256:".len()..]));
    let config = registry.get("/api/v1/registry/config").await.json();
    assert_eq!(
        (&config["github_compatible"], &config["url"]),
        (&true.into(), &"http://registry.test".into())
    );
    // Escaped, the address is the native one.
    let native = registry.get("/api/v1/packages/acme%2Fhttp").await.json();
    let hash = native["versions"][0]["zig"]["hash"].as_str().unwrap().to_owned();
    assert!(hash.starts_with("http-1.0.0-"), "{hash}");
    assert_eq!(native["zig"]["hash"], *hash);
    let version = registry.get("/api/v1/packages/acme/http/1.0.0").await.json();
    assert!(version["zig_snippet"]["zon"].as_str().unwrap().contains(&hash));
}
