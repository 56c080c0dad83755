//! A registry's files behind what people put in front of them: nginx, Caddy, a bucket, a caching proxy; with the
//! configurations of `infra/`, and the real cargo as the client.

use std::{path::Path, process::Command};

use drystone_schemas::IndexFile;
use drystone_tests::{
    deployment::{Deployment, Kind},
    process::{Server, http_client, wait_until_answers},
    web::{self, free_port, template},
};
use reqwest::{Client, Method, Response};

use crate::cargo::{Cargo, serve};

const INDEX: &str = "/index/dr/y-/dry-lib";

async fn ask(client: &Client, method: Method, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers
        .iter()
        .fold(client.request(method, url), |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// What cargo and our client rely on: types, life-times, tags and 304, and a plain 404 that nobody keeps.
async fn check_files(client: &Client, url: &str) {
    let index = ask(client, Method::GET, &format!("{url}{INDEX}"), &[]).await.bytes().await.unwrap();
    let archive = format!("/o/{}", IndexFile::parse(&index).unwrap().lines[0].cksum);
    let (fresh, forever) = ("public, max-age=5", "public, max-age=31536000, immutable");
    for (path, content_type, cache_control) in [
        ("/config.json", "application/json", fresh),
        ("/index/config.json", "application/json", fresh),
        (INDEX, "text/plain; charset=utf-8", fresh),
        ("/packages/dry-lib.json", "application/json", fresh),
        ("/log/checkpoint", "text/plain; charset=utf-8", "no-cache"),
        (&archive, "application/gzip", forever),
    ] {
        let url = format!("{url}{path}");
        let answer = ask(client, Method::GET, &url, &[]).await;
        assert_eq!(answer.status(), 200, "{url}");
        assert_eq!(header(&answer, "content-type"), content_type, "{url}");
        assert_eq!(header(&answer, "cache-control"), cache_control, "{url}");
        let etag = header(&answer, "etag").to_owned();
        assert!(etag.ends_with('"'), "{url}: {etag}");
        let again = ask(client, Method::GET, &url, &[("if-none-match", &etag)]).await;
        assert_eq!(again.status(), 304, "{url}: {etag}");
        let other = ask(client, Method::GET, &url, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status(), 200, "{url}");
        assert_eq!(ask(client, Method::HEAD, &url, &[]).await.status(), 200, "{url}");
    }
    let no_object = format!("/o/{}", "0".repeat(64));
    for path in [
        "/index/no/th/nothing",
        "/index/dr",
        &no_object,
        "/packages/nothing.json",
        "/index/.tmp/x",
        "/vault/head",
    ] {
        let answer = ask(client, Method::GET, &format!("{url}{path}"), &[]).await;
        assert_eq!(answer.status(), 404, "{path}");
        let kept = header(&answer, "cache-control");
        assert!(!kept.contains("max-age") && !kept.contains("immutable"), "{path}: {kept}");
    }
}

/// Cargo publishes and uses what it published, twice.
fn cargo_works(cargo: &Cargo) {
    let code = |n: u32| format!("pub fn n() -> u32 {{ {n} }}\n");
    cargo.write_crate("lib", "dry-lib", "1.0.0", "[workspace]\n", &code(1));
    cargo.run("lib", &["publish", "--registry", "dry", "--no-verify"]);
    let depends = "[dependencies]\ndry-lib = { version = \"1\", registry = \"dry\" }\n[workspace]\n";
    cargo.write_crate("app", "app", "0.1.0", depends, "pub use dry_lib::n;\n");
    cargo.run("app", &["check"]);
    cargo.write_crate("lib", "dry-lib", "1.1.0", "[workspace]\n", &code(2));
    cargo.run("lib", &["publish", "--registry", "dry", "--no-verify"]);
    let told = cargo.run("app", &["update"]);
    assert!(told.contains("Updating dry-lib v1.0.0 (registry `dry`) -> v1.1.0"), "{told}");
    cargo.run("app", &["check", "--locked"]);
}

fn in_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// A registry in a directory that tells its users this address.
fn registry(folder: &Path, url: &str) -> (Server, String, String) {
    let (server, token) = serve(folder, &["--public-url", url]);
    let api = server.local.trim_start_matches("http://").to_owned();
    (server, token, api)
}

fn make_certificate(more: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(more)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn nginx_with_tls_and_http_2() {
    if !web::is_installed("nginx") || !web::is_installed("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let (ca, ca_key) = (path("ca.pem"), path("ca-key.pem"));
    make_certificate(&["-subj", "/CN=test", "-keyout", &ca_key, "-out", &ca]);
    let of_server = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
    let by_ca = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", &ca, "-CAkey", &ca_key];
    make_certificate(&[&of_server[..], &by_ca, &["-keyout", &key, "-out", &cert]].concat());
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("https://{address}");
    let (_server, token, api) = registry(folder.path(), &url);
    let listen = format!("{address} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}");
    let public = path("data/public");
    let variables = [("DRYSTONE_LISTEN", &*listen), ("DRYSTONE_PUBLIC", &public), ("DRYSTONE_API", &api)];
    let _nginx = web::nginx(folder.path(), &template("nginx/drystone.conf.template", &variables));
    let version = || {
        let asked = Command::new("curl")
            .args([
                "-s",
                "--http2",
                "--cacert",
                &cert,
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{http_code}",
            ])
            .arg(format!("{url}/index/config.json"))
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    // nginx listens soon after it was started.
    assert!((0..1_000).any(|_| version() == "2 200"), "{}", version());
    let cargo = Cargo::new(&url);
    cargo.configure(&format!("[http]\ncainfo = \"{ca}\"\n"));
    assert!(cargo.told("", &["login", "--registry", "dry"], &token).contains("saved"));
    cargo_works(&cargo);
    in_runtime(async {
        let certificate = reqwest::Certificate::from_pem(&fs_err::read(&ca).unwrap()).unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().no_proxy().tls_certs_only([certificate]).build().unwrap();
        let answer = ask(&client, Method::GET, &format!("{url}{INDEX}"), &[]).await;
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        check_files(&client, &url).await;
        let put = ask(&client, Method::PUT, &format!("{url}{INDEX}"), &[]).await;
        assert_eq!(put.status(), 405);
    });
}

#[test]
fn caddy() {
    if !web::is_installed("caddy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let (_server, token, api) = registry(folder.path(), &url);
    let public = folder.path().join("data/public").display().to_string();
    let variables = [("DRYSTONE_SITE", &*url), ("DRYSTONE_PUBLIC", &public), ("DRYSTONE_API", &api)];
    let _caddy = web::caddy(folder.path(), &template("caddy/Caddyfile.template", &variables));
    wait_until_answers(&format!("{url}/index/config.json"));
    cargo_works(&Cargo::signed_in(&url, &token));
    in_runtime(async {
        let client = http_client();
        check_files(&client, &url).await;
        let put = ask(&client, Method::PUT, &format!("{url}{INDEX}"), &[]).await;
        assert_eq!(put.status(), 405);
        let large =
            ask(&client, Method::GET, &format!("{url}/config.json"), &[("accept-encoding", "gzip")]).await;
        assert_eq!(large.status(), 200);
    });
    let h2c = Command::new("curl")
        .args(["-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"])
        .arg(format!("{url}{INDEX}"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(h2c.stdout).unwrap(), "2 200");
}

/// The files straight from the bucket, with nothing of ours or anybody's in between.
#[test]
fn a_bucket() {
    let Some(registry) = Deployment::start(Kind::Bucket, &[]) else { return };
    cargo_works(&Cargo::signed_in(&registry.url, &registry.token));
    in_runtime(async { check_files(&http_client(), &registry.url).await });
}

#[test]
fn varnish_keeps_and_purges() {
    if !web::is_installed("varnishd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let (_server, token, api) = registry(folder.path(), &url);
    let (host, backend) = api.split_once(':').unwrap();
    let variables = [("DRYSTONE_BACKEND_HOST", host), ("DRYSTONE_BACKEND_PORT", backend)];
    let _varnish = web::varnish(folder.path(), &template("varnish/drystone.vcl.template", &variables), port);
    wait_until_answers(&format!("{url}/index/config.json"));
    let cargo = Cargo::signed_in(&url, &token);
    cargo_works(&cargo);
    in_runtime(async {
        let client = http_client();
        check_files(&client, &url).await;
        let index = format!("{url}{INDEX}");
        let purge = async || {
            let answer = ask(&client, Method::from_bytes(b"PURGE").unwrap(), &index, &[]).await;
            assert_eq!(answer.status(), 200);
        };
        let lines = async || {
            let answer = ask(&client, Method::GET, &index, &[]).await;
            // Two numbers: the request's, and that of the request which brought what is kept.
            let kept = header(&answer, "x-varnish").contains(' ');
            (kept, IndexFile::parse(&answer.bytes().await.unwrap()).unwrap().lines)
        };
        purge().await;
        assert!(!lines().await.0, "a purged file is fetched");
        assert!(lines().await.0, "a file is kept");
        let yank = format!("{url}/api/v1/crates/dry-lib/1.0.0/yank");
        assert_eq!(ask(&client, Method::DELETE, &yank, &[("authorization", &token)]).await.status(), 200);
        purge().await;
        let (kept, lines) = lines().await;
        assert!(!kept && lines[0].yanked, "after a purge the file is the newest");
    });
}
