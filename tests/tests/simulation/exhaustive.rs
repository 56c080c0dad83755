//! One commit of each kind, every one of whose calls fails in every way, and one or two processes that finish it at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use drystone_tests::sim::{
    Ask, Broken, Fault, Order, Process, Report, Sim, Verdict, World, run_from_nothing, run_scenario,
};

use super::assert_held;

/// Not done; done, and reported as failed; done when nobody waits any more; done, and its process dies.
const FAULTS: [Fault; 4] = [Fault::NotDone, Fault::DoneButUnknown, Fault::DoneLater, Fault::CrashAfter];
/// How many others finish the commit, and which of them goes first.
const RECOVERERS: [&[usize]; 3] = [&[0], &[0, 1], &[1, 0]];

/// Lets the call with this number of the first process fail, and counts its calls.
fn fail_at(world: &World, pid: u32, failing: u64, fault: Fault, calls: &Arc<AtomicU64>) {
    let counter = calls.clone();
    world.sim.rule(move |call, _| {
        let hit = call.pid == pid && counter.fetch_add(1, SeqCst) == failing;
        Verdict::Let(if hit { fault } else { Fault::None })
    });
}

/// Asks with a fault at one call, then repeats the request at other processes at the same time.
fn ask(asked: &Ask, kind: &str, failing: u64, fault: Fault, order: &[usize]) -> (Report, u64) {
    let calls = Arc::new(AtomicU64::new(0));
    let report = run_scenario(failing, Broken::Nothing, false, async |world| {
        let first = world.process().await;
        let mut others = Vec::new();
        for _ in order {
            others.push(world.process().await);
        }
        let order = order.iter().map(|at| others[*at].pid).collect();
        world.sim.order(Order::Of(order));
        fail_at(world, first.pid, failing, fault, &calls);
        let request = world.request(asked.clone());
        let answered = request.ask(&first).await;
        assert_ne!(answered, Some(false), "nothing speaks against it");
        let repeated: Vec<_> = others
            .into_iter()
            .map(|other| (request.clone(), other))
            .map(|(request, other)| tokio::spawn(async move { request.ask(&other).await }))
            .collect();
        for repeated in repeated {
            assert_eq!(repeated.await.expect("it does not panic"), Some(true), "nothing fails any more");
        }
        assert_eq!(world.kinds(), [kind]);
    });
    (report, calls.load(SeqCst))
}

/// Makes a registry with a fault at one call, then others open it, or make it if there is none.
fn genesis(failing: u64, fault: Fault, order: &[usize]) -> (Report, u64) {
    let calls = Arc::new(AtomicU64::new(0));
    let report = run_from_nothing(failing, Broken::Nothing, async |world| {
        fail_at(world, 1, failing, fault, &calls);
        let made = Process::initialise(&world.sim).await;
        assert!(world.sim.is_dead(1) == made.is_none());
        // Processes get their numbers as they start; each of the others may need several.
        world.sim.order(Order::Of(if order[0] == 0 { (2..9).collect() } else { (2..9).rev().collect() }));
        let others: Vec<_> = order.iter().map(|_| tokio::spawn(open_or_make(world.sim.clone()))).collect();
        for other in others {
            other.await.expect("it does not panic");
        }
        assert_eq!(world.kinds(), ["genesis"]);
    });
    (report, calls.load(SeqCst))
}

/// What an operator's start-up does: opens the registry, or makes it.
async fn open_or_make(sim: Arc<Sim>) {
    for _ in 0..3 {
        match Process::open(&sim).await.expect("nobody dies") {
            Ok(_) => return,
            Err(refusal) => assert_eq!(refusal.problems[0].code.slug(), "not-initialised", "{refusal}"),
        }
        if let Err(refusal) = Process::initialise(&sim).await.expect("nobody dies") {
            assert_eq!(refusal.problems[0].code.slug(), "already-initialised", "{refusal}");
        }
    }
    panic!("there is a registry or there is none");
}

/// Every call, every fault, every order; answers with the number of cases.
fn every_call(mut run: impl FnMut(u64, Fault, &[usize]) -> (Report, u64)) -> usize {
    let mut cases = 0;
    for fault in FAULTS {
        for order in RECOVERERS {
            for failing in 0.. {
                let (report, calls) = run(failing, fault, order);
                assert!(
                    report.violations.is_empty(),
                    "{fault:?} at call {failing}, then {order:?}: {:#?}",
                    report.violations
                );
                cases += 1;
                if calls <= failing {
                    break;
                }
            }
        }
    }
    cases
}

#[test]
fn every_call_of_a_publish_may_fail_before_one_or_two_others_finish_it() {
    let publish = Ask::Publish { name: "http", vers: "1.1.0", variant: 0 };
    let cases = every_call(|failing, fault, order| ask(&publish, "publish", failing, fault, order));
    assert!(cases > 300, "{cases}");
}

#[test]
fn every_call_of_a_first_publish_may_fail_before_one_or_two_others_finish_it() {
    let publish = Ask::Publish { name: "acme/cfg", vers: "1.0.0", variant: 0 };
    let cases = every_call(|failing, fault, order| ask(&publish, "publish", failing, fault, order));
    assert!(cases > 300, "{cases}");
}

#[test]
fn every_call_of_a_yank_may_fail_before_one_or_two_others_finish_it() {
    let yank = Ask::Yank { name: "http", vers: "1.0.0" };
    let cases = every_call(|failing, fault, order| ask(&yank, "yank", failing, fault, order));
    assert!(cases > 240, "{cases}");
}

#[test]
fn every_call_of_genesis_may_fail_before_one_or_two_others_finish_it() {
    let cases = every_call(genesis);
    assert!(cases > 150, "{cases}");
}

/// Three processes are asked for the same thing at once, in many orders.
#[test]
fn three_processes_race_for_one_intent() {
    for seed in 0..60 {
        let report = run_scenario(seed, Broken::Nothing, false, async |world| {
            let processes = [world.process().await, world.process().await, world.process().await];
            let request = world.request(Ask::Publish { name: "http", vers: "1.1.0", variant: 0 });
            let asked = processes.map(|process| {
                let request = request.clone();
                tokio::spawn(async move { request.ask(&process).await })
            });
            for asked in asked {
                assert_eq!(asked.await.expect("it does not panic"), Some(true));
            }
            assert_eq!(world.kinds(), ["publish"]);
        });
        assert_held(&report);
    }
}

/// Three processes make the registry at once, in many orders: one does.
#[test]
fn three_processes_race_for_genesis() {
    for seed in 0..60 {
        let report = run_from_nothing(seed, Broken::Nothing, async |world| {
            let made = [(); 3].map(|()| {
                let sim = world.sim.clone();
                tokio::spawn(async move { Process::initialise(&sim).await.expect("nobody dies") })
            });
            let mut winners = 0;
            for made in made {
                match made.await.expect("it does not panic") {
                    Ok(()) => winners += 1,
                    Err(refusal) => {
                        assert_eq!(refusal.problems[0].code.slug(), "already-initialised", "{refusal}");
                    }
                }
            }
            assert_eq!((winners, world.kinds()), (1, vec!["genesis".to_owned()]));
        });
        assert_held(&report);
    }
}
