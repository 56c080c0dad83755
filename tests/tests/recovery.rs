//! What may happen to a registry behind its back: everything is refused or repaired, and nothing signed is contradicted.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, time::Duration};

use drystone_index_builder::{
    GcAges, GcOptions, RecoverError, RecoverOptions, RecoverReport, Silent, gc, recover,
};
use drystone_log::NoteSigner;
use drystone_publisher::{Options, Service};
use drystone_schemas::{Settings, layout};
use drystone_storage::{Area, Clock, Store};
use drystone_tests::{
    Pkg, TestRegistry, TestStore,
    checks::{contents, everything, overwrite},
    every_store,
};

const OLD_TOKEN: &str = "an old token";

async fn publish(registry: &TestRegistry, token: &str, vers: &str) {
    let answer = registry.publish_as(token, &Pkg::new("acme/http", vers)).await;
    assert_eq!(answer.status, 201, "{vers}: {}", answer.json());
}

/// A registry with two releases.
async fn started(on: &TestStore) -> TestRegistry {
    let registry = TestRegistry::now_on(on.store.clone()).await;
    for vers in ["1.0.0", "1.1.0"] {
        publish(&registry, &registry.admin, vers).await;
    }
    registry
}

async fn recovered(registry: &TestRegistry) -> Result<RecoverReport, RecoverError> {
    registry.clock.advance(Duration::from_secs(1));
    let now_unix_s = registry.clock.now_unix_s();
    let options = RecoverOptions { key: Some(TestRegistry::log_key()), now_unix_s };
    recover(&registry.store, &options, &*registry.entropy, &Silent).await
}

/// Nobody publishes, opens or collects, and nothing is changed by trying.
async fn assert_stopped(registry: &TestRegistry, code: &str) {
    let before = everything(&registry.store).await;
    let answer = registry.publish(&Pkg::new("acme/http", "9.0.0")).await;
    answer.assert_refused("a publish", 503, &[code]);
    let opened = registry.try_another(registry.store.clone()).await;
    assert_eq!(opened.err().expect("it does not open").problems[0].code.slug(), code);
    let options = GcOptions { key: None, apply: true, list: false, ages: GcAges::default() };
    let collected = gc(&registry.store, &options, &*registry.clock, &*registry.entropy, &Silent).await;
    assert!(collected.is_err(), "{collected:?}");
    let mut after = everything(&registry.store).await;
    // The refused upload's own objects may lie there: nothing names them.
    after.retain(|key, _| before.contains_key(key) || !key.starts_with("o/"));
    assert!(after == before, "a refusal changed something");
}

/// The recovered registry takes releases, refuses tokens from before, and every signed size is of one log.
async fn assert_goes_on(registry: &TestRegistry, vers: &str) {
    registry.assert_clean("after a recovery").await;
    let fresh = registry.another(Store::clone).await;
    for process in [registry, &fresh] {
        let answer = process.publish(&Pkg::new("acme/http", vers)).await;
        answer.assert_refused(OLD_TOKEN, 401, &["token-invalid"]);
    }
    let token = fresh.service.make_operator_token("after").await.unwrap().token;
    publish(&fresh, token.reveal(), vers).await;
    publish(registry, token.reveal(), &format!("{vers}-1")).await;
    // Fsck compares every checkpoint that was ever published with the log as it is now.
    registry.assert_clean("after going on").await;
}

#[tokio::test]
async fn a_head_from_an_old_copy_is_refused_and_recovered() {
    for on in every_store("old-head").await {
        let registry = started(&on).await;
        let vault = &*registry.store.vault;
        let old = contents(vault).await[layout::HEAD].clone();
        publish(&registry, &registry.admin, "1.2.0").await;
        overwrite(vault, layout::HEAD, Some(&old)).await;
        assert_stopped(&registry, "head-behind-log").await;
        assert_eq!(recovered(&registry).await.unwrap().size, 4, "{}", on.kind);
        assert_goes_on(&registry, "2.0.0").await;
    }
}

#[tokio::test]
async fn a_lost_head_is_refused_and_recovered() {
    for on in every_store("lost-head").await {
        let registry = started(&on).await;
        overwrite(&*registry.store.vault, layout::HEAD, None).await;
        assert_stopped(&registry, "head-behind-log").await;
        assert_eq!(recovered(&registry).await.unwrap().size, 3, "{}", on.kind);
        assert_goes_on(&registry, "2.0.0").await;
        // It is in order now: there is nothing to recover, so that no second run voids the new tokens.
        assert!(matches!(recovered(&registry).await, Err(RecoverError::HeadInOrder { .. })));
    }
}

#[tokio::test]
async fn a_lost_vault_takes_tokens_with_it_and_no_release() {
    for on in every_store("lost-vault").await {
        let registry = started(&on).await;
        for key in contents(&*registry.store.vault).await.keys() {
            overwrite(&*registry.store.vault, key, None).await;
        }
        let answer = registry.publish(&Pkg::new("acme/http", "9.0.0")).await;
        assert!(answer.status == 401 || answer.status == 503, "{}", answer.json());
        assert_eq!(recovered(&registry).await.unwrap().size, 3, "{}", on.kind);
        let token = registry.service.make_operator_token("after").await.unwrap().token;
        publish(&registry, token.reveal(), "2.0.0").await;
        let answer = registry.publish(&Pkg::new("acme/http", "9.0.0")).await;
        answer.assert_refused(OLD_TOKEN, 401, &["token-invalid"]);
        registry.assert_clean("after losing the vault").await;
        assert_eq!(registry.visible().await["acme/http"], ["1.0.0", "1.1.0", "2.0.0"]);
    }
}

/// The vault comes back from a copy that still has a token which was revoked since.
#[tokio::test]
async fn a_vault_from_a_copy_does_not_bring_revoked_tokens_back() {
    let on = TestStore::directory();
    let registry = started(&on).await;
    let ann = registry.token_of("ann").await.token;
    let copy = contents(&*registry.store.vault).await;
    registry.service.revoke_token(&ann).await.unwrap();
    for (key, bytes) in &copy {
        overwrite(&*registry.store.vault, key, Some(bytes)).await;
    }
    // Whoever restores a vault leaves head out.
    overwrite(&*registry.store.vault, layout::HEAD, None).await;
    recovered(&registry).await.unwrap();
    let answer = registry.publish_as(ann.reveal(), &Pkg::new("new", "1.0.0")).await;
    answer.assert_refused("a revoked token", 401, &["token-invalid"]);
    assert_goes_on(&registry, "2.0.0").await;
}

/// The checkpoint of an earlier day: the log does not go back, and whoever comes next publishes it again.
#[tokio::test]
async fn a_checkpoint_that_is_behind_is_brought_forward() {
    for on in every_store("old-checkpoint").await {
        let registry = started(&on).await;
        let public = &*registry.store.public;
        let old = contents(public).await;
        publish(&registry, &registry.admin, "1.2.0").await;
        for key in [layout::CHECKPOINT, layout::LATEST_PROOF] {
            overwrite(public, key, Some(&old[key])).await;
        }
        assert_eq!(registry.log_size().await, 3);
        registry.another(Store::clone).await;
        assert_eq!(registry.log_size().await, 4, "{}", on.kind);
        publish(&registry, &registry.admin, "1.3.0").await;
        registry.assert_clean("after an old checkpoint").await;
    }
}

/// A checkpoint whose log is not there: nothing may go on from an earlier size, until the rest of the copy has come.
#[tokio::test]
async fn a_checkpoint_that_is_ahead_stops_everything() {
    for on in every_store("new-checkpoint").await {
        let registry = started(&on).await;
        let before = everything(&registry.store).await;
        publish(&registry, &registry.admin, "1.2.0").await;
        let after = everything(&registry.store).await;
        let restore = async |files: &BTreeMap<String, Vec<u8>>| {
            for key in after.keys() {
                let (area, name): (&dyn Area, &str) = match key.strip_prefix("vault/") {
                    Some(name) => (&*registry.store.vault, name),
                    None => (&*registry.store.public, key),
                };
                overwrite(area, name, files.get(key).map(Vec::as_slice)).await;
            }
        };
        restore(&before).await;
        overwrite(&*registry.store.public, layout::CHECKPOINT, Some(&after[layout::CHECKPOINT])).await;
        assert_stopped(&registry, "head-behind-log").await;
        let refused = recovered(&registry).await;
        assert!(matches!(refused, Err(RecoverError::Replay(_))), "{}: {refused:?}", on.kind);
        assert_stopped(&registry, "head-behind-log").await;
        let public: BTreeMap<_, _> = after
            .iter()
            .filter(|(key, _)| !key.starts_with("vault/"))
            .map(|(k, b)| (k.clone(), b.clone()))
            .collect();
        let vault = before.iter().filter(|(key, _)| key.starts_with("vault/"));
        let mixed = public.into_iter().chain(vault.map(|(k, b)| (k.clone(), b.clone()))).collect();
        restore(&mixed).await;
        assert_stopped(&registry, "head-behind-log").await;
        assert_eq!(recovered(&registry).await.unwrap().size, 4, "{}", on.kind);
        assert_goes_on(&registry, "2.0.0").await;
    }
}

#[tokio::test]
async fn a_second_genesis_over_a_live_log_is_refused() {
    for on in every_store("genesis").await {
        let registry = started(&on).await;
        let whole = everything(&registry.store).await;
        // Whatever is left of a registry is enough to refuse: head, checkpoint, or a single public file.
        for lost in [&[][..], &["vault/"], &["vault/", "log/"]] {
            for (key, bytes) in &whole {
                let gone = lost.iter().any(|prefix| key.starts_with(prefix));
                let (area, name) = match key.strip_prefix("vault/") {
                    Some(name) => (&*registry.store.vault, name),
                    None => (&*registry.store.public, key.as_str()),
                };
                overwrite(area, name, (!gone).then_some(bytes)).await;
            }
            let settings = Settings::new("second", "http://registry.test");
            let (signer, origin) = (TestRegistry::signer(), TestRegistry::log_key().name().to_owned());
            let (clock, entropy) = (registry.clock.clone(), registry.entropy.clone());
            let made = Service::initialise(&registry.store, signer, &origin, &settings, clock, entropy).await;
            let refusal = made.map(|_| ()).expect_err("there is a registry");
            assert_eq!(refusal.problems[0].code.slug(), "already-initialised", "{} {lost:?}", on.kind);
            let public = contents(&*registry.store.public).await;
            assert!(public.iter().all(|(key, bytes)| whole.get(key) == Some(bytes)), "{lost:?}");
        }
    }
}

#[tokio::test]
async fn a_process_with_another_key_is_refused() {
    for on in every_store("key").await {
        let registry = started(&on).await;
        let before = everything(&registry.store).await;
        let origin = TestRegistry::log_key().name().to_owned();
        for (name, seed) in [(&*origin, 8), ("elsewhere.test/log/1", 7)] {
            let signer = NoteSigner::from_seed(name, &[seed; 32]).unwrap();
            let options = Options::new(std::env::temp_dir(), 1);
            let (clock, entropy) = (registry.clock.clone(), registry.entropy.clone());
            let opened = Service::open(registry.store.clone(), signer, name, clock, entropy, options).await;
            let refusal = opened.err().expect("it does not open");
            assert_eq!(refusal.problems[0].code.slug(), "wrong-key", "{}", on.kind);
        }
        assert!(everything(&registry.store).await == before);
    }
}

/// A backup by plain copying, file by file, while publishes go on: what says how far the log is comes first.
#[tokio::test]
async fn a_backup_that_is_taken_while_publishes_go_on_can_be_restored() {
    for on in every_store("backup").await {
        let registry = started(&on).await;
        let public = &*registry.store.public;
        let mut releases = 2;
        let backup = TestStore::directory();
        let first = [layout::CHECKPOINT, layout::LATEST_PROOF];
        let mut sizes = Vec::new();
        for prefix in ["log/checkpoint", "log/latest", "log/checkpoints/", ""] {
            // A listing as it is made by whoever copies, file by file, while releases come in between.
            for (i, key) in
                contents(public).await.into_keys().filter(|key| key.starts_with(prefix)).enumerate()
            {
                let is_first = first.contains(&&*key) || key.starts_with("log/checkpoints/");
                if prefix.is_empty() == is_first {
                    continue;
                }
                let parsed = drystone_storage::Key::new(key.clone()).unwrap();
                let bytes = public.get(&parsed, u64::MAX).await.unwrap().unwrap();
                overwrite(&*backup.store.public, &key, Some(&bytes)).await;
                if i % 4 == 0 {
                    releases += 1;
                    publish(&registry, &registry.admin, &format!("1.{releases}.0")).await;
                }
            }
            sizes.push(registry.log_size().await);
        }
        assert!(sizes[3] > sizes[2] && sizes[2] > sizes[0], "{sizes:?}");
        for (key, bytes) in contents(&*registry.store.vault).await {
            if key != layout::HEAD && !key.starts_with("staging/") {
                overwrite(&*backup.store.vault, &key, Some(&bytes)).await;
            }
        }
        registry.clock.advance(Duration::from_secs(1));
        let now_unix_s = registry.clock.now_unix_s();
        let options = RecoverOptions { key: Some(TestRegistry::log_key()), now_unix_s };
        let report = recover(&backup.store, &options, &*registry.entropy, &Silent).await.unwrap();
        assert!(report.size >= 3 && report.size < sizes[3], "{report:?} {sizes:?}");
        let restored = registry.another(|_| backup.store.clone()).await;
        restored.assert_clean("a restored backup").await;
        let token = restored.service.make_operator_token("after").await.unwrap().token;
        publish(&restored, token.reveal(), "7.0.0").await;
        restored.assert_clean("a restored backup that goes on").await;
    }
}
