//! An area that refuses calls as a test tells it, and can be made to take uploads of its own.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use drystone_storage::{
    Area, Key, Meta, NewObject, ObjectReader, Objects, Op, Outcome, Page, Pointers, PresignedPut, Replace,
    Stat, Store, StoreError, Tag, Versioned,
};

/// Decides which call fails, and how; asked with the key, or the prefix of a list.
type Refuse = Arc<dyn Fn(Op, &str) -> Option<StoreError> + Send + Sync>;

/// An area in front of another.
pub struct Gate {
    inner: Arc<dyn Area>,
    refuse: Refuse,
    presigns: bool,
}

impl Gate {
    /// Both areas of a store behind one decision.
    pub fn store(
        store: &Store,
        refuse: impl Fn(Op, &str) -> Option<StoreError> + Send + Sync + 'static,
    ) -> Store {
        let refuse: Refuse = Arc::new(refuse);
        let gate = |inner: &Arc<dyn Area>| {
            Arc::new(Self { inner: inner.clone(), refuse: refuse.clone(), presigns: false })
        };
        Store { public: gate(&store.public), vault: gate(&store.vault) }
    }

    /// A store whose vault takes uploads without the publisher in between; the test writes them itself.
    pub fn presigning(store: &Store) -> Store {
        let vault = Self { inner: store.vault.clone(), refuse: Arc::new(|_, _| None), presigns: true };
        Store { public: store.public.clone(), vault: Arc::new(vault) }
    }

    fn ask(&self, op: Op, key: &str) -> Result<(), StoreError> {
        (self.refuse)(op, key).map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Objects for Gate {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        self.ask(Op::PutNew, object.key.as_str())?;
        self.inner.put_new(object).await
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.ask(Op::Get, key.as_str())?;
        self.inner.get(key, len_max).await
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        self.ask(Op::Open, key.as_str())?;
        self.inner.open(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.ask(Op::Stat, key.as_str())?;
        self.inner.stat(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.ask(Op::List, prefix)?;
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.ask(Op::Delete, key.as_str())?;
        self.inner.delete(key).await
    }

    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        self.ask(Op::PresignPut, key.as_str())?;
        if self.presigns {
            return Ok(Some(PresignedPut { url: format!("http://storage.test/{key}"), headers: Vec::new() }));
        }
        self.inner.presign_put(key, sha256_hex, len, valid_s).await
    }
}

#[async_trait]
impl Pointers for Gate {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        self.ask(Op::Read, key.as_str())?;
        self.inner.read(key, len_max).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        self.ask(Op::Replace, key.as_str())?;
        self.inner.replace(key, seen, bytes, meta).await
    }
}
