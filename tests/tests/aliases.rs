//! Short names: who may set which, what they mean, what is remembered, and what static hosting serves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use drystone_index_builder::{AreaSource, Silent, replay};
use drystone_schemas::{AccountId, AliasHistory, AliasMap, layout};
use drystone_storage::Key;
use drystone_tests::{
    Answer, Pkg, TestRegistry,
    checks::{contents, overwrite},
    process::{Server, User},
};
use futures_util::future::join;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

async fn set_as(registry: &TestRegistry, token: &str, alias: &str, package: &str) -> Answer {
    let path = format!("/api/v1/aliases/{alias}");
    registry.ask_as(token, Method::PUT, &path, Some(json!({ "package": package }))).await
}

async fn set(registry: &TestRegistry, alias: &str, package: &str) -> Answer {
    set_as(registry, &registry.admin, alias, package).await
}

async fn remove(registry: &TestRegistry, alias: &str) -> Answer {
    registry.ask(Method::DELETE, &format!("/api/v1/aliases/{alias}"), None).await
}

async fn stored(registry: &TestRegistry, key: &str) -> Option<Vec<u8>> {
    let key = Key::new(key).unwrap();
    registry.store.public.get(&key, 1 << 20).await.unwrap().map(|bytes| bytes.to_vec())
}

#[tokio::test]
async fn names_that_are_reserved_or_look_like_others_are_held_for_the_operator() {
    let registry = TestRegistry::new().await;
    let (ann, bob) = (registry.token_of("ann").await, registry.token_of("bob").await);
    let (ann, bob) = (ann.token.reveal(), bob.token.reveal());
    assert_eq!(registry.publish_as(ann, &Pkg::new("ck/zcrypto", "1.0.0")).await.status, 201);
    assert_eq!(registry.publish_as(bob, &Pkg::new("evil/z", "1.0.0")).await.status, 201);
    assert_eq!(registry.publish_as(bob, &Pkg::new("lodash", "1.0.0")).await.status, 201);
    assert_eq!(set_as(&registry, ann, "zcrypto", "ck/zcrypto").await.status, 200);
    for (alias, status, code) in [
        ("zcrypt0", 409, "alias-held"),
        ("1odash", 409, "alias-held"),
        ("std", 422, "name-reserved"),
        ("ZCrypto", 409, "alias-taken"),
        ("lodash", 409, "alias-is-package"),
        ("z.c", 422, "invalid-alias"),
    ] {
        let token = if alias == "1odash" { ann } else { bob };
        let package = if token == ann { "ck/zcrypto" } else { "evil/z" };
        set_as(&registry, token, alias, package).await.assert_refused(alias, status, &[code]);
    }
    // What looks like a name of one's own misleads nobody.
    assert_eq!(set_as(&registry, ann, "zcrypt0", "ck/zcrypto").await.status, 200);
    assert_eq!(set_as(&registry, bob, "l0dash", "lodash").await.status, 200);
    for i in 2..8 {
        assert_eq!(set_as(&registry, ann, &format!("alias-{i}"), "ck/zcrypto").await.status, 200);
    }
    set_as(&registry, ann, "alias-9", "ck/zcrypto").await.assert_refused(
        "one too many",
        403,
        &["alias-limit"],
    );
    // The operator decides.
    assert_eq!(set(&registry, "alias-9", "ck/zcrypto").await.status, 200);
    assert_eq!(set(&registry, "std", "evil/z").await.status, 200);
    assert_eq!(set(&registry, "1odash", "evil/z").await.status, 200);
    registry.assert_clean("after all that").await;
}

#[tokio::test]
async fn a_name_is_a_package_or_an_alias_and_never_both() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("acme/http", "1.0.0")).await.status, 201);
    assert_eq!(set(&registry, "http", "acme/http").await.status, 200);
    let squatted = registry.publish(&Pkg::new("http", "1.0.0")).await;
    squatted.assert_refused("a package of an alias's name", 409, &["name-is-alias"]);
    assert_eq!(squatted.json()["errors"][0]["facts"]["package"], "acme/http");
    assert_eq!(registry.publish(&Pkg::new("HTTP", "1.0.0")).await.codes(), ["name-is-alias"]);
    assert_eq!(remove(&registry, "http").await.status, 200);
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    assert_eq!(set(&registry, "http", "acme/http").await.codes(), ["alias-is-package"]);
    assert_eq!(registry.get("/api/v1/resolve/http").await.json()["full_name"], "http");
    // At once, whoever comes first wins, in one commit or in two.
    let package = Pkg::new("tls", "1.0.0");
    let (published, aliased) = join(registry.publish(&package), set(&registry, "tls", "acme/http")).await;
    let won = [published.status == 201, aliased.status == 200];
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{published:?} {aliased:?}");
    registry.assert_clean("after the race").await;
}

#[tokio::test]
async fn the_operator_reserves_names() {
    let mut settings = drystone_schemas::Settings::new("test", "http://registry.test");
    settings.reserved =
        ["Raven_Core", "vais"].iter().map(|name| drystone_schemas::Alias::new(*name).unwrap()).collect();
    let registry = TestRegistry::with_settings(drystone_storage::Store::memory(), settings).await;
    let ann = registry.token_of("ann").await;
    let ann = ann.token.reveal();
    assert_eq!(registry.publish_as(ann, &Pkg::new("raven-core", "1.0.0")).await.codes(), ["name-reserved"]);
    assert_eq!(registry.publish_as(ann, &Pkg::new("acme/vais", "1.0.0")).await.status, 201);
    assert_eq!(set_as(&registry, ann, "vais", "acme/vais").await.codes(), ["name-reserved"]);
    assert_eq!(set(&registry, "vais", "acme/vais").await.status, 200);
}

/// Exactly what the strictest client parses: one field more, and it finds no alias.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    full_name: String,
    resolved: bool,
}

#[tokio::test]
async fn static_hosting_answers_the_strict_client() {
    let registry = TestRegistry::new().await;
    registry.publish(&Pkg::new("acme/http", "1.0.0")).await;
    assert_eq!(set(&registry, "Z_Http", "acme/http").await.status, 200);
    let file = stored(&registry, "api/v1/resolve/z-http").await.unwrap();
    let strict: Strict = serde_json::from_slice(&file).unwrap();
    assert_eq!((&*strict.full_name, strict.resolved), ("acme/http", true));
    assert!(file.starts_with(b"{\"full_name\":\"acme/http\",\"resolved\":true}"));
    let served = registry.get("/api/v1/resolve/Z_HTTP").await;
    assert_eq!((served.status, &served.body), (200, &file));
    assert_eq!(served.headers["content-type"], "application/json");

    assert_eq!(remove(&registry, "z-http").await.status, 200);
    let emptied = stored(&registry, "api/v1/resolve/z-http").await.unwrap();
    assert!(serde_json::from_slice::<Strict>(&emptied).is_err());
    assert_eq!(registry.get("/api/v1/resolve/z-http").await.codes(), ["alias-not-found"]);
    // The same again: the bytes say which of the two states it is.
    assert_eq!(set(&registry, "z-http", "acme/http").await.status, 200);
    let again = stored(&registry, "api/v1/resolve/z-http").await.unwrap();
    assert_ne!(again, file);
    assert_eq!(
        serde_json::from_slice::<Value>(&again).unwrap(),
        serde_json::from_slice::<Value>(&file).unwrap()
    );
    registry.assert_clean("set, removed, set").await;
    overwrite(&*registry.store.public, "api/v1/resolve/z-http", Some(&file)).await;
    assert!(!registry.fsck().await.is_clean(), "an older state of the file is found");
}

#[derive(Debug, Clone)]
enum Op {
    Publish(usize),
    Set(usize, usize, Who),
    Remove(usize, Who),
    /// Hands a package over: from ann to bob, or back.
    Transfer(usize),
    Delete(usize),
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Operator,
    Ann,
    Bob,
}

const PACKAGES: [&str; 4] = ["acme/ink", "acme/pen", "quill", "pen"];
const ALIASES: [&str; 4] = ["quill", "pen", "qui1l", "ink"];

fn any_op() -> impl Strategy<Value = Op> {
    let who = || prop_oneof![2 => Just(Who::Operator), 1 => Just(Who::Ann), 1 => Just(Who::Bob)];
    prop_oneof![
        3 => (0..PACKAGES.len()).prop_map(Op::Publish),
        4 => (0..ALIASES.len(), 0..PACKAGES.len(), who()).prop_map(|(a, p, who)| Op::Set(a, p, who)),
        3 => (0..ALIASES.len(), who()).prop_map(|(a, who)| Op::Remove(a, who)),
        2 => (0..PACKAGES.len()).prop_map(Op::Transfer),
        1 => (0..PACKAGES.len()).prop_map(Op::Delete),
    ]
}

/// What a registry must say, told by the answers alone.
#[derive(Default)]
struct Model {
    releases: BTreeMap<&'static str, Vec<String>>,
    /// Packages that bob owns; the others are ann's.
    of_bob: BTreeSet<&'static str>,
    aliases: BTreeMap<&'static str, &'static str>,
    history: Vec<(&'static str, &'static str, &'static str, Who)>,
}

impl Model {
    fn meaning(&self, name: &str) -> Option<&str> {
        let own = self.releases.keys().find(|package| **package == name);
        own.or_else(|| self.aliases.get(name)).copied()
    }

    fn owner(&self, package: &str) -> Who {
        if self.of_bob.contains(package) { Who::Bob } else { Who::Ann }
    }

    fn may(&self, who: Who, package: &str) -> bool {
        who == Who::Operator || who == self.owner(package)
    }
}

async fn play(ops: Vec<Op>) {
    let registry = TestRegistry::new().await;
    let (ann, bob) = (registry.token_of("ann").await, registry.token_of("bob").await);
    let token = |who: Who| match who {
        Who::Operator => &*registry.admin,
        Who::Ann => ann.token.reveal(),
        Who::Bob => bob.token.reveal(),
    };
    let mut model = Model::default();
    for op in &ops {
        match *op {
            Op::Publish(p) => {
                let name = PACKAGES[p];
                let known = model.releases.get(name).map_or(0, Vec::len);
                let vers = format!("1.{known}.0");
                let answer = registry.publish_as(token(model.owner(name)), &Pkg::new(name, &vers)).await;
                let free = known > 0 || !model.aliases.contains_key(name);
                assert_eq!(answer.status == 201, free, "{op:?}: {answer:?}");
                if free {
                    model.releases.entry(name).or_default().push(vers);
                }
            }
            Op::Set(a, p, who) => {
                let (alias, package) = (ALIASES[a], PACKAGES[p]);
                let answer = set_as(&registry, token(who), alias, package).await;
                let there = model.aliases.get(alias).copied();
                let possible = model.releases.contains_key(package)
                    && !model.releases.contains_key(alias)
                    && model.may(who, package)
                    && there.is_none_or(|there| there == package);
                // Some names are held for the operator.
                if who == Who::Operator {
                    assert_eq!(answer.status == 200, possible, "{op:?}: {answer:?}");
                } else if answer.status == 200 {
                    assert!(possible, "{op:?}: {answer:?}");
                }
                if answer.status == 200 && there.is_none() {
                    model.aliases.insert(alias, package);
                    model.history.push((alias, "set", package, who));
                }
            }
            Op::Remove(a, who) => {
                let path = format!("/api/v1/aliases/{}", ALIASES[a]);
                let answer = registry.ask_as(token(who), Method::DELETE, &path, None).await;
                let there = model.aliases.get(ALIASES[a]).copied();
                let status = match there {
                    None => 404,
                    Some(package) if model.may(who, package) => 200,
                    Some(_) => 403,
                };
                assert_eq!(answer.status, status, "{op:?}: {answer:?}");
                if let (Some(package), 200) = (there, status) {
                    model.aliases.remove(ALIASES[a]);
                    model.history.push((ALIASES[a], "remove", package, who));
                }
            }
            Op::Transfer(p) => {
                let name = PACKAGES[p];
                let path = format!("/api/v1/packages/{}/owners", name.replace('/', "%2F"));
                let (from, to) = match model.owner(name) {
                    Who::Bob => ("bob", "ann"),
                    _ => ("ann", "bob"),
                };
                // Whoever owns it hands it over, and the new owner shows the old one out.
                let given = [(from, Method::PUT, to), (to, Method::DELETE, from)];
                for (by, method, login) in given {
                    let by = token(if by == "bob" { Who::Bob } else { Who::Ann });
                    let answer = registry.ask_as(by, method, &path, Some(json!({"users": [login]}))).await;
                    assert_eq!(answer.status == 200, model.releases.contains_key(name), "{op:?}: {answer:?}");
                }
                if model.releases.contains_key(name) && !model.of_bob.remove(name) {
                    model.of_bob.insert(name);
                }
            }
            Op::Delete(p) => {
                let Some(vers) = model.releases.get(PACKAGES[p]).and_then(|list| list.last()) else {
                    continue;
                };
                let path = format!("/api/v1/packages/{}/{vers}/delete", PACKAGES[p].replace('/', "%2F"));
                let answer = registry.ask(Method::POST, &path, Some(json!({"code": "spam"}))).await;
                assert_eq!(answer.status, 200, "{op:?}: {answer:?}");
            }
        }
        for name in ALIASES {
            let resolved = registry.get(&format!("/api/v1/resolve/{name}")).await.json();
            assert_eq!(resolved["full_name"].as_str(), model.meaning(name), "{name} after {op:?}");
        }
    }
    let me = registry.ask(Method::GET, "/api/v1/me", None).await.json();
    let operator = AccountId::new(me["account"].as_str().unwrap()).unwrap();
    let accounts = [operator, ann.account.id, bob.account.id];
    check_end(&registry, &model, &accounts).await;
}

/// Maps are what replaying the log makes of them, files are those maps, and nothing of the history is missing.
async fn check_end(registry: &TestRegistry, model: &Model, accounts: &[AccountId; 3]) {
    registry.assert_clean("in the end").await;
    let source = AreaSource::new(registry.store.public.clone());
    let replayed = replay(&source, Some(&TestRegistry::log_key()), &Silent, &mut |_| {}).await.unwrap();
    let meanings = |map: &AliasMap| -> BTreeMap<String, String> {
        map.aliases.iter().map(|(alias, target)| (alias.to_string(), target.package.to_string())).collect()
    };
    let expected: BTreeMap<String, String> =
        model.aliases.iter().map(|(alias, package)| ((*alias).to_owned(), (*package).to_owned())).collect();
    assert_eq!(meanings(replayed.replica.aliases()), expected);

    let files = contents(&*registry.store.public).await;
    let (mut shards, mut history) = (BTreeMap::new(), Vec::new());
    for (key, bytes) in files.iter().filter(|(key, _)| key.starts_with("aliases/")) {
        if key.ends_with(".history.json") {
            history.extend(serde_json::from_slice::<AliasHistory>(bytes).unwrap().changes);
        } else {
            shards.extend(meanings(&serde_json::from_slice(bytes).unwrap()));
        }
    }
    assert_eq!(shards, expected);
    let whole = files.get(layout::ALIASES).map(|bytes| meanings(&serde_json::from_slice(bytes).unwrap()));
    assert_eq!(whole.unwrap_or_default(), expected);
    history.sort_by_key(|change| change.seq);
    let told: Vec<_> = history
        .iter()
        .map(|change| {
            let facts = (change.alias.as_str(), change.change.as_str(), change.package.as_str());
            (facts.0, facts.1, facts.2, &change.actor)
        })
        .collect();
    let played: Vec<_> =
        model.history.iter().map(|(a, c, p, who)| (*a, *c, *p, &accounts[*who as usize])).collect();
    assert_eq!(told, played);
    assert!(history.iter().all(|change| change.time.starts_with("2025-10-09T")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_leaves_one_meaning_for_each_alias(ops in prop::collection::vec(any_op(), 1..14)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(ops));
    }
}

/// A server with packages, and somebody who installs from it.
fn with_packages(config: &str) -> (tempfile::TempDir, Server, User) {
    let dir = tempfile::tempdir().unwrap();
    let (data, token, file) =
        (dir.path().join("data"), dir.path().join("token"), dir.path().join("serve.toml"));
    fs_err::write(&file, config).unwrap();
    let arguments = [
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--token-file",
        token.to_str().unwrap(),
        "--config",
        file.to_str().unwrap(),
    ];
    let server = Server::start(&arguments, &[]);
    let user = User::new(&server.url, Some(fs_err::read_to_string(&token).unwrap().trim()));
    for name in ["acme/zhttp", "other"] {
        let package = dir.path().join(name.replace('/', "-"));
        fs_err::create_dir_all(package.join("src")).unwrap();
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        fs_err::write(package.join("drystone.toml"), manifest).unwrap();
        user.ok(&package, &["publish"]);
    }
    (dir, server, user)
}

#[test]
fn the_command_line_sets_shows_and_follows_aliases_with_proof() {
    let (dir, server, user) = with_packages("");
    let here = dir.path();
    user.ok(here, &["alias", "set", "http", "acme/zhttp"]);
    user.ok(here, &["alias", "set", "oth", "other"]);
    assert_eq!(user.ok(here, &["alias", "list"]), "http  acme/zhttp\noth   other\n");
    assert_eq!(user.ok(here, &["alias", "list", "--package", "other"]), "oth  other\n");
    assert_eq!(user.ok(here, &["alias", "suggest", "htpp"]), "http means acme/zhttp\n");
    let for_package = user.ok(here, &["alias", "suggest", "acme/zhttp"]);
    assert!(for_package.contains("zhttp is free\nacme-zhttp is free\nzhttp-acme is free\n"), "{for_package}");
    user.ok(here, &["alias", "remove", "oth"]);
    let history = user.ok(here, &["alias", "history", "oth"]);
    let told: Vec<Vec<&str>> =
        history.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert_eq!(told.len(), 2, "{history}");
    assert_eq!((told[0][2], told[1][2], told[0][3]), ("set", "remove", "other"), "{history}");
    assert!(history.contains("by acct:"), "{history}");
    assert_eq!(user.run(here, &["alias", "history", "never"]).status.code(), Some(1));

    let app = here.join("app");
    user.ok(here, &["init", "app"]);
    user.ok(&app, &["add", "http"]);
    assert!(fs_err::read_to_string(app.join("drystone.toml")).unwrap().contains("\"acme/zhttp\""));
    assert!(app.join("drystone_packages/@acme/zhttp/drystone.toml").is_file());
    assert!(user.ok(&app, &["info", "http"]).starts_with("acme/zhttp 1.0.0"));
    let lost = user.run(&app, &["add", "htttp"]);
    let told = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(
        !lost.status.success() && told.contains("did you mean `http`, the alias of `acme/zhttp`?"),
        "{told}"
    );

    // Whoever holds the files by name cannot give an alias another meaning.
    let shard = here.join("data/public/aliases/ht.json");
    let honest = fs_err::read_to_string(&shard).unwrap();
    fs_err::write(&shard, honest.replace("acme/zhttp", "other")).unwrap();
    let fresh = User::new(&server.url, None);
    assert_eq!(fresh.ok(here, &["alias", "resolve", "http"]), "acme/zhttp\n");
    let object = here.join(format!(
        "data/public/{}",
        layout::object(&drystone_schemas::Sha256Digest::of(honest.as_bytes()))
    ));
    fs_err::remove_file(&object).unwrap();
    let cheated = User::new(&server.url, None).run(here, &["alias", "resolve", "http"]);
    assert_eq!(cheated.status.code(), Some(5), "{}", String::from_utf8_lossy(&cheated.stderr));
}

#[test]
fn aliases_of_the_configuration_are_set_when_their_packages_exist() {
    let config = "[aliases]\nzh = \"acme/zhttp\"\nnone = \"acme/none\"\n";
    let (dir, server, user) = with_packages(config);
    assert_eq!(user.ok(dir.path(), &["alias", "list"]), "");
    server.kill();
    let (data, file) = (dir.path().join("data"), dir.path().join("serve.toml"));
    let arguments =
        ["--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()];
    let server = Server::start(&arguments, &[]);
    let user = User::new(&server.url, None);
    assert_eq!(user.ok(dir.path(), &["alias", "list"]), "zh  acme/zhttp\n");
}
