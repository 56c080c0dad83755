//! A process that dies between any two steps, those of beginning a new segment included, and who comes after it.

use super::*;
use crate::fs::writer::Wait;

/// What the process does that dies: rounds of each kind, over several segments.
fn script() -> Vec<(usize, Change, Wait)> {
    let long = |round: usize| Bytes::from(format!("{round} {}", "x".repeat(3_000)));
    let rounds = (0..12).flat_map(|round| {
        [
            (0, Change::Put(["o/1", "o/2", "o/3"][round % 3], long(round)), Wait::Ordered),
            (1, Change::Swap("head", long(round)), Wait::Ordered),
            (0, Change::Swap("p", long(round)), Wait::Durable),
            (0, Change::Delete(["o/1", "o/2", "o/3"][round % 3]), Wait::Durable),
        ]
    });
    rounds.collect()
}

/// Runs the script until the process dies. Tells every state since the last one that was answered as durable.
fn run(dir: &Path, steps: u32) -> (Vec<Files>, bool) {
    let disks = open(dir, 1).unwrap();
    disks[0].writer.journal().steps_left = Some(steps);
    let mut states = vec![Files::new()];
    for (area, change, wait) in script() {
        let before = states.last().unwrap().clone();
        let next = after(&before, area, &change);
        match write(&disks, area, &before, &change, wait) {
            Ok(done) => {
                assert!(done, "nobody else writes");
                if wait == Wait::Durable {
                    states.clear();
                }
                states.push(next);
            }
            Err(()) => {
                states.push(next);
                return (states, true);
            }
        }
    }
    (states, false)
}

#[test]
fn whoever_comes_after_a_process_that_died_finds_all_that_was_answered() {
    let (mut steps, mut rotations) = (0, 0);
    loop {
        let dir = directory();
        let (states, has_died) = run(dir.path(), steps);
        rotations = rotations.max(fs_err::read_dir(dir.path().join(".journal")).map_or(0, Iterator::count));
        // The next process writes at once, and finishes first what was left.
        let next = open(dir.path(), 1).unwrap();
        let found = files(dir.path());
        let told: Vec<String> = states.iter().map(told).collect();
        assert!(states.contains(&found), "step {steps}: {}\nis none of {told:#?}", super::told(&found));
        let change = Change::Swap("p", format!("after {steps}").into());
        assert_eq!(write(&next, 0, &found, &change, Wait::Durable), Ok(true), "step {steps}");
        let expected = after(&found, 0, &change);
        assert_eq!(files(dir.path()), expected, "step {steps}");
        drop(next);
        // And power fails, with all that it wrote since unnamed.
        drop(fs_err::remove_file(dir.path().join("public/p")));
        drop(open(dir.path(), 2).unwrap());
        assert_eq!(files(dir.path()), expected, "step {steps}");
        if !has_died {
            break;
        }
        steps += 1;
    }
    // `lock`, `odd`, `even`: a second segment was begun, and steps of beginning a third are among them.
    assert!(steps > 150 && rotations >= 3, "{steps} steps, {rotations} files");
}

#[test]
fn recovery_may_be_cut_off_at_any_step_too() {
    for steps in 0.. {
        let dir = directory();
        let (states, _) = run(dir.path(), 120);
        drop(open(dir.path(), 1).unwrap());
        let expected = files(dir.path());
        assert!(states.contains(&expected));
        fs_err::write(dir.path().join("public/p"), "half").unwrap();
        fs_err::remove_file(dir.path().join("public/o/3")).unwrap();
        let mut journal = journal(dir.path(), 2);
        journal.steps_left = Some(steps);
        let has_ended = journal.open().is_ok();
        drop(journal);
        // A second failure of power during recovery, or none.
        drop(open(dir.path(), 2 + (steps % 2) as u8).unwrap());
        assert_eq!(told(&files(dir.path())), told(&expected), "step {steps}");
        if has_ended {
            assert!(steps > 5);
            return;
        }
    }
}
