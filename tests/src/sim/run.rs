//! Runs: a world from a seed, what happens in it, and what must hold when it has come to rest.

use std::sync::Arc;

use bytes::Bytes;
use drystone_index_builder::{AreaSource, FsckOptions, Silent, fsck, replay};
use drystone_schemas::layout;
use futures_util::future::{Either, select};

use super::{
    base::Base,
    broken::Broken,
    calls::{Fault, Memory, Place, Verdict},
    client::{Ask, Client, Open},
    fleet::{Fleet, Process, Reply},
    oracle::{Meaning, Oracle},
    rng::Rng,
    scheduler::Sim,
    tally::Tally,
};
use crate::{TestRegistry, checks};

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was not as it must be, in the order in which it was found.
    pub violations: Vec<String>,
    /// What happened.
    pub tally: Tally,
    /// Every call, if it was asked for.
    pub trace: Vec<String>,
}

/// What a scenario has to work with.
pub struct World {
    /// The world.
    pub sim: Arc<Sim>,
    open: Vec<Open>,
    next_number: u64,
    /// Number of events from which it starts.
    first: u64,
    abandoned: bool,
}

impl World {
    /// Requests that stay open until nothing fails any more.
    pub(super) fn leave_open(&mut self, open: Vec<Open>) {
        self.open.extend(open);
    }

    fn client(&mut self) -> Client {
        self.next_number += 1;
        let fleet = Arc::new(Fleet::new(&self.sim, 1));
        Client::new(&self.sim, &fleet, Rng::seeded(self.next_number), self.next_number, 0)
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
        self.sim.lock().oracle.kinds(self.first)
    }

    /// Number of events that were published.
    pub fn published(&self) -> u64 {
        self.sim.lock().oracle.published()
    }

    /// Puts an older or newer head in the place of the one there, behind everybody's back; answers with the latter.
    pub async fn restore_head(&self, bytes: Option<Bytes>) -> Bytes {
        let there = self.sim.memory.bytes(Place::Vault, layout::HEAD).expect("there is a head");
        if let Some(bytes) = bytes {
            self.overwrite(Place::Vault, layout::HEAD, Some(&bytes)).await;
        }
        there
    }

    /// Puts something else in the place of a file, or nothing, behind everybody's back.
    pub async fn overwrite(&self, place: Place, key: &str, bytes: Option<&[u8]>) {
        checks::overwrite(self.sim.memory.area(place), key, bytes).await;
    }

    /// Every file that is stored.
    pub async fn files(&self) -> Vec<(Place, String, Vec<u8>)> {
        let mut files = Vec::new();
        for place in [Place::Public, Place::Vault] {
            let there = checks::contents(self.sim.memory.area(place)).await;
            files.extend(there.into_iter().map(|(key, bytes)| (place, key, bytes)));
        }
        files
    }

    /// The registry is beyond repair: only what happened to it until now counts.
    pub fn abandon(&mut self) {
        self.abandoned = true;
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
        sim.set_clocks_right();
        sim.drain().await;
        if self.abandoned {
            return;
        }
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
        // What a replay adds to a deep check is another way through the same files: now and then is enough.
        if !sim.seed.is_multiple_of(8) {
            return;
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

/// Runs a scenario in a registry with some packages, brings the world to rest, and checks it.
pub fn run_scenario(
    seed: u64,
    broken: Broken,
    keep_trace: bool,
    scenario: impl AsyncFnOnce(&mut World),
) -> Report {
    let base = Base::get();
    let sim = Sim::new(seed, base.memory(), base.oracle.clone(), base.now_ms, broken);
    run(&sim, keep_trace, scenario)
}

/// The same in a store where there is nothing yet.
pub fn run_from_nothing(seed: u64, broken: Broken, scenario: impl AsyncFnOnce(&mut World)) -> Report {
    let oracle = Oracle::new(TestRegistry::log_key());
    run(&Sim::new(seed, Memory::default(), oracle, Base::get().now_ms, broken), false, scenario)
}

fn run(sim: &Arc<Sim>, keep_trace: bool, scenario: impl AsyncFnOnce(&mut World)) -> Report {
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
    let first = sim.lock().oracle.size();
    let pulse = sim.clone();
    runtime.spawn(async move { pulse.pulse().await });
    let mut world = World { sim: sim.clone(), open: Vec::new(), next_number: 100, first, abandoned: false };
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
    let mut state = sim.lock();
    state.tally.count("run");
    let events = state.oracle.size() - first;
    state.tally.add("event", events);
    Report {
        seed: sim.seed,
        violations: state.oracle.violations().to_vec(),
        tally: std::mem::take(&mut state.tally),
        trace: state.trace.take().unwrap_or_default(),
    }
}
