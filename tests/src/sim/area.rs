//! The door of a simulated process to its store, every use of which waits for a turn.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use drystone_storage::{
    Key, Meta, NewObject, ObjectReader, Objects, Op, Outcome, Page, Pointers, PresignedPut, Replace, Stat,
    Store, StoreError, Tag, Versioned,
};

use super::{
    broken::Broken,
    calls::{Pid, Place, Write, WriteReply, unavailable},
    scheduler::Sim,
};

/// One area as one process reaches it.
pub(super) struct SimArea {
    sim: Arc<Sim>,
    pid: Pid,
    place: Place,
}

/// Both areas as one process reaches them.
pub(super) fn store_of(sim: &Arc<Sim>, pid: Pid) -> Store {
    let area = |place| Arc::new(SimArea { sim: sim.clone(), pid, place });
    Store { public: area(Place::Public), vault: area(Place::Vault) }
}

impl SimArea {
    async fn before_read(&self, op: Op, key: &str) -> Result<(), StoreError> {
        if self.sim.read(self.pid, self.place, op, key).await { Ok(()) } else { Err(unavailable(op, key)) }
    }

    async fn write(&self, write: Write) -> WriteReply {
        self.sim.write(self.pid, self.place, write).await
    }
}

#[async_trait]
impl Objects for SimArea {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        match self.write(Write::Put(object.clone())).await {
            WriteReply::Put(answer) => answer,
            other => unreachable!("{other:?} answers no put"),
        }
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.before_read(Op::Get, key.as_str()).await?;
        let stored = self.sim.memory.area(self.place).get(key, len_max).await?;
        Ok(self.sim.shown(self.pid, self.place, Op::Get, key.as_str(), stored))
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        self.before_read(Op::Open, key.as_str()).await?;
        self.sim.memory.area(self.place).open(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.before_read(Op::Stat, key.as_str()).await?;
        self.sim.memory.area(self.place).stat(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.before_read(Op::List, prefix).await?;
        if prefix.starts_with("trash/") && self.sim.is_broken_so(Broken::TrashNotListed) {
            return Ok(Page::default());
        }
        self.sim.memory.area(self.place).list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        match self.write(Write::Delete(key.clone())).await {
            WriteReply::Delete(answer) => answer,
            other => unreachable!("{other:?} answers no delete"),
        }
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
impl Pointers for SimArea {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        self.before_read(Op::Read, key.as_str()).await?;
        let stored = self.sim.memory.area(self.place).read(key, len_max).await?;
        let Some(Versioned { bytes, tag, .. }) = stored else { return Ok(None) };
        let bytes = self.sim.shown(self.pid, self.place, Op::Read, key.as_str(), Some(bytes));
        Ok(bytes.map(|bytes| Versioned { bytes, tag, store_time_unix: self.sim.store_time_s() }))
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        let write = Write::Replace { key: key.clone(), seen: seen.cloned(), bytes, meta };
        match self.write(write).await {
            WriteReply::Replace(answer) => answer,
            other => unreachable!("{other:?} answers no replacement"),
        }
    }
}
