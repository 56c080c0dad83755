//! A package as one choice sees it: which of its versions may be chosen, in which order, and which meet a requirement.
//!
//! Owns the order of preference and what is computed once for each requirement and feature. Does not own what asks.

use std::{cell::RefCell, ops::Range, rc::Rc, sync::Arc};

use drystone_schemas::{PackageName, ResolveFeature, ResolveRelease};
use rustc_hash::FxHashMap as Map;

use super::{Order, Package, PackageKey, Rules, graph::Name, positions::PositionSet};

/// A package that was met.
pub(super) struct Met {
    pub(super) key: PackageKey,
    /// The name as the first who asked for it writes it.
    pub(super) asked_as: PackageName,
    /// None if it does not exist, or is not known.
    pub(super) package: Option<Arc<Package>>,
    pub(super) unknown: bool,
    pub(super) lines: Vec<Range<u32>>,
    /// Which positions may be chosen.
    usable: Vec<bool>,
    /// For each position its place in the order of preference; less is better.
    pub(super) rank: Vec<u32>,
    /// The positions of each line, best first.
    pub(super) best_first: Vec<Vec<u32>>,
    /// The usable versions that meet a requirement, by line.
    matching: RefCell<Map<String, Rc<Matching>>>,
    /// The rows of the record's table of features that a name has.
    rows: RefCell<Map<Name, Range<u32>>>,
    /// The positions with a feature.
    featured: RefCell<Map<Name, Rc<PositionSet>>>,
}

/// For each line with a match, the matches.
pub(super) type Matching = Vec<(u32, PositionSet)>;

impl Met {
    pub(super) fn new(
        key: PackageKey,
        asked_as: PackageName,
        package: Option<Arc<Package>>,
        unknown: bool,
        rules: &Rules,
    ) -> Self {
        let locked = rules.locked.get(&key);
        let len = package.as_ref().map_or(0, |package| package.len());
        let lines =
            package.as_ref().map_or_else(|| vec![Range::default()], |package| package.lines(rules.versions));
        let is_locked = |release: &ResolveRelease| {
            locked.is_some_and(|all| {
                all.iter().any(|one| one.semver().cmp_precedence(release.vers.semver()).is_eq())
            })
        };
        let mut usable = Vec::with_capacity(len as usize);
        let mut keys = Vec::with_capacity(len as usize);
        for position in 0..len {
            let package = package.as_ref().expect("a package that does not exist has no position");
            let release = package.release(position);
            let kept = is_locked(release);
            usable.push(!release.yanked || kept);
            let too_new = needs_newer_compiler(release, rules);
            let age = match rules.order {
                Order::NewestFirst => len - position,
                Order::OldestFirst => position,
            };
            keys.push((!kept, too_new, age, position));
        }
        keys.sort_unstable();
        let mut rank = vec![0; len as usize];
        for (place, (.., position)) in (0..).zip(&keys) {
            rank[*position as usize] = place;
        }
        let in_line = |line: &Range<u32>| {
            let mut all: Vec<u32> = line.clone().collect();
            all.sort_unstable_by_key(|position| rank[*position as usize]);
            all
        };
        let best_first = lines.iter().map(in_line).collect();
        Self {
            key,
            asked_as,
            package,
            unknown,
            lines,
            usable,
            rank,
            best_first,
            matching: RefCell::default(),
            rows: RefCell::default(),
            featured: RefCell::default(),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.package.as_ref().map_or(0, |package| package.len())
    }

    /// The release at a position; only a package that exists has one.
    pub(super) fn release(&self, position: u32) -> (&Package, &ResolveRelease) {
        let package = self.package.as_ref().expect("only a package that exists has versions");
        (package, package.release(position))
    }

    /// Every position whose version meets a requirement, yanked or not.
    pub(super) fn meeting(&self, req: &str) -> Vec<u32> {
        let Ok(req) = semver::VersionReq::parse(req) else { return Vec::new() };
        (0..self.len()).filter(|position| req.matches(self.release(*position).1.vers.semver())).collect()
    }

    pub(super) fn is_usable(&self, position: u32) -> bool {
        self.usable[position as usize]
    }

    pub(super) fn matching(&self, req: &str) -> Rc<Matching> {
        if let Some(known) = self.matching.borrow().get(req) {
            return known.clone();
        }
        let mut found: Matching = Vec::new();
        let usable: Vec<u32> =
            self.meeting(req).into_iter().filter(|position| self.is_usable(*position)).collect();
        for (number, line) in (0..).zip(&self.lines) {
            let set =
                PositionSet::ascending(usable.iter().copied().filter(|position| line.contains(position)));
            if !set.is_empty() {
                found.push((number, set));
            }
        }
        let found = Rc::new(found);
        self.matching.borrow_mut().insert(req.to_owned(), found.clone());
        found
    }

    pub(super) fn featured(&self, name: Name, feature: &str) -> Rc<PositionSet> {
        if let Some(known) = self.featured.borrow().get(&name) {
            return known.clone();
        }
        let has = |position: &u32| self.has_feature(name, feature, self.release(*position).1);
        let set = Rc::new(PositionSet::ascending((0..self.len()).filter(has)));
        self.featured.borrow_mut().insert(name, set.clone());
        set
    }

    /// What a release says of a feature, if it is written down.
    pub(super) fn feature<'a>(
        &'a self,
        name: Name,
        feature: &str,
        release: &ResolveRelease,
    ) -> Option<&'a ResolveFeature> {
        let package = self.package.as_ref()?;
        let rows = self.rows.borrow_mut().entry(name).or_insert_with(|| package.rows(feature)).clone();
        package.feature_among(rows, release)
    }

    /// Whether a release has a feature, written down or by an optional dependency of that name.
    pub(super) fn has_feature(&self, name: Name, feature: &str, release: &ResolveRelease) -> bool {
        let Some(package) = &self.package else { return false };
        if self.feature(name, feature, release).is_some() {
            return true;
        }
        optional(package, release, feature) && {
            let listed = |value: &String| value.strip_prefix("dep:") == Some(feature);
            !package.record().features_of(release).any(|row| row.values.iter().any(listed))
        }
    }
}

/// Whether a release has an optional dependency of a name.
pub(super) fn optional(package: &Package, release: &ResolveRelease, dep: &str) -> bool {
    package.record().deps_of(release).any(|row| row.optional && row.name == dep)
}

fn needs_newer_compiler(release: &ResolveRelease, rules: &Rules) -> bool {
    let (Some(have), Some(needed)) = (&rules.rust_version, &release.rust_version) else { return false };
    let mut numbers = needed.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) > (have.major, have.minor, have.patch)
}
