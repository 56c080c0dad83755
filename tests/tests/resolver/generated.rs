//! Random small worlds, the same in every run.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    cargo::{Tally, compare},
    notation::Case,
};

const VERSIONS: [&str; 14] = [
    "0.0.1",
    "0.0.2",
    "0.1.0",
    "0.1.1",
    "0.1.2",
    "0.2.0",
    "1.0.0",
    "1.1.0",
    "1.2.0",
    "1.3.0",
    "2.0.0-rc.1",
    "2.0.0",
    "2.1.0",
    "3.0.0",
];
const PACKAGES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
const FEATURES: [&str; 3] = ["fast", "small", "std"];

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// A requirement that often has an answer.
fn requirement(dice: &mut Dice, versions: &[&str]) -> String {
    let version = if dice.percent(98) { *dice.pick(versions) } else { *dice.pick(&VERSIONS) };
    match dice.roll(12) {
        0..=6 => format!("^{version}"),
        7 => format!("={version}"),
        8 => format!("~{version}"),
        9 => format!(">={version}"),
        10 => format!(">={version},<{}", dice.pick(&["2.2.0", "3.1.0"])),
        _ => "*".into(),
    }
}

fn dependency(dice: &mut Dice, name: &str, versions: &[&str], may_be_optional: bool) -> String {
    let optional = may_be_optional && dice.percent(35);
    let mut text = format!("{name}{} {}", if optional { "?" } else { "" }, requirement(dice, versions));
    if dice.percent(18) {
        write!(text, " +{}", dice.pick(&FEATURES)).unwrap();
    }
    if dice.percent(15) {
        text.push_str(" -d");
    }
    if may_be_optional && dice.percent(10) {
        write!(text, " as:{name}x").unwrap();
    }
    if may_be_optional && !optional && dice.percent(10) {
        text.push_str(if dice.percent(50) { " build" } else { " dev" });
    }
    text
}

/// A manifest has each name once in each of its tables, so that a second one is for a platform.
fn in_a_table_of_its_own(dep: String, others: &[String]) -> String {
    let same = others.iter().filter(|other| table_and_name(other) == table_and_name(&dep)).count();
    if same == 0 { dep } else { format!("{dep} for:platform{same}") }
}

/// In which table of a manifest a dependency stands, its platform aside, and under which name.
fn table_and_name(dep: &str) -> (Option<&str>, &str) {
    let table = dep.split(' ').find(|word| ["build", "dev"].contains(word));
    (table, name_in_manifest(dep))
}

fn name_in_manifest(dep: &str) -> &str {
    let alias = dep.split(' ').find_map(|word| word.strip_prefix("as:"));
    alias.unwrap_or_else(|| dep.split([' ', '?']).next().unwrap())
}

/// The features of a release whose dependencies are given, so that Cargo takes them for well formed.
fn features(dice: &mut Dice, deps: &[String]) -> String {
    let mut text = String::new();
    let named: Vec<(String, bool)> = deps
        .iter()
        .map(|dep| (name_in_manifest(dep).to_owned(), dep.split(' ').next().unwrap().ends_with('?')))
        .collect();
    // A dependency that is ever named by `dep:` is no feature of its own, however often its name is there.
    let chances: BTreeMap<&str, bool> =
        named.iter().map(|(name, _)| (name.as_str(), dice.percent(50))).collect();
    let by_dep = |name: &str| chances[name];
    let mut present: Vec<&str> = FEATURES.into_iter().filter(|_| dice.percent(93)).collect();
    if dice.percent(50) {
        present.push("default");
    }
    for (at, feature) in present.iter().enumerate() {
        write!(text, " | {feature}:").unwrap();
        for _ in 0..dice.roll(3) {
            match (dice.roll(2), named.is_empty()) {
                // Only earlier ones, so that no feature leads to itself.
                (0, _) | (_, true) if at > 0 => write!(text, " {}", present[dice.roll(at)]).unwrap(),
                (_, false) => {
                    let which = dice.roll(named.len());
                    let (name, optional) = &named[which];
                    let value = match (dice.roll(3), optional) {
                        (0, true) if by_dep(name) => format!("dep:{name}"),
                        (0, true) => name.clone(),
                        (1, true) => format!("{name}?/{}", dice.pick(&FEATURES)),
                        _ => format!("{name}/{}", dice.pick(&FEATURES)),
                    };
                    write!(text, " {value}").unwrap();
                }
                _ => {}
            }
        }
    }
    text
}

fn world(seed: u64) -> String {
    let mut dice = Dice(seed);
    let count = 3 + dice.roll(PACKAGES.len() - 2);
    let chosen = |dice: &mut Dice| {
        let mut versions: Vec<&str> = VERSIONS.into_iter().filter(|_| dice.percent(35)).collect();
        if versions.is_empty() {
            versions.push("1.0.0");
        }
        versions
    };
    let versions: Vec<Vec<&str>> = (0..count).map(|_| chosen(&mut dice)).collect();
    let mut text = String::new();
    for _ in 0..1 + dice.roll(3) {
        let package = dice.roll(count.min(4));
        let ask = dependency(&mut dice, PACKAGES[package], &versions[package], false);
        writeln!(text, "> {ask}").unwrap();
    }
    for package in 0..count {
        for version in &versions[package] {
            let mut deps: Vec<String> = Vec::new();
            for _ in 0..dice.roll(4) {
                if package + 1 < count {
                    let to = package + 1 + dice.roll(count - package - 1);
                    let dep = dependency(&mut dice, PACKAGES[to], &versions[to], true);
                    deps.push(in_a_table_of_its_own(dep, &deps));
                }
            }
            write!(text, "{} {version}", PACKAGES[package]).unwrap();
            if !deps.is_empty() {
                write!(text, " | {}", deps.join("; ")).unwrap();
            }
            text.push_str(&features(&mut dice, &deps));
            if dice.percent(6) {
                write!(text, " | links {}", dice.pick(&["y", "z"])).unwrap();
            }
            if dice.percent(15) {
                write!(text, " | rust {}", dice.pick(&["1.60", "1.99"])).unwrap();
            }
            if dice.percent(5) {
                text.push_str(" | yanked");
            }
            text.push('\n');
        }
    }
    text
}

/// As many as DRYSTONE_RESOLVER_CASES says.
#[test]
#[expect(clippy::disallowed_methods, reason = "it reads how much it is to do")]
fn generated_cases_agree_with_cargo() {
    let count = std::env::var("DRYSTONE_RESOLVER_CASES").map_or(320, |text| text.parse().unwrap());
    let cases: Vec<Case> = (0..count).map(|seed| Case::new(&format!("g{seed}-"), &world(seed))).collect();
    let tally = compare(&cases);
    let Tally { equal, accepted, unreadable, impossible } = &tally;
    assert_eq!(equal + accepted + unreadable + impossible, cases.len());
    // Most have an answer. Where there is more than one, cargo's own is found nearly always.
    assert!(equal * 3 >= cases.len() * 2 && (accepted + unreadable) * 50 <= cases.len(), "{tally:?}");
}
