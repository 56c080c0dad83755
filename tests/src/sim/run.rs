//! Runs: a world from a seed, what happens in it, and what must hold when it has come to rest.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use drystone_index_builder::{AreaSource, FsckOptions, Silent, fsck, replay};
use drystone_schemas::layout;
use futures_util::future::{Either, join_all, select};

use super::{
    base::Base,
    calls::{Broken, Call, Fault, Pid, Place, Verdict},
    client::{Ask, Client, Counts, Open},
    fleet::{Fleet, Process, Reply},
    oracle::Meaning,
    reader,
    rng::Rng,
    scheduler::Sim,
};
use crate::TestRegistry;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was not as it must be, in the order in which it was found.
    pub violations: Vec<String>,
    /// A hash over every call, its fault and its answer.
    pub trace_hash: u64,
    /// What happened.
    pub tally: Tally,
    /// Every call, if it was asked for.
    pub trace: Vec<String>,
}

/// Counts over one run or many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Calls that were let through.
    pub calls: u64,
    /// Calls that were made to fail.
    pub faults: u64,
    /// Processes that died.
    pub crashes: u64,
    /// Writes that arrived when nobody waited for them.
    pub late: u64,
    /// Events that were committed.
    pub events: u64,
    /// Answers of success.
    pub successes: u64,
    /// Answers of refusal.
    pub refusals: u64,
    /// Requests without an answer, or with one that leaves the outcome open.
    pub unknown: u64,
    /// Collections of garbage that came to their end.
    pub collections: u64,
    /// Files that they removed.
    pub removed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.calls += other.calls;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.late += other.late;
        self.events += other.events;
        self.successes += other.successes;
        self.refusals += other.refusals;
        self.unknown += other.unknown;
        self.collections += other.collections;
        self.removed += other.removed;
    }
}

/// Faults and delays as a seed wills; no process outside the run's own is harmed.
pub(super) fn chaos(rng: &mut Rng) -> impl FnMut(&Call<'_>, &mut Rng) -> Verdict + Send + 'static {
    let faults = *rng.pick(&[0, 400, 100, 25]);
    let crashes = *rng.pick(&[0, 400, 150, 60]);
    let stalls = *rng.pick(&[0, 60, 20]);
    let mut crashes_left = 3;
    let mut stalled: BTreeMap<Pid, u64> = BTreeMap::new();
    move |call, rng| {
        if call.pid == 0 {
            return Verdict::Let(Fault::None);
        }
        if stalled.get(&call.pid).is_some_and(|until| call.step < *until) {
            return Verdict::Wait;
        }
        if rng.once_in(stalls) {
            stalled.insert(call.pid, call.step + 5 + rng.below(300));
            return Verdict::Wait;
        }
        if crashes_left > 0 && rng.once_in(crashes) {
            crashes_left -= 1;
            return Verdict::Let(*rng.pick(&[Fault::CrashBefore, Fault::CrashAfter]));
        }
        if call.op.is_some() && rng.once_in(faults) {
            let kinds = [Fault::Failed, Fault::NotDone, Fault::DoneButUnknown, Fault::DoneLater];
            return Verdict::Let(*rng.pick(&kinds));
        }
        Verdict::Let(Fault::None)
    }
}

/// One random run: publishers, clients and readers, all of whose choices follow from the seed.
pub fn run_random(seed: u64, broken: Broken, keep_trace: bool) -> Report {
    run_scenario(seed, broken, keep_trace, async |world| {
        let mut rng = Rng::seeded(!seed);
        let fleet = Arc::new(Fleet::new(&world.sim, 2 + rng.below(3) as usize));
        world.sim.rule(chaos(&mut rng));
        let mut clients = Vec::new();
        for number in 1..=2 + rng.below(3) {
            let client = Client {
                sim: world.sim.clone(),
                fleet: fleet.clone(),
                rng: Rng::seeded(rng.next_u64()),
                number,
                person: rng.below(3) as usize,
                counts: Counts::default(),
            };
            clients.push(tokio::spawn(client.work(2 + rng.below(4))));
        }
        let reading = tokio::spawn(reader::read(world.sim.clone(), Rng::seeded(rng.next_u64()), 3));
        for done in join_all(clients).await {
            let (counts, open) = done.expect("a client does not panic");
            world.add(counts);
            world.open.extend(open);
        }
        reading.await.expect("a reader does not panic");
    })
}

/// What a scenario has to work with.
pub struct World {
    /// The world.
    pub sim: Arc<Sim>,
    pub(super) open: Vec<Open>,
    pub(super) tally: Tally,
    next_number: u64,
}

impl World {
    pub(super) fn add(&mut self, counts: Counts) {
        self.tally.successes += counts.successes;
        self.tally.refusals += counts.refusals;
        self.tally.unknown += counts.unknown;
    }

    fn client(&mut self) -> Client {
        self.next_number += 1;
        Client {
            sim: self.sim.clone(),
            fleet: Arc::new(Fleet::new(&self.sim, 1)),
            rng: Rng::seeded(self.next_number),
            number: self.next_number,
            person: 0,
            counts: Counts::default(),
        }
    }

    /// A new process.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn process(&self) -> Arc<Process> {
        Process::start(&self.sim).await.expect("a process starts where nothing fails")
    }

    /// The kinds of the events that were committed so far, in order.
    pub fn kinds(&self) -> Vec<String> {
        self.sim.lock().oracle.kinds(Base::get().oracle.size())
    }

    /// Puts an older or newer head in the place of the one there, behind everybody's back; answers with the latter.
    pub async fn restore_head(&self, bytes: Option<Bytes>) -> Bytes {
        let vault = &self.sim.memory.vault;
        let there = self.sim.memory.bytes(Place::Vault, layout::HEAD).expect("there is a head");
        if let Some(bytes) = bytes {
            crate::checks::overwrite(vault, layout::HEAD, Some(&bytes)).await;
        }
        there
    }

    /// A request of the first account, with an id of its own.
    pub fn request(&mut self, ask: Ask) -> Request {
        let client = self.client();
        Request { open: client.open(ask), client: Arc::new(client) }
    }

    /// Everything comes to rest, a process without faults finishes what is left, and then every invariant must hold.
    async fn finish(&mut self) {
        let sim = self.sim.clone();
        sim.rule(|_, _| Verdict::Let(Fault::None));
        sim.drain().await;
        let Some(clean) = Process::start(&sim).await else {
            return sim.violation("a process without faults does not start");
        };
        let client = self.client();
        for open in std::mem::take(&mut self.open) {
            if client.try_once(&clean, &open, false).await == Meaning::Unknown {
                sim.violation(format!("{:?} has no outcome though nothing fails", open.ask));
            }
        }
        // The log goes on.
        let last = client.open(Ask::Configure { variant: 2 });
        if client.try_once(&clean, &last, false).await == Meaning::Unknown {
            sim.violation("the log does not go on");
        }
        sim.drain().await;
        sim.rest();
        sim.lock().oracle.at_rest();
        self.tally.events = sim.lock().oracle.size() - Base::get().oracle.size();
        self.check_files().await;
    }

    /// Fsck, and a replay that must see what was committed.
    async fn check_files(&self) {
        let sim = &self.sim;
        let public: Arc<dyn drystone_storage::Area> = Arc::new(sim.memory.public.clone());
        let source = AreaSource::new(public);
        let options = FsckOptions { key: Some(TestRegistry::log_key()), deep: true };
        let report = fsck(&source, Some(Arc::new(sim.memory.vault.clone())), &options, &Silent).await;
        for problem in &report.problems {
            sim.violation(format!("fsck: {problem}"));
        }
        let mut lines = Vec::new();
        let replayed = replay(&source, Some(&TestRegistry::log_key()), &Silent, &mut |step| {
            lines.push(step.line.to_vec());
        })
        .await;
        if let Err(error) = replayed {
            sim.violation(format!("the log cannot be replayed: {error}"));
        } else if lines != sim.lock().oracle.lines {
            sim.violation("the published log is not what was committed");
        }
    }
}

/// A request that can be made again and again under its id.
#[derive(Clone)]
pub struct Request {
    open: Open,
    client: Arc<Client>,
}

impl Request {
    /// Asks a process, and expects nothing of what it says.
    pub async fn ask_freely(&self, process: &Process) -> Option<Reply> {
        self.client.send(process, &self.open, false).await
    }

    /// Asks a process; `true` for success, `false` for a refusal, none if the outcome is not known.
    pub async fn ask(&self, process: &Process) -> Option<bool> {
        match self.client.try_once(process, &self.open, false).await {
            Meaning::Success => Some(true),
            Meaning::Refusal => Some(false),
            Meaning::Unknown => None,
        }
    }
}

/// Runs a scenario under the scheduler, brings the world to rest, and checks it.
pub fn run_scenario(
    seed: u64,
    broken: Broken,
    keep_trace: bool,
    scenario: impl AsyncFnOnce(&mut World),
) -> Report {
    let base = Base::get();
    let sim = Sim::new(seed, base.memory(), base.oracle.clone(), base.now_ms, broken);
    if keep_trace {
        sim.lock().trace = Some(Vec::new());
    }
    let idle = sim.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .on_thread_park(move || idle.idle())
        .build()
        .expect("a runtime can be made");
    let mut world = World { sim: sim.clone(), open: Vec::new(), tally: Tally::default(), next_number: 100 };
    runtime.block_on(async {
        let whole = Box::pin(async {
            scenario(&mut world).await;
            world.finish().await;
        });
        // A world that is broken may stand still; nothing more is to be learnt from it.
        if let Either::Right(_) = select(whole, Box::pin(sim.broken())).await {
            sim.rest();
        }
    });
    sim.rest();
    drop(runtime);
    let trace_hash = sim.trace_hash();
    let mut state = sim.lock();
    let happened = state.happened;
    let tally = Tally {
        runs: 1,
        calls: happened.steps,
        faults: happened.faults,
        crashes: happened.crashes,
        late: happened.late,
        ..world.tally
    };
    let trace = state.trace.take().unwrap_or_default();
    Report { seed, violations: state.oracle.violations().to_vec(), trace_hash, tally, trace }
}

/// Runs seeds on every core until one finds a violation; answers with the first such run, and what happened in all.
pub fn explore(seeds: std::ops::Range<u64>, broken: Broken) -> (Option<Report>, Tally) {
    explore_by(seeds, |seed| run_random(seed, broken, false))
}

/// The same for any kind of run.
pub fn explore_by(
    seeds: std::ops::Range<u64>,
    run: impl Fn(u64) -> Report + Sync,
) -> (Option<Report>, Tally) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failed = std::sync::atomic::AtomicBool::new(false);
    let results: Vec<(Option<Report>, Tally)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|core| {
                let (seeds, failed, run) = (seeds.clone(), &failed, &run);
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    for seed in seeds.skip(core as usize).step_by(cores as usize) {
                        if failed.load(std::sync::atomic::Ordering::Relaxed) {
                            break;
                        }
                        let report = run(seed);
                        tally += report.tally;
                        if !report.violations.is_empty() {
                            failed.store(true, std::sync::atomic::Ordering::Relaxed);
                            return (Some(report), tally);
                        }
                    }
                    (None, tally)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a run does not panic")).collect()
    });
    let mut tally = Tally::default();
    results.iter().for_each(|(_, t)| tally += *t);
    let first = results.into_iter().filter_map(|(report, _)| report).min_by_key(|report| report.seed);
    (first, tally)
}
