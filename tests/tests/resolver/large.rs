//! The large case that PubGrub's authors publish: every package of it in every version, solved as they solve it.
//!
//! `large_case_u16.json.gz` is `test-examples/large_case_u16_NumberVersion.ron` of their repository (MPL-2.0) as JSON:
//! package, version, dependency, and the versions that will do as a list of `[from, below]`.

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use drystone_client::resolve::{Outcome, Package, PackageKey, Requirement, Rules, Universe, Versions, solve};
use drystone_schemas::{
    DepKind, Format, IndexDep, IndexFile, IndexLine, PackageName, ResolveRecord, Sha256Digest, Version,
    VersionReq,
};

const LARGE: &[u8] = include_bytes!("large_case_u16.json.gz");

type Ranges = Vec<(u32, Option<u32>)>;
type Large = BTreeMap<u16, BTreeMap<u32, BTreeMap<u16, Ranges>>>;

fn read() -> Large {
    let mut text = String::new();
    flate2::read::GzDecoder::new(LARGE).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn name(package: u16) -> String {
    format!("p{package}")
}

/// Versions are numbers there, majors here; each package has one version at a time.
fn requirement(ranges: &Ranges) -> String {
    let [(from, below)] = ranges.as_slice() else { panic!("{ranges:?} is not one range") };
    let below = below.map(|below| format!(", <{below}.0.0")).unwrap_or_default();
    format!(">={from}.0.0{below}")
}

fn line(package: u16, version: u32, deps: &BTreeMap<u16, Ranges>) -> IndexLine {
    let dep = |(package, ranges): (&u16, &Ranges)| IndexDep {
        name: name(*package),
        req: requirement(ranges),
        features: vec![],
        optional: false,
        default_features: true,
        target: None,
        kind: DepKind::Normal,
        registry: None,
        package: None,
    };
    IndexLine {
        name: PackageName::new(name(package)).unwrap(),
        vers: Version::new(&format!("{version}.0.0")).unwrap(),
        deps: deps.iter().map(dep).collect(),
        cksum: String::new(),
        features: BTreeMap::new(),
        yanked: false,
        links: None,
        v: 1,
        features2: BTreeMap::new(),
        rust_version: None,
        pubtime: String::new(),
        seq: 1,
        published: 1,
        size: 1,
        format: Format::Generic,
        record: Sha256Digest::of(b""),
        sigs: Default::default(),
        zig: None,
        yank_reason: None,
        deleted: None,
    }
}

#[test]
fn pubgrubs_large_case_is_solved() {
    let large = read();
    let mut universe = Universe::default();
    for (package, versions) in &large {
        let lines = versions.iter().map(|(version, deps)| line(*package, *version, deps)).collect();
        let record = ResolveRecord::of(&IndexFile { lines }).unwrap();
        universe.insert(PackageKey::own(&record.name), Some(Arc::new(Package::new(record))));
    }
    let rules = Rules::newest(Versions::One);
    let (mut solved, mut impossible) = (0, 0);
    for (package, versions) in &large {
        for version in versions.keys() {
            let req = VersionReq::new(&format!("={version}.0.0")).unwrap();
            let roots = [Requirement::new(PackageName::new(name(*package)).unwrap(), req)];
            match all_known(&roots, &mut universe, &rules) {
                Some(chosen) => {
                    check(&large, &chosen);
                    assert_eq!(chosen[package], *version);
                    solved += 1;
                }
                None => impossible += 1,
            }
        }
    }
    assert!(solved > 0, "{impossible}");
}

/// What is chosen, if there is an answer, when packages that nobody published do not exist.
fn all_known(roots: &[Requirement], universe: &mut Universe, rules: &Rules) -> Option<BTreeMap<u16, u32>> {
    loop {
        match solve(roots, universe, rules) {
            Outcome::Unknown(names) => names.into_keys().for_each(|key| universe.insert(key, None)),
            Outcome::Impossible(_) => return None,
            Outcome::Solved(solution) => {
                let number = |(key, version): &(PackageKey, Version)| {
                    (key.name[1..].parse().unwrap(), u32::try_from(version.semver().major).unwrap())
                };
                return Some(solution.releases.keys().map(number).collect());
            }
        }
    }
}

/// Everything that is needed is there, in a version that will do.
fn check(large: &Large, chosen: &BTreeMap<u16, u32>) {
    for (package, version) in chosen {
        for (needed, ranges) in &large[package][version] {
            let (from, below) = ranges[0];
            assert!(chosen[needed] >= from && below.is_none_or(|below| chosen[needed] < below));
        }
    }
}
