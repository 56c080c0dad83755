//! From a lock to directories in the project: download what is missing, unpack it, link it.
//!
//! Owns the order: everything is in the store, and whole, before the project is touched. Does not own the choice, nor
//! the proof that the lock's digests are the log's: the caller has checked them.
//! Invariant: nothing is unpacked before its bytes have the digest of the lock, and nothing is linked that was not
//! unpacked whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    path::Path,
    sync::Arc,
};

use drystone_schemas::{Limits, PackageName, Version};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    ClientError, Lock, LockedPackage, Network, Registry, Store, StoreEntry,
    download::{Downloaded, download_small},
};

mod link;
mod parallel;
mod record;

pub use link::LinkMode;
pub(crate) use parallel::{in_parallel, threads};
pub(crate) use record::recorded_digests;

/// Name of the directory in a project.
pub const PACKAGES_DIR: &str = "drystone_packages";

/// Packages that are under way at once. How many of them are asked for at once, the connections decide.
const UNDER_WAY_MAX: usize = 128;
/// Archives that are held in memory at once, in bytes; longer ones than a quarter of it go through a file.
const MEMORY_BYTES: u32 = 64 << 20;

/// What happens during an install, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallEvent {
    /// A download begins.
    Started {
        /// The package.
        name: PackageName,
        /// Length of its archive in bytes.
        size: u64,
    },
    /// Bytes came; negative when a download is started over.
    Bytes {
        /// The package.
        name: PackageName,
        /// How many more.
        more: i64,
    },
    /// A package is in the store.
    Stored {
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
    },
    /// Somebody sent something else than the log vouches for, and somebody else is asked.
    Rejected {
        /// What is wrong, in a sentence.
        why: String,
    },
}

/// Hears what happens.
pub type OnInstall = Arc<dyn Fn(InstallEvent) + Send + Sync>;

/// What an install came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InstallReport {
    /// Packages whose archives were downloaded.
    pub downloaded: usize,
    /// Packages whose files in the store were damaged, and were brought anew.
    pub repaired: Vec<String>,
    /// Packages that are new in the project, or in another version.
    pub linked: Vec<String>,
    /// Packages that are gone from the project.
    pub removed: Vec<String>,
    /// Packages that were there already.
    pub unchanged: usize,
    /// How packages came into the project; nothing if none did.
    pub mode: Option<LinkMode>,
}

/// Where a lock's packages stand before anything is fetched.
#[derive(Debug, Default)]
pub struct Stock<'a> {
    /// In the store, by key of the lock.
    present: BTreeMap<String, StoreEntry>,
    /// Not in the store.
    missing: BTreeMap<String, &'a LockedPackage>,
    /// Of the missing ones, those that are there but not as they were unpacked.
    damaged: BTreeSet<String>,
}

impl<'a> Stock<'a> {
    /// Looks every package of a lock up in the store. Blocks.
    pub fn take(lock: &'a Lock, store: &Store) -> Self {
        let wanted: Vec<(&String, &LockedPackage)> = lock.packages.iter().collect();
        let found = in_parallel(&wanted, |(_, package)| {
            let entry = store.get(&package.digest);
            let damaged = entry.is_none() && store.is_damaged(&package.digest);
            (entry, damaged)
        });
        let mut stock = Self::default();
        for ((key, package), (entry, damaged)) in wanted.into_iter().zip(found) {
            match entry {
                Some(entry) => drop(stock.present.insert(key.clone(), entry)),
                None => drop(stock.missing.insert(key.clone(), package)),
            }
            if damaged {
                stock.damaged.insert(key.clone());
            }
        }
        stock
    }

    /// The packages that must be fetched.
    pub fn missing(&self) -> Vec<&'a LockedPackage> {
        self.missing.values().copied().collect()
    }

    /// Whether what is missing may be fetched at all.
    ///
    /// # Errors
    ///
    /// [`ClientError::OfflineMiss`] names everything that is missing where the network may not be used.
    pub fn check_reach(&self, network: Network) -> Result<(), ClientError> {
        if self.missing.is_empty() || network == Network::Online {
            return Ok(());
        }
        let names = self.missing.values().map(|package| format!("`{}` {}", package.name, package.version));
        Err(ClientError::offline_misses(&names.collect::<Vec<_>>()))
    }
}

/// Everything that an install needs beside a lock.
#[derive(Clone, Copy)]
pub struct Installer<'a> {
    /// Where packages are kept.
    pub store: &'a Store,
    /// Where they come from.
    pub registry: &'a Registry,
    /// For reading archives.
    pub limits: &'a Limits,
    /// Hears what happens.
    pub on_install: &'a OnInstall,
}

impl Installer<'_> {
    /// Brings what is missing into the store; how many archives were downloaded.
    ///
    /// # Errors
    ///
    /// As [`Stock::check_reach`] says, and those of downloads.
    pub async fn fetch(&self, stock: &mut Stock<'_>) -> Result<usize, ClientError> {
        stock.check_reach(self.registry.network())?;
        if stock.missing.is_empty() {
            return Ok(0);
        }
        let memory = Semaphore::new(MEMORY_BYTES as usize);
        let unpacking = Semaphore::new(threads());
        let fetched: Vec<(String, StoreEntry, bool)> = stream::iter(&stock.missing)
            .map(async |(key, package)| {
                let (entry, new) = self.fetch_one(package, &memory, &unpacking).await?;
                Ok::<_, ClientError>((key.clone(), entry, new))
            })
            .buffer_unordered(UNDER_WAY_MAX)
            .try_collect()
            .await?;
        stock.missing.clear();
        let downloaded = fetched.iter().filter(|(_, _, new)| *new).count();
        stock.present.extend(fetched.into_iter().map(|(key, entry, _)| (key, entry)));
        Ok(downloaded)
    }

    /// Gets one package into the store; true if it was downloaded, and not brought by somebody else meanwhile.
    async fn fetch_one(
        &self,
        package: &LockedPackage,
        memory: &Semaphore,
        unpacking: &Semaphore,
    ) -> Result<(StoreEntry, bool), ClientError> {
        let root = drystone_archive::root_directory(&package.name, &package.version);
        let (store, digest) = (self.store.clone(), package.digest);
        // Whoever else installs the same at this moment is waited for, rather than asked for the same bytes twice.
        let (lock, there) = blocking(move || {
            let lock = store.lock(&digest)?;
            let there = store.get(&digest);
            Ok((lock, there))
        })
        .await?;
        if let Some(entry) = there {
            entry.check_root(&root)?;
            return Ok((entry, false));
        }
        // An archive of which a quarter fills the memory goes through a file; the others wait for room.
        let in_memory = u32::try_from(package.size).ok().filter(|size| *size <= MEMORY_BYTES / 4);
        let permit = memory.acquire_many(in_memory.unwrap_or(0)).await;
        let room = permit.map_err(|e| ClientError::Internal(e.to_string()))?;
        self.tell(InstallEvent::Started { name: package.name.clone(), size: package.size });
        let what = format!("`{}` {}", package.name, package.version);
        let on_bytes = |more| self.tell(InstallEvent::Bytes { name: package.name.clone(), more });
        let on_reject = |why| self.tell(InstallEvent::Rejected { why });
        let temp_dir = if in_memory.is_some() { None } else { Some(self.store.temp_dir()?) };
        let archive = download_small(
            self.registry,
            temp_dir.as_deref(),
            &what,
            &digest,
            package.size,
            &on_bytes,
            &on_reject,
        )
        .await?;
        let turn = unpacking.acquire().await.map_err(|e| ClientError::Internal(e.to_string()))?;
        let (store, limits) = (self.store.clone(), self.limits.clone());
        let entry = blocking(move || match archive {
            Downloaded::Bytes(bytes) => {
                store.unpack_locked(&lock, &digest, &root, Cursor::new(bytes), &limits)
            }
            Downloaded::File(file) => store.unpack_locked(&lock, &digest, &root, file.as_file(), &limits),
        })
        .await?;
        drop((turn, room));
        self.tell(InstallEvent::Stored { name: package.name.clone(), version: package.version.clone() });
        Ok((entry, true))
    }

    /// Makes the project's packages those of the lock.
    pub async fn install(
        &self,
        lock: &Lock,
        mut stock: Stock<'_>,
        project_dir: &Path,
        mode: LinkMode,
    ) -> Result<InstallReport, ClientError> {
        let (store, dir) = (self.store.clone(), project_dir.join(PACKAGES_DIR));
        let in_use = blocking(move || store.in_use()).await?;
        let downloaded = self.fetch(&mut stock).await?;
        let (lock, store) = (lock.clone(), self.store.clone());
        let (present, damaged) = (stock.present, stock.damaged);
        let report = blocking(move || {
            let report = link::link_all(&lock, &dir, &present, &damaged, &store, mode)?;
            store.register(&dir)?;
            drop(in_use);
            Ok(report)
        })
        .await?;
        Ok(InstallReport { downloaded, ..report })
    }

    /// Makes a directory hold copies of the lock's packages that need no store: for a repository. Packages of the project's
    /// own disk stay where they are.
    pub async fn vendor(
        &self,
        lock: &Lock,
        mut stock: Stock<'_>,
        dir: &Path,
    ) -> Result<InstallReport, ClientError> {
        let store = self.store.clone();
        let in_use = blocking(move || store.in_use()).await?;
        let downloaded = self.fetch(&mut stock).await?;
        let lock = Lock { locals: BTreeMap::new(), ..lock.clone() };
        let (store, dir) = (self.store.clone(), dir.to_owned());
        let (present, damaged) = (stock.present, stock.damaged);
        let report = blocking(move || {
            let report = link::link_all(&lock, &dir, &present, &damaged, &store, LinkMode::Copy)?;
            drop(in_use);
            Ok(report)
        })
        .await?;
        Ok(InstallReport { downloaded, ..report })
    }

    fn tell(&self, event: InstallEvent) {
        (self.on_install)(event);
    }
}

/// Runs work that blocks where it disturbs nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ClientError::Internal(e.to_string()))?
}
