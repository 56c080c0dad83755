//! Closure hints: for each package the names that its newest releases lead to.
//!
//! Owns: which names. Does not own: where they are written, or when. With all features and for all platforms, without
//! dependencies for tests; of each package the newest release of each of its last lines of compatible versions, because a
//! project's compiler or a requirement may ask for an older line.
//! Invariant: a function of resolve records alone.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{PackageName, ResolveDep, ResolveRecord, ResolveRelease, Version, VersionReq};

/// Lines of compatible versions that are followed, from the newest.
const LINES_FOLLOWED: usize = 3;

/// A package as the hints see it: what its newest releases need.
struct Node {
    name: PackageName,
    /// The newest release of each line, the newest line first, with the keys of what it needs and the requirements.
    lines: Vec<Vec<(String, Option<VersionReq>)>>,
    /// The versions of these releases.
    versions: Vec<Version>,
}

/// The hints of all packages, by canonical name. Names that are not among the packages are left out.
pub fn closure_hints<'a>(
    records: impl IntoIterator<Item = &'a ResolveRecord>,
) -> BTreeMap<String, (PackageName, Vec<PackageName>)> {
    let nodes: BTreeMap<String, Node> =
        records.into_iter().map(|record| (record.name.canonical(), node(record))).collect();
    nodes.iter().map(|(key, node)| (key.clone(), (node.name.clone(), closure(key, &nodes)))).collect()
}

fn node(record: &ResolveRecord) -> Node {
    let mut newest: BTreeMap<(u64, u64, u64), &ResolveRelease> = BTreeMap::new();
    let stable = |release: &&ResolveRelease| !release.yanked && !release.vers.is_prerelease();
    let any_stable = record.releases.iter().any(|release| stable(&release));
    for release in record.releases.iter().filter(|release| stable(release) || !any_stable) {
        let line = newest.entry(release.vers.compatible_line()).or_insert(release);
        if release.vers > line.vers {
            *line = release;
        }
    }
    let followed: Vec<&ResolveRelease> = newest.into_values().rev().collect();
    let needs = |release: &&ResolveRelease| {
        let own = |dep: &&ResolveDep| dep.registry.is_none();
        let need = |dep: &ResolveDep| {
            let name = dep.package_name().to_ascii_lowercase().replace('_', "-");
            (name, VersionReq::new(&dep.req).ok())
        };
        record.deps_of(release).filter(own).map(need).collect()
    };
    Node {
        name: record.name.clone(),
        lines: followed.iter().map(needs).collect(),
        versions: followed.iter().map(|release| release.vers.clone()).collect(),
    }
}

/// Everything that the newest lines of a package lead to, and from there the line that is asked for.
fn closure(start: &str, nodes: &BTreeMap<String, Node>) -> Vec<PackageName> {
    let mut seen: BTreeSet<(&str, usize)> = BTreeSet::new();
    let mut names = BTreeSet::new();
    let Some((start, node)) = nodes.get_key_value(start) else { return Vec::new() };
    let mut open: Vec<(&str, usize)> =
        (0..node.lines.len().min(LINES_FOLLOWED)).map(|line| (start.as_str(), line)).collect();
    while let Some((key, line)) = open.pop() {
        if !seen.insert((key, line)) {
            continue;
        }
        for (needed, req) in &nodes[key].lines[line] {
            let Some((needed, node)) = nodes.get_key_value(needed) else { continue };
            if needed != start {
                names.insert(node.name.clone());
            }
            open.extend(lines_for(node, req.as_ref()).map(|line| (needed.as_str(), line)));
        }
    }
    names.into_iter().collect()
}

/// The lines that a requirement may be answered by: those whose newest release meets it, else the newest line.
fn lines_for<'a>(node: &'a Node, req: Option<&'a VersionReq>) -> impl Iterator<Item = usize> + 'a {
    let meets = move |at: &usize| req.is_none_or(|req| req.matches(&node.versions[*at]));
    let all = 0..node.lines.len();
    let any = all.clone().any(|at| meets(&at));
    all.filter(move |at| if any { meets(at) } else { *at == 0 }).take(LINES_FOLLOWED)
}

#[cfg(test)]
mod tests {
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
        let hints = closure_hints(&records);
        let names: Vec<&str> = hints["app"].1.iter().map(PackageName::as_str).collect();
        assert_eq!(names, ["bytes", "four", "net_kit", "rc", "two"]);
        let of_bytes: Vec<&str> = hints["bytes"].1.iter().map(PackageName::as_str).collect();
        assert_eq!(of_bytes, ["App", "four", "net_kit", "rc", "two"]);
        assert_eq!(hints["two"].1, []);
    }
}
