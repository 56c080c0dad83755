//! One publish, every one of whose calls fails in every way, and one or two processes that finish it at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use drystone_tests::sim::{Ask, Broken, Fault, Order, Report, Verdict, run_scenario};

use super::assert_held;

const PUBLISH: Ask = Ask::Publish { name: "http", vers: "1.1.0", variant: 0 };

/// Publishes with a fault at one call, then repeats the request at other processes at the same time.
fn publish(failing: u64, fault: Fault, recoverers: usize, order: &[usize]) -> (Report, u64) {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let report = run_scenario(failing, Broken::Nothing, false, async move |world| {
        let first = world.process().await;
        let mut others = Vec::new();
        for _ in 0..recoverers {
            others.push(world.process().await);
        }
        let order = order.iter().map(|at| others[*at].pid).collect();
        world.sim.order(Order::Of(order));
        let pid = first.pid;
        world.sim.rule(move |call, _| {
            let hit = call.pid == pid && counter.fetch_add(1, SeqCst) == failing;
            Verdict::Let(if hit { fault } else { Fault::None })
        });
        let request = world.request(PUBLISH);
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
        assert_eq!(world.kinds(), ["publish"]);
    });
    (report, calls.load(SeqCst))
}

#[test]
fn every_call_of_a_publish_may_fail_before_one_or_two_others_finish_it() {
    let mut cases = 0;
    for fault in [Fault::NotDone, Fault::DoneButUnknown, Fault::DoneLater, Fault::CrashAfter] {
        for (recoverers, order) in [(1, &[0][..]), (2, &[0, 1]), (2, &[1, 0])] {
            for failing in 0.. {
                let (report, calls) = publish(failing, fault, recoverers, order);
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
    assert!(cases > 300, "{cases}");
}

/// Three processes are asked for the same thing at once, in many orders.
#[test]
fn three_processes_race_for_one_intent() {
    for seed in 0..60 {
        let report = run_scenario(seed, Broken::Nothing, false, async |world| {
            let processes = [world.process().await, world.process().await, world.process().await];
            let request = world.request(PUBLISH);
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
