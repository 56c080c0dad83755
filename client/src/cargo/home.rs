//! `CARGO_HOME`: where cargo 1.95 keeps what it fetched, and in which form.
//!
//! Owns names of directories and the bytes of cached index files. Cargo says of neither that it will stay so; a test
//! compares both with what the cargo on this machine writes.
//! Sources: cargo 1.95, `util/hex.rs`, `core/source_id.rs` (names), `sources/registry/index/cache.rs` (index files).

use std::{
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use drystone_schemas::{PackageName, layout};
use rustc_stable_hash::StableSipHasher128;
use serde::Deserialize;

use crate::{ClientError, http};

/// First byte of a cached index file: the version of its form.
const CACHE_VERSION: u8 = 3;
/// The newest version of index lines that is understood (the Cargo book, "Registry Index", field `v`).
const INDEX_VERSION: u32 = 2;
/// What a lock on downloads is called.
const PACKAGE_CACHE_LOCK: &str = ".package-cache";

/// Where cargo keeps things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoHome(PathBuf);

/// Where cargo keeps things of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegistryDirs {
    /// Archives.
    pub(super) cache: PathBuf,
    /// Unpacked archives.
    pub(super) src: PathBuf,
    /// `config.json`, and index files below `.cache`.
    pub(super) index: PathBuf,
}

/// Cargo's `SourceKind`, of which the place of a variant is hashed.
#[derive(Hash)]
#[expect(dead_code, reason = "only the place of one variant counts")]
enum SourceKind {
    Git,
    Path,
    Registry,
    SparseRegistry,
}

impl CargoHome {
    /// Cargo's home at a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Keeps cargo, and others like us, from fetching at the same time. Blocks; ends with the file.
    pub(super) fn lock(&self) -> Result<fs_err::File, ClientError> {
        fs_err::create_dir_all(&self.0)?;
        let path = self.0.join(PACKAGE_CACHE_LOCK);
        let file = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// The directories of a sparse index, by its URL as cargo writes it.
    pub(super) fn of(&self, index: &str) -> Result<RegistryDirs, ClientError> {
        let name = dir_name(index)?;
        let below = |part: &str| self.0.join("registry").join(part).join(&name);
        Ok(RegistryDirs { cache: below("cache"), src: below("src"), index: below("index") })
    }
}

impl RegistryDirs {
    pub(super) fn index_file(&self, name: &PackageName) -> PathBuf {
        self.index.join(".cache").join(layout::index_path(name))
    }
}

/// `host-hash`.
fn dir_name(index: &str) -> Result<String, ClientError> {
    let mut url = http::parse(index)?;
    // Cargo hashes the canonical form, which ends with a slash only where it is the whole path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
    }
    let mut hasher = StableSipHasher128::new();
    SourceKind::SparseRegistry.hash(&mut hasher);
    url.as_str().hash(&mut hasher);
    let hash = hex::encode(Hasher::finish(&hasher).to_le_bytes());
    Ok(format!("{}-{hash}", url.host_str().unwrap_or_default()))
}

/// An index file in the form of cargo's cache; `etag` is that of the answer.
pub(super) fn cached_index(bytes: &[u8], etag: Option<&str>) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Line {
        vers: semver::Version,
    }
    let mut cached = vec![CACHE_VERSION];
    cached.extend_from_slice(&INDEX_VERSION.to_le_bytes());
    let version = etag.map_or_else(|| "Unknown".to_owned(), |etag| format!("etag: {etag}"));
    cached.extend_from_slice(version.as_bytes());
    cached.push(0);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A line that cannot be read is left out, as cargo does.
        if let Ok(Line { vers }) = serde_json::from_slice(line) {
            cached.extend_from_slice(vers.to_string().as_bytes());
            cached.push(0);
            cached.extend_from_slice(line);
            cached.push(0);
        }
    }
    cached
}

/// Whether a cached index file has a version.
pub(super) fn has_version(cached: &[u8], version: &str) -> bool {
    let head_len = 1 + INDEX_VERSION.to_le_bytes().len();
    let known = cached.first() == Some(&CACHE_VERSION)
        && cached.get(1..head_len) == Some(&INDEX_VERSION.to_le_bytes()[..]);
    let mut parts = cached.get(head_len..).unwrap_or_default().split(|byte| *byte == 0).skip(1);
    while let (true, Some(found), Some(_line)) = (known, parts.next(), parts.next()) {
        if found == version.as_bytes() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_called_as_cargo_calls_them() {
        assert_eq!(dir_name("sparse+https://index.crates.io/").unwrap(), "index.crates.io-1949cf8c6b5b557f");
        for index in ["sparse+http://127.0.0.1:18999/index/", "sparse+http://127.0.0.1:18999/index"] {
            assert_eq!(dir_name(index).unwrap(), "127.0.0.1-8aad19d8a6491609");
        }
    }

    #[test]
    fn cached_index_files_hold_each_version_with_its_line() {
        let lines = b"{\"vers\":\"1.0.0\"}\n{\"vers\":\"nonsense\"}\n{\"vers\":\"1.1.0+x\"}\n";
        let cached = cached_index(lines, Some("\"e\""));
        let expected =
            b"\x03\x02\0\0\0etag: \"e\"\x001.0.0\0{\"vers\":\"1.0.0\"}\x001.1.0+x\0{\"vers\":\"1.1.0+x\"}\0";
        assert_eq!(cached, expected);
        assert!(has_version(&cached, "1.0.0") && has_version(&cached, "1.1.0+x"));
        assert!(!has_version(&cached, "1.1.0") && !has_version(&cached[1..], "1.0.0"));
        assert!(!has_version(b"", "1.0.0"));
        assert!(cached_index(b"", None).ends_with(b"Unknown\0"));
    }
}
