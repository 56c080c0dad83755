//! `Cargo.toml` as `cargo package` writes it, by this and by older versions of Cargo.
//!
//! Format: the Cargo book, "The Manifest Format" and "Specifying Dependencies". Keys that play no part in resolving or
//! presenting a package are not looked at: Cargo checked them, and newer ones must not be refused.

use drystone_schemas::{Code, DepKind, Problem};
use toml::Value;

use super::{DepText, Draft, table::Section};

/// The kinds in the order of the record, with the new and the old name of their tables.
const KINDS: [(DepKind, &str, Option<&str>); 3] = [
    (DepKind::Normal, "dependencies", None),
    (DepKind::Build, "build-dependencies", Some("build_dependencies")),
    (DepKind::Dev, "dev-dependencies", Some("dev_dependencies")),
];

pub(super) fn read(draft: &mut Draft, root: &Section<'_>, package: &Section<'_>) {
    draft.identify(package, false);
    draft.describe(package);
    draft.details.links = package.text("links", &mut draft.problems);
    draft.details.rust_version = package.text("rust-version", &mut draft.problems);
    draft.read_features(root);
    dependencies(draft, root, None);
    if let Some(targets) = root.section("target", &mut draft.problems) {
        for name in targets.keys() {
            if let Some(target) = targets.section(name, &mut draft.problems) {
                dependencies(draft, &target, Some(name));
            }
        }
    }
}

fn dependencies(draft: &mut Draft, parent: &Section<'_>, target: Option<&str>) {
    for (kind, name, old_name) in KINDS {
        let old_name = old_name.filter(|old| parent.get(old).is_some());
        if let Some(old_name) = old_name.filter(|_| parent.get(name).is_some()) {
            // Versions of Cargo differ in which of them counts.
            let detail =
                format!("`{}` and `{}` are both there", parent.name_of(name), parent.name_of(old_name));
            draft.problems.push(Problem::new(Code::ManifestInvalid, detail));
        }
        let Some(section) = parent.section(old_name.unwrap_or(name), &mut draft.problems) else { continue };
        for key in section.keys() {
            let dep = DepText { place: section.name_of(key), key, kind, target, scoped: false };
            let found = match section.get(key) {
                Some(Value::String(req)) => dep.plain(req, &mut draft.problems),
                _ => section.section(key, &mut draft.problems).and_then(|table| {
                    // `cargo package` drops these, and older versions left them in.
                    let local = table.get("path").is_some() || table.get("git").is_some();
                    if kind == DepKind::Dev && local && table.get("version").is_none() {
                        return None;
                    }
                    dep.detailed(&table, &mut draft.problems)
                }),
            };
            draft.details.deps.extend(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use drystone_schemas::Code;

    use super::super::{Manifest, ReadmeChoice, parse_cargo};

    const HEAD: &str = "[package]\nname = 'p'\nversion = '1.0.0'\n";

    fn parse(rest: &str) -> Manifest {
        parse_cargo(&format!("{HEAD}{rest}")).expect("it is valid")
    }

    fn codes(text: &str) -> Vec<Code> {
        parse_cargo(text).expect_err("it is not valid").into_iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn every_form_of_dependency_in_the_order_of_the_index() {
        let manifest = parse(
            "[dependencies]\nb = '1'\na = { version = '>= 1, < 3', optional = true, default-features = false }\n\
             [dependencies.x]\nversion = '1.*'\npackage = 'real'\nfeatures = ['f']\nregistry-index = 'sparse+https://r.example/'\n\
             [dev_dependencies]\nd = { version = '=1.2.3', default_features = false }\nlocal = { path = '../local' }\n\
             [build-dependencies]\nc = { version = '0.1', path = 'c', registry-index = 'https://github.com/rust-lang/crates.io-index' }\n\
             [target.'cfg(unix)'.dependencies]\nlibc = '~0.2.1'\n[target.'cfg(unix)'.dev-dependencies]\n_t = { version = '1', package = 't' }\n",
        );
        let shown: Vec<_> = manifest
            .details
            .deps
            .iter()
            .map(|d| {
                format!(
                    "{:?} {}{} {} {:?} {} {} {:?} {:?}",
                    d.kind,
                    d.name,
                    d.rename.as_ref().map(|r| format!(" as {r}")).unwrap_or_default(),
                    d.req,
                    d.features,
                    d.optional,
                    d.default_features,
                    d.target,
                    d.registry_index,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "Normal a >=1, <3 [] true false None None",
                "Normal b ^1 [] false true None None",
                "Normal real as x 1.* [\"f\"] false true None Some(\"sparse+https://r.example/\")",
                "Build c ^0.1 [] false true None None",
                "Dev d =1.2.3 [] false false None None",
                "Normal libc ~0.2.1 [] false true Some(\"cfg(unix)\") None",
                "Dev t as _t ^1 [] false true Some(\"cfg(unix)\") None",
            ]
        );
    }

    #[test]
    fn details_are_kept_as_written() {
        let manifest = parse(
            "links = 'z'\nrust-version = '1.70'\nreadme = false\nlicense = 'MIT'\nauthors = ['A']\nunknown = 1\n\
             [features]\ndefault = ['std']\nstd = ['dep:a', 'b?/std']\n",
        );
        let details = manifest.details;
        assert_eq!((details.links.as_deref(), details.rust_version.as_deref()), (Some("z"), Some("1.70")));
        assert_eq!((details.readme, details.license.as_deref()), (ReadmeChoice::Never, Some("MIT")));
        assert_eq!(details.features["std"], ["dep:a", "b?/std"]);
        assert_eq!(parse("readme = 'x.md'").details.readme, ReadmeChoice::Path("x.md".into()));
        assert_eq!(
            parse_cargo("[project]\nname = 'old'\nversion = '0.0.1'\n").expect("it is valid").name.as_str(),
            "old"
        );
    }

    #[test]
    fn all_problems_come_together() {
        use Code::*;
        assert_eq!(codes("x"), [ManifestInvalid]);
        assert_eq!(codes(""), [ManifestInvalid]);
        assert_eq!(codes("package = 1"), [ManifestInvalid]);
        assert_eq!(codes("[package]"), [ManifestInvalid, ManifestInvalid]);
        assert_eq!(
            codes(
                "[package]\nname = 'a/b'\nversion = '1.0'\nlicense = { workspace = true }\n\
                 [dependencies]\na = 'one'\nb = { git = 'https://g.example/b' }\nc = {}\nd = { version = '1', registry = 'mine' }\n\
                 'e/f' = '1'\n'g h' = { version = '1', package = 'g' }\ni = 1\n[dependencies.j]\nworkspace = true\n"
            ),
            [
                InvalidName,
                InvalidVersion,
                ManifestInvalid,
                InvalidDependency,
                InvalidDependency,
                InvalidDependency,
                InvalidDependency,
                InvalidDependency,
                InvalidDependency,
                ManifestInvalid,
                InvalidDependency,
            ]
        );
        assert_eq!(codes(&format!("{HEAD}[dev-dependencies]\n[dev_dependencies]\n")), [ManifestInvalid]);
        let many: String = (0..1000).map(|i| format!("d{i} = 'one'\n")).collect();
        assert_eq!(codes(&format!("{HEAD}[dependencies]\n{many}")).len(), 20);
    }
}
