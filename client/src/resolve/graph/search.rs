//! What PubGrub asks: what a version of a node demands, which node is decided next, and which version is tried.
//!
//! Owns the order in which versions are tried. Does not own which versions will do.

use std::{cmp::Reverse, convert::Infallible};

use pubgrub::{
    Dependencies, DependencyConstraints, DependencyProvider, PackageResolutionStatistics, VersionSet as _,
};

use super::{Ask, DEFAULT, Graph, LineId, Name, Node, Unusable};
use crate::resolve::positions::PositionSet;

/// After so many conflicts a node is decided before others.
const CONFLICTS_NOTICED: u32 = 5;

impl Graph<'_> {
    /// PubGrub's dependencies for an ask.
    fn constrain(&self, parent: Option<LineId>, ask: &Ask, out: &mut Vec<(Node, PositionSet)>) {
        if self.met(ask.package).unknown {
            return;
        }
        let answers = self.answers(ask);
        let with = ask.features;
        match answers.lines.as_slice() {
            [] => out.push((Node::Line(LineId { package: ask.package, line: 0 }), PositionSet::empty())),
            [(line, set)] if !answers.is_choice => {
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
                out.extend(features.iter().copied().map(of));
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
        for ask in self.asks(node, position)?.iter() {
            self.constrain(parent, ask, &mut out);
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
