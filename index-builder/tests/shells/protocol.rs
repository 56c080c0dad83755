//! What the commit protocol writes is what rebuild and fsck expect, and what recover makes it goes on from.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use drystone_index_builder::{
    AreaSource, Draft, FsckOptions, PROJECTION_VERSION, PackageState, RebuildOptions, RecoverOptions, Silent,
    Touched, fsck, project, project_config, rebuild, recover,
};
use drystone_log::{
    NoteSigner,
    commit::{CommitOutcome, Committer, EventDraft, Genesis, PlainFile, StateFile},
};
use drystone_schemas::{EventId, layout};
use drystone_storage::{Clock, Entropy, Store, SystemEntropy};

use crate::support::{
    ORIGIN, account, archive, archive_key, contents, publish, put, record, record_key, remove, settings,
};

/// A clock that stands still.
struct Stopped;

#[async_trait]
impl Clock for Stopped {
    fn now_unix_ms(&self) -> u64 {
        1_760_000_000_000
    }

    async fn sleep(&self, _: Duration) {}
}

fn id(n: u64) -> EventId {
    EventId::new(format!("01JD3K6Q0Z{n:016}")).unwrap()
}

fn plain(seq: u64, signer: &NoteSigner) -> Vec<PlainFile> {
    let files = project_config(seq, ORIGIN, &signer.verifier().to_string(), &settings());
    files.into_iter().map(PlainFile::unseen).collect()
}

/// Publishes one version of a package with the commit protocol.
async fn commit(
    store: &Store,
    signer: &NoteSigner,
    before: Option<PackageState>,
    vers: &str,
) -> PackageState {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let committer = Committer::new(store.clone(), signer.clone(), ORIGIN, Arc::new(Stopped), entropy);
    let mut round = committer.begin().await.unwrap();
    committer.load(&mut round, &["acme/http".to_owned()]).await.unwrap();
    put(&*store.public, &archive_key("acme/http", vers), archive("acme/http", vers)).await;
    put(&*store.public, &record_key("acme/http", vers), record("acme/http", vers).to_bytes()).await;
    let (actor, body) = (account(1), publish("acme/http", vers));
    let seq = round.head.size();
    let draft = Draft { seq, time: round.time, actor: &actor, body: &body };
    let mut touched = Touched { package: before, aliases: None };
    let files = project(&mut touched, &draft, Some(&record("acme/http", vers)), &settings()).unwrap();
    let files = files.into_iter().map(|file| StateFile {
        class: file.class,
        state_key: file.state_key,
        key: file.key,
        bytes: file.bytes,
        seen: None,
    });
    let event = EventDraft {
        id: id(seq),
        actor: actor.clone(),
        body,
        files: files.collect(),
        plain: Vec::new(),
        immutable: Vec::new(),
        private: Vec::new(),
        done: format!("{{\"seq\":{seq}}}").into(),
    };
    let outcome = committer.commit(round, vec![event]).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(done) if done.proofs.is_some()));
    touched.package.unwrap()
}

async fn clean(store: &Store) {
    let options = RebuildOptions { key: None, dry_run: true };
    let report = rebuild(store, &options, &Silent).await.unwrap();
    assert_eq!((&*report.written, &*report.ahead), (&[][..], &[][..]));
    let source = AreaSource::new(store.public.clone());
    let options = FsckOptions { key: None, deep: true };
    let report = fsck(&source, Some(store.vault.clone()), &options, &Silent).await;
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[tokio::test]
async fn the_protocol_and_the_shells_agree() {
    let store = Store::memory();
    let signer = NoteSigner::from_seed(ORIGIN, &[7; 32]).unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let committer = Committer::new(store.clone(), signer.clone(), ORIGIN, Arc::new(Stopped), entropy.clone());
    let genesis = Genesis {
        id: id(0),
        actor: account(1),
        settings: settings().to_bytes(),
        projection: PROJECTION_VERSION,
        plain: plain(0, &signer),
        done: "{\"seq\":0}".into(),
    };
    committer.genesis(genesis).await.unwrap();
    clean(&store).await;
    let first = commit(&store, &signer, None, "1.0.0").await;
    let second = commit(&store, &signer, Some(first), "1.1.0").await;
    clean(&store).await;

    remove(&*store.vault, layout::HEAD).await;
    let options = RecoverOptions { key: Some(signer.verifier().clone()), now_unix_s: 1_760_000_000 };
    // As a task, because servers and schedules run the shells on several threads.
    let task_store = store.clone();
    let recovered = tokio::spawn(async move {
        let report = recover(&task_store, &options, &*entropy, &Silent).await.unwrap();
        clean(&task_store).await;
        report
    });
    assert_eq!(recovered.await.unwrap().size, 3);
    commit(&store, &signer, Some(second), "1.2.0").await;
    clean(&store).await;
    assert!(contents(&store.public).await.contains_key("log/tile/0/000.p/4"));
}
