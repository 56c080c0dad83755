//! An install that is cut off at any step, in any way, and what the next one makes of it.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use drystone_client::{
    ClientError, Lock, Registry, Snapshot, Store, VerificationError,
    disk::{Disk, FileLink, RealDisk},
    install::{InstallEvent, InstallReport, Installer, LinkMode, OnInstall, Stock},
    plan::resolve,
    resolve::{Requirement, Rules, Versions},
};
use drystone_schemas::{Limits, PackageName, VersionReq, layout};

use crate::fake::Fake;

/// What happens at the chosen step, and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The process is killed before it, and so after the one before.
    Before,
    /// The process is killed while it writes: half of the bytes are there.
    Within,
    /// The disk is full at this step; later ones work.
    Full,
}

/// A disk that does what it should until a chosen step.
#[derive(Debug)]
struct CutDisk {
    cut: Cut,
    at: usize,
    made: AtomicUsize,
}

impl CutDisk {
    fn new(cut: Cut, at: usize) -> Arc<Self> {
        Arc::new(Self { cut, at, made: AtomicUsize::new(0) })
    }

    fn was_reached(&self) -> bool {
        self.made.load(Ordering::SeqCst) > self.at
    }

    fn step(&self, half: impl FnOnce(), whole: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let at = self.made.fetch_add(1, Ordering::SeqCst);
        let dead = || Err(io::Error::other("killed"));
        match self.cut {
            _ if at < self.at => whole(),
            Cut::Full if at == self.at => {
                half();
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Cut::Full => whole(),
            Cut::Within if at == self.at => {
                half();
                dead()
            }
            Cut::Before | Cut::Within => dead(),
        }
    }
}

impl Disk for CutDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step(|| (), || RealDisk.create_dir_all(path))
    }

    fn create(&self, path: &Path, executable: bool, read_only: bool) -> io::Result<fs_err::File> {
        let mut file = None;
        self.step(
            || (),
            || {
                file = Some(RealDisk.create(path, executable, read_only)?);
                Ok(())
            },
        )?;
        Ok(file.unwrap())
    }

    fn write(&self, file: &mut fs_err::File, bytes: &[u8]) -> io::Result<()> {
        let other = file.try_clone()?;
        let half = || RealDisk.write(&mut { other }, &bytes[..bytes.len() / 2]).unwrap();
        self.step(half, || RealDisk.write(file, bytes))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // What is half written lies beside the file, under a name of its own.
        let half = || drop(fs_err::write(path.with_file_name(".tmp-half"), &bytes[..bytes.len() / 2]));
        self.step(half, || RealDisk.replace(path, bytes))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| (), || RealDisk.rename(from, to))
    }

    fn link_dir(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.step(|| (), || RealDisk.link_dir(target, link))
    }

    fn link_file(&self, how: FileLink, from: &Path, to: &Path, executable: bool) -> io::Result<()> {
        let half = || drop(fs_err::write(to, b"half"));
        self.step(half, || RealDisk.link_file(how, from, to, executable))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        // Whatever is met first is gone.
        let half = || drop(fs_err::remove_file(path.join("files/src/lib.x")));
        self.step(half, || RealDisk.remove_dir_all(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(|| (), || RealDisk.remove_file(path))
    }
}

async fn lock(fake: &Fake, texts: &[(&str, &str)]) -> Lock {
    let registry = fake.registry();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await.unwrap();
    let root = |&(name, req): &(&str, &str)| {
        Requirement::new(PackageName::new(name).unwrap(), VersionReq::new(req).unwrap())
    };
    let roots: Vec<Requirement> = texts.iter().map(root).collect();
    resolve(&snapshot, &roots, &Rules::newest(Versions::One)).await.unwrap()
}

async fn put_in(
    registry: &Registry,
    store: &Store,
    lock: &Lock,
    project: &Path,
    mode: LinkMode,
) -> Result<InstallReport, ClientError> {
    let on_install = Arc::new(|_| ()) as OnInstall;
    let limits = Limits::default();
    let installer = Installer { store, registry, limits: &limits, on_install: &on_install };
    installer.install(lock, Stock::take(lock, store), project, mode).await
}

/// What a project holds: the version of each package that is there. Fails on one that is not whole.
#[track_caller]
fn packages(project: &Path, case: &str) -> BTreeSet<String> {
    let dir = project.join("drystone_packages");
    let mut found = BTreeSet::new();
    for place in ["a", "b", "c", "@acme/d"] {
        let place = dir.join(place);
        if fs_err::symlink_metadata(&place).is_err() {
            continue;
        }
        let read = |file: &str| {
            fs_err::read_to_string(place.join(file)).unwrap_or_else(|e| panic!("{case}: half there: {e}"))
        };
        let source = read("src/lib.x");
        let (name, version) = source.trim().split_once(' ').unwrap();
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n");
        assert_eq!((read("drystone.toml"), read("bin/run")), (manifest, "#!/bin/sh\n".into()), "{case}");
        found.insert(format!("{name} {version}"));
    }
    found
}

#[tokio::test]
async fn an_install_that_is_cut_off_at_any_step_leaves_nothing_half_there_and_is_finished_by_the_next() {
    let mut fake = Fake::start().await;
    for version in ["1.0.0", "2.0.0"] {
        fake.world.publish("a", version, &[]);
        fake.world.publish("acme/d", version, &[]);
    }
    fake.world.publish("b", "1.0.0", &[]);
    fake.world.publish("c", "1.0.0", &[]);
    let before = lock(&fake, &[("a", "^1"), ("b", "*"), ("acme/d", "^1")]).await;
    let after = lock(&fake, &[("a", "^2"), ("c", "*"), ("acme/d", "^2")]).await;
    let names = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<BTreeSet<String>>();
    let old = names(&["a 1.0.0", "b 1.0.0", "acme/d 1.0.0"]);
    let new = names(&["a 2.0.0", "c 1.0.0", "acme/d 2.0.0"]);
    let either: BTreeSet<String> = old.union(&new).cloned().collect();
    let registry = fake.registry();
    let mut steps = Vec::new();
    // Every step in the way that most take; every fifth in the others, which differ from it in few.
    for (mode, cut, stride) in [
        (LinkMode::Dir, Cut::Within, 1),
        (LinkMode::Dir, Cut::Before, 5),
        (LinkMode::Dir, Cut::Full, 5),
        (LinkMode::Hard, Cut::Within, 5),
        (LinkMode::Copy, Cut::Within, 5),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, project) = (folder.path().join("store"), folder.path().join("project"));
        let whole = Store::new(&store);
        put_in(&registry, &whole, &before, &project, mode).await.unwrap();
        // Forth and back, so that each time everything must be downloaded, linked and taken away.
        let (mut from, mut to) = ((&before, &old), (&after, &new));
        for at in (0..).step_by(stride) {
            let case = format!("{mode:?} {cut:?} {at}");
            assert_eq!(packages(&project, &case), *from.1, "{case}");
            let disk = CutDisk::new(cut, at);
            let outcome = put_in(&registry, &Store::on(&store, disk.clone()), to.0, &project, mode).await;
            if !disk.was_reached() {
                outcome.unwrap();
                steps.push(at);
                break;
            }
            let found = packages(&project, &case);
            assert!(found.is_subset(&either), "{case}");
            // What a disk that was full for a moment told has happened; nobody hears of what a killed process did.
            if outcome.is_ok() {
                assert_eq!((cut, &found), (Cut::Full, to.1), "{case}");
            }
            put_in(&registry, &whole, to.0, &project, mode)
                .await
                .unwrap_or_else(|e| panic!("{case}: the next run fails: {e}"));
            assert_eq!(packages(&project, &case), *to.1, "{case}");
            let dir = project.join("drystone_packages");
            assert!(!dir.join(".new").exists() && !dir.join(".old").exists(), "{case}");
            assert_eq!(whole.verify().unwrap().1, [], "{case}");
            let collected = whole.collect(u64::MAX, Duration::ZERO, false).unwrap();
            assert_eq!((collected.kept, collected.removed.len()), (3, 3), "{case}: {collected:?}");
            (from, to) = (to, from);
        }
    }
    // A step that is not counted would be one that is not tested.
    assert!(steps.iter().all(|count| *count > 60), "{steps:?}");
}

#[tokio::test]
async fn two_installs_at_once_share_the_work_and_both_succeed() {
    let mut fake = Fake::start().await;
    for name in ["a", "b", "c"] {
        fake.world.publish(name, "1.0.0", &[]);
    }
    let lock = lock(&fake, &[("a", "*"), ("b", "*"), ("c", "*")]).await;
    let (registry, store) = (fake.registry(), fake.store());
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    fake.world.take_seen();
    // Two in one project, one in another.
    let (first, second, third) = tokio::join!(
        put_in(&registry, &store, &lock, &one, LinkMode::Auto),
        put_in(&registry, &store, &lock, &one, LinkMode::Auto),
        put_in(&registry, &store, &lock, &other, LinkMode::Auto),
    );
    let downloaded: usize = [first, second, third].map(|report| report.unwrap().downloaded).iter().sum();
    assert_eq!((downloaded, fake.world.take_seen().len()), (3, 3), "each archive came once");
    for project in [&one, &other] {
        assert_eq!(packages(project, "both").len(), 3);
    }
}

#[tokio::test]
async fn a_corrupt_store_entry_is_found_told_and_brought_anew() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let lock = lock(&fake, &[("a", "*")]).await;
    let (registry, store) = (fake.registry(), fake.store());
    let folder = tempfile::tempdir().unwrap();
    let entry = store.dir().join(lock.packages["a"].digest.hex());
    let file = entry.join("files/src/lib.x");
    let writable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 5] = [
        ("a file is shorter", &|| {
            writable(&file);
            fs_err::write(&file, "a 1").unwrap();
        }),
        ("a file has other bytes of the same length", &|| {
            writable(&file);
            fs_err::write(&file, "x 6.6.6\n").unwrap();
        }),
        ("a file is gone", &|| fs_err::remove_file(&file).unwrap()),
        ("a file is a link", &|| {
            fs_err::remove_file(&file).unwrap();
            fs_err::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        }),
        ("the marker is half there", &|| {
            let marker = fs_err::read(entry.join("entry.json")).unwrap();
            fs_err::write(entry.join("entry.json"), &marker[..marker.len() / 2]).unwrap();
        }),
    ];
    for mode in [LinkMode::Dir, LinkMode::Hard, LinkMode::Copy] {
        let project = folder.path().join(mode.as_str());
        put_in(&registry, &store, &lock, &project, mode).await.unwrap();
        for (case, damage) in &damages {
            damage();
            let report = put_in(&registry, &store, &lock, &project, mode).await.unwrap();
            assert_eq!((report.downloaded, report.repaired), (1, vec!["a 1.0.0".into()]), "{mode:?}: {case}");
            assert_eq!(packages(&project, case).len(), 1);
            assert_eq!(store.verify().unwrap(), (1, vec![]), "{mode:?}: {case}");
        }
    }

    // What no time and no length betrays is found by hashing, and gone until the next install.
    let times = fs_err::metadata(&file).unwrap().modified().unwrap();
    writable(&file);
    fs_err::write(&file, "x 6.6.6\n").unwrap();
    fs_err::OpenOptions::new().write(true).open(&file).unwrap().file().set_modified(times).unwrap();
    fs_err::write(entry.join("files/left-here"), "by a build").unwrap();
    let (whole, damaged) = store.verify().unwrap();
    let what = ["`src/lib.x` has other bytes", "`left-here` does not belong there"];
    assert_eq!(
        (whole, &*damaged[0].root, &damaged[0].what[..]),
        (0, "a-1.0.0", &what.map(str::to_owned)[..])
    );
    let project = folder.path().join("dir");
    put_in(&registry, &store, &lock, &project, LinkMode::Dir).await.unwrap();
    assert_eq!(packages(&project, "after verify").len(), 1);
}

#[tokio::test]
async fn a_mirror_that_lies_is_told_and_passed_over() {
    let mut fake = Fake::start().await;
    let archive = fake.world.publish("a", "1.0.0", &[]);
    let lock = lock(&fake, &[("a", "*")]).await;
    let digest = lock.packages["a"].digest;
    let object = layout::object(&digest);
    let base = fake.registry().base().to_owned();
    let mirrors = ["silent", "lying", "long", "good"].map(|name| format!("{base}/{name}"));
    fake.world.put(&format!("lying/{object}"), vec![b'x'; archive.len()]);
    fake.world.put(&format!("long/{object}"), vec![b'x'; archive.len() + 1]);
    fake.world.put(&format!("good/{object}"), archive);
    let folder = tempfile::tempdir().unwrap();
    let registry = || fake.registry_with(drystone_client::Network::Online, Some("secret"));
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = told.clone();
    let on_install = Arc::new(move |event| {
        if let InstallEvent::Rejected { why } = event {
            heard.lock().unwrap().push(why);
        }
    }) as OnInstall;
    let (store, limits) = (fake.store(), Limits::default());
    let mirrored = registry().with_mirrors(&mirrors).unwrap();
    let installer =
        Installer { store: &store, registry: &mirrored, limits: &limits, on_install: &on_install };
    installer.install(&lock, Stock::take(&lock, &store), folder.path(), LinkMode::Auto).await.unwrap();
    let evil = drystone_schemas::Sha256Digest::of(&vec![b'x'; fake.world.file(&object).len()]);
    let size = lock.packages["a"].size;
    let what = "the archive of `a` 1.0.0";
    assert_eq!(
        *told.lock().unwrap(),
        [
            format!(
                "the mirror `{base}/silent` is not used: {what} is vouched for by the log, but is not there"
            ),
            format!(
                "the mirror `{base}/lying` is not used: {what} should have the digest {digest}, but has {evil}"
            ),
            format!(
                "the mirror `{base}/long` is not used: {what}: it is longer than the {size} bytes that the log names"
            ),
        ]
    );
    let asked: Vec<String> = fake
        .world
        .take_seen()
        .into_iter()
        .map(|seen| {
            assert_eq!(seen.header("authorization"), "", "{}", seen.line);
            seen.line
        })
        .filter(|line| line.contains("/o/") && line.contains(&digest.hex()))
        .collect();
    assert_eq!(asked.last().map(String::as_str), Some(&*format!("GET /good/{object}")));

    // With nobody left who tells the truth, nothing is unpacked, and the message says who lied.
    fake.world.put(&object, vec![b'y'; size as usize]);
    let other = Store::new(folder.path().join("other-store"));
    let error =
        put_in(&fake.registry(), &other, &lock, &folder.path().join("p"), LinkMode::Auto).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Digest { .. })), "{error}");
    assert!(other.list().unwrap().is_empty() && !folder.path().join("p/drystone_packages/a").exists());
}

#[tokio::test]
async fn collection_keeps_what_projects_use_and_what_is_new() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    fake.world.publish("b", "1.0.0", &[]);
    let (one, two) = (lock(&fake, &[("a", "*")]).await, lock(&fake, &[("b", "*")]).await);
    let (registry, store) = (fake.registry(), fake.store());
    let folder = tempfile::tempdir().unwrap();
    let (kept, dropped) = (folder.path().join("kept"), folder.path().join("dropped"));
    put_in(&registry, &store, &one, &kept, LinkMode::Auto).await.unwrap();
    put_in(&registry, &store, &two, &dropped, LinkMode::Auto).await.unwrap();
    let listed: Vec<(String, usize)> =
        store.list().unwrap().into_iter().map(|entry| (entry.root, entry.projects.len())).collect();
    assert_eq!(listed, [("a-1.0.0".to_owned(), 1), ("b-1.0.0".to_owned(), 1)]);
    fs_err::remove_dir_all(&dropped).unwrap();
    // In the present of this clock nothing is a year old yet.
    let year = Duration::from_secs(365 * 24 * 3600);
    let now_ms = fs_err::metadata(store.dir()).unwrap().modified().unwrap();
    let now_ms = now_ms.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let young = store.collect(now_ms, year, false).unwrap();
    assert_eq!((young.kept, young.removed.len(), young.forgotten.len()), (2, 0, 1));
    let dry = store.collect(u64::MAX, year, true).unwrap();
    assert_eq!((dry.kept, &dry.removed[..]), (1, &["b-1.0.0".to_owned()][..]));
    assert_eq!(store.list().unwrap().len(), 2, "a dry run removes nothing");
    assert_eq!(store.collect(u64::MAX, year, false).unwrap().removed, dry.removed);
    assert_eq!(packages(&kept, "kept").len(), 1);
    assert_eq!(store.list().unwrap().len(), 1);
}
