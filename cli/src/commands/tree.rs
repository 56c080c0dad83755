//! `tree` and `why`: what is locked, and who needs it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drystone_client::{Lock, LockedPackage, Project};
use drystone_schemas::{Code, Problem};
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
    sha256: String,
    dependencies: &'a [String],
}

#[derive(Serialize)]
struct Tree<'a> {
    roots: &'a [String],
    packages: Vec<Node<'a>>,
}

/// Who needs a package.
#[derive(Serialize)]
struct Dependents<'a> {
    name: &'a str,
    version: String,
    /// Shortest ways to it: from a requirement of the project, package by package.
    paths: Vec<Vec<String>>,
}

pub(super) async fn tree(args: &args::Tree, cx: &Context) -> Result<(), Failure> {
    let (project, lock) = locked_project(&args.project, cx).await?;
    let roots: Vec<String> = project.requirements()?.iter().map(|root| root.name.canonical()).collect();
    let strokes = if is_utf8(&cx.env) { &UNICODE } else { &ASCII };
    let title = title(&project);
    if let Some(text) = &args.invert {
        let package = find(&lock, text)?;
        let dependents = Dependents {
            name: package.name.as_str(),
            version: package.version.to_string(),
            paths: paths(&package.name.canonical(), &roots, &lock),
        };
        let drawing = Drawing::of_dependents(&title, &roots, &lock, strokes);
        return cx.printer.result(&dependents, || drawing.draw(&package.name.canonical()));
    }
    let packages = lock.packages.values().map(|package| Node {
        name: package.name.as_str(),
        version: package.version.to_string(),
        sha256: package.digest.hex(),
        dependencies: &package.dependencies,
    });
    let tree = Tree { roots: &roots, packages: packages.collect() };
    cx.printer.result(&tree, || Drawing::of_dependencies(&title, &roots, &lock, strokes).draw(PROJECT))
}

/// `why`: each requirement of the project that leads to a package, with the shortest way.
pub(super) async fn why(args: &args::Why, cx: &Context) -> Result<(), Failure> {
    let (project, lock) = locked_project(&args.project, cx).await?;
    let roots: Vec<String> = project.requirements()?.iter().map(|root| root.name.canonical()).collect();
    let package = find(&lock, &args.package)?;
    let paths = paths(&package.name.canonical(), &roots, &lock);
    let shown = |key: &String| label(&lock, key);
    let lines: String = paths
        .iter()
        .map(|path| {
            format!("{} -> {}\n", title(&project), path.iter().map(shown).collect::<Vec<_>>().join(" -> "))
        })
        .collect();
    let dependents = Dependents { name: package.name.as_str(), version: package.version.to_string(), paths };
    cx.printer.result(&dependents, || lines)
}

/// The project with its lock, which must be there.
async fn locked_project(args: &args::ProjectArgs, cx: &Context) -> Result<(Project, Lock), Failure> {
    let project = cx.project(args).await?;
    let Some(lock) = Lock::read(project.dir())? else {
        let problem = Problem::new(Code::ProjectNotFound, "there is no lock file here");
        return Err(problem.with_hint("make one with `drystone lock`").into());
    };
    Ok((project, lock))
}

fn title(project: &Project) -> String {
    let title = format!("{} {}", project.name().unwrap_or("project"), project.version().unwrap_or(""));
    title.trim_end().to_owned()
}

fn find<'a>(lock: &'a Lock, text: &str) -> Result<&'a LockedPackage, Failure> {
    let name = package_name(text)?;
    lock.packages.get(&name.canonical()).ok_or_else(|| {
        let problem = Problem::new(Code::PackageNotFound, format!("`{name}` is not in the lock file"));
        problem.with_hint("list what is with `drystone tree`").into()
    })
}

fn label(lock: &Lock, key: &str) -> String {
    match lock.packages.get(key) {
        Some(package) => format!("{} {}", package.name, package.version),
        None => format!("{key} (not locked)"),
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
            for needed in lock.packages.get(key).into_iter().flat_map(|package| &package.dependencies) {
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

/// The key of the project itself.
const PROJECT: &str = "";

/// What is drawn: lines, and what hangs below each.
struct Drawing<'a> {
    labels: BTreeMap<&'a str, String>,
    below: BTreeMap<&'a str, Vec<&'a str>>,
    strokes: &'a Strokes,
}

impl<'a> Drawing<'a> {
    fn of_dependencies(title: &str, roots: &'a [String], lock: &'a Lock, strokes: &'a Strokes) -> Self {
        let mut labels = BTreeMap::from([(PROJECT, title.to_owned())]);
        let mut below = BTreeMap::from([(PROJECT, roots.iter().map(String::as_str).collect())]);
        for root in roots {
            labels.insert(root, label(lock, root));
        }
        for (key, package) in &lock.packages {
            labels.insert(key, label(lock, key));
            below.insert(key, package.dependencies.iter().map(String::as_str).collect());
        }
        Self { labels, below, strokes }
    }

    fn of_dependents(title: &str, roots: &'a [String], lock: &'a Lock, strokes: &'a Strokes) -> Self {
        let Self { labels, below: needs, strokes } = Self::of_dependencies(title, roots, lock, strokes);
        let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, needed) in needs {
            for needed in needed {
                below.entry(needed).or_default().push(key);
            }
        }
        Self { labels, below, strokes }
    }

    fn draw<'b>(&'b self, top: &'b str) -> String {
        let mut text = format!("{}\n", self.labels.get(top).map_or(top, String::as_str));
        self.draw_below(top, "", &mut BTreeSet::from([top]), &mut text);
        text
    }

    /// What was drawn before gets a mark in place of what hangs below it, so that cycles end.
    fn draw_below<'b>(&'b self, key: &str, indent: &str, drawn: &mut BTreeSet<&'b str>, text: &mut String) {
        let children = self.below.get(key).map(Vec::as_slice).unwrap_or_default();
        for (at, child) in children.iter().enumerate() {
            let is_last = at + 1 == children.len();
            let stroke = if is_last { self.strokes.last } else { self.strokes.branch };
            let leaf = self.below.get(child).is_none_or(Vec::is_empty);
            let repeated = !drawn.insert(child) && !leaf;
            let shown = self.labels.get(child).map_or(*child, String::as_str);
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
        let roots = ["a".to_owned(), "c".to_owned(), "d".to_owned()];
        assert_eq!(
            Drawing::of_dependencies("app 0.1.0", &roots, &lock, &UNICODE).draw(PROJECT),
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
        assert!(Drawing::of_dependencies("app", &roots, &lock, &ASCII).draw(PROJECT).is_ascii());
        assert_eq!(
            Drawing::of_dependents("app 0.1.0", &roots, &lock, &UNICODE).draw("b"),
            "b 1.0.0
├── a 1.0.0
│   ├── app 0.1.0
│   └── b 1.0.0 (*)
└── c 1.0.0
    ├── app 0.1.0
    └── a 1.0.0 (*)
"
        );
        let ways: Vec<String> = paths("b", &roots, &lock).iter().map(|path| path.join(" ")).collect();
        assert_eq!(ways, ["a b", "c b"]);
    }

    #[test]
    fn the_locale_decides_on_boxes() {
        assert!(is_utf8(&Env::from_iter([("LANG", "de_DE.UTF-8")])));
        assert!(!is_utf8(&Env::from_iter([("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")])));
        assert!(!is_utf8(&Env::default()));
    }
}
