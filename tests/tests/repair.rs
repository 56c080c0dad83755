//! A registry with a history, taken apart and put together again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::http::Method;
use drystone_index_builder::{RebuildOptions, RebuildReport, RecoverOptions, Silent, rebuild, recover};
use drystone_log::tile::new_tiles;
use drystone_schemas::{Limits, Settings, Sha256Digest, layout};
use drystone_storage::{Call, Clock, Fault, Faults, Op, Store};
use drystone_tests::{
    Pkg, TestRegistry,
    checks::{contents, everything, overwrite},
};
use futures_util::future::join_all;
use serde_json::json;

/// A registry in which everything has happened that can happen, with more events than one tile holds.
async fn with_history() -> TestRegistry {
    let registry = TestRegistry::new().await;
    let ann = registry.token_of("ann").await.token;
    registry.token_of("bob").await;
    let mut events = 1;
    for i in 0..12 {
        let dependency = format!("[dependencies]\nbase-{i} = \"^1.{i}\"\n");
        for package in [
            Pkg::new(&format!("acme/tool-{i}"), "1.0.0"),
            Pkg::new(&format!("acme/tool-{i}"), "1.1.0-rc.1").with_manifest(&dependency),
            Pkg::cargo(&format!("Base_{i}"), "0.1.0").with_manifest(&dependency),
        ] {
            assert_eq!(registry.publish_as(ann.reveal(), &package).await.status, 201, "{package:?}");
            events += 1;
        }
    }
    let changes = [
        (Method::POST, "/api/v1/packages/acme%2Ftool-0/1.0.0/yank", Some(json!({"reason": "it leaks"}))),
        (Method::POST, "/api/v1/packages/acme%2Ftool-0/1.0.0/yank", Some(json!({"reason": "it leaks much"}))),
        (Method::POST, "/api/v1/packages/base_1/0.1.0/yank", None),
        (Method::POST, "/api/v1/packages/base_1/0.1.0/unyank", None),
        (
            Method::PUT,
            "/api/v1/packages/base_2/owners",
            Some(json!({"users": ["bob"], "role": "collaborator"})),
        ),
        (Method::PUT, "/api/v1/packages/base_3/owners", Some(json!({"users": ["bob"]}))),
        (Method::DELETE, "/api/v1/packages/base_3/owners", Some(json!({"users": ["ann"]}))),
        (Method::PUT, "/api/v1/aliases/t0", Some(json!({"package": "acme/tool-0"}))),
        (Method::PUT, "/api/v1/aliases/t1", Some(json!({"package": "acme/tool-1"}))),
        (Method::PUT, "/api/v1/aliases/zz", Some(json!({"package": "base_1"}))),
        (Method::DELETE, "/api/v1/aliases/t1", None),
        (Method::DELETE, "/api/v1/aliases/zz", None),
        (Method::POST, "/api/v1/packages/base_4/deprecate", Some(json!({"reason": "use base_5"}))),
        (Method::POST, "/api/v1/packages/base_6/deprecate", None),
        (Method::POST, "/api/v1/packages/base_6/undeprecate", None),
        (Method::POST, "/api/v1/packages/base_7/0.1.0/delete", Some(json!({"code": "malware"}))),
    ];
    for (method, path, body) in changes {
        let answer = registry.ask(method, path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        assert_eq!(answer.json()["seq"], events, "{path}");
        events += 1;
    }
    let limits = Limits { dependencies_max: 7, ..Limits::default() };
    let settings = Settings { limits, ..Settings::new("renamed", "http://registry.test/below") };
    assert_eq!(registry.service.configure(settings).await.ok().flatten(), Some(events));
    events += 1;
    // Past the first tile, many in one commit and some in one of their own.
    let toggle = async |i: u64| {
        let verb = if i.is_multiple_of(2) { "yank" } else { "unyank" };
        let path = format!("/api/v1/packages/acme%2Ftool-2/1.0.0/{verb}");
        assert_eq!(registry.ask(Method::POST, &path, None).await.status, 200);
    };
    join_all((0..220).map(toggle)).await;
    for i in 0..7 {
        toggle(i).await;
    }
    events += 227;
    assert_eq!(registry.log_size().await, events);
    assert!(events > 257);
    registry.assert_clean("before anything is broken").await;
    registry
}

async fn rebuilt(registry: &TestRegistry, dry_run: bool) -> RebuildReport {
    let options = RebuildOptions { key: Some(TestRegistry::log_key()), dry_run };
    rebuild(&registry.store, &options, &Silent).await.expect("what is the truth is all there")
}

/// Whether an object is the truth: an archive, a version record, a reason, settings. Else it copies a projection.
fn is_truth(bytes: &[u8]) -> bool {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return true;
    }
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else { return false };
    json.is_string()
        || json.get("unpacked").is_some()
        || (json.get("limits").is_some() && json.get("seq").is_none())
}

/// Whether a public file follows from the others.
fn is_projection(key: &str, bytes: &[u8], size: u64) -> bool {
    match key.split('/').collect::<Vec<_>>()[..] {
        ["o", _] => !is_truth(bytes),
        ["log", "tile", "entries", ..] | ["log", "checkpoint"] => false,
        ["log", "checkpoints", number] => number == size.to_string(),
        _ => true,
    }
}

/// The files of the newest state that can be named without looking into the state map.
fn current_files(files: &BTreeMap<String, Vec<u8>>, size: u64) -> BTreeSet<String> {
    let by_name = files.iter().filter(|(key, _)| !key.starts_with("o/") && !key.starts_with("log/"));
    let mut current: BTreeSet<String> = BTreeSet::new();
    for (key, bytes) in by_name {
        current.insert(key.clone());
        let apart = ["api/", "resolve/"].iter().any(|folder| key.starts_with(folder));
        let is_kept_by_hash = !key.ends_with("config.json") && key != layout::HEALTH && !apart;
        if is_kept_by_hash {
            current.insert(layout::object(&Sha256Digest::of(bytes)));
        }
    }
    current.extend(new_tiles(0, size).into_iter().map(|id| format!("log/{id}")));
    current.extend([layout::LATEST_PROOF.into(), layout::checkpoint_history(size)]);
    current
}

#[tokio::test]
async fn every_projection_comes_back_with_the_same_bytes() {
    let registry = with_history().await;
    let public = &*registry.store.public;
    let (before, size) = (contents(public).await, registry.log_size().await);
    assert!(rebuilt(&registry, true).await.written.is_empty());

    let mut deleted = BTreeSet::new();
    for (key, bytes) in before.iter().filter(|(key, bytes)| is_projection(key, bytes, size)) {
        // What is deleted is named by what stays; this says that there is some of every kind.
        deleted.insert(
            key.split('/').take(if key.starts_with("log/") { 3 } else { 1 }).collect::<Vec<_>>().join("/"),
        );
        overwrite(public, key, None).await;
        assert!(!bytes.is_empty());
    }
    let kinds: Vec<&str> =
        deleted.iter().map(String::as_str).filter(|kind| !kind.starts_with("log/checkpoints")).collect();
    let state = ["log/state/shard", "log/state/tile"];
    let tiles = ["log/tile/0", "log/tile/1"];
    let mut expected = vec![
        "aliases",
        "aliases.json",
        "api",
        "config.json",
        "health.json",
        "index",
        "log/latest.tlog-proof",
        "o",
        "packages",
        "resolve",
    ];
    expected.extend(state.into_iter().chain(tiles));
    expected.sort_unstable();
    assert_eq!(kinds, expected);
    assert!(!registry.fsck().await.is_clean());
    let missing = rebuilt(&registry, true).await.written;

    let report = rebuilt(&registry, false).await;
    assert_eq!(report.written, missing);
    let after = contents(public).await;
    for (key, bytes) in &after {
        assert_eq!(before.get(key), Some(bytes), "{key}");
    }
    let current = current_files(&before, size);
    assert!(current.len() > 70 && current.iter().all(|key| before.contains_key(key)));
    let lost: Vec<&String> = current.iter().filter(|key| !after.contains_key(*key)).collect();
    assert_eq!(lost, [""; 0]);
    registry.assert_clean("after a rebuild").await;
    // Nothing is left to do, and life goes on: in the same process and in a new one.
    assert!(rebuilt(&registry, false).await.written.is_empty());
    assert_eq!(registry.publish(&Pkg::new("acme/tool-0", "2.0.0")).await.status, 201);
    let other = registry.another(Store::clone).await;
    assert_eq!(other.publish(&Pkg::new("afterwards", "1.0.0")).await.status, 201);
    registry.assert_clean("after two more publishes").await;
}

/// The first key with this beginning and a content like this.
fn find<'a>(files: &'a BTreeMap<String, Vec<u8>>, prefix: &str, like: impl Fn(&[u8]) -> bool) -> &'a str {
    let found = files.iter().find(|(key, bytes)| key.starts_with(prefix) && like(bytes));
    found.unwrap_or_else(|| panic!("no {prefix}")).0
}

/// The staging object that head names; older ones are kept for nobody.
fn current_staging(files: &BTreeMap<String, Vec<u8>>) -> String {
    let head = drystone_log::commit::Head::parse(&files["vault/head"]).expect("head can be read");
    format!("vault/{}", head.staging)
}

#[tokio::test]
async fn a_flipped_byte_in_a_file_of_any_class_is_named() {
    let registry = with_history().await;
    let files = everything(&registry.store).await;
    let size = registry.log_size().await;
    let any = |_: &[u8]| true;
    let json = |start: &'static str| move |bytes: &[u8]| bytes.starts_with(start.as_bytes());
    let partial = size - 256;
    let keys = [
        "config.json".to_owned(),
        "index/config.json".to_owned(),
        find(&files, "index/@acme/", any).to_owned(),
        find(&files, "resolve/@acme/", any).to_owned(),
        find(&files, "packages/acme/", any).to_owned(),
        find(&files, "aliases/", any).to_owned(),
        find(&files, "o/", |bytes| bytes.starts_with(&[0x1f, 0x8b])).to_owned(),
        find(&files, "o/", |bytes| {
            serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|v| v.get("unpacked").is_some())
        })
        .to_owned(),
        find(&files, "o/", json("\"it leaks")).to_owned(),
        find(&files, "o/", json("{\"name\":\"")).to_owned(),
        find(&files, "o/", |bytes| is_truth(bytes) && bytes.starts_with(b"{\"formats")).to_owned(),
        find(&files, "log/state/tile/1/", any).to_owned(),
        find(&files, "log/state/tile/0/", any).to_owned(),
        find(&files, "log/state/shard/", any).to_owned(),
        "log/checkpoint".to_owned(),
        "log/latest.tlog-proof".to_owned(),
        format!("log/checkpoints/{size}"),
        "log/checkpoints/9".to_owned(),
        "log/tile/0/000".to_owned(),
        format!("log/tile/0/001.p/{partial}"),
        "log/tile/0/000.p/9".to_owned(),
        "log/tile/1/000.p/1".to_owned(),
        "log/tile/entries/000".to_owned(),
        format!("log/tile/entries/001.p/{partial}"),
        "log/tile/entries/000.p/9".to_owned(),
        "vault/head".to_owned(),
        current_staging(&files),
    ];
    for key in keys {
        let bytes = &files[&key];
        let (area, name) = match key.strip_prefix("vault/") {
            Some(name) => (&*registry.store.vault, name),
            None => (&*registry.store.public, &*key),
        };
        for position in [bytes.len() / 3, bytes.len() - 2] {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            overwrite(area, name, Some(&flipped)).await;
            let problems = registry.fsck().await.problems;
            let named = problems.iter().any(|problem| problem.key == key);
            assert!(named, "byte {position} of {key}: {problems:#?}");
        }
        overwrite(area, name, Some(bytes)).await;
    }
    registry.assert_clean("after everything was put back").await;
}

async fn recovered(registry: &TestRegistry) -> drystone_index_builder::RecoverReport {
    let now_unix_s = registry.clock.now_unix_ms() / 1000;
    let options = RecoverOptions { key: Some(TestRegistry::log_key()), now_unix_s };
    recover(&registry.store, &options, &*registry.entropy, &Silent).await.expect("the log is there")
}

#[tokio::test]
async fn a_lost_head_is_recovered_and_old_tokens_are_void() {
    let registry = with_history().await;
    let size = registry.log_size().await;
    let ann = registry.token_of("ann").await.token;
    let before = contents(&*registry.store.public).await;
    overwrite(&*registry.store.vault, layout::HEAD, None).await;
    let answer = registry.publish(&Pkg::new("acme/tool-0", "2.0.0")).await;
    answer.assert_refused("without a head", 503, &["head-behind-log"]);
    registry.clock.advance(Duration::from_secs(1));
    let report = recovered(&registry).await;
    assert_eq!((report.size, report.removed.len(), report.rebuilt.written.len()), (size, 0, 0));
    registry.assert_clean("after a recovery").await;

    let other = registry.another(Store::clone).await;
    for process in [&registry, &other] {
        for token in [&registry.admin, ann.reveal()] {
            let answer = process.publish_as(token, &Pkg::new("acme/tool-0", "2.0.0")).await;
            answer.assert_refused("an old token", 401, &["token-invalid"]);
        }
    }
    let after = contents(&*registry.store.public).await;
    assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)));
    assert!(after.keys().all(|key| before.contains_key(key) || key.starts_with("o/")));
    let admin = registry.service.make_operator_token("after").await.unwrap().token;
    for (i, process) in [&other, &registry, &other].into_iter().enumerate() {
        let answer = process.publish_as(admin.reveal(), &Pkg::new("acme/tool-0", &format!("2.0.{i}"))).await;
        assert_eq!((answer.status, &answer.json()["seq"]), (201, &(size + i as u64).into()));
    }
    registry.assert_clean("after publishing again").await;
}

/// Head is lost together with a commit that was never signed: its version is free again, and so is its request's id.
#[tokio::test]
async fn what_was_committed_but_never_signed_can_be_published_again() {
    let registry = with_history().await;
    let size = registry.log_size().await;
    for (i, key) in ["log/tile/", "index/", "log/checkpoint"].into_iter().enumerate() {
        let faults = Faults::new(move |call: &Call<'_>| {
            let write = matches!(call.op, Op::Replace | Op::PutNew);
            if call.area == "public" && write && call.key.starts_with(key) {
                Fault::CrashBefore
            } else {
                Fault::None
            }
        });
        let admin = registry.service.make_operator_token("again").await.unwrap().token;
        let crashing = registry.another(|store| faults.wrap(store)).await;
        for name in ["acme/tool-0", &format!("new-{i}")] {
            crashing.publish_as(admin.reveal(), &Pkg::new(name, &format!("3.0.{i}"))).await;
        }
        assert!(faults.crashed(), "{key}");
        overwrite(&*registry.store.vault, layout::HEAD, None).await;
        registry.clock.advance(Duration::from_secs(1));
        assert_eq!(recovered(&registry).await.size, size + 2 * i as u64, "{key}");
        registry.assert_clean(key).await;
        let admin = registry.service.make_operator_token("after").await.unwrap().token;
        let fresh = registry.another(Store::clone).await;
        for (j, name) in ["acme/tool-0", &format!("new-{i}")].into_iter().enumerate() {
            let package = Pkg::new(name, &format!("3.0.{i}")).with_payload("other bytes");
            let answer = fresh.publish_as(admin.reveal(), &package).await;
            assert_eq!(
                (answer.status, &answer.json()["seq"]),
                (201, &(size + (2 * i + j) as u64).into()),
                "{key}"
            );
        }
        registry.assert_clean(key).await;
    }
}
