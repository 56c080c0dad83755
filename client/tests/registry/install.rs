//! From requirements to directories, and what is left when something goes wrong on the way.

use std::{path::Path, sync::Arc};

use drystone_client::{
    ClientError, Lock, Network, Registry, Snapshot, VerificationError,
    install::{InstallReport, Installer, LinkMode, OnInstall, Stock},
    plan::{Notice, check_lock, resolve},
    resolve::{Requirement, Rules, Versions},
};
use drystone_schemas::{Code, DeleteCode, Limits, PackageName, Sha256Digest, VersionReq};

use crate::fake::{Fake, archive};

fn roots(texts: &[(&str, &str)]) -> Vec<Requirement> {
    let root = |&(name, req): &(&str, &str)| {
        Requirement::new(PackageName::new(name).unwrap(), VersionReq::new(req).unwrap())
    };
    texts.iter().map(root).collect()
}

async fn lock(fake: &Fake, texts: &[(&str, &str)]) -> Result<Lock, ClientError> {
    let registry = fake.registry();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await?;
    resolve(&snapshot, &roots(texts), &Rules::newest(Versions::One)).await
}

async fn put_in(fake: &Fake, lock: &Lock, project: &Path) -> Result<InstallReport, ClientError> {
    put_in_from(fake, lock, project, &fake.registry()).await
}

async fn put_in_from(
    fake: &Fake,
    lock: &Lock,
    project: &Path,
    registry: &Registry,
) -> Result<InstallReport, ClientError> {
    let (store, limits) = (fake.store(), Limits::default());
    let on_install = Arc::new(|_| ()) as OnInstall;
    let installer = Installer { store: &store, registry, limits: &limits, on_install: &on_install };
    installer.install(lock, Stock::take(lock, &store), project, LinkMode::Auto).await
}

async fn check(fake: &Fake, lock: &Lock) -> Result<Vec<Notice>, ClientError> {
    let registry = fake.registry();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await?;
    check_lock(&snapshot, lock, &lock.packages.values().collect::<Vec<_>>()).await
}

/// Every file below a directory, without the bookkeeping.
fn tree(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    files.retain(|file| !file.starts_with('.'));
    files.sort();
    files
}

#[tokio::test]
async fn packages_and_what_they_need_are_installed_once() {
    let mut fake = Fake::start().await;
    fake.world.publish("url", "1.0.0", &[]);
    fake.world.publish("acme/http", "1.0.0", &[("url", "^1")]);
    fake.world.publish("acme", "1.0.0", &[]);
    let project = tempfile::tempdir().unwrap();
    let packages = project.path().join("drystone_packages");
    let first = lock(&fake, &[("acme/http", "^1"), ("acme", "*")]).await.unwrap();
    assert_eq!(first.checkpoint.size, 4);
    let report = put_in(&fake, &first, project.path()).await.unwrap();
    assert_eq!((report.downloaded, report.linked.len(), report.unchanged), (3, 3, 0));
    let of = |dir: &str| ["bin/run", "drystone.toml", "src/lib.x"].map(|file| format!("{dir}/{file}"));
    assert_eq!(tree(&packages), [of("@acme/http"), of("acme"), of("url")].concat());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |file: &str| fs_err::metadata(packages.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("url/bin/run"), mode("url/src/lib.x")), (0o555, 0o444));
    }

    // Nothing to do: nothing is asked.
    fake.world.take_seen();
    let report = put_in(&fake, &first, project.path()).await.unwrap();
    assert_eq!((report.downloaded, report.linked.len(), report.unchanged), (0, 0, 3));
    assert_eq!(fake.world.take_seen().len(), 0);

    // Another project shares the store; a package that is not wanted any more goes.
    let second = lock(&fake, &[("url", "*")]).await.unwrap();
    let report = put_in(&fake, &second, project.path()).await.unwrap();
    assert_eq!(
        (report.downloaded, report.removed, report.unchanged),
        (0, vec!["acme".into(), "acme/http".into()], 1)
    );
    assert_eq!(tree(&packages), of("url"));
}

#[tokio::test]
async fn what_was_cut_off_or_damaged_is_made_anew() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let project = tempfile::tempdir().unwrap();
    let packages = project.path().join("drystone_packages");
    let lock = lock(&fake, &[("a", "*")]).await.unwrap();
    put_in(&fake, &lock, project.path()).await.unwrap();
    let whole = tree(&packages);

    // A run that was killed left things about, in the project and in the store.
    fs_err::create_dir_all(packages.join(".new/half")).unwrap();
    fs_err::create_dir_all(packages.join(".old/half")).unwrap();
    fs_err::remove_dir_all(packages.join("a")).unwrap();
    let digest = lock.packages["a"].digest;
    let entry = fake.home().store().join(digest.hex());
    fs_err::remove_file(entry.join("files/src/lib.x")).unwrap();
    fs_err::create_dir_all(fake.home().store().join("tmp").join(digest.hex()).join("files")).unwrap();
    assert_eq!(Stock::take(&lock, &fake.store()).missing().len(), 1);
    let report = put_in(&fake, &lock, project.path()).await.unwrap();
    assert_eq!((report.downloaded, report.linked.len()), (1, 1));
    assert_eq!(report.repaired, ["a 1.0.0"]);
    assert_eq!(tree(&packages), whole);
    assert!(!packages.join(".new").exists() && !packages.join(".old").exists());
}

#[tokio::test]
async fn an_archive_of_another_release_is_not_passed_off() {
    let mut fake = Fake::start().await;
    let other = archive("evil", "6.6.6");
    fake.world.publish_archive("a", "1.0.0", &[], &other);
    let project = tempfile::tempdir().unwrap();
    let lock = lock(&fake, &[("a", "*")]).await.unwrap();
    for attempt in ["unpacked", "found in the store"] {
        let error = put_in(&fake, &lock, project.path()).await.unwrap_err();
        let contradicts = matches!(error, ClientError::Verification(VerificationError::Contradiction(_)));
        assert!(contradicts, "{attempt}: {error}");
        assert!(!project.path().join("drystone_packages/a").exists());
        // Somebody else may well use that archive.
        let root = drystone_archive::root_directory(
            &PackageName::new("evil").unwrap(),
            &drystone_schemas::Version::new("6.6.6").unwrap(),
        );
        fake.store().unpack(&Sha256Digest::of(&other), &root, &other[..], &Limits::default()).unwrap();
    }
}

#[tokio::test]
async fn a_lock_is_held_against_the_log_of_today() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let lock = lock(&fake, &[("a", "*")]).await.unwrap();
    assert_eq!(check(&fake, &lock).await.unwrap(), []);
    fake.world.edit("a", |line| line.yanked = true);
    assert_eq!(check(&fake, &lock).await.unwrap(), [Notice::Yanked(lock.packages["a"].clone())]);

    let mut forged = lock.clone();
    forged.packages.get_mut("a").unwrap().digest = Sha256Digest::of(b"evil");
    let error = check(&fake, &forged).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Contradiction(_))), "{error}");
    let foreign = Lock { origin: "other.example/log".into(), ..lock.clone() };
    assert_eq!(check(&fake, &foreign).await.unwrap_err().problems()[0].code, Code::VerificationFailed);
    // A lock made at a log that this one does not continue, though no checkpoint of it was ever seen here.
    let mut other_history = lock.clone();
    other_history.checkpoint.root = drystone_log::Hash::digest(b"other");
    let error = check(&fake, &other_history).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Fork { .. })), "{error}");

    fake.world.edit("a", |line| line.deleted = Some(DeleteCode::Malware));
    assert_eq!(check(&fake, &lock).await.unwrap_err().problems()[0].code, Code::VersionDeleted);
}

#[tokio::test]
async fn a_cold_resolve_fetches_each_depth_together_and_explains_conflicts() {
    let mut fake = Fake::start().await;
    fake.world.publish("c", "1.0.0", &[]);
    fake.world.publish("c", "2.0.0", &[]);
    fake.world.publish("a", "1.0.0", &[("c", "^1")]);
    fake.world.publish("b", "1.0.0", &[("c", "^2")]);
    let good = lock(&fake, &[("a", "*")]).await.unwrap();
    let versions: Vec<String> = good.packages.values().map(|p| format!("{} {}", p.name, p.version)).collect();
    assert_eq!(versions, ["a 1.0.0", "c 1.0.0"]);
    let error = lock(&fake, &[("a", "*"), ("b", "*")]).await.unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!(problem.code, Code::NoVersionsFit);
    assert_eq!(
        problem.facts["because"],
        "the project needs `a` *\n`a` 1.0.0 needs `c` ^1\nthe project needs `b` *\n`b` 1.0.0 needs `c` ^2\n\
         no version of `c` is for ^1 and ^2 at once"
    );
    let error = lock(&fake, &[("c", "^3")]).await.unwrap_err();
    assert_eq!(error.problems()[0].hint, "`c` ^2.0.0 would do, in place of ^3");
}

#[tokio::test]
async fn offline_a_missing_archive_is_named() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let lock = lock(&fake, &[("a", "*")]).await.unwrap();
    let project = tempfile::tempdir().unwrap();
    let offline = fake.registry_with(Network::Offline, None);
    let error = put_in_from(&fake, &lock, project.path(), &offline).await.unwrap_err();
    assert_eq!(error.problems()[0].code, Code::OfflineMiss);
    assert_eq!(error.to_string(), "`a` 1.0.0 is not in the cache");
}
