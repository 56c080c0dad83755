//! The attacks that the design lists, each carried out by a hostile registry: refused by a client with every defence up,
//! and a success against a client without the one that stops it. A test here that could not fail would show.

mod authors;
#[path = "../tests/registry/fake.rs"]
#[expect(dead_code, reason = "its other users are the tests of the public interface")]
mod fake;
mod feed;
mod roots;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use drystone_log::state_map::root_tile_key;
use drystone_schemas::{Code, Limits, PackageName, Sha256Digest, Version, VersionReq, layout};

use self::fake::{Act, Fake, archive};
use crate::{
    ClientError, Effects, Home, Http, HttpOptions, Lock, Network, Registry, Snapshot, Store, TrustStore,
    VerificationError,
    defences::Defence,
    install::{Installer, LinkMode, OnInstall, Stock},
    plan,
    resolve::{Requirement, Rules, Versions},
    verify::verify_release,
};

/// A client with a home of its own.
struct Client {
    home: Arc<tempfile::TempDir>,
    registry: Registry,
}

/// What a client believes in the end, or why it does not.
type Belief = Result<String, ClientError>;

impl Client {
    fn new(fake: &Fake, down: Option<Defence>) -> Self {
        let effects: Effects = fake.http().effects().clone();
        let options = HttpOptions::new("test");
        let http: Arc<Http> = match down {
            Some(down) => Http::without(options, effects, down),
            None => Http::new(options, effects),
        };
        Self::at(Arc::new(tempfile::tempdir().unwrap()), fake.registry().base(), http)
    }

    fn at(home: Arc<tempfile::TempDir>, base: &str, http: Arc<Http>) -> Self {
        let registry = Registry::new(base, http, &home.path().join("cache"), Network::Online, None).unwrap();
        Self { home, registry }
    }

    /// The same client in another run: what it keeps on disk is all that it knows.
    fn again(&self) -> Self {
        Self::at(self.home.clone(), self.registry.base(), self.registry.http().clone())
    }

    async fn look(&self) -> Result<Snapshot<'_>, ClientError> {
        self.look_with(&TrustStore::new(Home::new(self.home.path()))).await
    }

    async fn look_with(&self, trust: &TrustStore) -> Result<Snapshot<'_>, ClientError> {
        Snapshot::open(&self.registry, trust).await
    }

    /// The versions of a package, those that are yanked in brackets.
    async fn versions(&self, package: &str) -> Belief {
        let index = self.look().await?.index(&name(package)).await?;
        let lines = index.map(|index| index.file.lines).unwrap_or_default();
        let shown = lines.iter().map(|line| match line.yanked {
            true => format!("({})", line.vers),
            false => line.vers.to_string(),
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    async fn lock(&self, packages: &[&str]) -> Result<Lock, ClientError> {
        plan::resolve(&self.look().await?, &any_of(packages), &Rules::newest(Versions::One)).await
    }

    /// The same, read ahead of the proof.
    async fn lock_beside(
        &self,
        packages: &[&str],
        guessed: impl AsyncFnOnce(&Lock),
    ) -> Result<Lock, ClientError> {
        let (rules, roots) = (Rules::newest(Versions::One), any_of(packages));
        let locked = plan::resolve_beside(&self.registry, self.look(), &roots, &rules, guessed).await;
        locked.map(|(_, lock)| lock)
    }

    async fn put_in(&self, lock: &Lock, store: &Store, project: &Path) -> Result<(), ClientError> {
        let (limits, quiet) = (Limits::default(), Arc::new(|_| ()) as OnInstall);
        let installer = Installer { store, registry: &self.registry, limits: &limits, on_install: &quiet };
        installer.install(lock, Stock::take(lock, store), project, LinkMode::Auto).await.map(drop)
    }

    /// Installs a package, and reads its source.
    async fn install(&self, package: &str) -> Belief {
        let lock = self.lock(&[package]).await?;
        let project = tempfile::tempdir().unwrap();
        let store = Store::new(self.home.path().join("store"));
        self.put_in(&lock, &store, project.path()).await?;
        let source = project.path().join("drystone_packages").join(package).join("src/lib.x");
        Ok(fs_err::read_to_string(source).unwrap())
    }
}

fn any_of(packages: &[&str]) -> Vec<Requirement> {
    packages.iter().map(|package| Requirement::new(name(package), VersionReq::new("*").unwrap())).collect()
}

fn versions_of(lock: &Lock) -> String {
    let versions: Vec<String> = lock.packages.values().map(|package| package.version.to_string()).collect();
    versions.join(" ")
}

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

/// An attack that one defence stops: without it, the client believes `lie`.
async fn stopped(
    defence: Defence,
    attack: impl AsyncFn(Option<Defence>) -> Belief,
    lie: &str,
) -> ClientError {
    let error = attack(None).await.expect_err("a client with every defence refuses");
    assert_eq!(attack(Some(defence)).await.expect("nothing else stops it"), lie);
    error
}

/// The same, where the refusal is one of verification.
async fn disproved(
    defence: Defence,
    attack: impl AsyncFn(Option<Defence>) -> Belief,
    lie: &str,
) -> VerificationError {
    let error = stopped(defence, attack, lie).await;
    assert_eq!(error.problems()[0].code.exit_code(), 5, "{error}");
    match error {
        ClientError::Verification(error) => error,
        other => panic!("{other}"),
    }
}

/// A registry with two releases of one package, and what it served after the first.
async fn two_releases() -> (Fake, BTreeMap<String, Vec<u8>>) {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let before = fake.world.files();
    fake.world.publish("a", "1.1.0", &[]);
    (fake, before)
}

#[tokio::test]
async fn arbitrary_install_of_another_archive() {
    let attack = async |down| {
        let mut fake = Fake::start().await;
        let good = fake.world.publish("a", "1.0.0", &[]);
        let manifest = b"[package]\nname = \"a\"\nversion = \"1.0.0\"\n";
        let files = [
            drystone_archive::PackFile::bytes("drystone.toml", false, manifest),
            drystone_archive::PackFile::bytes("src/lib.x", false, b"evil"),
        ];
        let evil = drystone_archive::pack(Vec::new(), "a-1.0.0", files, &Limits::default()).unwrap();
        assert!(evil.len() <= good.len(), "so that its length alone does not betray it");
        fake.world.put(&layout::object(&Sha256Digest::of(&good)), evil);
        Client::new(&fake, down).install("a").await
    };
    let error = disproved(Defence::ArchiveDigest, attack, "evil").await;
    assert!(matches!(error, VerificationError::Digest { .. }), "{error}");
}

#[tokio::test]
async fn hidden_latest_by_a_stale_index() {
    let attack = async |down| {
        let (fake, before) = two_releases().await;
        let new = layout::object(&Sha256Digest::of(&fake.world.file("index/1/a")));
        // By name and by hash, or the client would find the right one.
        fake.world.put("index/1/a", before["index/1/a"].clone());
        fake.world.put(&new, before["index/1/a"].clone());
        Client::new(&fake, down).versions("a").await
    };
    disproved(Defence::FileDigest, attack, "1.0.0").await;
}

#[tokio::test]
async fn hidden_yank_by_a_stale_index() {
    let attack = async |down| {
        let mut fake = Fake::start().await;
        fake.world.publish("a", "1.0.0", &[]);
        fake.world.edit("a", |line| line.yanked = true);
        let good = String::from_utf8(fake.world.file("index/1/a")).unwrap();
        assert_eq!(Client::new(&fake, None).versions("a").await.unwrap(), "(1.0.0)");
        // One letter more there, one less elsewhere: its length does not betray it.
        let forged = good.replace("\"yanked\":true", "\"yanked\":false").replace("2025", "202");
        assert_eq!(forged.len(), good.len());
        fake.world.put("index/1/a", forged.clone());
        fake.world.put(&layout::object(&Sha256Digest::of(good.as_bytes())), forged);
        Client::new(&fake, down).versions("a").await
    };
    disproved(Defence::FileDigest, attack, "1.0.0").await;
}

#[tokio::test]
async fn hidden_package_by_an_older_state_under_the_new_root() {
    let attack = async |down| {
        let mut fake = Fake::start().await;
        fake.world.publish("b", "1.0.0", &[]);
        let old = fake.world.file(&root_tile_key(&fake.world.state_root()));
        fake.world.publish("a", "1.0.0", &[]);
        fake.world.put(&root_tile_key(&fake.world.state_root()), old);
        // Without the defence, the package is "proved" not to exist.
        Client::new(&fake, down).versions("a").await
    };
    disproved(Defence::StateRoot, attack, "").await;
}

#[tokio::test]
async fn rollback_of_the_state_by_the_proof_of_an_older_event() {
    let attack = async |down| {
        let (fake, _) = two_releases().await;
        fake.world.put(layout::LATEST_PROOF, fake.world.proof_of(fake.world.size() - 2));
        Client::new(&fake, down).versions("a").await
    };
    disproved(Defence::NewestEvent, attack, "1.0.0").await;
}

#[tokio::test]
async fn rollback_of_everything_for_a_client_that_has_seen_more() {
    let attack = async |down| {
        let (fake, before) = two_releases().await;
        let client = Client::new(&fake, down);
        assert_eq!(client.versions("a").await.unwrap(), "1.0.0 1.1.0");
        fake.world.serve(before);
        client.versions("a").await
    };
    let error = disproved(Defence::SeenCheckpoint, attack, "1.0.0").await;
    let VerificationError::Fork { old_size: 3, new_size: 2, evidence: Some(dir), .. } = error else {
        panic!("{error}")
    };
    assert!(!dir.exists(), "its home is gone by now, with the evidence in it: {}", dir.display());
}

#[tokio::test]
async fn rollback_of_everything_for_a_machine_that_has_only_a_lock_file() {
    let attack = async |down| {
        let (fake, before) = two_releases().await;
        let lock = Client::new(&fake, None).lock(&["a"]).await?;
        fake.world.serve(before);
        let machine = Client::new(&fake, down);
        let snapshot = machine.look().await?;
        snapshot.check_continues(lock.checkpoint.size, &lock.checkpoint.root).await?;
        machine.versions("a").await
    };
    let error = disproved(Defence::LockedCheckpoint, attack, "1.0.0").await;
    assert!(matches!(error, VerificationError::Fork { .. }), "{error}");
}

#[tokio::test]
async fn mix_and_match_of_two_moments() {
    let attack = async |down| {
        let mut fake = Fake::start().await;
        fake.world.publish("a", "1.0.0", &[]);
        fake.world.publish("b", "1.0.0", &[]);
        let old = fake.world.file("index/1/a");
        fake.world.publish("a", "1.1.0", &[]);
        let new = layout::object(&Sha256Digest::of(&fake.world.file("index/1/a")));
        fake.world.publish("b", "1.1.0", &[]);
        fake.world.put("index/1/a", old.clone());
        fake.world.put(&new, old);
        let client = Client::new(&fake, down);
        Ok(format!("{}; {}", client.versions("a").await?, client.versions("b").await?))
    };
    // There has never been a moment at which these were all the releases.
    disproved(Defence::FileDigest, attack, "1.0.0; 1.0.0 1.1.0").await;
}

#[tokio::test]
async fn stale_record_read_ahead_of_the_proof() {
    let attack = async |down| -> Belief {
        let (fake, before) = two_releases().await;
        // By name only: who finds out chooses again, by what the state names.
        let record = layout::resolve_record(&name("a"));
        fake.world.put(&record, before[&record].clone());
        Ok(versions_of(&Client::new(&fake, down).lock_beside(&["a"], async |_| ()).await?))
    };
    assert_eq!(attack(None).await.unwrap(), "1.1.0");
    assert_eq!(attack(Some(Defence::RecordDigest)).await.unwrap(), "1.0.0");
}

#[tokio::test]
async fn archives_come_before_the_proof_and_go_nowhere_without_it() {
    let mut fake = Fake::start().await;
    fake.world.publish("b", "1.0.0", &[]);
    let archive = fake.world.publish("a", "1.0.0", &[("b", "^1")]);
    let store = |client: &Client| Store::new(client.home.path().join("store"));
    let asked = format!("GET /{}", layout::object(&Sha256Digest::of(&archive)));
    // The proof is held back until both archives are there: it takes no round before they are asked for.
    let release = fake.world.hold("GET /log/latest.tlog-proof");
    let client = Client::new(&fake, None);
    let lock = client
        .lock_beside(&["a"], async |lock| {
            assert_eq!(lock.packages.len(), 2);
            client.registry.prefetch(&store(&client), lock).await;
            release.notify_one();
        })
        .await
        .unwrap();
    let seen: Vec<String> = fake.world.take_seen().into_iter().map(|seen| seen.line).collect();
    assert!(seen.contains(&asked), "{seen:?}");
    assert_eq!(lock.checkpoint.size, fake.world.size());
    assert!(lock.packages.values().all(|package| store(&client).get(&package.digest).is_none()));
    // What came is used once it is proved, and not asked for again.
    let project = tempfile::tempdir().unwrap();
    client.put_in(&lock, &store(&client), project.path()).await.unwrap();
    assert!(fake.world.take_seen().iter().all(|seen| seen.line != asked));

    // A proof that fails, after the archives came: neither a lock nor anything in the store.
    let mut proof = fake.world.file(layout::LATEST_PROOF);
    proof[100] ^= 1;
    fake.world.put(layout::LATEST_PROOF, proof);
    let client = Client::new(&fake, None);
    let guessed = async |lock: &Lock| client.registry.prefetch(&store(&client), lock).await;
    let error = client.lock_beside(&["a"], guessed).await.unwrap_err();
    assert_eq!(error.problems()[0].code, Code::VerificationFailed, "{error}");
    assert!(lock.packages.values().all(|package| store(&client).get(&package.digest).is_none()));
}

#[tokio::test]
async fn equivocation_towards_a_client_that_has_seen_the_other_side() {
    for longer_by in 0..3 {
        let attack = async |down| {
            let mut fake = Fake::start().await;
            fake.world.publish("a", "1.0.0", &[]);
            let client = Client::new(&fake, down);
            client.versions("a").await?;
            let seen = fake.world.file(layout::CHECKPOINT);
            // The same key signs another history.
            fake.replace_world(7);
            fake.world.publish("a", "6.6.6", &[]);
            (0..longer_by).for_each(|_| fake.world.heartbeat());
            let belief = client.versions("a").await;
            if let Err(ClientError::Verification(VerificationError::Fork { evidence, .. })) = &belief {
                let dir = evidence.as_ref().unwrap();
                assert_eq!(fs_err::read(dir.join("seen")).unwrap(), seen);
                assert_eq!(fs_err::read(dir.join("offered")).unwrap(), fake.world.file(layout::CHECKPOINT));
            }
            belief
        };
        let error = disproved(Defence::SeenCheckpoint, attack, "6.6.6").await;
        assert!(matches!(error, VerificationError::Fork { .. }), "{error}");
    }
}

#[tokio::test]
async fn another_log_under_another_key() {
    let attack = async |down| {
        let mut fake = Fake::start().await;
        fake.world.publish("a", "1.0.0", &[]);
        let client = Client::new(&fake, down);
        client.versions("a").await?;
        fake.replace_world(8);
        fake.world.publish("a", "6.6.6", &[]);
        client.again().versions("a").await
    };
    let error = disproved(Defence::PinnedKey, attack, "6.6.6").await;
    assert!(matches!(error, VerificationError::KeyChanged { .. }), "{error}");
}

#[tokio::test]
async fn forged_entry_that_blames_somebody_else() {
    let attack = async |down| {
        let (fake, _) = two_releases().await;
        let key = "log/tile/entries/000.p/3";
        let mut bundle = fake.world.file(key);
        let actor = b"acct:01JD3K6Q0Z0000000000000000";
        let places: Vec<usize> =
            (0..bundle.len() - actor.len()).filter(|at| bundle[*at..].starts_with(actor)).collect();
        places.iter().for_each(|at| bundle[at + actor.len() - 1] = b'1');
        assert_eq!(places.len(), 3, "one for each event");
        fake.world.put(key, bundle);
        let client = Client::new(&fake, down);
        let (version, limits) = (Version::new("1.0.0").unwrap(), Limits::default());
        let chain = verify_release(&client.look().await?, &name("a"), &version, &limits).await?;
        Ok(chain.actor.to_string())
    };
    disproved(Defence::Entry, attack, "acct:01JD3K6Q0Z0000000000000001").await;
}

#[tokio::test]
async fn forged_tile_under_a_forged_entry() {
    let (fake, _) = two_releases().await;
    let (bundle, tile) = ("log/tile/entries/000.p/3", "log/tile/0/000.p/3");
    let mut forged = fake.world.file(bundle);
    let place = forged.iter().position(|byte| *byte == b'{').unwrap() + 20;
    forged[place] ^= 1;
    let id = drystone_log::BundleId::new(0, 3).unwrap();
    let hashes = drystone_log::EntryBundle::decode(id, &forged).unwrap().leaf_hashes();
    fake.world.put(bundle, forged);
    fake.world.put(tile, drystone_log::tile::tile_bytes(&hashes));
    let client = Client::new(&fake, None);
    let (version, limits) = (Version::new("1.0.0").unwrap(), Limits::default());
    let snapshot = client.look().await.unwrap();
    let error = verify_release(&snapshot, &name("a"), &version, &limits).await.unwrap_err();
    assert!(error.to_string().contains("does not hash to the root"), "{error}");
}

#[tokio::test]
async fn manifest_confusion_in_a_signed_index() {
    let attack = async |down| {
        let mut fake = Fake::start().await;
        fake.world.publish("b", "1.0.0", &[]);
        fake.world.publish("a", "1.0.0", &[("b", "^1")]);
        let client = Client::new(&fake, None);
        let (version, limits) = (Version::new("1.0.0").unwrap(), Limits::default());
        verify_release(&client.look().await?, &name("a"), &version, &limits)
            .await
            .expect("the index is right");
        fake.world.edit("a", |line| line.deps.clear());
        let client = Client::new(&fake, down);
        let chain = verify_release(&client.look().await?, &name("a"), &version, &limits).await?;
        Ok(chain.vers.to_string())
    };
    let error = disproved(Defence::Manifest, attack, "1.0.0").await;
    assert!(error.to_string().contains("another dependencies"), "{error}");
}

/// What the registry says of itself, with blanks behind it.
fn padded(fake: &Fake, bytes: usize) -> Vec<u8> {
    let mut config = fake.world.file(layout::CONFIG);
    config.resize(config.len() + bytes, b' ');
    config
}

#[tokio::test]
async fn endless_data_announced_or_not() {
    for announced in [true, false] {
        let attack = async |down| {
            let fake = Fake::start().await;
            let body = padded(&fake, 300 << 10);
            let act = if announced { Act::Answer(200, vec![], body) } else { Act::Unannounced(body) };
            fake.world.script("GET /config.json", vec![act]);
            Ok(Client::new(&fake, down).look().await?.checkpoint().size().to_string())
        };
        let error = stopped(Defence::Length, attack, "1").await;
        assert!(matches!(error, ClientError::TooBig { bytes_max: 262_144, .. }), "{error}");
    }
}

#[tokio::test]
async fn endless_data_out_of_few_compressed_bytes() {
    let attack = async |down| {
        let fake = Fake::start().await;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&padded(&fake, 4 << 20)).unwrap();
        let packed = packed.finish().unwrap();
        assert!(packed.len() < 10_000, "far below any limit as it travels");
        let headers = vec![("content-encoding", "gzip".to_owned())];
        fake.world.script("GET /config.json", vec![Act::Answer(200, headers, packed)]);
        Ok(Client::new(&fake, down).look().await?.checkpoint().size().to_string())
    };
    let error = stopped(Defence::Length, attack, "1").await;
    assert!(matches!(error, ClientError::TooBig { .. }), "{error}");
}

#[tokio::test]
async fn slow_retrieval_of_the_smallest_file() {
    let attack = async |down| {
        let fake = Fake::start().await;
        let config = fake.world.file(layout::CONFIG);
        assert!(config.len() > 40, "more than half a minute at a byte per second");
        let drip = || Act::Drip(config.clone());
        fake.world.script("GET /config.json", vec![drip(), drip(), drip(), drip()]);
        fake.clock.step_ms.store(1000, Ordering::Relaxed);
        Ok(Client::new(&fake, down).look().await?.checkpoint().size().to_string())
    };
    let error = stopped(Defence::Speed, attack, "1").await;
    assert_eq!(error.problems()[0].code, Code::Unreachable, "{error}");
    assert!(error.to_string().contains("slower than 1024 bytes per second"), "{error}");
}

#[tokio::test]
async fn lengths_that_are_not_kept() {
    let mut fake = Fake::start().await;
    let good = fake.world.publish("a", "1.0.0", &[]);
    // The archive that is announced is longer than what comes, or than what the log names.
    let line = format!("GET /{}", layout::object(&Sha256Digest::of(&good)));
    let cut = || Act::BreakAfter(good[..good.len() / 2].to_vec());
    fake.world.script(&line, vec![cut(), cut(), cut(), cut()]);
    let error = Client::new(&fake, None).install("a").await.unwrap_err();
    assert_eq!(error.problems()[0].code, Code::Unreachable, "{error}");
    fake.world.script(&line, vec![Act::Answer(200, vec![], [&good[..], b"x"].concat())]);
    let error = Client::new(&fake, None).install("a").await.unwrap_err();
    assert_eq!(error.problems()[0].code, Code::VerificationFailed, "{error}");
    assert_eq!(Client::new(&fake, None).install("a").await.unwrap(), "a 1.0.0\n");
    assert_eq!(archive("a", "1.0.0"), good);
}
