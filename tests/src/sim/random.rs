//! Random runs: how large, who takes part, what goes wrong; and many of them on every core.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::future::join_all;

use super::{
    broken::Broken,
    builder::build,
    calls::{Call, Fault, Pid, Verdict},
    client::Client,
    clock::turn_clocks,
    fleet::Fleet,
    reader,
    rng::Rng,
    run::{Report, run_scenario},
    tally::Tally,
};

/// How much happens in a run. Most are small: many small schedules find more than few large ones.
struct Size {
    processes: u64,
    clients: u64,
    asks: u64,
    reads: u64,
    builds: u64,
    turns_of_clocks: u64,
    /// One of these says how many calls come to a fault, to a crash, to a stall; 0 is never.
    faults: &'static [u64],
    crashes: &'static [u64],
    stalls: &'static [u64],
    stall_max: u64,
}

impl Size {
    fn of(seed: u64, rng: &mut Rng) -> Self {
        if seed.is_multiple_of(32) {
            return Self::large(rng);
        }
        Self {
            processes: 2 + rng.below(8) / 7,
            clients: 2,
            asks: 1 + rng.below(4) / 3,
            reads: rng.below(4) / 3,
            builds: rng.below(24) / 23,
            turns_of_clocks: rng.below(3),
            faults: &[0, 200, 40, 12],
            crashes: &[0, 150, 50, 20],
            stalls: &[0, 40, 12],
            stall_max: 120,
        }
    }

    fn large(rng: &mut Rng) -> Self {
        Self {
            processes: 2 + rng.below(3),
            clients: 2 + rng.below(3),
            asks: 5,
            reads: 3,
            builds: 2,
            turns_of_clocks: 4,
            faults: &[0, 400, 100, 25],
            crashes: &[0, 400, 150, 60],
            stalls: &[0, 60, 20],
            stall_max: 300,
        }
    }

    /// Faults and delays as a seed wills; nothing outside the run's own processes is harmed.
    fn chaos(&self, rng: &mut Rng) -> impl FnMut(&Call<'_>, &mut Rng) -> Verdict + Send + use<> {
        let (faults, crashes) = (*rng.pick(self.faults), *rng.pick(self.crashes));
        let (stalls, stall_max) = (*rng.pick(self.stalls), self.stall_max);
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
                stalled.insert(call.pid, call.step + 5 + rng.below(stall_max));
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
}

/// What goes wrong in a large run.
pub(super) fn chaos(rng: &mut Rng) -> impl FnMut(&Call<'_>, &mut Rng) -> Verdict + Send + use<> {
    Size::large(rng).chaos(rng)
}

/// One random run: publishers, clients, readers, a builder and clocks, all of whose choices follow from the seed.
pub fn run_random(seed: u64, broken: Broken, keep_trace: bool) -> Report {
    run_scenario(seed, broken, keep_trace, async |world| {
        let mut rng = Rng::seeded(!seed);
        let size = Size::of(seed, &mut rng);
        world.sim.count(if seed.is_multiple_of(32) { "large run" } else { "small run" });
        let fleet = Arc::new(Fleet::new(&world.sim, size.processes as usize));
        world.sim.rule(size.chaos(&mut rng));
        let mut clients = Vec::new();
        for number in 1..=size.clients {
            let person = rng.below(3) as usize;
            let client = Client::new(&world.sim, &fleet, Rng::seeded(rng.next_u64()), number, person);
            clients.push(tokio::spawn(client.work(1 + rng.below(size.asks))));
        }
        let beside = [
            tokio::spawn(reader::read(world.sim.clone(), Rng::seeded(rng.next_u64()), size.reads)),
            tokio::spawn(turn_clocks(world.sim.clone(), Rng::seeded(rng.next_u64()), size.turns_of_clocks)),
            // A builder reports what is not as it must be, and where a protocol is broken that is not news.
            tokio::spawn(build(
                world.sim.clone(),
                Rng::seeded(rng.next_u64()),
                if broken == Broken::Nothing { size.builds } else { 0 },
            )),
        ];
        for done in join_all(clients).await {
            world.leave_open(done.expect("a client does not panic"));
        }
        for done in join_all(beside).await {
            done.expect("nobody panics");
        }
    })
}

/// Runs seeds on every core until one finds a violation; answers with the first such run, and what happened in all.
pub fn explore(seeds: Range<u64>, broken: Broken) -> (Option<Report>, Tally) {
    explore_by(seeds, |seed| run_random(seed, broken, false))
}

/// The same for any kind of run.
pub fn explore_by(seeds: Range<u64>, run: impl Fn(u64) -> Report + Sync) -> (Option<Report>, Tally) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let worker = || {
        let mut tally = Tally::default();
        while !failed.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            let report = run(seed);
            tally += &report.tally;
            if !report.violations.is_empty() {
                failed.store(true, Relaxed);
                return (Some(report), tally);
            }
        }
        (None, tally)
    };
    let results: Vec<(Option<Report>, Tally)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a run does not panic")).collect()
    });
    let mut tally = Tally::default();
    results.iter().for_each(|(_, counts)| tally += counts);
    let first = results.into_iter().filter_map(|(report, _)| report).min_by_key(|report| report.seed);
    (first, tally)
}
