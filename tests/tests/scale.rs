//! What the size of a registry costs: a publish makes the same storage calls among 100,000 packages as in an empty registry;
//! rebuild and audit make so many as a table says, which is part of the change that changes it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fmt::Write as _, path::Path, sync::Mutex};

use drystone_index_builder::{
    AreaSource, AuditOptions, Draft, FsckOptions, RebuildOptions, Silent, Touched, audit, fsck, project,
    rebuild, refresh_hints,
};
use drystone_log::commit::{CommitOutcome, Committer, EventDraft, StateFile};
use drystone_schemas::{
    AccountId, DepKind, EventBody, EventId, Format, PackageName, RecordDep, Sha256Digest, Version,
    VersionRecord,
};
use drystone_storage::{Body, Counter, Counts, Key, Meta, NewObject, Store, new_ulid};
use drystone_tests::{
    Pkg, TestRegistry,
    synthetic::{self, Made, Plan},
};

const PACKAGES: usize = 100_000;
const PACKAGES_PER_COMMIT: usize = 2_500;

fn record(name: &PackageName) -> VersionRecord {
    let digest = Sha256Digest::of(name.as_str().as_bytes());
    VersionRecord {
        v: 1,
        name: name.clone(),
        vers: Version::new("1.0.0").unwrap(),
        format: Format::Cargo,
        tarball: digest,
        size: 1000,
        unpacked: 4000,
        deps: vec![RecordDep {
            name: "other".into(),
            rename: None,
            req: "^1".into(),
            features: vec![],
            optional: false,
            default_features: true,
            target: None,
            kind: DepKind::Normal,
            registry_index: None,
        }],
        features: Default::default(),
        links: None,
        rust_version: None,
        description: Some("a package among many".into()),
        license: Some("MIT".into()),
        authors: vec![],
        keywords: vec![],
        categories: vec![],
        homepage: None,
        repository: None,
        documentation: None,
        zig: None,
        readme: None,
        vcs: None,
        files: vec![],
    }
}

/// Commits many first releases, as the publisher would, but in batches of thousands and without archives.
async fn fill(registry: &TestRegistry, packages: usize) {
    let signer = TestRegistry::signer();
    let origin = signer.verifier().name().to_owned();
    let committer = Committer::new(
        registry.store.clone(),
        signer,
        origin,
        registry.clock.clone(),
        registry.entropy.clone(),
    );
    let settings = registry.service.settings();
    let actor = AccountId::new("acct:01K742R2DRAAAAAAAAAAAAAAAA").unwrap();
    let names: Vec<PackageName> =
        (0..packages).map(|i| PackageName::new(format!("package-{i}")).unwrap()).collect();
    for chunk in names.chunks(PACKAGES_PER_COMMIT) {
        let mut round = committer.begin().await.unwrap();
        let keys: Vec<String> = chunk.iter().map(PackageName::canonical).collect();
        committer.load(&mut round, &keys).await.unwrap();
        let mut drafts = Vec::with_capacity(chunk.len());
        for (seq, name) in (round.head.size()..).zip(chunk) {
            let record = record(name);
            let body = EventBody::Publish {
                pkg: name.clone(),
                vers: record.vers.clone(),
                tarball: record.tarball,
                record: Sha256Digest::of(&record.to_bytes()),
                sigs: Default::default(),
            };
            let draft = Draft { seq, time: round.time, actor: &actor, body: &body };
            let files = project(&mut Touched::default(), &draft, Some(&record), &settings).unwrap();
            let files = files.into_iter().map(|file| StateFile {
                class: file.class,
                state_key: file.state_key,
                key: file.key,
                bytes: file.bytes,
                seen: None,
            });
            let id = EventId::new(new_ulid(&*registry.clock, &*registry.entropy)).unwrap();
            let files = files.collect();
            let (plain, private) = (vec![], vec![]);
            drafts.push(EventDraft {
                id,
                actor: actor.clone(),
                body,
                files,
                plain,
                immutable: Vec::new(),
                private,
                done: "{}\n".into(),
            });
        }
        assert!(matches!(committer.commit(round, drafts).await.unwrap(), CommitOutcome::Committed(_)));
    }
}

/// What a new version of an existing package costs a process that knows nothing.
async fn cost(registry: &TestRegistry) -> Counts {
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
    let counter = Counter::new();
    let cold = registry.another(|store| counter.wrap(store)).await;
    counter.reset();
    assert_eq!(cold.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    counter.counts()
}

#[tokio::test]
async fn a_publish_costs_the_same_among_100_000_packages() {
    let empty = TestRegistry::on(Store::memory()).await;
    let in_empty = cost(&empty).await;
    let full = TestRegistry::on(Store::memory()).await;
    fill(&full, PACKAGES).await;
    assert_eq!(full.service.ready().await.unwrap(), 1 + PACKAGES as u64);
    let in_full = cost(&full).await;
    let calls = |counts: Counts| (counts.puts, counts.gets, counts.deletes, counts.lists, counts.rounds);
    assert_eq!(calls(in_full), calls(in_empty));
    // Shards and the tail of the log are longer, by bytes and not by calls.
    assert!(in_full.bytes_read < in_empty.bytes_read + (256 << 10), "{in_full:?} {in_empty:?}");
}

/// A synthetic registry in memory: its truth, and nothing that follows from it.
async fn truth(plan: Plan) -> (Store, Made) {
    let store = Store::memory();
    let files = Mutex::new(Vec::new());
    let made = synthetic::write(plan, &|key, bytes| {
        files.lock().unwrap().push((key.to_owned(), bytes));
        Ok(())
    });
    for (key, bytes) in files.into_inner().unwrap() {
        let object =
            NewObject { key: Key::new(key).unwrap(), body: Body::Bytes(bytes.into()), meta: Meta::PRIVATE };
        store.public.put_new(&object).await.unwrap();
    }
    (store, made.unwrap())
}

/// Runs something over a counted store, and adds what it cost to the table.
async fn row<T>(table: &mut String, what: &str, store: &Store, run: impl AsyncFnOnce(Store) -> T) -> T {
    let counter = Counter::new();
    let ran = run(counter.wrap(store)).await;
    let Counts { gets, puts, deletes, lists, bytes_read, bytes_written, .. } = counter.counts();
    writeln!(table, "| {what} | {gets} | {puts} | {deletes} | {lists} | {bytes_read} | {bytes_written} |")
        .unwrap();
    ran
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test reads its own environment")]
async fn rebuild_and_audit_make_as_many_calls_as_the_table_says() {
    let (store, made) = truth(Plan { packages: 300, releases_mean: 5.0, seed: 1 }).await;
    let real = RebuildOptions { key: None, dry_run: false };
    let mut table = format!(
        "# Storage calls of maintenance\n\nMade by `tests/tests/scale.rs`; `DRYSTONE_UPDATE=1` writes it anew. Over a \
         synthetic registry of 300 packages, {} releases and {} events, whose version records have {} bytes and whose index files \
         {} bytes.\n\n| | reads | writes | deletes | lists | bytes read | bytes written |\n|---|---|---|---|---|---|---|\n",
        made.releases, made.events, made.record_bytes, made.index_bytes
    );
    let rebuilt = row(&mut table, "rebuild of everything", &store, async |store| {
        rebuild(&store, &real, &Silent).await.unwrap()
    });
    let rebuilt = rebuilt.await;
    assert_eq!((rebuilt.size, rebuilt.written.len() as u64), (made.events, rebuilt.checked));
    let again = row(&mut table, "rebuild of nothing", &store, async |store| {
        rebuild(&store, &real, &Silent).await.unwrap()
    });
    assert_eq!(again.await.written, [""; 0]);
    row(&mut table, "hints", &store, async |store| {
        refresh_hints(&store, &real, &Silent).await.unwrap();
    })
    .await;
    let options = AuditOptions { key: None, deep: false, seen: Vec::new(), keep: false };
    let audited = row(&mut table, "audit", &store, async |store| {
        audit(&AreaSource::new(store.public), &options, None, &Silent, &|_| {}).await
    });
    let audited = audited.await;
    assert_eq!((audited.problems, audited.counts.events), (Vec::new(), made.events));
    // What a rebuild made of the truth is what a replay of every event demands, and nothing else lies there.
    let report =
        fsck(&AreaSource::new(store.public.clone()), None, &FsckOptions { key: None, deep: true }, &Silent)
            .await;
    assert_eq!(report.problems, Vec::new());

    let agreed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scale.md");
    if std::env::var_os("DRYSTONE_UPDATE").is_some() {
        fs_err::write(&agreed, &table).unwrap();
    }
    let agreed = fs_err::read_to_string(agreed).unwrap();
    assert_eq!(
        table, agreed,
        "if the change is meant, `DRYSTONE_UPDATE=1` writes it into `tests/tests/scale.md`"
    );
}
