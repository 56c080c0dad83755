//! Protocols that are broken on purpose: what a guard relies on is taken away, and the simulation must notice.

use drystone_tests::sim::{Broken, explore};

/// Seeds within which every one of them must be found out.
const SEEDS_MAX: u64 = 200;

/// Everything that can be taken away from outside, and what is then found first or soon.
const BREAKS: [Broken; 11] = [
    Broken::HeadWithoutCondition,
    Broken::FilesWithoutCondition,
    Broken::CheckpointWithoutCondition,
    Broken::OutcomesNotKept,
    Broken::ObjectsNotKept,
    Broken::StagingNotKept,
    Broken::TilesNotKept,
    Broken::HeadNotReplaced,
    Broken::FenceNotDone,
    Broken::TokensNotDeleted,
    Broken::FilesNotReplaced,
];

#[test]
fn a_protocol_without_one_of_its_guards_is_found_out() {
    for broken in BREAKS {
        let (found, tally) = explore(0..SEEDS_MAX, broken);
        let report = found.unwrap_or_else(|| panic!("{broken:?} was not found out in {SEEDS_MAX} runs"));
        println!("{broken:?}: seed {} of {} runs: {}", report.seed, tally.runs, report.violations[0]);
    }
}
