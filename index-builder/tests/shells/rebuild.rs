//! Every projection can be deleted and comes back with the same bytes.

use std::collections::BTreeSet;

use drystone_index_builder::{
    AreaSource, ObjectError, RebuildError, RebuildOptions, ReplayError, Replayed, Silent, rebuild, replay,
};
use drystone_schemas::{DeleteCode, EventBody, layout};

use crate::support::{
    Writer, archive_key, contents, name, publish, record, record_key, remove, set, truth, version,
};

const REAL: RebuildOptions = RebuildOptions { key: None, dry_run: false };
const DRY: RebuildOptions = RebuildOptions { key: None, dry_run: true };

#[tokio::test]
async fn a_whole_registry_has_nothing_to_rebuild() {
    let writer = Writer::sample().await;
    let report = rebuild(&writer.store, &REAL, &Silent).await.unwrap();
    assert_eq!((report.size, &*report.written, &*report.ahead), (13, &[][..], &[][..]));
    assert!(report.checked > 20);
}

#[tokio::test]
async fn deleted_projections_come_back_with_the_same_bytes() {
    let writer = Writer::sample().await;
    let before = contents(&writer.store.public).await;
    let truth = truth();
    let mut deleted = BTreeSet::new();
    for key in before.keys().filter(|key| !truth.contains(*key) && !key.starts_with("log/tile/entries/")) {
        remove(&*writer.store.public, key).await;
        deleted.insert(key.clone());
    }

    let planned = rebuild(&writer.store, &DRY, &Silent).await.unwrap();
    assert_eq!(
        contents(&writer.store.public).await.len(),
        before.len() - deleted.len(),
        "a dry run writes nothing"
    );
    let report = rebuild(&writer.store, &REAL, &Silent).await.unwrap();
    assert_eq!(planned, report);

    let after = contents(&writer.store.public).await;
    assert!(after.iter().all(|(key, bytes)| before[key] == bytes), "what was rebuilt has other bytes");
    let back: BTreeSet<_> = report.written.iter().cloned().collect();
    assert!(back.is_subset(&deleted));
    let current = "current by-name files, their copies, nodes and tiles";
    for key in [
        "config.json",
        "index/config.json",
        "index/@acme/ht/tp/http",
        "index/ne/t_/net_kit",
        "resolve/@acme/ht/tp/http",
        "packages/acme/http.json",
        "packages/net_kit.json",
        "aliases/ht.json",
        "aliases/ki.json",
        "aliases/ht.history.json",
        "aliases.json",
        "api/v1/resolve/kit",
        "log/tile/0/000.p/13",
        "log/checkpoints/13",
        "log/latest.tlog-proof",
    ] {
        assert!(back.contains(key), "{current}: {key}");
    }
    // Nine files are state-mapped and not resolve records, each has a copy; two mid tiles or more lead to the shards; one root tile.
    assert_eq!(back.iter().filter(|key| key.starts_with("o/")).count(), 9);
    assert_eq!(back.iter().filter(|key| key.starts_with("log/state/shard/")).count(), 5);
    assert_eq!(back.iter().filter(|key| key.starts_with("log/state/tile/1/")).count(), 1);
    let position = |part: &str| report.written.iter().position(|key| key.starts_with(part)).unwrap();
    let order = ["o/", "index/", "log/state/", "log/tile/", "log/latest"].map(position);
    assert!(order.is_sorted(), "names before what they lead to: {order:?}");
}

#[tokio::test]
async fn damaged_projections_are_replaced() {
    let writer = Writer::sample().await;
    let before = contents(&writer.store.public).await;
    let damaged =
        ["index/ne/t_/net_kit", "packages/acme/http.json", "log/tile/0/000.p/13", "log/latest.tlog-proof"];
    for key in damaged {
        set(&*writer.store.public, key, b"not what it was".to_vec()).await;
    }
    let report = rebuild(&writer.store, &REAL, &Silent).await.unwrap();
    assert_eq!(report.written.into_iter().collect::<BTreeSet<_>>(), damaged.map(str::to_owned).into());
    assert_eq!(contents(&writer.store.public).await, before);
}

#[tokio::test]
async fn a_log_of_many_bundles() {
    let mut writer = Writer::new().await;
    writer.commit(&vec![EventBody::Heartbeat {}; 300]).await;
    writer.commit(&[publish("a", "1.0.0")]).await;
    let before = contents(&writer.store.public).await;
    for key in
        before.keys().filter(|key| key.starts_with("log/tile/") && !key.starts_with("log/tile/entries/"))
    {
        remove(&*writer.store.public, key).await;
    }
    let report = rebuild(&writer.store, &REAL, &Silent).await.unwrap();
    assert_eq!(report.written, ["log/tile/0/000", "log/tile/1/000.p/1", "log/tile/0/001.p/46"]);
    for key in report.written {
        assert_eq!(contents(&writer.store.public).await[&key], before[&key]);
    }
}

#[tokio::test]
async fn files_of_a_commit_under_way_stay() {
    let mut writer = Writer::sample().await;
    writer.commit_without_checkpoint(&[publish("acme/http", "2.0.0")]).await;
    let before = contents(&writer.store.public).await;
    let report = rebuild(&writer.store, &REAL, &Silent).await.unwrap();
    assert_eq!((report.size, &*report.written), (13, &[][..]));
    assert_eq!(
        report.ahead,
        ["index/@acme/ht/tp/http", "resolve/@acme/ht/tp/http", "packages/acme/http.json"]
    );
    assert_eq!(contents(&writer.store.public).await, before);

    // Without head nobody knows, and the files stay; with a head that has no such event they are not genuine.
    let head = contents(&writer.store.vault).await[layout::HEAD].clone();
    remove(&*writer.store.vault, layout::HEAD).await;
    assert_eq!(rebuild(&writer.store, &DRY, &Silent).await.unwrap().ahead.len(), 3);
    set(&*writer.store.vault, layout::HEAD, head.to_vec()).await;
    set(&*writer.store.public, "packages/net_kit.json", b"{\"seq\":14}".to_vec()).await;
    assert_eq!(rebuild(&writer.store, &REAL, &Silent).await.unwrap().written, ["packages/net_kit.json"]);
}

#[tokio::test]
async fn a_takedown_can_be_rebuilt_without_what_it_took_down() {
    let mut writer = Writer::sample().await;
    writer.commit(&[publish("acme/http", "1.2.0")]).await;
    let delete =
        EventBody::Delete { pkg: name("acme/http"), vers: version("1.2.0"), code: DeleteCode::Malware };
    writer.commit(&[delete]).await;
    let before = contents(&writer.store.public).await;
    for key in [
        &record_key("acme/http", "1.2.0"),
        &archive_key("acme/http", "1.2.0"),
        "index/@acme/ht/tp/http",
        "packages/acme/http.json",
    ] {
        remove(&*writer.store.public, key).await;
    }
    let report = rebuild(&writer.store, &REAL, &Silent).await.unwrap();
    assert_eq!(report.written, ["index/@acme/ht/tp/http", "packages/acme/http.json"]);
    for key in report.written {
        assert_eq!(contents(&writer.store.public).await[&key], before[&key]);
    }
}

#[tokio::test]
async fn what_is_not_a_projection_cannot_be_rebuilt() {
    let lost_record = record_key("Net_Kit", "0.1.0");
    let writer = Writer::sample().await;
    remove(&*writer.store.public, &lost_record).await;
    let error = rebuild(&writer.store, &REAL, &Silent).await.unwrap_err();
    let RebuildError::Replay(ReplayError::Object { seq: 2, error: ObjectError::Missing { key } }) = error
    else {
        panic!("{error}");
    };
    assert_eq!(key, lost_record);

    let writer = Writer::sample().await;
    set(&*writer.store.public, &lost_record, record("Net_Kit", "0.2.0").to_bytes()).await;
    let error = rebuild(&writer.store, &REAL, &Silent).await.unwrap_err();
    assert!(matches!(
        error,
        RebuildError::Replay(ReplayError::Object { error: ObjectError::Damaged { .. }, .. })
    ));

    let writer = Writer::sample().await;
    remove(&*writer.store.public, "log/tile/entries/000.p/13").await;
    let error = rebuild(&writer.store, &REAL, &Silent).await.unwrap_err();
    assert_eq!(error.to_string(), "`log/tile/entries/000.p/13` is missing");
}

#[tokio::test]
async fn claims_that_do_not_follow_stop_a_rebuild() {
    let fault = async |lie: fn(&mut Writer)| {
        let mut writer = Writer::sample().await;
        lie(&mut writer);
        writer.commit(&[publish("acme/http", "2.0.0")]).await;
        let before = contents(&writer.store.public).await;
        let error = rebuild(&writer.store, &REAL, &Silent).await.unwrap_err();
        assert_eq!(contents(&writer.store.public).await, before, "nothing is written");
        let RebuildError::Replay(ReplayError::Fault { seq: 13, fault }) = error else { panic!("{error}") };
        fault.to_string()
    };
    let state = fault(|writer| writer.lie_about_files = true).await;
    assert!(state.starts_with("it says that the state is "), "{state}");
    let files = fault(|writer| writer.lie_about_bytes = true).await;
    assert!(files.starts_with("it says that its files are ["), "{files}");
}

#[tokio::test]
async fn a_replay_shows_every_event_in_order() {
    let writer = Writer::sample().await;
    let source = AreaSource::new(writer.store.public.clone());
    let mut seen = Vec::new();
    let key = writer.signer.verifier().clone();
    let mut visit = |replayed: &Replayed<'_>| {
        assert_eq!(replayed.files.len(), replayed.event.files.len());
        seen.push(replayed.event.seq);
    };
    let replay = replay(&source, Some(&key), &Silent, &mut visit).await.unwrap();
    assert_eq!(seen, (0..13).collect::<Vec<_>>());
    assert_eq!(replay.replica.packages().keys().collect::<Vec<_>>(), ["acme/http", "net-kit"]);
    assert_eq!(replay.replica.config().unwrap().seq, 7);

    let other = drystone_log::NoteSigner::from_seed(crate::support::ORIGIN, &[8; 32]).unwrap();
    let wrong = drystone_index_builder::replay(&source, Some(other.verifier()), &Silent, &mut |_| {}).await;
    assert!(matches!(wrong, Err(ReplayError::Published(_))));
}
