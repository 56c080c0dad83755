//! A conflict in sentences: the facts that PubGrub's proof rests on, in the order of the proof.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pubgrub::{DerivationTree, External, VersionSet as _};

use super::{
    Conflict,
    graph::{Graph, Name, Node, Unusable},
    met::Met,
    positions::PositionSet,
};

/// How many versions are named before the rest is counted.
const VERSIONS_SHOWN_MAX: usize = 5;
/// How many sentences are shown before the rest is counted.
const SENTENCES_MAX: usize = 16;

type Tree = DerivationTree<Node, PositionSet, Unusable>;
type Fact = External<Node, PositionSet, Unusable>;

/// Tells why there is no answer.
pub(super) fn explain(graph: &Graph<'_>, tree: &Tree) -> Conflict {
    let mut facts = Vec::new();
    collect(tree, &mut BTreeSet::new(), &mut facts);
    let mut story = Story { graph, sentences: Vec::new(), roots: BTreeSet::new(), asked: BTreeMap::new() };
    for fact in facts {
        story.tell(fact);
    }
    let (conclusions, advice) = (story.conclude(), story.advise());
    let mut sentences = in_order(story.sentences);
    sentences.extend(conclusions);
    let roots = story.roots;
    if sentences.len() > SENTENCES_MAX {
        let more = sentences.len() - SENTENCES_MAX;
        let rest = sentences.split_off(SENTENCES_MAX);
        sentences.push(format!("... and {more} more such facts"));
        // The last one says what cannot be, and is worth more than those between.
        sentences.extend(rest.into_iter().next_back());
    }
    Conflict { because: sentences, advice, requirements: roots, consulted: graph.consulted() }
}

/// The leaves of the proof, each once, those of the first cause first.
fn collect<'a>(tree: &'a Tree, seen: &mut BTreeSet<usize>, facts: &mut Vec<&'a Fact>) {
    let mut open = vec![tree];
    while let Some(tree) = open.pop() {
        match tree {
            DerivationTree::External(fact) => facts.push(fact),
            DerivationTree::Derived(derived) => {
                if derived.shared_id.is_none_or(|id| seen.insert(id)) {
                    open.extend([Arc::as_ref(&derived.cause2), Arc::as_ref(&derived.cause1)]);
                }
            }
        }
    }
}

/// One fact in words.
#[derive(PartialEq, Eq)]
struct Sentence {
    /// The package that it is about; none for the project.
    about: Option<u32>,
    /// The package that is needed.
    needs: Option<u32>,
    text: String,
}

/// The sentences as somebody reads them who starts at the project and follows what is needed.
fn in_order(mut sentences: Vec<Sentence>) -> Vec<String> {
    let mut ordered = Vec::new();
    let mut path = vec![None];
    while let Some(about) = path.last().copied() {
        match sentences.iter().position(|sentence| sentence.about == about) {
            Some(at) => {
                let sentence = sentences.remove(at);
                ordered.push(sentence.text);
                path.extend(sentence.needs.map(Some));
            }
            None => {
                path.pop();
            }
        }
    }
    ordered.extend(sentences.into_iter().map(|sentence| sentence.text));
    ordered
}

struct Story<'a> {
    graph: &'a Graph<'a>,
    sentences: Vec<Sentence>,
    /// Requirements of the project that were told.
    roots: BTreeSet<usize>,
    /// What was asked of each package: requirement, features.
    asked: BTreeMap<u32, BTreeSet<(String, Vec<Name>)>>,
}

impl Story<'_> {
    fn say(&mut self, about: Node, needs: Option<u32>, text: String) {
        let about = match about {
            Node::Line(id) | Node::Feature(id, _) | Node::LineWith(id, _) => Some(id.package),
            _ => None,
        };
        let sentence = Sentence { about, needs, text };
        if !self.sentences.contains(&sentence) {
            self.sentences.push(sentence);
        }
    }

    fn tell(&mut self, fact: &Fact) {
        match fact {
            // What the last sentences say comes from what was asked.
            External::NotRoot(..) | External::NoVersions(..) => {}
            External::Custom(node, versions, reason) => {
                let who = self.who(*node, versions);
                self.say(*node, None, format!("{who} {reason}"));
            }
            External::FromDependencyOf(node, versions, Node::Links(library), _) => {
                let who = self.who(*node, versions);
                let library = self.graph.text(*library);
                let text = format!("{who} links the native library `{library}`, as only one package may");
                self.say(*node, None, text);
            }
            External::FromDependencyOf(node, versions, to, _) => self.tell_need(*node, versions, *to),
        }
    }

    fn tell_need(&mut self, node: Node, versions: &PositionSet, to: Node) {
        let package = match to {
            Node::Line(id) | Node::Feature(id, _) => id.package,
            Node::LineWith(id, _) => id.package,
            Node::Choice(choice) | Node::ChoiceWith(choice, _) => self.graph.package_of_choice(choice),
            Node::Root | Node::Links(_) => return,
        };
        let newest = versions.below(self.end_of(node)).last();
        let Some(asks) = newest.and_then(|position| self.graph.asks(node, position).ok()) else { return };
        for (at, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.package == package) {
            let wanted = match to {
                Node::LineWith(_, with) | Node::ChoiceWith(_, with) => Some(with),
                _ => None,
            };
            if wanted.is_some_and(|features| ask.features != features) {
                continue;
            }
            if node == Node::Root {
                self.roots.insert(at);
            }
            let who = self.who(node, versions);
            let name = self.name(package);
            let features = self.graph.features(ask.features);
            let with = self.features(&features);
            let text = format!("{who} needs `{name}` {}{with}", shown_req(&ask.req));
            self.say(node, Some(package), text);
            self.asked.entry(package).or_default().insert((ask.req.to_string(), features.to_vec()));
        }
    }

    /// What cannot be: for each package that was asked for, whether its versions are to blame.
    fn conclude(&self) -> Vec<String> {
        let of = |(package, asks): (&u32, &BTreeSet<_>)| {
            conclusion(self.graph, *package, &self.graph.met(*package), asks)
        };
        self.asked.iter().filter_map(of).collect()
    }

    /// What to do about a package that the project asks for itself, where no other requirement of it helps.
    fn advise(&self) -> Option<String> {
        let asks =
            |met: &Met| self.roots.iter().any(|at| self.graph.roots[*at].name.canonical() == met.key.name);
        let mut own = self.asked.keys().map(|package| self.graph.met(*package)).filter(|met| asks(met));
        own.find_map(|met| {
            let Some(known) = &met.package else {
                let short = met.key.name.rsplit('/').next().unwrap_or_default();
                return Some(format!("check the spelling, or search with `drystone search {short}`"));
            };
            let is_gone = (0..known.len()).all(|position| !met.is_usable(position));
            is_gone.then(|| {
                let name = name(&met);
                format!("a lock file that names `{name}` goes on working; ask its owners for another version")
            })
        })
    }

    fn end_of(&self, node: Node) -> u32 {
        match node {
            Node::Root => 1,
            Node::Line(id) | Node::Feature(id, _) | Node::LineWith(id, _) => {
                self.graph.met(id.package).lines[id.line as usize].end
            }
            Node::Choice(choice) | Node::ChoiceWith(choice, _) => {
                let package = self.graph.package_of_choice(choice);
                u32::try_from(self.graph.met(package).lines.len()).unwrap_or(u32::MAX)
            }
            Node::Links(_) => 0,
        }
    }

    fn who(&self, node: Node, versions: &PositionSet) -> String {
        match node {
            Node::Line(id) | Node::Feature(id, _) => {
                let met = self.graph.met(id.package);
                let line = &met.lines[id.line as usize];
                let usable = |position: &u32| line.contains(position) && met.is_usable(*position);
                let all: Vec<u32> = versions.below(line.end).filter(usable).collect();
                let feature = match node {
                    Node::Feature(_, feature) => self.features(&[feature]),
                    _ => String::new(),
                };
                format!("`{}` {}{feature}", self.name(id.package), shown_versions(&met, &all))
            }
            _ => "the project".into(),
        }
    }

    fn name(&self, package: u32) -> String {
        name(&self.graph.met(package))
    }

    /// The features of a sentence, without the default ones.
    fn features(&self, features: &[Name]) -> String {
        let named =
            features.iter().map(|feature| self.graph.text(*feature)).filter(|text| &**text != "default");
        let named: Vec<String> = named.map(|text| format!("`{text}`")).collect();
        match named.as_slice() {
            [] => String::new(),
            [one] => format!(" with feature {one}"),
            several => format!(" with features {}", several.join(", ")),
        }
    }
}

fn name(met: &Met) -> String {
    met.package.as_ref().map_or_else(|| met.key.name.clone(), |package| package.name().to_string())
}

/// Why nothing answers what was asked of a package, if that is so.
fn conclusion(
    graph: &Graph<'_>,
    package: u32,
    met: &Met,
    asks: &BTreeSet<(String, Vec<Name>)>,
) -> Option<String> {
    let name = name(met);
    let Some(known) = &met.package else { return Some(format!("there is no package `{name}`")) };
    let all: Vec<u32> = (0..known.len()).collect();
    let usable: Vec<u32> = all.iter().copied().filter(|position| met.is_usable(*position)).collect();
    if usable.is_empty() {
        return Some(format!("every version of `{name}` is yanked"));
    }
    for (req, _) in asks {
        let meeting = met.meeting(req);
        if meeting.iter().any(|position| met.is_usable(*position)) {
            continue;
        }
        return Some(match meeting.last() {
            Some(yanked) => {
                let version = &met.release(*yanked).1.vers;
                format!("only versions that are yanked would do, such as `{name}` {version}")
            }
            None => format!("`{name}` has only {}", shown_versions(met, &usable)),
        });
    }
    for (req, features) in asks {
        let unanswered =
            |features: &[Name]| graph.answers(&graph.ask_for(package, req, features)).lines.is_empty();
        if unanswered(features) {
            let missing = features.iter().find(|feature| unanswered(&[**feature]));
            return Some(match missing {
                Some(missing) => {
                    format!(
                        "no version of `{name}` for {} has the feature `{}`",
                        shown_req(req),
                        graph.text(*missing)
                    )
                }
                None => format!("no version of `{name}` for {} has all these features", shown_req(req)),
            });
        }
    }
    let reqs: BTreeSet<&str> = asks.iter().map(|(req, _)| req.as_str()).collect();
    let together = reqs
        .iter()
        .fold(PositionSet::full(), |set, req| set.intersection(&PositionSet::ascending(met.meeting(req))));
    let shown: Vec<String> = reqs.iter().map(|req| shown_req(req)).collect();
    let none = reqs.len() > 1 && !together.below(known.len()).any(|position| met.is_usable(position));
    none.then(|| format!("no version of `{name}` is for {} at once", shown.join(" and ")))
}

fn shown_req(req: &str) -> String {
    semver::VersionReq::parse(req).map_or_else(|_| req.to_owned(), |req| req.to_string())
}

/// The newest versions first, the rest counted.
fn shown_versions(met: &Met, ascending: &[u32]) -> String {
    let newest = ascending.iter().rev().take(VERSIONS_SHOWN_MAX);
    let shown: Vec<String> = newest.map(|position| met.release(*position).1.vers.to_string()).collect();
    match ascending.len().saturating_sub(VERSIONS_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
