//! Registries whose reads need a token: cargo's `auth-required`, on every way of running one.

use drystone_tests::{
    deployment::{Deployment, Kind},
    process::{User, http_client},
};
use reqwest::Method;

use crate::{cargo::Cargo, life::live, transcript::Transcript};

fn private_life(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, &["--private-reads"]) else { return };
    let mut t = Transcript::new("private");
    t.heading("nobody is let in without a token");
    let stranger = Cargo::new(&deployment.url);
    stranger.write_crate("app", "app", "0.1.0", "[workspace]\n", "");
    for command in ["search --registry dry dry", "info --registry dry dry-lib", "add --registry dry dry-lib"]
    {
        t.run(&stranger, "app", command);
    }
    live(&mut t, &deployment);

    t.heading("a token for reading reads, and does nothing else");
    let token = deployment.token_of("reader", &["read"]);
    let reader = Cargo::signed_in(&deployment.url, &token);
    let depends = "[dependencies]\ndry-lib = { version = \"0.2\", registry = \"dry\" }\n[workspace]\n";
    reader.write_crate("app", "app", "0.1.0", depends, "pub use dry_lib::one;\n");
    t.run(&reader, "app", "check");
    t.run(&reader, "app", "search --registry dry dry-lib");
    t.run(&reader, "app", "yank --registry dry dry-lib@0.2.0");
    refused_without_a_token(&deployment, &token);

    t.heading("a token that was revoked reads nothing");
    deployment.admin(&["revoke"], &token);
    t.run(&reader, "app", "update");
    t.run(&reader, "app", "search --registry dry dry-lib");
    t.compare(kind);
}

/// Every kind of file and every address of the API but those that are open, asked with and without a token.
fn refused_without_a_token(deployment: &Deployment, token: &str) {
    let url = &deployment.url;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = http_client();
        let ask = async |method: Method, path: &str, token: Option<&str>| {
            let request = client.request(method, format!("{url}{path}"));
            let request =
                token.into_iter().fold(request, |request, token| request.header("authorization", token));
            request.send().await.unwrap()
        };
        let line: serde_json::Value =
            ask(Method::GET, "/api/v1/packages/dry-lib/0.1.0", Some(token)).await.json().await.unwrap();
        let archive = format!("/o/{}", line["cksum"].as_str().unwrap());
        for path in [
            "/config.json",
            "/index/config.json",
            "/index/dr/y-/dry-lib",
            "/packages/dry-lib.json",
            "/log/checkpoint",
            "/log/latest.tlog-proof",
            "/log/tile/entries/000.p/1",
            &archive,
            "/api/v1/crates?q=dry",
            "/api/v1/crates/dry-lib/owners",
            "/api/v1/packages/dry-lib",
            "/api/v1/registry/config",
            "/api/v1/search?q=dry-lib",
            // Nobody learns what there is, and what not.
            "/index/no/th/nothing",
            "/packages/nothing.json",
            "/nothing",
        ] {
            for method in [Method::GET, Method::HEAD] {
                for wrong in [None, Some("nonsense"), Some("dry_pat_00000000000000000000000000000000000000")]
                {
                    let answer = ask(method.clone(), path, wrong).await;
                    assert_eq!(answer.status(), 401, "{method} {path}");
                    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                    assert_eq!(challenge, format!("Cargo login_url=\"{url}/me\", Bearer"), "{method} {path}");
                }
            }
            if path.contains("nothing") || path.contains("entries") {
                continue;
            }
            for right in [token, &format!("Bearer {token}")] {
                let answer = ask(Method::GET, path, Some(right)).await;
                assert_eq!(answer.status(), 200, "{path}");
                assert_eq!(answer.headers()["cache-control"], "private, no-store", "{path}");
            }
        }
        assert_eq!(ask(Method::GET, "/index/no/th/nothing", Some(token)).await.status(), 404);
        assert_eq!(ask(Method::GET, "/me", None).await.status(), 200);
        assert_eq!(ask(Method::GET, "/api/v1/registry/access", Some(token)).await.status(), 204);
        let config: serde_json::Value =
            ask(Method::GET, "/index/config.json", Some(token)).await.json().await.unwrap();
        assert_eq!(config["auth-required"], true);
    });
    // Our own client finds out that it must show its token.
    let folder = tempfile::tempdir().unwrap();
    let user = User::new(url, Some(token));
    user.ok(folder.path(), &["init", "--name", "try"]);
    user.ok(folder.path(), &["add", "dry-lib"]);
    user.ok(folder.path(), &["verify", "dry-lib@0.1.0"]);
    assert_eq!(user.ok(folder.path(), &["fsck", url]), "clean\n");
    let stranger = User::new(url, None);
    let output = stranger.run(folder.path(), &["info", "dry-lib"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn private_on_serve() {
    private_life(Kind::Serve);
}

#[test]
fn private_on_nginx_function_and_bucket() {
    private_life(Kind::Nginx);
}

#[test]
fn private_on_nginx_lambda_and_bucket() {
    private_life(Kind::Lambda);
}
