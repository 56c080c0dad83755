//! The memory backend: a map behind a mutex, for tests and demonstrations.
//!
//! Owns: both roles over one shared map. Does not own: durability; what it holds ends with the process.
//! Invariant: every call is one critical section, so calls are linearisable in the order of the lock.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;

use crate::{
    Body, Key, Meta, NewObject, ObjectReader, Objects, Outcome, Page, Pointers, PresignedPut, Replace, Stat,
    StoreError, Tag, Versioned,
    contract::{PAGE_KEYS_MAX, content_tag, cut},
};

/// An area in memory. Clones share the same map.
#[derive(Clone, Default)]
pub struct MemoryArea {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    store_time_unix: Option<u64>,
}

struct Entry {
    bytes: Bytes,
    meta: Meta,
}

impl MemoryArea {
    /// Makes an empty area.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what reads of pointers report as the store's own clock, in seconds since 1970.
    pub fn set_store_time_unix(&self, time: Option<u64>) {
        self.lock().store_time_unix = time;
    }

    /// The metadata that the last write of `key` gave.
    pub fn meta(&self, key: &Key) -> Option<Meta> {
        self.lock().entries.get(key).map(|entry| entry.meta)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section can stop half-way through a change, so a poisoned map is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, key: &Key) -> Option<Bytes> {
        self.lock().entries.get(key).map(|entry| entry.bytes.clone())
    }
}

/// Reads a body whole: acceptable here only because the area itself lies in memory.
async fn load(object: &NewObject) -> Result<Bytes, StoreError> {
    match &object.body {
        Body::Bytes(bytes) => Ok(bytes.clone()),
        Body::File { path, .. } => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || fs_err::read(path)).await;
            let refused =
                |detail: String| StoreError::Refused { op: "put_new", key: object.key.to_string(), detail };
            let bytes = read.map_err(|e| refused(e.to_string()))?.map_err(|e| refused(e.to_string()))?;
            if bytes.len() as u64 != object.body.len() {
                return Err(refused("the body file does not have the announced length".to_owned()));
            }
            Ok(bytes.into())
        }
    }
}

fn check_len(key: &Key, len: u64, len_max: u64) -> Result<(), StoreError> {
    if len > len_max { Err(StoreError::TooLong { key: key.to_string(), len_max }) } else { Ok(()) }
}

#[async_trait]
impl Objects for MemoryArea {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        let bytes = load(object).await?;
        let mut state = self.lock();
        match state.entries.get(&object.key) {
            Some(there) if there.bytes == bytes => Ok(Outcome::AlreadyThereSame),
            Some(_) => Ok(Outcome::AlreadyThereDifferent),
            None => {
                state.entries.insert(object.key.clone(), Entry { bytes, meta: object.meta });
                Ok(Outcome::Created)
            }
        }
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        check_len(key, bytes.len() as u64, len_max)?;
        Ok(Some(bytes))
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        let len = bytes.len() as u64;
        let tag = content_tag(&bytes);
        let range = cut(range, len);
        // Both ends are at most `len`, which is a `usize`.
        let part = bytes.slice(range.start as usize..range.end as usize);
        Ok(Some(ObjectReader { len, tag, stream: Box::pin(stream::iter([Ok(part)])) }))
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let stat =
            |bytes: Bytes| Stat { len: bytes.len() as u64, tag: content_tag(&bytes), written_unix_s: None };
        Ok(self.bytes(key).map(stat))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let state = self.lock();
        let after =
            after.map(|token| Key::new(token).map_err(|e| StoreError::Broken(e.to_string()))).transpose()?;
        let start = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = state.entries.range::<Key, _>((start, Bound::Unbounded)).map(|(key, _)| key);
        let mut matching = found.by_ref().filter(|key| key.as_str().starts_with(prefix));
        let keys: Vec<Key> = matching.by_ref().take(PAGE_KEYS_MAX).cloned().collect();
        let more = matching.next().is_some();
        let next = if more { keys.last().map(Key::to_string) } else { None };
        Ok(Page { keys, next })
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.lock().entries.remove(key);
        Ok(())
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
impl Pointers for MemoryArea {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        let state = self.lock();
        let Some(entry) = state.entries.get(key) else { return Ok(None) };
        check_len(key, entry.bytes.len() as u64, len_max)?;
        let tag = content_tag(&entry.bytes);
        Ok(Some(Versioned { bytes: entry.bytes.clone(), tag, store_time_unix: state.store_time_unix }))
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        let mut state = self.lock();
        let current = state.entries.get(key).map(|entry| content_tag(&entry.bytes));
        if current.as_ref() != seen {
            return Ok(Replace::Conflict);
        }
        let tag = content_tag(&bytes);
        state.entries.insert(key.clone(), Entry { bytes, meta });
        Ok(Replace::Replaced(tag))
    }
}
