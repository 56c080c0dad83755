//! From what PubGrub selected to releases and who needs which.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{PackageName, Version};
use pubgrub::SelectedDependencies;

use super::{
    PackageKey,
    graph::{Ask, Graph, LineId, Name, Node},
};

/// Versions of everything that the project leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solution {
    /// The releases.
    pub releases: BTreeMap<(PackageKey, Version), Chosen>,
    /// The packages that it rests on, under the names by which they are asked for: also those that were looked at and are
    /// not in it.
    pub consulted: BTreeMap<PackageKey, PackageName>,
    /// What each requirement of the project led to, in their order.
    pub direct: Vec<Option<(PackageKey, Version)>>,
}

/// One release that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Name, as its author writes it.
    pub name: PackageName,
    /// Features that are on.
    pub features: BTreeSet<String>,
    /// What it needs.
    pub dependencies: BTreeSet<(PackageKey, Version)>,
    /// Whether it is yanked; then it was locked.
    pub yanked: bool,
}

/// A package in one version.
type Release = (PackageKey, Version);
type Selected = SelectedDependencies<Node, u32>;

/// Everything that can be reached from the project along dependencies that are in force.
pub(super) fn extract(graph: &Graph<'_>, selected: &Selected) -> Solution {
    let mut features: BTreeMap<LineId, Vec<Name>> = BTreeMap::new();
    for (node, _) in selected.iter() {
        if let Node::Feature(id, feature) = node {
            features.entry(*id).or_default().push(*feature);
        }
    }
    let mut solution = Solution { consulted: graph.consulted(), ..Solution::default() };
    let mut open = Vec::new();
    for ask in graph.asks(Node::Root, 0).unwrap_or_default().iter() {
        let reached = follow(graph, selected, None, ask);
        solution.direct.push(reached.map(|id| key(graph, selected, id)));
        open.extend(reached);
    }
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let Some(&position) = selected.get(&Node::Line(id)) else { continue };
        let own_features = features.get(&id).map(Vec::as_slice).unwrap_or_default();
        let nodes =
            std::iter::once(Node::Line(id)).chain(own_features.iter().map(|name| Node::Feature(id, *name)));
        let mut reached: BTreeSet<LineId> = BTreeSet::new();
        for node in nodes {
            let asks = graph.asks(node, position).unwrap_or_default();
            reached.extend(asks.iter().filter_map(|ask| follow(graph, selected, Some(id), ask)));
        }
        let met = graph.met(id.package);
        let (package, release) = met.release(position);
        let on = own_features.iter().map(|name| graph.text(*name).to_string());
        let chosen = Chosen {
            name: package.name().clone(),
            features: on
                .filter(|name| name != "default" || met.feature(graph.name(name), name, release).is_some())
                .collect(),
            dependencies: reached.iter().map(|to| key(graph, selected, *to)).collect(),
            yanked: release.yanked,
        };
        solution.releases.insert(key(graph, selected, id), chosen);
        open.extend(reached);
    }
    solution
}

/// The line that answers an ask.
fn follow(graph: &Graph<'_>, selected: &Selected, parent: Option<LineId>, ask: &Ask) -> Option<LineId> {
    let answers = graph.answers(ask);
    let line = match answers.lines.as_slice() {
        [] => return None,
        [(line, _)] if !answers.is_choice => *line,
        _ => *selected.get(&Node::Choice(graph.choice(parent, ask)))?,
    };
    Some(LineId { package: ask.package, line })
}

fn key(graph: &Graph<'_>, selected: &Selected, id: LineId) -> (PackageKey, Version) {
    let met = graph.met(id.package);
    let position = selected.get(&Node::Line(id)).copied().expect("what is needed was selected");
    (met.key.clone(), met.release(position).1.vers.clone())
}

impl Solution {
    /// A cycle among the releases, which Cargo does not allow; as names, the first one again at the end.
    pub fn cycle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        for start in self.releases.keys() {
            // A stack of (release, what of it is still to be looked at).
            let mut path: Vec<(&Release, Vec<&Release>)> = Vec::new();
            let needs = |key| {
                self.releases.get(key).map(|chosen| chosen.dependencies.iter().collect()).unwrap_or_default()
            };
            if done.insert(start) {
                path.push((start, needs(start)));
            }
            while let Some((_, left)) = path.last_mut() {
                let Some(next) = left.pop() else {
                    path.pop();
                    continue;
                };
                if let Some(at) = path.iter().position(|(key, _)| *key == next) {
                    let cycle = path[at..].iter().map(|(key, _)| *key).chain([next]);
                    return Some(cycle.map(|(key, version)| format!("{} {version}", key.name)).collect());
                }
                if done.insert(next) {
                    path.push((next, needs(next)));
                }
            }
        }
        None
    }
}
