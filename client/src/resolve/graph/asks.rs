//! What releases need: which dependencies are in force, and what can answer them.
//!
//! Owns Cargo's rules of features and requirements. Does not own the order in which versions are tried.
//! Invariant: what was worked out once is not worked out again, because a choice asks for it at every step.

use std::rc::Rc;

use drystone_schemas::ResolveDep;
use pubgrub::VersionSet as _;

use super::{Answers, Ask, DEFAULT, Expansion, Graph, LineId, Name, Node, Unusable};
use crate::resolve::{
    Requirement,
    met::{Met, optional},
    universe::RegistryId,
};

impl Graph<'_> {
    /// The dependencies that a version of a node brings into force.
    pub(in crate::resolve) fn asks(&self, node: Node, position: u32) -> Result<Rc<[Ask]>, Unusable> {
        match node {
            Node::Root => self.roots.iter().map(|root| self.root_ask(root)).collect(),
            Node::Line(id) => {
                if let Some(known) = self.line_asks.borrow().get(&(id, position)) {
                    return Ok(known.clone());
                }
                let met = self.met(id.package);
                let (package, release) = met.release(position);
                let needed = package.record().deps_of(release).filter(|dep| !dep.optional);
                let asks: Rc<[Ask]> =
                    needed.map(|dep| self.ask(&met, dep, None)).collect::<Result<_, _>>()?;
                self.line_asks.borrow_mut().insert((id, position), asks.clone());
                Ok(asks)
            }
            Node::Feature(id, feature) => Ok(self.expand(id, feature, position)?.0),
            Node::Choice(_) | Node::LineWith(..) | Node::ChoiceWith(..) | Node::Links(_) => Ok(Rc::default()),
        }
    }

    fn root_ask(&self, root: &Requirement) -> Result<Ask, Unusable> {
        let url = root.registry.as_deref();
        let registry = self.registry(RegistryId::default(), url, root.name.as_str())?;
        let package = self.meet(registry, root.name.as_str())?;
        Ok(self.ask_of(package, root.req.to_string().into(), &root.features, root.default_features, None))
    }

    fn ask(&self, from: &Met, dep: &ResolveDep, more: Option<&str>) -> Result<Ask, Unusable> {
        let name = dep.package_name();
        let registry = self.registry(from.key.registry, dep.registry.as_deref(), name)?;
        let package = self.meet(registry, name)?;
        Ok(self.ask_of(package, dep.req.as_str().into(), &dep.features, dep.default_features, more))
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
        req: Rc<str>,
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
        let default_by_name = by_name().any(|feature| feature == DEFAULT);
        Ask { package, req, features: self.feature_set(&all), default_by_name }
    }

    /// An ask in which every feature must be there.
    pub(in crate::resolve) fn ask_for(&self, package: u32, req: &str, features: &[Name]) -> Ask {
        Ask { package, req: req.into(), features: self.feature_set(features), default_by_name: false }
    }

    /// What a feature turns on: dependencies, and other features of the same release.
    pub(super) fn expand(&self, id: LineId, feature: Name, position: u32) -> Result<Expansion, Unusable> {
        if let Some(known) = self.expansions.borrow().get(&(id, feature, position)) {
            return Ok(known.clone());
        }
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
        let has = |name: Name, text: &str| met.has_feature(name, text, release);
        let row = met.feature(feature, &text, release);
        if let Some(row) = row {
            for value in &row.values {
                if let Some(dep) = value.strip_prefix("dep:") {
                    all_named(dep, &mut asks)?;
                } else if let Some((dep, more)) = value.split_once('/') {
                    // The lock takes a weak feature for a strong one, as Cargo's does: it holds for every choice of features.
                    let weak = dep.ends_with('?');
                    let dep = dep.strip_suffix('?').unwrap_or(dep);
                    if !weak && optional(package, release, dep) {
                        let name = self.name(dep);
                        features.extend(has(name, dep).then_some(name));
                    }
                    // None is named if it is a dependency for tests, which nobody but the package itself has.
                    deps_named(dep, Some(more), &mut asks)?;
                } else {
                    let name = self.name(value);
                    if !has(name, value) {
                        return Err(bad(value));
                    }
                    features.push(name);
                }
            }
        }
        if row.is_none() && &*text != DEFAULT {
            // An optional dependency is a feature of its name, unless it is named by `dep:`.
            all_named(&text, &mut asks)?;
        }
        features.retain(|other| *other != feature);
        let expansion: Expansion = (asks.into(), features.into());
        self.expansions.borrow_mut().insert((id, feature, position), expansion.clone());
        Ok(expansion)
    }

    /// What can answer an ask.
    pub(in crate::resolve) fn answers(&self, ask: &Ask) -> Rc<Answers> {
        if let Some(known) = self.answers.borrow().get(ask) {
            return known.clone();
        }
        let met = self.met(ask.package);
        let matching = met.matching(&ask.req);
        let mut lines = matching.as_ref().clone();
        for feature in self.features(ask.features).iter() {
            let text = self.text(*feature);
            if &*text != DEFAULT || ask.default_by_name {
                let featured = met.featured(*feature, &text);
                for (_, set) in &mut lines {
                    *set = set.intersection(&featured);
                }
            }
        }
        lines.retain(|(_, set)| !set.is_empty());
        let answers = Rc::new(Answers { lines, is_choice: matching.len() > 1 });
        self.answers.borrow_mut().insert(ask.clone(), answers.clone());
        answers
    }
}
