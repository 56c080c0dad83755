//! `tree`: what is locked, and who needs it.

use std::collections::BTreeSet;

use drystone_client::{Lock, LockedPackage};
use drystone_schemas::{Code, Problem};
use serde::Serialize;

use crate::{args, context::Context, env::Env, failure::Failure};

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

pub(super) async fn tree(args: &args::Tree, cx: &Context) -> Result<(), Failure> {
    let project = cx.project(&args.project).await?;
    let Some(lock) = Lock::read(project.dir())? else {
        let problem = Problem::new(Code::ProjectNotFound, "there is no lock file here");
        return Err(problem.with_hint("make one with `drystone lock`").into());
    };
    let roots: Vec<String> = project.requirements()?.iter().map(|root| root.name.canonical()).collect();
    let packages = lock.packages.values().map(|package| Node {
        name: package.name.as_str(),
        version: package.version.to_string(),
        sha256: package.digest.hex(),
        dependencies: &package.dependencies,
    });
    let tree = Tree { roots: &roots, packages: packages.collect() };
    let title = format!("{} {}", project.name().unwrap_or("project"), project.version().unwrap_or(""));
    let strokes = if is_utf8(&cx.env) { &UNICODE } else { &ASCII };
    cx.printer.result(&tree, || draw(title.trim_end(), &roots, &lock, strokes))
}

/// Whether the locale can show box-drawing characters.
fn is_utf8(env: &Env) -> bool {
    let locale = env.get("LC_ALL").or_else(|| env.get("LC_CTYPE")).or_else(|| env.get("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

fn draw(title: &str, roots: &[String], lock: &Lock, strokes: &Strokes) -> String {
    let mut text = format!("{title}\n");
    draw_below(roots, "", lock, strokes, &mut BTreeSet::new(), &mut text);
    text
}

/// A package whose dependencies were drawn before gets a mark in their place, so that cycles end.
fn draw_below<'a>(
    names: &'a [String],
    indent: &str,
    lock: &'a Lock,
    strokes: &Strokes,
    drawn: &mut BTreeSet<&'a str>,
    text: &mut String,
) {
    for (at, name) in names.iter().enumerate() {
        let is_last = at + 1 == names.len();
        let stroke = if is_last { strokes.last } else { strokes.branch };
        let Some(package) = lock.packages.get(name) else {
            text.push_str(&format!("{indent}{stroke}{name} (not locked)\n"));
            continue;
        };
        let LockedPackage { name: shown, version, dependencies, .. } = package;
        let repeated = !drawn.insert(name) && !dependencies.is_empty();
        let mark = if repeated { " (*)" } else { "" };
        text.push_str(&format!("{indent}{stroke}{shown} {version}{mark}\n"));
        if !repeated {
            let deeper = format!("{indent}{}", if is_last { "    " } else { strokes.pipe });
            draw_below(dependencies, &deeper, lock, strokes, drawn, text);
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
            draw("app 0.1.0", &roots, &lock, &UNICODE),
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
        assert!(draw("app", &roots, &lock, &ASCII).is_ascii());
    }

    #[test]
    fn the_locale_decides_on_boxes() {
        assert!(is_utf8(&Env::from_iter([("LANG", "de_DE.UTF-8")])));
        assert!(!is_utf8(&Env::from_iter([("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")])));
        assert!(!is_utf8(&Env::default()));
    }
}
