//! `cargo search`, from the side of the server.

use axum::http::Method;
use drystone_storage::{Key, Meta, Store};
use drystone_tests::{Pkg, TestRegistry};
use serde_json::{Value, json};

async fn found(registry: &TestRegistry, query: &str) -> (Vec<String>, u64) {
    let answer = registry.get(&format!("/api/v1/crates?{query}")).await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{query}: {body}");
    let names =
        body["crates"].as_array().unwrap().iter().map(|hit| hit["name"].as_str().unwrap().into()).collect();
    (names, body["meta"]["total"].as_u64().unwrap())
}

async fn assert_found(registry: &TestRegistry, query: &str, names: &[&str], total: u64) {
    let expected = (names.iter().map(|&name| name.into()).collect(), total);
    assert_eq!(found(registry, query).await, expected, "{query}");
}

#[tokio::test]
async fn by_name_beginning_word_and_alias() {
    let registry = TestRegistry::new().await;
    for name in ["Serde_JSON", "serde", "serde-yaml", "json-lines", "other"] {
        assert_eq!(registry.publish(&Pkg::cargo(name, "1.2.3")).await.status, 201);
    }
    assert_eq!(registry.publish(&Pkg::new("acme/json", "1.0.0")).await.status, 201);
    let alias = registry.ask(Method::PUT, "/api/v1/aliases/sj", Some(json!({"package": "Serde_JSON"}))).await;
    assert_eq!(alias.status, 200);

    for (query, names) in [
        ("q=serde", &["serde", "serde-yaml", "Serde_JSON"][..]),
        ("q=SERDE-json", &["Serde_JSON"]),
        ("q=serde%20json", &["Serde_JSON"]),
        ("q=json", &["json-lines", "Serde_JSON"]),
        ("q=lines%20json", &["json-lines"]),
        ("q=sj", &["Serde_JSON"]),
        ("q=erde", &[]),
        ("q=acme/json", &[]),
        ("q=..%2F..%2Fvault", &[]),
        ("q=%00", &[]),
    ] {
        assert_found(&registry, query, names, names.len() as u64).await;
    }
    assert_found(&registry, "q=serde&per_page=2", &["serde", "serde-yaml"], 3).await;
    assert_found(
        &registry,
        "q=&per_page=100",
        &["other", "serde", "json-lines", "serde-yaml", "Serde_JSON"],
        5,
    )
    .await;
    let hit: Value = registry.get("/api/v1/crates?q=serde_json").await.json()["crates"][0].clone();
    let expected =
        json!({"name": "Serde_JSON", "max_version": "1.2.3", "description": "a package of a test"});
    assert_eq!(hit, expected);
    registry.get("/api/v1/crates?per_page=many").await.assert_refused(
        "per_page",
        400,
        &["malformed-request"],
    );
}

#[tokio::test]
async fn what_is_new_is_found_and_what_is_yanked_is_not() {
    let registry = TestRegistry::new().await;
    assert_found(&registry, "q=dry", &[], 0).await;
    assert_eq!(registry.publish(&Pkg::cargo("dry-lib", "1.0.0")).await.status, 201);
    // By its name at once, in any spelling; by its beginning when the list is made anew.
    assert_found(&registry, "q=Dry_Lib", &["dry-lib"], 1).await;
    assert_found(&registry, "q=dry", &[], 0).await;
    registry.clock.advance(std::time::Duration::from_secs(6));
    assert_found(&registry, "q=dry", &["dry-lib"], 1).await;
    let yank = registry.ask(Method::DELETE, "/api/v1/crates/dry-lib/1.0.0/yank", None).await;
    assert_eq!((yank.status, &yank.json()["ok"]), (200, &json!(true)));
    assert_found(&registry, "q=dry-lib", &[], 0).await;
}

/// A registry that is too large for a list in memory finds names by their beginning.
#[tokio::test]
async fn a_large_registry_is_searched_by_beginnings() {
    let store = Store::memory();
    let registry = TestRegistry::on(store.clone()).await;
    for name in ["dry_lib", "wet-dry"] {
        assert_eq!(registry.publish(&Pkg::cargo(name, "1.0.0")).await.status, 201);
    }
    assert_found(&registry, "q=dry", &["dry_lib", "wet-dry"], 2).await;
    for i in 0..20_000 {
        let key = Key::new(format!("packages/n{i}.json")).unwrap();
        store.public.replace(&key, None, "{}".into(), Meta::PRIVATE).await.unwrap();
    }
    registry.clock.advance(std::time::Duration::from_secs(6));
    for query in ["q=dry", "q=dry-l", "q=DRY_LI", "q=dry_lib"] {
        assert_found(&registry, query, &["dry_lib"], 1).await;
    }
    assert_found(&registry, "q=lib", &[], 0).await;
}
