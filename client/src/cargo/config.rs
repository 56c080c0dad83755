//! Cargo's configuration, as far as it says where crates come from.
//!
//! Format: the Cargo book, "Configuration", "Source Replacement". Owns `[source]` and `[registries]` of the files in the
//! project's directory and those above it, and of `CARGO_HOME`; the nearest one counts. Does not own credential
//! providers: a token comes from the environment or `credentials.toml`.

use std::{collections::BTreeMap, path::Path};

use drystone_schemas::CRATES_IO_INDEX;
use serde::Deserialize;

use crate::{ClientError, Secret};

/// Cargo's own name for the public registry.
const CRATES_IO: &str = "crates-io";
/// Where its sparse index is.
const CRATES_IO_SPARSE: &str = "sparse+https://index.crates.io/";
/// Most replacements that are followed: more is a circle.
const REPLACEMENTS_MAX: usize = 16;

#[derive(Debug, Clone, Default, Deserialize)]
struct File {
    #[serde(default)]
    source: BTreeMap<String, SourceTable>,
    #[serde(default)]
    registries: BTreeMap<String, RegistryTable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SourceTable {
    replace_with: Option<String>,
    registry: Option<String>,
    directory: Option<String>,
    local_registry: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RegistryTable {
    index: Option<String>,
    token: Option<String>,
}

/// What cargo is told about registries.
#[derive(Debug, Clone, Default)]
pub struct CargoConfig {
    sources: BTreeMap<String, SourceTable>,
    registries: BTreeMap<String, RegistryTable>,
}

/// Where the crates of a source come from in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Replaced {
    /// A sparse index, as cargo writes its URL.
    Sparse(String),
    /// A place on disk, where cargo finds them without help.
    OnDisk(String),
    /// Something that only cargo can read.
    Unknown(String),
}

impl CargoConfig {
    /// Reads the files that count for a directory. `variable` reads the environment.
    pub fn read(
        start: &Path,
        home: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ClientError> {
        let mut config = Self::default();
        let nearest_first = start.ancestors().map(|dir| dir.join(".cargo")).chain([home.to_owned()]);
        for dir in nearest_first {
            // The name without ending is the older one, and goes first where both are there.
            if let Some(path) =
                ["config", "config.toml"].map(|name| dir.join(name)).into_iter().find(|p| p.is_file())
            {
                config.merge(parse(&path)?);
            }
        }
        let credentials = ["credentials", "credentials.toml"].map(|name| home.join(name));
        if let Some(path) = credentials.into_iter().find(|path| path.is_file()) {
            config.merge(parse(&path)?);
        }
        for (name, table) in &mut config.registries {
            let key = name.to_uppercase().replace('-', "_");
            table.index = variable(&format!("CARGO_REGISTRIES_{key}_INDEX")).or(table.index.take());
            table.token = variable(&format!("CARGO_REGISTRIES_{key}_TOKEN")).or(table.token.take());
        }
        Ok(config)
    }

    /// Adds what a farther file says and no nearer one.
    fn merge(&mut self, file: File) {
        for (name, new) in file.source {
            let old = self.sources.entry(name).or_default();
            old.replace_with = old.replace_with.take().or(new.replace_with);
            old.registry = old.registry.take().or(new.registry);
            old.directory = old.directory.take().or(new.directory);
            old.local_registry = old.local_registry.take().or(new.local_registry);
        }
        for (name, new) in file.registries {
            let old = self.registries.entry(name).or_default();
            old.index = old.index.take().or(new.index);
            old.token = old.token.take().or(new.token);
        }
    }

    /// Where the crates of a lock file's source come from.
    pub(super) fn replaced(&self, source: &str) -> Replaced {
        let mut url = without_kind(source).to_owned();
        let mut name = self.name_of(&url);
        for _ in 0..REPLACEMENTS_MAX {
            let table = name.as_deref().and_then(|name| self.sources.get(name));
            let Some(next) = table.and_then(|table| table.replace_with.clone()) else {
                return match (name.as_deref(), table) {
                    (_, Some(SourceTable { directory: Some(path), .. }))
                    | (_, Some(SourceTable { local_registry: Some(path), .. })) => {
                        Replaced::OnDisk(path.clone())
                    }
                    (Some(CRATES_IO), _) if url == CRATES_IO_INDEX => {
                        Replaced::Sparse(CRATES_IO_SPARSE.into())
                    }
                    _ if url.starts_with("sparse+") => Replaced::Sparse(with_slash(&url)),
                    _ => Replaced::Unknown(url),
                };
            };
            url = self.url_of(&next).unwrap_or_default();
            name = Some(next);
        }
        Replaced::Unknown(format!("{source}, which is replaced in a circle"))
    }

    /// The token for an index, if there is one.
    pub(super) fn token(&self, index: &str) -> Option<Secret> {
        let wanted = with_slash(index);
        let fits = |table: &&RegistryTable| table.index.as_deref().map(with_slash) == Some(wanted.clone());
        self.registries.values().find(fits)?.token.as_ref().map(Secret::bare)
    }

    fn name_of(&self, url: &str) -> Option<String> {
        if url == CRATES_IO_INDEX || with_slash(url) == CRATES_IO_SPARSE {
            return Some(CRATES_IO.into());
        }
        let is_it = |known: &Option<String>| known.as_deref().map(with_slash) == Some(with_slash(url));
        let source = self.sources.iter().find(|(_, table)| is_it(&table.registry)).map(|(name, _)| name);
        source
            .or_else(|| self.registries.iter().find(|(_, table)| is_it(&table.index)).map(|(n, _)| n))
            .cloned()
    }

    fn url_of(&self, name: &str) -> Option<String> {
        let source = self.sources.get(name).and_then(|table| table.registry.clone());
        source.or_else(|| self.registries.get(name).and_then(|table| table.index.clone()))
    }
}

/// Lock files write `registry+` before what configuration files write bare; `sparse+` is part of the URL in both.
fn without_kind(source: &str) -> &str {
    source.strip_prefix("registry+").unwrap_or(source)
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

fn parse(path: &Path) -> Result<File, ClientError> {
    toml::from_str(&fs_err::read_to_string(path)?)
        .map_err(|e| ClientError::BadManifest { path: path.to_owned(), detail: e.message().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> CargoConfig {
        let mut config = CargoConfig::default();
        config.merge(toml::from_str(text).unwrap());
        config
    }

    #[test]
    fn sources_are_followed_to_where_crates_come_from() {
        let public = format!("registry+{CRATES_IO_INDEX}");
        let plain = config("");
        assert_eq!(plain.replaced(&public), Replaced::Sparse(CRATES_IO_SPARSE.into()));
        assert_eq!(plain.replaced("sparse+https://r/i/"), Replaced::Sparse("sparse+https://r/i/".into()));
        assert_eq!(plain.replaced("registry+https://g/i"), Replaced::Unknown("https://g/i".into()));
        let mirrored = config(
            "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+http://m/index\"\n\
             [registries.ours]\nindex = \"sparse+http://o/\"\ntoken = \"t\"\n[source.ours]\nreplace-with = \"kept\"\n\
             [source.kept]\ndirectory = \"vendor\"\n",
        );
        assert_eq!(mirrored.replaced(&public), Replaced::Sparse("sparse+http://m/index/".into()));
        assert_eq!(mirrored.replaced("sparse+http://o/"), Replaced::OnDisk("vendor".into()));
        assert_eq!(mirrored.token("sparse+http://o"), Some(Secret::bare("t")));
        assert_eq!(mirrored.token("sparse+http://m/index/"), None);
        let circle =
            config("[source.crates-io]\nreplace-with = \"a\"\n[source.a]\nreplace-with = \"crates-io\"\n");
        assert!(matches!(circle.replaced(&public), Replaced::Unknown(_)));
    }

    #[test]
    fn the_nearest_file_and_the_environment_count() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write("a/.cargo/config.toml", "[registries.r]\nindex = \"sparse+http://near/\"\n");
        write(".cargo/config.toml", "[registries.r]\nindex = \"sparse+http://far/\"\n");
        write("home/credentials.toml", "[registries.r]\ntoken = \"stored\"\n");
        let home = dir.path().join("home");
        let read = |value: Option<&str>| {
            let value = value.map(str::to_owned);
            let variable = |name: &str| value.clone().filter(|_| name == "CARGO_REGISTRIES_R_TOKEN");
            CargoConfig::read(&dir.path().join("a/b"), &home, &variable).unwrap()
        };
        assert_eq!(read(None).token("sparse+http://near/"), Some(Secret::bare("stored")));
        assert_eq!(read(Some("given")).token("sparse+http://near/"), Some(Secret::bare("given")));
        assert_eq!(read(None).token("sparse+http://far/"), None);
    }
}
