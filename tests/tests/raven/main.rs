//! Every request of `raven pkg`, as it was recorded, and its answers through parsers as strict as its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod flat;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use drystone_schemas::{Language, Settings, Sha256Digest};
use drystone_storage::Store;
use drystone_tests::{Answer, TestRegistry};
use flat::{archive, published_with};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

const MANIFEST: &str = "[package]\nname = \"raven-http\"\nversion = \"0.2.0\"\nauthors = [\"Ann <ann@raven.test>\"]\n\
    keywords = [\"http\"]\n[dependencies]\nraven-io = \"^1.0\"\nraven-ui = { version = \"~0.3\", features = [\"dom\"] }\n\
    [dev-dependencies]\nraven-test = \"*\"\n[build]\ntarget = \"wasm\"\nssr = true\n";

async fn registry() -> TestRegistry {
    let (manifest, language) = Language::preset("raven").unwrap();
    let settings = Settings {
        generic_manifest: manifest.into(),
        language: Some(language),
        ..Settings::new("raven", "http://registry.test")
    };
    TestRegistry::with_settings(Store::memory(), settings).await
}

/// The body of a publish, as the client's multipart library writes it: a text part without a type, a file without one.
fn publish_body(metadata: &Value, tarball: &[u8], file_name: &str) -> (String, Vec<u8>) {
    let boundary = "8b7a0f3c5e1d2946-a1b2c3d4e5f60718-1122334455667788-99aabbccddeeff00";
    let mut body = Vec::new();
    let part =
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n");
    body.extend_from_slice(part.as_bytes());
    let part = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"tarball\"; filename=\"{file_name}\"\r\n\r\n"
    );
    body.extend_from_slice(part.as_bytes());
    body.extend_from_slice(tarball);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn metadata(name: &str, version: &str) -> Value {
    json!({
        "name": name, "version": version, "authors": ["Ann <ann@raven.test>"], "description": null, "license": "MIT",
        "repository": null, "homepage": null, "keywords": [], "dependencies": {"raven-io": "^1.0"},
        "dev_dependencies": {}
    })
}

async fn publish(registry: &TestRegistry, token: &str, metadata: &Value, tarball: &[u8]) -> Answer {
    let name =
        format!("{}-{}.tar.gz", metadata["name"].as_str().unwrap(), metadata["version"].as_str().unwrap());
    published_with(registry, token, "/api/v1/packages/publish", publish_body(metadata, tarball, &name)).await
}

/// A request as `reqwest` sends it, without a token.
async fn get(registry: &TestRegistry, path: &str) -> Answer {
    let request = Request::get(path).header(header::ACCEPT, "*/*").header(header::HOST, "registry.test");
    registry.send(request.body(Body::empty()).unwrap()).await
}

async fn post(registry: &TestRegistry, path: &str, body: &Value) -> Answer {
    let request =
        Request::post(path).header(header::CONTENT_TYPE, "application/json").header(header::ACCEPT, "*/*");
    registry.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn parsed<T: DeserializeOwned>(answer: &Answer) -> T {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&answer.body)))
}

#[derive(Deserialize)]
struct LoginResponse {
    token: String,
    expires_at: String,
    user: LoginUser,
}

#[derive(Deserialize)]
struct LoginUser {
    user_id: String,
    username: String,
    email: String,
}

#[derive(Deserialize)]
struct PublishResponse {
    package_id: String,
    name: String,
    version: String,
    published_at: String,
    download_url: String,
    checksum: String,
}

#[derive(Deserialize)]
struct SearchResponse {
    results: Vec<SearchResult>,
    total: u64,
    limit: u64,
    offset: u64,
}

#[derive(Deserialize)]
struct SearchResult {
    name: String,
    version: String,
    description: String,
    keywords: Vec<String>,
    downloads: u64,
    score: f64,
}

#[derive(Deserialize)]
struct PackageInfo {
    name: String,
    description: String,
    latest_version: String,
    versions: Vec<String>,
    owner: Owner,
    license: String,
    repository: Option<String>,
    homepage: Option<String>,
    keywords: Vec<String>,
    downloads_total: u64,
    downloads_last_month: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct Owner {
    username: String,
    user_id: String,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
    message: String,
}

#[tokio::test]
async fn a_session_from_login_to_install() {
    let registry = registry().await;
    let ann = registry.token_of("ann").await;
    let login = json!({"email": "ann@raven.test", "password": ann.token.reveal()});
    let login: LoginResponse = parsed(&post(&registry, "/api/v1/auth/login", &login).await);
    assert_eq!((&*login.token, &*login.user.username), (ann.token.reveal(), "ann"));
    assert_eq!((&*login.user.user_id, &*login.user.email), (ann.account.id.as_str(), "ann@raven.test"));
    assert!(login.expires_at.ends_with('Z'));

    let tarball =
        archive(&[("raven.toml", MANIFEST), ("src/main.raven", "fn main() {}\n"), ("README.md", "# http\n")]);
    let answer = publish(&registry, &login.token, &metadata("raven-http", "0.2.0"), &tarball).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let published: PublishResponse = parsed(&answer);
    assert_eq!(
        (&*published.package_id, &*published.name, &*published.version),
        ("raven-http", "raven-http", "0.2.0")
    );
    assert_eq!(published.checksum, Sha256Digest::of(&tarball).hex());
    assert!(published.published_at.ends_with('Z'));
    assert_eq!(published.download_url, "http://registry.test/api/v1/packages/raven-http/0.2.0/download");

    let found: SearchResponse = parsed(&get(&registry, "/api/v1/search?q=http&limit=20").await);
    assert_eq!((found.total, found.limit, found.offset, found.results.len()), (1, 20, 0, 1));
    let hit = &found.results[0];
    assert_eq!((&*hit.name, &*hit.version, &*hit.description, hit.downloads), ("raven-http", "0.2.0", "", 0));
    assert_eq!((&*hit.keywords, hit.score > 0.0), (&["http".to_owned()][..], true));

    let info: PackageInfo = parsed(&get(&registry, "/api/v1/packages/raven-http").await);
    assert_eq!((&*info.name, &*info.description, &*info.latest_version), ("raven-http", "", "0.2.0"));
    assert_eq!((&*info.versions, &*info.license), (&["0.2.0".to_owned()][..], ""));
    assert_eq!((info.repository, info.homepage, &*info.keywords), (None, None, &["http".to_owned()][..]));
    assert_eq!((info.downloads_total, info.downloads_last_month), (0, 0));
    assert_eq!(
        (&*info.owner.username, &*info.owner.user_id),
        (ann.account.id.as_str(), ann.account.id.as_str())
    );
    assert!(info.created_at.ends_with('Z') && info.updated_at.ends_with('Z'));

    // Once for the manifest, once to install; the client follows redirects and sends no token.
    for _ in 0..2 {
        let redirect = get(&registry, "/api/v1/packages/raven-http/0.2.0/download").await;
        assert_eq!(redirect.status, 302);
        let location = redirect.headers["location"].to_str().unwrap();
        assert_eq!(
            get(&registry, location.strip_prefix("http://registry.test").unwrap()).await.body,
            tarball
        );
    }
    // A requirement in the place of a name, unescaped, as the client writes it.
    for odd in ["x@^1.0", "x@%5E1.0"] {
        let odd = get(&registry, &format!("/api/v1/packages/{odd}")).await;
        let failed: Failed = parsed(&odd);
        assert_eq!((odd.status, &*failed.error), (404, "package-not-found"));
        assert!(!failed.message.is_empty());
    }
    registry.assert_clean("after a session").await;
}

#[tokio::test]
async fn a_release_and_its_yank() {
    let registry = registry().await;
    for version in ["0.2.0", "0.2.1"] {
        let manifest = MANIFEST.replace("0.2.0", version);
        let tarball = archive(&[("raven.toml", &manifest), ("src/main.raven", "")]);
        assert_eq!(
            publish(&registry, &registry.admin, &metadata("raven-http", version), &tarball).await.status,
            201
        );
    }
    let release = get(&registry, "/api/v1/packages/raven-http/0.2.1").await.json();
    for field in ["name", "version", "description", "license", "published_at", "download_url", "checksum"] {
        assert!(release[field].is_string(), "{field}: {release}");
    }
    assert_eq!(release["dependencies"], json!({"raven-io": "^1.0", "raven-ui": "~0.3"}));
    assert_eq!(
        (&release["dev_dependencies"], &release["yanked"]),
        (&json!({"raven-test": "*"}), &json!(false))
    );
    let yanked = registry.ask(Method::DELETE, "/api/v1/packages/raven-http/0.2.1", None).await;
    assert_eq!(
        (yanked.status, &yanked.json()["package"], &yanked.json()["version"]),
        (200, &json!("raven-http"), &json!("0.2.1"))
    );
    let info: PackageInfo = parsed(&get(&registry, "/api/v1/packages/raven-http").await);
    assert_eq!((&*info.latest_version, &*info.versions), ("0.2.0", &["0.2.0".to_owned()][..]));
    registry.assert_clean("after a yank").await;
}

#[tokio::test]
async fn refusals_in_both_forms() {
    let registry = registry().await;
    let tarball = archive(&[("raven.toml", MANIFEST), ("src/main.raven", "")]);
    for (case, answer, status, code) in [
        (
            "a registration",
            post(
                &registry,
                "/api/v1/auth/register",
                &json!({"username": "u", "email": "e", "password": "p"}),
            )
            .await,
            403,
            "accounts-closed",
        ),
        (
            "a password that is no token",
            post(&registry, "/api/v1/auth/login", &json!({"email": "e", "password": "p"})).await,
            401,
            "login-failed",
        ),
        (
            "metadata of another version",
            publish(&registry, &registry.admin, &metadata("raven-http", "9.9.9"), &tarball).await,
            422,
            "manifest-disagrees",
        ),
        (
            "an archive with a root directory",
            publish(
                &registry,
                &registry.admin,
                &metadata("a", "1.0.0"),
                &drystone_tests::Pkg::new("a", "1.0.0").archive(),
            )
            .await,
            422,
            "manifest-missing",
        ),
        ("no such package", get(&registry, "/api/v1/packages/nothing").await, 404, "package-not-found"),
    ] {
        assert_eq!((answer.status, answer.codes()), (status, vec![code.to_owned()]), "{case}");
        let failed: Failed = parsed(&answer);
        assert_eq!(failed.error, code, "{case}");
        assert!(!failed.message.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn owners_and_statistics() {
    let registry = registry().await;
    registry.token_of("bob").await;
    let tarball = archive(&[("raven.toml", MANIFEST), ("src/main.raven", "")]);
    publish(&registry, &registry.admin, &metadata("raven-http", "0.2.0"), &tarball).await;
    let owners = "/api/v1/packages/raven-http/owners";
    let added =
        registry.ask(Method::POST, owners, Some(json!({"username": "bob", "role": "collaborator"}))).await;
    assert_eq!(added.status, 200, "{}", added.json());
    let listed = get(&registry, owners).await.json();
    let pairs: Vec<(&str, &str)> = listed["owners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|owner| (owner["username"].as_str().unwrap(), owner["role"].as_str().unwrap()))
        .collect();
    assert_eq!(pairs.len(), 2);
    assert!(pairs.contains(&("bob", "collaborator")) && pairs.contains(&("operator", "owner")), "{pairs:?}");
    assert_eq!(registry.ask(Method::DELETE, &format!("{owners}/bob"), None).await.status, 200);
    assert_eq!(get(&registry, owners).await.json()["owners"].as_array().unwrap().len(), 1);

    let stats = get(&registry, "/api/v1/stats").await.json();
    assert_eq!((&stats["total_packages"], &stats["total_downloads"]), (&json!(1), &json!(0)));
    assert!(
        stats["total_versions"].is_u64() && stats["total_users"].is_u64() && stats["updated_at"].is_string()
    );
    let stats = get(&registry, "/api/v1/packages/raven-http/stats").await.json();
    assert_eq!(stats["downloads"], json!({"total": 0, "last_week": 0, "last_month": 0, "last_year": 0}));
    assert_eq!((&stats["versions_count"], &stats["dependents_count"]), (&json!(1), &json!(0)));
    registry.assert_clean("after changes of owners").await;
}
