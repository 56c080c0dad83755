//! The real `cargo`, with a registry on disk and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use drystone_client::resolve::{
    Outcome, Package, PackageKey, RegistryId, Rules, Solution, Universe, Versions,
    cargo_lock::{self, Facts, Member},
    solve,
};
use drystone_schemas::{
    CRATES_IO_INDEX, IndexDep, IndexFile, IndexLine, PackageName, ResolveRecord, Version, VersionReq, layout,
};

use crate::notation::Case;

/// The compiler that the projects are for: `rust 1.99` is too new, `rust 1.60` is not.
const RUST_VERSION: &str = "1.85";

/// The releases of all cases.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) universe: Universe,
    sums: Sums,
}

#[derive(Default)]
pub(crate) struct Sums(pub(crate) BTreeMap<(PackageKey, Version), String>, String);

impl Sums {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new(), format!("registry+{CRATES_IO_INDEX}"))
    }
}

impl Facts for Sums {
    fn source(&self, _: RegistryId) -> &str {
        &self.1
    }

    fn checksum(&self, package: &PackageKey, version: &Version) -> Option<String> {
        self.0.get(&(package.clone(), version.clone())).cloned()
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        rust_version: Some(format!("{RUST_VERSION}.0").parse().unwrap()),
        ..Rules::newest(Versions::OnePerCompatible)
    }
}

impl World {
    pub(crate) fn new(cases: &[Case]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut files: BTreeMap<String, IndexFile> = BTreeMap::new();
        let mut names: BTreeMap<String, PackageName> = BTreeMap::new();
        let mut sums = Sums::new();
        for line in cases.iter().flat_map(|case| &case.releases) {
            let key = PackageKey::own(&line.name);
            sums.0.insert((key, line.vers.clone()), line.cksum.clone());
            names.insert(line.name.canonical(), line.name.clone());
            files.entry(line.name.canonical()).or_default().lines.push(line.clone());
        }
        let mut universe = Universe::default();
        for (canonical, file) in &files {
            let path = dir.path().join("registry/index").join(layout::index_path(&names[canonical]));
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, file.to_bytes()).unwrap();
            let record = ResolveRecord::of(file).unwrap();
            // What is written and read back is what is solved.
            let record = ResolveRecord::parse(&record.to_bytes()).unwrap();
            universe.insert(PackageKey::own(&names[canonical]), Some(Arc::new(Package::new(record))));
        }
        let config = format!(
            "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nlocal-registry = {:?}\n",
            dir.path().join("registry")
        );
        fs_err::create_dir_all(dir.path().join(".cargo")).unwrap();
        fs_err::write(dir.path().join(".cargo/config.toml"), config).unwrap();
        Self { dir, universe, sums }
    }

    /// What our resolver says of some cases together.
    pub(crate) fn ours(&self, cases: &[&Case]) -> Result<Solution, Vec<String>> {
        let roots: Vec<_> = cases.iter().flat_map(|case| case.requirements()).collect();
        let mut universe = self.universe.clone();
        loop {
            match solve(&roots, &universe, &rules()) {
                Outcome::Unknown(names) => names.into_keys().for_each(|key| universe.insert(key, None)),
                Outcome::Impossible(conflict) => return Err(conflict.because),
                Outcome::Solved(solution) => match solution.cycle() {
                    Some(cycle) => return Err(vec![format!("{} is a cycle", cycle.join(" -> "))]),
                    None => return Ok(solution),
                },
            }
        }
    }

    /// Our lock of some cases together.
    pub(crate) fn our_lock(&self, cases: &[&Case], solution: &Solution) -> String {
        let asks = cases.iter().map(|case| case.asks.len()).sum();
        let member = Member {
            name: "app".into(),
            version: Version::new("0.1.0").unwrap(),
            requirements: (0..asks).collect(),
            members: vec![],
        };
        cargo_lock::write(&[member], solution, &self.sums)
    }

    /// Cargo's lock of some cases together; what it says where there is none.
    pub(crate) fn cargos_lock(&self, cases: &[&Case]) -> Result<String, String> {
        let project = self.project(cases);
        let output = self.cargo(&project, &["generate-lockfile", "--offline", "--quiet"]);
        match output.status.success() {
            true => Ok(fs_err::read_to_string(project.join("Cargo.lock")).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Whether cargo takes a lock as it is.
    pub(crate) fn cargo_accepts(&self, cases: &[&Case], lock: &str) -> Result<(), String> {
        let project = self.project(cases);
        fs_err::write(project.join("Cargo.lock"), lock).unwrap();
        let output = self.cargo(&project, &["update", "--workspace", "--offline", "--locked", "--quiet"]);
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn project(&self, cases: &[&Case]) -> PathBuf {
        let project = self.dir.path().join("project");
        let _ = fs_err::remove_dir_all(&project);
        fs_err::create_dir_all(project.join("src")).unwrap();
        fs_err::write(project.join("src/lib.rs"), "").unwrap();
        let asks: Vec<&IndexDep> = cases.iter().flat_map(|case| &case.asks).collect();
        fs_err::write(project.join("Cargo.toml"), manifest(&asks)).unwrap();
        project
    }

    fn cargo(&self, dir: &Path, args: &[&str]) -> Output {
        Command::new("cargo")
            .args(args)
            .current_dir(dir)
            .env("CARGO_HOME", self.dir.path().join("home"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .expect("`cargo` runs")
    }
}

fn manifest(asks: &[&IndexDep]) -> String {
    let mut text = format!(
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"{RUST_VERSION}\"\n\n[dependencies]\n"
    );
    for (at, dep) in asks.iter().enumerate() {
        writeln!(
            text,
            "d{at} = {{ package = {:?}, version = {:?}, default-features = {}, features = {:?} }}",
            dep.package_name(),
            dep.req,
            dep.default_features,
            dep.features
        )
        .unwrap();
    }
    text
}

/// How many cases went how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The lock is cargo's own.
    pub(crate) equal: usize,
    /// Another one, which cargo takes as it is.
    pub(crate) accepted: usize,
    /// Another one, which cargo would have to take, and cannot read from a lock file; it has none itself.
    pub(crate) unreadable: usize,
    /// Neither finds one.
    pub(crate) impossible: usize,
}

/// Compares our resolver with cargo, case by case.
///
/// Cases that have an answer are asked of cargo together, because their packages have nothing in common; the others one by
/// one. Panics where cargo finds what we do not, or does not take what we found.
pub(crate) fn compare(cases: &[Case]) -> Tally {
    let world = World::new(cases);
    let (mut solvable, mut tally) = (Vec::new(), Tally::default());
    for case in cases {
        match world.ours(&[case]) {
            Ok(solution) => solvable.push((case, solution)),
            Err(because) => {
                if let Ok(lock) = world.cargos_lock(&[case]) {
                    panic!("{}\nwe find nothing: {because:#?}\ncargo finds\n{lock}", case.text);
                }
                tally.impossible += 1;
            }
        }
    }
    compare_solvable(&world, &solvable, &mut tally);
    tally
}

fn compare_solvable(world: &World, cases: &[(&Case, Solution)], tally: &mut Tally) {
    let all: Vec<&Case> = cases.iter().map(|(case, _)| *case).collect();
    let together = world.cargos_lock(&all);
    match (cases, together) {
        ([], _) => {}
        ([(case, solution)], theirs) => {
            let ours = world.our_lock(&all, solution);
            let theirs = match theirs {
                Ok(theirs) => theirs,
                // Cargo has given up where there is an answer: it takes ours.
                Err(error) => {
                    match world.cargo_accepts(&all, &ours) {
                        Ok(()) => tally.accepted += 1,
                        Err(_) if is_ambiguous(case, solution) => tally.unreadable += 1,
                        Err(refused) => {
                            panic!("{}\nwe find\n{ours}\ncargo: {error}\nand of ours: {refused}", case.text)
                        }
                    }
                    return;
                }
            };
            if ours == theirs {
                tally.equal += 1;
            } else if let Err(error) = world.cargo_accepts(&all, &ours) {
                panic!("{}\nwe find\n{ours}\ncargo finds\n{theirs}\nand says {error}", case.text);
            } else {
                tally.accepted += 1;
            }
        }
        (cases, Err(_)) => {
            let (left, right) = cases.split_at(cases.len() / 2);
            compare_solvable(world, left, tally);
            compare_solvable(world, right, tally);
        }
        (cases, Ok(theirs)) => {
            // What belongs to a case can be told by its names.
            let theirs = blocks(&theirs);
            let (same, other): (Vec<_>, Vec<_>) = cases.iter().partition(|(case, solution)| {
                let ours = blocks(&world.our_lock(&[case], solution));
                let names: BTreeSet<&str> = case.releases.iter().map(|line| line.name.as_str()).collect();
                let of_case = |(name, _): &(&String, &Vec<String>)| names.contains(name.as_str());
                ours.iter().filter(of_case).eq(theirs.iter().filter(of_case))
            });
            tally.equal += same.len();
            for (case, solution) in other {
                compare_solvable(world, &[(*case, solution.clone())], tally);
            }
        }
    }
}

/// Whether a release needs a package in two versions by requirements of which one would take either.
///
/// A lock file says which versions a release needs, but not by which of its requirements. Cargo takes the first version that
/// meets a requirement, and finds that it lacks a feature, or that the other one is not needed.
fn is_ambiguous(case: &Case, solution: &Solution) -> bool {
    solution.releases.iter().any(|((key, version), chosen)| {
        let of = |line: &&IndexLine| PackageKey::own(&line.name) == *key && line.vers == *version;
        let line = case.releases.iter().find(of).unwrap();
        line.deps.iter().any(|dep| {
            let (req, package) =
                (VersionReq::new(&dep.req).unwrap(), PackageName::new(dep.package_name()).unwrap());
            let meets = |(key, version): &&(PackageKey, Version)| {
                *key == PackageKey::own(&package) && req.matches(version)
            };
            chosen.dependencies.iter().filter(meets).count() > 1
        })
    })
}

/// The packages of a lock file, by name.
fn blocks(lock: &str) -> BTreeMap<String, Vec<String>> {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let name = block.split('"').nth(1).unwrap();
        blocks.entry(name.to_owned()).or_default().push(block.trim().to_owned());
    }
    blocks
}
