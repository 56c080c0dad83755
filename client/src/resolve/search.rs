//! The search: depth first, newest first, jumping back to the decision that is to blame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_schemas::{PackageName, Version, VersionReq};

use super::{Outcome, Release, Requirement, Solution, TRIES_MAX, Universe, explain::Explanation};

/// Who asks for a package: the project, or the decision at a position of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    Project,
    Decision(usize),
}

/// One requirement that is in force.
#[derive(Debug, Clone)]
pub(super) struct Demand<'a> {
    pub(super) asker: Asker,
    pub(super) req: &'a VersionReq,
}

/// One package on the stack, with the candidates that are left.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    pub(super) chosen: Option<&'a Release>,
    candidates: VecDeque<&'a Release>,
    /// Earlier decisions that took candidates away.
    blame: BTreeSet<usize>,
}

struct Search<'a> {
    universe: &'a Universe,
    locked: &'a BTreeMap<String, Version>,
    stack: Vec<Decision<'a>>,
    /// Where on the stack a package is, by canonical name.
    decided: BTreeMap<String, usize>,
    /// Requirements in force, by canonical name.
    demands: BTreeMap<String, Vec<Demand<'a>>>,
    /// Packages asked for, in the order of the asking, with the spelling of the first who asked.
    agenda: Vec<(String, &'a PackageName)>,
    unknown: BTreeSet<PackageName>,
    explanation: Option<Explanation>,
    tries: usize,
}

/// Finds one version of each package so that every requirement holds.
///
/// Newest first, locked versions before all others; a yanked release only if it is locked. The search is complete,
/// but gives up after [`TRIES_MAX`] candidates.
pub fn solve(roots: &[Requirement], universe: &Universe, locked: &BTreeMap<String, Version>) -> Outcome {
    let mut search = Search {
        universe,
        locked,
        stack: Vec::new(),
        decided: BTreeMap::new(),
        demands: BTreeMap::new(),
        agenda: Vec::new(),
        unknown: BTreeSet::new(),
        explanation: None,
        tries: 0,
    };
    for root in roots {
        search.demand(&root.name, Demand { asker: Asker::Project, req: &root.req });
    }
    search.run()
}

impl<'a> Search<'a> {
    fn run(mut self) -> Outcome {
        while let Some((key, name)) = self.next_open() {
            self.decided.insert(key.clone(), self.stack.len());
            if !self.universe.packages.contains_key(&key) {
                // Decided as if it needed nothing, so that one pass meets all packages that must be fetched.
                self.unknown.insert(name.clone());
                let nothing = VecDeque::new();
                self.stack.push(Decision { chosen: None, candidates: nothing, blame: BTreeSet::new() });
                continue;
            }
            let decision = self.open(&key, name);
            self.stack.push(decision);
            if !self.advance() {
                return match self.unknown.is_empty() {
                    true => Outcome::Impossible { because: self.because() },
                    // What was decided blindly may be to blame: fetch first.
                    false => Outcome::Unknown(self.unknown),
                };
            }
        }
        if !self.unknown.is_empty() {
            return Outcome::Unknown(self.unknown);
        }
        let stack = self.stack;
        let chosen = |(key, at): (String, usize)| Some((key, stack[at].chosen?.clone()));
        Outcome::Solved(Solution { releases: self.decided.into_iter().filter_map(chosen).collect() })
    }

    fn because(self) -> Vec<String> {
        if self.tries >= TRIES_MAX {
            return vec![format!("the search was given up after {TRIES_MAX} candidates")];
        }
        self.explanation.map(Explanation::sentences).unwrap_or_default()
    }

    /// The first package asked for that is not decided.
    fn next_open(&self) -> Option<(String, &'a PackageName)> {
        self.agenda.iter().find(|(key, _)| !self.decided.contains_key(key)).cloned()
    }

    /// The candidates of a package under the requirements in force.
    fn open(&mut self, key: &str, name: &PackageName) -> Decision<'a> {
        let releases = &self.universe.packages[key];
        let locked = self.locked.get(key).map(Version::precedence_key);
        let demands = &self.demands[key];
        let is_locked = |release: &Release| Some(release.version.precedence_key()) == locked;
        let mut fitting: Vec<&'a Release> = releases
            .iter()
            .filter(|release| !release.yanked || is_locked(release))
            .filter(|release| demands.iter().all(|demand| demand.req.matches(&release.version)))
            .collect();
        fitting.sort_by(|a, b| is_locked(b).cmp(&is_locked(a)).then_with(|| b.version.cmp(&a.version)));
        let blame = demands.iter().filter_map(|demand| position(demand.asker)).collect();
        if fitting.is_empty() {
            self.note(|search| Explanation::no_version(name, releases, &search.demands[key], &search.stack));
        }
        Decision { chosen: None, candidates: fitting.into(), blame }
    }

    /// Decides the top of the stack, jumping back as far as needed; false when nothing is left to try.
    fn advance(&mut self) -> bool {
        loop {
            let Some(top) = self.stack.last_mut() else { return false };
            let Some(candidate) = top.candidates.pop_front() else {
                if !self.jump_back() {
                    return false;
                }
                continue;
            };
            self.tries += 1;
            if self.tries >= TRIES_MAX {
                return false;
            }
            match self.clash(candidate) {
                None => {
                    self.choose(candidate);
                    return true;
                }
                Some(culprit) => {
                    if let Some(top) = self.stack.last_mut() {
                        top.blame.extend(culprit);
                    }
                }
            }
        }
    }

    /// Whether what a candidate needs contradicts a decision below; then which one, if it is one that can change.
    fn clash(&mut self, candidate: &'a Release) -> Option<Option<usize>> {
        for need in &candidate.needs {
            if let Some(registry) = &need.registry {
                self.note(|_| Explanation::foreign(candidate, need, registry));
                return Some(None);
            }
            let key = need.name.canonical();
            let own = self.stack.len() - 1;
            let Some(&at) = self.decided.get(&key) else { continue };
            let version = if at == own {
                &candidate.version
            } else {
                match self.stack[at].chosen {
                    Some(release) => &release.version,
                    None => continue,
                }
            };
            if !need.req.matches(version) {
                let version = version.clone();
                self.note(|search| {
                    Explanation::clash(candidate, need, &version, &search.demands[&key], &search.stack)
                });
                return Some((at != own).then_some(at));
            }
        }
        None
    }

    fn choose(&mut self, candidate: &'a Release) {
        let at = self.stack.len() - 1;
        self.stack[at].chosen = Some(candidate);
        for need in &candidate.needs {
            self.demand(&need.name, Demand { asker: Asker::Decision(at), req: &need.req });
        }
    }

    fn demand(&mut self, name: &'a PackageName, demand: Demand<'a>) {
        let key = name.canonical();
        let demands = self.demands.entry(key.clone()).or_default();
        if demands.is_empty() {
            self.agenda.push((key, name));
        }
        demands.push(demand);
    }

    /// Drops the top decision and all above the latest one that is to blame for it; false if none is.
    fn jump_back(&mut self) -> bool {
        let Some(failed) = self.stack.pop() else { return false };
        let Some(&target) = failed.blame.last() else { return false };
        self.stack.truncate(target + 1);
        self.decided.retain(|_, at| *at <= target);
        let mut blame = failed.blame;
        blame.remove(&target);
        self.stack[target].chosen = None;
        self.stack[target].blame.extend(blame);
        let stays = |asker: Asker| match asker {
            Asker::Project => true,
            Asker::Decision(at) => at < target,
        };
        for demands in self.demands.values_mut() {
            demands.retain(|demand| stays(demand.asker));
        }
        let demands = &self.demands;
        self.agenda.retain(|(key, _)| demands.get(key).is_some_and(|demands| !demands.is_empty()));
        true
    }

    /// Keeps the first conflict: it is the one that the newest versions run into.
    fn note(&mut self, explain: impl FnOnce(&Self) -> Explanation) {
        if self.explanation.is_none() {
            self.explanation = Some(explain(self));
        }
    }
}

fn position(asker: Asker) -> Option<usize> {
    match asker {
        Asker::Project => None,
        Asker::Decision(at) => Some(at),
    }
}
