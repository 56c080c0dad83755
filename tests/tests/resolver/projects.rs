//! Two real projects, with the index that they were resolved against: our lock is cargo's, byte for byte.

use std::sync::Arc;

use drystone_client::resolve::{
    Outcome, Package, PackageKey, Rules, Universe, Versions,
    cargo_lock::{self, Facts as _, Member},
    solve,
};
use drystone_schemas::{ResolveRecord, Version};
use drystone_tests::corpus::Corpus;

use crate::cargo::Sums;

/// The compiler that the lock files were made with.
const RUST_VERSION: &str = "1.95.0";

fn our_lock_is_cargos(project: &str, packages: usize) {
    let Some(corpus) = Corpus::open(project) else { return };
    let (mut universe, mut sums) = (Universe::default(), Sums::new());
    for index in corpus.indexes() {
        for line in &index.lines {
            sums.0.insert((PackageKey::own(&line.name), line.vers.clone()), line.cksum.clone());
        }
        let record = ResolveRecord::of(&index).unwrap();
        universe.insert(PackageKey::own(&record.name), Some(Arc::new(Package::new(record))));
    }
    let rules = Rules {
        rust_version: Some(RUST_VERSION.parse().unwrap()),
        ..Rules::newest(Versions::OnePerCompatible)
    };
    let roots = corpus.requirements();
    let Outcome::Solved(solution) = solve(&roots, &universe, &rules) else { panic!("there is an answer") };
    assert_eq!((solution.releases.len(), solution.cycle()), (packages, None));
    let member = Member {
        name: corpus.name(),
        version: Version::new("0.1.0").unwrap(),
        requirements: (0..roots.len()).collect(),
        members: vec![],
    };
    let (ours, theirs) = (cargo_lock::write(&[member], &solution, &sums), corpus.lock());
    let differing = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
    assert!(ours == theirs, "{project}: {differing:?}");

    // What is locked is kept, also where something else would be newer by now.
    let kept = cargo_lock::read(&theirs).unwrap();
    let source = sums.source(drystone_client::resolve::RegistryId::default()).to_owned();
    let mut locked = rules;
    for ((name, from), versions) in kept {
        assert_eq!(from, source);
        let name = drystone_schemas::PackageName::new(name).unwrap();
        locked.locked.insert(PackageKey::own(&name), versions);
    }
    locked.rust_version = None;
    let Outcome::Solved(again) = solve(&roots, &universe, &locked) else { panic!("there is an answer") };
    assert!(again.releases == solution.releases, "{project} is not kept as it is locked");
}

#[test]
fn the_web_project_gets_its_lock_file() {
    our_lock_is_cargos("web", 269);
}

#[test]
fn the_bevy_project_gets_its_lock_file() {
    our_lock_is_cargos("bevy", 543);
}
