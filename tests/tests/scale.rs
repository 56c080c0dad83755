//! A publish costs the same storage calls among 100,000 packages as in an empty registry.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use drystone_index_builder::{Draft, Touched, project};
use drystone_log::commit::{CommitOutcome, Committer, EventDraft, StateFile};
use drystone_schemas::{
    AccountId, DepKind, EventBody, EventId, Format, PackageName, RecordDep, Sha256Digest, Version,
    VersionRecord,
};
use drystone_storage::{Counter, Counts, Store, new_ulid};
use drystone_tests::{Pkg, TestRegistry};

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
