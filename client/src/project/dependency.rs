//! One entry of a table of dependencies, as it is written.

use std::path::PathBuf;

use drystone_schemas::{DepKind, IndexDep, PackageName, VersionReq};
use toml_edit::{Item, TableLike};

use super::{DependencyTable, Project};
use crate::ClientError;

/// Where a dependency comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The project's registry: which versions will do.
    Registry(VersionReq),
    /// A directory with a manifest, relative to that of the manifest that names it.
    Path {
        /// The directory, as it is written.
        dir: PathBuf,
        /// Which versions of it will do; what is published says the same to others.
        req: Option<VersionReq>,
    },
}

/// One dependency of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The table that it is in.
    pub table: DependencyTable,
    /// The key under which it is used.
    pub key: String,
    /// The package.
    pub name: PackageName,
    /// Where it comes from.
    pub source: Source,
    /// Features asked for.
    pub features: Vec<String>,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Whether a feature must turn it on.
    pub optional: bool,
}

impl Dependency {
    /// The same as an index says it, with a requirement in place of a path.
    pub(super) fn index_dep(&self, kind: DepKind, req: &VersionReq) -> IndexDep {
        let package = (self.key != self.name.as_str()).then(|| self.name.to_string());
        IndexDep {
            name: self.key.clone(),
            req: req.to_string(),
            features: self.features.clone(),
            optional: self.optional,
            default_features: self.default_features,
            target: None,
            kind,
            registry: None,
            package,
        }
    }
}

impl Project {
    /// What the manifest asks for, table by table, in its order.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadManifest`] names the entry that cannot be read.
    pub fn dependencies(&self) -> Result<Vec<Dependency>, ClientError> {
        let mut all = Vec::new();
        for table in DependencyTable::ALL {
            let Some(item) = self.at(self.place(table)) else { continue };
            let entries = self.table(self.place(table), item)?;
            for (key, item) in entries.iter() {
                all.push(self.dependency(table, self.place(table), key, item)?);
            }
        }
        Ok(all)
    }

    /// `[overrides]`: what packages are replaced with, whoever asks for them.
    pub(super) fn overrides(&self) -> Result<Vec<Dependency>, ClientError> {
        let Some(item) = self.at(OVERRIDES) else { return Ok(Vec::new()) };
        let entries = self.table(OVERRIDES, item)?;
        entries
            .iter()
            .map(|(key, item)| self.dependency(DependencyTable::Normal, OVERRIDES, key, item))
            .collect()
    }

    fn table<'a>(&self, place: &str, item: &'a Item) -> Result<&'a dyn TableLike, ClientError> {
        item.as_table_like().ok_or_else(|| self.bad(format!("`{place}` is not a table")))
    }

    fn dependency(
        &self,
        table: DependencyTable,
        place: &str,
        key: &str,
        item: &Item,
    ) -> Result<Dependency, ClientError> {
        let place = format!("`{place}.{key}`");
        let inner = item.as_table_like();
        let field = |field: &str| inner.and_then(|inner| inner.get(field));
        let text = |name: &str| field(name).and_then(Item::as_str);
        let flag = |name: &str| field(name).and_then(Item::as_bool);
        if text("registry-index").is_some() {
            return Err(self.bad(format!("{place} is to come from another registry, which is not supported")));
        }
        if field("workspace").is_some() {
            return Err(self.bad(format!(
                "{place} is inherited from a workspace, which is not supported: write the requirement here"
            )));
        }
        let name = PackageName::new(text("package").unwrap_or(key))
            .map_err(|e| self.bad(format!("{place}: {e}")))?;
        let req = item.as_str().or_else(|| text(self.requirement_key()));
        let req = req.map(|req| VersionReq::new(req).map_err(|e| self.bad(format!("{place}: {e}"))));
        let source = match (text("path"), req.transpose()?) {
            (Some(dir), req) => Source::Path { dir: dir.into(), req },
            (None, Some(req)) => Source::Registry(req),
            (None, None) => return Err(self.bad(format!("{place} has no version requirement"))),
        };
        let features = field("features").and_then(Item::as_array).into_iter().flatten();
        Ok(Dependency {
            table,
            key: key.to_owned(),
            name,
            source,
            features: features.filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            default_features: flag("default-features").or(flag("default_features")).unwrap_or(true),
            optional: flag("optional").unwrap_or(false),
        })
    }
}

/// The table of a workspace's root that replaces packages.
const OVERRIDES: &str = "overrides";
