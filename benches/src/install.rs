//! What it takes to have the crates of a lock file: `drystone cargo fetch` beside `cargo fetch`, the store and the links
//! out of it beside `cp` and `tar`.
//!
//! The archives are real ones, of cargo's own cache on this machine; the lock file is given by `DRYSTONE_BENCH_LOCK`, a
//! directory with `Cargo.toml` and `Cargo.lock`. All of them must be in the cache, or nothing is measured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use drystone_client::{
    Effects, Http, HttpOptions, Lock, LockedCheckpoint, LockedPackage, Network, Registry as ClientRegistry,
    Store,
    cargo::CargoLock,
    install::{Installer, LinkMode, OnInstall, Stock},
};
use drystone_schemas::{Limits, PackageName, Sha256Digest, Version};
use drystone_storage::{SystemClock, SystemEntropy};
use serde::Serialize;

use crate::{
    clock::Moment,
    delayed::Delayed,
    machine::{self, Pid},
    report::{Report, median, ms, rounded, say},
    server::{Registry, free_address, program},
};

/// How often everything is measured; tables show medians.
const RUNS: usize = 3;
/// What every answer waits, in milliseconds.
const DELAYS_MS: [u64; 3] = [0, 50, 100];

const FETCH_COLUMNS: [&str; 9] =
    ["what", "delay_ms", "crates", "wall_s", "cpu_s", "rss_peak_mib", "requests", "mib", "load"];
const LOCAL_COLUMNS: [&str; 5] = ["what", "packages", "wall_s", "s_per_1000", "load"];

/// One cold fetch.
#[derive(Debug, Clone, Serialize)]
struct Fetched {
    what: &'static str,
    delay_ms: u64,
    crates: usize,
    wall_s: f64,
    cpu_s: f64,
    rss_peak_mib: f64,
    requests: u64,
    mib: f64,
    load: f64,
}

/// One way to have unpacked files.
#[derive(Debug, Clone, Serialize)]
struct Local {
    what: String,
    packages: usize,
    wall_s: f64,
    s_per_1000: f64,
    load: f64,
}

/// Measures fetching and linking.
#[expect(clippy::disallowed_methods, reason = "says what is measured")]
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let project = std::env::var_os("DRYSTONE_BENCH_LOCK").map(PathBuf::from);
    let project =
        project.context("`DRYSTONE_BENCH_LOCK` names a directory with `Cargo.toml` and `Cargo.lock`")?;
    let folder = tempfile::tempdir()?;
    let archives = archives_of(&project, folder.path())?;
    fetches(report, &project, &archives, folder.path())?;
    locals(report, &archives, folder.path())
}

/// The archives of the lock file, copied into a directory of their own.
#[expect(clippy::disallowed_methods, reason = "cargo's own cache lies below the home")]
fn archives_of(project: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let lock = CargoLock::read(&project.join("Cargo.lock"))?;
    let home = std::env::var_os("HOME").map(PathBuf::from).context("`HOME` is set")?;
    let cache = fs_err::read_dir(home.join(".cargo/registry/cache"))?;
    let caches = cache.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    let dir = folder.join("archives");
    fs_err::create_dir_all(&dir)?;
    let mut archives = Vec::new();
    for locked in lock.registries.values().flatten() {
        let name = format!("{}.crate", locked.stem());
        let found = caches.iter().map(|cache| cache.join(&name)).find(|path| path.is_file());
        let found = found.with_context(|| format!("`{name}` is not in cargo's cache"))?;
        let bytes = fs_err::read(found)?;
        if Sha256Digest::of(&bytes) != locked.checksum {
            bail!("`{name}` in cargo's cache is not that of the lock file");
        }
        fs_err::write(dir.join(&name), bytes)?;
        archives.push(dir.join(name));
    }
    Ok(archives)
}

fn fetches(report: &mut Report, project: &Path, archives: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
    let address = free_address()?;
    let url = format!("https://{address}");
    let registry = Registry::serve_with(&["--mirror-crates-io", "--public-url", &url])?;
    let dir = archives.first().and_then(|path| path.parent()).context("there is an archive")?;
    say(&format!("  importing {} crates", archives.len()));
    registry.import(dir)?;
    let server = Delayed::start(address, &registry.public(), folder)?;

    let app = folder.join("app");
    fs_err::create_dir_all(app.join("src"))?;
    fs_err::write(app.join("src/lib.rs"), "")?;
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs_err::copy(project.join(file), app.join(file))?;
    }
    let mut rows = Vec::new();
    for delay_ms in DELAYS_MS {
        server.set_delay(Duration::from_millis(delay_ms));
        for what in ["cargo fetch", "drystone cargo fetch", "drystone cargo fetch, again"] {
            let mut runs = Vec::new();
            for run in 0..RUNS {
                let home = folder.join(format!("home-{delay_ms}-{run}-{}", what.starts_with("cargo")));
                prepare(&home, &url, &server.certificate)?;
                let fetched = fetch(what, delay_ms, &app, &home, &server, archives.len())?;
                report.measured("install", &fetched)?;
                runs.push(fetched);
            }
            rows.push(middle(&runs)?);
        }
        for run in 0..RUNS {
            for cargos in [true, false] {
                let home = folder.join(format!("home-{delay_ms}-{run}-{cargos}"));
                if run == 0 {
                    metadata(&app, &home)?;
                }
                fs_err::remove_dir_all(home)?;
            }
        }
    }
    report.table(
        "Cold fetch of one lock file into an empty `CARGO_HOME`, HTTP/2 over TLS (medians of three runs)",
        &FETCH_COLUMNS,
        &rows,
    )
}

fn prepare(home: &Path, url: &str, certificate: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(home)?;
    let config = format!(
        "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+{url}/index/\"\n[http]\ncainfo = \"{}\"\n",
        certificate.display()
    );
    Ok(fs_err::write(home.join("config.toml"), config)?)
}

fn fetch(
    what: &'static str,
    delay_ms: u64,
    app: &Path,
    home: &Path,
    server: &Delayed,
    crates: usize,
) -> anyhow::Result<Fetched> {
    let mut command = if what.starts_with("cargo") {
        let mut cargo = Command::new("cargo");
        cargo.args(["fetch", "--locked", "--quiet"]);
        cargo
    } else {
        let mut drystone = Command::new(program("drystone")?);
        drystone.args(["cargo", "fetch", "-qq"]);
        drystone
    };
    command
        .current_dir(app)
        .env("CARGO_HOME", home)
        .env("SSL_CERT_FILE", &server.certificate)
        .env("DRYSTONE_HOME", home.join("drystone"))
        .stdin(Stdio::null());
    let load_before = machine::load()?;
    server.take_counts();
    let start = Moment::now();
    let (cpu_ms, rss_peak_mib) = watched(command).with_context(|| what.to_owned())?;
    let took = start.elapsed();
    let (requests, bytes) = server.take_counts();
    Ok(Fetched {
        what,
        delay_ms,
        crates,
        wall_s: rounded(took.as_secs_f64()),
        cpu_s: rounded(cpu_ms / 1000.0),
        rss_peak_mib: rounded(rss_peak_mib),
        requests,
        mib: rounded(bytes as f64 / f64::from(1 << 20)),
        load: rounded(load_before),
    })
}

/// Runs a command to its end; the processor time, and the most memory, that were seen shortly before it.
fn watched(mut command: Command) -> anyhow::Result<(f64, f64)> {
    let mut child = command.spawn()?;
    let pid = Pid(child.id());
    let (mut cpu_ms, mut peak) = (0.0_f64, 0.0_f64);
    loop {
        // A process that has just ended has no memory any more.
        peak = pid.resident_peak_mib().unwrap_or(peak).max(peak);
        cpu_ms = pid.cpu_ms().unwrap_or(cpu_ms).max(cpu_ms);
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("{status}");
            }
            return Ok((cpu_ms, peak));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Cargo must take what is there.
fn metadata(app: &Path, home: &Path) -> anyhow::Result<()> {
    let status = Command::new("cargo")
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--quiet"])
        .current_dir(app)
        .env("CARGO_HOME", home)
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cargo does not accept what is in `{}`", home.display());
    }
    Ok(())
}

fn middle(runs: &[Fetched]) -> anyhow::Result<Fetched> {
    let of = |number: fn(&Fetched) -> f64| rounded(median(runs.iter().map(number)).unwrap_or_default());
    let first = runs.first().context("there is a run")?;
    Ok(Fetched {
        wall_s: of(|run| run.wall_s),
        cpu_s: of(|run| run.cpu_s),
        rss_peak_mib: of(|run| run.rss_peak_mib),
        load: of(|run| run.load),
        ..first.clone()
    })
}

/// The store, and the ways out of it, on archives that are on disk.
fn locals(report: &mut Report, archives: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
    let one_version_each = one_version_each(archives)?;
    let lock = lock_of(&one_version_each)?;
    let mut rows: Vec<Local> = Vec::new();
    let mut measure = |what: &str, packages: usize, work: &dyn Fn(&Path) -> anyhow::Result<()>| {
        let mut walls = Vec::new();
        let load = machine::load()?;
        for run in 0..RUNS {
            let place = folder.join(format!("run-{run}"));
            fs_err::create_dir_all(&place)?;
            let start = Moment::now();
            work(&place).with_context(|| what.to_owned())?;
            walls.push(ms(start.elapsed()) / 1000.0);
            fs_err::remove_dir_all(&place)?;
        }
        let wall_s = median(walls).unwrap_or_default();
        let local = Local {
            what: what.to_owned(),
            packages,
            wall_s: rounded(wall_s),
            s_per_1000: rounded(wall_s * 1000.0 / packages as f64),
            load: rounded(load),
        };
        report.measured("install-local", &local)?;
        rows.push(local);
        anyhow::Ok(())
    };
    let count = one_version_each.len();
    measure("`tar xzf`, one after the other", count, &|place| {
        for (_, _, path) in &one_version_each {
            let status = Command::new("tar").arg("xzf").arg(path).arg("-C").arg(place).status()?;
            anyhow::ensure!(status.success(), "tar: {status}");
        }
        Ok(())
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let registry = offline_registry(folder)?;
    let on_install = Arc::new(|_| ()) as OnInstall;
    let limits = Limits::default();
    let unpack_all = |store: &Store| -> anyhow::Result<()> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            let worker = || -> anyhow::Result<()> {
                while let Some((name, version, path)) =
                    one_version_each.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let bytes = fs_err::read(path)?;
                    let root = format!("{name}-{version}");
                    store.unpack(&Sha256Digest::of(&bytes), &root, &bytes[..], &limits)?;
                }
                Ok(())
            };
            let cores = thread::available_parallelism()?.get();
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })
    };
    measure("into an empty store (hash, read strictly, unpack)", count, &|place| {
        unpack_all(&Store::new(place))
    })?;
    let store = Store::new(folder.join("store"));
    unpack_all(&store)?;
    let installer =
        Installer { store: &store, registry: &registry, limits: &limits, on_install: &on_install };
    for mode in [LinkMode::Dir, LinkMode::Hard, LinkMode::Copy] {
        measure(&format!("from the store into an empty project, `{}`", mode.as_str()), count, &|place| {
            let report =
                runtime.block_on(installer.install(&lock, Stock::take(&lock, &store), place, mode))?;
            anyhow::ensure!(report.linked.len() == count, "{report:?}");
            Ok(())
        })?;
    }
    let kept = folder.join("project");
    runtime.block_on(installer.install(&lock, Stock::take(&lock, &store), &kept, LinkMode::Dir))?;
    measure("again, with nothing to do", count, &|_| {
        let stock = Stock::take(&lock, &store);
        let report = runtime.block_on(installer.install(&lock, stock, &kept, LinkMode::Dir))?;
        anyhow::ensure!(report.unchanged == count, "{report:?}");
        Ok(())
    })?;
    for (what, option) in [("`cp -a` of the store", "-a"), ("`cp -al` of the store", "-al")] {
        measure(what, count, &|place| {
            let status = Command::new("cp").arg(option).arg(store.dir()).arg(place.join("copy")).status()?;
            anyhow::ensure!(status.success(), "cp: {status}");
            Ok(())
        })?;
    }
    report.table(
        "Unpacked packages from archives on disk, one version of each crate (medians of three runs)",
        &LOCAL_COLUMNS,
        &rows,
    )
}

/// A project has room for one version of a name.
fn one_version_each(archives: &[PathBuf]) -> anyhow::Result<Vec<(PackageName, Version, PathBuf)>> {
    let mut found = BTreeMap::new();
    for path in archives {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a name in UTF-8")?;
        // The version begins at the first digit after a hyphen that makes the rest a version.
        let split = stem.match_indices('-').find_map(|(at, _)| {
            Some((PackageName::new(&stem[..at]).ok()?, Version::new(&stem[at + 1..]).ok()?))
        });
        let (name, version) = split.with_context(|| format!("`{stem}` is `name-version`"))?;
        found.insert(name.canonical(), (name, version, path.clone()));
    }
    Ok(found.into_values().collect())
}

fn lock_of(archives: &[(PackageName, Version, PathBuf)]) -> anyhow::Result<Lock> {
    let mut packages = BTreeMap::new();
    for (name, version, path) in archives {
        let bytes = fs_err::read(path)?;
        let locked = LockedPackage {
            name: name.clone(),
            version: version.clone(),
            digest: Sha256Digest::of(&bytes),
            size: bytes.len() as u64,
            dependencies: Vec::new(),
        };
        packages.insert(name.canonical(), locked);
    }
    let root = drystone_log::Hash::digest(b"none");
    Ok(Lock {
        registry: "https://registry.example".into(),
        origin: "registry.example/log".into(),
        checkpoint: LockedCheckpoint { size: 1, root },
        packages,
    })
}

fn offline_registry(folder: &Path) -> anyhow::Result<ClientRegistry> {
    let effects = Effects::new(Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let http = Http::new(HttpOptions::new("bench"), effects);
    Ok(ClientRegistry::new("https://registry.example", http, &folder.join("cache"), Network::Offline, None)?)
}
