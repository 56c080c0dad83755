//! `tree` and `why`: what is locked, and who needs it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_client::{ClientError, Lock, Project, ProjectTree};
use drystone_schemas::{Code, PackageName, Problem};
use serde::Serialize;

use crate::{
    args,
    context::{Context, package_name},
    env::Env,
    failure::Failure,
};

/// The lines that draw the tree.
struct Strokes {
    branch: &'static str,
    last: &'static str,
    pipe: &'static str,
}

const UNICODE: Strokes = Strokes { branch: "├── ", last: "└── ", pipe: "│   " };
const ASCII: Strokes = Strokes { branch: "|-- ", last: "`-- ", pipe: "|   " };

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    version: String,
    /// Of the archive, where a registry has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Where it is on disk, else.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    dependencies: &'a [String],
}

#[derive(Serialize)]
struct Tree<'a> {
    roots: BTreeSet<&'a String>,
    packages: Vec<Node<'a>>,
}

/// A manifest of the workspace, with the canonical names of what it asks for.
struct Member {
    title: String,
    roots: Vec<String>,
}

/// What is locked, and for whom.
struct Locked {
    members: Vec<Member>,
    lock: Lock,
}

/// Who needs a package.
#[derive(Serialize)]
struct Dependents {
    name: String,
    version: String,
    /// Shortest ways to it: from a requirement of the project, package by package.
    paths: Vec<Vec<String>>,
}

pub(super) async fn tree(args: &args::Tree, cx: &Context) -> Result<(), Failure> {
    let locked = Locked::read(&args.project, cx).await?;
    let strokes = if is_utf8(&cx.env) { &UNICODE } else { &ASCII };
    if let Some(text) = &args.invert {
        let (key, dependents) = locked.dependents(text)?;
        let drawing = Drawing::of_dependents(&locked.members, &locked.lock, strokes);
        return cx.printer.result(&dependents, || drawing.draw(&key));
    }
    let lock = &locked.lock;
    let packages = lock.packages.values().map(|package| Node {
        name: package.name.as_str(),
        version: package.version.to_string(),
        sha256: Some(package.digest.hex()),
        path: None,
        dependencies: &package.dependencies,
    });
    let locals = lock.locals.values().map(|local| Node {
        name: local.name.as_str(),
        version: local.version.to_string(),
        sha256: None,
        path: Some(&local.path),
        dependencies: &local.dependencies,
    });
    let roots = locked.members.iter().flat_map(|member| &member.roots).collect();
    let tree = Tree { roots, packages: packages.chain(locals).collect() };
    cx.printer.result(&tree, || {
        let drawing = Drawing::of_dependencies(&locked.members, lock, strokes);
        (0..locked.members.len()).map(|at| drawing.draw(&member_key(at))).collect()
    })
}

/// `why`: each requirement of the project that leads to a package, with the shortest way.
pub(super) async fn why(args: &args::Why, cx: &Context) -> Result<(), Failure> {
    let locked = Locked::read(&args.project, cx).await?;
    let (key, dependents) = locked.dependents(&args.package)?;
    let shown = |key: &String| label(&locked.lock, key);
    let lines = |member: &Member| -> String {
        let ways = paths(&key, &member.roots, &locked.lock);
        let line = |way: &Vec<String>| {
            format!("{} -> {}\n", member.title, way.iter().map(shown).collect::<Vec<_>>().join(" -> "))
        };
        ways.iter().map(line).collect()
    };
    cx.printer.result(&dependents, || locked.members.iter().map(lines).collect())
}

impl Locked {
    /// The project with its lock, which must be there.
    async fn read(args: &args::ProjectArgs, cx: &Context) -> Result<Self, Failure> {
        let tree = ProjectTree::around(&cx.project(args).await?)?;
        let Some(lock) = Lock::read(tree.dir())? else {
            let problem = Problem::new(Code::ProjectNotFound, "there is no lock file here");
            return Err(problem.with_hint("make one with `drystone lock`").into());
        };
        let member = |project: &Project| {
            let roots = tree.requirements_of(project)?;
            let roots = roots.iter().map(|root| root.name.canonical()).collect();
            Ok::<_, ClientError>(Member { title: title(project), roots })
        };
        let members = tree.members().iter().map(member).collect::<Result<Vec<_>, _>>()?;
        // A root that is nothing but the list of its members has nothing to show.
        let members = members.into_iter().enumerate();
        let shown =
            members.filter(|(at, member)| *at > 0 || !member.roots.is_empty() || tree.members().len() == 1);
        Ok(Self { members: shown.map(|(_, member)| member).collect(), lock })
    }

    /// Who needs a package, with its key.
    fn dependents(&self, text: &str) -> Result<(String, Dependents), Failure> {
        let name = package_name(text)?;
        let key = name.canonical();
        let Some(version) = self.lock.version_of(&key) else {
            let problem = Problem::new(Code::PackageNotFound, format!("`{name}` is not in the lock file"));
            return Err(problem.with_hint("list what is with `drystone tree`").into());
        };
        let local = self.lock.locals.get(&key).map(|local| &local.name);
        let name = self.lock.packages.get(&key).map(|package| &package.name).or(local);
        let paths = self.members.iter().flat_map(|member| paths(&key, &member.roots, &self.lock)).collect();
        let (name, version) = (name.map_or_else(|| key.clone(), PackageName::to_string), version.to_string());
        Ok((key, Dependents { name, version, paths }))
    }
}

fn title(project: &Project) -> String {
    let title = format!("{} {}", project.name().unwrap_or("project"), project.version().unwrap_or(""));
    title.trim_end().to_owned()
}

fn label(lock: &Lock, key: &str) -> String {
    match (lock.packages.get(key), lock.locals.get(key)) {
        (Some(package), _) => format!("{} {}", package.name, package.version),
        (None, Some(local)) => format!("{} {} ({})", local.name, local.version, local.path),
        (None, None) => format!("{key} (not locked)"),
    }
}

/// The shortest way from each requirement of the project that leads to a package, in their order.
fn paths(to: &str, roots: &[String], lock: &Lock) -> Vec<Vec<String>> {
    let from = |root: &String| {
        let mut before: BTreeMap<&str, Option<&str>> = BTreeMap::from([(root.as_str(), None)]);
        let mut open = VecDeque::from([root.as_str()]);
        while let Some(key) = open.pop_front() {
            if key == to {
                let back = std::iter::successors(Some(key), |key| before.get(key).copied().flatten());
                let mut path: Vec<String> = back.map(str::to_owned).collect();
                path.reverse();
                return Some(path);
            }
            for needed in lock.needs_of(key) {
                if !before.contains_key(needed.as_str()) {
                    before.insert(needed, Some(key));
                    open.push_back(needed);
                }
            }
        }
        None
    };
    roots.iter().filter_map(from).collect()
}

/// Whether the locale can show box-drawing characters.
fn is_utf8(env: &Env) -> bool {
    let locale = env.get("LC_ALL").or_else(|| env.get("LC_CTYPE")).or_else(|| env.get("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The key of a member in a drawing; no package has it.
fn member_key(at: usize) -> String {
    format!("member {at}")
}

/// What is drawn: lines, and what hangs below each.
struct Drawing<'a> {
    labels: BTreeMap<String, String>,
    below: BTreeMap<String, Vec<String>>,
    strokes: &'a Strokes,
}

impl<'a> Drawing<'a> {
    fn of_dependencies(members: &[Member], lock: &Lock, strokes: &'a Strokes) -> Self {
        let (mut labels, mut below) = (BTreeMap::new(), BTreeMap::new());
        for (at, member) in members.iter().enumerate() {
            labels.insert(member_key(at), member.title.clone());
            labels.extend(member.roots.iter().map(|root| (root.clone(), label(lock, root))));
            below.insert(member_key(at), member.roots.clone());
        }
        for key in lock.packages.keys().chain(lock.locals.keys()) {
            labels.insert(key.clone(), label(lock, key));
            below.insert(key.clone(), lock.needs_of(key).to_vec());
        }
        Self { labels, below, strokes }
    }

    fn of_dependents(members: &[Member], lock: &Lock, strokes: &'a Strokes) -> Self {
        let Self { labels, below: needs, strokes } = Self::of_dependencies(members, lock, strokes);
        let mut below: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, needed) in needs {
            for needed in needed {
                below.entry(needed).or_default().push(key.clone());
            }
        }
        // The project itself ends every way, and is what one looks for: it comes first.
        for dependents in below.values_mut() {
            dependents.sort_by_key(|key| !key.starts_with("member "));
        }
        Self { labels, below, strokes }
    }

    fn draw(&self, top: &str) -> String {
        let mut text = format!("{}\n", self.labels.get(top).map_or(top, String::as_str));
        self.draw_below(top, "", &mut BTreeSet::from([top.to_owned()]), &mut text);
        text
    }

    /// What was drawn before gets a mark in place of what hangs below it, so that cycles end.
    fn draw_below(&self, key: &str, indent: &str, drawn: &mut BTreeSet<String>, text: &mut String) {
        let children = self.below.get(key).map(Vec::as_slice).unwrap_or_default();
        for (at, child) in children.iter().enumerate() {
            let is_last = at + 1 == children.len();
            let stroke = if is_last { self.strokes.last } else { self.strokes.branch };
            let leaf = self.below.get(child).is_none_or(Vec::is_empty);
            let repeated = !drawn.insert(child.clone()) && !leaf;
            let shown = self.labels.get(child).unwrap_or(child);
            let mark = if repeated { " (*)" } else { "" };
            text.push_str(&format!("{indent}{stroke}{shown}{mark}\n"));
            if !repeated {
                let deeper = format!("{indent}{}", if is_last { "    " } else { self.strokes.pipe });
                self.draw_below(child, &deeper, drawn, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_end_at_what_was_drawn_before() {
        let package = |name: &str, deps: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsha256 = \"{}\"\nsize = 1\ndependencies = [{deps}]\n",
                "0".repeat(64)
            )
        };
        let text = format!(
            "version = 1\nregistry = \"r\"\norigin = \"o\"\n{}{}{}[checkpoint]\nsize = 1\nroot = \"{}=\"\n",
            package("a", "\"b\", \"c\""),
            package("b", "\"a\""),
            package("c", "\"b\""),
            "A".repeat(43)
        );
        let lock = Lock::parse(&text).unwrap();
        let roots = ["a", "c", "d"].map(str::to_owned).to_vec();
        let members = [Member { title: "app 0.1.0".into(), roots }];
        assert_eq!(
            Drawing::of_dependencies(&members, &lock, &UNICODE).draw(&member_key(0)),
            "app 0.1.0
├── a 1.0.0
│   ├── b 1.0.0
│   │   └── a 1.0.0 (*)
│   └── c 1.0.0
│       └── b 1.0.0 (*)
├── c 1.0.0 (*)
└── d (not locked)
"
        );
        assert!(Drawing::of_dependencies(&members, &lock, &ASCII).draw(&member_key(0)).is_ascii());
        assert_eq!(
            Drawing::of_dependents(&members, &lock, &UNICODE).draw("b"),
            "b 1.0.0
├── a 1.0.0
│   ├── app 0.1.0
│   └── b 1.0.0 (*)
└── c 1.0.0
    ├── app 0.1.0
    └── a 1.0.0 (*)
"
        );
        let ways: Vec<String> =
            paths("b", &members[0].roots, &lock).iter().map(|path| path.join(" ")).collect();
        assert_eq!(ways, ["a b", "c b"]);
    }

    #[test]
    fn the_locale_decides_on_boxes() {
        assert!(is_utf8(&Env::from_iter([("LANG", "de_DE.UTF-8")])));
        assert!(!is_utf8(&Env::from_iter([("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")])));
        assert!(!is_utf8(&Env::default()));
    }
}
