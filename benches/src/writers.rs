//! Many writers: publishes a second, latency, commits and storage calls, from one writer to 64, in one publisher and in
//! eight that share nothing but the store.
//!
//! The store is memory or a directory at a distance of some milliseconds, a directory as it is, and an S3 server if one
//! is named by `AWS_ENDPOINT_URL_S3` and the feature `s3` is on. Everything acknowledged is read back, and every file of the registry checked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use axum::Router;
use drystone_publisher::{Options, Service, api_router};
use drystone_schemas::{IndexFile, PackageName, Settings, Sha256Digest, layout};
use drystone_storage::{
    Clock, Counter, Counts, Entropy, FsArea, Key, Store, Syncs, SystemClock, SystemEntropy,
};
use drystone_tests::{Pkg, TestRegistry, ask_router, checks::fsck_store, publish_request};
use serde::Serialize;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    clock::Moment,
    machine,
    report::{Report, median, ms, quantile, rounded, say},
};

/// How often everything is measured; tables show medians.
const RUNS: usize = 3;
/// Publishes that one measurement needs at least, and those of one writer at most.
const PUBLISHES: (usize, usize) = (128, 16);
/// Publishers and writers in each of them.
const SHAPES: [(usize, usize); 5] = [(1, 1), (1, 8), (1, 64), (8, 1), (8, 8)];

const COLUMNS: [&str; 14] = [
    "store",
    "publishers",
    "writers",
    "per_s",
    "p50_ms",
    "p99_ms",
    "publishes_per_commit",
    "puts",
    "gets",
    "lists",
    "journal_syncs",
    "other_syncs",
    "sent_away",
    "lost",
];

/// Where a registry lies.
#[derive(Clone, Copy)]
enum Place {
    Memory { round_trip_ms: u64 },
    Directory { round_trip_ms: u64 },
    Bucket,
}

impl Place {
    fn name(self) -> String {
        match self {
            Self::Memory { round_trip_ms } => format!("memory, {round_trip_ms} ms away"),
            Self::Directory { round_trip_ms: 0 } => "directory".into(),
            Self::Directory { round_trip_ms } => format!("directory, {round_trip_ms} ms away"),
            Self::Bucket => "S3 server".into(),
        }
    }
}

/// One measurement; storage calls and syncs are those of one publish on average.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    store: String,
    publishers: usize,
    writers: usize,
    publishes: usize,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    publishes_per_commit: f64,
    puts: f64,
    gets: f64,
    lists: f64,
    deletes: f64,
    journal_syncs: f64,
    other_syncs: f64,
    /// Answers of 503, after which the writer came back with the same id.
    sent_away: usize,
    /// Acknowledged versions that could not be read back, and problems that fsck found.
    lost: usize,
    load: f64,
}

/// Measures every shape on every store; the S3 server, if there is one, with fewer publishes.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let places = [
        Place::Memory { round_trip_ms: 20 },
        Place::Memory { round_trip_ms: 50 },
        Place::Directory { round_trip_ms: 0 },
        Place::Directory { round_trip_ms: 20 },
        Place::Bucket,
    ];
    let mut rows = Vec::new();
    for place in places {
        if matches!(place, Place::Bucket) && !has_bucket() {
            say(
                "  no S3 server is named by `AWS_ENDPOINT_URL_S3`, or the feature `s3` is off: it is left out",
            );
            continue;
        }
        for (publishers, writers) in SHAPES {
            let mut runs = Vec::with_capacity(RUNS);
            for run in 1..=RUNS {
                say(&format!("  {}, {publishers} x {writers} writers, run {run} of {RUNS}", place.name()));
                let runtime = tokio::runtime::Runtime::new()?;
                let measured = runtime.block_on(measure(place, publishers, writers))?;
                report.measured("writers", &measured)?;
                runs.push(measured);
            }
            rows.push(middle(&runs).context("something was measured")?);
        }
    }
    report.table("Many writers (medians of three runs; calls and syncs per publish)", &COLUMNS, &rows)
}

/// The run with the median rate, with the worst of what must be zero.
fn middle(runs: &[Measured]) -> Option<Measured> {
    let per_s = median(runs.iter().map(|run| run.per_s))?;
    let run = runs.iter().find(|run| run.per_s.total_cmp(&per_s).is_eq())?;
    let worst = |number: fn(&Measured) -> usize| runs.iter().map(number).max().unwrap_or_default();
    Some(Measured { sent_away: worst(|run| run.sent_away), lost: worst(|run| run.lost), ..run.clone() })
}

/// A registry with its publishers.
struct Fleet {
    /// The store itself, without distance.
    store: Store,
    areas: Vec<FsArea>,
    counter: Counter,
    publishers: Vec<Router>,
    token: String,
    _folder: TempDir,
}

impl Fleet {
    async fn open(place: Place, publishers: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let bucket = format!("s3://drystone/bench-{}", folder.path().display().to_string().replace('/', "-"));
        let memory = Store::memory();
        let mut areas = Vec::new();
        let mut open = async || -> anyhow::Result<Store> {
            Ok(match place {
                Place::Memory { .. } => memory.clone(),
                Place::Directory { .. } => {
                    let (public, vault) = FsArea::open_store(folder.path())?;
                    areas.push(public.clone());
                    Store { public: Arc::new(public), vault: Arc::new(vault) }
                }
                Place::Bucket => open_bucket(&bucket).await?,
            })
        };
        let store = open().await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
        let (signer, counter) = (TestRegistry::signer(), Counter::new());
        let origin = signer.verifier().name().to_owned();
        let mut settings = Settings::new("bench", "http://registry.test");
        settings.limits.packages_per_account_max = 1_000_000;
        Service::initialise(&store, signer, &origin, &settings, clock.clone(), entropy.clone()).await?;
        let (mut routers, mut token) = (Vec::with_capacity(publishers), String::new());
        for _ in 0..publishers {
            let seen = counter.wrap(&open().await?);
            let seen = match place {
                Place::Memory { round_trip_ms } | Place::Directory { round_trip_ms } if round_trip_ms > 0 => {
                    seen.delayed(&clock, Duration::from_millis(round_trip_ms))
                }
                _ => seen,
            };
            let options = Options::new(folder.path().to_owned(), 2);
            let (clock, entropy) = (clock.clone(), entropy.clone());
            let service =
                Service::open(seen, TestRegistry::signer(), &*origin, clock, entropy, options).await?;
            token = service.make_operator_token("bench").await?.token.reveal().to_owned();
            routers.push(api_router(service, None));
        }
        Ok(Self { store, areas, counter, publishers: routers, token, _folder: folder })
    }

    fn syncs(&self) -> Syncs {
        self.areas.iter().map(FsArea::syncs).fold(Syncs::default(), |sum, one| Syncs {
            journal: sum.journal + one.journal,
            files: sum.files + one.files,
            directories: sum.directories + one.directories,
            file_systems: sum.file_systems + one.file_systems,
        })
    }

    async fn commits(&self) -> anyhow::Result<usize> {
        let (mut commits, mut after) = (0, None);
        loop {
            let page = self.store.public.list("log/checkpoints/", after.as_deref()).await?;
            commits += page.keys.len();
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(commits),
            }
        }
    }

    /// How many of these versions cannot be read back, with the problems that fsck finds.
    async fn lost(&self, acknowledged: &[Pkg]) -> anyhow::Result<usize> {
        let read = async |key: String| {
            self.store.public.get(&Key::new(key)?, u64::MAX).await.map_err(anyhow::Error::from)
        };
        let mut indexes: BTreeMap<&str, IndexFile> = BTreeMap::new();
        let mut lost = 0;
        for package in acknowledged {
            if !indexes.contains_key(&*package.name) {
                let bytes = read(layout::index_file(&PackageName::new(&*package.name)?)).await?;
                indexes.insert(&package.name, IndexFile::parse(&bytes.unwrap_or_default())?);
            }
            let archive = package.archive();
            let digest = Sha256Digest::of(&archive);
            let listed = indexes[&*package.name]
                .lines
                .iter()
                .any(|line| line.vers.to_string() == package.vers && line.cksum == digest.hex());
            let stored = read(layout::object(&digest)).await?.is_some_and(|bytes| bytes == archive);
            lost += usize::from(!listed || !stored);
        }
        let report = fsck_store(&self.store).await;
        report.problems.iter().for_each(|problem| say(&format!("  {problem}")));
        Ok(lost + report.problems.len())
    }
}

#[expect(clippy::disallowed_methods, reason = "where the S3 server is comes from outside")]
fn has_bucket() -> bool {
    cfg!(feature = "s3") && std::env::var_os("AWS_ENDPOINT_URL_S3").is_some()
}

#[cfg(feature = "s3")]
async fn open_bucket(url: &str) -> anyhow::Result<Store> {
    Ok(drystone_storage_s3::S3Area::connect_store(drystone_storage_s3::S3Settings::from_url(url)?).await)
}

#[cfg(not(feature = "s3"))]
async fn open_bucket(url: &str) -> anyhow::Result<Store> {
    anyhow::bail!("`{url}` needs the feature `s3`")
}

/// What one writer has done.
struct Written {
    latencies: Vec<f64>,
    sent_away: usize,
    acknowledged: Vec<Pkg>,
}

/// Publishes one version after the other; comes back when it is told to.
async fn write(router: Router, token: String, packages: Vec<Pkg>) -> anyhow::Result<Written> {
    let (clock, entropy) = (SystemClock, SystemEntropy::new());
    let mut written = Written { latencies: Vec::new(), sent_away: 0, acknowledged: Vec::new() };
    for package in packages {
        let archive = package.archive();
        let id = drystone_storage::new_ulid(&clock, &entropy);
        let began = Moment::now();
        loop {
            let mut request = publish_request(&token, None, &archive);
            request.headers_mut().insert("idempotency-key", id.parse()?);
            let answer = ask_router(&router, request).await;
            if answer.status == 201 {
                break;
            }
            ensure!(answer.status == 503, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            written.sent_away += 1;
            let seconds = answer.headers.get("retry-after").context("a 503 says when to come back")?;
            clock.sleep(Duration::from_secs(seconds.to_str()?.parse()?)).await;
        }
        written.latencies.push(ms(began.elapsed()));
        written.acknowledged.push(package);
    }
    Ok(written)
}

/// Syncs of everything but the journal.
fn others(syncs: Syncs) -> u64 {
    syncs.files + syncs.directories + syncs.file_systems
}

async fn measure(place: Place, publishers: usize, writers: usize) -> anyhow::Result<Measured> {
    let load_before = machine::load()?;
    let fleet = Fleet::open(place, publishers).await?;
    let all = publishers * writers;
    let (publishes_min, of_one_max) = PUBLISHES;
    let versions = (publishes_min / all).clamp(3, of_one_max);
    let package =
        |writer: usize, version: usize| Pkg::cargo(&format!("writer-{writer}"), &format!("1.{version}.0"));
    // The first version makes the package; what is measured are publishes into packages that exist.
    let tasks = async |versions: std::ops::Range<usize>| -> anyhow::Result<Vec<Written>> {
        let mut tasks = JoinSet::new();
        for writer in 0..all {
            let packages = versions.clone().map(|version| package(writer, version)).collect();
            tasks.spawn(write(fleet.publishers[writer % publishers].clone(), fleet.token.clone(), packages));
        }
        tasks.join_all().await.into_iter().collect()
    };
    let mut written = tasks(0..1).await?;
    let (commits_before, syncs_before) = (fleet.commits().await?, fleet.syncs());
    fleet.counter.reset();
    let start = Moment::now();
    let measured = tasks(1..1 + versions).await?;
    let total = start.elapsed();
    let Counts { gets, puts, deletes, lists, .. } = fleet.counter.counts();
    let (commits, syncs) = (fleet.commits().await? - commits_before, fleet.syncs());
    let latencies: Vec<f64> = measured.iter().flat_map(|written| written.latencies.iter().copied()).collect();
    written.extend(measured);
    let acknowledged: Vec<Pkg> = written.iter().flat_map(|written| written.acknowledged.clone()).collect();
    let publishes = latencies.len();
    let each = |count: u64| rounded(count as f64 / publishes as f64);
    Ok(Measured {
        store: place.name(),
        publishers,
        writers: all,
        publishes,
        per_s: rounded(publishes as f64 / total.as_secs_f64()),
        p50_ms: rounded(median(latencies.iter().copied()).unwrap_or_default()),
        p99_ms: rounded(quantile(latencies.iter().copied(), 0.99).unwrap_or_default()),
        publishes_per_commit: rounded(publishes as f64 / commits as f64),
        puts: each(puts),
        gets: each(gets),
        lists: each(lists),
        deletes: each(deletes),
        journal_syncs: each(syncs.journal - syncs_before.journal),
        other_syncs: each(others(syncs) - others(syncs_before)),
        sent_away: written.iter().map(|written| written.sent_away).sum(),
        lost: fleet.lost(&acknowledged).await?,
        load: rounded(f64::midpoint(load_before, machine::load()?)),
    })
}
