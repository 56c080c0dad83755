//! The answers for API clients are files, wherever a registry is served from: the function is not asked for them.

use std::path::Path;

use drystone_tests::{
    deployment::{Deployment, Kind},
    multipart_body,
    process::{Server, User, http_client, wait_until_answers},
    web::{self, free_port, is_installed, template},
};
use reqwest::{Client, Response};

use super::packages::{manifest, package};

/// Publishes `acme/http`, and gives it a short name.
async fn publish(client: &Client, url: &str, token: &str) {
    let archive = package("http-1.0.0", &manifest("http", "1.0.0", ""));
    let (content_type, body) = multipart_body(Some(r#"{"format":"zig","owner":"acme"}"#), &archive);
    let request = client.post(format!("{url}/api/v1/packages")).bearer_auth(token);
    let answer = request.header("content-type", content_type).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let request = client.put(format!("{url}/api/v1/aliases/web")).bearer_auth(token);
    let named = request.json(&serde_json::json!({"package": "acme/http"})).send().await.unwrap();
    assert_eq!(named.status(), 200);
}

async fn get(client: &Client, url: &str) -> Response {
    client.get(url).header("user-agent", "zion").header("accept", "application/json").send().await.unwrap()
}

/// A file has a tag by which it is asked for again; the function's answers have none.
fn is_file(answer: &Response) -> bool {
    answer.headers().contains_key("etag")
}

/// The addresses that have files, and what they hold.
const FILES: [(&str, &str); 10] = [
    ("packages/acme/http", "\"full_name\":\"acme/http\""),
    ("packages/acme/http/releases", "\"tag_name\":\"1.0.0\""),
    ("packages/acme/http/tags", "\"commit\""),
    ("packages/acme/http/dependencies", "{\"dependencies\":[]}"),
    ("repos/acme/http/releases?per_page=100", "\"file_size\""),
    ("registry/config", "\"github_compatible\":true"),
    ("resolve/web", "{\"full_name\":\"acme/http\",\"resolved\":true}"),
    ("registry/config/index.json", "\"github_compatible\":true"),
    ("repos/acme/http/releases/index.json", "\"file_size\""),
    ("packages/Acme/HTTP", "\"full_name\":\"acme/http\""),
];

async fn check(url: &str, token: &str) {
    let client = http_client();
    publish(&client, url, token).await;
    for (address, held) in FILES {
        let answer = get(&client, &format!("{url}/api/v1/{address}")).await;
        assert_eq!(answer.status(), 200, "{address}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{address}");
        // Other spellings are the function's.
        assert_eq!(is_file(&answer), !address.contains("HTTP"), "{address}: {:?}", answer.headers());
        let text = answer.text().await.unwrap();
        assert!(text.contains(held), "{address}: {text}");
    }
    // What has no file, and what may not be taken for one.
    for (address, status) in [
        ("packages/acme/none", 404),
        ("packages/acme%2Fhttp", 200),
        ("packages/acme/http/1.0.0", 200),
        ("resolve/none", 404),
        ("search?q=http", 200),
    ] {
        let answer = get(&client, &format!("{url}/api/v1/{address}")).await;
        assert_eq!((answer.status().as_u16(), is_file(&answer)), (status, false), "{address}");
    }
    for path in ["packages/../../../vault/head", "packages/a/..%2f..%2f..%2fvault", "packages/.x"] {
        let answer = get(&client, &format!("{url}/api/v1/{path}")).await;
        assert!(answer.status().is_client_error() && !is_file(&answer), "{path}: {answer:?}");
    }
    // Whoever checks or copies the registry finds every file at its own address.
    let checked = User::new(url, None).run(Path::new("."), &["fsck", url]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let health = get(&client, &format!("{url}/health")).await;
    assert_eq!(health.headers()["content-type"], "application/json");
    assert_eq!(health.json::<serde_json::Value>().await.unwrap()["status"], "ok");
    assert_eq!(client.get(format!("{url}/health")).send().await.unwrap().text().await.unwrap(), "OK");
}

fn in_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// A registry in a directory, and a web server in front of it that this starts: from URL, public directory and function.
fn in_front_of_a_directory(start: impl FnOnce(&Path, &str, &str, &str) -> web::Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let url = format!("http://127.0.0.1:{}", free_port());
    let (data, token_file) = (path("data"), path("token"));
    let listen = ["--listen", "127.0.0.1:0", "--token-file", &token_file];
    let server = Server::start(&[&["--data", &data, "--public-url", &url], &listen[..]].concat(), &[]);
    let token = fs_err::read_to_string(&token_file).unwrap();
    let api = server.local.trim_start_matches("http://").to_owned();
    let _daemon = start(folder.path(), &url, &path("data/public"), &api);
    wait_until_answers(&format!("{url}/config.json"));
    in_runtime(check(&url, token.trim()));
    // Without the function, all of them are still there.
    drop(server);
    in_runtime(async {
        for (address, _) in FILES.iter().filter(|(address, _)| !address.contains("HTTP")) {
            let answer = get(&http_client(), &format!("{url}/api/v1/{address}")).await;
            assert_eq!(answer.status(), 200, "{address}");
        }
        assert_eq!(get(&http_client(), &format!("{url}/health")).await.status(), 200);
    });
}

#[test]
fn nginx_on_the_directory() {
    if !is_installed("nginx") {
        return;
    }
    in_front_of_a_directory(|folder, url, public, api| {
        let listen = url.trim_start_matches("http://");
        let variables = [("DRYSTONE_LISTEN", listen), ("DRYSTONE_PUBLIC", public), ("DRYSTONE_API", api)];
        web::nginx(folder, &template("nginx/drystone.conf.template", &variables))
    });
}

#[test]
fn caddy_on_the_directory() {
    if !is_installed("caddy") {
        return;
    }
    in_front_of_a_directory(|folder, url, public, api| {
        let variables = [("DRYSTONE_SITE", url), ("DRYSTONE_PUBLIC", public), ("DRYSTONE_API", api)];
        web::caddy(folder, &template("caddy/Caddyfile.template", &variables))
    });
}

#[test]
fn nginx_in_front_of_a_bucket() {
    let Some(registry) = Deployment::start(Kind::Nginx, &[]) else { return };
    in_runtime(check(&registry.url, &registry.token));
}
