//! `Cargo.lock`: the crates that come from registries, with their checksums.
//!
//! Format: the Cargo book, "Cargo.toml vs Cargo.lock"; versions 3 and 4 are read, whose packages have their checksums.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use drystone_schemas::{PackageName, Sha256Digest, Version};
use serde::Deserialize;

use crate::ClientError;

/// Name of cargo's lock file.
pub const CARGO_LOCK: &str = "Cargo.lock";

/// One crate that a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedCrate {
    /// Name, as written.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// SHA-256 of its archive.
    pub checksum: Sha256Digest,
}

impl LockedCrate {
    /// `name-version`: how cargo calls its files.
    pub fn stem(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// What a lock file names, by where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CargoLock {
    /// Crates by the source as it is written, such as `registry+https://...` and `sparse+https://...`.
    pub registries: BTreeMap<String, Vec<LockedCrate>>,
    /// `name version (source)` of what comes from elsewhere than a registry, such as a git repository.
    pub elsewhere: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    version: Option<u32>,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

impl CargoLock {
    /// Finds the lock file in a directory or the nearest one above it, where the root of a workspace has it.
    pub fn find(start: &Path) -> Option<PathBuf> {
        start.ancestors().map(|dir| dir.join(CARGO_LOCK)).find(|path| path.is_file())
    }

    /// Reads a lock file.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        match fs_err::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|detail| ClientError::BadCargoLock { path: path.into(), detail })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(ClientError::ProjectNotFound {
                file_name: CARGO_LOCK.into(),
                dir: path.parent().unwrap_or(path).into(),
            }),
            Err(e) => Err(e.into()),
        }
    }

    /// Parses the text of one; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        if !matches!(file.version, Some(3 | 4)) {
            let version = file.version.map_or_else(|| "1 or 2".to_owned(), |version| version.to_string());
            return Err(format!("it has version {version}, and only 3 and 4 are known"));
        }
        let mut lock = Self::default();
        for Package { name, version, source, checksum } in file.package {
            // Without a source it is part of the project.
            let Some(source) = source else { continue };
            if !source.starts_with("registry+") && !source.starts_with("sparse+") {
                lock.elsewhere.push(format!("{name} {version} ({source})"));
                continue;
            }
            let what = format!("`{name}` {version}");
            let checksum = checksum.ok_or_else(|| format!("{what} has no checksum"))?;
            let locked = LockedCrate {
                name: PackageName::new(name).map_err(|e| format!("{what}: {e}"))?,
                version: Version::new(&version).map_err(|e| format!("{what}: {e}"))?,
                checksum: Sha256Digest::from_hex(&checksum).map_err(|e| format!("{what}: {e}"))?,
            };
            if locked.name.owner().is_some() {
                return Err(format!("{what}: cargo knows no owners"));
            }
            lock.registries.entry(source).or_default().push(locked);
        }
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_read_by_source_and_the_rest_is_named() {
        let sum = "0".repeat(64);
        let text = format!(
            "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\n\
             [[package]]\nname = \"A_b\"\nversion = \"1.0.0+x.1\"\nsource = \"registry+https://r\"\nchecksum = \"{sum}\"\n\n\
             [[package]]\nname = \"g\"\nversion = \"2.0.0\"\nsource = \"git+https://g#1\"\n"
        );
        let lock = CargoLock::parse(&text).unwrap();
        assert_eq!(lock.registries["registry+https://r"][0].stem(), "A_b-1.0.0+x.1");
        assert_eq!(lock.elsewhere, ["g 2.0.0 (git+https://g#1)"]);
        for (bad, what) in [
            (text.replace("version = 4\n", ""), "it has version 1 or 2"),
            (text.replace("version = 4\n", "version = 5\n"), "it has version 5"),
            (text.replace(&sum, "00"), "`A_b` 1.0.0+x.1: "),
            (text.replace(&format!("checksum = \"{sum}\"\n"), ""), "has no checksum"),
            (text.replace("\"A_b\"", "\"../b\""), "`../b` 1.0.0+x.1: "),
        ] {
            let error = CargoLock::parse(&bad).unwrap_err();
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}
