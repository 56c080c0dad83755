//! Storage calls as data, and what they do to the memory behind the scheduler.

use bytes::Bytes;
use drystone_storage::{
    Area, Body, Key, MemoryArea, Meta, NewObject, Objects, Op, Outcome, Pointers, Replace, StoreError, Tag,
};
use futures_util::FutureExt;

use super::broken::{Broken, without_doomed};

/// A process. Number 0 stands for what lies outside all of them: clients, readers, and writes that are under way.
pub type Pid = u32;

/// One of the two areas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The public area.
    Public,
    /// The vault.
    Vault,
}

/// A call that waits to be let through.
#[derive(Debug)]
pub struct Call<'a> {
    /// Who makes it.
    pub pid: Pid,
    /// How many calls this process made before.
    pub nth: u64,
    /// How many calls of all processes were let through before.
    pub step: u64,
    /// The area.
    pub place: Place,
    /// Which call; none if somebody merely waits for a turn.
    pub op: Option<Op>,
    /// Its key, or what is waited for.
    pub key: &'a str,
    /// The bytes that it would write, if it replaces a file.
    pub bytes: Option<&'a Bytes>,
    /// It is a write whose caller has been told, or is beyond being told, how it ends.
    pub late: bool,
}

/// What becomes of a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet, unless nothing else can go on.
    Wait,
    /// It ends so.
    Let(Fault),
}

/// How a call ends. All of these are within the contract of the storage, and what real stores answer: 5xx and 429 before
/// anything was done, 409, time-outs and resets before or after it was done, and requests that arrive when their sender
/// has given up. A 412 (`Conflict`) that follows on one's own success needs no fault: it is what a repetition gets.
/// A read is never told that something is missing which is there: every store that is supported is consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// As it should.
    None,
    /// Not done, and the caller is told for certain. A read is unavailable.
    Failed,
    /// Not done, and the caller is told that the outcome is unknown. A read is unavailable.
    NotDone,
    /// Done, and the caller is told that the outcome is unknown. A read is unavailable.
    DoneButUnknown,
    /// The caller is told that the outcome is unknown; it is done at some later time. A read is unavailable.
    DoneLater,
    /// The process dies before the call.
    CrashBefore,
    /// The process dies after the call, before it learns of it.
    CrashAfter,
}

impl Fault {
    /// Its name in a tally.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::Failed => "failed",
            Self::NotDone => "unknown and not done",
            Self::DoneButUnknown => "unknown and done",
            Self::DoneLater => "unknown and done later",
            Self::CrashBefore => "crash before a call",
            Self::CrashAfter => "crash after a call",
        }
    }
}

/// A write.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Put(NewObject),
    Delete(Key),
    Replace { key: Key, seen: Option<Tag>, bytes: Bytes, meta: Meta },
}

/// How a write was answered.
#[derive(Debug)]
pub(super) enum WriteReply {
    Put(Result<Outcome, StoreError>),
    Delete(Result<(), StoreError>),
    Replace(Result<Replace, StoreError>),
}

/// What a write changed.
pub(super) struct Changed {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) before: Option<Bytes>,
    pub(super) after: Option<Bytes>,
}

impl Write {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Put(object) => &object.key,
            Self::Delete(key) | Self::Replace { key, .. } => key,
        }
    }

    pub(super) fn op(&self) -> Op {
        match self {
            Self::Put(_) => Op::PutNew,
            Self::Delete(_) => Op::Delete,
            Self::Replace { .. } => Op::Replace,
        }
    }

    pub(super) fn bytes(&self) -> Option<&Bytes> {
        if let Self::Replace { bytes, .. } = self { Some(bytes) } else { None }
    }

    /// The answer that leaves its outcome open.
    pub(super) fn unknown(&self) -> WriteReply {
        let error = || StoreError::Unknown {
            op: self.op().as_str(),
            key: self.key().to_string(),
            detail: "simulated".into(),
        };
        match self {
            Self::Put(_) => WriteReply::Put(Err(error())),
            Self::Delete(_) => WriteReply::Delete(Err(error())),
            Self::Replace { .. } => WriteReply::Replace(Ok(Replace::Unknown("simulated".into()))),
        }
    }

    /// The answer that it failed for certain.
    pub(super) fn failed(&self) -> WriteReply {
        let error = unavailable(self.op(), self.key().as_str());
        match self {
            Self::Put(_) => WriteReply::Put(Err(error)),
            Self::Delete(_) => WriteReply::Delete(Err(error)),
            Self::Replace { .. } => WriteReply::Replace(Err(error)),
        }
    }
}

pub(super) fn unavailable(op: Op, key: &str) -> StoreError {
    StoreError::Unavailable { op: op.as_str(), key: key.to_owned(), detail: "simulated".into() }
}

/// The two areas behind the scheduler.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) public: MemoryArea,
    pub(super) vault: MemoryArea,
}

/// The answer of a call on memory, which never waits.
pub(super) fn at_once<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("memory answers at once")
}

impl Memory {
    pub(super) fn area(&self, place: Place) -> &MemoryArea {
        match place {
            Place::Public => &self.public,
            Place::Vault => &self.vault,
        }
    }

    pub(super) fn bytes(&self, place: Place, key: &str) -> Option<Bytes> {
        let key = Key::new(key).expect("a key of a test is a key");
        at_once(self.area(place).get(&key, u64::MAX)).expect("memory reads")
    }

    /// The answer to a write that is acknowledged and not done, or not yet.
    pub(super) fn acknowledged(write: &Write) -> WriteReply {
        match write {
            Write::Put(_) => WriteReply::Put(Ok(Outcome::Created)),
            Write::Delete(_) => WriteReply::Delete(Ok(())),
            Write::Replace { bytes, .. } => WriteReply::Replace(Ok(Replace::Replaced(tag_of(bytes)))),
        }
    }

    /// Does a write, as a store does that is broken so.
    pub(super) fn apply(&self, place: Place, write: &Write, broken: Broken) -> (WriteReply, Option<Changed>) {
        let area = self.area(place);
        let key = write.key().as_str();
        let changed = |before, after| Some(Changed { place, key: key.to_owned(), before, after });
        match write {
            Write::Put(object) => {
                let mut outcome = at_once(area.put_new(object));
                let Body::Bytes(bytes) = &object.body else { panic!("a simulated upload stays in memory") };
                let created = matches!(outcome, Ok(Outcome::Created));
                let different = matches!(outcome, Ok(Outcome::AlreadyThereDifferent));
                let before = if different { self.bytes(place, key) } else { None };
                let change = if created || different { changed(before, Some(bytes.clone())) } else { None };
                if different && broken == Broken::DifferentTakenForSame {
                    outcome = Ok(Outcome::AlreadyThereSame);
                }
                (WriteReply::Put(outcome), change)
            }
            Write::Delete(key) => {
                let before = self.bytes(place, key.as_str());
                (WriteReply::Delete(at_once(area.delete(key))), changed(before, None))
            }
            Write::Replace { key: parsed, seen, bytes, meta } => {
                let before = self.bytes(place, key);
                let unconditional = broken.unconditional(place, key);
                let tag = if unconditional { before.as_ref().map(tag_of) } else { seen.clone() };
                let bytes = &if broken == Broken::DoomedNotShown && key == "head" {
                    without_doomed(bytes)
                } else {
                    bytes.clone()
                };
                let answer = at_once(area.replace(parsed, tag.as_ref(), bytes.clone(), *meta));
                let change = if matches!(answer, Ok(Replace::Replaced(_))) {
                    changed(before, Some(bytes.clone()))
                } else {
                    None
                };
                (WriteReply::Replace(answer), change)
            }
        }
    }

    /// Whether a copy of a public file lies in the trash.
    pub(super) fn in_trash(&self, key: &str) -> bool {
        let page = at_once(self.vault.list("trash/", None)).expect("memory lists");
        let end = format!("/public/{key}");
        page.keys.iter().any(|trashed| trashed.as_str().ends_with(&end))
    }
}

/// The tag that memory gives these bytes.
fn tag_of(bytes: &Bytes) -> Tag {
    let area = MemoryArea::new();
    let key = Key::new("tag").expect("a key");
    match at_once(area.replace(&key, None, bytes.clone(), Meta::PRIVATE)) {
        Ok(Replace::Replaced(tag)) => tag,
        other => panic!("an empty memory takes a file: {other:?}"),
    }
}

/// Every file of both areas, put into an empty memory.
pub(super) fn fill(area: &dyn Area, files: &std::collections::BTreeMap<String, Bytes>) {
    for (key, bytes) in files {
        let key = Key::new(key.clone()).expect("what was a key is a key");
        let object = NewObject { key, body: Body::Bytes(bytes.clone()), meta: Meta::PRIVATE };
        at_once(area.put_new(&object)).expect("memory takes a file");
    }
}
