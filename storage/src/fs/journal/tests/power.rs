//! Random rounds, and then a disk as a power failure may leave it.
//!
//! What is not synced may be there or not, in any order, whole, cut, or empty under its name. The journal is cut behind
//! the last record that was synced.

use std::{collections::BTreeMap, os::unix::fs::FileExt};

use super::*;
use crate::fs::writer::Wait;

const NAMES: [&str; 6] = ["o/1", "o/2", "deep/er/3", "p", "log/q", "r"];

/// The splitmix64 generator of Steele, Lea and Flood (2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % end as u64) as usize
    }
}

/// What is known of the store: every state since the last one that is durable, and what the files may hold.
struct Known {
    states: Vec<Files>,
    /// Everything that each name has stood for since the file systems were last synced; the first is durable.
    versions: BTreeMap<(usize, &'static str), Vec<Option<Bytes>>>,
}

impl Known {
    fn of(files: &Files) -> Self {
        let name =
            |area, name: &'static str| ((area, name), vec![files.get(&(area, name.to_owned())).cloned()]);
        let versions = (0..2).flat_map(|area| NAMES.map(|it| name(area, it))).collect();
        Self { states: vec![files.clone()], versions }
    }
}

fn change(random: &mut Random, round: usize) -> Change {
    let long = "x".repeat(random.below(1_500));
    let bytes = Bytes::from(format!("{round} {long}"));
    match random.below(5) {
        0 => Change::Delete(NAMES[random.below(NAMES.len())]),
        1 | 2 => Change::Put(NAMES[random.below(3)], bytes),
        _ => Change::Swap(NAMES[3 + random.below(3)], bytes),
    }
}

/// Two openings of one directory write by turns. Tells what is known then.
fn write_some(dir: &Path, boot: u8, random: &mut Random) -> Known {
    let writers = [(); 2].map(|()| open(dir, boot).unwrap());
    let (mut known, mut unnamed) = (Known::of(&files(dir)), Vec::new());
    let syncs = || writers.iter().map(|disks| disks[0].syncs().file_systems).sum::<u64>();
    for round in 0..40 + random.below(40) {
        let (disks, area) = (&writers[random.below(2)], random.below(2));
        let wait = if random.below(3) == 0 { Wait::Ordered } else { Wait::Durable };
        let (change, before) = (change(random, round), known.states.last().unwrap().clone());
        let synced = syncs();
        let done = write(disks, area, &before, &change, wait).unwrap();
        let now = if done { after(&before, area, &change) } else { before.clone() };
        if syncs() > synced {
            known.versions = Known::of(&before).versions;
        }
        unnamed.push(((area, change.name()), now.get(&(area, change.name().to_owned())).cloned()));
        known.states.push(now);
        if unsynced(dir, boot).is_none() {
            // Whatever was in order only is durable with this one, and has its name.
            known.states.drain(..known.states.len() - 1);
            for (name, version) in unnamed.drain(..) {
                let versions = known.versions.get_mut(&name).unwrap();
                if versions.last() != Some(&version) {
                    versions.push(version);
                }
            }
        }
    }
    known
}

/// Leaves of a directory what a power failure leaves.
fn cut_power(dir: &Path, known: &Known, random: &mut Random) {
    for ((area, name), versions) in &known.versions {
        let path = dir.join(["public", "vault"][*area]).join(name);
        drop(fs_err::remove_file(&path));
        let chosen = random.below(versions.len());
        let Some(bytes) = &versions[chosen] else { continue };
        // The first version is durable; the name of any other may stand for any part of it.
        let len =
            if chosen == 0 || random.below(2) == 0 { bytes.len() } else { random.below(bytes.len() + 1) };
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, &bytes[..len]).unwrap();
    }
    let lock = dir.join(".journal/lock");
    match random.below(3) {
        0 => fs_err::remove_file(lock).unwrap(),
        1 => fs_err::write(lock, b"").unwrap(),
        _ => {}
    }
}

/// Takes sectors out of what was not synced.
fn tear(dir: &Path, (name, from, to): (&str, u64, u64), random: &mut Random) {
    let file = fs_err::OpenOptions::new().write(true).open(dir.join(".journal").join(name)).unwrap();
    for sector in (from / 512)..to.div_ceil(512) {
        if random.below(2) == 0 {
            let (start, end) = ((sector * 512).max(from), ((sector + 1) * 512).min(to));
            let cut = start + random.below((end - start) as usize) as u64;
            file.file().write_all_at(&vec![0; (end - cut) as usize], cut).unwrap();
        }
    }
}

/// Where in the journal lies what was not synced.
fn unsynced(dir: &Path, boot: u8) -> Option<(&'static str, u64, u64)> {
    // Whoever opens finishes what is pending, so it is looked for in the files.
    let read = |name: &str| fs_err::read(dir.join(".journal").join(name)).ok().map(Bytes::from);
    let mark = Mark::decode(&read("lock")?).filter(|mark| mark.boot == [boot; 16])?;
    let name = ["even", "odd"][(mark.generation % 2) as usize];
    let bytes = read(name)?;
    let header = Header::decode(&bytes)?;
    let mut end = mark.applied;
    while let Some((head, _)) = header.decode_record(&bytes.slice(end as usize..)) {
        end = super::super::aligned(end + head.record_bytes() as u64);
    }
    (end > mark.applied).then_some((name, mark.applied, end))
}

#[test]
fn whatever_a_power_failure_leaves_every_answered_write_is_there() {
    for seed in 0..16 {
        let (dir, mut random) = (directory(), Random(seed));
        // Several failures, one after the other: what was recovered is as good as what was written.
        for boot in 1..5 {
            let known = write_some(dir.path(), boot, &mut random);
            let torn = unsynced(dir.path(), boot);
            cut_power(dir.path(), &known, &mut random);
            if let Some(torn) = torn {
                tear(dir.path(), torn, &mut random);
            }
            drop(open(dir.path(), boot + 1).unwrap());
            let found = files(dir.path());
            let states: Vec<String> = known.states.iter().map(told).collect();
            assert!(
                states.contains(&told(&found)),
                "seed {seed}, start {boot}: {}\nis none of {states:#?}",
                told(&found)
            );
            assert!(known.states.contains(&found), "seed {seed}, start {boot}");
        }
    }
}
