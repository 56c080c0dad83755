//! Many real processes on one store, many writers, and somebody who kills processes as `kill -9` does.
//!
//! Owns: the course of a run, and its report. Its submodules own the parts: `fleet` the processes, `writer` who asks for
//! changes, `progress` what they count, `reading` what the registry shows afterwards, `audit` the verdict (pure). Does not own: when a run is
//! made; `tests/tests/chaos.rs` makes small ones, the program `chaos` large ones.
//!
//! The promise under test: what was acknowledged is there with its bytes, every id is at most once in the log, and
//! what was not acknowledged is there whole or not at all.

mod audit;
mod fleet;
mod progress;
mod reading;
mod s3;
mod setup;
mod writer;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use drystone_storage::{Clock, SystemClock};
use serde::Serialize;
use tokio::time::timeout;

use crate::sim::Rng;
use fleet::Fleet;
use progress::Progress;
use setup::Registry;
use writer::Writer;

pub use s3::S3Server;

/// A run that acknowledges nothing for so long has come to a stop, which is a failure of its own.
const STALL: Duration = Duration::from_secs(180);
/// Longest wait between the moment at which a kill is due and the kill, so that it strikes at any step of a publish.
const AIM_MS: u64 = 60;
/// One kill in this many takes every process at once, so that nobody is left to help.
const MASSACRE_ONE_IN: u64 = 10;
/// One kill in this many is followed by another while the process starts again.
const RELAPSE_ONE_IN: u64 = 4;
/// Longest time after which a starting process is killed.
const RELAPSE_MS: u64 = 120;

/// What to do to which registry.
pub struct Plan {
    /// Where the registry is made.
    pub store: Place,
    /// Where the programs are; beside this one if absent.
    pub programs: Option<PathBuf>,
    /// The run ends when this many publishes are acknowledged.
    pub publishes: u64,
    /// Kills of processes, spread over the run.
    pub kills: u64,
    /// Kills of the S3 server, spread over the run; none on a directory.
    pub store_kills: u64,
    /// Processes on the store: `drystone-publisher` and `drystone serve` in turn.
    pub processes: usize,
    /// Writers, each with one request at a time.
    pub writers: usize,
    /// What decides the course of the run, as far as the machine lets it.
    pub seed: u64,
}

/// Where a registry is made.
pub enum Place {
    /// In a directory that is empty or missing.
    Directory(PathBuf),
    /// In a bucket of an S3 server.
    Bucket {
        /// `s3://bucket/prefix`, where nothing is.
        url: String,
        /// The `AWS_*` variables of the server.
        environment: Vec<(String, String)>,
        /// The server itself, if it may be killed.
        server: Option<S3Server>,
    },
}

/// What became of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run's seed.
    pub seed: u64,
    /// Where the registry was.
    pub store: String,
    /// Processes on it.
    pub processes: usize,
    /// Writers.
    pub writers: usize,
    /// Publishes that were answered with success.
    pub acknowledged_publishes: u64,
    /// Yanks and unyanks that were answered with success.
    pub acknowledged_toggles: u64,
    /// Changes whose writer gave up without knowing their outcome.
    pub in_doubt: u64,
    /// Of those, how many are in the log.
    pub in_doubt_in_log: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Times that the S3 server was killed.
    pub store_kills: u64,
    /// Requests that were sent again under their id.
    pub repeats: u64,
    /// Answers that left the outcome open, by code; `connection` where there was no answer.
    pub open_answers: BTreeMap<String, u64>,
    /// Events in the log.
    pub events: u64,
    /// Acknowledged changes that are not there, or not with their bytes.
    pub lost: u64,
    /// Ids that are in the log more than once.
    pub doubled: u64,
    /// Changes of which only a part is there.
    pub half: u64,
    /// Whether `drystone fsck --deep` found nothing.
    pub fsck_clean: bool,
    /// Files that `drystone rebuild --dry-run` would change: what a replay of the log says otherwise.
    pub rebuild_changes: u64,
    /// Length of the part with writers, in seconds.
    pub seconds: f64,
    /// Everything that must not be.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether the promise was kept.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Makes a registry, puts it through the run, and looks at what is left. `told` hears of progress.
///
/// # Panics
///
/// If the registry cannot be made, or read at the end.
pub async fn run(plan: Plan, told: impl Fn(u64, u64)) -> Report {
    let mut plan = plan;
    let clock = SystemClock;
    let registry = Arc::new(Registry::make(&plan).await);
    let progress = Arc::new(Progress::new(plan.publishes));
    let fleet = Fleet::start(&registry, &progress, plan.processes);
    let before_ms = clock.now_unix_ms();
    let writers: Vec<_> = (0..plan.writers)
        .map(|number| {
            let writer = Writer::new(number, plan.seed, &registry.token, fleet.addresses(), progress.clone());
            tokio::spawn(writer.run())
        })
        .collect();
    stir(&mut plan, &fleet, &progress, &told).await;
    let mut asked = Vec::new();
    for writer in writers {
        asked.extend(writer.await.expect("a writer reports violations and does not panic"));
    }
    let seconds = (clock.now_unix_ms() - before_ms) as f64 / 1000.0;
    let kills = fleet.stop().await;

    let shown = reading::read(&registry, &asked).await;
    let mut verdict = audit::audit(&asked, &shown);
    let fsck = registry.tool(&["fsck", "--deep", "--json"]).await;
    let rebuild = registry.tool(&["rebuild", "--dry-run", "--json"]).await;
    let fsck_clean = fsck["clean"] == true && fsck["size"] == shown.events.len();
    if !fsck_clean {
        verdict.violations.push(format!("fsck: {fsck}"));
    }
    let rebuild_changes = rebuild["written"].as_array().map_or(u64::MAX, |written| written.len() as u64);
    if rebuild_changes > 0 {
        verdict.violations.push(format!("rebuild: {rebuild}"));
    }
    let counts = progress.counts();
    verdict.violations.extend(counts.violations);
    Report {
        seed: plan.seed,
        store: registry.target.clone(),
        processes: plan.processes,
        writers: plan.writers,
        acknowledged_publishes: verdict.acknowledged_publishes,
        acknowledged_toggles: verdict.acknowledged_toggles,
        in_doubt: verdict.in_doubt,
        in_doubt_in_log: verdict.in_doubt_in_log,
        kills,
        store_kills: counts.store_kills,
        repeats: counts.repeats,
        open_answers: counts.open_answers,
        events: shown.events.len() as u64,
        lost: verdict.lost,
        doubled: verdict.doubled,
        half: verdict.half,
        fsck_clean,
        rebuild_changes,
        seconds,
        violations: verdict.violations,
    }
}

/// Kills what there is to kill, each at its share of the run, and ends when the writers have what they want.
async fn stir(plan: &mut Plan, fleet: &Fleet, progress: &Progress, told: &impl Fn(u64, u64)) {
    let mut rng = Rng::seeded(plan.seed);
    let mut stirred = 0;
    let mut store_killed = 0;
    loop {
        let acknowledged = progress.acknowledged();
        told(acknowledged, stirred);
        if progress.is_over() {
            return;
        }
        // The last kill is due before the last publish.
        let due = |done: u64, all: u64| done < all && acknowledged * (all + 1) >= plan.publishes * (done + 1);
        if due(stirred, plan.kills) {
            pause(rng.below(AIM_MS)).await;
            stirred += strike(fleet, &mut rng, plan.kills - stirred).await;
        } else if due(store_killed, plan.store_kills) {
            let Place::Bucket { server: Some(server), .. } = &mut plan.store else {
                progress.violation("the plan has a store to kill, and no such store".into());
                return;
            };
            pause(rng.below(AIM_MS)).await;
            let before = progress.open_answers();
            server.kill();
            let noticed = async {
                while progress.open_answers() == before {
                    progress.changed().await;
                }
            };
            if timeout(STALL, noticed).await.is_err() {
                progress.violation("nobody noticed that the S3 server was dead".into());
            }
            tokio::task::block_in_place(|| server.start_again());
            store_killed += 1;
            progress.store_killed();
        } else if timeout(STALL, progress.changed()).await.is_err() {
            progress.give_up(format!("nothing was acknowledged for {} s", STALL.as_secs()));
        }
    }
}

/// Kills one process, or all, or one twice; at most `most` kills. Returns how many.
async fn strike(fleet: &Fleet, rng: &mut Rng, most: u64) -> u64 {
    let all = fleet.len();
    if most >= all && rng.once_in(MASSACRE_ONE_IN) {
        (0..all).for_each(|number| fleet.kill(number as usize));
        return all;
    }
    let number = rng.below(all) as usize;
    fleet.kill(number);
    if most >= 2 && rng.once_in(RELAPSE_ONE_IN) {
        pause(rng.below(RELAPSE_MS)).await;
        fleet.kill(number);
        return 2;
    }
    1
}

async fn pause(ms: u64) {
    SystemClock.sleep(Duration::from_millis(ms)).await;
}
