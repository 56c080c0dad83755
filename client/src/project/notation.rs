//! Manifests in JSON, and values at paths of keys.

use std::path::Path;

use crate::ClientError;

/// Whether a manifest is JSON, by its name.
pub(super) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// A JSON manifest in the notation that everything else here reads.
pub(super) fn toml_of_json(path: &Path, text: &str) -> Result<String, ClientError> {
    let bad = |detail: String| ClientError::BadManifest { path: path.into(), detail };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    toml::to_string(&without_nulls(value)).map_err(|e| bad(e.to_string()))
}

/// TOML has no `null`; it is as good as nothing.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| !item.is_null()).map(without_nulls).collect())
        }
        other => other,
    }
}

/// Puts a value at a path of keys; tables on the way are made.
pub(super) fn put(table: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
