//! Edits of a manifest: dependencies are added, changed and removed, and everything else stays as it is.
//!
//! Invariant: an edit changes the lines that it is about and no other.

use std::path::Path;

use drystone_schemas::PackageName;
use toml_edit::{InlineTable, Item, Table, TableLike, Value};

use super::{DependencyTable, Project};
use crate::ClientError;

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
    /// Sets a requirement, in a new line at the end of the table or in the line that is there, in any spelling.
    pub fn add(
        &mut self,
        table: DependencyTable,
        name: &PackageName,
        req: &str,
    ) -> Result<Edit, ClientError> {
        let requirement = self.requirement_key().to_owned();
        let table_like = self.table_to_edit(table)?;
        let Some(key) = key_of(table_like, name) else {
            table_like.insert(name.as_str(), toml_edit::value(req));
            return Ok(Edit::Added);
        };
        let entry = table_like.get_mut(&key).expect("it was found in this table");
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

    /// Sets the directory that a package comes from, in a new line or in the line that is there; a requirement stays.
    pub fn add_path(
        &mut self,
        table: DependencyTable,
        name: &PackageName,
        dir: &Path,
    ) -> Result<Edit, ClientError> {
        let requirement = self.requirement_key().to_owned();
        let dir = dir.display().to_string();
        let table_like = self.table_to_edit(table)?;
        let Some(key) = key_of(table_like, name) else {
            let inline = InlineTable::from_iter([("path", dir)]);
            table_like.insert(name.as_str(), toml_edit::value(inline));
            return Ok(Edit::Added);
        };
        let entry = table_like.get_mut(&key).expect("it was found in this table");
        if let Some(inner) = entry.as_table_like_mut() {
            if inner.get("path").and_then(Item::as_str) == Some(&dir) {
                return Ok(Edit::Unchanged);
            }
            inner.insert("path", toml_edit::value(dir));
            return Ok(Edit::Changed);
        }
        let mut inline = InlineTable::from_iter([("path", Value::from(dir))]);
        let mut decor = None;
        if let Some(req) = entry.as_value() {
            decor = Some(req.decor().clone());
            inline.insert(&requirement, req.clone().decorated(" ", " "));
        }
        let mut value = Value::from(inline);
        if let Some(decor) = decor {
            *value.decor_mut() = decor;
        }
        *entry = Item::Value(value);
        Ok(Edit::Changed)
    }

    /// A table of dependencies, made if there is none.
    fn table_to_edit(&mut self, table: DependencyTable) -> Result<&mut dyn TableLike, ClientError> {
        let place = self.place(table).to_owned();
        let not_a_table =
            ClientError::BadManifest { path: self.path.clone(), detail: format!("`{place}` is not a table") };
        let mut item = Some(self.document.as_item_mut());
        for key in place.split('.') {
            let inside = item.and_then(Item::as_table_like_mut);
            item = inside.map(|inside| inside.entry(key).or_insert_with(|| Item::Table(Table::new())));
        }
        item.and_then(Item::as_table_like_mut).ok_or(not_a_table)
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
