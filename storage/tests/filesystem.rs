//! What only the filesystem backend must do: layout, several processes, and keys that a tree cannot hold.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use drystone_storage::{
    Body, FsArea, Key, Meta, NewObject, Objects, Outcome, Pointers, Replace, Store, StoreError, Tag,
};
use futures_util::future::join_all;

const CHILD_DIR: &str = "DRYSTONE_TEST_CHILD_DIR";
const INCREMENTS: u32 = 40;
const PROCESSES: u32 = 3;

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn object(text: &str, bytes: impl Into<Bytes>) -> NewObject {
    NewObject { key: key(text), body: Body::Bytes(bytes.into()), meta: Meta::PRIVATE }
}

/// All files below a directory, as sorted relative paths.
fn files(root: &Path) -> BTreeSet<String> {
    let (mut found, mut dirs) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs_err::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let relative = path.strip_prefix(root).expect("below the root");
                found.insert(relative.to_str().expect("text").to_owned());
            }
        }
    }
    found
}

async fn number(area: &FsArea, name: &str) -> (u32, Option<Tag>) {
    match area.read(&key(name), 100).await.expect("reads") {
        Some(read) => {
            (std::str::from_utf8(&read.bytes).expect("text").parse().expect("a number"), Some(read.tag))
        }
        None => (0, None),
    }
}

/// Increments two counters at once, [`INCREMENTS`] times each.
async fn increment(area: &FsArea) {
    let (mut left, mut lost) = ([INCREMENTS; 2], 0);
    while left != [0, 0] {
        let mut swaps = Vec::new();
        for name in ["counters/a", "deep/counters/b"] {
            let (now, seen) = number(area, name).await;
            swaps.push((key(name), seen, Bytes::from((now + 1).to_string()), Meta::PRIVATE));
        }
        swaps.retain(|(key, ..)| left[usize::from(key.as_str().starts_with("deep"))] > 0);
        let names: Vec<Key> = swaps.iter().map(|(key, ..)| key.clone()).collect();
        for (key, outcome) in names.iter().zip(area.replace_round(swaps).await) {
            match outcome.expect("replaces") {
                Replace::Replaced(_) => left[usize::from(key.as_str().starts_with("deep"))] -= 1,
                Replace::Conflict => lost += 1,
                Replace::Unknown(detail) => panic!("unknown: {detail}"),
            }
        }
        assert!(lost < 1_000_000, "no progress");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the parent process hands its directory to its children")]
async fn one_process_counts() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        let dir = tempfile::tempdir().expect("a directory");
        let area = FsArea::open(dir.path().to_owned()).expect("opens");
        increment(&area).await;
        assert_eq!(number(&area, "counters/a").await.0, INCREMENTS);
        return;
    };
    increment(&FsArea::open(dir.into()).expect("opens")).await;
}

#[tokio::test]
async fn several_processes_lose_no_update() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let test = std::env::current_exe().expect("this binary");
            Command::new(test)
                .args(["--exact", "one_process_counts"])
                .env(CHILD_DIR, dir.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("starts")
        })
        .collect();
    for child in &mut children {
        assert!(child.wait().expect("ends").success());
    }
    let area = FsArea::open(dir.path().to_owned()).expect("opens");
    for name in ["counters/a", "deep/counters/b"] {
        assert_eq!(number(&area, name).await.0, PROCESSES * INCREMENTS, "{name}");
    }
    assert_eq!(files(&dir.path().join(".tmp")), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_openings_create_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let areas = [(); 2].map(|()| FsArea::open(dir.path().to_owned()).expect("opens"));
    for round in 0..20 {
        let name = format!("o/{round}");
        let objects = [object(&name, "left"), object(&name, "right")];
        let puts = areas.iter().zip(&objects).map(|(area, object)| area.put_new(object));
        let mut outcomes: Vec<Outcome> =
            join_all(puts).await.into_iter().collect::<Result<_, _>>().expect("both are answered");
        outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
        assert_eq!(outcomes, [Outcome::AlreadyThereDifferent, Outcome::Created]);
    }
}

#[tokio::test]
async fn the_directory_can_be_served_as_it_lies() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open_dir(&dir.path().join("registry")).expect("opens");
    store.public.put_round(&[object("o/1", "one"), object("index/se/rd/serde", "line")]).await;
    let head = (key("head"), None, Bytes::from_static(b"{}"), Meta::PRIVATE);
    store.vault.replace_round(vec![head]).await;

    let root = dir.path().join("registry");
    let mut served = files(&root);
    served.retain(|path| !path.starts_with(".journal/"));
    let expected = ["public/index/se/rd/serde", "public/o/1", "vault/head"].map(str::to_owned);
    assert_eq!(served, BTreeSet::from(expected));
    assert_eq!(fs_err::read(root.join("public/index/se/rd/serde")).expect("reads"), b"line");
    for own in ["vault", ".journal"] {
        let mode = fs_err::metadata(root.join(own)).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "`{own}` is its owner's alone");
    }
}

#[tokio::test]
async fn keys_that_a_tree_cannot_hold_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(dir.path().to_owned()).expect("opens");
    area.put_new(&object("a/b", "x")).await.expect("puts");
    area.put_new(&object("good", "x")).await.expect("puts");
    let long = format!("long/{}", "n".repeat(300));
    for name in ["a", "a/b/c", "a/b/c/d", ".tmp/x", ".journal/odd", &long] {
        let put = area.put_new(&object(name, "x")).await;
        assert!(matches!(put, Err(StoreError::Refused { .. })), "put `{name}`: {put:?}");
        let swap = area.replace(&key(name), None, Bytes::from_static(b"x"), Meta::PRIVATE).await;
        assert!(matches!(swap, Err(StoreError::Refused { .. })), "replace `{name}`: {swap:?}");
    }
    // In a round they spoil nothing for the others.
    let mut outcomes = area.put_round(&[object("a", "x"), object("a/b/c", "x"), object("n/e/w", "x")]).await;
    assert!(matches!(outcomes.pop(), Some(Ok(Outcome::Created))));
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Refused { .. }))),
        "{outcomes:?}"
    );
    let keys = area.list("", None).await.expect("lists").keys;
    assert_eq!(keys, [key("a/b"), key("good"), key("n/e/w")]);
}

#[tokio::test]
async fn two_swaps_of_one_key_in_a_round_have_one_winner() {
    let dir = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(dir.path().to_owned()).expect("opens");
    let swap = |bytes: &'static str| (key("p"), None, Bytes::from_static(bytes.as_bytes()), Meta::PRIVATE);
    let outcomes = area.replace_round(vec![swap("one"), swap("two")]).await;
    assert!(matches!(outcomes.as_slice(), [Ok(Replace::Replaced(_)), Ok(Replace::Conflict)]), "{outcomes:?}");
}

#[tokio::test]
async fn a_directory_that_vanished_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(dir.path().to_owned()).expect("opens");
    area.put_new(&object("a/b/1", "x")).await.expect("puts");
    fs_err::remove_dir_all(dir.path().join("a")).expect("removes");
    assert_eq!(area.put_new(&object("a/b/2", "x")).await.expect("puts"), Outcome::Created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_the_plain_file_never_see_a_part() {
    let dir = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(dir.path().to_owned()).expect("opens");
    let path = dir.path().join("p");
    let done = AtomicBool::new(false);
    let mut seen = None;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                if let Ok(bytes) = fs_err::read(&path) {
                    assert_eq!(bytes.len(), 100_000, "a part of the file was seen");
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mix of two states was seen");
                    reads += 1;
                }
            }
            reads
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for round in 0..100_u8 {
                    let bytes = Bytes::from(vec![round; 100_000]);
                    match area.replace(&key("p"), seen.as_ref(), bytes, Meta::PRIVATE).await {
                        Ok(Replace::Replaced(tag)) => seen = Some(tag),
                        other => panic!("{other:?}"),
                    }
                }
            });
        });
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("the reader saw whole files") > 0);
    });
}

#[tokio::test]
async fn stale_temporary_files_are_removed_and_fresh_ones_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(dir.path().to_owned()).expect("opens");
    let temp = |name: &str| dir.path().join(".tmp").join(name);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000);
    for (name, age_s) in [("old", 7_200), ("fresh", 60)] {
        let file = fs_err::File::create(temp(name)).expect("creates");
        file.set_modified(now - Duration::from_secs(age_s)).expect("sets");
    }
    let removed = area.remove_stale_temps(now, Duration::from_secs(3_600)).await.expect("removes");
    assert_eq!((removed, temp("old").exists(), temp("fresh").exists()), (1, false, true));
}

#[tokio::test]
async fn rounds_share_one_sync_and_what_is_only_in_order_waits_for_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let store = Store::open_dir(folder.path()).expect("opens");
    let ordered = store.ordered();
    let syncs = {
        // Another opening of one of the areas finds the store's journal.
        let alone = FsArea::open(folder.path().join("public")).expect("opens");
        alone.put_new(&object("warm", "up")).await.expect("puts");
        let before = alone.syncs();
        alone.put_round(&[object("o/1", "x"), object("o/2", "x"), object("deep/er/3", "x")]).await;
        let after = alone.syncs();
        assert_eq!(
            (after.journal, after.files, after.directories),
            (before.journal + 1, 0, before.directories)
        );
        assert!(folder.path().join(".journal").is_dir() && !folder.path().join("public/.journal").exists());
        alone
    };
    drop(syncs);
    let head = ordered.vault.replace(&key("head"), None, Bytes::from_static(b"1"), Meta::PRIVATE).await;
    assert!(matches!(head, Ok(Replace::Replaced(_))));
    assert_eq!(ordered.public.put_new(&object("o/4", "x")).await.expect("puts"), Outcome::Created);
    assert!(store.vault.read(&key("head"), 9).await.expect("reads").is_none(), "nobody sees it yet");
    // It counts all the same, for this process and for others.
    let other = Store::open_dir(folder.path()).expect("opens");
    assert!(other.vault.read(&key("head"), 9).await.expect("reads").is_some(), "who comes finishes it");
    let again = ordered.vault.replace(&key("head"), None, Bytes::from_static(b"2"), Meta::PRIVATE).await;
    assert!(matches!(again, Ok(Replace::Conflict)), "{again:?}");
    ordered.public.put_new(&object("o/5", "x")).await.expect("puts");
    store.settle().await.expect("settles");
    assert!(store.public.get(&key("o/5"), 9).await.expect("reads").is_some());
}

#[tokio::test]
async fn a_body_too_long_for_the_journal_is_synced_by_itself() {
    let folder = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(folder.path().join("area")).expect("opens");
    area.put_new(&object("o/warm", "up")).await.expect("puts");
    let before = area.syncs();
    let long = vec![7; 300 << 10];
    assert_eq!(area.put_new(&object("o/long", long.clone())).await.expect("puts"), Outcome::Created);
    let after = area.syncs();
    assert_eq!((after.journal, after.files), (before.journal + 1, 1));
    assert_eq!(after.directories, before.directories + 2, "its directory, and the root");
    assert_eq!(area.put_new(&object("o/long", long)).await.expect("puts"), Outcome::AlreadyThereSame);
    assert_eq!(
        area.put_new(&object("o/long", vec![8; 300 << 10])).await.expect("puts"),
        Outcome::AlreadyThereDifferent
    );
    area.delete(&key("o/long")).await.expect("deletes");
    assert!(area.get(&key("o/long"), 1 << 20).await.expect("reads").is_none());
}

#[tokio::test]
async fn room_that_is_reserved_is_not_counted_as_a_file() {
    let folder = tempfile::tempdir().expect("a directory");
    let store = Store::open_dir(folder.path()).expect("opens");
    store.public.reserve(&[10, 5_000, 0]).await.expect("reserves");
    let kept: Vec<String> =
        files(folder.path()).into_iter().filter(|path| !path.contains(".journal/")).collect();
    assert_eq!(kept, [] as [String; 0]);
}

#[tokio::test]
async fn a_round_of_deletions_is_one_sync() {
    let folder = tempfile::tempdir().expect("a directory");
    let area = FsArea::open(folder.path().join("area")).expect("opens");
    let names = ["a/1", "a/2", "b/1", "a/missing", "missing/1"];
    for name in &names[..3] {
        area.put_new(&object(name, "x")).await.expect("puts");
    }
    let before = area.syncs();
    let outcomes = area.delete_round(&names.map(key)).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let after = area.syncs();
    assert_eq!((after.journal, after.directories), (before.journal + 1, before.directories));
    assert_eq!(area.list("", None).await.expect("lists").keys, []);
    let outcomes = area.delete_round(&[key(".tmp/x"), key("a/1")]).await;
    assert!(matches!(&outcomes[..], [Err(StoreError::Refused { .. }), Ok(())]), "{outcomes:?}");
}
