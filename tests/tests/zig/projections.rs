//! The answers for API clients are projections: rebuilt to the same bytes, checked, and paid for by Zig packages alone.

use axum::http::Method;
use drystone_index_builder::{AreaSource, FsckOptions, RebuildOptions, Silent, fsck, rebuild};
use drystone_schemas::layout;
use drystone_storage::{Counter, Counts, Key, Store};
use drystone_tests::{Pkg, TestRegistry};

use super::packages::{manifest, package};

async fn publish(registry: &TestRegistry, vers: &str) {
    let archive = package(&format!("http-{vers}"), &manifest("http", vers, ""));
    let metadata = r#"{"format":"zig","name":"acme/http"}"#;
    let answer = registry.publish_bytes(&registry.admin, Some(metadata), &archive).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

async fn api_files(store: &Store) -> Vec<(Key, Vec<u8>)> {
    let mut files = Vec::new();
    for key in store.public.list("api/", None).await.unwrap().keys {
        let bytes = store.public.get(&key, 1 << 20).await.unwrap().unwrap().to_vec();
        files.push((key, bytes));
    }
    files
}

#[tokio::test]
async fn lost_and_damaged_answers_are_found_and_come_back() {
    let registry = TestRegistry::new().await;
    publish(&registry, "1.0.0").await;
    publish(&registry, "1.1.0").await;
    registry.ask(Method::POST, "/api/v1/packages/acme%2Fhttp/1.1.0/yank", None).await;
    registry.publish(&Pkg::new("acme/other", "1.0.0")).await;
    let store = &registry.store;
    let before = api_files(store).await;
    let names: Vec<&str> = before.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        names,
        [
            "api/v1/packages/acme/http/dependencies/index.json",
            "api/v1/packages/acme/http/index.json",
            "api/v1/packages/acme/http/releases/index.json",
            "api/v1/packages/acme/http/tags/index.json",
            "api/v1/registry/config/index.json",
            "api/v1/repos/acme/http/releases/index.json",
        ]
    );
    let key = Some(TestRegistry::log_key());
    let check = async || {
        let source = AreaSource::new(store.public.clone());
        let options = FsckOptions { key: key.clone(), deep: false };
        let report = fsck(&source, Some(store.vault.clone()), &options, &Silent).await;
        let mut keys: Vec<String> = report.problems.into_iter().map(|problem| problem.key).collect();
        keys.sort();
        keys
    };
    assert_eq!(check().await, [""; 0]);
    store.public.delete(&before[0].0).await.unwrap();
    let damaged = store.public.read(&before[2].0, 1 << 20).await.unwrap().unwrap();
    let meta = drystone_storage::Meta { content_type: "application/json", cache_control: "no-cache" };
    store.public.replace(&before[2].0, Some(&damaged.tag), "[]\n".into(), meta).await.unwrap();
    assert_eq!(check().await, [before[0].0.as_str(), before[2].0.as_str()]);
    rebuild(store, &RebuildOptions { key: key.clone(), dry_run: false }, &Silent).await.unwrap();
    assert_eq!(api_files(store).await, before);
    assert_eq!(check().await, [""; 0]);
}

/// What a publish by a process that knows nothing costs, and the next one by the same process.
async fn costs(publish: impl AsyncFn(&TestRegistry, &str)) -> [Counts; 2] {
    let registry = TestRegistry::new().await;
    publish(&registry, "1.0.0").await;
    let counter = Counter::new();
    let cold = registry.another(|store| counter.wrap(store)).await;
    counter.reset();
    publish(&cold, "1.1.0").await;
    let first = counter.counts();
    counter.reset();
    publish(&cold, "1.2.0").await;
    [first, counter.counts()]
}

/// The budget of DESIGN.md section 7 is that of one package's own files; five answers are five reads and five writes
/// more, in rounds that are there anyway.
#[tokio::test]
async fn answers_cost_a_read_and_a_write_each_and_no_round() {
    let generic = costs(async |registry, vers| {
        assert_eq!(registry.publish(&Pkg::new("acme/http", vers)).await.status, 201);
    });
    let plain = generic.await;
    let zig = costs(async |registry, vers| publish(registry, vers).await).await;
    let answers = layout::github_files(&"acme/http".parse().unwrap()).unwrap().keys().len() as u64;
    for (plain, zig) in plain.iter().zip(&zig) {
        let expected = (plain.puts + answers, plain.gets + answers, plain.rounds);
        assert_eq!((zig.puts, zig.gets, zig.rounds), expected, "{plain:?} {zig:?}");
    }
    // What the documents say.
    assert_eq!((zig[0].puts, zig[0].gets, zig[0].rounds), (23, 17, 7), "{zig:?}");
    assert_eq!((zig[1].puts, zig[1].gets, zig[1].rounds), (23, 14, 6), "{zig:?}");
}
