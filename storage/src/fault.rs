//! A wrapper that breaks calls on command: each write fails not persisted, persisted but reported failed, or late.
//!
//! Owns: the faults. Does not own: when they strike; that is the test's script.
//! Invariant: a fault never makes a backend lie about its contract; it makes it fail in every way the contract allows.

use std::{
    mem,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    Key, Meta, NewObject, ObjectReader, Objects, Op, Outcome, Page, Pointers, PresignedPut, Replace, Stat,
    Store, StoreError, Tag, Versioned,
};

/// A call that is about to be made. A round asks once for each of its calls.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// How many calls were made before, over all areas that share the script.
    pub index: u64,
    /// The area's name.
    pub area: &'static str,
    /// Which call.
    pub op: Op,
    /// Its key, or the prefix of a list.
    pub key: &'a str,
}

/// What is to go wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A write is not done, and its outcome reported as unknown. A read fails as unavailable.
    NotDone,
    /// A write is done, and its outcome reported as unknown. A read fails as unavailable.
    DoneButReportedFailed,
    /// A write is reported as unknown now, and reaches the store when this many further calls have begun.
    /// A read fails as unavailable.
    DoneLater {
        /// How many calls later.
        calls: u64,
    },
    /// A `replace` answers `Conflict` and writes nothing. Other calls fail as [`Fault::NotDone`].
    AnswerConflict,
    /// The process dies before the call: nothing is done, and all later calls fail.
    CrashBefore,
    /// The process dies after the call: it is done, and all later calls fail.
    CrashAfter,
}

/// A script of faults, and what it has done so far. Clones are one script.
#[derive(Clone)]
pub struct Faults(Arc<Shared>);

struct Shared {
    script: Box<dyn Fn(&Call<'_>) -> Fault + Send + Sync>,
    calls: AtomicU64,
    crashed: AtomicBool,
    late: Mutex<Vec<Late>>,
}

/// A write that has not reached the store yet.
struct Late {
    due: u64,
    write: BoxFuture<'static, ()>,
}

impl Faults {
    /// Makes a script; it is asked before each call.
    pub fn new(script: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) -> Self {
        let (calls, crashed, late) = Default::default();
        Self(Arc::new(Shared { script: Box::new(script), calls, crashed, late }))
    }

    /// Wraps both areas of a store, as `public` and `vault`.
    pub fn wrap(&self, store: &Store) -> Store {
        Store {
            public: Arc::new(Faulty::new(store.public.clone(), "public", self.clone())),
            vault: Arc::new(Faulty::new(store.vault.clone(), "vault", self.clone())),
        }
    }

    /// How many calls have begun.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Whether a crash has struck.
    pub fn crashed(&self) -> bool {
        self.0.crashed.load(Ordering::SeqCst)
    }

    /// Lets all late writes reach the store now.
    pub async fn settle(&self) {
        self.settle_until(u64::MAX).await;
    }

    async fn settle_until(&self, index: u64) {
        let due: Vec<Late> = {
            let mut late = self.0.late.lock().unwrap_or_else(PoisonError::into_inner);
            let (due, still) = mem::take(&mut *late).into_iter().partition(|write| write.due <= index);
            *late = still;
            due
        };
        for late in due {
            late.write.await;
        }
    }

    /// Decides on a call; `None` if the process is dead.
    async fn begin(&self, area: &'static str, op: Op, key: &str) -> Option<(Fault, u64)> {
        if self.crashed() {
            return None;
        }
        let index = self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.settle_until(index).await;
        let fault = (self.0.script)(&Call { index, area, op, key });
        if matches!(fault, Fault::CrashBefore | Fault::CrashAfter) {
            self.0.crashed.store(true, Ordering::SeqCst);
        }
        Some((fault, index))
    }

    fn delay(&self, due: u64, write: BoxFuture<'static, ()>) {
        self.0.late.lock().unwrap_or_else(PoisonError::into_inner).push(Late { due, write });
    }
}

/// An area whose calls fail by a script.
pub struct Faulty<A> {
    inner: Arc<A>,
    area: &'static str,
    faults: Faults,
}

/// How a write ends.
enum Fate<T> {
    /// As the backend said.
    Answer(T),
    /// By a fault, described.
    Unknown(&'static str),
    /// As a lost race.
    Conflict,
    /// Not at all: the process is dead.
    Dead,
}

impl<A: Send + Sync + 'static> Faulty<A> {
    /// Wraps an area; `area` is its name in the script.
    pub fn new(inner: A, area: &'static str, faults: Faults) -> Self {
        Self { inner: Arc::new(inner), area, faults }
    }

    async fn write<T: Send + 'static>(
        &self,
        op: Op,
        key: &str,
        write: impl FnOnce(Arc<A>) -> BoxFuture<'static, T>,
    ) -> Fate<T> {
        let Some((fault, index)) = self.faults.begin(self.area, op, key).await else { return Fate::Dead };
        let inner = self.inner.clone();
        match fault {
            Fault::None => Fate::Answer(write(inner).await),
            Fault::NotDone => Fate::Unknown("injected: not done"),
            Fault::AnswerConflict => Fate::Conflict,
            Fault::DoneButReportedFailed => {
                // The caller must not learn what the store said.
                drop(write(inner).await);
                Fate::Unknown("injected: done, but reported failed")
            }
            Fault::DoneLater { calls } => {
                let write = write(inner);
                self.faults.delay(index + calls, Box::pin(async move { drop(write.await) }));
                Fate::Unknown("injected: done later")
            }
            Fault::CrashBefore => Fate::Dead,
            Fault::CrashAfter => {
                drop(write(inner).await);
                Fate::Dead
            }
        }
    }

    async fn before_read(&self, op: Op, key: &str) -> Result<(), StoreError> {
        match self.faults.begin(self.area, op, key).await {
            Some((Fault::None, _)) => Ok(()),
            Some(_) => Err(unavailable(op, key, "injected")),
            None => Err(dead(op, key)),
        }
    }
}

fn unavailable(op: Op, key: &str, detail: &str) -> StoreError {
    StoreError::Unavailable { op: op.as_str(), key: key.to_owned(), detail: detail.to_owned() }
}

fn dead(op: Op, key: &str) -> StoreError {
    unavailable(op, key, "the process has died")
}

/// The answer of a write that is no `replace`.
fn answer<T>(op: Op, key: &Key, fate: Fate<Result<T, StoreError>>) -> Result<T, StoreError> {
    let detail = match fate {
        Fate::Answer(answer) => return answer,
        Fate::Dead => return Err(dead(op, key.as_str())),
        Fate::Unknown(detail) => detail,
        Fate::Conflict => "injected: not done",
    };
    Err(StoreError::Unknown { op: op.as_str(), key: key.to_string(), detail: detail.to_owned() })
}

#[async_trait]
impl<A: Objects> Objects for Faulty<A> {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        let owned = object.clone();
        let write =
            |inner: Arc<A>| -> BoxFuture<'static, _> { Box::pin(async move { inner.put_new(&owned).await }) };
        answer(Op::PutNew, &object.key, self.write(Op::PutNew, object.key.as_str(), write).await)
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.before_read(Op::Get, key.as_str()).await?;
        self.inner.get(key, len_max).await
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        self.before_read(Op::Open, key.as_str()).await?;
        self.inner.open(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.before_read(Op::Stat, key.as_str()).await?;
        self.inner.stat(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.before_read(Op::List, prefix).await?;
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let owned = key.clone();
        let write =
            |inner: Arc<A>| -> BoxFuture<'static, _> { Box::pin(async move { inner.delete(&owned).await }) };
        answer(Op::Delete, key, self.write(Op::Delete, key.as_str(), write).await)
    }

    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        self.before_read(Op::PresignPut, key.as_str()).await?;
        self.inner.presign_put(key, sha256_hex, len, valid_s).await
    }
}

#[async_trait]
impl<A: Pointers> Pointers for Faulty<A> {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        self.before_read(Op::Read, key.as_str()).await?;
        self.inner.read(key, len_max).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        let (owned, seen) = (key.clone(), seen.cloned());
        let write = |inner: Arc<A>| -> BoxFuture<'static, _> {
            Box::pin(async move { inner.replace(&owned, seen.as_ref(), bytes, meta).await })
        };
        match self.write(Op::Replace, key.as_str(), write).await {
            Fate::Answer(answer) => answer,
            Fate::Unknown(detail) => Ok(Replace::Unknown(detail.to_owned())),
            Fate::Conflict => Ok(Replace::Conflict),
            // Also when the write was done: nobody is left to be told.
            Fate::Dead => Err(dead(Op::Replace, key.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, MemoryArea};

    fn key() -> Key {
        Key::new("k").expect("a key")
    }

    fn object() -> NewObject {
        NewObject { key: key(), body: Body::Bytes(Bytes::from_static(b"x")), meta: Meta::PRIVATE }
    }

    /// Puts and replaces with `fault` on the first call; tells the answers, and whether bytes are there afterwards.
    async fn first_call(fault: Fault) -> Vec<String> {
        let mut told = Vec::new();
        for replace in [false, true] {
            let memory = MemoryArea::new();
            let script = move |call: &Call<'_>| if call.index == 0 { fault } else { Fault::None };
            let area = Faulty::new(memory.clone(), "public", Faults::new(script));
            let answer = if replace {
                match area.replace(&key(), None, Bytes::from_static(b"x"), Meta::PRIVATE).await {
                    Ok(Replace::Replaced(_)) => "Replaced".to_owned(),
                    other => format!("{other:?}"),
                }
            } else {
                format!("{:?}", area.put_new(&object()).await)
            };
            let word = ["Unknown", "Unavailable", "Conflict", "Replaced", "Created"];
            let word = word.into_iter().find(|word| answer.contains(word)).expect("a known answer");
            let there = memory.get(&key(), 9).await.expect("reads").is_some();
            let next = area.get(&key(), 9).await.map(|got| got.is_some()).map_err(|_| "dead");
            told.push(format!("{word} there={there} next={next:?}"));
        }
        told
    }

    #[tokio::test]
    async fn each_fault_does_and_answers_what_it_says() {
        let table = [
            (Fault::None, ["Created there=true next=Ok(true)", "Replaced there=true next=Ok(true)"]),
            (Fault::NotDone, ["Unknown there=false next=Ok(false)"; 2]),
            (Fault::DoneButReportedFailed, ["Unknown there=true next=Ok(true)"; 2]),
            (Fault::DoneLater { calls: 1 }, ["Unknown there=false next=Ok(true)"; 2]),
            (Fault::DoneLater { calls: 2 }, ["Unknown there=false next=Ok(false)"; 2]),
            (
                Fault::AnswerConflict,
                ["Unknown there=false next=Ok(false)", "Conflict there=false next=Ok(false)"],
            ),
            (Fault::CrashBefore, ["Unavailable there=false next=Err(\"dead\")"; 2]),
            (Fault::CrashAfter, ["Unavailable there=true next=Err(\"dead\")"; 2]),
        ];
        for (fault, expected) in table {
            assert_eq!(first_call(fault).await, expected, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn one_script_rules_both_areas_and_late_writes_settle() {
        let store = Store::memory();
        let faults = Faults::new(|call: &Call<'_>| match (call.area, call.op) {
            ("vault", Op::PutNew) => Fault::DoneLater { calls: 100 },
            ("vault", Op::Read) => Fault::NotDone,
            _ => Fault::None,
        });
        let broken = faults.wrap(&store);
        assert_eq!(broken.public.put_new(&object()).await.expect("puts"), Outcome::Created);
        assert!(matches!(broken.vault.put_new(&object()).await, Err(StoreError::Unknown { .. })));
        assert!(matches!(broken.vault.read(&key(), 9).await, Err(StoreError::Unavailable { .. })));
        assert_eq!(broken.vault.get(&key(), 9).await.expect("reads"), None);
        faults.settle().await;
        assert_eq!(broken.vault.get(&key(), 9).await.expect("reads"), Some(Bytes::from_static(b"x")));
        assert_eq!((faults.calls(), faults.crashed()), (5, false));
    }
}
