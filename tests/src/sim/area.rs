//! The doors of a simulated process: its store and its clock, every use of which waits for a turn.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use drystone_storage::{
    Clock, Key, Meta, NewObject, ObjectReader, Objects, Op, Outcome, Page, Pointers, PresignedPut, Replace,
    Stat, Store, StoreError, Tag, Versioned,
};

use super::{
    calls::{Broken, Pid, Place, Write, WriteReply, unavailable},
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
        self.sim.memory.area(self.place).get(key, len_max).await
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
        self.sim.memory.area(self.place).read(key, len_max).await
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

/// A clock that all processes share; who waits on it waits for a turn, and the time has passed when it comes.
pub(super) struct SimClock {
    pub(super) sim: Arc<Sim>,
    pub(super) pid: Pid,
}

#[async_trait]
impl Clock for SimClock {
    fn now_unix_ms(&self) -> u64 {
        self.sim.now_ms()
    }

    async fn sleep(&self, duration: Duration) {
        self.sim.turn_of(self.pid, "for time to pass".into()).await;
        self.sim.advance(duration.as_millis() as u64);
    }
}
