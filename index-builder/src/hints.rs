//! Closure hints: for each package the names that its newest releases lead to.
//!
//! Owns: which names. Does not own: where they are written, or when. With all features and for all platforms, without
//! dependencies for tests; of each package the newest release of each of its last lines of compatible versions, because a
//! project's compiler or a requirement may ask for an older line.
//!
//! Two ways lead there. A release brings its own package's hint up to date by the hints that its dependencies have at that
//! moment ([`hint_after_publish`]): a few reads, and as old as these are. Where every record is at hand, all hints are made
//! anew ([`Closures`]).
//! Invariant: both are functions of what they are given.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use drystone_schemas::{
    DepKind, IndexFile, IndexLine, PackageName, ResolveDep, ResolveHint, ResolveRecord, ResolveRelease,
    Settings, Version, VersionRecord, VersionReq,
};

use crate::project::index_deps;

/// Lines of compatible versions that are followed, from the newest.
const LINES_FOLLOWED: usize = 3;
/// Hints of other packages that one release reads, so that a publish stays cheap whatever it depends on; what later
/// dependencies lead to is missing until all hints are made anew.
const HINTS_READ_MAX: usize = 64;

/// The packages whose hints [`hint_after_publish`] wants to know for a release: its own first. None if it needs nothing of
/// this registry.
pub fn hints_needed(record: &VersionRecord, settings: &Settings) -> Vec<PackageName> {
    let deps = index_deps(record, settings);
    let own = deps.iter().filter(|dep| dep.kind != DepKind::Dev && dep.registry.is_none());
    let mut seen = BTreeSet::from([record.name.canonical()]);
    let named = own.filter_map(|dep| PackageName::new(dep.package_name()).ok());
    let others: Vec<PackageName> =
        named.filter(|name| seen.insert(name.canonical())).take(HINTS_READ_MAX).collect();
    if others.is_empty() { others } else { [vec![record.name.clone()], others].concat() }
}

/// The hint of a package after the release `vers`, which is the event at `seq`; none if what is there need not be changed.
///
/// `index` has the release already; `known` finds the hint of a package by its canonical name.
pub fn hint_after_publish<'a>(
    index: &IndexFile,
    vers: &Version,
    seq: u64,
    known: &impl Fn(&str) -> Option<&'a ResolveHint>,
) -> Option<ResolveHint> {
    let newest = newest_of_lines(index);
    let own = newest.iter().find(|line| line.vers == *vers)?.name.canonical();
    let before = known(&own);
    let kept = |start: &Version| {
        let (_, of) = before?.lines.iter().find(|(line, _)| line == start)?;
        Some(before?.names_of(of).cloned().collect::<Vec<_>>())
    };
    let lines = newest.iter().map(|line| {
        let start = line.vers.line_start();
        let kept = if line.vers == *vers { None } else { kept(&start) };
        (start, kept.unwrap_or_else(|| reached(line, &own, known)))
    });
    let hint = ResolveHint::new(seq, lines.collect());
    let changes = before.map_or(!hint.names.is_empty(), |before| !before.says_the_same(&hint));
    changes.then_some(hint)
}

/// The newest release of each line that is followed, the newest line first.
fn newest_of_lines(index: &IndexFile) -> Vec<&IndexLine> {
    let mut newest: BTreeMap<(u64, u64, u64), &IndexLine> = BTreeMap::new();
    let there = || index.lines.iter().filter(|line| line.deleted.is_none());
    let stable = |line: &&IndexLine| !line.yanked && !line.vers.is_prerelease();
    let any_stable = there().any(|line| stable(&line));
    for line in there().filter(|line| stable(line) || !any_stable) {
        let best = newest.entry(line.vers.compatible_line()).or_insert(line);
        if line.vers > best.vers {
            *best = line;
        }
    }
    newest.into_values().rev().take(LINES_FOLLOWED).collect()
}

/// What a release leads to, as far as the hints of its dependencies tell.
fn reached<'a>(
    line: &IndexLine,
    own: &str,
    known: &impl Fn(&str) -> Option<&'a ResolveHint>,
) -> Vec<PackageName> {
    let mut names: BTreeMap<String, PackageName> = BTreeMap::new();
    for dep in line.deps.iter().filter(|dep| dep.kind != DepKind::Dev && dep.registry.is_none()) {
        let Ok(name) = PackageName::new(dep.package_name()) else { continue };
        let hint = known(&name.canonical());
        names.entry(name.canonical()).or_insert(name);
        let Some(hint) = hint else { continue };
        let req = VersionReq::new(&dep.req).ok();
        let meets = |line: &Version| req.as_ref().is_none_or(|req| req.may_match_line(line));
        let any = hint.lines.iter().any(|(line, _)| meets(line));
        let followed = hint.lines.iter().enumerate();
        for (_, (_, of)) in followed.filter(|(at, (line, _))| if any { meets(line) } else { *at == 0 }) {
            let further = hint.names_of(of).map(|name| (name.canonical(), name));
            for (key, name) in further {
                names.entry(key).or_insert_with(|| name.clone());
            }
        }
    }
    names.remove(own);
    names.into_values().collect()
}

/// What the newest releases of all packages need, from which every hint can be made anew.
///
/// Names and requirements are numbered, since most are needed by many.
#[derive(Default)]
pub struct Closures {
    /// Numbers of canonical names: those of packages, and of what they need.
    numbers: BTreeMap<String, usize>,
    /// The packages by their numbers; none where a name is only needed.
    packages: Vec<Option<Node>>,
    requirements: HashMap<String, usize>,
    /// By their numbers; none for what is no requirement, which any version meets.
    parsed: Vec<Option<VersionReq>>,
}

/// A package as the hints see it: the newest release of each line, the newest line first.
struct Node {
    name: PackageName,
    lines: Vec<Line>,
}

/// A release, with the numbers of what it needs and of the requirements.
struct Line {
    vers: Version,
    needs: Box<[(usize, usize)]>,
}

impl Closures {
    /// Takes a package in.
    pub fn add(&mut self, record: &ResolveRecord) {
        let mut newest: BTreeMap<(u64, u64, u64), &ResolveRelease> = BTreeMap::new();
        let stable = |release: &&ResolveRelease| !release.yanked && !release.vers.is_prerelease();
        let any_stable = record.releases.iter().any(|release| stable(&release));
        for release in record.releases.iter().filter(|release| stable(release) || !any_stable) {
            let line = newest.entry(release.vers.compatible_line()).or_insert(release);
            if release.vers > line.vers {
                *line = release;
            }
        }
        let mut lines = Vec::with_capacity(newest.len());
        for release in newest.into_values().rev() {
            let own = record.deps_of(release).filter(|dep: &&ResolveDep| dep.registry.is_none());
            let needs = own.map(|dep| {
                let name = dep.package_name().to_ascii_lowercase().replace('_', "-");
                (self.number(name), self.requirement(&dep.req))
            });
            lines.push(Line { vers: release.vers.clone(), needs: needs.collect() });
        }
        let number = self.number(record.name.canonical());
        self.packages[number] = Some(Node { name: record.name.clone(), lines });
    }

    fn number(&mut self, canonical: String) -> usize {
        let next = self.packages.len();
        let number = *self.numbers.entry(canonical).or_insert(next);
        if number == next {
            self.packages.push(None);
        }
        number
    }

    fn requirement(&mut self, text: &str) -> usize {
        if let Some(known) = self.requirements.get(text) {
            return *known;
        }
        self.parsed.push(VersionReq::new(text).ok());
        self.requirements.insert(text.to_owned(), self.parsed.len() - 1);
        self.parsed.len() - 1
    }

    /// Whether there is no package.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of packages.
    pub fn len(&self) -> usize {
        self.packages.iter().flatten().count()
    }

    /// The hints of all packages as they are at `seq`, sorted by canonical name, each made when it is asked for. Names that
    /// are not among the packages are left out.
    pub fn hints(&self, seq: u64) -> impl Iterator<Item = (PackageName, ResolveHint)> {
        self.numbers.values().filter_map(move |number| {
            let node = self.packages[*number].as_ref()?;
            let line = |at: usize| (node.lines[at].vers.line_start(), self.closure(*number, at));
            let lines = (0..node.lines.len().min(LINES_FOLLOWED)).map(line).collect();
            Some((node.name.clone(), ResolveHint::new(seq, lines)))
        })
    }

    /// Everything that a line of a package leads to, and from there the lines that are asked for.
    fn closure(&self, start: usize, line: usize) -> Vec<PackageName> {
        let mut seen: HashSet<(usize, usize)> = HashSet::new();
        let mut names: BTreeSet<&PackageName> = BTreeSet::new();
        let of = |number: usize| self.packages[number].as_ref();
        seen.insert((start, line));
        let mut open: Vec<&Line> = of(start).map(|node| &node.lines[line]).into_iter().collect();
        while let Some(line) = open.pop() {
            for (number, requirement) in &line.needs {
                let Some(node) = of(*number) else { continue };
                if *number != start {
                    names.insert(&node.name);
                }
                for at in lines_for(node, self.parsed[*requirement].as_ref()) {
                    if seen.insert((*number, at)) {
                        open.push(&node.lines[at]);
                    }
                }
            }
        }
        names.into_iter().cloned().collect()
    }
}

/// The lines that a requirement may be answered by: those whose newest release meets it, else the newest line.
fn lines_for<'a>(node: &'a Node, req: Option<&'a VersionReq>) -> impl Iterator<Item = usize> + 'a {
    let meets = move |at: &usize| req.is_none_or(|req| req.matches(&node.lines[*at].vers));
    let all = 0..node.lines.len();
    let any = all.clone().any(|at| meets(&at));
    all.filter(move |at| if any { meets(at) } else { *at == 0 }).take(LINES_FOLLOWED)
}

#[cfg(test)]
mod tests {
    use drystone_schemas::{Positions, Sha256Digest};
    use serde_json::{Value, json};

    use super::*;

    fn record(name: &str, releases: &[(&str, &[(&str, &str)])]) -> ResolveRecord {
        let mut deps = String::new();
        let (mut sets, mut rows) = (String::from("[]"), String::new());
        let mut count = 0;
        for (at, (version, needs)) in releases.iter().enumerate() {
            for (needed, req) in *needs {
                deps.push_str(&format!("{}[\"{needed}\",\"{req}\"]", if deps.is_empty() { "" } else { "," }));
            }
            sets.push_str(&format!(",[{count},{}]", needs.len()));
            count += needs.len();
            rows.push_str(&format!("{}[\"{version}\",{}]", if at == 0 { "" } else { "," }, at + 1));
        }
        let text = format!(
            "{{\"d\":[{deps}],\"l\":[{sets}],\"m\":[[]],\"name\":\"{name}\",\"r\":[{rows}],\"seq\":1,\"v\":1}}"
        );
        ResolveRecord::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn hints_follow_the_newest_releases_of_the_last_lines() {
        let records = [
            record(
                "App",
                &[
                    ("1.0.0", &[("long-gone", "^1")]),
                    ("2.0.0", &[("two", "^1")]),
                    ("3.0.0", &[("was_three", "^1")]),
                    ("3.1.0", &[("Net_Kit", "^1"), ("nobody", "*")]),
                    ("4.0.0", &[("four", "*")]),
                    ("5.0.0-rc.1", &[("later", "*")]),
                ],
            ),
            record("net_kit", &[("1.0.0", &[("bytes", "^1")]), ("2.0.0", &[("newer", "*")])]),
            record("bytes", &[("1.0.0", &[("app", "*")])]),
            record("two", &[("1.0.0", &[])]),
            record("four", &[("1.0.0-rc.1", &[("rc", "*")])]),
            record("rc", &[("1.0.0", &[])]),
            record("newer", &[("1.0.0", &[])]),
            record("later", &[("1.0.0", &[])]),
            record("long-gone", &[("1.0.0", &[])]),
            record("was_three", &[("1.0.0", &[])]),
        ];
        let mut closures = Closures::default();
        records.iter().for_each(|record| closures.add(record));
        let hints: BTreeMap<String, (PackageName, ResolveHint)> =
            closures.hints(9).map(|(name, hint)| (name.canonical(), (name, hint))).collect();
        assert_eq!((closures.len(), hints.len()), (records.len(), records.len()));
        let names: Vec<&str> = hints["app"].1.names.iter().map(PackageName::as_str).collect();
        assert_eq!(names, ["bytes", "four", "net_kit", "rc", "two"]);
        let of_bytes: Vec<&str> = hints["bytes"].1.names.iter().map(PackageName::as_str).collect();
        assert_eq!(of_bytes, ["App", "four", "net_kit", "rc", "two"]);
        assert_eq!(shown(&hints["app"].1), ["4.0.0 four rc", "3.0.0 bytes four net_kit rc two", "2.0.0 two"]);
        assert_eq!(hints["two"].1.names, []);
    }

    fn line(name: &str, version: &str, deps: &[(&str, &str)]) -> IndexLine {
        let dep = |(name, req): &(&str, &str)| {
            let registry = (*name == "elsewhere").then_some("https://other.example/index");
            let kind = if *name == "for-tests" { "dev" } else { "normal" };
            json!({"name": name, "req": req, "features": [], "optional": false, "default_features": true,
                "target": null, "kind": kind, "registry": registry})
        };
        let deps: Vec<Value> = deps.iter().map(dep).collect();
        let line = json!({"name": name, "vers": version, "deps": deps, "cksum": "", "features": {},
            "yanked": false, "links": null, "v": 1, "pubtime": "", "seq": 1, "published": 1, "size": 1,
            "format": "generic", "record": Sha256Digest::of(b"")});
        serde_json::from_value(line).unwrap()
    }

    fn shown(hint: &ResolveHint) -> Vec<String> {
        let line = |(line, of): &(Version, Positions)| {
            let names: Vec<&str> = hint.names_of(of).map(PackageName::as_str).collect();
            format!("{line} {}", names.join(" "))
        };
        hint.lines.iter().map(line).collect()
    }

    /// Name, version, dependencies.
    type Release<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    /// Publishes releases one after the other; what each leaves of its package's hint.
    fn publish(releases: &[Release<'_>]) -> Vec<Option<Vec<String>>> {
        let mut files: BTreeMap<&str, IndexFile> = BTreeMap::new();
        let mut hints: BTreeMap<String, ResolveHint> = BTreeMap::new();
        let mut left = Vec::new();
        for (seq, (name, version, deps)) in (1..).zip(releases) {
            let index = files.entry(name).or_default();
            index.lines.push(line(name, version, deps));
            let vers = Version::new(version).unwrap();
            let hint = hint_after_publish(index, &vers, seq, &|name| hints.get(name));
            left.push(hint.as_ref().map(shown));
            hints.extend(hint.map(|hint| ((*name).to_owned(), hint)));
        }
        left
    }

    #[test]
    fn a_release_takes_along_what_its_dependencies_lead_to() {
        let some = |lines: &[&str]| Some(lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>());
        let left = publish(&[
            ("leaf", "1.0.0", &[("for-tests", "*"), ("elsewhere", "*")]),
            ("mid", "1.0.0", &[("leaf", "^1")]),
            ("mid", "2.0.0", &[("later", "^1")]),
            // Only the line that may be meant, and nothing that is the package itself.
            ("top", "1.0.0", &[("mid", "^1")]),
            ("top", "1.0.1", &[("mid", "^1.7"), ("top", "^0.1")]),
            // What no line fits is probably about to come: the newest.
            ("top", "2.0.0", &[("mid", "^3")]),
            // An old line: the newer ones stay as they are.
            ("top", "1.1.0", &[("leaf", "^1")]),
            // Behind the newest of its line.
            ("top", "1.0.2", &[("later", "^1")]),
            ("top", "1.2.0-rc.1", &[("later", "^1")]),
        ]);
        let expected = [
            None,
            some(&["1.0.0 leaf"]),
            some(&["2.0.0 later", "1.0.0 leaf"]),
            some(&["1.0.0 leaf mid"]),
            None,
            some(&["2.0.0 later mid", "1.0.0 leaf mid"]),
            some(&["2.0.0 later mid", "1.0.0 leaf"]),
            None,
            None,
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_release_asks_for_the_hints_of_its_own_registry_only() {
        let record = |names: &[&str]| {
            let dep = |name: &&str| {
                let kind = if *name == "for-tests" { "dev" } else { "normal" };
                let registry = (*name == "elsewhere").then_some("https://other.example/index");
                json!({"name": name, "req": "*", "features": [], "optional": false, "default_features": true,
                    "target": null, "kind": kind, "registry_index": registry})
            };
            let deps: Vec<Value> = names.iter().map(dep).collect();
            let record = json!({"v": 1, "name": "App", "vers": "1.0.0", "format": "generic",
                "tarball": Sha256Digest::of(b""), "size": 1, "unpacked": 1, "deps": deps,
                "features": {}, "files": []});
            serde_json::from_value::<VersionRecord>(record).unwrap()
        };
        let settings = Settings::new("demo", "https://pkg.example");
        let needed = |names: &[&str]| -> Vec<String> {
            hints_needed(&record(names), &settings).iter().map(ToString::to_string).collect()
        };
        assert_eq!(needed(&["a", "for-tests", "elsewhere", "A", "b_c", "b-c", "app"]), ["App", "a", "b_c"]);
        assert_eq!(needed(&["for-tests", "elsewhere"]), [""; 0]);
        let many: Vec<String> = (0..2 * HINTS_READ_MAX).map(|at| format!("p{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(needed(&many).len(), 1 + HINTS_READ_MAX);
    }
}
