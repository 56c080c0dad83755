//! Filling cargo's own cache: archives, their unpacked form, and the index files that cargo reads them by.
//!
//! Owns what is missing and the order in which it gets there. Names are known from the lock file, so that all index
//! files are one round, and all archives another.
//! Invariant: an archive is in cargo's cache only with the checksum of the lock file; a directory below `src` is
//! whole, because it is renamed there; cargo's own lock is held meanwhile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use drystone_schemas::{Limits, Sha256Digest};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    CargoConfig, CargoHome, CargoLock, LockedCrate,
    config::Replaced,
    home::{RegistryDirs, cached_index, has_version},
    turns::Turns,
};
use crate::{
    CargoRegistry, ClientError, Http, Network, VerificationError,
    disk::Disk,
    install::{InstallEvent, OnInstall, blocking, in_parallel},
    unpack::{Rules, unpack},
};

/// Crates that are under way at once, and so in memory; they are mostly some hundred KiB long.
const UNDER_WAY_MAX: usize = 128;
/// Index files that are asked for at once; how many requests are under way is the connections' business.
const INDEXES_MAX: usize = 512;
/// Where things are built, beside where they go.
pub(super) const STAGING: &str = ".drystone-new";
/// What cargo writes into a directory that it has unpacked whole.
pub(super) const OK_FILE: &str = ".cargo-ok";
const OK: &[u8] = b"{\"v\":1}";

/// Everything that fetching needs beside a lock file.
#[derive(Clone)]
pub struct CargoFetch<'a> {
    /// Where cargo looks.
    pub home: &'a CargoHome,
    /// Where crates come from.
    pub config: &'a CargoConfig,
    /// Connections.
    pub http: &'a Arc<Http>,
    /// Whether the network may be used.
    pub network: Network,
    /// For reading archives.
    pub limits: &'a Limits,
    /// Where everything is written.
    pub disk: Arc<dyn Disk>,
    /// Hears what happens.
    pub on_install: &'a OnInstall,
}

/// What filling cargo's cache came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CargoFetchReport {
    /// Crates that the lock file names from registries.
    pub packages: usize,
    /// Archives that were downloaded.
    pub downloaded: usize,
    /// Archives that were unpacked.
    pub unpacked: usize,
    /// Index files that were fetched.
    pub index_files: usize,
    /// What cargo must do itself.
    pub left: Vec<LeftOver>,
}

/// Something that is left to cargo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOver {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What a crate lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lacks {
    index: bool,
    archive: bool,
    unpacked: bool,
}

/// What became of one crate.
struct Brought {
    downloaded: bool,
    unpacked: Result<bool, LeftOver>,
}

impl CargoFetch<'_> {
    /// Brings everything that the lock file names to where cargo looks for it.
    ///
    /// # Errors
    ///
    /// [`VerificationError::Digest`] for an archive, and [`VerificationError::Contradiction`] for an index, that is not
    /// the lock file's; [`ClientError::OfflineMiss`] names what is missing where the network may not be used.
    pub async fn fetch(&self, lock: &CargoLock) -> Result<CargoFetchReport, ClientError> {
        let mut report = CargoFetchReport::default();
        let home = self.home.clone();
        let _guard = blocking(move || home.lock()).await?;
        let (sources, left) = self.sources(lock);
        report.left = left;
        for (index, crates) in sources {
            report.packages += crates.len();
            self.fetch_source(&index, &crates, &mut report).await?;
        }
        Ok(report)
    }

    /// The crates by the sparse index that they come from in the end, and what comes from elsewhere.
    pub(super) fn sources<'l>(
        &self,
        lock: &'l CargoLock,
    ) -> (BTreeMap<String, Vec<&'l LockedCrate>>, Vec<LeftOver>) {
        let mut sources: BTreeMap<String, Vec<&LockedCrate>> = BTreeMap::new();
        let elsewhere = lock.elsewhere.iter();
        let why = "it comes from no registry".to_owned();
        let mut left: Vec<LeftOver> =
            elsewhere.map(|what| LeftOver { what: what.clone(), why: why.clone() }).collect();
        for (source, crates) in &lock.registries {
            let why = match self.config.replaced(source) {
                Replaced::Sparse(index) => {
                    sources.entry(index).or_default().extend(crates);
                    continue;
                }
                Replaced::OnDisk(path) => format!("they are on disk, at `{path}`"),
                Replaced::Unknown(url) => format!("`{url}` is no sparse index"),
            };
            left.push(LeftOver { what: format!("{} crates of `{source}`", crates.len()), why });
        }
        (sources, left)
    }

    async fn fetch_source(
        &self,
        index: &str,
        crates: &[&LockedCrate],
        report: &mut CargoFetchReport,
    ) -> Result<(), ClientError> {
        let dirs = self.home.of(index)?;
        let lacking: Vec<(&LockedCrate, Lacks)> =
            in_parallel(crates, |locked| (*locked, lacks(&dirs, locked)))
                .into_iter()
                .filter(|(_, lacks)| lacks.index || lacks.archive || lacks.unpacked)
                .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let remote = lacking.iter().filter(|(_, lacks)| lacks.index || lacks.archive);
        let remote: Vec<String> =
            remote.map(|(locked, _)| format!("`{}` {}", locked.name, locked.version)).collect();
        if self.network == Network::Offline && !remote.is_empty() {
            return Err(ClientError::offline_misses(&remote));
        }
        for dir in [&dirs.cache, &dirs.src] {
            self.disk.remove_dir_all(&dir.join(STAGING))?;
        }
        let registry = CargoRegistry::new(self.http.clone(), index, self.config.token(index))?;
        if self.config.token(index).is_some() {
            // Whether it may be shown there at all, only the configuration says.
            registry.settle_token().await?;
        }
        let mut wanted: BTreeMap<&str, Vec<&LockedCrate>> = BTreeMap::new();
        for (locked, _) in lacking.iter().filter(|(_, lacks)| lacks.index) {
            wanted.entry(locked.name.as_str()).or_default().push(locked);
        }
        let indexes = async {
            let names: Vec<_> = wanted.values().collect();
            stream::iter(&names)
                .map(|crates| self.fetch_index(&registry, &dirs, crates))
                .buffer_unordered(INDEXES_MAX)
                .try_collect::<()>()
                .await?;
            Ok::<usize, ClientError>(names.len())
        };
        let turns = Turns::new();
        let archives = async {
            if self.network == Network::Online {
                let config = registry.config().await?;
                self.disk.create_dir_all(&dirs.index)?;
                self.disk.replace(&dirs.index.join("config.json"), &config)?;
            }
            let wanted = lacking.iter().filter(|(_, lacks)| lacks.archive || lacks.unpacked);
            let brought: Vec<Brought> = stream::iter(wanted)
                .map(|(locked, lacks)| self.bring(&registry, &dirs, locked, *lacks, &turns))
                .buffer_unordered(UNDER_WAY_MAX)
                .try_collect()
                .await?;
            Ok::<Vec<Brought>, ClientError>(brought)
        };
        let ended = futures_util::future::try_join(indexes, archives).await;
        // What others had begun when one failed is of no use.
        turns.settled().await;
        for dir in [&dirs.cache, &dirs.src] {
            self.disk.remove_dir_all(&dir.join(STAGING))?;
        }
        let (index_files, brought) = ended?;
        report.index_files += index_files;
        for Brought { downloaded, unpacked } in brought {
            report.downloaded += usize::from(downloaded);
            match unpacked {
                Ok(unpacked) => report.unpacked += usize::from(unpacked),
                Err(left) => report.left.push(left),
            }
        }
        Ok(())
    }

    /// Fetches the index file of some versions of one crate, and keeps it if it says of them what the lock file says.
    async fn fetch_index(
        &self,
        registry: &CargoRegistry,
        dirs: &RegistryDirs,
        crates: &[&LockedCrate],
    ) -> Result<(), ClientError> {
        let Some(first) = crates.first() else { return Ok(()) };
        let found = registry.index_file(&first.name).await?;
        let (bytes, etag) = found.ok_or_else(|| ClientError::PackageNotFound { name: first.name.clone() })?;
        let releases = crate::parse_cargo_index(&bytes, first.name.as_str())?;
        for locked in crates {
            let release =
                releases.iter().find(|release| release.version == locked.version).ok_or_else(|| {
                    ClientError::VersionNotFound {
                        name: locked.name.clone(),
                        wanted: locked.version.to_string(),
                    }
                })?;
            if release.checksum != locked.checksum {
                return Err(VerificationError::Contradiction(format!(
                    "the lock file says that `{}` {} is {}, the index says {}",
                    locked.name, locked.version, locked.checksum, release.checksum
                ))
                .into());
            }
        }
        let place = dirs.index_file(&first.name);
        if let Some(parent) = place.parent() {
            self.disk.create_dir_all(parent)?;
        }
        Ok(self.disk.replace(&place, &cached_index(&bytes, etag.as_deref()))?)
    }

    /// Downloads a crate, unless its archive is there whole, and unpacks it.
    async fn bring(
        &self,
        registry: &CargoRegistry,
        dirs: &RegistryDirs,
        locked: &LockedCrate,
        lacks: Lacks,
        turns: &Turns,
    ) -> Result<Brought, ClientError> {
        let (bytes, downloaded) = self.archive(registry, &dirs.cache, locked, lacks.archive).await?;
        let (disk, dirs, limits, locked) =
            (self.disk.clone(), dirs.clone(), self.limits.clone(), locked.clone());
        let event = InstallEvent::Stored { name: locked.name.clone(), version: locked.version.clone() };
        let take = turns.take(move || {
            if downloaded {
                keep_archive(&*disk, &dirs.cache, &locked, &bytes)?;
            }
            let unpacked = match lacks.unpacked {
                true => unpack_crate(&*disk, &dirs.src, &locked, &bytes, &limits)?.map(|()| true),
                false => Ok(false),
            };
            Ok(Brought { downloaded, unpacked })
        });
        let brought = take.await?;
        (self.on_install)(event);
        Ok(brought)
    }

    /// The bytes of an archive, with the checksum of the lock file; true if they were downloaded.
    pub(super) async fn archive(
        &self,
        registry: &CargoRegistry,
        cache: &Path,
        locked: &LockedCrate,
        absent: bool,
    ) -> Result<(Bytes, bool), ClientError> {
        if !absent {
            let (path, checksum) = (archive_path(cache, locked), locked.checksum);
            let kept =
                blocking(move || Ok(fs_err::read(path).ok().filter(|b| Sha256Digest::of(b) == checksum)))
                    .await?;
            if let Some(bytes) = kept {
                return Ok((bytes.into(), false));
            }
        }
        let what = format!("`{}` {}", locked.name, locked.version);
        if self.network == Network::Offline {
            return Err(ClientError::OfflineMiss { what });
        }
        let name = &locked.name;
        (self.on_install)(InstallEvent::Started { name: name.clone(), size: 0 });
        let on_bytes = |more| (self.on_install)(InstallEvent::Bytes { name: name.clone(), more });
        let bytes = registry.archive(name, &locked.version, &locked.checksum, &on_bytes).await?;
        Ok((bytes, true))
    }
}

fn archive_path(cache: &Path, locked: &LockedCrate) -> PathBuf {
    cache.join(format!("{}.crate", locked.stem()))
}

/// What of a crate is not where cargo looks for it.
fn lacks(dirs: &RegistryDirs, locked: &LockedCrate) -> Lacks {
    let is_there = |path: PathBuf| fs_err::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0);
    let index = fs_err::read(dirs.index_file(&locked.name)).unwrap_or_default();
    Lacks {
        index: !has_version(&index, &locked.version.to_string()),
        archive: !is_there(archive_path(&dirs.cache, locked)),
        unpacked: !is_there(dirs.src.join(locked.stem()).join(OK_FILE)),
    }
}

/// Puts an archive into cargo's cache, whole.
fn keep_archive(
    disk: &dyn Disk,
    cache: &Path,
    locked: &LockedCrate,
    bytes: &[u8],
) -> Result<(), ClientError> {
    let staging = cache.join(STAGING);
    disk.create_dir_all(&staging)?;
    let staged = staging.join(locked.stem());
    disk.remove_file(&staged)?;
    let mut file = disk.create(&staged, false, false)?;
    disk.write(&mut file, bytes)?;
    Ok(disk.rename(&staged, &archive_path(cache, locked))?)
}

/// Unpacks an archive below cargo's `src`; one that is refused is left to cargo.
fn unpack_crate(
    disk: &dyn Disk,
    src: &Path,
    locked: &LockedCrate,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Result<(), LeftOver>, ClientError> {
    let stem = locked.stem();
    let temp = src.join(STAGING).join(&stem);
    disk.remove_dir_all(&temp)?;
    disk.create_dir_all(&temp)?;
    // Build scripts run again after files that are newer than their last run: times must not change with every fetch.
    let rules = Rules { read_only: false, archive_times: true, hash: false, except: Some(OK_FILE) };
    if let Err(why) = unpack_rooted(disk, &temp, locked, bytes, limits, rules)? {
        return Ok(Err(why));
    }
    let whole = temp.join(&stem);
    let mut file = disk.create(&whole.join(OK_FILE), false, false)?;
    disk.write(&mut file, OK)?;
    let place = src.join(&stem);
    if place.exists() {
        // Unpacked in part by a cargo that was interrupted.
        let old = temp.join("old");
        disk.rename(&place, &old)?;
    }
    disk.rename(&whole, &place)?;
    disk.remove_dir_all(&temp)?;
    Ok(Ok(()))
}

/// Unpacks an archive whose one root directory must be the crate's; why not, if it is refused.
pub(super) fn unpack_rooted(
    disk: &dyn Disk,
    temp: &Path,
    locked: &LockedCrate,
    bytes: &[u8],
    limits: &Limits,
    rules: Rules,
) -> Result<Result<Vec<crate::unpack::UnpackedFile>, LeftOver>, ClientError> {
    let root = format!("{}/", locked.stem());
    let left = |why: String| Ok(Err(LeftOver { what: locked.stem(), why }));
    match unpack(disk, bytes, limits, temp, rules) {
        Ok(files) => match files.iter().find(|file| !file.path.starts_with(&root)) {
            Some(file) => left(format!("`{}` lies outside of `{root}`", file.path)),
            None => Ok(Ok(files)),
        },
        Err(ClientError::Problems(problems)) => {
            disk.remove_dir_all(temp)?;
            left(problems.first().map_or_else(String::new, |problem| problem.detail.clone()))
        }
        Err(error) => Err(error),
    }
}
