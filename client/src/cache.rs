//! Files of a registry kept on disk: what was fetched, with the `ETag` it came with.
//!
//! Owns the layout below the cache directory of one registry. Does not own what may be trusted: whoever reads checks.
//! Invariant: an entry is written whole or not at all, body and tag together.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use drystone_schemas::Sha256Digest;
use serde::{Deserialize, Serialize};

/// The cache of one registry.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// One cached file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
}

/// First line of an entry's file; the body follows.
#[derive(Serialize, Deserialize)]
struct Header {
    len: usize,
    etag: Option<String>,
}

/// A short, stable directory name for a registry's URL or a log's origin.
pub(crate) fn dir_name(text: &str) -> String {
    Sha256Digest::of(text.as_bytes()).hex()[..16].to_owned()
}

impl Cache {
    /// The cache of the registry at `base` below a directory that all registries share. Nothing is created yet.
    pub fn new(cache_dir: &Path, base: &str) -> Self {
        Self { dir: cache_dir.join(dir_name(base)) }
    }

    /// Reads an entry; a damaged one counts as absent.
    pub(crate) fn read(&self, key: &str) -> Option<Entry> {
        let bytes = Bytes::from(fs_err::read(self.path(key)).ok()?);
        let line_end = bytes.iter().position(|byte| *byte == b'\n')?;
        let header: Header = serde_json::from_slice(&bytes[..line_end]).ok()?;
        let body = bytes.slice(line_end + 1..);
        (body.len() == header.len).then_some(Entry { etag: header.etag, body })
    }

    /// Writes an entry through a temporary file beside it.
    pub(crate) fn write(&self, key: &str, entry: &Entry) -> io::Result<()> {
        let header = Header { len: entry.body.len(), etag: entry.etag.clone() };
        let mut bytes = serde_json::to_vec(&header).map_err(io::Error::other)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&entry.body);
        write_atomically(&self.path(key), &bytes)
    }

    /// Removes an entry that turned out to be useless.
    pub(crate) fn remove(&self, key: &str) {
        // What cannot be removed is checked again by the next reader.
        let _ = fs_err::remove_file(self.path(key));
    }

    /// Keys have only safe characters, but a shard may be called like a directory of another key: hence the ending.
    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.cached"))
    }
}

/// Replaces a file whole: readers see the old bytes or the new ones.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    fs_err::create_dir_all(dir)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp-");
    let permissions = replaced_permissions(path);
    if let Some(permissions) = &permissions {
        builder.permissions(permissions.clone());
    }
    let mut file = builder.tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.persist(path)
        .map_err(|e| io::Error::new(e.error.kind(), format!("`{}`: {}", path.display(), e.error)))?;
    Ok(())
}

/// Those of the file that is replaced, else what new files of this user get.
#[cfg(unix)]
fn replaced_permissions(path: &Path) -> Option<std::fs::Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    let there = fs_err::metadata(path).ok();
    // The user's mask is applied to this.
    Some(there.map_or_else(|| std::fs::Permissions::from_mode(0o666), |metadata| metadata.permissions()))
}

#[cfg(not(unix))]
fn replaced_permissions(_: &Path) -> Option<std::fs::Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_and_a_cut_one_counts_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), "https://registry.example");
        let entry = Entry { etag: Some("\"a\"".into()), body: Bytes::from_static(b"line\n\x00more") };
        cache.write("index/se/rd/serde", &entry).unwrap();
        assert_eq!(cache.read("index/se/rd/serde"), Some(entry));
        let path = cache.path("index/se/rd/serde");
        let bytes = fs_err::read(&path).unwrap();
        fs_err::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(cache.read("index/se/rd/serde"), None);
        assert_eq!(cache.read("index/se/rd"), None);
    }
}
