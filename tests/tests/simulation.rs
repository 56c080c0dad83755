//! The publish path under a scheduler: random runs, named scenarios, one publish with every fault, and protocols that
//! are broken on purpose.
//!
//! `DRYSTONE_SIM_SEEDS=N` explores N seeds instead of the default; `DRYSTONE_SIM_SEED=S` replays one and tells its calls.

#[path = "simulation/broken.rs"]
mod broken;
#[path = "simulation/collection.rs"]
mod collection;
#[path = "simulation/defences.rs"]
mod defences;
#[path = "simulation/exhaustive.rs"]
mod exhaustive;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/unsigned.rs"]
mod unsigned;

use drystone_tests::sim::{Broken, Report, explore, run_random};

/// Seeds of one run of the tests as they are built for development; `tests/run` explores 100,000 in a faster build.
const SEEDS: u64 = 1_000;
/// What must happen in that many seeds, and how often at least: what never happens proves nothing.
const MUST_HAPPEN: [(&str, u64); 22] = [
    ("large run", 20),
    ("event", 1_000),
    ("success", 1_000),
    ("refusal", 200),
    ("unknown outcome", 200),
    ("no answer", 100),
    ("delay", 5_000),
    ("failed", 100),
    ("unknown and not done", 100),
    ("unknown and done", 100),
    ("unknown and done later", 100),
    ("conflict after own success", 10),
    ("crash before a call", 50),
    ("crash after a call", 50),
    ("late write", 100),
    ("time passes", 50),
    ("clock jumps within bounds", 100),
    ("clock jumps beyond bounds", 50),
    ("verified read", 100),
    ("replay", 5),
    ("rebuild", 5),
    ("fsck", 5),
];

#[expect(clippy::disallowed_methods, reason = "how much to explore is told from outside")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Fails if the run has found something, and says how to see it again.
#[track_caller]
fn assert_held(report: &Report) {
    assert!(
        report.violations.is_empty(),
        "seed {seed}: {:#?}\nto replay: DRYSTONE_SIM_SEED={seed} cargo test -p drystone-tests --test simulation random_runs -- --nocapture",
        report.violations,
        seed = report.seed,
    );
}

/// A scope that somebody else took meanwhile; a package that appeared between the look at head and the look at its files.
#[test]
fn runs_that_once_failed_hold() {
    for seed in [2_208, 45_141] {
        assert_held(&run_random(seed, Broken::Nothing, false));
    }
}

#[test]
fn random_runs_keep_every_invariant() {
    if let Some(seed) = number("DRYSTONE_SIM_SEED") {
        let report = run_random(seed, Broken::Nothing, true);
        println!("{}\n{:#?}", report.trace.join("\n"), report.tally);
        return assert_held(&report);
    }
    let seeds = number("DRYSTONE_SIM_SEEDS").unwrap_or(SEEDS);
    let (failed, tally) = explore(0..seeds, Broken::Nothing);
    if let Some(report) = failed {
        assert_held(&report);
    }
    println!("{tally:#?}");
    for (what, at_least) in MUST_HAPPEN {
        let expected = at_least * (seeds / SEEDS);
        assert!(tally.of(what) >= expected, "{what}: {} times, less than {expected}", tally.of(what));
    }
}

#[test]
fn a_seed_determines_its_run() {
    for seed in 0..40 {
        let (first, second) =
            (run_random(seed, Broken::Nothing, true), run_random(seed, Broken::Nothing, true));
        let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first.trace.len(), first.tally), (second.trace.len(), second.tally), "seed {seed}");
    }
}
