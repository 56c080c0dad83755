//! A builder beside the publishers: replays, checks and rebuilds the published log while it grows.

use std::{pin::pin, sync::Arc};

use drystone_index_builder::{
    AreaSource, EntriesError, FsckOptions, FsckProblem, ObjectError, ProblemKind, PublishedError,
    RebuildError, RebuildOptions, ReplayError, Silent, fsck, rebuild, replay,
};
use futures_util::future::select;

use super::{area::store_of, rng::Rng, scheduler::Sim};
use crate::TestRegistry;

/// Works a few times, each time as a new process; what must not be becomes a violation.
pub(super) async fn build(sim: Arc<Sim>, mut rng: Rng, times: u64) {
    for _ in 0..times {
        sim.turn("to build").await;
        let pid = sim.new_pid();
        let what = rng.below(3);
        select(pin!(work(&sim, pid, what)), pin!(sim.death(pid))).await;
    }
}

async fn work(sim: &Arc<Sim>, pid: u32, what: u64) {
    let store = store_of(sim, pid);
    let source = AreaSource::new(store.public.clone());
    let key = TestRegistry::log_key();
    let before = sim.lock().oracle.published();
    match what {
        0 => match replay(&source, Some(&key), &Silent, &mut |_| {}).await {
            Ok(replay) => {
                let size = replay.published.checkpoint.size();
                if size < before {
                    sim.violation(format!("a replay ends at {size} events, {before} had been published"));
                }
                sim.count("replay");
            }
            Err(error) if is_unreadable(&error) => sim.count("builder without its store"),
            Err(error) => sim.violation(format!("a replay beside publishers: {error}")),
        },
        1 => {
            let options = RebuildOptions { key: Some(key), dry_run: false };
            match rebuild(&store, &options, &Silent).await {
                Ok(report) => {
                    // What is published has been applied, and nothing is left to rebuild; only the history goes out beside
                    // the checkpoint, and is missing if its writer died then.
                    let applied = |key: &&String| !key.starts_with("log/checkpoints/");
                    if let Some(key) = report.written.iter().find(applied) {
                        sim.violation(format!("a rebuild beside publishers had to write `{key}`"));
                    }
                    sim.count("rebuild");
                }
                Err(RebuildError::Store(_)) => sim.count("builder without its store"),
                Err(RebuildError::Replay(error)) if is_unreadable(&error) => {
                    sim.count("builder without its store");
                }
                Err(error) => sim.violation(format!("a rebuild beside publishers: {error}")),
            }
        }
        _ => {
            let options = FsckOptions { key: Some(key), deep: false };
            let report = fsck(&source, Some(store.vault.clone()), &options, &Silent).await;
            // A store that fails hides things.
            let blind = report.problems.iter().any(|problem| problem.kind == ProblemKind::Unreadable);
            // The history goes out beside the checkpoint, as said above.
            let excused = |problem: &&FsckProblem| match problem.kind {
                // A file may be ahead of the head that was read: commits go on meanwhile. At rest it may not be.
                ProblemKind::Unreadable | ProblemKind::Unchecked | ProblemKind::Ahead => true,
                _ => problem.key.starts_with("log/checkpoints/"),
            };
            let bad = report.problems.iter().find(|problem| !excused(problem));
            if let Some(problem) = bad {
                sim.violation(format!("fsck beside publishers: {problem}"));
            }
            sim.count(if blind { "builder without its store" } else { "fsck" });
        }
    }
}

/// The store failed, which says nothing about the log.
fn is_unreadable(error: &ReplayError) -> bool {
    matches!(
        error,
        ReplayError::Published(PublishedError::Source(_))
            | ReplayError::Entries(EntriesError::Source(_))
            | ReplayError::Object { error: ObjectError::Source(_), .. }
    )
}
