//! The publish path under a scheduler: random runs, named scenarios, one publish with every fault, and protocols that
//! are broken on purpose.
//!
//! `DRYSTONE_SIM_SEEDS=N` explores N seeds instead of the default; `DRYSTONE_SIM_SEED=S` replays one and tells its calls.

#[path = "simulation/broken.rs"]
mod broken;
#[path = "simulation/collection.rs"]
mod collection;
#[path = "simulation/exhaustive.rs"]
mod exhaustive;
#[path = "simulation/scenarios.rs"]
mod scenarios;

use drystone_tests::sim::{Broken, Report, explore, run_random};

/// Seeds of one run of the tests: about a minute on two cores without optimisation.
const SEEDS: u64 = 1_500;

#[expect(clippy::disallowed_methods, reason = "how much to explore is told from outside")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Fails if the run has found something, and says how to see it again.
#[track_caller]
fn assert_held(report: &Report) {
    assert!(
        report.violations.is_empty(),
        "seed {seed}: {:#?}\nto replay: DRYSTONE_SIM_SEED={seed} cargo test -p drystone-tests --test simulation random",
        report.violations,
        seed = report.seed,
    );
}

#[test]
fn random_runs_keep_every_invariant() {
    if let Some(seed) = number("DRYSTONE_SIM_SEED") {
        let report = run_random(seed, Broken::Nothing, true);
        println!("{}\n{:?}", report.trace.join("\n"), report.tally);
        return assert_held(&report);
    }
    let seeds = number("DRYSTONE_SIM_SEEDS").unwrap_or(SEEDS);
    let (failed, tally) = explore(0..seeds, Broken::Nothing);
    if let Some(report) = failed {
        assert_held(&report);
    }
    println!("{tally:?}");
    // What never happens proves nothing.
    let rare = [tally.faults, tally.crashes, tally.late, tally.events, tally.refusals, tally.unknown];
    assert!(seeds < 100 || rare.iter().all(|count| *count > seeds / 10), "{tally:?}");
}

#[test]
fn a_seed_determines_its_run() {
    for seed in 0..25 {
        let (first, second) =
            (run_random(seed, Broken::Nothing, true), run_random(seed, Broken::Nothing, true));
        let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first.trace_hash, first.tally), (second.trace_hash, second.tally), "seed {seed}");
    }
}
