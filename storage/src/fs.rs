//! The filesystem backend: a key is a path below the root, so any web server can serve the directory as it lies.
//!
//! Owns: the mapping of both storage roles to files, and the hop from async calls to blocking threads (one hop a
//! round; none to read a short file). Does not own: HTTP metadata, which follows from the key in the web server's configuration.
//!
//! Temporary files lie in `<root>/.tmp/` and lock files in `<root>/.lock/`; web servers must deny both, as they
//! deny all dot-directories. A crashed process leaves at most temporary files; whoever opens the area an hour later
//! removes them, see [`FsArea::remove_stale_temps`].
//!
//! Invariant: a final name is only ever given to a file whose bytes are complete and durable (link or rename after
//! fsync), and a write is answered only after the directory that holds the name is durable too.

mod create;
mod disk;
mod errors;
mod locks;
mod parallel;
mod prepared;
mod read;
mod swap;
mod walk;

use std::{
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::disk::Syncs;
use self::{disk::Disk, read::Short, swap::Swap};
use crate::{
    Key, Meta, NewObject, ObjectReader, Objects, Outcome, Page, Pointers, PresignedPut, Replace, Stat,
    StoreError, Tag, Versioned,
};

/// An area in a directory. Clones, and other processes that open the same directory, share it safely.
///
/// A key that names a directory (`a` where `a/b` exists), or that lies below a file, is refused: S3 can hold both,
/// a file system cannot, and no layout of this registry needs it.
///
/// Tags of pointers are the SHA-256 of their bytes; tags of objects are a file's identity (inode, length,
/// modification time), because hashing a tarball to tell its size would be wasteful.
///
/// One gap is left open: after a writer was killed between rename and directory sync, a reader may see a pointer
/// that a power failure within the next seconds can still undo.
#[derive(Clone)]
pub struct FsArea {
    disk: Arc<Disk>,
}

impl FsArea {
    /// Opens a directory as an area, and creates it if it is missing. Blocks briefly: call it at start-up.
    ///
    /// A directory that cannot be written is opened too; then writes are [`StoreError::Refused`].
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        Ok(Self { disk: Arc::new(Disk::open(root, 0o777)?) })
    }

    /// Opens a directory like [`FsArea::open`], and creates it readable by its owner alone.
    pub fn open_private(root: PathBuf) -> Result<Self, StoreError> {
        Ok(Self { disk: Arc::new(Disk::open(root, 0o700)?) })
    }

    /// How often this area was synced to disk, by all of its clones.
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
        let disk = self.disk.clone();
        let owned: Arc<[NewObject]> = objects.into();
        match blocking(move || create::create_round(&disk, &owned)).await {
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
        match blocking(move || swap::delete_round(&disk, &owned)).await {
            Ok(answers) => answers,
            Err(detail) => keys.iter().map(|key| Err(unknown("delete", key, detail.clone()))).collect(),
        }
    }

    async fn prepare_round(&self, writes: &[(Key, Bytes)]) {
        let (disk, owned) = (self.disk.clone(), Arc::from(writes));
        // A hint that could not be followed is none.
        drop(blocking(move || prepared::prepare_round(&disk, &owned)).await);
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
        let disk = self.disk.clone();
        let count = swaps.len();
        let swaps: Arc<[Swap]> =
            swaps.into_iter().map(|(key, seen, bytes, _)| Swap { key, seen, bytes }).collect();
        match blocking(move || swap::swap_round(&disk, &swaps)).await {
            Ok(answers) => answers,
            Err(detail) => (0..count).map(|_| Ok(Replace::Unknown(detail.clone()))).collect(),
        }
    }
}
