//! What a cold choice costs, counted in memory.

use drystone_tests::corpus::{
    Corpus,
    cold::{HintAge, cold},
};

pub(crate) const fn rounds_max(hints: HintAge) -> u32 {
    match hints {
        HintAge::Fresh => 2,
        HintAge::AsThePackage => 3,
        HintAge::Absent => 16,
    }
}

fn within(project: &str, bytes_max: usize) {
    let Some(corpus) = Corpus::open(project) else { return };
    let measured = cold(&corpus);
    for of in &measured {
        let rounds_max = rounds_max(of.hints);
        let (rounds, bytes) = (of.cost.rounds, of.bytes);
        assert!(rounds <= rounds_max && bytes <= bytes_max, "{project} {:?}: {rounds}, {bytes}", of.hints);
        assert!(
            of.solution.releases == measured[0].solution.releases,
            "{project}: hints change nothing but the way"
        );
    }
}

#[test]
fn the_web_project_is_resolved_cold_in_few_rounds() {
    within("web", 300_000);
}

#[test]
fn the_bevy_project_is_resolved_cold_in_few_rounds() {
    within("bevy", 600_000);
}
