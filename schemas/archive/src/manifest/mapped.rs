//! A language's own manifest, TOML or JSON, read by the mapping of the registry's settings.
//!
//! Owns: finding fields by their paths, and JSON as the tables that all manifests are read from. Does not own: what a name,
//! a version or a dependency may be. Keys that the mapping does not name belong to the language and are left alone.

use std::fmt;

use drystone_schemas::{DepKind, ManifestFields};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::{Table, Value};

use super::{DepText, Draft, Problems, table::Section};

const KINDS: [DepKind; 3] = [DepKind::Normal, DepKind::Build, DepKind::Dev];

pub(super) fn read(draft: &mut Draft, root: &Section<'_>, fields: &ManifestFields) {
    let name = required(root, &fields.name, &mut draft.problems);
    let version = required(root, &fields.version, &mut draft.problems);
    draft.identified(name, version, true);
    let (details, problems) = (&mut draft.details, &mut draft.problems);
    for (slot, path) in [
        (&mut details.description, &fields.description),
        (&mut details.license, &fields.license),
        (&mut details.repository, &fields.repository),
        (&mut details.homepage, &fields.homepage),
        (&mut details.documentation, &fields.documentation),
    ] {
        *slot = parent(root, path, problems).and_then(|(table, key)| table.text(key, problems));
    }
    for (slot, path) in [
        (&mut details.authors, &fields.authors),
        (&mut details.keywords, &fields.keywords),
        (&mut details.categories, &fields.categories),
    ] {
        let Some((table, key)) = parent(root, path, problems) else { continue };
        *slot = match table.get(key) {
            Some(Value::String(text)) => vec![text.clone()],
            _ => table.texts(key, problems),
        };
    }
    for kind in KINDS {
        let found = parent(root, fields.dependencies_of(kind), &mut draft.problems);
        let section = found.and_then(|(table, key)| table.section(key, &mut draft.problems));
        if let Some(section) = section {
            dependencies(draft, &section, kind, &fields.requirement);
        }
    }
}

fn required(root: &Section<'_>, path: &str, problems: &mut Problems) -> Option<String> {
    match parent(root, path, problems) {
        Some((table, key)) => table.required_text(key, problems),
        None => {
            root.missing(path, problems);
            None
        }
    }
}

/// The table that the last key of a path is in; none if it is not there.
fn parent<'t, 'p>(
    root: &Section<'t>,
    path: &'p str,
    problems: &mut Problems,
) -> Option<(Section<'t>, &'p str)> {
    let (tables, key) = path.rsplit_once('.').map_or((None, path), |(tables, key)| (Some(tables), key));
    let mut section = root.clone();
    for table in tables.into_iter().flat_map(|tables| tables.split('.')) {
        section = section.section(table, problems)?;
    }
    Some((section, key))
}

fn dependencies(draft: &mut Draft, section: &Section<'_>, kind: DepKind, requirement: &str) {
    for key in section.keys() {
        let place = section.name_of(key);
        let dep = DepText { place: place.clone(), key, kind, target: None, scoped: true };
        let found = match section.get(key) {
            Some(Value::String(req)) => dep.plain(req, &mut draft.problems),
            _ => section.section(key, &mut draft.problems).and_then(|table| {
                let known = renamed(&table, requirement);
                dep.detailed(&Section::placed(&known, place), &mut draft.problems)
            }),
        };
        draft.details.deps.extend(found);
    }
}

/// A dependency's table with its requirement under our key.
fn renamed(table: &Section<'_>, requirement: &str) -> Table {
    let mut known: Table =
        table.keys().into_iter().filter_map(|key| Some((key.to_owned(), table.get(key)?.clone()))).collect();
    if requirement != "version" {
        known.remove("version");
        if let Some(value) = known.remove(requirement) {
            known.insert("version".into(), value);
        }
    }
    known
}

/// Reads a JSON object as a table. A `null` is as good as nothing; the same key twice is refused, since parsers differ in which
/// one counts.
pub(super) fn parse_json(text: &str) -> Result<Table, String> {
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(Some(Value::Table(table)))) => Ok(table),
        Ok(_) => Err("the manifest is not a JSON object".into()),
        Err(error) => Err(format!("line {} of the manifest: {error}", error.line())),
    }
}

/// A JSON value as TOML has it; none for `null`.
struct Strict(Option<Value>);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(None))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Strict, E> {
        Ok(Strict(Some(Value::Boolean(flag))))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Strict, E> {
        Ok(Strict(Some(Value::Integer(number))))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Strict, E> {
        let number = i64::try_from(number).map_err(|_| E::custom(format!("{number} is too large")))?;
        Ok(Strict(Some(Value::Integer(number))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Strict, E> {
        Ok(Strict(Some(Value::Float(number))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Strict, E> {
        Ok(Strict(Some(Value::String(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.extend(item);
        }
        Ok(Strict(Some(Value::Array(list))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let (mut table, mut seen) = (Table::new(), std::collections::BTreeSet::new());
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("`{key}` is there twice")));
            }
            if let Some(value) = value {
                table.insert(key, value);
            }
        }
        Ok(Strict(Some(Value::Table(table))))
    }
}

#[cfg(test)]
mod tests {
    use drystone_schemas::{Code, Language};

    use super::super::{Manifest, parse_language};
    use super::*;

    fn quill() -> Language {
        let fields = ManifestFields {
            name: "project.title".into(),
            version: "project.release".into(),
            authors: "people.by".into(),
            dependencies: "needs".into(),
            dev_dependencies: "checks.needs".into(),
            requirement: "at".into(),
            ..ManifestFields::default()
        };
        Language { fields, ..Language::new("quill") }
    }

    fn shown(manifest: &Manifest) -> String {
        let deps: Vec<String> =
            manifest.details.deps.iter().map(|d| format!("{:?} {} {}", d.kind, d.name, d.req)).collect();
        format!("{} {} {:?} {}", manifest.name, manifest.vers, manifest.details.authors, deps.join(", "))
    }

    #[test]
    fn the_same_package_in_both_notations() {
        let toml = "[project]\ntitle = 'ink'\nrelease = '1.0.0'\n[people]\nby = 'ann'\n\
                    [needs]\npaper = '^1'\npen = { at = '~2.1', version = 'x', colour = 'red' }\n[checks.needs]\nt = '*'\n";
        let json = r#"{"project": {"title": "ink", "release": "1.0.0"}, "people": {"by": ["ann"]}, "extra": null,
                       "needs": {"paper": "^1", "pen": {"at": "~2.1"}}, "checks": {"needs": {"t": "*"}}}"#;
        let expected = r#"ink 1.0.0 ["ann"] Normal paper ^1, Normal pen ~2.1, Dev t *"#;
        for (file, text) in [("quill.toml", toml), ("quill.json", json)] {
            assert_eq!(
                shown(&parse_language(file, &quill(), text).expect("it is valid")),
                expected,
                "{file}"
            );
        }
    }

    #[test]
    fn problems_name_the_languages_own_keys() {
        let problems = |file: &str, text: &str| {
            let problems = parse_language(file, &quill(), text).expect_err("it is not valid");
            problems.into_iter().map(|problem| (problem.code, problem.detail)).collect::<Vec<_>>()
        };
        assert_eq!(
            problems("quill.toml", "[project]\ntitle = 'ink'\n[needs]\npen = { version = '1' }\n"),
            [
                (Code::ManifestInvalid, "`project.release` is missing".to_owned()),
                (Code::InvalidDependency, "`needs.pen` has no version".to_owned()),
            ]
        );
        assert_eq!(problems("quill.toml", "").len(), 2);
        for (text, what) in [
            (r#"{"project": {"title": "a", "title": "b"}}"#, "`title` is there twice"),
            ("[]", "not a JSON object"),
            ("{", "line 1"),
        ] {
            let found = problems("quill.json", text);
            assert!(found[0].1.contains(what), "{found:?}");
        }
    }
}
