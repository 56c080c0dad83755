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
//! Owns the nodes and what was met; [`asks`] has what releases need, [`search`] what PubGrub asks. Does not own records or words.
//! Invariant: a requirement becomes exactly the set of versions that it matches, so that nothing has to be approximated
//! by intervals: pre-releases, yanked versions and features that only some versions have are simply not in the set.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
};

use drystone_schemas::PackageName;
use rustc_hash::FxHashMap as Map;

use super::{
    PackageKey, Requirement, Rules, Universe,
    met::{Matching, Met},
    positions::PositionSet,
    universe::RegistryId,
};

mod asks;
mod search;

/// The name of the feature that is on unless it is turned off.
const DEFAULT: &str = "default";

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    /// The package.
    pub(super) package: u32,
    /// The requirement, as it is written.
    pub(super) req: Rc<str>,
    /// Features asked for, `default` among them.
    pub(super) features: FeatureSet,
    /// Whether `default` is asked for by name, so that it must be there.
    default_by_name: bool,
}

/// What can answer an ask.
#[derive(Debug)]
pub(super) struct Answers {
    /// The lines that can, with the versions that do.
    pub(super) lines: Vec<(u32, PositionSet)>,
    /// Whether several lines meet the requirement, with whatever features: then all asks of one release with that requirement
    /// must be answered by the same line.
    pub(super) is_choice: bool,
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
type Choices = (Map<(Option<LineId>, u32, Rc<str>), u32>, Vec<Rc<ChoiceOf>>);
/// What a feature of a release turns on: dependencies, and other features of the same release.
type Expansion = (Rc<[Ask]>, Rc<[Name]>);

/// The graph as far as it was met.
pub(super) struct Graph<'a> {
    pub(super) roots: &'a [Requirement],
    universe: &'a Universe,
    rules: &'a Rules,
    names: RefCell<Names>,
    feature_sets: RefCell<FeatureSets>,
    met: RefCell<Packages>,
    choices: RefCell<Choices>,
    /// Packages by how they are spelt, and where.
    spelt: RefCell<Map<String, Vec<(RegistryId, u32)>>>,
    /// The asks of versions of lines, which are wanted more than once; those of features likewise.
    line_asks: RefCell<Map<(LineId, u32), Rc<[Ask]>>>,
    expansions: RefCell<Map<(LineId, Name, u32), Expansion>>,
    /// What can answer an ask, which many have in common.
    answers: RefCell<Map<Ask, Rc<Answers>>>,
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
            spelt: RefCell::default(),
            line_asks: RefCell::default(),
            expansions: RefCell::default(),
            answers: RefCell::default(),
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

    pub(super) fn feature_set(&self, features: &[Name]) -> FeatureSet {
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
        if let Some(known) = self.spelt.borrow().get(text)
            && let Some((_, package)) = known.iter().find(|(of, _)| *of == registry)
        {
            return Ok(*package);
        }
        let package = self.meet_key(registry, text)?;
        self.spelt.borrow_mut().entry(text.to_owned()).or_default().push((registry, package));
        Ok(package)
    }

    fn meet_key(&self, registry: RegistryId, text: &str) -> Result<u32, Unusable> {
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

    fn order_of(&self, node: Node) -> u32 {
        *self.order.borrow_mut().entry(node).or_insert_with(|| {
            let number = self.next.get();
            self.next.set(number + 1);
            number
        })
    }
}
