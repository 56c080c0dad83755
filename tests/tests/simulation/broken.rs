//! Protocols that are broken on purpose: what a guard relies on is taken away, and the simulation must notice.

use drystone_tests::sim::{Broken, explore};

/// Seeds within which each of them must be found out.
const SEEDS_MAX: u64 = 3_000;
/// Seeds in which a guard that others back up is shown to be backed up.
const SEEDS_OF_BACKED_UP: u64 = 200;

/// Every guard of the protocol, in the order of its steps, but those that `defences` takes away: what they guard against
/// is rare in small runs, or needs other hands.
const BREAKS: [Broken; 25] = [
    Broken::ObjectsNotKept,
    Broken::ObjectsLate,
    Broken::NodesNotKept,
    Broken::NodesLate,
    Broken::StagingNotKept,
    Broken::StagingLate,
    Broken::NothingToHelp,
    Broken::StoreTimeHidden,
    Broken::HeadTimeHidden,
    Broken::TokensCached,
    Broken::TokensNotDeleted,
    Broken::HeadWithoutCondition,
    Broken::HeadNotReplaced,
    Broken::UnknownCleansUp,
    Broken::TilesNotKept,
    Broken::TilesLate,
    Broken::OutcomesNotKept,
    Broken::OutcomesLate,
    Broken::FilesNotReplaced,
    Broken::FilesLate,
    Broken::FilesWithoutCondition,
    Broken::PositionsHidden,
    Broken::CheckpointWithoutCondition,
    Broken::CheckpointNotReplaced,
    Broken::CheckpointOld,
];

#[test]
fn a_protocol_without_one_of_its_guards_is_found_out() {
    let mut missed = Vec::new();
    for broken in BREAKS {
        let (found, tally) = explore(0..SEEDS_MAX, broken);
        match found {
            Some(report) => {
                println!(
                    "{broken:?}: seed {}, {} runs: {}",
                    report.seed,
                    tally.of("run"),
                    report.violations[0]
                );
            }
            None => missed.push(broken),
        }
    }
    assert!(missed.is_empty(), "not found out in {SEEDS_MAX} runs: {missed:?}");
}

/// To take an unknown outcome for a lost race would be harmless, and so would be to believe a conflict after it: the
/// next round helps, finds the outcome under the intent's id, and nothing that was staged has been deleted.
#[test]
fn an_unknown_outcome_that_is_taken_for_a_lost_race_does_no_harm() {
    let (found, tally) = explore(0..SEEDS_OF_BACKED_UP, Broken::UnknownTakenForLost);
    assert!(found.is_none(), "{found:?}");
    assert!(tally.of("unknown and done") + tally.of("unknown and done later") > 0, "{tally:?}");
}
