//! Garbage collection beside everything else: the scenarios in which a model of the protocol once failed, a collector that
//! dies at each of its steps, random runs, and a fence from which one guard at a time is taken away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use drystone_index_builder::{GcClass, GcError};
use drystone_log::commit::{CommitError, LEASE_S};
use drystone_storage::Op;
use drystone_tests::sim::{
    Ask, Broken, Call, Collector, Fault, Pid, Report, Verdict, World, archive_key, explore_by,
    run_collecting, run_scenario,
};

use super::{assert_held, number};

/// Seeds of one run of the tests.
const SEEDS: u64 = 250;
/// A run with collectors takes as long as so many others.
const OTHERS: u64 = 20;
/// Seeds within which every broken protocol must be found out.
const BROKEN_SEEDS_MAX: u64 = 200;

const PUBLISH: Ask = Ask::Publish { name: "http", vers: "1.1.0", variant: 0 };

fn archive() -> String {
    archive_key("http", "1.1.0", 0)
}

fn run(scenario: impl AsyncFnOnce(&mut World)) {
    assert_held(&run_scenario(0, Broken::Nothing, false, scenario));
}

/// Calls of a process that wait until they are released.
struct Held {
    reached: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
}

impl Held {
    /// Holds back what this process does to keys like these; nothing else fails.
    fn back(world: &World, pid: Pid, is: impl Fn(&Call<'_>) -> bool + Send + 'static) -> Self {
        let held = Self { reached: Arc::default(), released: Arc::default() };
        let (reached, released) = (held.reached.clone(), held.released.clone());
        world.sim.rule(move |call, _| {
            let waits = call.pid == pid && !released.load(SeqCst) && is(call);
            reached.fetch_or(waits, SeqCst);
            if waits { Verdict::Wait } else { Verdict::Let(Fault::None) }
        });
        held
    }

    async fn reached(&self, world: &World) {
        while !self.reached.load(SeqCst) {
            world.sim.turn("for the stall").await;
        }
    }

    fn release(&self) {
        self.released.store(true, SeqCst);
    }
}

fn is(call: &Call<'_>, op: Op, prefix: &str) -> bool {
    call.op == Some(op) && call.key.starts_with(prefix)
}

/// A writer sleeps after it has put its objects, while they are collected; it puts them again before it commits.
#[test]
fn garbage_collection_against_stalled_writers() {
    let stalls = [(Op::PutNew, "log/state/"), (Op::PutNew, "staging/"), (Op::Replace, "head")];
    for (op, prefix) in stalls {
        run(async |world| {
            world.grow_old().await;
            let writer = world.process().await;
            let put = Arc::new(AtomicBool::new(false));
            let (was_put, key) = (put.clone(), archive());
            let held = Held::back(world, writer.pid, move |call| {
                was_put.fetch_or(is(call, Op::PutNew, &key), SeqCst);
                is(call, op, prefix)
            });
            let request = world.request(PUBLISH);
            let publish = tokio::spawn(async move { request.ask(&writer).await });
            held.reached(world).await;
            // The archive goes out beside what is held back.
            while !put.load(SeqCst) {
                world.sim.turn("for the archive").await;
            }
            let report = Collector::new(&world.sim).run_to_its_end().await;
            assert!(report.classes.contains_key(&GcClass::Objects) && !world.has(&archive()), "{prefix}");
            held.release();
            assert_eq!(publish.await.expect("it does not panic"), Some(true), "{prefix}");
            assert!(world.has(&archive()), "{prefix}");
        });
    }
}

/// An object that nobody named is uploaded again while it is being collected: not now, says the registry, and then yes.
#[test]
fn garbage_collection_against_re_used_objects() {
    for prefix in ["trash/", "o/", "head"] {
        run(async |world| {
            world.grow_old().await;
            let (writer, collector) = (world.process().await, Collector::new(&world.sim));
            let fenced = AtomicU64::new(0);
            let held = Held::back(world, collector.pid, move |call| match prefix {
                // Copying, deleting, and lowering the fence, which is the second replacement of head.
                "trash/" => is(call, Op::PutNew, prefix),
                "o/" => is(call, Op::Delete, prefix),
                _ => is(call, Op::Replace, prefix) && fenced.fetch_add(1, SeqCst) > 0,
            });
            let collected = tokio::spawn(async move { collector.run().await });
            held.reached(world).await;
            let request = world.request(PUBLISH);
            assert_eq!(request.ask(&writer).await, None, "{prefix}");
            // What is not being collected can be published all the same, and the fence is copied through.
            let yank = world.request(Ask::Yank { name: "http", vers: "1.0.0" });
            assert_eq!(yank.ask(&writer).await, Some(true), "{prefix}");
            held.release();
            let report = collected.await.expect("it does not panic").expect("it lives").expect("it ends");
            // The refused upload may have left it there again; it was collected all the same.
            assert!(report.keys.contains(&(GcClass::Objects, archive())), "{prefix}");
            assert_eq!(request.ask(&writer).await, Some(true), "{prefix}");
            assert!(world.has(&archive()), "{prefix}");
        });
    }
}

/// What becomes needed between the marking and the fence is not collected.
#[test]
fn a_commit_between_marking_and_fence() {
    run(async |world| {
        world.grow_old().await;
        let (writer, collector) = (world.process().await, Collector::new(&world.sim));
        let held = Held::back(world, collector.pid, |call| is(call, Op::Replace, "head"));
        let collected = tokio::spawn(async move { collector.run().await });
        held.reached(world).await;
        assert_eq!(world.request(PUBLISH).ask(&writer).await, Some(true));
        held.release();
        let report = collected.await.expect("it does not panic").expect("it lives").expect("it ends");
        assert!(report.classes.contains_key(&GcClass::Objects));
        assert!(!report.keys.iter().any(|(_, key)| *key == archive()) && world.has(&archive()));
    });
}

/// A helper has read head; others move it on, and what it named is collected. The helper looks again.
#[test]
fn a_helper_whose_staging_object_is_collected() {
    run(async |world| {
        world.grow_old().await;
        let (first, helper, other) = (world.process().await, world.process().await, world.process().await);
        let pid = first.pid;
        world.sim.rule(move |call, _| {
            let dies = call.pid == pid && is(call, Op::Replace, "head");
            Verdict::Let(if dies { Fault::CrashAfter } else { Fault::None })
        });
        let yank = world.request(Ask::Yank { name: "http", vers: "1.0.0" });
        assert_eq!(yank.ask(&first).await, None);
        let held = Held::back(world, helper.pid, |call| is(call, Op::Get, "staging/"));
        let request = world.request(Ask::AliasSet { name: "http", alias: "h" });
        let alias = tokio::spawn(async move { request.ask(&helper).await });
        held.reached(world).await;
        assert_eq!(world.request(Ask::Unyank { name: "http", vers: "1.0.0" }).ask(&other).await, Some(true));
        let report = Collector::new(&world.sim).run_to_its_end().await;
        assert!(report.classes.contains_key(&GcClass::Staging));
        held.release();
        assert_eq!(alias.await.expect("it does not panic"), Some(true));
        assert_eq!(world.kinds(), ["yank", "unyank", "alias-set"]);
    });
}

/// A process sleeps for longer than outcomes are kept. It must not do again what another has done under the same id.
#[test]
fn a_process_that_sleeps_longer_than_outcomes_are_kept() {
    run(async |world| {
        let (sleeper, other) = (world.process().await, world.process().await);
        let held = Held::back(world, sleeper.pid, |call| is(call, Op::Read, "head"));
        let yank = world.request(Ask::Yank { name: "http", vers: "1.0.0" });
        let again = yank.clone();
        let slept = tokio::spawn(async move { again.ask_freely(&sleeper).await });
        held.reached(world).await;
        assert_eq!(yank.ask(&other).await, Some(true));
        assert_eq!(world.request(Ask::Unyank { name: "http", vers: "1.0.0" }).ask(&other).await, Some(true));
        world.pass_time(10 * 24 * 3_600).await;
        let report = Collector::new(&world.sim).run_to_its_end().await;
        assert!(report.classes.contains_key(&GcClass::Outcomes));
        held.release();
        let reply = slept.await.expect("it does not panic").expect("it answers");
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status == 400 && body.contains("invalid-intent-id"), "{} {body}", reply.status);
        assert_eq!(world.kinds(), ["yank", "unyank"]);
    });
}

/// Two collectors at once: one of them has the fence, and both leave what is needed.
#[test]
fn two_collectors_at_once() {
    let mut refused = 0;
    for seed in 0..20 {
        let report = run_scenario(seed, Broken::Nothing, false, async |world| {
            world.grow_old().await;
            let writer = world.process().await;
            let request = world.request(PUBLISH);
            let publish = tokio::spawn(async move { request.ask(&writer).await });
            let collectors = [Collector::new(&world.sim), Collector::new(&world.sim)];
            let running = collectors.map(|collector| tokio::spawn(async move { collector.run().await }));
            for running in running {
                match running.await.expect("it does not panic").expect("it lives") {
                    Ok(_) => {}
                    Err(GcError::Commit(CommitError::CollectionUnderWay { .. })) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            // It may have met the fence, and must be told so; nothing else may come of it.
            assert_ne!(publish.await.expect("it does not panic"), Some(false));
            assert!(!world.has(&archive_key("json", "2.0.0", 1)));
        });
        assert_held(&report);
    }
    assert!(refused > 0, "they never met");
}

/// A collector dies at one of its calls; another takes over when the lease is over, not before.
fn dying(failing: u64, fault: Fault) -> (Report, u64) {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let report = run_scenario(failing, Broken::Nothing, false, async move |world| {
        world.grow_old().await;
        let (writer, dying) = (world.process().await, Collector::new(&world.sim));
        let pid = dying.pid;
        world.sim.rule(move |call, _| {
            let hit = call.pid == pid && counter.fetch_add(1, SeqCst) == failing;
            Verdict::Let(if hit { fault } else { Fault::None })
        });
        let died = dying.run().await.is_none();
        let request = world.request(PUBLISH);
        let answered = request.ask(&writer).await;
        assert_ne!(answered, Some(false), "nothing speaks against it");
        if answered.is_none() {
            let early = Collector::new(&world.sim).run().await.expect("it lives");
            assert!(
                matches!(early, Err(GcError::Commit(CommitError::CollectionUnderWay { .. }))) && died,
                "{early:?}"
            );
        }
        world.pass_time(LEASE_S).await;
        Collector::new(&world.sim).run_to_its_end().await;
        assert_eq!(request.ask(&writer).await, Some(true));
        assert!(world.has(&archive()) && !world.has(&archive_key("json", "2.0.0", 1)));
        // Nothing is left to do but what has just become garbage.
        let again = Collector::new(&world.sim).run_to_its_end().await;
        assert!(again.put_back.is_empty() && !again.classes.contains_key(&GcClass::Objects), "{again:?}");
    });
    (report, calls.load(SeqCst))
}

#[test]
fn a_collector_dies_at_every_step() {
    let mut cases = 0;
    for failing in 0.. {
        let fault = if failing % 2 == 0 { Fault::CrashAfter } else { Fault::CrashBefore };
        let (report, calls) = dying(failing, fault);
        assert!(report.violations.is_empty(), "{fault:?} at call {failing}: {:#?}", report.violations);
        cases += 1;
        if calls <= failing {
            break;
        }
    }
    println!("{cases} steps");
    assert!(cases > 150, "{cases}");
}

/// A deletion that arrives hours after its collector's lease takes an object away that has been published meanwhile.
/// No store can be kept from that; the next collection puts the object back.
fn late_deletion(broken: Broken) -> Report {
    run_scenario(0, broken, false, async |world| {
        world.grow_old().await;
        let (writer, slow) = (world.process().await, Collector::new(&world.sim));
        let key = archive();
        let held = Held::back(world, slow.pid, move |call| is(call, Op::Delete, &key));
        let collected = tokio::spawn(async move { slow.run().await });
        held.reached(world).await;
        world.pass_time_at_once(LEASE_S);
        Collector::new(&world.sim).run_to_its_end().await;
        assert_eq!(world.request(PUBLISH).ask(&writer).await, Some(true));
        assert!(world.has(&archive()));
        world.forgive_removals();
        held.release();
        // It has lost the fence; what it removes of the others is none of its business any more.
        drop(collected.await.expect("it does not panic"));
        assert!(!world.has(&archive()));
        let report = Collector::new(&world.sim).run_to_its_end().await;
        assert!(broken != Broken::Nothing || report.put_back == [archive()], "{report:?}");
    })
}

#[test]
fn a_deletion_that_arrives_hours_late_is_put_right() {
    assert_held(&late_deletion(Broken::Nothing));
}

#[test]
fn without_putting_back_a_late_deletion_is_for_ever() {
    let report = late_deletion(Broken::TrashNotListed);
    let expected = format!("fsck: {}: missing", archive());
    assert!(report.violations.iter().any(|what| what.starts_with(&expected)), "{:?}", report.violations);
}

#[test]
fn random_runs_with_collectors_keep_every_invariant() {
    if let Some(seed) = number("DRYSTONE_SIM_SEED") {
        let report = run_collecting(seed, Broken::Nothing, true);
        println!("{}\n{:?}", report.trace.join("\n"), report.tally);
        return assert_held(&report);
    }
    let seeds = number("DRYSTONE_SIM_SEEDS").map_or(SEEDS, |seeds| seeds / OTHERS);
    let (failed, tally) = explore_by(0..seeds, |seed| run_collecting(seed, Broken::Nothing, false));
    if let Some(report) = failed {
        assert_held(&report);
    }
    println!("{tally:#?}");
    let rare = ["unknown and done", "crash", "late write", "event", "unknown outcome", "collection"];
    assert!(seeds < 100 || rare.iter().all(|what| tally.of(what) > seeds / 10), "{tally:?}");
    assert!(tally.of("removed file") > 20 * tally.of("run"), "{tally:?}");
}

#[test]
fn a_fence_without_one_of_its_guards_is_found_out() {
    for broken in [Broken::ObjectsNotPutAgain, Broken::DoomedNotShown, Broken::TrashNotKept] {
        let (found, tally) = explore_by(0..BROKEN_SEEDS_MAX, |seed| run_collecting(seed, broken, false));
        let report =
            found.unwrap_or_else(|| panic!("{broken:?} was not found out in {BROKEN_SEEDS_MAX} runs"));
        println!("{broken:?}: seed {} of {} runs: {}", report.seed, tally.of("run"), report.violations[0]);
    }
}
