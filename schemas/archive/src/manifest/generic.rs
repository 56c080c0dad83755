//! `drystone.toml`: the manifest of packages of any language, under whatever file name a registry gives it.
//!
//! Tables: `package`, `dependencies`, `build-dependencies`, `dev-dependencies`, `features`. Names may have owners and are
//! then quoted: `"acme/http" = "^1"`. Other tables belong to the language and are left alone.

use std::collections::BTreeSet;

use drystone_schemas::{DepKind, confusable::slips};
use toml::Value;

use super::{DepText, Draft, table::Section};

const TABLES: [&str; 5] = ["package", "dependencies", "build-dependencies", "dev-dependencies", "features"];
const PACKAGE_KEYS: [&str; 13] = [
    "name",
    "version",
    "description",
    "license",
    "authors",
    "keywords",
    "categories",
    "homepage",
    "repository",
    "documentation",
    "readme",
    "include",
    "exclude",
];
const DEPENDENCY_KEYS: [&str; 6] =
    ["version", "package", "features", "optional", "default-features", "registry-index"];
/// Keys whose place has a problem of its own.
const DEPENDENCY_KEYS_HANDLED: [&str; 3] = ["path", "git", "registry"];
const KINDS: [(DepKind, &str); 3] = [
    (DepKind::Normal, "dependencies"),
    (DepKind::Build, "build-dependencies"),
    (DepKind::Dev, "dev-dependencies"),
];

pub(super) fn read(draft: &mut Draft, root: &Section<'_>, package: &Section<'_>) {
    draft.identify(package, true);
    draft.describe(package);
    draft.details.include = package.texts("include", &mut draft.problems);
    draft.details.exclude = package.texts("exclude", &mut draft.problems);
    draft.read_features(root);
    for (kind, name) in KINDS {
        if let Some(section) = root.section(name, &mut draft.problems) {
            dependencies(draft, &section, kind);
        }
    }
    warn_of_unknown(draft, package, &PACKAGE_KEYS, &[]);
    for key in root.keys() {
        // A language may have tables of its own; only what looks like a slip is worth a word.
        if !TABLES.contains(&key)
            && let Some(near) = nearest(key, &TABLES)
        {
            draft.warn(format!("`{key}` is not looked at; did you mean `{near}`?"));
        }
    }
    warn_of_loose_features(draft);
}

fn dependencies(draft: &mut Draft, section: &Section<'_>, kind: DepKind) {
    for key in section.keys() {
        let dep = DepText { place: section.name_of(key), key, kind, target: None, scoped: true };
        let found = match section.get(key) {
            Some(Value::String(req)) => dep.plain(req, &mut draft.problems),
            _ => section.section(key, &mut draft.problems).and_then(|table| {
                warn_of_unknown(draft, &table, &DEPENDENCY_KEYS, &DEPENDENCY_KEYS_HANDLED);
                dep.detailed(&table, &mut draft.problems)
            }),
        };
        draft.details.deps.extend(found);
    }
}

fn warn_of_unknown(draft: &mut Draft, section: &Section<'_>, known: &[&str], handled: &[&str]) {
    for key in section.keys() {
        if !known.contains(&key) && !handled.contains(&key) {
            let name = section.name_of(key);
            draft.warn(nearest(key, known).map_or_else(
                || format!("`{name}` is not a known key and is not looked at"),
                |near| format!("`{name}` is not a known key and is not looked at; did you mean `{near}`?"),
            ));
        }
    }
}

/// Warns of features that turn on what is not there.
fn warn_of_loose_features(draft: &mut Draft) {
    let details = &draft.details;
    let known: BTreeSet<&str> = details
        .deps
        .iter()
        .map(|dep| dep.rename.as_deref().unwrap_or(&dep.name))
        .chain(details.features.keys().map(String::as_str))
        .collect();
    let mut warnings = Vec::new();
    for (feature, list) in &details.features {
        for item in list {
            // `dep:NAME`, `NAME/FEATURE` and `NAME?/FEATURE` are about dependencies, whose names may have a `/` as well.
            let name = item.strip_prefix("dep:").unwrap_or(item);
            let head = name.rsplit_once('/').map_or(name, |(head, _)| head.trim_end_matches('?'));
            if !known.contains(name) && !known.contains(head) {
                warnings.push(format!(
                    "feature `{feature}` turns on `{item}`, which is neither a feature nor a dependency"
                ));
            }
        }
    }
    for warning in warnings {
        draft.warn(warning);
    }
}

/// The known word that is at most two slips away, the nearest first.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|candidate| (slips(word, candidate), *candidate));
    near.filter(|(slips, _)| *slips <= 2).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use drystone_schemas::Code;

    use super::super::{ReadmeChoice, parse_generic};

    #[test]
    fn a_full_manifest() {
        let manifest = parse_generic(
            "[package]\nname = 'acme/http'\nversion = '1.0.0-rc.1'\ndescription = 'x'\nkeywords = ['k']\nreadme = 'doc/r.md'\n\
             include = ['src/**']\nexclude = ['*.tmp']\n\
             [dependencies]\n'acme/json' = '^1'\nother = { package = 'acme/other', version = '*', optional = true }\n\
             [build-dependencies]\nb = '1'\n[dev-dependencies]\nt = '0.1'\n\
             [features]\ndefault = ['fast']\nfast = ['other', 'acme/json/simd', 'dep:other', 'other?/x']\n\
             [raven.compiler]\nlevel = 3\n",
        )
        .expect("it is valid");
        let deps: Vec<_> =
            manifest.details.deps.iter().map(|d| (&*d.name, d.rename.as_deref(), &*d.req)).collect();
        assert_eq!(manifest.name.as_str(), "acme/http");
        assert_eq!(
            deps,
            [
                ("acme/json", None, "^1"),
                ("acme/other", Some("other"), "*"),
                ("b", None, "^1"),
                ("t", None, "^0.1")
            ]
        );
        assert_eq!(manifest.details.readme, ReadmeChoice::Path("doc/r.md".into()));
        assert_eq!((&*manifest.details.include[0], &*manifest.details.exclude[0]), ("src/**", "*.tmp"));
        assert_eq!(manifest.details.warnings, [""; 0]);
    }

    #[test]
    fn slips_are_warned_of() {
        let manifest = parse_generic(
            "[package]\nname = 'a'\nversion = '1.0.0'\nlicence = 'MIT'\nzzz = 1\n\
             [dependency]\n[dependencis]\n[dependencies]\nb = { version = '1', feature = ['x'] }\n[features]\nf = ['gone']\n",
        )
        .expect("it is valid");
        assert_eq!(
            manifest.details.warnings,
            [
                "`dependencies.b.feature` is not a known key and is not looked at; did you mean `features`?",
                "`package.licence` is not a known key and is not looked at; did you mean `license`?",
                "`package.zzz` is not a known key and is not looked at",
                "`dependencis` is not looked at; did you mean `dependencies`?",
                "feature `f` turns on `gone`, which is neither a feature nor a dependency",
            ]
        );
    }

    #[test]
    fn all_problems_come_together() {
        let problems = parse_generic(
            "[package]\nname = '../a'\nversion = '1'\nauthors = 'me'\n[dependencies]\na = { path = '../a' }\n'b/c/d' = '1'\n",
        )
        .expect_err("it is not valid");
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            [
                Code::InvalidName,
                Code::InvalidVersion,
                Code::ManifestInvalid,
                Code::InvalidDependency,
                Code::InvalidDependency
            ]
        );
    }
}
