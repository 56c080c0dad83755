//! The scenarios in which a model of the protocol once failed, each by its name.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use drystone_storage::Op;
use drystone_tests::sim::{Ask, Broken, Call, Fault, Process, Verdict, World, run_scenario};

use super::assert_held;

const YANK: Ask = Ask::Yank { name: "http", vers: "1.0.0" };
const UNYANK: Ask = Ask::Unyank { name: "http", vers: "1.0.0" };

fn run(seed: u64, scenario: impl AsyncFnOnce(&mut World)) {
    assert_held(&run_scenario(seed, Broken::Nothing, false, scenario));
}

fn is(call: &Call<'_>, op: Op, prefix: &str) -> bool {
    call.op == Some(op) && call.key.starts_with(prefix)
}

pub(super) async fn succeeds(world: &mut World, process: &Process, ask: Ask) {
    let request = world.request(ask.clone());
    if request.ask(process).await != Some(true) {
        let again = request.ask_freely(process).await.map(|reply| reply.body);
        panic!("{ask:?} was refused, and again: {again:?}");
    }
}

/// What a process writes below a prefix waits until it is released; nothing else fails.
fn hold_back(world: &World, process: &Process, op: Op, prefix: &'static str) -> Arc<AtomicBool> {
    let released = Arc::new(AtomicBool::new(false));
    let (free, pid) = (released.clone(), process.pid);
    world.sim.rule(move |call, _| {
        let held = call.pid == pid && !free.load(SeqCst) && is(call, op, prefix);
        if held { Verdict::Wait } else { Verdict::Let(Fault::None) }
    });
    released
}

/// A file that is yanked and unyanked is not the file it was, so a writer that saw the first cannot replace the last.
#[test]
fn yank_and_unyank_with_equal_bytes() {
    for seed in 0..20 {
        run(seed, async |world| {
            let (stalled, other) = (world.process().await, world.process().await);
            let released = hold_back(world, &stalled, Op::Replace, "index/");
            let request = world.request(YANK);
            let yank = tokio::spawn(async move { request.ask(&stalled).await });
            while world.kinds().is_empty() {
                world.sim.turn("for the commit").await;
            }
            for ask in [UNYANK, YANK, UNYANK] {
                succeeds(world, &other, ask).await;
            }
            released.store(true, SeqCst);
            assert_eq!(yank.await.expect("it does not panic"), Some(true));
            assert_eq!(world.kinds(), ["yank", "unyank", "yank", "unyank"]);
        });
    }
}

/// A yank whose outcome nobody learnt is repeated after it was taken back: it happened once.
#[test]
fn toggles_after_an_unknown_answer() {
    for (fault, expected) in [
        (Fault::DoneButUnknown, &["yank", "unyank"][..]),
        (Fault::CrashAfter, &["yank", "unyank"]),
        (Fault::CrashBefore, &["yank"]),
    ] {
        run(0, async |world| {
            let (first, second) = (world.process().await, world.process().await);
            let pid = first.pid;
            let committed = AtomicBool::new(false);
            world.sim.rule(move |call, _| {
                let head = call.pid == pid && call.key == "head";
                if head && call.op == Some(Op::Replace) {
                    committed.store(true, SeqCst);
                    return Verdict::Let(fault);
                }
                // Nor can it find out what came of it.
                let blind = head && committed.load(SeqCst);
                Verdict::Let(if blind { Fault::Failed } else { Fault::None })
            });
            let yank = world.request(YANK);
            assert_eq!(yank.ask(&first).await, None);
            succeeds(world, &second, UNYANK).await;
            assert_eq!(yank.ask(&second).await, Some(true));
            assert_eq!(world.kinds(), expected, "{fault:?}");
        });
    }
}

/// The proof file and the checkpoint go out at the same time; whichever is missing after a crash is brought by the next.
#[test]
fn a_crash_between_proof_and_checkpoint() {
    for (last, missing) in
        [("log/checkpoint", "log/latest.tlog-proof"), ("log/latest.tlog-proof", "log/checkpoint")]
    {
        run(0, async |world| {
            let (first, second) = (world.process().await, world.process().await);
            let pid = first.pid;
            world.sim.rule(move |call, _| {
                if call.pid == pid && is(call, Op::Replace, last) {
                    Verdict::Let(Fault::CrashAfter)
                } else if call.pid == pid && is(call, Op::Replace, missing) || call.late {
                    Verdict::Wait
                } else {
                    Verdict::Let(Fault::None)
                }
            });
            let yank = world.request(YANK);
            assert_eq!(yank.ask(&first).await, None);
            assert_eq!(yank.ask(&second).await, Some(true));
            assert_eq!(world.kinds(), ["yank"]);
        });
    }
}

/// A head from a backup is older than the log that was published: every writer refuses, and nothing is signed.
#[test]
fn restored_heads() {
    run(0, async |world| {
        let old = world.restore_head(None).await;
        let process = world.process().await;
        succeeds(world, &process, YANK).await;
        let new = world.restore_head(Some(old)).await;
        let refused = world.request(UNYANK).ask_freely(&process).await.expect("it answers");
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(refused.status == 503 && body.contains("head-behind-log"), "{} {body}", refused.status);
        let opened = Process::open(&world.sim).await.expect("it does not die");
        let refusal = opened.err().expect("it does not open");
        assert_eq!(refusal.problems[0].code.slug(), "head-behind-log");
        world.restore_head(Some(new)).await;
        succeeds(world, &process, UNYANK).await;
        assert_eq!(world.kinds(), ["yank", "unyank"]);
    });
}

/// A writer sleeps before one of its writes while others commit, and wakes up.
#[test]
fn a_stalled_writer_wakes_up() {
    let stalls = [
        (Op::PutNew, "o/"),
        (Op::PutNew, "log/state/"),
        (Op::PutNew, "staging/"),
        (Op::Replace, "head"),
        (Op::PutNew, "log/tile/"),
        (Op::PutNew, "done/"),
        (Op::Replace, "index/"),
        (Op::Replace, "packages/"),
        (Op::Replace, "log/latest"),
        (Op::Replace, "log/checkpoint"),
        (Op::PutNew, "log/checkpoints/"),
    ];
    for (op, prefix) in stalls {
        run(7, async |world| {
            let (stalled, other) = (world.process().await, world.process().await);
            let reached = Arc::new(AtomicBool::new(false));
            let released = Arc::new(AtomicBool::new(false));
            let (at, free, pid) = (reached.clone(), released.clone(), stalled.pid);
            world.sim.rule(move |call, _| {
                let held = call.pid == pid && !free.load(SeqCst) && is(call, op, prefix);
                at.fetch_or(held, SeqCst);
                if held { Verdict::Wait } else { Verdict::Let(Fault::None) }
            });
            let request = world.request(Ask::Publish { name: "http", vers: "1.1.0", variant: 0 });
            let publish = tokio::spawn(async move { request.ask(&stalled).await });
            while !reached.load(SeqCst) {
                world.sim.turn("for the stall").await;
            }
            for ask in [YANK, UNYANK, Ask::Publish { name: "tls", vers: "1.0.0", variant: 0 }, YANK] {
                succeeds(world, &other, ask).await;
            }
            released.store(true, SeqCst);
            assert_eq!(publish.await.expect("it does not panic"), Some(true), "{prefix}");
            assert_eq!(world.kinds().len(), 5, "{prefix}");
        });
    }
}

/// Head and checkpoint are read side by side: what others commit in between is no reason for an alarm.
#[test]
fn a_checkpoint_that_is_read_later_than_head() {
    run(0, async |world| {
        let (slow, other) = (world.process().await, world.process().await);
        let released = hold_back(world, &slow, Op::Read, "log/");
        let request = world.request(YANK);
        let yank = tokio::spawn(async move { request.ask(&slow).await });
        succeeds(world, &other, Ask::AliasSet { name: "http", alias: "h" }).await;
        released.store(true, SeqCst);
        assert_eq!(yank.await.expect("it does not panic"), Some(true));
    });
}

/// While a process does not know what became of its commit, another commits the same intent, at another place.
#[test]
fn an_intent_that_another_process_commits_meanwhile() {
    run(0, async |world| {
        let (slow, other) = (world.process().await, world.process().await);
        let released = Arc::new(AtomicBool::new(false));
        let (free, pid, replaced) = (released.clone(), slow.pid, AtomicBool::new(false));
        world.sim.rule(move |call, _| {
            let head = call.pid == pid && call.key == "head";
            if head && call.op == Some(Op::Replace) && !replaced.swap(true, SeqCst) {
                return Verdict::Let(Fault::NotDone);
            }
            let held = head && replaced.load(SeqCst) && !free.load(SeqCst);
            if held { Verdict::Wait } else { Verdict::Let(Fault::None) }
        });
        let request = world.request(YANK);
        let again = request.clone();
        let yank = tokio::spawn(async move { request.ask(&slow).await });
        for _ in 0..60 {
            world.sim.turn("for the doubt").await;
        }
        succeeds(world, &other, Ask::AliasSet { name: "http", alias: "h" }).await;
        assert_eq!(again.ask(&other).await, Some(true));
        released.store(true, SeqCst);
        assert_eq!(yank.await.expect("it does not panic"), Some(true));
        assert_eq!(world.kinds(), ["alias-set", "yank"]);
    });
}

/// A writer that sleeps before it publishes, and then fails once, finds a newer proof file beside an older checkpoint.
#[test]
fn the_newest_proof_never_goes_back() {
    run(0, async |world| {
        let (slow, other) = (world.process().await, world.process().await);
        let released = Arc::new(AtomicBool::new(false));
        let (free, slow_pid, other_pid) = (released.clone(), slow.pid, other.pid);
        let failed = AtomicU64::new(0);
        world.sim.rule(move |call, _| {
            let publishes = call.op == Some(Op::Replace) && call.key.starts_with("log/");
            let checkpoint = call.op == Some(Op::Replace) && call.key == "log/checkpoint";
            if call.pid == slow_pid && publishes && !free.load(SeqCst) {
                return Verdict::Wait;
            }
            let fails = call.pid == slow_pid && checkpoint && failed.fetch_add(1, SeqCst) == 0
                || call.pid == other_pid && checkpoint && !free.load(SeqCst);
            Verdict::Let(if fails { Fault::NotDone } else { Fault::None })
        });
        let request = world.request(YANK);
        let yank = tokio::spawn(async move { request.ask(&slow).await });
        while world.kinds().is_empty() {
            world.sim.turn("for the commit").await;
        }
        succeeds(world, &other, UNYANK).await;
        released.store(true, SeqCst);
        assert_eq!(yank.await.expect("it does not panic"), Some(true));
        assert_eq!(world.kinds(), ["yank", "unyank"]);
    });
}
