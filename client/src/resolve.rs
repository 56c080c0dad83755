//! Which versions: from requirements to versions of every package that they lead to.
//!
//! Owns the rules of choosing: requirements, features, compatible versions, native libraries, yanked and pre-releases,
//! locked versions, compiler versions. The search itself is PubGrub's. Does not own where records come from: the caller
//! hands in what is known, and is told what else is needed.
//! Invariant: equal inputs give equal answers; no clock, no randomness, no map whose order is by chance.
//!
//! The rules are those of Cargo, as its manual has them ("Dependency Resolution", "Features"). How they become PubGrub's
//! packages is told in `graph`.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{PackageName, Version, VersionReq};

pub mod cargo_lock;
mod explain;
mod graph;
mod met;
mod overlay;
mod package;
mod positions;
mod solution;
mod universe;

pub use overlay::{Local, Overlay};
pub use package::Package;
pub use solution::{Chosen, Solution};
pub use universe::{PackageKey, RegistryId, Universe};

/// One requirement of the project itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The package, in any spelling.
    pub name: PackageName,
    /// Which versions will do.
    pub req: VersionReq,
    /// Features asked for.
    pub features: Vec<String>,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Index URL of the registry it comes from; none means the project's own.
    pub registry: Option<String>,
}

impl Requirement {
    /// A requirement with default features, from the project's own registry.
    pub fn new(name: PackageName, req: VersionReq) -> Self {
        Self { name, req, features: Vec::new(), default_features: true, registry: None }
    }
}

/// How many versions of a package one answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// One.
    One,
    /// One of each line of compatible versions: 1.x, 2.x, 0.3.x, 0.4.x.
    OnePerCompatible,
}

/// Which of several versions that will do is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The newest.
    NewestFirst,
    /// The oldest: `--minimal-versions`.
    OldestFirst,
}

/// The rules of one choice.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How many versions of a package may stand side by side.
    pub versions: Versions,
    /// Which version is taken, among those that are neither locked nor set back for their compiler version.
    pub order: Order,
    /// The compiler: releases that need a newer one are taken only if no other will do.
    pub rust_version: Option<semver::Version>,
    /// Versions that are taken before all others, and may be yanked.
    pub locked: BTreeMap<PackageKey, BTreeSet<Version>>,
    /// What the project says of packages in place of their registry; counts where packages are fetched.
    pub overlay: Overlay,
}

impl Rules {
    /// The newest version of everything, so many versions of a package side by side.
    pub const fn newest(versions: Versions) -> Self {
        Self {
            versions,
            order: Order::NewestFirst,
            rust_version: None,
            locked: BTreeMap::new(),
            overlay: Overlay::none(),
        }
    }
}

impl Default for Rules {
    /// The newest version of everything, one of each package.
    fn default() -> Self {
        Self::newest(Versions::One)
    }
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Solved(Solution),
    /// These packages must be known first, under the names by which they are asked for; all that the search met, so that
    /// they can be fetched together.
    Unknown(BTreeMap<PackageKey, PackageName>),
    /// There is no answer.
    Impossible(Conflict),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Sentence by sentence.
    pub because: Vec<String>,
    /// What to do about a package that no requirement can bring.
    pub advice: Option<String>,
    /// Requirements of the project that take part in it, by their position.
    pub requirements: BTreeSet<usize>,
    /// The packages that it rests on, under the names by which they are asked for.
    pub consulted: BTreeMap<PackageKey, PackageName>,
}

/// Chooses versions so that every requirement holds.
///
/// The search is complete: it ends with an answer if there is one.
pub fn solve(roots: &[Requirement], universe: &Universe, rules: &Rules) -> Outcome {
    let graph = graph::Graph::new(roots, universe, rules);
    let found = pubgrub::resolve(&graph, graph::Node::Root, 0u32);
    let unknown = graph.unknown();
    if !unknown.is_empty() {
        // What was left out may change everything, also whether there is an answer.
        return Outcome::Unknown(unknown);
    }
    match found {
        Ok(selected) => Outcome::Solved(solution::extract(&graph, &selected)),
        Err(pubgrub::PubGrubError::NoSolution(tree)) => Outcome::Impossible(explain::explain(&graph, &tree)),
        // The other variants carry an error of the graph's methods, whose error type has no value.
        Err(_) => unreachable!("no method of the graph fails"),
    }
}

/// A way out of a conflict, found by changing one requirement of the project and solving again; or else its advice.
///
/// Each requirement that takes part in the conflict is dropped in turn; what then is chosen becomes the new requirement,
/// and only if that solves too is it worth saying.
pub fn suggest(
    roots: &[Requirement],
    universe: &Universe,
    rules: &Rules,
    conflict: &Conflict,
) -> Option<String> {
    let any = VersionReq::new("*").expect("a star is a requirement");
    for &at in &conflict.requirements {
        let root = &roots[at];
        let mut looser = roots.to_vec();
        looser[at].req = any.clone();
        let Outcome::Solved(solution) = solve(&looser, universe, rules) else { continue };
        let Some(chosen) = solution.direct.get(at).and_then(Option::as_ref) else { continue };
        let wanted = format!("^{}", chosen.1.precedence_key());
        looser[at].req = VersionReq::new(&wanted).expect("a caret before a version is a requirement");
        if matches!(solve(&looser, universe, rules), Outcome::Solved(_)) {
            return Some(format!("`{}` {wanted} would do, in place of {}", root.name, root.req));
        }
    }
    conflict.advice.clone()
}

#[cfg(test)]
mod tests;
