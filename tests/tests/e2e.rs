//! The programs as users start them: one registry, its users, a web server in front, two publishers behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{path::Path, process::Command, thread};

use drystone_tests::{
    Pkg,
    process::{Server, User, program, s3_environment, unique},
    web,
};
use serde_json::{Value, json};

/// A registry in a directory, with its first token.
fn serve(folder: &Path, more: &[&str]) -> (Server, String) {
    let (data, token_file) = (folder.join("data"), folder.join("token"));
    let (data, token_path) = (data.display().to_string(), token_file.display().to_string());
    let mut arguments = vec!["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_path];
    arguments.extend(more);
    let server = Server::start(&arguments, &[]);
    let token = fs_err::read_to_string(&token_file).unwrap().trim().to_owned();
    (server, token)
}

fn write_package(folder: &Path, name: &str, vers: &str, more: &str) {
    fs_err::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{vers}\"\ndescription = \"a test\"\nlicense = \"MIT\"\n{more}"
    );
    fs_err::write(folder.join("drystone.toml"), manifest).unwrap();
    fs_err::write(folder.join("src/code.txt"), format!("{name} {vers}\n")).unwrap();
}

#[test]
fn from_an_empty_directory_to_an_installed_and_verified_package() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let author = User::new(&server.url, Some(&token));
    let (base, top) = (folder.path().join("base"), folder.path().join("top"));
    write_package(&base, "acme/base", "1.2.0", "");
    write_package(&top, "acme/top", "0.1.0", "[dependencies]\n\"acme/base\" = \"^1\"\n");
    author.ok(&base, &["publish"]);
    let published: Value = serde_json::from_str(&author.ok(&top, &["publish", "--json"])).unwrap();
    assert_eq!(published["outcome"], "published", "{published}");

    let user = User::new(&server.url, None);
    let project = folder.path().join("project");
    fs_err::create_dir(&project).unwrap();
    user.ok(&project, &["init"]);
    user.ok(&project, &["add", "acme/top"]);
    let installed =
        fs_err::read_to_string(project.join("drystone_packages/@acme/base/src/code.txt")).unwrap();
    assert_eq!(installed, "acme/base 1.2.0\n");
    assert!(fs_err::read_to_string(project.join("drystone.lock")).unwrap().contains("acme/base"));
    user.ok(&project, &["verify", "acme/base@1.2.0"]);
    assert!(user.ok(&project, &["info", "acme/top"]).contains("0.1.0"));
    assert!(user.ok(&project, &["search", "acme/base"]).contains("acme/base"));
    user.ok(&project, &["install", "--frozen"]);

    author.ok(&base, &["yank", "acme/base@1.2.0", "--reason", "a test"]);
    let refused = user.run(&project, &["yank", "acme/base@1.2.0"]);
    assert_eq!(refused.status.code(), Some(4), "without a token");
    let missing = user.run(&project, &["info", "no/such", "--json"]);
    assert_eq!(missing.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!(problem["errors"][0]["code"], "package-not-found");

    let data = folder.path().join("data").display().to_string();
    assert_eq!(user.ok(&project, &["fsck", &server.url]), "clean\n");
    assert_eq!(user.ok(&project, &["fsck", &data, "--deep"]), "clean\n");

    // A second start finds everything, and makes nothing anew.
    server.kill();
    let again = Server::start(&["--data", &data, "--listen", "127.0.0.1:0"], &[]);
    let author = User::new(&again.url, Some(&token));
    write_package(&base, "acme/base", "1.3.0", "");
    author.ok(&base, &["publish"]);
    assert_eq!(author.ok(&base, &["fsck", &data, "--deep"]), "clean\n");
}

/// Publishes `count` versions of one package and `count` packages through one server, from several threads.
fn publish_many(url: &str, token: &str, writer: usize, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = drystone_tests::process::http_client();
        for i in 0..count {
            for package in [
                Pkg::new("shared", &format!("{writer}.0.{i}")),
                Pkg::new(&format!("own-{writer}-{i}"), "1.0.0"),
            ] {
                let (content_type, body) = drystone_tests::multipart_body(None, &package.archive());
                let answer = client
                    .post(format!("{url}/api/v1/packages"))
                    .header("authorization", format!("Bearer {token}"))
                    .header("content-type", content_type)
                    .body(body)
                    .send()
                    .await
                    .unwrap();
                let status = answer.status().as_u16();
                assert_eq!(
                    status,
                    201,
                    "{} {}: {}",
                    package.name,
                    package.vers,
                    answer.text().await.unwrap()
                );
            }
        }
    });
}

fn two_servers_lose_nothing(store: &[&str], target: &str, environment: &[(&str, &str)], count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token").display().to_string();
    let url = "http://registry.test";
    let arguments = |more: &[&str]| -> Vec<String> {
        let fixed = ["--listen", "127.0.0.1:0", "--public-url", url];
        store.iter().chain(&fixed).chain(more).map(|text| (*text).to_owned()).collect()
    };
    let start = |more: &[&str]| {
        let arguments = arguments(more);
        Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), environment)
    };
    // Both announce the public URL; what they listen on is found in their start-up line only without one.
    let first = start(&["--token-file", &token_file]);
    let token = fs_err::read_to_string(&token_file).unwrap().trim().to_owned();
    let second = start(&[]);
    let writers: Vec<_> = [(1, &first), (2, &first), (3, &second), (4, &second)]
        .into_iter()
        .map(|(writer, server)| {
            let (url, token) = (server.local.clone(), token.clone());
            thread::spawn(move || publish_many(&url, &token, writer, count))
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let index = runtime.block_on(async {
        let client = drystone_tests::process::http_client();
        client
            .get(format!("{}/index/sh/ar/shared", second.local))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
    });
    let index = drystone_schemas::IndexFile::parse(&index).unwrap();
    assert_eq!(index.lines.len(), 4 * count);
    let fsck = Command::new(program("drystone"))
        .args(["fsck", target, "--deep", "--json"])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&fsck.stdout).unwrap();
    assert_eq!((&report["clean"], &report["size"]), (&json!(true), &json!(1 + 8 * count)), "{report}");
}

#[test]
fn two_servers_on_one_directory_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    two_servers_lose_nothing(&["--data", &data], &data, &[], 15);
}

#[test]
fn two_servers_on_one_bucket_lose_nothing() {
    let Some(environment) = s3_environment() else { return };
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("log.key").display().to_string();
    let store = format!("s3://drystone/{}", unique("two"));
    // The S3 server makes losers of one key wait for about a second, so a few rounds are enough.
    two_servers_lose_nothing(&["--store", &store, "--key-file", &key], &store, &pairs, 3);
}

#[test]
fn nginx_serves_the_directory_to_cargo_and_to_our_client() {
    if !web::is_installed("nginx") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", web::free_port());
    let url = format!("http://{listen}");
    let (server, token) = serve(folder.path(), &["--public-url", &url]);
    let api = server.local.trim_start_matches("http://").to_owned();
    let public = folder.path().join("data/public").display().to_string();
    let variables = [("DRYSTONE_LISTEN", &*listen), ("DRYSTONE_PUBLIC", &public), ("DRYSTONE_API", &api)];
    let _nginx = web::nginx(folder.path(), &web::template("nginx/drystone.conf.template", &variables));
    drystone_tests::process::wait_until_answers(&format!("{url}/config.json"));

    // Publishing goes through nginx to the function; the rest is files.
    let author = User::new(&url, Some(&token));
    for (vers, payload) in
        [("1.0.0", "pub fn one() -> u32 { 1 }\n"), ("1.1.0", "pub fn two() -> u32 { 2 }\n")]
    {
        let path = folder.path().join(format!("lib-{vers}.crate"));
        fs_err::write(&path, Pkg::cargo("dry-lib", vers).with_payload(payload).archive()).unwrap();
        author.ok(folder.path(), &["publish", "--archive", &path.display().to_string(), "--format", "cargo"]);
    }
    server.kill();

    let user = User::new(&url, None);
    let project = folder.path().join("project");
    fs_err::create_dir(&project).unwrap();
    user.ok(&project, &["init"]);
    user.ok(&project, &["add", "dry-lib"]);
    user.ok(&project, &["verify", "dry-lib@1.1.0"]);
    assert_eq!(user.ok(&project, &["fsck", &url]), "clean\n");

    let app = folder.path().join("app");
    fs_err::create_dir_all(app.join("src")).unwrap();
    fs_err::create_dir_all(app.join(".cargo")).unwrap();
    fs_err::write(app.join("Cargo.toml"), "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ndry-lib = { version = \"1\", registry = \"dry\" }\n[workspace]\n").unwrap();
    fs_err::write(app.join("src/main.rs"), "fn main() { assert_eq!(dry_lib::two(), 2); }\n").unwrap();
    fs_err::write(
        app.join(".cargo/config.toml"),
        format!("[registries.dry]\nindex = \"sparse+{}/index/\"\n", url),
    )
    .unwrap();
    let cargo = Command::new("cargo")
        .args(["run", "--quiet"])
        .current_dir(&app)
        .env("CARGO_HOME", folder.path().join("cargo"))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let lock = fs_err::read_to_string(app.join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"dry-lib\"\nversion = \"1.1.0\""), "{lock}");
}

#[test]
fn the_demo_publishes_its_samples() {
    let server = Server::start(&["--demo", "--listen", "127.0.0.1:0"], &[]);
    let folder = tempfile::tempdir().unwrap();
    drystone_tests::process::wait_until_answers(&format!("{}/packages/demo/house.json", server.url));
    let user = User::new(&server.url, None);
    user.ok(folder.path(), &["init", "--name", "try"]);
    user.ok(folder.path(), &["add", "demo/card"]);
    assert!(folder.path().join("drystone_packages/@demo/greeting/source.txt").is_file());
    assert!(user.ok(folder.path(), &["info", "demo/house"]).contains(".hash = \"house-0.1.0-"));
}

/// A registry for a language has samples of that language.
#[test]
fn the_demo_of_a_language_is_in_that_language() {
    let server = Server::start(&["--demo", "--language", "raven", "--listen", "127.0.0.1:0"], &[]);
    let folder = tempfile::tempdir().unwrap();
    drystone_tests::process::wait_until_answers(&format!("{}/packages/raven-starter.json", server.url));
    let user = User::new(&server.url, None);
    user.ok(folder.path(), &["init", "--name", "try", "--language", "raven"]);
    user.ok(folder.path(), &["add", "raven-starter"]);
    let installed = fs_err::read_dir(folder.path().join("drystone_packages")).unwrap();
    let names = installed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Every sample is a part of the last.
    assert_eq!(names.filter(|name| name.starts_with("raven-")).count(), 10);
}

/// Archives that are too long for one request go to the bucket by a presigned upload, and are committed from there.
#[test]
fn large_archives_go_to_the_bucket_first() {
    let Some(environment) = s3_environment() else { return };
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let folder = tempfile::tempdir().unwrap();
    let (key, token_file) = (folder.path().join("log.key"), folder.path().join("token"));
    let (key, token_path) = (key.display().to_string(), token_file.display().to_string());
    let store = format!("s3://drystone/{}", unique("large"));
    let init = Command::new(program("drystone"))
        .args(["admin", "init", "--store", &store, "--key-file", &key, "--token-file", &token_path])
        .args(["--public-url", "http://registry.test", "--direct-upload-bytes-max", "1000"])
        .envs(pairs.iter().copied())
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let token = fs_err::read_to_string(&token_file).unwrap().trim().to_owned();
    let server = Server::start(&["--store", &store, "--key-file", &key, "--listen", "127.0.0.1:0"], &pairs);

    let author = User::new(&server.url, Some(&token));
    // What does not compress is longer than the limit when packed.
    let noise: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 31).to_le_bytes())
        .collect();
    let package = Pkg::new("acme/large", "1.0.0").with_payload(noise);
    let path = folder.path().join("large.tar.gz");
    fs_err::write(&path, package.archive()).unwrap();
    let archive = path.display().to_string();
    let answer: Value =
        serde_json::from_str(&author.ok(folder.path(), &["publish", "--archive", &archive, "--json"]))
            .unwrap();
    assert_eq!(answer["outcome"], "published", "{answer}");
    let again: Value =
        serde_json::from_str(&author.ok(folder.path(), &["publish", "--archive", &archive, "--json"]))
            .unwrap();
    assert_eq!(again["outcome"], "already-published", "{again}");
    author.ok(folder.path(), &["verify", "acme/large@1.0.0"]);
    let fsck =
        Command::new(program("drystone")).args(["fsck", &store, "--deep"]).envs(pairs).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&fsck.stdout), "clean\n");
}

/// The publish function as a plain HTTP server, on a registry that `admin init` made.
#[test]
fn the_publisher_runs_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (key, token_file) = (folder.path().join("log.key"), folder.path().join("token"));
    let store = format!("file://{}", folder.path().join("data").display());
    let init = Command::new(program("drystone"))
        .args(["admin", "init", "--store", &store, "--public-url", "http://registry.test"])
        .args(["--key-file".as_ref(), key.as_os_str(), "--token-file".as_ref(), token_file.as_os_str()])
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let key = key.display().to_string();
    let publisher = Server::publisher(&[("DRYSTONE_STORE", &store), ("DRYSTONE_LOG_KEY_FILE", &key)]);
    let token = fs_err::read_to_string(&token_file).unwrap().trim().to_owned();
    publish_many(&publisher.local, &token, 1, 2);
    publisher.kill();
    let user = User::new("http://registry.test", None);
    let data = folder.path().join("data").display().to_string();
    assert_eq!(user.ok(folder.path(), &["fsck", &data, "--deep"]), "clean\n");
}
