//! Cargo's rules as PubGrub's packages.
//!
//! PubGrub chooses one version of each package. So a *node* is what can have only one: a line of compatible versions of
//! a package ([`Node::Line`]); a feature of such a line, which needs the line in the same version ([`Node::Feature`]); a
//! requirement that several lines meet, whose versions are the lines ([`Node::Choice`]); a native library, whose versions
//! are the lines that link it ([`Node::Links`]).
//! A version of a line is its position in the ascending list of the package's versions.
//!
//! Dependencies lead to a line or a choice *with* the features that they ask for ([`Node::LineWith`],
//! [`Node::ChoiceWith`]). These are what is decided, the fewest candidates first, as in Cargo; line and features then
//! follow at once, because only one version is left to them. That makes the answer the one of Cargo in nearly all cases
//! where there are several.
//!
//! Owns the translation, and the order in which versions are tried. Does not own records or words.
//! Invariant: a requirement becomes exactly the set of versions that it matches, so that nothing has to be approximated
//! by intervals: pre-releases, yanked versions and features that only some versions have are simply not in the set.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    rc::Rc,
};

use drystone_schemas::{PackageName, ResolveDep};
use pubgrub::{
    Dependencies, DependencyConstraints, DependencyProvider, PackageResolutionStatistics, VersionSet,
};
use rustc_hash::FxHashMap as Map;

use super::{
    PackageKey, Requirement, Rules, Universe,
    met::{Matching, Met, has_feature, optional},
    positions::PositionSet,
    universe::RegistryId,
};

/// The name of the feature that is on unless it is turned off.
const DEFAULT: &str = "default";
/// After so many conflicts a node is decided before others.
const CONFLICTS_NOTICED: u32 = 5;

/// What PubGrub chooses one version of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Node {
    /// The project.
    Root,
    /// A line of compatible versions.
    Line(LineId),
    /// A feature of a line.
    Feature(LineId, Name),
    /// A requirement that several lines meet.
    Choice(u32),
    /// A line with the features of an ask.
    LineWith(LineId, FeatureSet),
    /// A choice with the features of an ask.
    ChoiceWith(u32, FeatureSet),
    /// A native library.
    Links(Name),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A package that was met, and one of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LineId {
    pub(super) package: u32,
    pub(super) line: u32,
}

/// A text by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u32);

/// A sorted list of features by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FeatureSet(u32);

/// Why a release cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It needs a package of a registry that the project does not name.
    Registry { package: String, url: String },
    /// One of its features names what it does not have.
    Feature { feature: String, missing: String },
    /// It needs what cannot be the name of a package.
    Name { package: String },
    /// It needs itself, in another version.
    Itself,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { package, url } => write!(f, "needs `{package}` from another registry, `{url}`"),
            Self::Feature { feature, missing } => {
                write!(f, "has a feature `{feature}` that names `{missing}`, which it does not have")
            }
            Self::Name { package } => write!(f, "needs `{package}`, which is no package name"),
            Self::Itself => f.write_str("needs itself in another version"),
        }
    }
}

/// A dependency that is in force.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// The package.
    pub(super) package: u32,
    /// The requirement, as it is written.
    pub(super) req: String,
    /// Features asked for, `default` among them.
    pub(super) features: Vec<Name>,
    /// Whether `default` is asked for by name, so that it must be there.
    default_by_name: bool,
}

impl Ask {
    /// An ask in which every feature must be there.
    pub(super) fn of(package: u32, req: String, features: Vec<Name>) -> Self {
        Self { package, req, features, default_by_name: false }
    }
}

struct ChoiceOf {
    package: u32,
    matching: Rc<Matching>,
    /// The lines, best first.
    best_first: Vec<u32>,
}

/// Texts by number.
type Names = (Map<String, Name>, Vec<Rc<str>>);
/// Sets of features by number.
type FeatureSets = (Map<Vec<Name>, FeatureSet>, Vec<Rc<[Name]>>);
/// Packages by number.
type Packages = (Map<PackageKey, u32>, Vec<Rc<Met>>);
/// Choices by number: who asks, for which package, by which requirement.
type Choices = (Map<(Option<LineId>, u32, String), u32>, Vec<Rc<ChoiceOf>>);

/// The graph as far as it was met.
pub(super) struct Graph<'a> {
    pub(super) roots: &'a [Requirement],
    universe: &'a Universe,
    rules: &'a Rules,
    names: RefCell<Names>,
    feature_sets: RefCell<FeatureSets>,
    met: RefCell<Packages>,
    choices: RefCell<Choices>,
    /// The version chosen last. While a line is decided, that is its version, because each decision asks here.
    decided: RefCell<Map<Node, u32>>,
    /// What was left of each line and choice when PubGrub last asked.
    left: RefCell<Map<Node, PositionSet>>,
    /// The order in which nodes were met, which decides between equals.
    order: RefCell<Map<Node, u32>>,
    next: Cell<u32>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(roots: &'a [Requirement], universe: &'a Universe, rules: &'a Rules) -> Self {
        Self {
            roots,
            universe,
            rules,
            names: RefCell::default(),
            feature_sets: RefCell::default(),
            met: RefCell::default(),
            choices: RefCell::default(),
            decided: RefCell::default(),
            left: RefCell::default(),
            order: RefCell::default(),
            next: Cell::new(0),
        }
    }

    /// The packages that were asked for and of which nothing is known.
    pub(super) fn unknown(&self) -> BTreeMap<PackageKey, PackageName> {
        let met = self.met.borrow();
        let unknown = met.1.iter().filter(|met| met.unknown);
        unknown.map(|met| (met.key.clone(), met.asked_as.clone())).collect()
    }

    /// The packages that were asked for and are known, or known not to exist.
    pub(super) fn consulted(&self) -> BTreeMap<PackageKey, PackageName> {
        let met = self.met.borrow();
        let known = met.1.iter().filter(|met| !met.unknown);
        known.map(|met| (met.key.clone(), met.asked_as.clone())).collect()
    }

    pub(super) fn name(&self, text: &str) -> Name {
        let mut names = self.names.borrow_mut();
        if let Some(name) = names.0.get(text) {
            return *name;
        }
        let name = Name(u32::try_from(names.1.len()).expect("fewer than 2^32 names are met"));
        names.0.insert(text.to_owned(), name);
        names.1.push(text.into());
        name
    }

    pub(super) fn text(&self, name: Name) -> Rc<str> {
        self.names.borrow().1[name.0 as usize].clone()
    }

    fn feature_set(&self, features: &[Name]) -> FeatureSet {
        let mut sets = self.feature_sets.borrow_mut();
        if let Some(set) = sets.0.get(features) {
            return *set;
        }
        let set = FeatureSet(u32::try_from(sets.1.len()).expect("fewer than 2^32 sets of features are met"));
        sets.0.insert(features.to_vec(), set);
        sets.1.push(features.into());
        set
    }

    /// The features of a set.
    pub(super) fn features(&self, set: FeatureSet) -> Rc<[Name]> {
        self.feature_sets.borrow().1[set.0 as usize].clone()
    }

    pub(super) fn met(&self, package: u32) -> Rc<Met> {
        self.met.borrow().1[package as usize].clone()
    }

    /// The number of a package, as one is met under this key.
    fn meet(&self, registry: RegistryId, text: &str) -> Result<u32, Unusable> {
        let canonical = text.to_ascii_lowercase().replace('_', "-");
        let key = PackageKey { registry, name: canonical };
        let mut met = self.met.borrow_mut();
        if let Some(package) = met.0.get(&key) {
            return Ok(*package);
        }
        let name = PackageName::new(text).map_err(|_| Unusable::Name { package: text.into() })?;
        let number = u32::try_from(met.1.len()).expect("fewer than 2^32 packages are met");
        let known = self.universe.get(&key);
        let new = Met::new(key.clone(), name, known.flatten().cloned(), known.is_none(), self.rules);
        met.1.push(Rc::new(new));
        met.0.insert(key, number);
        Ok(number)
    }

    /// The dependencies that a version of a node brings into force.
    pub(super) fn asks(&self, node: Node, position: u32) -> Result<Vec<Ask>, Unusable> {
        match node {
            Node::Root => self.roots.iter().map(|root| self.root_ask(root)).collect(),
            Node::Line(id) => {
                let met = self.met(id.package);
                let (package, release) = met.release(position);
                let needed = package.record().deps_of(release).filter(|dep| !dep.optional);
                needed.map(|dep| self.ask(&met, dep, None)).collect()
            }
            Node::Feature(id, feature) => Ok(self.expand(id, feature, position)?.0),
            Node::Choice(_) | Node::LineWith(..) | Node::ChoiceWith(..) | Node::Links(_) => Ok(Vec::new()),
        }
    }

    fn root_ask(&self, root: &Requirement) -> Result<Ask, Unusable> {
        let url = root.registry.as_deref();
        let registry = self.registry(RegistryId::default(), url, root.name.as_str())?;
        let package = self.meet(registry, root.name.as_str())?;
        Ok(self.ask_of(package, root.req.to_string(), &root.features, root.default_features, None))
    }

    fn ask(&self, from: &Met, dep: &ResolveDep, more: Option<&str>) -> Result<Ask, Unusable> {
        let name = dep.package_name();
        let registry = self.registry(from.key.registry, dep.registry.as_deref(), name)?;
        let package = self.meet(registry, name)?;
        Ok(self.ask_of(package, dep.req.clone(), &dep.features, dep.default_features, more))
    }

    fn registry(&self, from: RegistryId, url: Option<&str>, package: &str) -> Result<RegistryId, Unusable> {
        self.universe.registry(from, url).ok_or_else(|| Unusable::Registry {
            package: package.into(),
            url: url.unwrap_or_default().into(),
        })
    }

    fn ask_of(
        &self,
        package: u32,
        req: String,
        features: &[String],
        default: bool,
        more: Option<&str>,
    ) -> Ask {
        let by_name = || features.iter().map(String::as_str).chain(more);
        let mut all: Vec<Name> = by_name().map(|feature| self.name(feature)).collect();
        if default {
            all.push(self.name(DEFAULT));
        }
        all.sort_unstable();
        all.dedup();
        Ask { package, req, features: all, default_by_name: by_name().any(|feature| feature == DEFAULT) }
    }

    /// What a feature turns on: dependencies, and other features of the same release.
    fn expand(&self, id: LineId, feature: Name, position: u32) -> Result<(Vec<Ask>, Vec<Name>), Unusable> {
        let met = self.met(id.package);
        let (package, release) = met.release(position);
        let text = self.text(feature);
        let bad = |missing: &str| Unusable::Feature { feature: text.to_string(), missing: missing.into() };
        let (mut asks, mut features) = (Vec::new(), Vec::new());
        // The asks of all dependencies of a name, of which there may be several for several platforms.
        let deps_named = |name: &str, more: Option<&str>, asks: &mut Vec<Ask>| {
            let before = asks.len();
            for dep in package.record().deps_of(release).filter(|dep| dep.name == name) {
                asks.push(self.ask(&met, dep, more)?);
            }
            Ok(asks.len() - before)
        };
        let all_named = |name: &str, asks: &mut Vec<Ask>| match deps_named(name, None, asks)? {
            0 => Err(bad(name)),
            _ => Ok(()),
        };
        let row = package.feature(release, &text);
        if let Some(row) = row {
            for value in &row.values {
                if let Some(dep) = value.strip_prefix("dep:") {
                    all_named(dep, &mut asks)?;
                } else if let Some((dep, more)) = value.split_once('/') {
                    // The lock takes a weak feature for a strong one, as Cargo's does: it holds for every choice of features.
                    let weak = dep.ends_with('?');
                    let dep = dep.strip_suffix('?').unwrap_or(dep);
                    if !weak && has_feature(package, release, dep) && optional(package, release, dep) {
                        features.push(self.name(dep));
                    }
                    // None is named if it is a dependency for tests, which nobody but the package itself has.
                    deps_named(dep, Some(more), &mut asks)?;
                } else if has_feature(package, release, value) {
                    features.push(self.name(value));
                } else {
                    return Err(bad(value));
                }
            }
        }
        if row.is_none() && &*text != DEFAULT {
            // An optional dependency is a feature of its name, unless it is named by `dep:`.
            all_named(&text, &mut asks)?;
        }
        features.retain(|other| *other != feature);
        Ok((asks, features))
    }

    /// The lines that can answer an ask, with the versions that do.
    pub(super) fn answers(&self, ask: &Ask) -> Vec<(u32, PositionSet)> {
        let met = self.met(ask.package);
        let mut answers = met.matching(&ask.req).as_ref().clone();
        for feature in &ask.features {
            let text = self.text(*feature);
            if &*text != DEFAULT || ask.default_by_name {
                let featured = met.featured(*feature, &text);
                for (_, set) in &mut answers {
                    *set = set.intersection(&featured);
                }
            }
        }
        answers.retain(|(_, set)| !set.is_empty());
        answers
    }

    /// Whether several lines meet the requirement of an ask, with whatever features: then all asks of one release with that
    /// requirement must be answered by the same line.
    pub(super) fn is_choice(&self, ask: &Ask) -> bool {
        self.met(ask.package).matching(&ask.req).len() > 1
    }

    /// The node of a requirement that several lines meet, asked for by a release of `parent`.
    pub(super) fn choice(&self, parent: Option<LineId>, ask: &Ask) -> u32 {
        let mut choices = self.choices.borrow_mut();
        let key = (parent, ask.package, ask.req.clone());
        if let Some(choice) = choices.0.get(&key) {
            return *choice;
        }
        let met = self.met(ask.package);
        let matching = met.matching(&ask.req);
        let best = |set: &PositionSet| set.below(met.len()).map(|position| met.rank[position as usize]).min();
        let mut lines: Vec<(Option<u32>, u32)> =
            matching.iter().map(|(line, set)| (best(set), *line)).collect();
        lines.sort_unstable();
        let number = u32::try_from(choices.1.len()).expect("fewer than 2^32 requirements are met");
        let best_first = lines.into_iter().map(|(_, line)| line).collect();
        choices.1.push(Rc::new(ChoiceOf { package: ask.package, matching, best_first }));
        choices.0.insert(key, number);
        number
    }

    /// The package that a choice is about.
    pub(super) fn package_of_choice(&self, choice: u32) -> u32 {
        self.choices.borrow().1[choice as usize].package
    }

    /// PubGrub's dependencies for an ask.
    fn constrain(&self, parent: Option<LineId>, ask: &Ask, out: &mut Vec<(Node, PositionSet)>) {
        if self.met(ask.package).unknown {
            return;
        }
        let answers = self.answers(ask);
        let with = self.feature_set(&ask.features);
        match answers.as_slice() {
            [] => out.push((Node::Line(LineId { package: ask.package, line: 0 }), PositionSet::empty())),
            [(line, set)] if !self.is_choice(ask) => {
                let id = LineId { package: ask.package, line: *line };
                out.push((Node::Line(id), set.clone()));
                out.push((Node::LineWith(id, with), set.clone()));
            }
            several => {
                let choice = self.choice(parent, ask);
                let lines = PositionSet::ascending(several.iter().map(|(line, _)| *line));
                out.push((Node::Choice(choice), lines.clone()));
                out.push((Node::ChoiceWith(choice, with), lines));
            }
        }
    }

    fn constraints(&self, node: Node, position: u32) -> Result<Vec<(Node, PositionSet)>, Unusable> {
        let mut out = Vec::new();
        let parent = match node {
            Node::Root | Node::Links(_) => None,
            Node::Line(id) => {
                let met = self.met(id.package);
                if let Some(links) = &met.release(position).1.links {
                    // The line is the library's version: two lines cannot both be it.
                    let line = self.order_of(Node::Line(id));
                    out.push((Node::Links(self.name(links)), PositionSet::singleton(line)));
                }
                Some(id)
            }
            Node::Feature(id, feature) => {
                out.push((Node::Line(id), PositionSet::singleton(position)));
                let (_, features) = self.expand(id, feature, position)?;
                let of = |other: Name| (Node::Feature(id, other), PositionSet::singleton(position));
                out.extend(features.into_iter().map(of));
                Some(id)
            }
            Node::LineWith(id, with) => {
                out.push((Node::Line(id), PositionSet::singleton(position)));
                let of = |feature: &Name| (Node::Feature(id, *feature), PositionSet::singleton(position));
                out.extend(self.features(with).iter().map(of));
                return Ok(out);
            }
            Node::Choice(choice) => {
                let (id, set) = self.line_of_choice(choice, position);
                out.push((Node::Line(id), set));
                return Ok(out);
            }
            Node::ChoiceWith(choice, with) => {
                let (id, mut set) = self.line_of_choice(choice, position);
                let met = self.met(id.package);
                for feature in self.features(with).iter() {
                    let text = self.text(*feature);
                    if &*text != DEFAULT {
                        set = set.intersection(&met.featured(*feature, &text));
                    }
                }
                out.push((Node::Choice(choice), PositionSet::singleton(position)));
                out.push((Node::Line(id), set.clone()));
                out.push((Node::LineWith(id, with), set));
                return Ok(out);
            }
        };
        for ask in self.asks(node, position)? {
            self.constrain(parent, &ask, &mut out);
        }
        if let Some(own) = parent {
            let (to_own, others): (Vec<_>, Vec<_>) =
                out.into_iter().partition(|(to, _)| *to == Node::Line(own));
            if to_own.iter().any(|(_, set)| !set.contains(&position)) {
                return Err(Unusable::Itself);
            }
            // PubGrub has no dependency of a node on itself.
            let keep = |_: &(Node, PositionSet)| matches!(node, Node::Feature(..));
            out = to_own.into_iter().filter(keep).chain(others).filter(|(to, _)| *to != node).collect();
        }
        Ok(out)
    }

    fn line_of_choice(&self, choice: u32, line: u32) -> (LineId, PositionSet) {
        let of = self.choices.borrow().1[choice as usize].clone();
        let set = of.matching.iter().find(|(number, _)| *number == line).map(|(_, set)| set.clone());
        (LineId { package: of.package, line }, set.unwrap_or_else(PositionSet::empty))
    }

    /// The version of a line that is best, of those in a set.
    fn best(&self, id: LineId, range: &PositionSet) -> Option<u32> {
        let met = self.met(id.package);
        met.best_first[id.line as usize].iter().copied().find(|position| range.contains(position))
    }

    /// The line that is best, of those in a set.
    fn best_line(&self, choice: u32, range: &PositionSet) -> Option<u32> {
        let of = self.choices.borrow().1[choice as usize].clone();
        of.best_first.iter().copied().find(|line| range.contains(line))
    }

    /// What a line or choice was decided to be, else the best that is left to it, else the best there is.
    ///
    /// What is known of the other node may be out of date. Then the choice made here fails, and is made again.
    fn like(
        &self,
        node: Node,
        range: &PositionSet,
        best: impl Fn(&PositionSet) -> Option<u32>,
    ) -> Option<u32> {
        let decided = self.decided.borrow().get(&node).copied();
        let left = self.left.borrow().get(&node).map(|left| left.intersection(range));
        decided
            .filter(|chosen| left.as_ref().unwrap_or(range).contains(chosen))
            .or_else(|| left.and_then(|left| best(&left)))
            .or_else(|| best(range))
    }

    fn order_of(&self, node: Node) -> u32 {
        *self.order.borrow_mut().entry(node).or_insert_with(|| {
            let number = self.next.get();
            self.next.set(number + 1);
            number
        })
    }
}

impl DependencyProvider for Graph<'_> {
    type P = Node;
    type V = u32;
    type VS = PositionSet;
    /// Nothing left to decide; often in conflict; not a line or choice itself; few candidates; met early.
    type Priority = (bool, bool, bool, Reverse<u32>, Reverse<u32>);
    type M = Unusable;
    type Err = Infallible;

    fn prioritize(
        &self,
        node: &Node,
        range: &PositionSet,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let candidates = match *node {
            Node::Root | Node::Links(_) => 1,
            Node::Line(id) | Node::Feature(id, _) | Node::LineWith(id, _) => {
                range.count_below(self.met(id.package).lines[id.line as usize].end)
            }
            Node::Choice(choice) | Node::ChoiceWith(choice, _) => {
                let of = self.choices.borrow().1[choice as usize].clone();
                let end = self.met(of.package).len();
                let inside = of.matching.iter().filter(|(line, _)| range.contains(line));
                inside.map(|(_, set)| set.count_below(end)).sum()
            }
        };
        let follows = matches!(node, Node::Line(_) | Node::Choice(_));
        if follows {
            self.left.borrow_mut().insert(*node, range.clone());
        }
        let single = match node {
            Node::LineWith(..) | Node::ChoiceWith(..) => false,
            Node::Choice(_) => range.count_below(u32::MAX) == 1,
            _ => candidates == 1,
        };
        let troubled = statistics.conflict_count() >= CONFLICTS_NOTICED;
        (single, troubled, !follows, Reverse(candidates), Reverse(self.order_of(*node)))
    }

    fn choose_version(&self, node: &Node, range: &PositionSet) -> Result<Option<u32>, Infallible> {
        let chosen = match *node {
            Node::Root | Node::Links(_) => range.first(),
            Node::Line(id) | Node::Feature(id, _) => self.best(id, range),
            Node::LineWith(id, _) => self.like(Node::Line(id), range, |range| self.best(id, range)),
            Node::Choice(choice) => self.best_line(choice, range),
            Node::ChoiceWith(choice, _) => {
                self.like(Node::Choice(choice), range, |range| self.best_line(choice, range))
            }
        };
        if let (Some(chosen), Node::Line(_) | Node::Choice(_)) = (chosen, node) {
            self.decided.borrow_mut().insert(*node, chosen);
        }
        Ok(chosen)
    }

    fn get_dependencies(
        &self,
        node: &Node,
        position: &u32,
    ) -> Result<Dependencies<Node, PositionSet, Unusable>, Infallible> {
        Ok(match self.constraints(*node, *position) {
            Ok(all) => {
                for (to, _) in &all {
                    self.order_of(*to);
                }
                Dependencies::Available(all.into_iter().collect::<DependencyConstraints<_, _>>())
            }
            Err(reason) => Dependencies::Unavailable(reason),
        })
    }
}
