//! What synthetic packages look like: distributions measured on the index of a large public registry.
//!
//! The measurements (1,708 index files that three real projects needed): releases of a package p50 25 and p99 247, at most
//! 1,500; 10.9 dependencies a release, of which 21 % for tests, 29 % optional, 8 % for one platform; 2,030 bytes an index line.
//! Those are popular packages. Here releases keep the spread (p99 is 9.9 times p50, log-normal) around the mean that is
//! asked for; dependencies and lines are as measured. Which package is needed follows Zipf's law, among those with a lower
//! number, which are older: so every dependency can be resolved, none leads back, and packages can be published by number.
//! Owns: everything of a release as a function of seed, package and position. Invariant: nothing here is random.

use std::collections::BTreeMap;

use drystone_schemas::{
    DepKind, Format, PackageName, RecordDep, RecordFile, Sha256Digest, Version, VersionRecord,
};

use super::Plan;

/// Standard deviation of the logarithm: the 99th percentile lies 2.326 of it above the median, at 9.9 times as many.
const SPREAD: f64 = 0.985;
/// Most releases of a package.
const RELEASES_MAX: f64 = 1_500.0;
/// Dependencies of a package: this many on average, evenly from none to twice as many.
const DEPENDENCIES_MEAN: f64 = 10.9;
/// One of so many releases is yanked later.
const YANKED_ONE_OF: u64 = 70;
/// The archive of every release.
pub(super) const ARCHIVE: &[u8] = b"a synthetic archive\n";

/// What happens to a package, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The release with this number, from 0.
    Publish(u32),
    /// The release with this number is yanked.
    Yank(u32),
}

/// The packages of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape(pub(super) Plan);

/// Numbers that look random and depend on the position alone (SplitMix64).
fn mix(seed: u64, of: [u64; 3]) -> u64 {
    of.into_iter().fold(seed, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The same as a number above 0 and below 1.
fn unit(number: u64) -> f64 {
    ((number >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

impl Shape {
    fn mix(&self, package: u32, what: u64, at: u64) -> u64 {
        mix(self.0.seed, [u64::from(package), what, at])
    }

    /// Number of releases.
    fn releases(&self, package: u32) -> u32 {
        let (u, v) = (unit(self.mix(package, 1, 0)), unit(self.mix(package, 1, 1)));
        // Box and Muller's way from even to normal numbers; the mean of the logarithm follows from the mean asked for.
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let median_ln = self.0.releases_mean.ln() - SPREAD * SPREAD / 2.0;
        (median_ln + SPREAD * normal).exp().round().clamp(1.0, RELEASES_MAX) as u32
    }

    /// Everything that happens to a package.
    pub(super) fn steps(&self, package: u32) -> impl Iterator<Item = Step> {
        let shape = *self;
        (0..self.releases(package)).flat_map(move |release| {
            let yank = shape.is_yanked(package, release).then_some(Step::Yank(release));
            [Some(Step::Publish(release)), yank].into_iter().flatten()
        })
    }

    /// Whether a release is yanked later. The first one never is, so that there is always one to choose.
    fn is_yanked(&self, package: u32, release: u32) -> bool {
        release > 0 && self.mix(package, 2, u64::from(release)).is_multiple_of(YANKED_ONE_OF)
    }

    /// When the step takes place among all, as a number that only its order matters of: later steps of a package later, and
    /// packages that are born all the time, one after the other.
    pub(super) fn moment(&self, package: u32, at: usize, steps: usize) -> u64 {
        let birth = f64::from(package) / f64::from(self.0.packages);
        let share = (at as f64 + 0.9 * unit(self.mix(package, 4, at as u64))) / steps as f64;
        ((birth + (1.0 - birth) * share) * (1_u64 << 52) as f64) as u64
    }

    /// The name: syllables that count, so that no two are alike.
    pub(super) fn name(&self, package: u32) -> PackageName {
        const ENDS: [&str; 8] = ["", "-core", "", "-derive", "_sys", "", "-macros", "-utils"];
        let (mut rest, mut text) = (package, String::new());
        for _ in 0..4 {
            text.push(char::from(b"bcdfgklmnprstv"[(rest % 14) as usize]));
            text.push(char::from(b"aeiou"[(rest / 14 % 5) as usize]));
            rest /= 70;
        }
        text.push_str(ENDS[(mix(7, [u64::from(package), 0, 0]) % 8) as usize]);
        PackageName::new(text).expect("letters, then a known end")
    }

    /// The version of a release: mostly patches, some minor and few major ones.
    pub(super) fn version(release: u32) -> Version {
        let (major, minor, patch) = (release / 40, release / 8 % 5, release % 8);
        Version::new(&format!("{major}.{}.{patch}", minor + 1)).expect("three numbers")
    }

    /// The package that is needed so often as its rank says, by Zipf's law with exponent 1, of those with a lower number; none
    /// if there is none.
    fn needed(&self, package: u32, slot: u64) -> Option<u32> {
        let older = package.checked_sub(1)?;
        let rank = (unit(self.mix(package, 5, slot)) * f64::from(package).ln()).exp() as u32;
        Some(rank.saturating_sub(1).min(older))
    }

    fn dependency(&self, package: u32, release: u32, slot: u64) -> Option<RecordDep> {
        let needed = self.needed(package, slot)?;
        let kind = self.mix(package, 6, slot);
        // Now and then a release asks for more than the one before, as far as there is more.
        let asked =
            ((u64::from(release) + kind % 9) / 9 * 8).min(u64::from(self.releases(needed)) - 1) as u32;
        let asked = (0..=asked).rev().find(|release| !self.is_yanked(needed, *release));
        let least = Self::version(asked.expect("the first release is never yanked"));
        let of_100 = kind >> 32;
        Some(RecordDep {
            name: self.name(needed).to_string(),
            rename: None,
            req: format!("^{}.{}", least.semver().major, least.semver().minor),
            features: if kind.is_multiple_of(5) { vec!["std".into(), "alloc".into()] } else { Vec::new() },
            optional: of_100 % 100 >= 21 && of_100 % 100 < 50,
            default_features: !kind.is_multiple_of(4),
            target: (kind >> 16).is_multiple_of(12).then(|| "cfg(target_os = \"linux\")".to_owned()),
            kind: if of_100 % 100 < 21 { DepKind::Dev } else { DepKind::Normal },
            registry_index: None,
        })
    }

    /// The version record of a release.
    pub(super) fn record(&self, package: u32, release: u32) -> VersionRecord {
        let most = (2.0 * DEPENDENCIES_MEAN) as u64 + 1;
        let dependencies = self.mix(package, 7, 0) % (most + 1);
        let mut deps: Vec<RecordDep> =
            (0..dependencies).filter_map(|slot| self.dependency(package, release, slot)).collect();
        deps.sort_by(|one, other| one.name.cmp(&other.name));
        deps.dedup_by(|one, other| one.name == other.name);
        let optional = deps.iter().filter(|dep| dep.optional);
        let mut features: BTreeMap<String, Vec<String>> =
            optional.map(|dep| (dep.name.clone(), vec![format!("dep:{}", dep.name)])).collect();
        features.insert("default".into(), vec!["std".into()]);
        features.insert("std".into(), Vec::new());
        let digest =
            |of: u64| Sha256Digest::of(&self.mix(package, 8 + of, u64::from(release)).to_be_bytes()).hex();
        let file = |(at, path): (u64, &str)| RecordFile(path.to_owned(), 1_000 + at, digest(at));
        let vers = Self::version(release);
        VersionRecord {
            v: VersionRecord::V,
            name: self.name(package),
            format: Format::Generic,
            tarball: Sha256Digest::of(ARCHIVE),
            size: ARCHIVE.len() as u64,
            unpacked: 40_000,
            deps,
            features,
            links: None,
            rust_version: Some("1.70".into()),
            description: Some(format!("A synthetic package, number {package}, for measuring.")),
            license: Some("MIT OR Apache-2.0".into()),
            authors: Vec::new(),
            keywords: vec!["synthetic".into(), "scale".into()],
            categories: vec!["development-tools".into()],
            homepage: None,
            repository: Some(format!("https://synthetic.invalid/{package}")),
            documentation: None,
            readme: None,
            vcs: None,
            zig: None,
            files: (0..).zip(["LICENSE", "README.md", "src/lib.rs"]).map(file).collect(),
            vers,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use drystone_schemas::VersionReq;

    use super::*;

    #[test]
    fn the_shape_is_what_was_measured() {
        let shape = Shape(Plan { packages: 20_000, releases_mean: 10.0, seed: 1 });
        let names: BTreeSet<String> = (0..20_000).map(|at| shape.name(at).canonical()).collect();
        assert_eq!(names.len(), 20_000);
        let mut releases: Vec<u32> = (0..20_000).map(|at| shape.releases(at)).collect();
        releases.sort_unstable();
        let (p50, p99) = (f64::from(releases[10_000]), f64::from(releases[19_800]));
        let mean = f64::from(releases.iter().sum::<u32>()) / 20_000.0;
        assert!((8.5..11.5).contains(&(p99 / p50)), "{p50} {p99}");
        assert!((9.5..10.5).contains(&mean), "{mean}");
        let records: Vec<VersionRecord> = (0..2_000).map(|at| shape.record(10 * at, at % 30)).collect();
        let deps = || records.iter().flat_map(|record| &record.deps);
        let mean = deps().count() as f64 / 2_000.0;
        assert!((9.5..11.5).contains(&mean), "{mean}");
        let share =
            |of: &dyn Fn(&&RecordDep) -> bool| deps().filter(of).count() as f64 / deps().count() as f64;
        assert!((0.19..0.23).contains(&share(&|dep| dep.kind == DepKind::Dev)));
        assert!((0.27..0.31).contains(&share(&|dep| dep.optional)));
        assert!((0.07..0.09).contains(&share(&|dep| dep.target.is_some())));
    }
    #[test]
    fn every_dependency_is_an_older_package_with_a_release_that_fits() {
        let shape = Shape(Plan { packages: 3_000, releases_mean: 10.0, seed: 1 });
        let numbers: BTreeMap<String, u32> = (0..3_000).map(|at| (shape.name(at).to_string(), at)).collect();
        assert_eq!(shape.record(0, 0).deps, []);
        for package in 0..3_000 {
            for release in [0, shape.releases(package) - 1] {
                for dep in shape.record(package, release).deps {
                    let needed = numbers[&dep.name];
                    assert!(needed < package, "{package} needs {needed}");
                    let wanted = VersionReq::new(&dep.req).unwrap();
                    let fits = |at: u32| wanted.matches(&Shape::version(at)) && !shape.is_yanked(needed, at);
                    assert!((0..shape.releases(needed)).any(fits), "{package} needs {needed} {wanted}");
                }
            }
        }
    }
}
