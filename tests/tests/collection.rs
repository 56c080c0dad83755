//! Garbage collection of whole registries: what goes, what stays, and what it needs for that.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
    time::{Duration, SystemTime},
};

use axum::http::Method;
use drystone_index_builder::{GcAges, GcClass, GcError, GcOptions, GcReport, Silent, gc};
use drystone_log::{
    EntryBundle, Hash, MidTile, RootTile, Shard,
    commit::DOOMED_MAX,
    state_map::{mid_tile_key, root_tile_key, shard_key},
    tile::{entry_bundles, new_tiles},
};
use drystone_schemas::{Event, FileClass, Sha256Digest, layout};
use drystone_storage::{Call, Clock, Fault, Faults, Op, Store, new_ulid};
use drystone_tests::{
    Pkg, TestRegistry, TestStore,
    checks::{contents, everything, overwrite},
    every_store,
    process::User,
};
use futures_util::future::join_all;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Everything that nothing names goes at once: only the fence protects it.
fn eager() -> GcAges {
    GcAges { unnamed_s: 0, ..GcAges::default() }
}

async fn collect(registry: &TestRegistry, apply: bool, ages: GcAges) -> Result<GcReport, GcError> {
    let options = GcOptions { key: Some(TestRegistry::log_key()), apply, list: true, ages };
    gc(&registry.store, &options, &*registry.clock, &*registry.entropy, &Silent).await
}

async fn collected(registry: &TestRegistry) -> GcReport {
    collect(registry, true, eager()).await.unwrap()
}

async fn toggle(registry: &TestRegistry, i: u64) {
    let verb = if i.is_multiple_of(2) { "yank" } else { "unyank" };
    let path = format!("/api/v1/packages/http/1.0.0/{verb}");
    assert_eq!(registry.ask(Method::POST, &path, None).await.status, 200);
}

/// Puts bytes under their hash, as an upload does that is given up afterwards.
async fn abandon(registry: &TestRegistry, bytes: &[u8]) -> String {
    let key = layout::object(&Sha256Digest::of(bytes));
    overwrite(&*registry.store.public, &key, Some(bytes)).await;
    key
}

/// What a client with this checkpoint may ask for, by the names of files alone.
fn reachable(files: &BTreeMap<String, Vec<u8>>, size: u64) -> BTreeSet<String> {
    let mut needed: BTreeSet<String> = BTreeSet::from([layout::checkpoint_history(size)]);
    needed.extend(new_tiles(0, size).into_iter().map(|id| format!("log/{id}")));
    let mut last = None;
    for id in entry_bundles(0, size) {
        let key = format!("log/{}", id.path());
        for line in EntryBundle::decode(id, &files[&key]).unwrap().entries() {
            let event = Event::from_line(line).unwrap();
            needed.extend(event.objects().iter().map(layout::object));
            last = Some(event);
        }
        needed.insert(key);
    }
    let root = Hash::new(*last.unwrap().state.as_bytes());
    needed.insert(root_tile_key(&root));
    let root_tile = RootTile::open(&root, &files[&root_tile_key(&root)]).unwrap();
    for slot in 0..=u8::MAX {
        let mid = root_tile.get(slot);
        if MidTile::is_empty_root(&mid) {
            continue;
        }
        needed.insert(mid_tile_key(&mid));
        let mid = MidTile::open(&mid, &files[&mid_tile_key(&mid)]).unwrap();
        for within in 0..=u8::MAX {
            let leaf = mid.get(within);
            if Shard::is_empty_leaf(&leaf) {
                continue;
            }
            let key = shard_key(&leaf);
            let shard = Shard::open(u16::from_be_bytes([slot, within]), &leaf, &files[&key]).unwrap();
            let files = shard.entries().flat_map(|(_, entry)| &entry.files);
            let kept = files
                .filter(|(class, _)| FileClass::of_letter(**class).is_none_or(FileClass::is_kept_by_hash));
            needed.extend(kept.map(|(_, file)| format!("o/{}", file.digest)));
            needed.insert(key);
        }
    }
    needed
}

/// Forty days in the life of a registry: its first tile becomes full in them.
async fn with_history() -> (TestRegistry, Vec<u64>) {
    let registry = TestRegistry::new().await;
    for name in ["http", "json"] {
        assert_eq!(registry.publish(&Pkg::new(name, "1.0.0")).await.status, 201);
    }
    let mut recent = Vec::new();
    for day in 0..40 {
        registry.clock.advance(DAY);
        if day == 20 {
            // Many in few commits.
            join_all((0..240).map(|i| toggle(&registry, i))).await;
        }
        toggle(&registry, day).await;
        // The checkpoint of a day is current until the next.
        if day >= 10 {
            recent.push(registry.log_size().await);
        }
    }
    assert!(registry.log_size().await > 256);
    (registry, recent)
}

#[tokio::test]
async fn what_is_old_goes_and_what_recent_checkpoints_need_stays() {
    let (registry, recent) = with_history().await;
    let junk = abandon(&registry, b"given up").await;
    let before = everything(&registry.store).await;
    let needed: BTreeSet<String> = recent.iter().flat_map(|size| reachable(&before, *size)).collect();
    let missing: Vec<&String> = needed.iter().filter(|key| !before.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");

    let dry = collect(&registry, false, eager()).await.unwrap();
    assert!(everything(&registry.store).await == before, "a dry run changes nothing");
    let report = collected(&registry).await;
    assert_eq!((&report.classes, &report.keys.len()), (&dry.classes, &dry.keys.len()));
    let classes: Vec<GcClass> = report.classes.keys().copied().collect();
    let expected =
        [GcClass::Objects, GcClass::StateNodes, GcClass::PartialTiles, GcClass::Staging, GcClass::Outcomes];
    assert_eq!(classes, expected);
    let after = everything(&registry.store).await;
    let gone: BTreeSet<&String> = before.keys().filter(|key| !after.contains_key(*key)).collect();
    assert_eq!(gone.len() as u64, report.total().count);
    let bytes: usize = gone.iter().map(|key| before[*key].len()).sum();
    assert_eq!(bytes as u64, report.total().bytes);
    assert!(gone.contains(&junk));
    assert_eq!(needed.iter().filter(|key| gone.contains(key)).collect::<Vec<_>>(), [""; 0]);
    // Partial tiles of days before the history are gone, those of its days are there.
    assert!(
        gone.contains(&"log/tile/0/000.p/9".to_owned())
            && gone.contains(&"log/tile/entries/000.p/9".to_owned())
    );
    assert!(after.contains_key("log/tile/entries/000.p/14"));
    // What was moved away is in the trash, byte for byte.
    let trash = format!("vault/trash/{}/public/", registry.clock.now_unix_s());
    assert_eq!(after[&format!("{trash}{junk}")], before[&junk]);
    registry.assert_clean("after a collection").await;
    // Everything of every day is still to be had for who trusts the key alone.
    recent.iter().for_each(|size| drop(reachable(&after, *size)));

    let again = collected(&registry).await;
    assert!(again.is_empty(), "{again:?}");
    for (i, process) in [&registry, &registry.another(Store::clone).await].into_iter().enumerate() {
        assert_eq!(process.publish(&Pkg::new("http", &format!("2.{i}.0"))).await.status, 201);
    }
    registry.assert_clean("after publishing again").await;

    // A week later the trash is empty.
    registry.clock.advance(7 * DAY);
    let week = collected(&registry).await;
    assert!(week.classes.contains_key(&GcClass::Trash));
    let left = contents(&*registry.store.vault).await;
    assert!(!left.keys().any(|key| key.starts_with(&trash["vault/".len()..])));
    registry.assert_clean("after a week").await;
}

#[tokio::test]
async fn private_files_go_when_they_have_had_their_time() {
    let registry = TestRegistry::new().await;
    let id = || new_ulid(&*registry.clock, &*registry.entropy);
    let put = async |key: &str| overwrite(&*registry.store.vault, key, Some(b"{}")).await;
    let old = id();
    registry.clock.advance(40 * DAY);
    let (young, unknown) = (id(), "not-a-ulid");
    let mut going = BTreeSet::new();
    for folder in ["done", "inbox", "inbox-bad", "uploads"] {
        for name in [&*old, &young, unknown] {
            put(&format!("{folder}/{name}")).await;
        }
        going.insert(format!("vault/{folder}/{old}"));
    }
    put(&format!("uploads/{old}.ticket")).await;
    put(&format!("tokens/{old}")).await;
    going.insert(format!("vault/uploads/{old}.ticket"));
    let before = everything(&registry.store).await;
    collected(&registry).await;
    let after = everything(&registry.store).await;
    let gone: BTreeSet<String> = before.into_keys().filter(|key| !after.contains_key(key)).collect();
    // The genesis event's own outcome is as old.
    let mut private = gone.clone();
    private.retain(|key| going.contains(key) || !key.starts_with("vault/done/"));
    assert_eq!(private, going);
    assert_eq!(gone.len(), going.len() + 1);
}

#[tokio::test]
async fn much_garbage_goes_in_several_fences_and_large_objects_through_a_file() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let many = DOOMED_MAX + 40;
    for i in 0..many {
        abandon(&registry, format!("given up {i}").as_bytes()).await;
    }
    let large = vec![7; 3 << 20];
    let key = abandon(&registry, &large).await;
    let report = collected(&registry).await;
    assert_eq!(report.classes[&GcClass::Objects].count, many as u64 + 1);
    // One more for the staging objects.
    assert_eq!(report.fences, 3);
    let vault = contents(&*registry.store.vault).await;
    assert_eq!(vault[&layout::trash(registry.clock.now_unix_s(), false, &key)], large);
    let head = drystone_log::commit::Head::parse(&vault[layout::HEAD]).unwrap();
    assert!(!head.gc.is_up() && head.gc.n == 6);
    registry.assert_clean("after three fences").await;
}

/// What is needed and lies in the trash only comes back, with the type that its bytes say.
#[tokio::test]
async fn what_is_needed_is_put_back_before_anything_else() {
    for on in every_store("put-back").await {
        let registry = TestRegistry::now_on(on.store.clone()).await;
        assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
        let junk = abandon(&registry, b"given up").await;
        let files = contents(&*registry.store.public).await;
        let lost: Vec<&String> = files
            .keys()
            .filter(|key| (key.starts_with("o/") || key.starts_with("log/state/")) && **key != junk)
            .collect();
        assert!(lost.len() > 5);
        let at = registry.clock.now_unix_s() - 30 * DAY.as_secs();
        for key in &lost {
            overwrite(&*registry.store.vault, &layout::trash(at, false, key), Some(&files[*key])).await;
            if key.starts_with("o/") {
                overwrite(&*registry.store.public, key, None).await;
            }
        }
        let objects = lost.iter().filter(|key| key.starts_with("o/")).count();
        assert!(!registry.fsck().await.is_clean());
        let dry = collect(&registry, false, eager()).await.unwrap();
        assert_eq!(dry.put_back.len(), objects, "{}", on.kind);
        let report = collected(&registry).await;
        assert_eq!(report.put_back.len(), objects, "{}", on.kind);
        let after = contents(&*registry.store.public).await;
        assert!(lost.iter().all(|key| after[*key] == files[*key]) && !after.contains_key(&junk));
        registry.assert_clean("after putting back").await;
        let again = collected(&registry).await;
        assert_eq!(again.classes.keys().collect::<Vec<_>>(), [&GcClass::Trash], "{}", on.kind);
        assert_eq!(registry.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    }
}

/// Without knowing what is needed nothing is removed.
#[tokio::test]
async fn a_damaged_registry_is_left_alone() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    abandon(&registry, b"given up").await;
    let public = &*registry.store.public;
    let files = contents(public).await;
    let bundle = "log/tile/entries/000.p/2";
    let damaging = ["log/checkpoint", bundle, "log/state/tile/1/", "log/state/tile/0/", "log/state/shard/"];
    for prefix in damaging {
        for lost in [true, false] {
            let hit: Vec<&String> =
                files.keys().filter(|key| key.starts_with(prefix) && !key.contains("checkpoints")).collect();
            for key in &hit {
                let mut bytes = files[*key].clone();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                overwrite(public, key, (!lost).then_some(&bytes)).await;
            }
            let before = everything(&registry.store).await;
            let refused = collect(&registry, true, eager()).await;
            // The entries of the last commit are in its staging object as well, which is as good.
            if prefix == bundle && lost {
                assert!(refused.is_ok(), "{refused:?}");
                abandon(&registry, b"given up").await;
            } else {
                assert!(refused.is_err(), "{prefix} {lost}: {refused:?}");
                assert!(everything(&registry.store).await == before, "{prefix} {lost}");
            }
            for key in hit {
                overwrite(public, key, Some(&files[key])).await;
            }
        }
    }
    assert!(collected(&registry).await.classes.contains_key(&GcClass::Objects));
    registry.assert_clean("after repair").await;
}

/// A publisher died after the commit point: its commit is not applied, and all of it stays.
#[tokio::test]
async fn a_commit_that_is_not_applied_is_kept_whole() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let faults = Faults::new(|call: &Call<'_>| {
        let applies = call.op == Op::PutNew && call.key.starts_with("log/tile/");
        if applies { Fault::CrashBefore } else { Fault::None }
    });
    let dying = registry.another(|store| faults.wrap(store)).await;
    assert_eq!(dying.publish(&Pkg::new("http", "1.1.0")).await.status, 503);
    assert!(faults.crashed());
    registry.clock.advance(50 * DAY);
    let report = collected(&registry).await;
    assert_eq!(report.size, 3);
    let fresh = registry.another(Store::clone).await;
    fresh.assert_clean("after helping").await;
    assert_eq!(fresh.visible().await["http"], ["1.0.0", "1.1.0"]);
}

/// In stores that tell when a file was written, what is young is spared.
#[tokio::test]
async fn young_objects_are_spared_where_the_store_tells_their_age() {
    for on in every_store("young").await {
        let registry = TestRegistry::now_on(on.store.clone()).await;
        assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
        let junk = abandon(&registry, b"given up").await;
        let report = collect(&registry, true, GcAges::default()).await.unwrap();
        assert!(report.is_empty() && report.young > 0, "{}: {report:?}", on.kind);
        let Some(path) = on.path() else { continue };
        let file = fs_err::OpenOptions::new().write(true).open(path.join("public").join(&junk)).unwrap();
        let two_days_ago =
            SystemTime::UNIX_EPOCH + Duration::from_secs(registry.clock.now_unix_s()) - 2 * DAY;
        file.file().set_modified(two_days_ago).unwrap();
        let report = collect(&registry, true, GcAges::default()).await.unwrap();
        assert_eq!(report.keys, [(GcClass::Objects, junk)]);
    }
}

#[tokio::test]
async fn the_command_tells_first_and_removes_when_asked() {
    let on = TestStore::directory();
    let registry = TestRegistry::now_on(on.store.clone()).await;
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let junk = abandon(&registry, b"given up").await;
    let path = on.path().unwrap();
    let user = User::new("http://127.0.0.1:9", None);
    let run = |arguments: &[&str]| {
        let target = path.to_str().unwrap();
        let arguments: Vec<&str> = ["gc", target].into_iter().chain(arguments.iter().copied()).collect();
        let output: Output = user.run(path, &arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, told) = run(&[]);
    assert_eq!((code, &*out), (Some(0), ""), "{told}");
    assert!(told.contains("Would remove 0 files") && told.contains("may still be named"), "{told}");

    let file = fs_err::OpenOptions::new().write(true).open(path.join("public").join(&junk)).unwrap();
    file.file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let jti = format!("jti/{}", "ab".repeat(32));
    overwrite(&*on.store.vault, &jti, Some(br#"{"v": 1, "until": 1}"#)).await;
    let line = "objects                  1         8 B   no event and no recent state names them\n\
                expired-jti              1        20 B   the CI providers' tokens have expired, used or not\n";
    let (code, out, told) = run(&["--list"]);
    assert_eq!((code, out), (Some(3), format!("{line}objects: {junk}\nexpired-jti: {jti}\n")), "{told}");
    let (code, out, told) = run(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["applied"], &json["count"]), (Some(3), &false.into(), &2.into()), "{told}");
    assert_eq!(json["classes"][0]["class"], "objects");
    let (code, out, told) = run(&["--apply"]);
    assert_eq!((code, &*out), (Some(0), line), "{told}");
    assert!(told.contains("Removed 2 files, 28 B"), "{told}");
    assert!(!path.join("vault").join(&jti).exists());
    assert!(!path.join("public").join(&junk).exists());
    assert_eq!(run(&[]).0, Some(0));
    registry.assert_clean("after the command").await;
    assert_eq!(user.run(path, &["gc", "http://127.0.0.1:9"]).status.code(), Some(1));
}
