//! Collectors of garbage beside publishers, clients and readers; and the time that passes meanwhile.
//!
//! The one assumption that collectors make of the store is here: a deletion that was begun arrives within half a lease.
//! So time passes only while none is under way; a scenario that breaks the assumption says so.

use std::{pin::pin, sync::Arc};

use drystone_index_builder::{GcAges, GcError, GcOptions, GcReport, Silent, gc};
use drystone_log::commit::{CommitError, LEASE_S};
use drystone_schemas::layout;
use futures_util::future::{Either, join_all, select};

use super::{
    area::store_of,
    base::Base,
    broken::Broken,
    calls::{Pid, Place, Verdict, fill},
    client::Client,
    clock::SimClock,
    fleet::{Fleet, entropy_of},
    random::chaos,
    reader,
    rng::Rng,
    run::{Report, World, run_scenario},
    scheduler::Sim,
};
use crate::TestRegistry;

/// For how long states are served, in seconds.
pub const HISTORY_S: u64 = 30 * 24 * 3_600;

/// A process that collects garbage once.
pub struct Collector {
    /// Its number.
    pub pid: Pid,
    sim: Arc<Sim>,
}

impl Collector {
    /// A collector that has not begun.
    pub fn new(sim: &Arc<Sim>) -> Self {
        Self { pid: sim.new_pid(), sim: sim.clone() }
    }

    /// Collects; none if it dies. What must never come of it becomes a violation.
    ///
    /// Objects are garbage however young they are: only the fence protects those who are about to name them.
    pub async fn run(&self) -> Option<Result<GcReport, GcError>> {
        let (sim, pid) = (&self.sim, self.pid);
        let store = store_of(sim, pid);
        let clock = SimClock { sim: sim.clone(), pid };
        let entropy = entropy_of(sim, pid);
        let ages = GcAges { history_s: HISTORY_S, unnamed_s: 0, ..GcAges::default() };
        let options = GcOptions { key: Some(TestRegistry::log_key()), apply: true, list: true, ages };
        let collected = gc(&store, &options, &clock, &entropy, &Silent);
        let collected = match select(pin!(collected), pin!(sim.death(pid))).await {
            Either::Left((collected, _)) => collected,
            Either::Right(_) => return None,
        };
        if let Err(error) = &collected
            && !may_fail(error)
        {
            sim.violation(format!("a collection failed: {error}"));
        }
        Some(collected)
    }

    /// Collects where nothing fails.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub async fn run_to_its_end(&self) -> GcReport {
        self.run().await.expect("it does not die").expect("nothing fails")
    }
}

/// What may come of a collection while calls fail and others work.
fn may_fail(error: &GcError) -> bool {
    match error {
        GcError::Store(_) | GcError::Contended | GcError::FenceLost => true,
        GcError::Commit(error) => matches!(
            error,
            CommitError::Store(_)
                | CommitError::OutcomeUnknown(_)
                | CommitError::CollectionUnderWay { .. }
                | CommitError::ClockWrong { .. }
        ),
        GcError::Published(error) => matches!(error, drystone_index_builder::PublishedError::Source(_)),
        GcError::Entries(error) => matches!(error, drystone_index_builder::EntriesError::Source(_)),
        _ => false,
    }
}

/// Where one of the two variants of a release's archive lies.
pub fn archive_key(name: &str, vers: &str, variant: u8) -> String {
    layout::object(&Base::get().archive(name, vers, variant).1)
}

impl World {
    /// Whether a public file is there.
    pub fn has(&self, key: &str) -> bool {
        self.sim.memory.bytes(Place::Public, key).is_some()
    }

    /// Time passes; whatever is being deleted goes before that.
    pub async fn pass_time(&self, seconds: u64) {
        while self.sim.is_deleting() {
            self.sim.turn("for deletions to arrive").await;
        }
        self.pass_time_at_once(seconds);
    }

    /// Time passes, and deletions that are under way stay under way: against what collectors assume.
    pub fn pass_time_at_once(&self, seconds: u64) {
        self.sim.pass_time(seconds * 1_000);
        self.sim.lock().oracle.removals.now_s = self.sim.now_ms() / 1_000;
    }

    /// From now on files may be removed that are needed, as long as they are back in the end.
    pub fn forgive_removals(&self) {
        self.sim.lock().oracle.removals.any_time = true;
    }

    /// What the registry starts from has become history, and every archive that may be published lies there already,
    /// from uploads that were given up.
    pub async fn grow_old(&self) {
        self.pass_time(HISTORY_S + 10 * 24 * 3_600).await;
        fill(&self.sim.memory.public, &Base::get().abandoned());
    }
}

/// One random run with collectors, all of whose choices follow from the seed.
pub fn run_collecting(seed: u64, broken: Broken, keep_trace: bool) -> Report {
    run_scenario(seed, broken, keep_trace, async |world| {
        let mut rng = Rng::seeded(!seed);
        world.grow_old().await;
        let fleet = Arc::new(Fleet::new(&world.sim, 2));
        world.sim.rule(chaos(&mut rng));
        let mut clients = Vec::new();
        for number in 1..=2 + rng.below(2) {
            let person = rng.below(3) as usize;
            let client = Client::new(&world.sim, &fleet, Rng::seeded(rng.next_u64()), number, person);
            clients.push(tokio::spawn(client.work(2 + rng.below(3))));
        }
        let reading = tokio::spawn(reader::read(world.sim.clone(), Rng::seeded(rng.next_u64()), 3));
        for _ in 0..1 + rng.below(2) {
            let collectors: Vec<_> = (0..1 + rng.below(2)).map(|_| Collector::new(&world.sim)).collect();
            let collected = join_all(collectors.iter().map(Collector::run)).await;
            world.count(collected);
            world.pass_time(LEASE_S).await;
        }
        for done in join_all(clients).await {
            world.leave_open(done.expect("a client does not panic"));
        }
        reading.await.expect("a reader does not panic");
        // What the dead have left is finished by a collector to whom nothing happens.
        world.sim.rule(|_, _| Verdict::Let(super::Fault::None));
        world.sim.drain().await;
        world.pass_time(LEASE_S).await;
        let last = Collector::new(&world.sim).run().await;
        if !matches!(last, Some(Ok(_))) {
            world.sim.violation(format!("a collection fails though nothing else does: {last:?}"));
        }
        world.count(vec![last]);
    })
}

impl World {
    fn count(&mut self, collected: Vec<Option<Result<GcReport, GcError>>>) {
        for report in collected.into_iter().flatten().flatten() {
            self.sim.count("collection");
            self.sim.lock().tally.add("removed file", report.total().count);
        }
    }
}
