//! What a lying registry cannot do.

use std::collections::BTreeSet;

use drystone_client::{
    ClientError, Home, Network, Registry, Snapshot, TrustStore, VerificationError,
    verify::{verify_file, verify_release},
};
use drystone_schemas::{Alias, Code, Limits, PackageName, Sha256Digest, Version, layout};

use crate::fake::{Fake, archive};

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

async fn versions(registry: &Registry, fake: &Fake, package: &str) -> Result<Vec<String>, ClientError> {
    let snapshot = Snapshot::open(registry, &fake.trust()).await?;
    let index = snapshot.index(&name(package)).await?;
    Ok(index.map_or(vec![], |index| index.file.lines.iter().map(|line| line.vers.to_string()).collect()))
}

fn code(error: &ClientError) -> Code {
    error.problems()[0].code
}

#[tokio::test]
async fn what_is_read_is_what_the_log_names() {
    let mut fake = Fake::start().await;
    fake.world.publish("acme/Http_x", "1.0.0", &[]);
    let registry = fake.registry();
    // Any spelling finds it, though by-name paths differ.
    for spelling in ["acme/Http_x", "Acme/http-X"] {
        assert_eq!(versions(&registry, &fake, spelling).await.unwrap(), ["1.0.0"], "{spelling}");
    }
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    assert_eq!(snapshot.document(&name("acme/http-x")).await.unwrap().unwrap().name, name("acme/Http_x"));
    assert!(snapshot.index(&name("acme/other")).await.unwrap().is_none());
    assert!(snapshot.alias(&Alias::new("http").unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn short_names_mean_what_the_log_says_and_their_past_is_their_own() {
    let mut fake = Fake::start().await;
    let aliases = ["http", "http-1"].map(|text| Alias::new(text).unwrap());
    let registry = fake.registry();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    assert!(snapshot.aliases().await.unwrap().is_none());
    assert!(snapshot.alias_history(&aliases[0]).await.unwrap().is_empty());
    // Two of one shard.
    assert_eq!(aliases[0].shard(), aliases[1].shard());
    fake.world.publish("acme/http", "1.0.0", &[]);
    fake.world.set_aliases(&["http", "http-1"], "acme/http");
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    let all = snapshot.aliases().await.unwrap().unwrap();
    assert_eq!(all.aliases.keys().collect::<Vec<_>>(), [&aliases[0], &aliases[1]]);
    for (alias, seq) in aliases.iter().zip(2..) {
        assert_eq!(snapshot.alias(alias).await.unwrap(), Some(name("acme/http")));
        let history = snapshot.alias_history(alias).await.unwrap();
        assert_eq!(
            history.iter().map(|change| (change.seq, &change.alias)).collect::<Vec<_>>(),
            [(seq, alias)]
        );
    }
    assert_eq!(snapshot.alias(&Alias::new("http-2").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn stale_files_by_name_are_replaced_by_hash_and_only_their_absence_there_is_an_attack() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let old = fake.world.file("index/1/a");
    fake.world.publish("a", "1.1.0", &[]);
    let new = fake.world.file("index/1/a");
    // An edge holds an older copy: the newest release is not hidden by that.
    fake.world.put("index/1/a", old.clone());
    assert_eq!(versions(&fake.registry(), &fake, "a").await.unwrap(), ["1.0.0", "1.1.0"]);

    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    fake.world.publish("a", "1.1.0", &[]);
    fake.world.put("index/1/a", old.clone());
    let object = layout::object(&Sha256Digest::of(&new));
    assert!(fake.world.keys().contains(&object), "both worlds have equal bytes");
    fake.world.put(&object, old);
    let error = versions(&fake.registry(), &fake, "a").await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(_)), "{error}");
    fake.world.forget(&object);
    let error = versions(&fake.registry(), &fake, "a").await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Missing { .. })), "{error}");
}

/// Some positions of a file, the ends among them; all of them with `DRYSTONE_FLIPS=all`.
fn positions(length: usize) -> Vec<usize> {
    // A wrong setting of a test is not worth a door of its own.
    #[expect(clippy::disallowed_methods, reason = "how much a test does is decided from outside")]
    let all = std::env::var("DRYSTONE_FLIPS").is_ok_and(|value| value == "all");
    if all { (0..length).collect() } else { vec![0, length / 3, length / 2, length - 2, length - 1] }
}

#[tokio::test]
async fn one_flipped_byte_anywhere_on_the_way_is_named_or_changes_nothing() {
    let mut fake = Fake::start().await;
    let bytes = fake.world.publish("a", "1.0.0", &[]);
    for _ in 0..300 {
        fake.world.heartbeat();
    }
    let limits = Limits::default();
    // A fresh home each time, so that nothing is cached or remembered.
    let verified = async || {
        let home = tempfile::tempdir().unwrap();
        let (base, http) = (fake.registry().base().to_owned(), fake.http());
        let registry = Registry::new(&base, http, home.path(), Network::Online, None).unwrap();
        let snapshot = Snapshot::open(&registry, &TrustStore::new(Home::new(home.path()))).await?;
        verify_release(&snapshot, &name("a"), &version("1.0.0"), &limits).await
    };
    let truth = verified().await.unwrap();
    let asked = fake
        .world
        .take_seen()
        .into_iter()
        .filter_map(|seen| seen.line.strip_prefix("GET /").map(str::to_owned));
    let there = fake.world.keys();
    let asked: BTreeSet<String> = asked.filter(|key| there.contains(key)).collect();
    let archive = layout::object(&Sha256Digest::of(&bytes));
    let state: Vec<&String> = asked.iter().filter(|key| key.starts_with("log/state/")).collect();
    let fixed = [
        "config.json",
        "index/1/a",
        "log/latest.tlog-proof",
        "log/tile/0/000",
        "log/tile/0/001.p/46",
        "log/tile/1/000.p/1",
        "log/tile/entries/000",
    ];
    assert_eq!((asked.len(), state.len()), (fixed.len() + 4, 3), "{asked:?}");
    assert!(asked.contains(&archive) && fixed.iter().all(|key| asked.contains(*key)), "{asked:?}");
    for key in &asked {
        let good = fake.world.file(key);
        for (count, at) in positions(good.len()).into_iter().enumerate() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (count % 8);
            fake.world.put(key, bad);
            match (&**key, verified().await) {
                // By name nothing is believed: it is fetched by hash. Of the settings most say nothing about trust.
                ("index/1/a" | "config.json", Ok(chain)) => assert_eq!(chain, truth, "byte {at} of `{key}`"),
                ("config.json", Err(_)) => {}
                (_, result) => {
                    let error = result.expect_err(&format!("byte {at} of `{key}` is believed"));
                    assert_eq!(code(&error), Code::VerificationFailed, "byte {at} of `{key}`: {error}");
                    let called = match &**key {
                        "log/latest.tlog-proof" => "the newest event's proof",
                        archive_key if archive_key == archive => "`a` 1.0.0",
                        key => key.trim_start_matches("log/"),
                    };
                    assert!(error.to_string().contains(called), "byte {at} of `{key}`: {error}");
                }
            }
        }
        fake.world.put(key, good);
    }
}

#[tokio::test]
async fn without_the_proof_file_checkpoint_and_tiles_lead_to_the_same_state() {
    let mut fake = Fake::start().await;
    for _ in 0..300 {
        fake.world.heartbeat();
    }
    fake.world.publish("a", "1.0.0", &[]);
    fake.world.forget(layout::LATEST_PROOF);
    assert_eq!(versions(&fake.registry(), &fake, "a").await.unwrap(), ["1.0.0"]);
    let mut bundle = fake.world.file("log/tile/entries/001.p/46");
    bundle[10] ^= 1;
    fake.world.put("log/tile/entries/001.p/46", bundle);
    let error = versions(&fake.registry(), &fake, "a").await.unwrap_err();
    assert_eq!(code(&error), Code::VerificationFailed, "{error}");
}

#[tokio::test]
async fn a_log_that_grows_is_followed_from_any_size_to_any_other() {
    let mut fake = Fake::start().await;
    let registry = fake.registry();
    for grow in [0, 1, 1, 200, 53, 1, 300, 7] {
        for _ in 0..grow {
            fake.world.heartbeat();
        }
        let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
        assert_eq!(snapshot.checkpoint().size(), fake.world.size());
    }
}

#[tokio::test]
async fn a_full_tile_stands_in_for_a_partial_one_that_was_deleted() {
    let mut fake = Fake::start().await;
    for _ in 0..254 {
        fake.world.heartbeat();
    }
    Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap();
    let old_proof = fake.world.file(layout::LATEST_PROOF);
    fake.world.heartbeat();
    fake.world.forget("log/tile/0/000.p/255");
    // The proof file of size 255 is still around, and its partial tile is not.
    fake.world.put(layout::LATEST_PROOF, old_proof);
    let snapshot_of_255 = fake.registry();
    let snapshot = Snapshot::open(&snapshot_of_255, &fake.trust()).await.unwrap();
    assert_eq!(snapshot.checkpoint().size(), 255);
    snapshot.check_continues(17, &fake.world.root_at(17)).await.unwrap();
    snapshot.check_continues(17, &fake.world.root_at(18)).await.unwrap_err();
}

#[tokio::test]
async fn another_key_is_refused() {
    let mut fake = Fake::start().await;
    Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap();
    fake.replace_world(8);
    let error = Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::KeyChanged { .. })), "{error}");
    assert_eq!(code(&error).exit_code(), 5);
}

#[tokio::test]
async fn a_fork_is_refused_and_both_notes_are_kept() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap();
    let seen = fake.world.file(layout::CHECKPOINT);
    // The same key signs another history: as long, and longer.
    for more in 0..3 {
        fake.replace_world(7);
        fake.world.publish("b", "1.0.0", &[]);
        (0..more).for_each(|_| fake.world.heartbeat());
        let offered = fake.world.file(layout::CHECKPOINT);
        let error = Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap_err();
        let ClientError::Verification(VerificationError::Fork { evidence: Some(dir), .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(fs_err::read(dir.join("seen")).unwrap(), seen);
        assert_eq!(fs_err::read(dir.join("offered")).unwrap(), offered);
    }
}

#[tokio::test]
async fn an_older_log_is_asked_for_again_and_then_refused() {
    let mut fake = Fake::start().await;
    let old: Vec<_> =
        [layout::LATEST_PROOF, layout::CHECKPOINT].map(|key| (key, fake.world.file(key))).into();
    fake.world.publish("a", "1.0.0", &[]);
    Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap();
    let new: Vec<_> =
        [layout::LATEST_PROOF, layout::CHECKPOINT].map(|key| (key, fake.world.file(key))).into();
    old.iter().for_each(|(key, bytes)| fake.world.put(key, bytes.clone()));
    fake.world.take_seen();
    let error = Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Fork { .. })), "{error}");
    let asked = fake.world.take_seen().iter().filter(|seen| seen.line.ends_with("latest.tlog-proof")).count();
    assert_eq!(asked, 3);
    new.iter().for_each(|(key, bytes)| fake.world.put(key, bytes.clone()));
    Snapshot::open(&fake.registry(), &fake.trust()).await.unwrap();
}

#[tokio::test]
async fn offline_everything_seen_before_is_there_and_nothing_else() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    fake.world.publish("b", "1.0.0", &[]);
    let cold = versions(&fake.registry_with(Network::Offline, None), &fake, "a").await.unwrap_err();
    assert_eq!(code(&cold), Code::OfflineMiss);
    versions(&fake.registry(), &fake, "a").await.unwrap();
    fake.world.take_seen();
    let offline = fake.registry_with(Network::Offline, None);
    assert_eq!(versions(&offline, &fake, "a").await.unwrap(), ["1.0.0"]);
    let error = versions(&offline, &fake, "b").await.unwrap_err();
    assert_eq!(code(&error), Code::OfflineMiss, "{error}");
    assert_eq!(fake.world.take_seen().len(), 0);
}

#[tokio::test]
async fn a_second_read_costs_one_conditional_request_for_what_may_change() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    versions(&fake.registry(), &fake, "a").await.unwrap();
    fake.world.take_seen();
    versions(&fake.registry(), &fake, "a").await.unwrap();
    let lines: Vec<String> = fake.world.take_seen().into_iter().map(|seen| seen.line).collect();
    let mut sorted = lines;
    sorted.sort();
    // Asked for at once: nothing of it is needed for the rest.
    assert_eq!(sorted, ["GET /config.json", "GET /log/latest.tlog-proof", "GET /log/trust/1"]);
}

#[tokio::test]
async fn the_chain_of_a_release_and_of_a_file() {
    let mut fake = Fake::start().await;
    let bytes = fake.world.publish("acme/http", "1.0.0", &[]);
    fake.world.publish("acme/http", "1.1.0", &[]);
    let registry = fake.registry();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    let limits = Limits::default();
    let chain = verify_release(&snapshot, &name("acme/http"), &version("1.0.0"), &limits).await.unwrap();
    assert_eq!((chain.event, chain.log_size, chain.tarball), (1, 3, Sha256Digest::of(&bytes)));
    let what: Vec<_> = chain.links.iter().map(|link| link.what).collect();
    assert_eq!(
        what,
        [
            "archive",
            "manifest",
            "index line",
            "index file",
            "state map",
            "newest event",
            "release event",
            "authors",
            "checkpoint",
            "signature"
        ]
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("download");
    fs_err::write(&path, &bytes).unwrap();
    assert_eq!(verify_file(&snapshot, &path, &Limits::default()).await.unwrap(), chain);
    // A good archive of the same release, but not the one that was published.
    let manifest = "[package]\nname = \"acme/http\"\nversion = \"1.0.0\"\ndescription = \"x\"\n";
    let other = drystone_archive::PackFile::bytes("drystone.toml", false, manifest.as_bytes());
    let other = drystone_archive::pack(Vec::new(), "http-1.0.0", [other], &Limits::default()).unwrap();
    fs_err::write(&path, other).unwrap();
    let error = verify_file(&snapshot, &path, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Digest { .. })), "{error}");
    let missing =
        verify_release(&snapshot, &name("acme/http"), &version("9.0.0"), &limits).await.unwrap_err();
    assert_eq!(code(&missing), Code::VersionNotFound);
}

#[tokio::test]
async fn an_index_that_names_another_event_is_a_contradiction() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    fake.world.publish("b", "1.0.0", &[]);
    // A registry that signs a wrong index: the events still tell.
    fake.world.edit("b", |line| line.published = 1);
    let registry = fake.registry();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    let limits = Limits::default();
    let error = verify_release(&snapshot, &name("b"), &version("1.0.0"), &limits).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Contradiction(_))), "{error}");
    let swapped = archive("a", "2.0.0");
    fake.world.publish_archive("c", "2.0.0", &[], &swapped);
    fake.world.edit("c", |line| line.cksum = Sha256Digest::of(b"").hex());
    fake.world.put(&layout::object(&Sha256Digest::of(b"")), b"".to_vec());
    fake.world.edit("c", |line| line.size = 0);
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    let error = verify_release(&snapshot, &name("c"), &version("2.0.0"), &limits).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Contradiction(_))), "{error}");
}
