//! What random runs meet rarely, or never because it needs hands that are not the protocol's: rights that go while a
//! commit is under way, heads from elsewhere, tiles with other bytes, clocks that are wrong, a checkpoint that cannot be
//! published. Each defence is shown to hold, and to be what holds.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use drystone_storage::Op;
use drystone_tests::sim::{Ask, Broken, Fault, Place, Process, Report, Verdict, World, run_scenario};

use super::{assert_held, scenarios::succeeds};

const YANK: Ask = Ask::Yank { name: "http", vers: "1.0.0" };
const UNYANK: Ask = Ask::Unyank { name: "http", vers: "1.0.0" };
const ALIAS: Ask = Ask::AliasSet { name: "http", alias: "h" };

fn run(broken: Broken, scenario: impl AsyncFnOnce(&mut World)) -> Report {
    run_scenario(0, broken, false, scenario)
}

/// Asks for something that must be refused with this code.
async fn refused(world: &mut World, process: &Process, ask: Ask, code: &str) {
    let answer = world.request(ask).ask_freely(process).await.expect("it answers");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status >= 500 && body.contains(code), "{} {body}", answer.status);
}

#[track_caller]
fn assert_found(report: &Report, what: &str) {
    let found = report.violations.first().is_some_and(|first| first.contains(what));
    assert!(found, "{:?}", report.violations);
}

/// A head from a backup, which a process may take for the newest only if it does not see what is published.
#[test]
fn a_restored_head_is_known_by_the_published_checkpoint() {
    let restored = async |world: &mut World| {
        let old = world.restore_head(None).await;
        let process = world.process().await;
        succeeds(world, &process, YANK).await;
        world.restore_head(Some(old)).await;
        let process = Process::open(&world.sim).await.expect("it does not die");
        if let Ok(process) = &process {
            let _ = world.request(ALIAS).ask(process).await;
        }
        world.abandon();
        process.err().map(|refusal| refusal.problems[0].code.slug())
    };
    let report = run(Broken::Nothing, async |world| {
        assert_eq!(restored(world).await, Some("head-behind-log"));
    });
    assert_held(&report);
    let report = run(Broken::CheckpointOld, async |world| {
        restored(world).await;
    });
    assert_found(&report, "head has another root");
}

/// A head that is ahead of the published log and does not extend it: the signer compares, and signs nothing.
#[test]
fn a_head_that_forks_from_the_published_log_is_not_signed() {
    let mut fork = Vec::new();
    assert_held(&run(Broken::Nothing, async |world| {
        let process = world.process().await;
        for ask in [ALIAS, YANK] {
            succeeds(world, &process, ask).await;
        }
        fork = world.files().await;
    }));
    let forked = async |world: &mut World| {
        let process = world.process().await;
        succeeds(world, &process, YANK).await;
        let published = world.published();
        let own = world.files().await;
        for (place, key, bytes) in &fork {
            let signed = *place == Place::Public
                && (key.starts_with("log/checkpoint") || key == "log/latest.tlog-proof");
            let head = (*place, key.as_str()) == (Place::Vault, "head");
            let there = own.iter().any(|(p, k, _)| (p, k) == (place, key));
            if head || !there && !signed {
                world.overwrite(*place, key, Some(bytes)).await;
            }
            // What the fork's staging list replaces is not what this is about.
            if !signed && !head {
                world.sim.plant(key.as_str());
            }
        }
        let opened = Process::open(&world.sim).await.expect("it does not die");
        assert_eq!(world.published(), published, "nothing of the fork is signed");
        world.abandon();
        opened.err().map(|refusal| refusal.problems[0].code.slug())
    };
    let report = run(Broken::Nothing, async |world| {
        assert_eq!(forked(world).await, Some("head-behind-log"));
    });
    assert_held(&report);
    let report = run(Broken::CheckpointOld, async |world| {
        forked(world).await;
    });
    assert_found(&report, "that were never a head");
}

/// A bundle lies where the next one must go, with other bytes: the commit is not published as long as it is there.
#[test]
fn an_object_that_is_there_with_other_bytes_stops_every_writer() {
    let planted = async |world: &mut World| {
        let process = world.process().await;
        let published = world.published();
        let key = format!("log/tile/entries/000.p/{}", published + 1);
        world.overwrite(Place::Public, &key, Some(b"of another log")).await;
        world.sim.plant(&key);
        (process, published, key)
    };
    let report = run(Broken::Nothing, async |world| {
        let (process, published, key) = planted(world).await;
        assert_eq!(world.request(YANK).ask(&process).await, None, "it is committed and cannot be applied");
        refused(world, &process, UNYANK, "storage-broken").await;
        assert_eq!(world.published(), published);
        world.overwrite(Place::Public, &key, None).await;
        succeeds(world, &process, UNYANK).await;
        assert_eq!(world.kinds(), ["yank", "unyank"]);
    });
    assert_held(&report);
    let report = run(Broken::DifferentTakenForSame, async |world| {
        let (process, ..) = planted(world).await;
        let _ = world.request(YANK).ask(&process).await;
    });
    assert!(!report.violations.is_empty(), "the bundle that is published is of another log");
}

/// Clocks up to a minute away work, and time does not go back; beyond that a process refuses, until it is right again.
#[test]
fn clocks_jump_forwards_and_backwards() {
    let report = run(Broken::Nothing, async |world| {
        let (first, second) = (world.process().await, world.process().await);
        for (off_ms, ask) in [(60_000, YANK), (-60_000, UNYANK), (0, YANK), (-1_000, UNYANK)] {
            world.sim.set_clock(first.pid, off_ms);
            succeeds(world, &first, ask).await;
        }
        for off_ms in [61_000, -61_000, 3_600_000, -3_600_000] {
            world.sim.set_clock(first.pid, off_ms);
            refused(world, &first, YANK, "clock-wrong").await;
            succeeds(world, &second, ALIAS).await;
        }
        world.sim.set_clock(first.pid, 0);
        succeeds(world, &first, YANK).await;
        assert_eq!(world.kinds(), ["yank", "unyank", "yank", "unyank", "alias-set", "yank"]);
    });
    assert_held(&report);
}

/// While the checkpoint cannot be published, commits go on, for some time; what was answered is there when it can be.
#[test]
fn a_checkpoint_that_cannot_be_published_for_a_while() {
    let report = run(Broken::Nothing, async |world| {
        let process = world.process().await;
        let blocked = Arc::new(AtomicBool::new(true));
        let still = blocked.clone();
        world.sim.rule(move |call, _| {
            let hit = still.load(SeqCst) && call.op == Some(Op::Replace) && call.key == "log/checkpoint";
            Verdict::Let(if hit { Fault::Failed } else { Fault::None })
        });
        let published = world.published();
        for ask in [YANK, UNYANK, ALIAS, YANK] {
            succeeds(world, &process, ask).await;
        }
        assert_eq!(world.published(), published);
        blocked.store(false, SeqCst);
        let other = world.process().await;
        assert_eq!(world.published(), published + 4, "who comes next publishes");
        succeeds(world, &other, UNYANK).await;
    });
    assert_held(&report);
}

/// A message that arrives again after what it asked for was taken back: it happened once, because its outcome is kept.
#[test]
fn a_repetition_is_known_by_its_outcome() {
    let repeated = async |world: &mut World| {
        let process = world.process().await;
        let yank = world.request(YANK);
        assert_eq!(yank.ask(&process).await, Some(true));
        succeeds(world, &process, UNYANK).await;
        yank.ask(&process).await
    };
    let report = run(Broken::Nothing, async |world| {
        assert_eq!(repeated(world).await, Some(true));
        assert_eq!(world.kinds(), ["yank", "unyank"]);
    });
    assert_held(&report);
    let report = run(Broken::OutcomesHidden, async |world| {
        repeated(world).await;
    });
    assert_found(&report, "is in the log at");
}

/// A token is revoked while a commit that was prepared with it waits for head: the fence makes that commit fail.
#[test]
fn a_commit_that_was_prepared_before_a_revocation() {
    let revoked = async |world: &mut World| {
        let (slow, other) = (world.process().await, world.process().await);
        let (reached, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (at, free, pid) = (reached.clone(), released.clone(), slow.pid);
        world.sim.rule(move |call, _| {
            let head = call.pid == pid && call.op == Some(Op::Replace) && call.key == "head";
            let held = head && !free.load(SeqCst);
            at.fetch_or(held, SeqCst);
            if held { Verdict::Wait } else { Verdict::Let(Fault::None) }
        });
        let request = world.request(YANK);
        let yank = tokio::spawn(async move { request.ask(&slow).await });
        while !reached.load(SeqCst) {
            world.sim.turn("for the commit").await;
        }
        succeeds(world, &other, Ask::Revoke { person: 0 }).await;
        released.store(true, SeqCst);
        yank.await.expect("it does not panic")
    };
    let report = run(Broken::Nothing, async |world| {
        assert_eq!(revoked(world).await, Some(false));
        assert!(world.kinds().is_empty());
    });
    assert_held(&report);
    let report = run(Broken::FenceNotDone, async |world| {
        revoked(world).await;
    });
    assert_found(&report, "whose revocation had been answered");
}
