//! Author keys on the side of the registry: which releases it takes, which rules, and from when on.

use std::time::Duration;

use axum::http::Method;
use drystone_index_builder::{
    AreaSource, AuditOptions, FsckOptions, RebuildOptions, Silent, audit, fsck, rebuild,
};
use drystone_log::{AuthorSecret, AuthorStatement};
use drystone_schemas::{PackageName, Sha256Digest, Version};
use drystone_storage::Counter;
use drystone_tests::{Answer, Pkg, TestRegistry};
use serde_json::{Value, json};

use crate::freshness::ORIGIN;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn author(number: u8) -> AuthorSecret {
    AuthorSecret::from_seed(&[number; 32])
}

/// The `metadata` of a publish with the signatures of these authors.
fn signed(version: &str, by: &[u8]) -> String {
    let (name, vers) = (PackageName::new("http").unwrap(), Version::new(version).unwrap());
    let tarball = Sha256Digest::of(&Pkg::new("http", version).archive());
    let statement = AuthorStatement { origin: ORIGIN, name: &name, vers: &vers, tarball };
    let signature = |number: &u8| {
        let author = author(*number);
        (author.public().to_string(), json!(author.sign(&statement).as_str()))
    };
    json!({ "signatures": by.iter().map(signature).collect::<serde_json::Map<_, _>>() }).to_string()
}

struct World {
    registry: TestRegistry,
    ann: String,
}

impl World {
    /// A registry where Ann owns `http` 1.0.0.
    async fn new() -> Self {
        let registry = TestRegistry::new().await;
        let ann = registry.token_of("ann").await.token.reveal().to_owned();
        let world = Self { registry, ann };
        assert_eq!(world.publish("1.0.0", &[]).await.status, 201);
        world
    }

    async fn publish(&self, version: &str, by: &[u8]) -> Answer {
        let archive = Pkg::new("http", version).archive();
        self.registry.publish_bytes(&self.ann, Some(&signed(version, by)), &archive).await
    }

    async fn ask(&self, method: Method, verb: &str, body: Value) -> Answer {
        self.ask_as(&self.ann, method, verb, body).await
    }

    async fn ask_as(&self, token: &str, method: Method, verb: &str, body: Value) -> Answer {
        let path = format!("/api/v1/packages/http/{verb}");
        self.registry.ask_as(token, method, &path, Some(body)).await
    }

    async fn register(&self, number: u8) -> Answer {
        self.ask(Method::PUT, "keys", json!({ "key": author(number).public() })).await
    }

    async fn require(&self, threshold: u32, of: &[u8]) -> Answer {
        self.ask(Method::PUT, "policy", rule(threshold, of)).await
    }

    /// A registry whose releases of `http` need Ann's signature.
    async fn ruled() -> Self {
        let world = Self::new().await;
        assert_eq!(world.register(1).await.status, 200);
        assert_eq!(world.require(1, &[1]).await.status, 200);
        world
    }
}

fn rule(threshold: u32, of: &[u8]) -> Value {
    let keys: Vec<_> = of.iter().map(|number| author(*number).public()).collect();
    json!({ "threshold": threshold, "keys": keys })
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.codes().remove(0))
}

fn refused(status: u16, slug: &str) -> (u16, String) {
    (status, slug.to_owned())
}

#[tokio::test]
async fn a_rule_asks_for_signatures_and_the_registry_takes_nothing_less() {
    let world = World::ruled().await;
    let unsigned = world.publish("1.1.0", &[]).await;
    assert_eq!(code(&unsigned), refused(403, "signature-missing"));
    let facts = &unsigned.json()["errors"][0]["facts"];
    assert_eq!((&facts["signed"], &facts["threshold"]), (&json!("0"), &json!("1")));
    assert_eq!(
        code(&world.publish("1.1.0", &[2]).await),
        refused(422, "signature-invalid"),
        "no key of theirs"
    );
    let archive = Pkg::new("http", "1.1.0").archive();
    let other = world.registry.publish_bytes(&world.ann, Some(&signed("1.2.0", &[1])), &archive).await;
    assert_eq!(code(&other), refused(422, "signature-invalid"), "over another release");
    // Whoever publishes with cargo, or as an administrator, is no exception.
    let admin = world.registry.publish(&Pkg::new("http", "1.1.0")).await;
    assert_eq!(code(&admin), refused(403, "signature-missing"));

    assert_eq!(world.publish("1.1.0", &[1]).await.status, 201);
    let line = world.registry.get("/api/v1/packages/http/1.1.0").await.json();
    assert_eq!(line["sigs"].as_object().unwrap().keys().collect::<Vec<_>>(), [author(1).public().as_str()]);
    // The same bytes again are a success, signed or not: nothing is published.
    assert_eq!(world.publish("1.1.0", &[]).await.status, 200);
    let keys = world.registry.get("/keys/http.json").await.json();
    assert_eq!((&keys["name"], &keys["rules"][0]["threshold"]), (&json!("http"), &json!(1)));
}

#[tokio::test]
async fn keys_and_rules_that_cannot_be() {
    let world = World::new().await;
    let none = world.require(1, &[1]).await;
    assert_eq!(code(&none), refused(422, "invalid-rule"), "nobody has the key");
    assert_eq!(world.register(1).await.json()["seq"], 2);
    assert_eq!(world.register(1).await.json()["seq"], Value::Null, "it is known already");
    for (threshold, of) in [(2, &[1][..]), (0, &[1]), (1, &[])] {
        assert_eq!(
            code(&world.require(threshold, of).await),
            refused(422, "invalid-rule"),
            "{threshold} {of:?}"
        );
    }
    for hours in [0, 721] {
        let body = json!({ "threshold": 1, "keys": [author(1).public()], "lock_hours": hours });
        assert_eq!(code(&world.ask(Method::PUT, "policy", body).await), refused(422, "invalid-rule"));
    }
    let remove =
        async |number: u8| world.ask(Method::DELETE, "keys", json!({ "key": author(number).public() })).await;
    assert_eq!(code(&remove(9).await), refused(404, "author-key-unknown"));
    assert_eq!(remove(1).await.json()["seq"], 3);
    assert_eq!(remove(1).await.json()["seq"], Value::Null);
    assert_eq!(code(&world.register(1).await), refused(409, "author-key-refused"), "it never comes back");
    assert_eq!(code(&world.publish("1.1.0", &[1]).await), refused(422, "signature-invalid"));
    let bob = world.registry.token_of("bob").await;
    let body = json!({ "key": author(2).public() });
    let foreign = world.ask_as(bob.token.reveal(), Method::PUT, "keys", body).await;
    assert_eq!(code(&foreign), refused(403, "not-an-owner"));
}

#[tokio::test]
async fn a_weaker_rule_waits_and_can_be_taken_back() {
    let world = World::ruled().await;
    world.register(2).await;
    assert_eq!(world.require(2, &[1, 2]).await.json()["seq"], 5, "a stronger one is in force at once");
    assert_eq!(code(&world.publish("1.1.0", &[1]).await), refused(403, "signature-missing"));
    assert_eq!(world.publish("1.1.0", &[1, 2]).await.status, 201);

    let lifted = world.require(0, &[]).await;
    assert!(
        lifted.json()["msg"].as_str().unwrap().ends_with(", from 2025-10-10T09:09:59Z on"),
        "{}",
        lifted.json()
    );
    world.registry.clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(code(&world.publish("1.2.0", &[]).await), refused(403, "signature-missing"));
    // An owner who has noticed says again what holds.
    assert_eq!(world.require(2, &[1, 2]).await.status, 200);
    world.registry.clock.advance(DAY * 3);
    assert_eq!(code(&world.publish("1.2.0", &[]).await), refused(403, "signature-missing"));

    assert_eq!(world.require(0, &[]).await.status, 200);
    world.registry.clock.advance(DAY);
    assert_eq!(world.publish("1.2.0", &[]).await.status, 201);
}

#[tokio::test]
async fn owners_of_a_package_with_a_rule_change_after_the_lock() {
    let world = World::ruled().await;
    let bob = world.registry.token_of("bob").await.token.reveal().to_owned();
    let owners =
        async |method: Method, login: &str| world.ask(method, "owners", json!({ "users": [login] })).await;
    let as_bob = async |version: &str| {
        let archive = Pkg::new("http", version).archive();
        world.registry.publish_bytes(&bob, Some(&signed(version, &[1])), &archive).await
    };
    let added = owners(Method::PUT, "bob").await;
    assert!(added.json()["msg"].as_str().unwrap().ends_with(", from 2025-10-10T09:09:59Z on"));
    assert_eq!(owners(Method::PUT, "bob").await.json()["seq"], Value::Null, "asked for already");
    assert_eq!(code(&as_bob("1.1.0").await), refused(403, "not-an-owner"));
    // Taken back, and asked for again: the time begins anew.
    assert_eq!(owners(Method::DELETE, "bob").await.status, 200);
    world.registry.clock.advance(DAY);
    assert_eq!(code(&as_bob("1.1.0").await), refused(403, "not-an-owner"));
    owners(Method::PUT, "bob").await;
    world.registry.clock.advance(DAY);
    assert_eq!(as_bob("1.1.0").await.status, 201, "nothing but time has passed");
    let listed = world.registry.get("/api/v1/packages/http/owners").await.json();
    assert_eq!(listed["users"].as_array().unwrap().len(), 2);

    // A thief of Ann's token cannot put Bob out at once; Bob may leave at once.
    assert!(owners(Method::DELETE, "bob").await.json()["msg"].as_str().unwrap().contains(", from "));
    assert_eq!(as_bob("1.2.0").await.status, 201);
    let leave = world.ask_as(&bob, Method::DELETE, "owners", json!({ "users": ["bob"] })).await;
    assert_eq!(leave.status, 200, "{}", leave.json());
    assert_eq!(code(&as_bob("1.3.0").await), refused(403, "not-an-owner"));
}

#[tokio::test]
async fn an_exception_is_the_operators_and_an_event() {
    let world = World::ruled().await;
    let mut body = rule(0, &[]);
    body["exception"] = json!("the only key burned with the house");
    let anns = world.ask(Method::PUT, "policy", body.clone()).await;
    assert_eq!(code(&anns), refused(403, "exception-refused"));
    let admin = world.registry.admin.clone();
    let lifted = world.ask_as(&admin, Method::PUT, "policy", body).await;
    assert_eq!(lifted.json()["msg"], "releases of `http` need no signature");
    assert_eq!(world.publish("1.1.0", &[]).await.status, 201);
    let keys = world.registry.get("/keys/http.json").await.json();
    let reason = keys["rules"][1]["exception"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    assert_eq!(
        world.registry.get(&format!("/o/{reason}")).await.json(),
        "the only key burned with the house"
    );

    let world = World::ruled().await;
    let body = json!({ "users": ["bob"], "exception": "the owner has died" });
    world.registry.token_of("bob").await;
    assert_eq!(
        code(&world.ask(Method::PUT, "owners", body.clone()).await),
        refused(403, "exception-refused")
    );
    let added = world.ask_as(&world.registry.admin, Method::PUT, "owners", body).await;
    assert_eq!(added.json()["msg"], "`bob` may act for `http`");
}

#[tokio::test]
async fn all_of_it_is_replayed() {
    let world = World::ruled().await;
    world.registry.token_of("bob").await;
    world.ask(Method::PUT, "owners", json!({ "users": ["bob"] })).await;
    world.publish("1.1.0", &[1]).await;
    world.require(0, &[]).await;
    world.registry.clock.advance(DAY);
    assert_eq!(world.publish("1.2.0", &[]).await.status, 201);
    let source = AreaSource::new(world.registry.store.public.clone());
    let vault = world.registry.store.vault.clone();
    let options = FsckOptions { key: None, deep: true };
    let report = fsck(&source, Some(vault), &options, &Silent).await;
    assert!(report.is_clean(), "{:?}", report.problems);
    let options = AuditOptions { key: None, deep: true, seen: vec![], keep: false };
    let audited = audit(&source, &options, None, &Silent, &|_| ()).await;
    assert_eq!(audited.problems, []);
    let again =
        rebuild(&world.registry.store, &RebuildOptions { key: None, dry_run: false }, &Silent).await.unwrap();
    assert_eq!(again.written, Vec::<String>::new());
}

#[tokio::test]
async fn a_signed_publish_costs_what_another_one_costs() {
    let world = World::ruled().await;
    let counter = Counter::new();
    let other = world.registry.another(|store| counter.wrap(store)).await;
    counter.reset();
    let archive = Pkg::new("http", "1.1.0").archive();
    let published = other.publish_bytes(&other.admin, Some(&signed("1.1.0", &[1])), &archive).await;
    assert_eq!(published.status, 201, "{}", published.json());
    let (counts, log) = (counter.counts(), counter.log());
    assert!(counts.puts <= 18 && counts.gets <= 12 && counts.rounds <= 7, "{counts:?} {log:#?}");
}
