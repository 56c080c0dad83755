//! Every request of `vaisc pkg`, as it was recorded, and its answers through parsers as strict as its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../raven/flat.rs"]
mod flat;

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_index_builder::{RebuildOptions, Silent, rebuild};
use drystone_schemas::{Language, Settings, Sha256Digest, layout};
use drystone_storage::Store;
use drystone_tests::{
    Answer, TestRegistry,
    checks::{contents, overwrite},
};
use flat::{archive, published_with};
use serde::Deserialize;
use serde_json::{Value, json};

fn settings() -> Settings {
    let (manifest, language) = Language::preset("vais").unwrap();
    Settings {
        generic_manifest: manifest.into(),
        language: Some(language),
        ..Settings::new("vais", "http://registry.test")
    }
}

async fn registry() -> TestRegistry {
    TestRegistry::with_settings(Store::memory(), settings()).await
}

fn manifest(name: &str, version: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nauthors = [\"Ann\"]\ndescription = \"a package\"\n\
         license = \"MIT\"\n[dependencies]\njson = \"^1.0\"\ntls = {{ version = \">=2, <4\", features = [\"ring\"] }}\n\
         [dev-dependencies]\nassert = \"*\"\n[native-dependencies]\nz = \"1\"\n[build]\nopt_level = 2\n"
    )
}

fn tarball(name: &str, version: &str) -> Vec<u8> {
    archive(&[("vais.toml", &manifest(name, version)), ("src/lib.vais", "F add(a:i64,b:i64)->i64=a+b\n")])
}

fn metadata(name: &str, version: &str, archive: &[u8]) -> Value {
    json!({
        "name": name, "version": version, "description": "a package", "authors": ["Ann"], "license": "MIT",
        "checksum": Sha256Digest::of(archive).hex(), "dependencies": {"json": "^1.0", "tls": ">=2, <4"}
    })
}

async fn publish(registry: &TestRegistry, metadata: &Value, archive: &[u8]) -> Answer {
    let boundary = "----vais-publish-4711";
    let file =
        format!("{}-{}.tar.gz", metadata["name"].as_str().unwrap(), metadata["version"].as_str().unwrap());
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"{file}\"\r\nContent-Type: application/gzip\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(archive);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let body = (format!("multipart/form-data; boundary={boundary}"), body);
    published_with(registry, &registry.admin, "/api/v1/packages/publish", body).await
}

async fn published(registry: &TestRegistry, name: &str, version: &str) -> Vec<u8> {
    let archive = tarball(name, version);
    let answer = publish(registry, &metadata(name, version, &archive), &archive).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    archive
}

/// A request as the client's HTTP library sends it, with a token if the user gave one.
async fn get(registry: &TestRegistry, path: &str, token: Option<&str>) -> Answer {
    let mut request = Request::get(path)
        .header(header::HOST, "registry.test")
        .header(header::USER_AGENT, "ureq/2.12.1")
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "gzip");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    registry.send(request.body(Body::empty()).unwrap()).await
}

#[derive(Deserialize)]
struct Package {
    name: String,
    description: Option<String>,
    versions: Vec<Version>,
    authors: Vec<String>,
    homepage: Option<String>,
    repository: Option<String>,
    license: Option<String>,
    keywords: Vec<String>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    checksum: String,
    dependencies: BTreeMap<String, Dependency>,
    yanked: bool,
    download_url: Option<String>,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Dependency {
    req: String,
    features: Vec<String>,
    optional: bool,
    target: Option<String>,
}

async fn index(registry: &TestRegistry) -> Vec<Package> {
    let answer = get(registry, "/api/v1/index.json", None).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_session_from_publish_to_install() {
    let registry = registry().await;
    assert!(index(&registry).await.is_empty());
    let archive = published(&registry, "vais-http", "0.1.0").await;
    let checksum = Sha256Digest::of(&archive).hex();
    // The check after an upload: JSON with the checksum.
    let after = get(&registry, "/api/v1/packages/vais-http/0.1.0", Some(&registry.admin)).await;
    assert_eq!((after.status, after.json()["checksum"].as_str()), (200, Some(&*checksum)));

    let packages = index(&registry).await;
    assert_eq!(packages.len(), 1);
    let package = &packages[0];
    assert_eq!((&*package.name, package.description.as_deref()), ("vais-http", Some("a package")));
    assert_eq!((&*package.authors, package.license.as_deref()), (&["Ann".to_owned()][..], Some("MIT")));
    assert!(package.homepage.is_none() && package.repository.is_none() && package.keywords.is_empty());
    let version = &package.versions[0];
    assert_eq!((&*version.version, &*version.checksum, version.yanked), ("0.1.0", &*checksum, false));
    assert_eq!(version.size, Some(archive.len() as u64));
    assert_eq!(version.dependencies.keys().collect::<Vec<_>>(), ["json", "tls"]);
    let tls = &version.dependencies["tls"];
    assert_eq!(
        (&*tls.req, &*tls.features, tls.optional, &tls.target),
        (">=2, <4", &["ring".to_owned()][..], false, &None)
    );

    let url = version.download_url.as_deref().unwrap();
    assert_eq!(get(&registry, url.strip_prefix("http://registry.test").unwrap(), None).await.body, archive);
    let fallback = get(&registry, "/api/v1/packages/vais-http/0.1.0.tar.gz", None).await;
    assert_eq!((fallback.status, fallback.headers["location"].to_str().unwrap()), (302, url));
    let single: Package =
        serde_json::from_slice(&get(&registry, "/api/v1/packages/vais-http/index.json", None).await.body)
            .unwrap();
    assert_eq!((&*single.name, single.versions.len()), ("vais-http", 1));
    registry.assert_clean("after a session").await;
}

#[tokio::test]
async fn yank_login_and_registration() {
    let registry = registry().await;
    published(&registry, "vais-http", "0.1.0").await;
    let yank = Request::post("/api/v1/packages/vais-http/0.1.0/yank")
        .header(header::AUTHORIZATION, format!("Bearer {}", registry.admin))
        .header(header::CONTENT_LENGTH, 0);
    assert_eq!(registry.send(yank.body(Body::empty()).unwrap()).await.status, 200);
    assert!(index(&registry).await[0].versions[0].yanked);
    assert_eq!(get(&registry, "/api/v1/packages/vais-http/0.1.0", None).await.json()["yanked"], json!(true));
    assert_eq!(registry.ask(Method::POST, "/api/v1/packages/vais-http/0.1.0/unyank", None).await.status, 200);
    assert!(!index(&registry).await[0].versions[0].yanked);

    let ann = registry.token_of("ann").await;
    let login = async |username: &str, password: &str| {
        let body = json!({"username": username, "password": password}).to_string();
        let request = Request::post("/api/v1/auth/login").header(header::CONTENT_TYPE, "application/json");
        registry.send(request.body(Body::from(body)).unwrap()).await
    };
    let signed_in = login("ann", ann.token.reveal()).await;
    assert_eq!((signed_in.status, signed_in.json()["token"].as_str()), (200, Some(ann.token.reveal())));
    assert_eq!(signed_in.json()["user"]["username"], "ann");
    for (username, password, code) in
        [("bob", ann.token.reveal(), "token-invalid"), ("ann", "secret", "login-failed")]
    {
        let refused = login(username, password).await;
        assert_eq!((refused.status, refused.json()["status"].as_u64()), (401, Some(401)));
        assert!(refused.json()["error"].is_string());
        assert_eq!(refused.codes(), [code]);
    }
    let register = Request::post("/api/v1/auth/register").body(Body::from("{}")).unwrap();
    assert_eq!(registry.send(register).await.codes(), ["accounts-closed"]);
    registry.assert_clean("after a yank and back").await;
}

/// What the server that the client knows answers on its pages.
#[tokio::test]
async fn search_in_the_servers_form() {
    let registry = registry().await;
    published(&registry, "vais-http", "0.1.0").await;
    published(&registry, "json", "1.0.0").await;
    let search = async |query: &str| get(&registry, &format!("/api/v1/search?{query}"), None).await.json();
    let found = search("q=http&limit=20&offset=0&sort=downloads").await;
    assert_eq!((&found["total"], &found["categories"]), (&json!(1), &json!([])));
    let hit = &found["packages"][0];
    assert_eq!(
        (&hit["name"], &hit["latest_version"], &hit["downloads"]),
        (&json!("vais-http"), &json!("0.1.0"), &json!(0))
    );
    assert_eq!((&hit["description"], &hit["keywords"]), (&json!("a package"), &json!([])));
    assert!(hit["updated_at"].as_str().unwrap().ends_with('Z') && hit["categories"].is_array());
    assert_eq!(search("q=&limit=1").await["total"], json!(2));
    assert_eq!(search("q=&limit=1&offset=1").await["packages"].as_array().unwrap().len(), 1);
    assert_eq!(search("q=http&keyword=none").await["packages"], json!([]));
}

#[tokio::test]
async fn a_checksum_that_is_not_that_of_the_archive_is_refused() {
    let registry = registry().await;
    let archive = tarball("vais-http", "0.1.0");
    let mut wrong = metadata("vais-http", "0.1.0", &archive);
    wrong["checksum"] = json!("0".repeat(64));
    assert_eq!(publish(&registry, &wrong, &archive).await.codes(), ["digest-mismatch"]);
    assert!(index(&registry).await.is_empty());
}

/// Whether a file answers this client; the registry's own description is there for all.
fn is_the_clients(key: &str) -> bool {
    key.starts_with("api/") && key != layout::API_CONFIG
}

/// The files are projections like all others: deleted, they come back with the same bytes; many at once lose none.
#[tokio::test]
async fn the_files_come_back_with_the_same_bytes() {
    let registry = registry().await;
    let names = ["a", "b", "c", "d", "e"];
    futures_util::future::join_all(names.iter().map(|name| published(&registry, name, "1.0.0"))).await;
    published(&registry, "b", "1.1.0").await;
    assert_eq!(index(&registry).await.iter().map(|package| &*package.name).collect::<Vec<_>>(), names);
    registry.assert_clean("after several publishes").await;
    let before = contents(&*registry.store.public).await;
    let files: Vec<&String> = before.keys().filter(|key| is_the_clients(key)).collect();
    assert_eq!(files.len(), 1 + 5 + 6);
    for key in &files {
        overwrite(&*registry.store.public, key, None).await;
    }
    let options = RebuildOptions { key: Some(TestRegistry::log_key()), dry_run: false };
    assert_eq!(rebuild(&registry.store, &options, &Silent).await.unwrap().written.len(), files.len());
    assert_eq!(contents(&*registry.store.public).await, before);
}

/// A registry that gets the language later has its files after a rebuild; one without it pays nothing.
#[tokio::test]
async fn the_language_can_be_turned_on_later() {
    let plain = Settings { language: None, generic_manifest: "vais.toml".into(), ..settings() };
    let registry = TestRegistry::with_settings(Store::memory(), plain).await;
    let package = drystone_tests::Pkg::new("old", "1.0.0").named("vais.toml");
    assert_eq!(registry.publish(&package).await.status, 201);
    assert!(!contents(&*registry.store.public).await.keys().any(|key| is_the_clients(key)));
    registry.service.configure(settings()).await.unwrap();
    let options = RebuildOptions { key: Some(TestRegistry::log_key()), dry_run: false };
    rebuild(&registry.store, &options, &Silent).await.unwrap();
    published(&registry, "new", "1.0.0").await;
    assert_eq!(
        index(&registry).await.iter().map(|package| &*package.name).collect::<Vec<_>>(),
        ["new", "old"]
    );
    registry.assert_clean("after the change").await;
}
