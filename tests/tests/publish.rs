//! Publishing and changing, through the router of a registry in memory.

use std::sync::Arc;

use axum::http::Method;
use drystone_index_builder::{AreaSource, FsckOptions, RebuildOptions, Silent, fsck, refresh_hints};
use drystone_schemas::layout::{self, CacheClass};
use drystone_storage::{Counter, FsArea, Key, Meta, Store};
use drystone_tests::{Pkg, TestRegistry};
use serde_json::json;

#[tokio::test]
async fn a_publish_is_in_the_log_in_the_index_and_fetchable() {
    let registry = TestRegistry::new().await;
    let package = Pkg::new("acme/http", "1.0.0");
    let answer = registry.publish(&package).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let published = answer.json();
    assert_eq!((&published["outcome"], &published["seq"]), (&json!("published"), &json!(1)));
    assert!(published["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"));

    let index = registry.get("/index/@acme/ht/tp/http").await;
    let line: serde_json::Value = serde_json::from_slice(&index.body).unwrap();
    assert_eq!(line["vers"], "1.0.0");
    let tarball = registry.get(&format!("/o/{}", line["cksum"].as_str().unwrap())).await;
    assert_eq!(tarball.body, package.archive());
    assert_eq!(tarball.headers["content-type"], "application/gzip");
    assert_eq!(tarball.headers["cache-control"], "public, max-age=31536000, immutable");

    let version = registry.get("/api/v1/packages/acme%2Fhttp/1.0.0").await.json();
    assert_eq!(version["checksum"], line["cksum"]);
}

#[tokio::test]
async fn the_same_bytes_again_are_a_success_and_other_bytes_are_refused_with_both_digests() {
    let registry = TestRegistry::new().await;
    let package = Pkg::new("http", "1.0.0");
    assert_eq!(registry.publish(&package).await.status, 201);
    let again = registry.publish(&package).await;
    assert_eq!(
        (again.status, &again.json()["outcome"], &again.json()["seq"]),
        (200, &json!("already-published"), &json!(1))
    );
    let other = registry.publish(&package.with_payload("other")).await;
    assert_eq!((other.status, other.codes()), (409, vec!["version-exists".to_owned()]));
    let facts = &other.json()["errors"][0]["facts"];
    assert_ne!(facts["existing_sha256"], facts["uploaded_sha256"]);
    let twin = registry.publish(&Pkg::new("http", "1.0.0+build")).await;
    assert_eq!((twin.status, twin.codes()), (409, vec!["version-exists".to_owned()]));
}

#[tokio::test]
async fn names_that_differ_in_spelling_only_are_one() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("my-http", "1.0.0")).await.status, 201);
    for other in ["My-Http", "my_http"] {
        let answer = registry.publish(&Pkg::new(other, "1.1.0")).await;
        assert_eq!((answer.status, answer.codes()), (409, vec!["name-collision".to_owned()]), "{other}");
    }
}

#[tokio::test]
async fn yank_with_a_reason_and_back() {
    let registry = TestRegistry::new().await;
    registry.publish(&Pkg::new("http", "1.0.0")).await;
    let yank = registry
        .ask(Method::POST, "/api/v1/packages/http/1.0.0/yank", Some(json!({"reason": "it leaks"})))
        .await;
    assert_eq!((yank.status, &yank.json()["seq"]), (200, &json!(2)));
    let version = registry.get("/api/v1/packages/http/1.0.0").await.json();
    assert_eq!((&version["yanked"], &version["yank_reason_text"]), (&json!(true), &json!("it leaks")));
    let again = registry.ask(Method::POST, "/api/v1/packages/http/1.0.0/yank", None).await;
    assert_eq!((again.status, &again.json()["seq"]), (200, &serde_json::Value::Null));
    let unyank = registry.ask(Method::POST, "/api/v1/packages/http/1.0.0/unyank", None).await;
    assert_eq!((unyank.status, &unyank.json()["seq"]), (200, &json!(3)));
    let missing = registry.ask(Method::POST, "/api/v1/packages/http/9.0.0/yank", None).await;
    assert_eq!((missing.status, missing.codes()), (404, vec!["version-not-found".to_owned()]));
}

#[tokio::test]
async fn only_owners_change_a_package_and_one_always_stays() {
    let registry = TestRegistry::new().await;
    let (ann, bob) = (registry.token_of("ann").await, registry.token_of("bob").await);
    let (ann_token, bob_token) = (ann.token.reveal(), bob.token.reveal());
    assert_eq!(registry.publish_as(ann_token, &Pkg::new("http", "1.0.0")).await.status, 201);
    let refused = registry.publish_as(bob_token, &Pkg::new("http", "1.1.0")).await;
    assert_eq!((refused.status, refused.codes()), (403, vec!["not-an-owner".to_owned()]));
    let last = registry
        .ask_as(ann_token, Method::DELETE, "/api/v1/packages/http/owners", Some(json!({"users": ["ann"]})))
        .await;
    assert_eq!((last.status, last.codes()), (409, vec!["last-owner".to_owned()]));
    let add = registry
        .ask_as(ann_token, Method::PUT, "/api/v1/packages/http/owners", Some(json!({"users": ["bob"]})))
        .await;
    assert_eq!(add.status, 200, "{}", add.json());
    assert_eq!(registry.publish_as(bob_token, &Pkg::new("http", "1.1.0")).await.status, 201);
    let leave = registry
        .ask_as(bob_token, Method::DELETE, "/api/v1/packages/http/owners", Some(json!({"users": ["ann"]})))
        .await;
    assert_eq!(leave.status, 200);
    let owners = registry.get("/api/v1/packages/http/owners").await.json();
    assert_eq!(owners["users"].as_array().unwrap().len(), 1);
    assert_eq!(owners["users"][0]["login"], "bob");
}

#[tokio::test]
async fn aliases_mean_one_package() {
    let registry = TestRegistry::new().await;
    registry.publish(&Pkg::new("acme/http", "1.0.0")).await;
    registry.publish(&Pkg::new("other", "1.0.0")).await;
    let set = async |alias: &str, package: &str| {
        registry
            .ask(Method::PUT, &format!("/api/v1/aliases/{alias}"), Some(json!({"package": package})))
            .await
    };
    assert_eq!(set("zh", "acme/http").await.status, 200);
    let resolved = registry.get("/api/v1/resolve/ZH").await;
    assert_eq!(resolved.json(), json!({"full_name": "acme/http", "resolved": true}));
    let taken = set("zh", "other").await;
    assert_eq!((taken.status, taken.codes()), (409, vec!["alias-taken".to_owned()]));
    let package = set("other", "acme/http").await;
    assert_eq!((package.status, package.codes()), (409, vec!["alias-is-package".to_owned()]));
    assert_eq!(registry.ask(Method::DELETE, "/api/v1/aliases/zh", None).await.status, 200);
    assert_eq!(registry.get("/api/v1/resolve/zh").await.codes(), ["alias-not-found"]);
}

#[tokio::test]
async fn tokens_that_are_missing_wrong_expired_or_too_weak() {
    let registry = TestRegistry::new().await;
    let package = Pkg::new("http", "1.0.0");
    let bad = registry.publish_as("dry_pat_0000", &package).await;
    assert_eq!((bad.status, bad.codes()), (401, vec!["token-invalid".to_owned()]));
    let unknown = drystone_publisher::Token::generate(&*registry.entropy);
    let unknown = registry.publish_as(unknown.reveal(), &package).await;
    assert_eq!((unknown.status, unknown.codes()), (401, vec!["token-invalid".to_owned()]));
    let ann = registry.token_of("ann").await;
    let takedown = json!({"code": "spam"});
    assert_eq!(registry.publish(&package).await.status, 201);
    let weak = registry
        .ask_as(ann.token.reveal(), Method::POST, "/api/v1/packages/http/1.0.0/delete", Some(takedown))
        .await;
    assert_eq!((weak.status, weak.codes()), (403, vec!["token-scope".to_owned()]));
    registry.service.revoke_token(&ann.token).await.unwrap();
    let revoked = registry.publish_as(ann.token.reveal(), &Pkg::new("b", "1.0.0")).await;
    assert_eq!((revoked.status, revoked.codes()), (401, vec!["token-invalid".to_owned()]));
}

/// The budget of DESIGN.md section 7, counted: one publish into an existing package by a process that knows nothing.
#[tokio::test]
async fn a_cold_publish_stays_in_its_budget() {
    let registry = TestRegistry::new().await;
    registry.publish(&Pkg::new("http", "1.0.0")).await;
    let counter = Counter::new();
    let cold = registry.another(|store| counter.wrap(store)).await;
    counter.reset();
    assert_eq!(cold.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    let counts = counter.counts();
    let log = counter.log();
    assert!(counts.puts <= 18 && counts.gets <= 12 && counts.rounds <= 7, "{counts:?} {log:#?}");
    counter.reset();
    assert_eq!(cold.publish(&Pkg::new("http", "1.2.0")).await.status, 201);
    let warm = counter.counts();
    assert!(warm.rounds <= 6, "{warm:?} {:#?}", counter.log());
}

/// A release brings its package's closure hint up to date: a read for the hint and one for each that it needs, beside reads that
/// are there anyway, and a write only if the hint changes.
#[tokio::test]
async fn a_publish_that_needs_others_writes_its_hint_in_no_more_rounds() {
    let registry = TestRegistry::new().await;
    let needs = |names: &[&str]| {
        names.iter().fold("\n[dependencies]\n".to_owned(), |text, name| format!("{text}{name} = \"^1\"\n"))
    };
    for (name, deps) in [("leaf", [].as_slice()), ("mid", &["leaf"]), ("top", &["mid"])] {
        let answer = registry.publish(&Pkg::new(name, "1.0.0").with_manifest(&needs(deps))).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
    }
    let hint = async |name: &str| {
        let answer = registry.get(&format!("/resolve/3/{}/{name}.hint", &name[..1])).await;
        (answer.status == 200).then(|| String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(registry.get("/resolve/le/af/leaf.hint").await.status, 404, "what needs nothing has no hint");
    let first = "{\"lines\":[[\"1.0.0\",[0,2]]],\"names\":[\"leaf\",\"mid\"],\"seq\":3}\n";
    assert_eq!(hint("top").await.as_deref(), Some(first));

    let counter = Counter::new();
    let cold = registry.another(|store| counter.wrap(store)).await;
    let publish = async |version: &str, deps: &[&str], puts_max: u64, gets_max: u64| {
        counter.reset();
        let answer = cold.publish(&Pkg::new("top", version).with_manifest(&needs(deps))).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        let (counts, log) = (counter.counts(), counter.log());
        let within = counts.puts <= puts_max && counts.gets <= gets_max && counts.rounds <= 7;
        assert!(within, "{version}: {counts:?} {log:#?}");
    };
    publish("1.1.0", &["mid"], 18, 14).await;
    assert_eq!(hint("top").await.as_deref(), Some(first), "nothing has changed");
    publish("1.2.0", &["mid", "new"], 19, 15).await;
    let second = "{\"lines\":[[\"1.0.0\",[0,3]]],\"names\":[\"leaf\",\"mid\",\"new\"],\"seq\":5}\n";
    assert_eq!(hint("top").await.as_deref(), Some(second));

    // All hints made anew know what there is; what is made anew once need not be again.
    let options = RebuildOptions { key: None, dry_run: false };
    let refresh = async || refresh_hints(&registry.store, &options, &Silent).await.unwrap().written;
    assert_eq!(refresh().await, ["resolve/3/t/top.hint"]);
    let third = "{\"lines\":[[\"1.0.0\",[0,2]]],\"names\":[\"leaf\",\"mid\"],\"seq\":5}\n";
    assert_eq!(hint("top").await.as_deref(), Some(third));
    assert_eq!(refresh().await, [""; 0]);

    // Only its form and its place can be wrong.
    let problems = async || {
        let source = AreaSource::new(registry.store.public.clone());
        let vault = Some(registry.store.vault.clone());
        let report = fsck(&source, vault, &FsckOptions { key: None, deep: true }, &Silent).await;
        report.problems.iter().map(|problem| format!("{} {}", problem.key, problem.kind)).collect::<Vec<_>>()
    };
    assert_eq!(problems().await, [""; 0]);
    let meta = Meta { content_type: layout::JSON, cache_control: CacheClass::Fresh.cache_control() };
    for (name, bytes) in [("3/m/mid", "{\"names\":[\"b\",\"a\"],\"seq\":1}"), ("3/n/new", third)] {
        let key = Key::new(format!("resolve/{name}.hint")).unwrap();
        let seen = registry.store.public.read(&key, 1 << 20).await.unwrap().map(|file| file.tag);
        registry.store.public.replace(&key, seen.as_ref(), bytes.into(), meta).await.unwrap();
    }
    assert_eq!(problems().await, ["resolve/3/m/mid.hint damaged", "resolve/3/n/new.hint stray"]);
    assert_eq!(refresh().await, ["resolve/3/m/mid.hint"]);
}

/// An account whose releases, changes and bytes are counted costs two reads, beside that of the token, and a write beside the
/// outcome; and no round.
#[tokio::test]
async fn a_counted_publish_takes_as_many_rounds() {
    let registry = TestRegistry::new().await;
    let ann = registry.token_of("ann").await.token;
    registry.publish_as(ann.reveal(), &Pkg::new("http", "1.0.0")).await;
    let counter = Counter::new();
    let cold = registry.another(|store| counter.wrap(store)).await;
    counter.reset();
    assert_eq!(cold.publish_as(ann.reveal(), &Pkg::new("http", "1.1.0")).await.status, 201);
    let counts = counter.counts();
    let log = counter.log();
    assert!(counts.puts <= 19 && counts.gets <= 14 && counts.rounds <= 7, "{counts:?} {log:#?}");
    // That the token was used today is noted after the answer.
    while !counter.log().iter().any(|call| call.key.starts_with("used/")) {
        tokio::task::yield_now().await;
    }
    counter.reset();
    assert_eq!(cold.publish_as(ann.reveal(), &Pkg::new("http", "1.2.0")).await.status, 201);
    let warm = counter.counts();
    assert!(warm.rounds <= 6, "{warm:?} {:#?}", counter.log());
}

#[tokio::test]
async fn a_publish_into_a_directory_waits_for_the_disk_once() {
    let folder = tempfile::tempdir().unwrap();
    let (public, vault) = FsArea::open_store(folder.path()).unwrap();
    let store = Store { public: Arc::new(public.clone()), vault: Arc::new(vault) };
    let registry = TestRegistry::on(store).await;
    // The first publishes make directories and let the journal grow, as rarely happens later.
    for patch in 0..3 {
        assert_eq!(registry.publish(&Pkg::new("http", &format!("1.0.{patch}"))).await.status, 201);
    }
    let before = public.syncs();
    assert_eq!(registry.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    let after = public.syncs();
    let others = |syncs: drystone_storage::Syncs| syncs.files + syncs.directories + syncs.file_systems;
    assert_eq!((after.journal - before.journal, others(after) - others(before)), (1, 0));
}
