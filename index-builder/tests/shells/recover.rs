//! Head comes back from what is published, and the log goes on from there.

use std::collections::BTreeSet;

use drystone_index_builder::{
    AreaSource, FsckOptions, RecoverError, RecoverOptions, RecoverReport, Silent, fsck, recover,
};
use drystone_log::commit::{Gc, Head, Staging};
use drystone_schemas::{Sha256Digest, layout};
use drystone_storage::{Entropy, Store};

use crate::support::{Writer, contents, publish, put, remove, set};

const OPTIONS: RecoverOptions = RecoverOptions { key: None, now_unix_s: 1_770_000_000 };

struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0xab);
    }
}

async fn run(store: &Store) -> Result<RecoverReport, RecoverError> {
    recover(store, &OPTIONS, &Fixed, &Silent).await
}

async fn clean(store: &Store) {
    let source = AreaSource::new(store.public.clone());
    let options = FsckOptions { key: None, deep: true };
    let report = fsck(&source, Some(store.vault.clone()), &options, &Silent).await;
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[tokio::test]
async fn a_lost_head_comes_back() {
    let writer = Writer::sample().await;
    let lost = Head::parse(&contents(&writer.store.vault).await[layout::HEAD]).unwrap();
    let before = contents(&writer.store.public).await;
    remove(&*writer.store.vault, layout::HEAD).await;

    let report = run(&writer.store).await.unwrap();
    assert_eq!((report.size, &*report.removed, &*report.rebuilt.written), (13, &[][..], &[][..]));
    assert_eq!(contents(&writer.store.public).await, before);
    let vault = contents(&writer.store.vault).await;
    let head = Head::parse(&vault[layout::HEAD]).unwrap();
    let nonce = "ab".repeat(16);
    let expected = Head {
        commit: format!("recovered-13-{nonce}"),
        staging: format!("staging/recovered-13-{nonce}"),
        staging_digest: Sha256Digest::of(&vault[&head.staging]),
        nonce,
        auth_epoch: 1_770_000_000,
        gc: Gc { n: 1_770_000_000, ..Gc::default() },
        ..lost
    };
    assert_eq!(head, expected);
    assert_eq!(Staging::parse(&vault[&head.staging]).unwrap().size, 13);
    clean(&writer.store).await;
}

#[tokio::test]
async fn a_head_in_order_or_ahead_is_left_alone() {
    let mut writer = Writer::sample().await;
    let refused = run(&writer.store).await;
    assert!(matches!(refused, Err(RecoverError::HeadInOrder { head: 13, published: 13 })));
    writer.commit_without_checkpoint(&[publish("zlib", "1.0.0")]).await;
    let before = (contents(&writer.store.public).await, contents(&writer.store.vault).await);
    assert!(matches!(run(&writer.store).await, Err(RecoverError::HeadInOrder { head: 14, published: 13 })));
    assert_eq!((contents(&writer.store.public).await, contents(&writer.store.vault).await), before);
}

#[tokio::test]
async fn a_head_from_a_backup_or_a_broken_one_is_replaced() {
    let mut writer = Writer::sample().await;
    let backup = contents(&writer.store.vault).await[layout::HEAD].clone();
    writer.commit(&[publish("zlib", "1.0.0")]).await;
    for bytes in [backup.to_vec(), b"{}".to_vec()] {
        set(&*writer.store.vault, layout::HEAD, bytes).await;
        assert_eq!(run(&writer.store).await.unwrap().size, 14);
        clean(&writer.store).await;
    }
    let head = Head::parse(&backup).unwrap();
    set(&*writer.store.vault, layout::HEAD, Head { origin: "elsewhere".into(), ..head }.to_bytes()).await;
    assert!(
        matches!(run(&writer.store).await, Err(RecoverError::OtherLog { origin }) if origin == "elsewhere")
    );
}

#[tokio::test]
async fn what_was_never_published_is_gone_afterwards() {
    let mut writer = Writer::sample().await;
    let published = contents(&writer.store.public).await;
    writer.commit_without_checkpoint(&[publish("zlib", "1.0.0"), publish("acme/http", "3.0.0")]).await;
    let vault = &*writer.store.vault;
    put(vault, "done/01JD3K6Q0Z0000000000000014", b"{\"intent\":\"\",\"seq\":14,\"v\":1}\n".to_vec()).await;
    put(vault, "done/01JD3K6Q0Z0000000000000012", b"{\"intent\":\"\",\"seq\":12,\"v\":1}\n".to_vec()).await;
    put(vault, "quota/01JD3K6Q0Z0000000000000001", b"{\"packages\":3,\"seq\":14}\n".to_vec()).await;
    remove(vault, layout::HEAD).await;

    let report = run(&writer.store).await.unwrap();
    let quota = &contents(&writer.store.vault).await["quota/01JD3K6Q0Z0000000000000001"];
    assert_eq!(quota, "{\"packages\":3,\"seq\":12}\n");
    assert_eq!(
        report.removed.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from([
            "log/tile/0/000.p/15",
            "log/tile/entries/000.p/15",
            "vault/done/01JD3K6Q0Z0000000000000014",
            "index/zl/ib/zlib",
            "packages/zlib.json",
            "resolve/zl/ib/zlib",
        ])
    );
    assert_eq!(
        report.rebuilt.written,
        ["index/@acme/ht/tp/http", "resolve/@acme/ht/tp/http", "packages/acme/http.json"]
    );
    let after = contents(&writer.store.public).await;
    assert!(published.iter().all(|(key, bytes)| after[key] == bytes));
    assert!(
        after
            .keys()
            .all(|key| published.contains_key(key) || key.starts_with("o/") || key.starts_with("log/state/"))
    );
    clean(&writer.store).await;
}

#[tokio::test]
async fn what_was_signed_is_never_given_up() {
    // A writer died after it had signed: the history, or the proof, shows a larger size than the checkpoint.
    for keep in ["log/checkpoints/14", layout::LATEST_PROOF] {
        let mut writer = Writer::sample().await;
        let public = writer.store.public.clone();
        let before = contents(&public).await;
        writer.commit(&[publish("zlib", "1.0.0")]).await;
        let after = contents(&public).await;
        for key in [layout::CHECKPOINT, layout::LATEST_PROOF, "log/checkpoints/14"] {
            match before.get(key) {
                _ if key == keep => {}
                Some(bytes) => set(&*public, key, bytes.to_vec()).await,
                None => remove(&*public, key).await,
            }
        }
        remove(&*writer.store.vault, layout::HEAD).await;
        assert_eq!(run(&writer.store).await.unwrap().size, 14, "{keep}");
        assert_eq!(contents(&public).await[layout::CHECKPOINT], after[layout::CHECKPOINT]);
        clean(&writer.store).await;
    }

    // Signed, but its entries are gone: going on from an earlier size would fork the log.
    let mut writer = Writer::sample().await;
    let before = contents(&writer.store.public).await;
    writer.commit(&[publish("zlib", "1.0.0")]).await;
    set(&*writer.store.public, layout::CHECKPOINT, before[layout::CHECKPOINT].to_vec()).await;
    remove(&*writer.store.public, "log/tile/entries/000.p/14").await;
    remove(&*writer.store.vault, layout::HEAD).await;
    assert!(matches!(run(&writer.store).await, Err(RecoverError::Replay(_))));
    assert!(!contents(&writer.store.vault).await.contains_key(layout::HEAD));
}
