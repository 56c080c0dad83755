//! A project's manifest as the user edits it: dependencies read, added and removed, comments kept.
//!
//! Owns the parts of the manifest that choose packages. Does not own what a *published* manifest must say: that is the
//! archive library's.
//! Invariant: an edit changes the lines that it is about and no other.

mod notation;

use std::path::{Path, PathBuf};

use drystone_schemas::{DepKind, ManifestFields, PackageName, VersionReq};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use crate::{ClientError, cache::write_atomically, resolve::Requirement};
use notation::{is_json, put, toml_of_json};

/// Name of the manifest, unless the registry's configuration gives another.
pub const DEFAULT_MANIFEST: &str = "drystone.toml";

/// A manifest on disk.
#[derive(Debug, Clone)]
pub struct Project {
    path: PathBuf,
    document: DocumentMut,
    fields: ManifestFields,
}

/// Which table of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencyTable {
    /// `[dependencies]`.
    Normal,
    /// `[build-dependencies]`.
    Build,
    /// `[dev-dependencies]`.
    Dev,
}

impl DependencyTable {
    /// Every table, in the order in which they are read.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Build, Self::Dev];

    const fn kind(self) -> DepKind {
        match self {
            Self::Normal => DepKind::Normal,
            Self::Build => DepKind::Build,
            Self::Dev => DepKind::Dev,
        }
    }
}

/// What an edit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// A new line.
    Added,
    /// Another requirement in an old line.
    Changed,
    /// It was so already.
    Unchanged,
}

impl Project {
    /// Finds the manifest in a directory or the nearest one above it.
    pub fn find(start: &Path, file_name: &str) -> Result<Self, ClientError> {
        let found = start.ancestors().map(|dir| dir.join(file_name)).find(|path| path.is_file());
        match found {
            Some(path) => Self::open(&path),
            None => Err(ClientError::ProjectNotFound { file_name: file_name.into(), dir: start.into() }),
        }
    }

    /// Reads a manifest.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let text = fs_err::read_to_string(path)?;
        Self::parse(path, &text)
    }

    /// Takes the text of a manifest that is, or will be, at `path`. One whose name ends in `.json` can be read, not edited.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ClientError> {
        let converted = if is_json(path) { Some(toml_of_json(path, text)?) } else { None };
        let text = converted.as_deref().unwrap_or(text);
        let document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| {
            ClientError::BadManifest { path: path.into(), detail: e.to_string().trim_end().to_owned() }
        })?;
        Ok(Self { path: path.into(), document, fields: ManifestFields::default() })
    }

    /// The same manifest, read by a language's mapping.
    #[must_use]
    pub fn with_fields(self, fields: ManifestFields) -> Self {
        Self { fields, ..self }
    }

    /// Writes a language's own manifest for a new project; fails with [`ClientError::AlreadyExists`] if there is one.
    pub fn init_language(
        path: &Path,
        name: &PackageName,
        fields: &ManifestFields,
    ) -> Result<Self, ClientError> {
        if path.exists() {
            return Err(ClientError::AlreadyExists { path: path.into() });
        }
        let mut table = toml::Table::new();
        put(&mut table, &fields.name, toml::Value::String(name.to_string()));
        put(&mut table, &fields.version, toml::Value::String("0.1.0".into()));
        put(&mut table, &fields.description, toml::Value::String(String::new()));
        put(&mut table, &fields.authors, toml::Value::Array(Vec::new()));
        put(&mut table, &fields.dependencies, toml::Value::Table(toml::Table::new()));
        let text = if is_json(path) {
            serde_json::to_string_pretty(&table).map(|text| text + "\n").map_err(|e| e.to_string())
        } else {
            toml::to_string(&table).map_err(|e| e.to_string())
        };
        let text = text.map_err(ClientError::Internal)?;
        let project = Self::parse(path, &text)?.with_fields(fields.clone());
        write_atomically(path, text.as_bytes())?;
        Ok(project)
    }

    /// Writes a manifest for a new project; fails with [`ClientError::AlreadyExists`] if there is one.
    pub fn init(path: &Path, name: &PackageName, registry: Option<&str>) -> Result<Self, ClientError> {
        if path.exists() {
            return Err(ClientError::AlreadyExists { path: path.into() });
        }
        let registry = registry.map_or(String::new(), |url| format!("\n[registry]\nurl = {}\n", quoted(url)));
        let text = format!(
            "[package]\nname = {}\nversion = \"0.1.0\"\ndescription = \"\"\nlicense = \"MIT OR Apache-2.0\"\n\n[dependencies]\n{registry}",
            quoted(name.as_str())
        );
        let project = Self::parse(path, &text)?;
        project.save()?;
        Ok(project)
    }

    /// Where the manifest is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that the manifest is in.
    pub fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }

    /// The text, with all edits.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// Writes the manifest back, whole.
    pub fn save(&self) -> Result<(), ClientError> {
        if is_json(&self.path) {
            return Err(self.bad("it is JSON, which is edited by hand; then run `drystone install`".into()));
        }
        Ok(write_atomically(&self.path, self.text().as_bytes())?)
    }

    /// The package's own name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.at(&self.fields.name)?.as_str()
    }

    /// The package's own version, if it has one.
    pub fn version(&self) -> Option<&str> {
        self.at(&self.fields.version)?.as_str()
    }

    /// The registry that the project names.
    pub fn registry_url(&self) -> Option<&str> {
        self.document.get("registry")?.get("url")?.as_str()
    }

    /// What the project itself asks for, for use, building and tests, without the optional ones.
    pub fn requirements(&self) -> Result<Vec<Requirement>, ClientError> {
        let mut requirements = Vec::new();
        for table in DependencyTable::ALL {
            let Some(item) = self.at(self.place(table)) else { continue };
            let table_like = item
                .as_table_like()
                .ok_or_else(|| self.bad(format!("`{}` is not a table", self.place(table))))?;
            for (key, item) in table_like.iter() {
                requirements.extend(self.requirement(table, key, item)?);
            }
        }
        Ok(requirements)
    }

    /// Sets a requirement, in a new line at the end of the table or in the line that is there, in any spelling.
    pub fn add(
        &mut self,
        table: DependencyTable,
        name: &PackageName,
        req: &str,
    ) -> Result<Edit, ClientError> {
        let place = self.place(table).to_owned();
        let (path, requirement) = (self.path.clone(), self.fields.requirement.clone());
        let not_a_table =
            || ClientError::BadManifest { path: path.clone(), detail: format!("`{place}` is not a table") };
        let mut item = self.document.as_item_mut();
        for key in place.split('.') {
            let inside = item.as_table_like_mut().ok_or_else(not_a_table)?;
            item = inside.entry(key).or_insert_with(|| Item::Table(Table::new()));
        }
        let table_like = item.as_table_like_mut().ok_or_else(not_a_table)?;
        let Some(key) = key_of(table_like, name) else {
            table_like.insert(name.as_str(), toml_edit::value(req));
            return Ok(Edit::Added);
        };
        let Some(entry) = table_like.get_mut(&key) else { return Ok(Edit::Unchanged) };
        let version = match entry.as_table_like_mut() {
            Some(inner) => inner.entry(&requirement).or_insert(toml_edit::value(req)),
            None => entry,
        };
        if version.as_str() == Some(req) {
            return Ok(Edit::Unchanged);
        }
        let decor = version.as_value().map(|value| value.decor().clone());
        *version = toml_edit::value(req);
        if let (Some(decor), Some(value)) = (decor, version.as_value_mut()) {
            *value.decor_mut() = decor;
        }
        Ok(Edit::Changed)
    }

    /// Removes a requirement, in any spelling; false if there is none.
    pub fn remove(&mut self, table: DependencyTable, name: &PackageName) -> bool {
        let place = self.place(table).to_owned();
        let mut item = Some(self.document.as_item_mut());
        for key in place.split('.') {
            item = item.and_then(|item| item.as_table_like_mut()?.get_mut(key));
        }
        let Some(table_like) = item.and_then(Item::as_table_like_mut) else {
            return false;
        };
        match key_of(table_like, name) {
            Some(key) => table_like.remove(&key).is_some(),
            None => false,
        }
    }

    /// Where in the manifest a package is asked for.
    pub fn find_dependency(&self, name: &PackageName) -> Option<DependencyTable> {
        DependencyTable::ALL.into_iter().find(|table| {
            let table = self.at(self.place(*table)).and_then(Item::as_table_like);
            table.is_some_and(|table| key_of(table, name).is_some())
        })
    }

    /// The item at a path of keys.
    fn at(&self, path: &str) -> Option<&Item> {
        path.split('.').try_fold(self.document.as_item(), |item, key| item.get(key))
    }

    /// The path of a table of dependencies.
    fn place(&self, table: DependencyTable) -> &str {
        self.fields.dependencies_of(table.kind())
    }

    fn requirement(
        &self,
        table: DependencyTable,
        key: &str,
        item: &Item,
    ) -> Result<Option<Requirement>, ClientError> {
        let place = format!("`{}.{key}`", self.place(table));
        let inner = item.as_table_like();
        let text = |field: &str| inner.and_then(|inner| inner.get(field)).and_then(Item::as_str);
        if inner.and_then(|inner| inner.get("optional")).and_then(Item::as_bool) == Some(true) {
            return Ok(None);
        }
        if text("registry-index").is_some() {
            return Err(self.bad(format!("{place} is to come from another registry, which is not supported")));
        }
        let req = item.as_str().or_else(|| text(&self.fields.requirement));
        let req = req.ok_or_else(|| self.bad(format!("{place} has no version requirement")))?;
        let name = PackageName::new(text("package").unwrap_or(key))
            .map_err(|e| self.bad(format!("{place}: {e}")))?;
        let req = VersionReq::new(req).map_err(|e| self.bad(format!("{place}: {e}")))?;
        Ok(Some(Requirement::new(name, req)))
    }

    fn bad(&self, detail: String) -> ClientError {
        ClientError::BadManifest { path: self.path.clone(), detail }
    }
}

/// The key in a table of dependencies that means a package.
fn key_of(table: &dyn TableLike, name: &PackageName) -> Option<String> {
    let wanted = name.canonical();
    let means_it = |key: &str, item: &Item| {
        let renamed = item.as_table_like().and_then(|inner| inner.get("package")).and_then(Item::as_str);
        PackageName::new(renamed.unwrap_or(key)).is_ok_and(|found| found.canonical() == wanted)
    };
    table.iter().find(|(key, item)| means_it(key, item)).map(|(key, _)| key.to_owned())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"# The app.
[package]
name = "app" # ours
version = "0.1.0"

[dependencies]
# Talks HTTP.
"acme/http" = "^1.2" # pinned by hand
url_x = { version = "1", features = ["a"] } # keep
extra = { version = "1", optional = true }
other = { package = "real-name", version = "2" }

[registry]
url = "https://registry.example"
"#;

    fn project() -> Project {
        Project::parse(Path::new("drystone.toml"), MANIFEST).unwrap()
    }

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    #[test]
    fn requirements_are_read_in_order_without_optional_ones() {
        let found: Vec<String> =
            project().requirements().unwrap().iter().map(|r| format!("{} {}", r.name, r.req)).collect();
        assert_eq!(found, ["acme/http ^1.2", "url_x ^1", "real-name ^2"]);
        assert_eq!(project().registry_url(), Some("https://registry.example"));
        assert_eq!((project().name(), project().version()), (Some("app"), Some("0.1.0")));
    }

    #[test]
    fn edits_keep_comments_and_everything_else() {
        let mut project = project();
        assert_eq!(project.add(DependencyTable::Normal, &name("Acme/HTTP"), "^2").unwrap(), Edit::Changed);
        assert_eq!(project.add(DependencyTable::Normal, &name("url-x"), "1.5").unwrap(), Edit::Changed);
        assert_eq!(project.add(DependencyTable::Normal, &name("url-x"), "1.5").unwrap(), Edit::Unchanged);
        assert_eq!(project.add(DependencyTable::Normal, &name("log"), "^0.4").unwrap(), Edit::Added);
        assert_eq!(project.add(DependencyTable::Dev, &name("acme/test"), "1").unwrap(), Edit::Added);
        assert!(project.remove(DependencyTable::Normal, &name("real_name")));
        assert!(!project.remove(DependencyTable::Normal, &name("real_name")));
        let expected = MANIFEST
            .replace("\"^1.2\" #", "\"^2\" #")
            .replace("version = \"1\", features", "version = \"1.5\", features")
            .replace("other = { package = \"real-name\", version = \"2\" }\n", "log = \"^0.4\"\n")
            + "\n[dev-dependencies]\n\"acme/test\" = \"1\"\n";
        assert_eq!(project.text(), expected);
        assert_eq!(project.find_dependency(&name("acme/TEST")), Some(DependencyTable::Dev));
        assert_eq!(project.find_dependency(&name("real-name")), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, what) in [
            ("dependencies = 1", "`dependencies` is not a table"),
            ("[dependencies]\na = 1", "`dependencies.a` has no version requirement"),
            ("[dependencies]\na = { path = \"../a\" }", "`dependencies.a` has no version requirement"),
            ("[dependencies]\na = \"one\"", "`dependencies.a`: `one` is not a version requirement"),
            ("[dependencies]\n\"a/b/c\" = \"1\"", "`dependencies.a/b/c`: `a/b/c` is not a package name"),
        ] {
            let project = Project::parse(Path::new("drystone.toml"), text).unwrap();
            let error = project.requirements().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(Project::parse(Path::new("drystone.toml"), "[").is_err());
    }

    #[test]
    fn a_languages_own_manifest_in_both_notations() {
        let fields = ManifestFields {
            name: "project.title".into(),
            version: "project.release".into(),
            dependencies: "project.needs".into(),
            requirement: "at".into(),
            ..ManifestFields::default()
        };
        let toml =
            "[project]\ntitle = \"ink\"\nrelease = \"1.0.0\"\n\n[project.needs]\npen = { at = \"1\" }\n";
        let json =
            r#"{"project": {"title": "ink", "release": "1.0.0", "x": null, "needs": {"pen": {"at": "1"}}}}"#;
        for (file, text) in [("quill.toml", toml), ("quill.json", json)] {
            let mut project = Project::parse(Path::new(file), text).unwrap().with_fields(fields.clone());
            assert_eq!((project.name(), project.version()), (Some("ink"), Some("1.0.0")));
            let found: Vec<String> =
                project.requirements().unwrap().iter().map(|r| format!("{} {}", r.name, r.req)).collect();
            assert_eq!(found, ["pen ^1"], "{file}");
            assert_eq!(project.add(DependencyTable::Normal, &name("pen"), "2").unwrap(), Edit::Changed);
            assert_eq!(project.add(DependencyTable::Dev, &name("t"), "1").unwrap(), Edit::Added);
            let text = project.text();
            assert!(text.contains("at = \"2\"") && text.contains("[dev-dependencies]\nt = \"1\""), "{text}");
            assert!(project.remove(DependencyTable::Normal, &name("pen")));
            assert_eq!(project.find_dependency(&name("pen")), None);
        }
        let dir = tempfile::tempdir().unwrap();
        for file in ["quill.toml", "quill.json"] {
            let path = dir.path().join(file);
            Project::init_language(&path, &name("ink"), &fields).unwrap();
            let project = Project::open(&path).unwrap().with_fields(fields.clone());
            assert_eq!((project.name(), project.version()), (Some("ink"), Some("0.1.0")));
            assert_eq!(project.requirements().unwrap(), []);
            assert_eq!(project.save().is_err(), file.ends_with("json"));
        }
    }

    #[test]
    fn the_manifest_is_found_above_and_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raven.toml");
        Project::init(&path, &name("acme/app"), Some("https://registry.example")).unwrap();
        assert!(matches!(
            Project::init(&path, &name("acme/app"), None),
            Err(ClientError::AlreadyExists { .. })
        ));
        let deep = dir.path().join("a/b");
        fs_err::create_dir_all(&deep).unwrap();
        let project = Project::find(&deep, "raven.toml").unwrap();
        assert_eq!(project.path(), path);
        assert_eq!(
            (project.name(), project.registry_url()),
            (Some("acme/app"), Some("https://registry.example"))
        );
        assert_eq!(project.requirements().unwrap(), []);
        assert!(matches!(Project::find(&deep, "drystone.toml"), Err(ClientError::ProjectNotFound { .. })));
    }
}
