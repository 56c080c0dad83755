//! Typed access to TOML tables that says exactly which key is wrong.

use drystone_schemas::{Code, Problem};
use toml::{Table, Value};

use super::{Problems, ReadmeChoice};

/// A table, and how one gets to it.
#[derive(Clone)]
pub(super) struct Section<'t> {
    table: &'t Table,
    place: String,
}

impl<'t> Section<'t> {
    pub(super) const fn root(table: &'t Table) -> Self {
        Self { table, place: String::new() }
    }

    /// A table that stands at this place.
    pub(super) const fn placed(table: &'t Table, place: String) -> Self {
        Self { table, place }
    }

    /// The keys in byte order, whatever order the table keeps.
    pub(super) fn keys(&self) -> Vec<&'t str> {
        let mut keys: Vec<_> = self.table.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Value> {
        self.table.get(key)
    }

    /// The full name of a key, for messages.
    pub(super) fn name_of(&self, key: &str) -> String {
        if self.place.is_empty() { key.into() } else { format!("{}.{key}", self.place) }
    }

    pub(super) fn section(&self, key: &str, problems: &mut Problems) -> Option<Self> {
        let place = self.name_of(key);
        match self.get(key)? {
            Value::Table(table) => Some(Section { table, place }),
            other => self.wrong(key, "a table", other, problems),
        }
    }

    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        match self.get(key)? {
            Value::String(text) => Some(text.clone()),
            other => self.wrong(key, "a text", other, problems),
        }
    }

    pub(super) fn required_text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        if self.get(key).is_none() {
            self.missing(key, problems);
        }
        self.text(key, problems)
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, problems: &mut Problems) {
        problems.push(Problem::new(Code::ManifestInvalid, format!("`{}` is missing", self.name_of(key))));
    }

    /// A list of texts; empty if it is not there.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<String> {
        let list = match self.get(key) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => return self.wrong(key, "a list of texts", other, problems).unwrap_or_default(),
        };
        let texts = list.iter().map(|item| item.as_str().map(Into::into)).collect::<Option<Vec<_>>>();
        texts.unwrap_or_else(|| {
            let detail = format!("`{}` holds something that is not a text", self.name_of(key));
            problems.push(Problem::new(Code::ManifestInvalid, detail).fact("key", self.name_of(key)));
            Vec::new()
        })
    }

    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        match self.get(key)? {
            Value::Boolean(flag) => Some(*flag),
            other => self.wrong(key, "`true` or `false`", other, problems),
        }
    }

    /// A flag with a new and an old spelling; both are allowed where they agree.
    pub(super) fn either_flag(&self, new: &str, old: &str, problems: &mut Problems) -> Option<bool> {
        let (new_flag, old_flag) = (self.flag(new, problems), self.flag(old, problems));
        if new_flag.is_some() && old_flag.is_some() && new_flag != old_flag {
            let detail = format!("`{}` and `{}` disagree", self.name_of(new), self.name_of(old));
            problems.push(Problem::new(Code::ManifestInvalid, detail));
        }
        new_flag.or(old_flag)
    }

    /// The key `readme`: a path, or whether there is one.
    pub(super) fn readme(&self, problems: &mut Problems) -> ReadmeChoice {
        match self.get("readme") {
            None => ReadmeChoice::Usual,
            Some(Value::Boolean(false)) => ReadmeChoice::Never,
            Some(Value::Boolean(true)) => ReadmeChoice::Path("README.md".into()),
            Some(Value::String(path)) => ReadmeChoice::Path(path.clone()),
            Some(other) => {
                self.wrong("readme", "a path, `true` or `false`", other, problems).unwrap_or_default()
            }
        }
    }

    fn wrong<T>(&self, key: &str, wanted: &str, found: &Value, problems: &mut Problems) -> Option<T> {
        let place = self.name_of(key);
        let inherited = found.as_table().is_some_and(|table| table.contains_key("workspace"));
        let detail = if inherited {
            format!("`{place}` is inherited from a workspace, which is not in the archive")
        } else {
            format!("`{place}` is {}, not {wanted}", found.type_str())
        };
        problems.push(Problem::new(Code::ManifestInvalid, detail).fact("key", place));
        None
    }
}
