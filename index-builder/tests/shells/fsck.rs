//! Every flipped byte is found and named, and nothing else is blamed for it.

use std::sync::Arc;

use drystone_index_builder::{
    AreaSource, FsckOptions, FsckProblem, FsckReport, ProblemKind, Silent, Source, SourceError, fsck,
};
use drystone_log::commit::Head;
use drystone_schemas::{DeleteCode, EventBody, Sha256Digest, layout};
use drystone_storage::Store;

use crate::support::{
    Writer, archive_key, contents, name, publish, put, record_key, remove, set, settings, version,
};

const DEEP: FsckOptions = FsckOptions { key: None, deep: true };
const SHALLOW: FsckOptions = FsckOptions { key: None, deep: false };

async fn check(store: &Store, options: &FsckOptions) -> FsckReport {
    let source = AreaSource::new(store.public.clone());
    fsck(&source, Some(store.vault.clone()), options, &Silent).await
}

/// The problems that say more than that something could not be checked because of another one.
fn found(report: &FsckReport) -> Vec<(&str, ProblemKind)> {
    let told = report.problems.iter().filter(|problem| problem.kind != ProblemKind::Unchecked);
    told.map(|problem| (&*problem.key, problem.kind)).collect()
}

#[tokio::test]
async fn a_whole_registry_is_clean() {
    let writer = Writer::sample().await;
    for options in [DEEP, SHALLOW] {
        let report = check(&writer.store, &options).await;
        assert_eq!((report.size, &*report.problems), (Some(13), &[][..]));
        assert_eq!((report.counts.events, report.counts.by_name), (13, 17));
    }
    let files = contents(&writer.store.public).await.len() as u64;
    let counts = check(&writer.store, &DEEP).await.counts;
    assert_eq!(counts.log_files + counts.state_nodes + counts.by_name + counts.objects, files);
}

#[tokio::test]
async fn a_flipped_byte_in_any_file_is_named() {
    let writer = Writer::sample().await;
    let public = &*writer.store.public;
    for (key, bytes) in contents(&writer.store.public).await {
        for position in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 2, bytes.len() - 1] {
            let mut flipped = bytes.to_vec();
            flipped[position] ^= 1;
            set(public, &key, flipped).await;
            let report = check(&writer.store, &DEEP).await;
            let found = found(&report);
            assert!(
                matches!(&found[..], [(named, ProblemKind::Damaged | ProblemKind::Ahead)] if *named == key),
                "byte {position} of {key}: {:?}",
                report.problems
            );
        }
        set(public, &key, bytes.to_vec()).await;
    }
    assert!(check(&writer.store, &DEEP).await.is_clean());
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let writer = Writer::sample().await;
    let public = &*writer.store.public;
    // History, old partial tiles and old states may be gone; everything that the current state needs may not.
    let old = |key: &str| {
        let old_size = |rest: &str| rest != "13";
        key.strip_prefix("log/checkpoints/").is_some_and(old_size)
            || key.rsplit_once(".p/").is_some_and(|(_, rest)| old_size(rest))
    };
    let mut missing = 0;
    for (key, bytes) in contents(&writer.store.public).await {
        remove(public, &key).await;
        let report = check(&writer.store, &SHALLOW).await;
        if old(&key) {
            assert!(report.is_clean(), "{key}: {:?}", report.problems);
        } else if !found(&report).is_empty() {
            assert_eq!(found(&report), [(&*key, ProblemKind::Missing)], "{:?}", report.problems);
            missing += 1;
        } else {
            assert!(report.is_clean() && (key.starts_with("o/") || key.starts_with("log/state/")), "{key}");
        }
        set(public, &key, bytes.to_vec()).await;
    }
    // 17 by-name files; of 4 releases the record and archive; 2 settings; 9 copies; checkpoint, history, proof, tile,
    // bundle; 5 shards, 5 mid tiles and the root tile.
    assert_eq!(missing, 17 + 8 + 2 + 9 + 5 + 11);
}

#[tokio::test]
async fn every_problem_is_named_not_only_the_first() {
    let writer = Writer::sample().await;
    let public = &*writer.store.public;
    let record = record_key("acme/http", "1.0.0");
    remove(public, &record).await;
    set(public, "packages/net_kit.json", b"{}".to_vec()).await;
    set(public, "log/tile/0/000.p/13", vec![0; 13 * 32]).await;
    put(public, "index/no/ne/nonesuch", b"".to_vec()).await;
    put(public, "aliases/zz.json", b"{\"aliases\":{},\"seq\":3}\n".to_vec()).await;
    let report = check(&writer.store, &DEEP).await;
    assert_eq!(
        found(&report),
        [
            ("aliases/zz.json", ProblemKind::Stray),
            ("index/no/ne/nonesuch", ProblemKind::Stray),
            ("log/tile/0/000.p/13", ProblemKind::Damaged),
            (&*record, ProblemKind::Missing),
            ("packages/net_kit.json", ProblemKind::Damaged),
        ]
    );
}

#[tokio::test]
async fn a_broken_bundle_limits_the_check_and_says_so() {
    let mut writer = Writer::new().await;
    writer.commit(&[publish("a", "1.0.0")]).await;
    writer.commit(&vec![EventBody::Heartbeat {}; 300]).await;
    writer.commit(&[publish("b", "1.0.0")]).await;
    let public = &*writer.store.public;
    set(public, "log/tile/entries/000", b"nothing".to_vec()).await;
    set(public, "index/1/b", b"nothing".to_vec()).await;
    let report = check(&writer.store, &DEEP).await;
    assert_eq!(
        found(&report),
        [("index/1/b", ProblemKind::Damaged), ("log/tile/entries/000", ProblemKind::Damaged)]
    );
    let unchecked: Vec<_> =
        report.problems.iter().filter(|p| p.kind == ProblemKind::Unchecked).map(|p| &*p.detail).collect();
    assert!(unchecked.contains(&"events from 0 on could not be replayed"), "{unchecked:?}");
    assert_eq!(report.counts.events, 0);
    assert!(report.counts.state_nodes > 3, "the state is still checked by its newest root");
}

#[tokio::test]
async fn events_that_contradict_each_other_are_named() {
    let writer = Writer::sample().await;
    let mut other = Writer::new().await;
    other.lie_about_files = true;
    other.commit(&[publish("acme/http", "1.0.0")]).await;
    let report = check(&other.store, &DEEP).await;
    let bundle = "log/tile/entries/000.p/2";
    let said = |part: &str| {
        report
            .problems
            .iter()
            .any(|p| p.key == bundle && p.kind == ProblemKind::Contradiction && p.detail.contains(part))
    };
    assert!(said("event 1: it says that its files are"), "{:?}", report.problems);
    assert!(said("event 1: it says that the state is"), "{:?}", report.problems);
    assert!(check(&writer.store, &DEEP).await.is_clean());
}

#[tokio::test]
async fn a_takedown_may_remove_record_and_archive() {
    let mut writer = Writer::sample().await;
    let delete =
        EventBody::Delete { pkg: name("acme/http"), vers: version("1.0.0"), code: DeleteCode::Legal };
    writer.commit(&[delete]).await;
    remove(&*writer.store.public, &record_key("acme/http", "1.0.0")).await;
    remove(&*writer.store.public, &archive_key("acme/http", "1.0.0")).await;
    let report = check(&writer.store, &DEEP).await;
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[tokio::test]
async fn reasons_may_be_deleted_but_not_altered() {
    let mut writer = Writer::sample().await;
    let reason = Sha256Digest::of(b"why");
    let yank = EventBody::Yank { pkg: name("acme/http"), vers: version("1.1.0"), reason: Some(reason) };
    writer.commit(&[yank]).await;
    assert!(check(&writer.store, &DEEP).await.is_clean());
    let key = layout::object(&reason);
    put(&*writer.store.public, &key, b"why".to_vec()).await;
    assert!(check(&writer.store, &DEEP).await.is_clean());
    set(&*writer.store.public, &key, b"why not".to_vec()).await;
    assert_eq!(found(&check(&writer.store, &DEEP).await), [(&*key, ProblemKind::Damaged)]);
}

#[tokio::test]
async fn a_commit_under_way_is_no_problem_if_head_knows_it() {
    let mut writer = Writer::sample().await;
    writer.commit_without_checkpoint(&[publish("zlib", "1.0.0"), publish("acme/http", "3.0.0")]).await;
    let report = check(&writer.store, &DEEP).await;
    assert!(report.is_clean(), "{:?}", report.problems);

    let source = AreaSource::new(writer.store.public.clone());
    let blind = fsck(&source, None, &DEEP, &Silent).await;
    let keys = [
        "index/@acme/ht/tp/http",
        "index/zl/ib/zlib",
        "packages/acme/http.json",
        "packages/zlib.json",
        "resolve/@acme/ht/tp/http",
        "resolve/zl/ib/zlib",
    ];
    assert_eq!(found(&blind), keys.map(|key| (key, ProblemKind::Ahead)));
}

#[tokio::test]
async fn head_is_compared_with_what_is_published() {
    let mut writer = Writer::sample().await;
    let vault = writer.store.vault.clone();
    let old = contents(&vault).await[layout::HEAD].clone();
    writer.commit(&[EventBody::Heartbeat {}]).await;
    let good = contents(&vault).await[layout::HEAD].clone();
    let head = Head::parse(&good).unwrap();

    let problems = async |bytes: Vec<u8>| {
        set(&*vault, layout::HEAD, bytes).await;
        check(&writer.store, &SHALLOW)
            .await
            .problems
            .into_iter()
            .map(|p: FsckProblem| p.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(problems(good.to_vec()).await, [""; 0]);
    let behind = "vault/head: contradiction: it has 13 events, 14 are published";
    assert_eq!(problems(old.to_vec()).await, [behind]);
    let foreign = Head { origin: "elsewhere".into(), ..head.clone() };
    assert_eq!(
        problems(foreign.to_bytes()).await,
        ["vault/head: contradiction: it is the head of another log"]
    );
    let late = Head { time: 1, config_seq: 0, ..head.clone() };
    assert_eq!(problems(late.to_bytes()).await.len(), 2);
    let unstaged = Head { staging: "staging/none".into(), ..head };
    assert_eq!(problems(unstaged.to_bytes()).await, ["vault/staging/none: missing: head names it"]);
    assert!(problems(b"{}".to_vec()).await[0].starts_with("vault/head: damaged: "));
    remove(&*vault, layout::HEAD).await;
    assert_eq!(found(&check(&writer.store, &SHALLOW).await), [("vault/head", ProblemKind::Missing)]);
}

#[tokio::test]
async fn a_store_without_a_log_or_with_anothers_key() {
    let report = check(&Store::memory(), &DEEP).await;
    assert_eq!((report.size, found(&report)), (None, vec![("log/checkpoint", ProblemKind::Missing)]));
    let writer = Writer::sample().await;
    let other = drystone_log::NoteSigner::from_seed(crate::support::ORIGIN, &[8; 32]).unwrap();
    let options = FsckOptions { key: Some(other.verifier().clone()), deep: false };
    let report = check(&writer.store, &options).await;
    assert_eq!((report.size, found(&report)), (None, vec![("log/checkpoint", ProblemKind::Damaged)]));
    let right = FsckOptions { key: Some(writer.signer.verifier().clone()), deep: false };
    assert!(check(&writer.store, &right).await.is_clean());
}

/// A source that can only fetch, as HTTP can, and that fails for one key.
struct Plain {
    inner: AreaSource,
    fails: Option<String>,
}

#[async_trait::async_trait]
impl Source for Plain {
    async fn get(&self, key: &str, len_max: u64) -> Result<Option<bytes::Bytes>, SourceError> {
        if self.fails.as_deref() == Some(key) {
            return Err(SourceError::Unreadable { key: key.into(), detail: "the line is down".into() });
        }
        self.inner.get(key, len_max).await
    }
}

#[tokio::test]
async fn a_source_that_can_only_fetch_is_enough() {
    let writer = Writer::sample().await;
    let source = |fails: Option<&str>| -> Arc<dyn Source> {
        Arc::new(Plain { inner: AreaSource::new(writer.store.public.clone()), fails: fails.map(Into::into) })
    };
    for options in [DEEP, SHALLOW] {
        let report = fsck(&*source(None), None, &options, &Silent).await;
        assert!(report.is_clean(), "{:?}", report.problems);
    }
    let config = layout::object(&Sha256Digest::of(&settings().to_bytes()));
    let archive = archive_key("acme/http", "1.0.0");
    for key in ["log/checkpoint", "log/tile/0/000.p/13", "aliases/ht.json", &*archive, &*config] {
        let report = fsck(&*source(Some(key)), None, &DEEP, &Silent).await;
        assert_eq!(found(&report), [(key, ProblemKind::Unreadable)]);
    }
}
