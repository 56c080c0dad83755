//! A project's manifest as the user writes it, and the other manifests that belong to it.
//!
//! | module | owns |
//! |---|---|
//! | `dependency` | one entry of a table of dependencies |
//! | `edit` | adding and removing entries, with comments kept |
//! | `tree` | the workspace around a manifest, and packages at paths |
//! | `notation` | manifests in JSON |
//!
//! Does not own what a *published* manifest must say: that is the archive library's.

mod dependency;
mod edit;
mod notation;
mod tree;

use std::path::{Path, PathBuf};

use drystone_schemas::{DepKind, ManifestFields, PackageName};
use toml_edit::{DocumentMut, Item, Value};

use crate::{ClientError, cache::write_atomically};
use notation::{is_json, put, toml_of_json};

pub use dependency::{Dependency, Source};
pub use edit::Edit;
pub use tree::{LocalPackage, ProjectTree};

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

    /// The same manifest, read as another one is.
    #[must_use]
    pub fn like(self, other: &Self) -> Self {
        Self { fields: other.fields.clone(), ..self }
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

    /// The item at a path of keys.
    fn at(&self, path: &str) -> Option<&Item> {
        path.split('.').try_fold(self.document.as_item(), |item, key| item.get(key))
    }

    /// The path of a table of dependencies.
    fn place(&self, table: DependencyTable) -> &str {
        self.fields.dependencies_of(table.kind())
    }

    /// The key of the requirement in a dependency's own table.
    fn requirement_key(&self) -> &str {
        &self.fields.requirement
    }

    fn bad(&self, detail: String) -> ClientError {
        ClientError::BadManifest { path: self.path.clone(), detail }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
