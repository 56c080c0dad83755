//! An auditor sees what a registry withholds, contradicts or invents, and goes on from where it ended.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use drystone_index_builder::{
    AreaSource, AuditOptions, AuditReport, Audited, Kept, ProblemKind, Silent, Source, SourceError, audit,
};
use drystone_log::{SignedCheckpoint, StateMap};
use drystone_schemas::{EventBody, layout};

use crate::support::{ORIGIN, Writer, contents, name, publish, record_key, remove, set, version};

fn options() -> AuditOptions {
    AuditOptions { key: None, deep: false, seen: vec![], keep: true }
}

async fn audited(writer: &Writer, earlier: Option<Kept>) -> AuditReport {
    let source = AreaSource::new(writer.store.public.clone());
    audit(&source, &options(), earlier, &Silent, &|_| {}).await
}

/// What was kept, as if it had been on disk.
fn kept(report: AuditReport) -> Kept {
    assert_eq!(report.problems, []);
    Kept::parse(&report.kept.unwrap().to_bytes()).unwrap()
}

fn problems(report: &AuditReport) -> Vec<(String, ProblemKind)> {
    report.problems.iter().map(|problem| (problem.key.clone(), problem.kind)).collect()
}

/// The files of one moment, of which it is counted how often each is read.
struct Counted {
    files: BTreeMap<String, Bytes>,
    read: std::sync::Mutex<BTreeMap<String, u32>>,
}

#[async_trait]
impl Source for Counted {
    async fn get(&self, key: &str, _: u64) -> Result<Option<Bytes>, SourceError> {
        *self.read.lock().unwrap().entry(key.into()).or_default() += 1;
        Ok(self.files.get(key).cloned())
    }
}

#[tokio::test]
async fn an_audit_goes_on_where_the_last_one_ended() {
    let mut writer = Writer::sample().await;
    let first = audited(&writer, None).await;
    assert_eq!((first.from, first.counts.events, first.checkpoint.as_ref().unwrap().size()), (0, 13, 13));
    let earlier = kept(first);
    writer.commit(&[publish("third", "1.0.0"), EventBody::Heartbeat {}]).await;
    let source = Counted { files: contents(&writer.store.public).await, read: Default::default() };
    let seen = std::sync::Mutex::new(BTreeSet::new());
    let visit = |audited: &Audited<'_>| _ = seen.lock().unwrap().insert(audited.event.seq);
    let report = audit(&source, &options(), Some(earlier), &Silent, &visit).await;
    let seen: Vec<u64> = seen.into_inner().unwrap().into_iter().collect();
    assert_eq!((report.from, &*seen, problems(&report)), (13, &[13, 14][..], vec![]));
    let read = source.read.into_inner().unwrap();
    assert!(
        read.contains_key("index/th/ir/third") && !read.contains_key("index/@acme/ht/tp/http"),
        "{read:?}"
    );
    // Nothing new: only what may have changed is read.
    let again = audited(&writer, Some(kept(report))).await;
    assert_eq!((again.from, again.counts.events, problems(&again)), (15, 0, vec![]));
}

#[tokio::test]
async fn an_audit_in_many_steps_keeps_what_one_in_one_step_keeps() {
    let mut writer = Writer::new().await;
    let mut earlier = None;
    // Over the ends of the first two bundles.
    for step in 0..9 {
        let mut bodies = vec![EventBody::Heartbeat {}; 63];
        bodies.push(publish("a", &format!("{step}.0.0")));
        writer.commit(&bodies).await;
        earlier = Some(kept(audited(&writer, earlier).await));
    }
    let at_once = kept(audited(&writer, None).await);
    assert_eq!(earlier.unwrap().to_bytes(), at_once.to_bytes());
    assert_eq!(at_once.size(), 577);
}

#[tokio::test]
async fn what_was_kept_is_not_believed_if_it_is_torn() {
    let writer = Writer::sample().await;
    let bytes = kept(audited(&writer, None).await).to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    for (what, torn) in [
        ("it is not what an audit", text.replace("\"v\":1,\"checkpoint\"", "\"v\":2,\"checkpoint\"")),
        ("belong together", text.replace("\"next_seq\":13", "\"next_seq\":12")),
        ("wrong", text.replace("\\n13\\n", "\\n12\\n")),
        ("it is not what an audit", text[..text.len() - 1].to_owned()),
    ] {
        assert_ne!(torn, text);
        let error = Kept::parse(torn.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[tokio::test]
async fn withheld_entries_and_tiles_are_named() {
    let mut writer = Writer::new().await;
    let mut bodies = vec![EventBody::Heartbeat {}; 300];
    bodies.push(publish("a", "1.0.0"));
    writer.commit(&bodies).await;
    for key in ["log/tile/entries/000", "log/tile/0/000", "log/tile/entries/001.p/46", "log/tile/1/000.p/1"] {
        let good = contents(&writer.store.public).await[key].clone();
        remove(&*writer.store.public, key).await;
        let report = audited(&writer, None).await;
        assert!(
            problems(&report).contains(&(key.to_owned(), ProblemKind::Missing)),
            "{key}: {:?}",
            report.problems
        );
        assert!(report.kept.is_none());
        set(&*writer.store.public, key, good.to_vec()).await;
    }
    let record = record_key("a", "1.0.0");
    remove(&*writer.store.public, &record).await;
    assert!(problems(&audited(&writer, None).await).contains(&(record, ProblemKind::Missing)));
}

#[tokio::test]
async fn an_event_that_is_not_in_the_map_and_a_map_without_an_event_are_named() {
    let mut writer = Writer::sample().await;
    writer.lie_about_files = true;
    writer.commit(&[EventBody::Yank { pkg: name("Net_Kit"), vers: version("0.1.0"), reason: None }]).await;
    let report = audited(&writer, None).await;
    let told: Vec<&str> = report.problems.iter().map(|problem| &*problem.detail).collect();
    assert!(told.iter().any(|detail| detail.contains("event 13") && detail.contains("files")), "{told:?}");
    assert!(told.iter().any(|detail| detail.contains("event 13") && detail.contains("state")), "{told:?}");
}

#[tokio::test]
async fn a_shard_that_no_event_made_is_named() {
    let writer = Writer::sample().await;
    let files = contents(&writer.store.public).await;
    let key = files.keys().rfind(|key| key.starts_with("log/state/shard/")).unwrap().clone();
    // Of the shards there are older ones; which is current, the audit tells.
    let current: Vec<String> = current_shards(&files);
    let shard = current.first().unwrap_or(&key);
    let mut bytes = files[shard].to_vec();
    let digit = bytes.iter().position(u8::is_ascii_digit).unwrap();
    bytes[digit] = if bytes[digit] == b'9' { b'8' } else { b'9' };
    set(&*writer.store.public, shard, bytes).await;
    let report = audited(&writer, None).await;
    assert_eq!(problems(&report), [(shard.clone(), ProblemKind::Damaged)]);
}

/// The shards that the newest state leads to.
fn current_shards(files: &BTreeMap<String, Bytes>) -> Vec<String> {
    let shards = files.iter().filter(|(key, _)| key.starts_with("log/state/shard/"));
    let mut newest: BTreeMap<u16, (u64, String)> = BTreeMap::new();
    for (key, bytes) in shards {
        let text = String::from_utf8_lossy(bytes);
        let name = text.split(' ').next().unwrap();
        let seq = text.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).max().unwrap();
        let place = newest.entry(drystone_log::shard_of(name)).or_default();
        *place = (seq, key.clone()).max(place.clone());
    }
    newest.into_values().map(|(_, key)| key).collect()
}

#[tokio::test]
async fn a_log_that_goes_back_or_elsewhere_is_a_fork_with_evidence() {
    let mut writer = Writer::new().await;
    writer.commit(&[publish("a", "1.0.0")]).await;
    let before = contents(&writer.store.public).await;
    writer.commit(&[publish("a", "1.1.0")]).await;
    let seen = contents(&writer.store.public).await[layout::CHECKPOINT].clone();

    // The log of before; another one of the same length; another one that is longer.
    let mut same = Writer::new().await;
    same.commit(&[publish("a", "1.0.0")]).await;
    same.commit(&[publish("b", "1.0.0")]).await;
    let mut longer = Writer::new().await;
    longer.commit(&[publish("b", "1.0.0"), publish("b", "1.1.0"), publish("b", "1.2.0")]).await;
    let others = [before, contents(&same.store.public).await, contents(&longer.store.public).await];
    for files in others {
        let source = Counted { files, read: Default::default() };
        let earlier = kept(audited(&writer, None).await);
        let report = audit(&source, &options(), Some(earlier), &Silent, &|_| {}).await;
        let (ours, theirs, _) = report.fork.unwrap();
        assert_eq!((ours, theirs), (seen.clone(), source.files[layout::CHECKPOINT].clone()));
        assert!(report.kept.is_none());
        // The same for whoever has only a checkpoint, from a receipt or from somebody else.
        let key = writer.signer.verifier();
        let signed = SignedCheckpoint::open(&seen, key, ORIGIN).unwrap();
        let options = AuditOptions { seen: vec![signed], ..options() };
        let report = audit(&source, &options, None, &Silent, &|_| {}).await;
        assert!(report.fork.is_some(), "{:?}", report.problems);
        assert_eq!(problems(&report)[0].1, ProblemKind::Contradiction);
    }
    // An older checkpoint of the same log is none.
    let key = writer.signer.verifier();
    let old = contents(&writer.store.public).await[&layout::checkpoint_history(2)].clone();
    let seen = vec![SignedCheckpoint::open(&old, key, ORIGIN).unwrap()];
    let source = AreaSource::new(writer.store.public.clone());
    let report = audit(&source, &AuditOptions { seen, ..options() }, None, &Silent, &|_| {}).await;
    assert_eq!(problems(&report), []);
}

#[tokio::test]
async fn an_empty_state_is_the_root_of_no_shards() {
    let writer = Writer::new().await;
    let report = audited(&writer, None).await;
    assert_eq!((problems(&report), report.counts.state_nodes), (vec![], 0));
    let report = audited(&writer, Some(kept(report))).await;
    assert_eq!(problems(&report), []);
    assert_eq!(StateMap::new().shards().count(), 0);
}
