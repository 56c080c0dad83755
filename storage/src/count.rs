//! A wrapper that counts calls, bytes and sequential rounds: what a publish costs, as a number that does not flake.
//!
//! Owns: the counting. Does not own: what the calls do; they are passed on as they are, rounds as rounds.
//! Invariant: areas that share a [`Counter`] are counted as one store.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::{
    Area, Key, Meta, NewObject, ObjectReader, Objects, Op, Outcome, Page, Pointers, PresignedPut, Replace,
    Stat, Store, StoreError, Tag, Versioned,
};

/// What has been counted since the last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `get`, `open`, `stat` and `read`.
    pub gets: u64,
    /// Objects put and pointers replaced, whatever came of it.
    pub puts: u64,
    /// Calls of `delete`.
    pub deletes: u64,
    /// Pages listed.
    pub lists: u64,
    /// Sequential rounds: the longest chain of calls in which each began after the one before had ended.
    ///
    /// Exact where concurrent calls start together, as they do over memory. Over a backend with jitter, parallel
    /// chains of several calls can look longer than each of them is, never shorter.
    pub rounds: u64,
    /// Bytes that reads returned; of a stream, those that were taken from it.
    pub bytes_read: u64,
    /// Bytes that writes were given.
    pub bytes_written: u64,
}

/// One counted call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The area's name.
    pub area: &'static str,
    /// Which call.
    pub op: Op,
    /// Its key, or the prefix of a list.
    pub key: String,
}

/// The numbers, shared by all areas that are wrapped with clones of it.
#[derive(Clone, Default)]
pub struct Counter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    counts: Counts,
    log: Vec<Logged>,
    /// Length of the longest chain of calls that have ended.
    ended_depth: u64,
    /// Raised by a reset, so that calls from before do not count after it.
    epoch: u64,
}

impl Counter {
    /// Starts at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps both areas of a store, as `public` and `vault`.
    pub fn wrap(&self, store: &Store) -> Store {
        Store {
            public: Arc::new(Counting::new(store.public.clone(), "public", self.clone())),
            vault: Arc::new(Counting::new(store.vault.clone(), "vault", self.clone())),
        }
    }

    /// What has been counted.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// All calls, in the order in which they began.
    pub fn log(&self) -> Vec<Logged> {
        self.lock().log.clone()
    }

    /// Counts from zero again, with an empty log.
    pub fn reset(&self) {
        let mut state = self.lock();
        *state = State { epoch: state.epoch + 1, ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the beginning of a round of calls, and gives its siblings the chance to begin too.
    async fn begin(&self, area: &'static str, op: Op, keys: impl Iterator<Item = &str> + Send) -> Flight {
        let flight = self.count(area, op, keys);
        // Backends that never wait would finish one call before its sibling in a `join_all` is polled at all.
        tokio::task::yield_now().await;
        flight
    }

    fn count<'a>(&self, area: &'static str, op: Op, keys: impl Iterator<Item = &'a str>) -> Flight {
        let mut state = self.lock();
        let before = state.log.len();
        state.log.extend(keys.map(|key| Logged { area, op, key: key.to_owned() }));
        let calls = (state.log.len() - before) as u64;
        match op {
            Op::Get | Op::Open | Op::Stat | Op::Read => state.counts.gets += calls,
            Op::PutNew | Op::Replace => state.counts.puts += calls,
            Op::Delete => state.counts.deletes += calls,
            Op::List => state.counts.lists += calls,
            // Signed locally: the store hears nothing of it.
            Op::PresignPut => {}
        }
        let depth = state.ended_depth + 1;
        state.counts.rounds = state.counts.rounds.max(depth);
        Flight { counter: self.clone(), depth, epoch: state.epoch }
    }

    fn add_read(&self, bytes: usize) {
        self.lock().counts.bytes_read += bytes as u64;
    }

    fn add_written(&self, bytes: u64) {
        self.lock().counts.bytes_written += bytes;
    }
}

/// A call under way; it ends when dropped, also if its caller gave up.
struct Flight {
    counter: Counter,
    depth: u64,
    epoch: u64,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.counter.lock();
        if state.epoch == self.epoch {
            state.ended_depth = state.ended_depth.max(self.depth);
        }
    }
}

/// An area whose calls are counted.
pub struct Counting<A> {
    inner: A,
    area: &'static str,
    counter: Counter,
}

impl<A> Counting<A> {
    /// Wraps an area; `area` is its name in the log.
    pub fn new(inner: A, area: &'static str, counter: Counter) -> Self {
        Self { inner, area, counter }
    }

    async fn begin(&self, op: Op, key: &str) -> Flight {
        self.counter.begin(self.area, op, std::iter::once(key)).await
    }
}

#[async_trait]
impl<A: Objects> Objects for Counting<A> {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        let _flight = self.begin(Op::PutNew, object.key.as_str()).await;
        self.counter.add_written(object.body.len());
        self.inner.put_new(object).await
    }

    async fn put_round(&self, objects: &[NewObject]) -> Vec<Result<Outcome, StoreError>> {
        if objects.is_empty() {
            return Vec::new();
        }
        let keys = objects.iter().map(|object| object.key.as_str());
        let _flight = self.counter.begin(self.area, Op::PutNew, keys).await;
        self.counter.add_written(objects.iter().map(|object| object.body.len()).sum());
        self.inner.put_round(objects).await
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        let _flight = self.begin(Op::Get, key.as_str()).await;
        let got = self.inner.get(key, len_max).await?;
        self.counter.add_read(got.as_ref().map_or(0, Bytes::len));
        Ok(got)
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        let _flight = self.begin(Op::Open, key.as_str()).await;
        let Some(reader) = self.inner.open(key, range).await? else { return Ok(None) };
        let counter = self.counter.clone();
        let stream = reader.stream.inspect(move |chunk| {
            counter.add_read(chunk.as_ref().map_or(0, Bytes::len));
        });
        Ok(Some(ObjectReader { stream: stream.boxed(), ..reader }))
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let _flight = self.begin(Op::Stat, key.as_str()).await;
        self.inner.stat(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let _flight = self.begin(Op::List, prefix).await;
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let _flight = self.begin(Op::Delete, key.as_str()).await;
        self.inner.delete(key).await
    }

    fn ordered(&self) -> Option<Arc<dyn Area>> {
        let inner = self.inner.ordered()?;
        Some(Arc::new(Counting::new(inner, self.area, self.counter.clone())))
    }

    async fn settle(&self) -> Result<(), StoreError> {
        // Not a call either: a store that has this needs no request for it.
        self.inner.settle().await
    }

    async fn reserve(&self, lens: &[u64]) -> Result<(), StoreError> {
        // Not a call to the store: what it makes room for is counted when it is written.
        self.inner.reserve(lens).await
    }

    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        self.inner.presign_put(key, sha256_hex, len, valid_s).await
    }
}

#[async_trait]
impl<A: Pointers> Pointers for Counting<A> {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        let _flight = self.begin(Op::Read, key.as_str()).await;
        let read = self.inner.read(key, len_max).await?;
        self.counter.add_read(read.as_ref().map_or(0, |versioned| versioned.bytes.len()));
        Ok(read)
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        let _flight = self.begin(Op::Replace, key.as_str()).await;
        self.counter.add_written(bytes.len() as u64);
        self.inner.replace(key, seen, bytes, meta).await
    }

    async fn replace_round(
        &self,
        swaps: Vec<(Key, Option<Tag>, Bytes, Meta)>,
    ) -> Vec<Result<Replace, StoreError>> {
        if swaps.is_empty() {
            return Vec::new();
        }
        let keys = swaps.iter().map(|(key, ..)| key.as_str());
        let _flight = self.counter.begin(self.area, Op::Replace, keys).await;
        self.counter.add_written(swaps.iter().map(|(_, _, bytes, _)| bytes.len() as u64).sum());
        self.inner.replace_round(swaps).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::{Body, MemoryArea};

    fn object(key: &str) -> NewObject {
        let key = Key::new(key).expect("a key");
        NewObject { key, body: Body::Bytes(Bytes::from_static(b"four")), meta: Meta::PRIVATE }
    }

    #[tokio::test]
    async fn counts_calls_bytes_and_rounds() {
        let counter = Counter::new();
        let store = counter.wrap(&Store::memory());
        let (a, b) = (object("a"), object("b"));

        store.public.put_round(&[a.clone(), b.clone()]).await;
        join_all([store.public.get(&a.key, 9), store.vault.get(&b.key, 9)]).await;
        store
            .vault
            .replace(&a.key, None, Bytes::from_static(b"six!!!"), Meta::PRIVATE)
            .await
            .expect("replaces");
        store.public.list("", None).await.expect("lists");
        store.public.delete(&a.key).await.expect("deletes");

        let expected =
            Counts { gets: 2, puts: 3, deletes: 1, lists: 1, rounds: 5, bytes_read: 4, bytes_written: 14 };
        assert_eq!(counter.counts(), expected);
        let log: Vec<String> =
            counter.log().iter().map(|call| format!("{} {} {}", call.area, call.op, call.key)).collect();
        assert_eq!(
            log,
            [
                "public put_new a",
                "public put_new b",
                "public get a",
                "vault get b",
                "vault replace a",
                "public list ",
                "public delete a"
            ]
        );
        counter.reset();
        assert_eq!((counter.counts(), counter.log()), (Counts::default(), Vec::new()));
    }

    #[tokio::test]
    async fn parallel_chains_count_as_the_longest_of_them() {
        let counter = Counter::new();
        let area = Counting::new(MemoryArea::new(), "public", counter.clone());
        let chain = |name: &'static str, calls: usize| {
            let area = &area;
            async move {
                for _ in 0..calls {
                    area.get(&Key::new(name).expect("a key"), 9).await.expect("reads");
                }
            }
        };
        join_all([chain("a", 3), chain("b", 3), chain("c", 1)]).await;
        assert_eq!((counter.counts().gets, counter.counts().rounds), (7, 3));
    }
}
