//! A language that keeps its own manifest: how the fields of a version record are found in it.
//!
//! Owns: the mapping and the presets. Does not own: the manifest's file name, which is `generic_manifest` of the settings,
//! nor reading manifests. Invariant: every default is what `drystone.toml` has, so that a mapping names only differences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Alias, DepKind};

/// How a registry reads packages of the generic format, where it is not the way of `drystone.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Name of the language, in lower case: `drystone init --language NAME`.
    pub name: String,
    /// Where the fields are in the manifest.
    #[serde(default)]
    pub fields: ManifestFields,
    /// Whether archives have their files at the top, without one root directory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub flat: bool,
    /// Files of which an archive must hold at least one; none means that any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry: Vec<String>,
    /// Which existing client's API is answered beside our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<LanguageApi>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The API of an existing client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LanguageApi {
    /// `raven pkg`.
    Raven,
    /// `vaisc pkg`.
    Vais,
}

/// Where the fields of a version record are in a manifest: keys, joined by dots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ManifestFields {
    /// Package name; required.
    pub name: String,
    /// Version; required.
    pub version: String,
    /// One line on what it is.
    pub description: String,
    /// A text or a list of texts.
    pub authors: String,
    /// SPDX expression.
    pub license: String,
    /// Source repository.
    pub repository: String,
    /// Home page.
    pub homepage: String,
    /// Documentation.
    pub documentation: String,
    /// A list of texts.
    pub keywords: String,
    /// A list of texts.
    pub categories: String,
    /// Table of dependencies: NAME to a requirement, or to a table that holds one.
    pub dependencies: String,
    /// The same for building.
    pub build_dependencies: String,
    /// The same for tests.
    pub dev_dependencies: String,
    /// Key of the requirement in a dependency's own table.
    pub requirement: String,
}

impl Default for ManifestFields {
    fn default() -> Self {
        let package = |key: &str| format!("package.{key}");
        Self {
            name: package("name"),
            version: package("version"),
            description: package("description"),
            authors: package("authors"),
            license: package("license"),
            repository: package("repository"),
            homepage: package("homepage"),
            documentation: package("documentation"),
            keywords: package("keywords"),
            categories: package("categories"),
            dependencies: "dependencies".into(),
            build_dependencies: "build-dependencies".into(),
            dev_dependencies: "dev-dependencies".into(),
            requirement: "version".into(),
        }
    }
}

impl ManifestFields {
    /// The path of the table with dependencies of this kind.
    pub fn dependencies_of(&self, kind: DepKind) -> &str {
        match kind {
            DepKind::Normal => &self.dependencies,
            DepKind::Build => &self.build_dependencies,
            DepKind::Dev => &self.dev_dependencies,
        }
    }

    fn paths(&self) -> [&String; 14] {
        [
            &self.name,
            &self.version,
            &self.description,
            &self.authors,
            &self.license,
            &self.repository,
            &self.homepage,
            &self.documentation,
            &self.keywords,
            &self.categories,
            &self.dependencies,
            &self.build_dependencies,
            &self.dev_dependencies,
            &self.requirement,
        ]
    }
}

impl Language {
    /// A language whose manifest has the keys of `drystone.toml`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fields: ManifestFields::default(),
            flat: false,
            entry: Vec::new(),
            api: None,
        }
    }

    /// A language with an existing client, and the name of its manifest: `raven` or `vais`.
    pub fn preset(name: &str) -> Option<(&'static str, Self)> {
        let (manifest, api) = match name {
            "raven" => ("raven.toml", LanguageApi::Raven),
            "vais" => ("vais.toml", LanguageApi::Vais),
            _ => return None,
        };
        Some((manifest, Self { flat: true, api: Some(api), ..Self::new(name) }))
    }

    /// Names that no package of a new registry with this preset may have: those that Vais reserves, for either language.
    pub fn preset_reserved(name: &str) -> Vec<Alias> {
        let names = ["core", "lib", "main", "std", "test", name];
        names.into_iter().filter_map(|name| Alias::new(name).ok()).collect()
    }

    /// Whether everything in it can be used.
    pub(crate) fn is_valid(&self) -> bool {
        let name = !self.name.is_empty()
            && self.name.len() <= 32
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let path = |path: &&String| path.len() <= 128 && path.split('.').all(|key| !key.is_empty());
        let file = |path: &String| {
            let odd = path.contains('\\') || path.split('/').any(|part| matches!(part, "" | "." | ".."));
            path.len() <= 255 && !odd
        };
        name && self.fields.paths().iter().all(path)
            && !self.fields.requirement.contains('.')
            && self.entry.len() <= 16
            && self.entry.iter().all(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_mappings_name_only_differences() {
        for name in ["raven", "vais"] {
            let (manifest, language) = Language::preset(name).unwrap();
            assert!(language.is_valid() && language.flat && manifest == format!("{name}.toml"));
        }
        assert!(Language::preset("drystone").is_none());
        let reserved: Vec<_> = Language::preset_reserved("vais").iter().map(ToString::to_string).collect();
        assert_eq!(reserved, ["core", "lib", "main", "std", "test", "vais"]);
        let text = r#"{"name":"quill","fields":{"name":"project.title","dev-dependencies":"tests.needs"}}"#;
        let language: Language = serde_json::from_str(text).unwrap();
        assert_eq!((&*language.fields.name, &*language.fields.version), ("project.title", "package.version"));
        assert_eq!(language.fields.dependencies_of(DepKind::Dev), "tests.needs");
        assert!(serde_json::from_str::<Language>(r#"{"name":"q","fields":{"title":"x"}}"#).is_err());
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let good = Language::new("quill");
        assert!(good.is_valid());
        for name in ["", "Quill", "a b", &"q".repeat(33)] {
            assert!(!Language::new(name).is_valid(), "{name}");
        }
        for path in ["", ".a", "a..b", "a."] {
            let fields = ManifestFields { name: path.into(), ..ManifestFields::default() };
            assert!(!Language { fields, ..good.clone() }.is_valid(), "{path}");
        }
        for entry in ["", "/a", "a/../b", "a\\b"] {
            assert!(!Language { entry: vec![entry.into()], ..good.clone() }.is_valid(), "{entry}");
        }
    }
}
