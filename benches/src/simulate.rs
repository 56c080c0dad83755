//! The commit protocol at 1 to 10,000 changes a minute, over a store as far away and as uneven as object storage: in
//! virtual time, so that a busy machine changes nothing.
//!
//! Changes are yanks and unyanks: an archive would be inspected in real time, which does not mix. A publish puts its
//! archive and its record in the same round, so that rounds, batches and conflicts are the same. Who comes does not wait for
//! others (open loop); who is sent away comes back with the same id, as clients do.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use axum::{Router, body::Body, http::Request};
use drystone_publisher::{Options, Service, api_router};
use drystone_schemas::{Settings, layout};
use drystone_storage::{Clock, Counter, Op, Store};
use drystone_tests::{
    Pkg, TestEntropy, TestRegistry, VirtualClock, ask_router, in_virtual_time, publish_request,
};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::report::{Report, median, quantile, rounded, say};

/// 2025-10-09T09:09:59Z.
const START_UNIX_MS: u64 = 1_760_000_999_000;
/// Packages that take turns: no two changes of one are under way together.
const PACKAGES: usize = 2_048;
/// Changes a minute.
const RATES: [u32; 5] = [1, 10, 100, 1_000, 10_000];
/// How long changes come in, in milliseconds; at low rates, until there were [`CHANGES_MIN`].
const COME_MS: u64 = 60_000;
/// Changes of one measurement at least.
const CHANGES_MIN: u32 = 20;
/// How long one may take until it counts as failed, in milliseconds.
const PATIENCE_MS: u64 = 60_000;
/// How much longer than the median the slowest hundredth of all calls takes.
const P99_OF_P50: f64 = 6.0;

const COLUMNS: [&str; 11] = [
    "round_trip_ms",
    "publishers",
    "per_minute",
    "answered",
    "failed",
    "p50_ms",
    "p99_ms",
    "changes_per_commit",
    "lost_races",
    "puts",
    "gets",
];

#[derive(Serialize)]
struct Measured {
    /// Median of one storage call.
    round_trip_ms: u64,
    publishers: usize,
    per_minute: u32,
    answered: usize,
    /// Not answered in time, or not sent because no package was free.
    failed: usize,
    p50_ms: f64,
    p99_ms: f64,
    changes_per_commit: f64,
    /// Attempts to move head that were in vain, of all.
    lost_races: f64,
    puts: f64,
    gets: f64,
    sent_away: usize,
}

/// Measures every rate at two distances, with one publisher and with eight.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for round_trip_ms in [30, 150] {
        for publishers in [1, 8] {
            for per_minute in RATES {
                say(&format!("  {round_trip_ms} ms away, {publishers} publishers, {per_minute} a minute"));
                let row = in_virtual_time(START_UNIX_MS, async |clock| {
                    measure(clock, round_trip_ms, publishers, per_minute).await
                })?;
                report.measured("simulate", &row)?;
                rows.push(row);
            }
        }
    }
    report.table("Changes a minute over object storage (virtual time; calls per change)", &COLUMNS, &rows)
}

/// Numbers that look random, the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    /// Above 0 and below 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// How much longer than the median something takes: log-normal, by Box and Muller's way to normal numbers.
    fn stretch(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        (P99_OF_P50.ln() / 2.326 * normal).exp()
    }
}

/// A clock by which every wait is longer or shorter than was asked for: that of a store's distance.
struct Uneven {
    clock: Arc<dyn Clock>,
    dice: Mutex<Dice>,
}

#[async_trait]
impl Clock for Uneven {
    fn now_unix_ms(&self) -> u64 {
        self.clock.now_unix_ms()
    }

    async fn sleep(&self, duration: Duration) {
        let stretch = self.dice.lock().unwrap_or_else(PoisonError::into_inner).stretch();
        self.clock.sleep(duration.mul_f64(stretch)).await;
    }
}

/// What became of one change: how long it took, unless it failed, and how often it was sent away.
struct Outcome {
    package: usize,
    yanked: bool,
    took_ms: Option<u64>,
    sent_away: usize,
}

async fn measure(
    clock: Arc<VirtualClock>,
    round_trip_ms: u64,
    publishers: usize,
    per_minute: u32,
) -> anyhow::Result<Measured> {
    let clock: Arc<dyn Clock> = clock;
    let (store, counter) = (Store::memory(), Counter::new());
    let uneven: Arc<dyn Clock> = Arc::new(Uneven { clock: clock.clone(), dice: Mutex::new(Dice(1)) });
    let far = counter.wrap(&store.delayed(&uneven, Duration::from_millis(round_trip_ms)));
    let signer = TestRegistry::signer();
    let origin = signer.verifier().name().to_owned();
    let mut settings = Settings::new("bench", "http://registry.test");
    settings.limits.packages_per_account_max = 1_000_000;
    let entropy = Arc::new(TestEntropy::seeded(1));
    Service::initialise(&store, signer, &origin, &settings, clock.clone(), entropy).await?;
    // One that is near makes the packages.
    let (near, token) = open(store.clone(), &clock, &origin, 2).await?;
    for some in (0..PACKAGES).collect::<Vec<_>>().chunks(64) {
        let mut made = JoinSet::new();
        for package in some {
            let request = publish_request(&token, None, &Pkg::cargo(&name(*package), "1.0.0").archive());
            let near = near.clone();
            made.spawn(async move { ask_router(&near, request).await.status });
        }
        ensure!(made.join_all().await.into_iter().all(|status| status == 201), "a package is made");
    }
    let mut routers = Vec::with_capacity(publishers);
    for seed in 0..publishers {
        routers.push(open(far.clone(), &clock, &origin, 3 + seed as u64).await?.0);
    }
    let commits_before = commits(&store).await?;
    counter.reset();
    let outcomes = come(&clock, &routers, &token, per_minute).await?;
    let counts = counter.counts();
    let tried =
        counter.log().iter().filter(|call| call.op == Op::Replace && call.key == layout::HEAD).count();
    let commits = commits(&store).await? - commits_before;
    let took = || outcomes.iter().filter_map(|outcome| outcome.as_ref()?.took_ms).map(|ms| ms as f64);
    let answered = took().count();
    let each = |count: u64| rounded(count as f64 / answered.max(1) as f64);
    Ok(Measured {
        round_trip_ms,
        publishers,
        per_minute,
        answered,
        failed: outcomes.len() - answered,
        p50_ms: rounded(median(took()).unwrap_or_default()),
        p99_ms: rounded(quantile(took(), 0.99).unwrap_or_default()),
        changes_per_commit: rounded(answered as f64 / commits.max(1) as f64),
        lost_races: rounded(tried.saturating_sub(commits) as f64 / tried.max(1) as f64),
        puts: each(counts.puts),
        gets: each(counts.gets),
        sent_away: outcomes.iter().flatten().map(|outcome| outcome.sent_away).sum(),
    })
}

fn name(package: usize) -> String {
    format!("package-{package}")
}

async fn open(
    store: Store,
    clock: &Arc<dyn Clock>,
    origin: &str,
    seed: u64,
) -> anyhow::Result<(Router, String)> {
    let options = Options::new(PathBuf::from("nowhere"), 2);
    let entropy = Arc::new(TestEntropy::seeded(seed));
    let signer = TestRegistry::signer();
    let service = Service::open(store, signer, origin, clock.clone(), entropy, options).await?;
    let token = service.make_operator_token("bench").await?.token.reveal().to_owned();
    Ok((api_router(service, None), token))
}

/// Number of commits so far: each leaves a checkpoint.
async fn commits(store: &Store) -> anyhow::Result<usize> {
    let (mut commits, mut after) = (0, None);
    loop {
        let page = store.public.list("log/checkpoints/", after.as_deref()).await?;
        commits += page.keys.len();
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(commits),
        }
    }
}

/// Lets changes come at a rate; none stands for one that found no free package.
async fn come(
    clock: &Arc<dyn Clock>,
    routers: &[Router],
    token: &str,
    per_minute: u32,
) -> anyhow::Result<Vec<Option<Outcome>>> {
    let mut free: VecDeque<(usize, bool)> = (0..PACKAGES).map(|package| (package, false)).collect();
    let (mut dice, mut under_way, mut outcomes) = (Dice(2), JoinSet::new(), Vec::new());
    let gap_ms = 60_000.0 / f64::from(per_minute);
    let changes = per_minute.max(CHANGES_MIN);
    ensure!(f64::from(changes) * gap_ms >= COME_MS as f64, "they come for a minute at least");
    for number in 0..changes {
        clock.sleep(Duration::from_secs_f64(-dice.unit().ln() * gap_ms / 1000.0)).await;
        while let Some(outcome) = under_way.try_join_next() {
            let outcome: Outcome = outcome??;
            free.push_back((outcome.package, outcome.yanked));
            outcomes.push(Some(outcome));
        }
        let Some((package, yanked)) = free.pop_front() else {
            outcomes.push(None);
            continue;
        };
        let router = routers[number as usize % routers.len()].clone();
        under_way.spawn(change(clock.clone(), router, token.to_owned(), number, package, yanked));
    }
    while let Some(outcome) = under_way.join_next().await {
        outcomes.push(Some(outcome??));
    }
    Ok(outcomes)
}

/// Changes a package, and comes back with the same id as long as that makes sense.
async fn change(
    clock: Arc<dyn Clock>,
    router: Router,
    token: String,
    number: u32,
    package: usize,
    yanked: bool,
) -> anyhow::Result<Outcome> {
    let began_ms = clock.now_unix_ms();
    let what = if yanked { "unyank" } else { "yank" };
    let id = drystone_storage::new_ulid(&*clock, &TestEntropy::seeded(1_000 + u64::from(number)));
    let mut sent_away = 0;
    loop {
        let request = Request::post(format!("/api/v1/packages/{}/1.0.0/{what}", name(package)))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", &id)
            .body(Body::empty())?;
        let answer = ask_router(&router, request).await;
        let took_ms = clock.now_unix_ms() - began_ms;
        match answer.status {
            200 => return Ok(Outcome { package, yanked: !yanked, took_ms: Some(took_ms), sent_away }),
            503 if took_ms < PATIENCE_MS => {
                sent_away += 1;
                let seconds = answer.headers.get("retry-after").context("a 503 says when to come back")?;
                clock.sleep(Duration::from_secs(seconds.to_str()?.parse()?)).await;
            }
            // Whether it took place is not known: the package is out of the game by saying the same again.
            503 => return Ok(Outcome { package, yanked, took_ms: None, sent_away }),
            // What had been unknown had taken place.
            409 => return Ok(Outcome { package, yanked: !yanked, took_ms: None, sent_away }),
            status => anyhow::bail!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}
