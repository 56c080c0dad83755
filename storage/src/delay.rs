//! A wrapper that makes every call take time: what a store at a distance is like, for tests in virtual time and for
//! measurements in real time.
//!
//! Owns: the waiting. Does not own: what the calls do, nor the clock; a round of calls is one round trip, as its calls
//! are under way together.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Clock, Key, Meta, NewObject, ObjectReader, Objects, Outcome, Page, Pointers, PresignedPut, Replace, Stat,
    Store, StoreError, Tag, Versioned,
};

/// An area at a distance: a call takes effect half a round trip after it was made, and is answered after the other half.
pub struct Delayed<A> {
    inner: A,
    clock: Arc<dyn Clock>,
    half: Duration,
}

impl<A> Delayed<A> {
    /// Puts an area at a distance of one round trip.
    pub fn new(inner: A, clock: Arc<dyn Clock>, round_trip: Duration) -> Self {
        Self { inner, clock, half: round_trip / 2 }
    }

    async fn travel<T>(&self, call: impl Future<Output = T>) -> T {
        self.clock.sleep(self.half).await;
        let answer = call.await;
        self.clock.sleep(self.half).await;
        answer
    }
}

impl Store {
    /// The same store at a distance.
    pub fn delayed(&self, clock: &Arc<dyn Clock>, round_trip: Duration) -> Self {
        Self {
            public: Arc::new(Delayed::new(self.public.clone(), clock.clone(), round_trip)),
            vault: Arc::new(Delayed::new(self.vault.clone(), clock.clone(), round_trip)),
        }
    }
}

#[async_trait]
impl<A: Objects> Objects for Delayed<A> {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        self.travel(self.inner.put_new(object)).await
    }

    async fn put_round(&self, objects: &[NewObject]) -> Vec<Result<Outcome, StoreError>> {
        self.travel(self.inner.put_round(objects)).await
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.travel(self.inner.get(key, len_max)).await
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        self.travel(self.inner.open(key, range)).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.travel(self.inner.stat(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.travel(self.inner.list(prefix, after)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.travel(self.inner.delete(key)).await
    }

    async fn delete_round(&self, keys: &[Key]) -> Vec<Result<(), StoreError>> {
        self.travel(self.inner.delete_round(keys)).await
    }

    async fn reserve(&self, lens: &[u64]) -> Result<(), StoreError> {
        // Nothing of it travels before the write does.
        self.inner.reserve(lens).await
    }

    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        // Signed locally: nothing travels.
        self.inner.presign_put(key, sha256_hex, len, valid_s).await
    }
}

#[async_trait]
impl<A: Pointers> Pointers for Delayed<A> {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        self.travel(self.inner.read(key, len_max)).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        self.travel(self.inner.replace(key, seen, bytes, meta)).await
    }

    async fn replace_round(
        &self,
        swaps: Vec<(Key, Option<Tag>, Bytes, Meta)>,
    ) -> Vec<Result<Replace, StoreError>> {
        self.travel(self.inner.replace_round(swaps)).await
    }
}
