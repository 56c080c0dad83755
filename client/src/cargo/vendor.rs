//! A directory source: the crates of a lock file, unpacked where a repository can hold them.
//!
//! Format: the Cargo book, "Source Replacement", directory sources. Owns the directory, of which everything else that
//! cargo wrote is removed. Does not own cargo's configuration: what must be in it is told.
//! Invariant: a crate's directory is whole, or not there; its checksum file names every file in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use drystone_schemas::{Code, Problem, Sha256Digest};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::{
    CargoFetch, CargoLock, LeftOver, LockedCrate,
    fetch::{OK_FILE, STAGING, unpack_rooted},
    turns::Turns,
};
use crate::{CHECKSUM_FILE, CargoRegistry, ClientError, disk::Disk, install::InstallEvent, unpack::Rules};

/// Crates that are under way at once, and so in memory.
const UNDER_WAY_MAX: usize = 64;

/// What vendoring came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CargoVendorReport {
    /// Crates in the directory.
    pub packages: usize,
    /// Crates that are new there.
    pub added: usize,
    /// Directories that are gone, because the lock file does not name them any more.
    pub removed: Vec<String>,
    /// What cargo must get itself.
    pub left: Vec<LeftOver>,
    /// What cargo's configuration must hold, so that it looks there.
    pub config: String,
}

#[derive(Serialize, Deserialize)]
struct Checksums {
    files: BTreeMap<String, String>,
    package: Option<String>,
}

impl CargoFetch<'_> {
    /// Makes a directory hold the crates that a lock file names, and no others. `shown` is how the configuration
    /// calls the directory.
    ///
    /// # Errors
    ///
    /// Those of [`CargoFetch::fetch`]; [`ClientError::Problems`] for an archive that two programs could read
    /// differently, because what is in a repository must be what everybody gets.
    pub async fn vendor(
        &self,
        lock: &CargoLock,
        dir: &Path,
        shown: &str,
    ) -> Result<CargoVendorReport, ClientError> {
        let (sources, left) = self.sources(lock);
        let mut report = CargoVendorReport { left, config: configuration(lock, shown), ..Default::default() };
        self.disk.create_dir_all(dir)?;
        self.disk.remove_dir_all(&dir.join(STAGING))?;
        let mut wanted = BTreeSet::new();
        for (index, crates) in sources {
            let cache = self.home.of(&index)?.cache;
            let registry = CargoRegistry::new(self.http.clone(), &index, self.config.token(&index))?;
            let missing: Vec<&LockedCrate> =
                crates.iter().copied().filter(|locked| !is_there(dir, locked)).collect();
            if self.config.token(&index).is_some() && !missing.is_empty() {
                registry.settle_token().await?;
            }
            let turns = Turns::new();
            let added: Result<Vec<()>, ClientError> = stream::iter(&missing)
                .map(|locked| self.vendor_one(&registry, &cache, dir, locked, &turns))
                .buffer_unordered(UNDER_WAY_MAX)
                .try_collect()
                .await;
            if added.is_err() {
                // What others had begun when one failed is of no use.
                turns.settled().await;
                self.disk.remove_dir_all(&dir.join(STAGING))?;
            }
            report.added += added?.len();
            report.packages += crates.len();
            wanted.extend(crates.iter().map(|locked| locked.stem()));
        }
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What cargo did not write is the user's.
            if !wanted.contains(&name) && entry.path().join(CHECKSUM_FILE).is_file() {
                self.disk.remove_dir_all(&entry.path())?;
                report.removed.push(name);
            }
        }
        report.removed.sort_unstable();
        self.disk.remove_dir_all(&dir.join(STAGING))?;
        Ok(report)
    }

    async fn vendor_one(
        &self,
        registry: &CargoRegistry,
        cache: &Path,
        dir: &Path,
        locked: &LockedCrate,
        turns: &Turns,
    ) -> Result<(), ClientError> {
        let (bytes, _) = self.archive(registry, cache, locked, false).await?;
        let (disk, limits, locked, dir) =
            (self.disk.clone(), self.limits.clone(), locked.clone(), dir.to_owned());
        let event = InstallEvent::Stored { name: locked.name.clone(), version: locked.version.clone() };
        let taken = turns.take(move || {
            let stem = locked.stem();
            let temp = dir.join(STAGING).join(&stem);
            disk.create_dir_all(&temp)?;
            let rules = Rules { read_only: false, archive_times: false, hash: true, except: Some(OK_FILE) };
            let files = unpack_rooted(&*disk, &temp, &locked, &bytes, &limits, rules)?
                .map_err(|left| refused(&left))?;
            let root_len = stem.len() + 1;
            let files = files.into_iter().filter_map(|file| {
                Some((file.path[root_len..].to_owned(), file.sha256.as_ref().map(Sha256Digest::hex)?))
            });
            let checksums = Checksums { files: files.collect(), package: Some(locked.checksum.hex()) };
            let text = serde_json::to_vec(&checksums).map_err(|e| ClientError::Internal(e.to_string()))?;
            put(&*disk, &temp.join(&stem), &dir.join(&stem), &temp, &text)
        });
        taken.await?;
        (self.on_install)(event);
        Ok(())
    }
}

/// Adds the checksums to a directory that is built, and names it.
fn put(
    disk: &dyn Disk,
    whole: &Path,
    place: &Path,
    temp: &Path,
    checksums: &[u8],
) -> Result<(), ClientError> {
    let mut file = disk.create(&whole.join(CHECKSUM_FILE), false, false)?;
    disk.write(&mut file, checksums)?;
    if place.exists() {
        disk.rename(place, &temp.join("old"))?;
    }
    disk.rename(whole, place)?;
    Ok(disk.remove_dir_all(temp)?)
}

/// Whether a crate is there with the archive's checksum. Its files are cargo's to check.
fn is_there(dir: &Path, locked: &LockedCrate) -> bool {
    let read = || -> io::Result<Checksums> {
        let bytes = fs_err::read(dir.join(locked.stem()).join(CHECKSUM_FILE))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    };
    read().is_ok_and(|checksums| checksums.package == Some(locked.checksum.hex()))
}

fn refused(left: &LeftOver) -> ClientError {
    let detail = format!("the archive of `{}` cannot be vendored: {}", left.what, left.why);
    ClientError::Problems(vec![
        Problem::new(Code::ArchiveCorrupt, detail).with_hint("`cargo vendor` may still take it"),
    ])
}

/// What cargo's configuration must hold.
fn configuration(lock: &CargoLock, shown: &str) -> String {
    let mut text = String::new();
    for source in lock.registries.keys() {
        let url = source.strip_prefix("registry+").unwrap_or(source);
        if url == drystone_schemas::CRATES_IO_INDEX {
            text.push_str("[source.crates-io]\n");
        } else {
            text.push_str(&format!("[source.\"{url}\"]\nregistry = \"{url}\"\n"));
        }
        text.push_str("replace-with = \"vendored-sources\"\n\n");
    }
    let shown = toml::Value::String(shown.to_owned());
    text.push_str(&format!("[source.vendored-sources]\ndirectory = {shown}\n"));
    text
}
