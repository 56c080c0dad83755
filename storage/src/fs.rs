//! The filesystem backend: a key is a path below the root, so any web server can serve the directory as it lies.
//!
//! Owns: the mapping of both storage roles to files, and the hop from async calls to blocking threads (one hop a
//! round; none to read a short file, and none for a short round that is only to be in order). Does not own: HTTP metadata, which follows from the key in the web server's configuration.
//!
//! Below the root lie temporary files, in `.tmp/`, and beside or below it the write-ahead journal, in `.journal/`; web
//! servers must deny both, as they deny all names that begin with a dot. A crashed process leaves at most temporary files;
//! whoever opens the area an hour later removes them, see [`FsArea::remove_stale_temps`].
//!
//! Invariant: a final name is only ever given to a file whose bytes are complete, and durable: in the journal, or by
//! themselves if they are long. So whoever sees a name may rely on it, and readers wait for nobody.

mod compare;
mod create;
mod disk;
mod errors;
mod folder;
mod journal;
mod read;
mod reserve;
mod swap;
mod syncs;
mod walk;
mod writer;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::syncs::Syncs;
use self::{
    disk::{Disk, Home},
    errors::definite,
    read::Short,
    swap::Swap,
    writer::Wait,
};
use crate::{
    Area, Body, Key, Meta, NewObject, ObjectReader, Objects, Outcome, Page, Pointers, PresignedPut, Replace,
    Stat, StoreError, Tag, Versioned,
};

/// An area in a directory. Clones, and other processes that open the same directory, share it safely.
///
/// A key that names a directory (`a` where `a/b` exists), or that lies below a file, is refused: S3 can hold both,
/// a file system cannot, and no layout of this registry needs it.
///
/// Tags of pointers are the SHA-256 of their bytes; tags of objects are a file's identity (inode, length,
/// modification time), because hashing a tarball to tell its size would be wasteful.
///
/// A directory that lost power is brought back by whoever opens it next: every write that was answered is there, and
/// nothing is half written. In a directory that may only be read, opening is refused if that is still to be done.
#[derive(Clone)]
pub struct FsArea {
    disk: Arc<Disk>,
    wait: Wait,
}

impl FsArea {
    /// Opens a directory as an area, and creates it if it is missing. Blocks briefly: call it at start-up.
    ///
    /// A directory that cannot be written is opened too; then writes are [`StoreError::Refused`].
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        Self::open_one(root, 0o777)
    }

    /// Opens a directory like [`FsArea::open`], and creates it readable by its owner alone.
    pub fn open_private(root: PathBuf) -> Result<Self, StoreError> {
        Self::open_one(root, 0o700)
    }

    fn open_one(root: PathBuf, mode: u32) -> Result<Self, StoreError> {
        let (home, area) = Home::of(root, mode);
        Ok(Self::of(home.open()?.swap_remove(usize::from(area))))
    }

    /// Opens the public area and the vault of a store in a directory, which share a journal.
    pub fn open_store(dir: &Path) -> Result<(Self, Self), StoreError> {
        let mut areas = Home::store(dir).open()?.into_iter().map(Self::of);
        let mut next = || areas.next().expect("a store has two areas");
        Ok((next(), next()))
    }

    fn of(disk: Disk) -> Self {
        Self { disk: Arc::new(disk), wait: Wait::Durable }
    }

    /// How often this area, and those that share its journal, were synced to disk by all clones.
    pub fn syncs(&self) -> Syncs {
        self.disk.syncs()
    }

    /// Removes temporary files that were last written more than `age` before `now`, and tells how many.
    ///
    /// They belong to crashed processes if `age` is longer than any upload takes; an hour is plenty.
    pub async fn remove_stale_temps(&self, now: SystemTime, age: Duration) -> Result<u64, StoreError> {
        let disk = self.disk.clone();
        blocking(move || disk.remove_stale_temps(now, age))
            .await
            .map_err(|detail| unavailable("list", ".tmp", detail))?
    }
}

/// Runs `work` on a blocking thread. The error is a bug in `work` or the end of the runtime, as text.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())
}

fn unavailable(op: &'static str, key: &(impl ToString + ?Sized), detail: String) -> StoreError {
    StoreError::Unavailable { op, key: key.to_string(), detail }
}

fn unknown(op: &'static str, key: &(impl ToString + ?Sized), detail: String) -> StoreError {
    StoreError::Unknown { op, key: key.to_string(), detail }
}

/// The only answer of a round of one.
fn single<R>(mut answers: Vec<R>) -> R {
    answers.pop().expect("a round answers once for each of its calls")
}

#[async_trait]
impl Objects for FsArea {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        single(self.put_round(std::slice::from_ref(object)).await)
    }

    async fn put_round(&self, objects: &[NewObject]) -> Vec<Result<Outcome, StoreError>> {
        let announced = self.disk.writer.announce();
        let in_memory = objects.iter().all(|object| matches!(object.body, Body::Bytes(_)));
        let writes = objects.iter().map(|object| (&object.key, object.body.len()));
        if in_memory && self.disk.would_not_wait(self.wait, writes) {
            return create::create_round(&self.disk, objects, self.wait, announced);
        }
        let (disk, wait, owned) = (self.disk.clone(), self.wait, objects.to_vec());
        match blocking(move || create::create_round(&disk, &owned, wait, announced)).await {
            Ok(answers) => answers,
            Err(detail) => objects.iter().map(|o| Err(unknown("put_new", &o.key, detail.clone()))).collect(),
        }
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        if let Short::Read(read) = read::short(&self.disk, "get", key, len_max)? {
            return Ok(read);
        }
        let (disk, owned) = (self.disk.clone(), key.clone());
        blocking(move || read::whole(&disk, "get", &owned, len_max))
            .await
            .map_err(|e| unavailable("get", key, e))?
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        let (disk, owned) = (self.disk.clone(), key.clone());
        blocking(move || read::open(&disk, &owned, range)).await.map_err(|e| unavailable("open", key, e))?
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        read::stat(&self.disk, key)
    }

    fn stat_at_once(&self, key: &Key) -> Option<Result<Option<Stat>, StoreError>> {
        Some(read::stat(&self.disk, key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let (disk, prefix, after) = (self.disk.clone(), prefix.to_owned(), after.map(str::to_owned));
        let listed = prefix.clone();
        blocking(move || walk::page(&disk, &prefix, after.as_deref()))
            .await
            .map_err(|e| unavailable("list", &listed, e))?
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        single(self.delete_round(std::slice::from_ref(key)).await)
    }

    async fn delete_round(&self, keys: &[Key]) -> Vec<Result<(), StoreError>> {
        let (disk, owned) = (self.disk.clone(), keys.to_vec());
        let announced = disk.writer.announce();
        match blocking(move || swap::delete_round(&disk, &owned, announced)).await {
            Ok(answers) => answers,
            Err(detail) => keys.iter().map(|key| Err(unknown("delete", key, detail.clone()))).collect(),
        }
    }

    fn ordered(&self) -> Option<Arc<dyn Area>> {
        // Alone, an area has no order with the other one of its store.
        let ordered = Self { disk: self.disk.clone(), wait: Wait::Ordered };
        self.disk.is_one_of_many.then(|| Arc::new(ordered) as Arc<dyn Area>)
    }

    async fn settle(&self) -> Result<(), StoreError> {
        if !self.disk.writer.is_unsettled() {
            return Ok(());
        }
        let disk = self.disk.clone();
        let settled = blocking(move || disk.writer.settle()).await;
        let failed = |detail| unknown("settle", "the journal", detail);
        settled.map_err(failed)?.map_err(|e| failed(e.to_string()))
    }

    async fn reserve(&self, lens: &[u64]) -> Result<(), StoreError> {
        if self.disk.has_room(lens) {
            return Ok(());
        }
        let (disk, lens) = (self.disk.clone(), lens.to_vec());
        let reserved = blocking(move || disk.reserve(&lens)).await;
        let failed = |detail| unavailable("reserve", "room", detail);
        reserved.map_err(failed)?.map_err(|e| definite("reserve", "room", &e))
    }

    async fn presign_put(
        &self,
        _key: &Key,
        _sha256_hex: &str,
        _len: u64,
        _valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Pointers for FsArea {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        if let Short::Read(read) = swap::read_short(&self.disk, key, len_max)? {
            return Ok(read);
        }
        let (disk, owned) = (self.disk.clone(), key.clone());
        blocking(move || swap::read(&disk, &owned, len_max)).await.map_err(|e| unavailable("read", key, e))?
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        single(self.replace_round(vec![(key.clone(), seen.cloned(), bytes, meta)]).await)
    }

    async fn replace_round(
        &self,
        swaps: Vec<(Key, Option<Tag>, Bytes, Meta)>,
    ) -> Vec<Result<Replace, StoreError>> {
        let announced = self.disk.writer.announce();
        let swaps: Vec<Swap> =
            swaps.into_iter().map(|(key, seen, bytes, _)| Swap { key, seen, bytes }).collect();
        if self.disk.would_not_wait(self.wait, swaps.iter().map(|swap| (&swap.key, swap.bytes.len() as u64)))
        {
            return swap::swap_round(&self.disk, &swaps, self.wait, announced);
        }
        let (disk, wait, count) = (self.disk.clone(), self.wait, swaps.len());
        match blocking(move || swap::swap_round(&disk, &swaps, wait, announced)).await {
            Ok(answers) => answers,
            Err(detail) => (0..count).map(|_| Ok(Replace::Unknown(detail.clone()))).collect(),
        }
    }
}
