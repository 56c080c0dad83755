//! The start-up probe: some stores ignore conditions silently, and a registry on such a store loses data.
//!
//! Owns: the questions. Does not own: when they are asked (once, before a process may write).
//! Invariant: whatever the outcome, the probe's own keys are deleted again as far as the store lets it.

use bytes::Bytes;
use futures_util::future::join_all;

use crate::{Area, Body, Key, Meta, NewObject, Outcome, Replace, StoreError, Tag};

/// Where the probe's keys lie. A process that dies while it probes leaves some there, and nothing ever reads them.
pub const PROBE_FOLDER: &str = "probe/";
/// Concurrent creators in the race.
const RACERS: usize = 8;
/// More than any of the probe's objects has.
const LEN_MAX: u64 = 64;

/// Checks that a store keeps its contract: conditional creation and replacement, reading and listing what was
/// just written, and one winner among eight concurrent creators.
///
/// `nonce` must be new for each call and consist of characters that a [`Key`] may have; the probe uses keys that start
/// with `probe/<nonce>-` and deletes them.
///
/// Errors: [`StoreError::Broken`] names the condition that the store ignores; never write to such a store. Others
/// mean that the store could not be asked; try again.
pub async fn probe(area: &dyn Area, nonce: &str) -> Result<(), StoreError> {
    let keys = Keys::new(nonce)?;
    let found = check(area, &keys).await;
    let cleaned = clean(area, &keys).await;
    found.and(cleaned)
}

/// The probe's keys.
struct Keys {
    prefix: String,
    object: Key,
    pointer: Key,
    missing: Key,
    raced: Key,
}

impl Keys {
    fn new(nonce: &str) -> Result<Self, StoreError> {
        // Flat names: on disk a directory for each probe would stay behind.
        let prefix = format!("{PROBE_FOLDER}{nonce}-");
        let key = |name: &str| {
            let refused = |e: crate::InvalidKey| StoreError::Refused {
                op: "probe",
                key: prefix.clone(),
                detail: e.to_string(),
            };
            Key::new(format!("{prefix}{name}")).map_err(refused)
        };
        let (object, pointer, missing, raced) =
            (key("object")?, key("pointer")?, key("missing")?, key("raced")?);
        Ok(Self { prefix, object, pointer, missing, raced })
    }
}

fn broken(fact: impl Into<String>) -> StoreError {
    StoreError::Broken(fact.into())
}

fn ensure(holds: bool, fact: &str) -> Result<(), StoreError> {
    if holds { Ok(()) } else { Err(broken(fact)) }
}

fn object(key: &Key, bytes: impl Into<Bytes>) -> NewObject {
    NewObject { key: key.clone(), body: Body::Bytes(bytes.into()), meta: Meta::PRIVATE }
}

async fn check(area: &dyn Area, keys: &Keys) -> Result<(), StoreError> {
    creation(area, keys).await?;
    replacement(area, keys).await?;
    race(area, keys).await
}

async fn creation(area: &dyn Area, keys: &Keys) -> Result<(), StoreError> {
    let first = area.put_new(&object(&keys.object, "first")).await?;
    ensure(first == Outcome::Created, "creating an absent object does not say `created`")?;
    let other = area.put_new(&object(&keys.object, "other")).await?;
    ensure(other != Outcome::Created, "ignores `If-None-Match: *`: an object was created over another")?;
    ensure(other == Outcome::AlreadyThereDifferent, "takes other bytes for the same")?;
    let again = area.put_new(&object(&keys.object, "first")).await?;
    ensure(again == Outcome::AlreadyThereSame, "takes the same bytes for others")?;
    let read = area.get(&keys.object, LEN_MAX).await?;
    ensure(read.as_deref() == Some(b"first"), "an object does not read back as it was just written")?;
    let mut after: Option<String> = None;
    loop {
        let page = area.list(&keys.prefix, after.as_deref()).await?;
        if page.keys.contains(&keys.object) {
            return Ok(());
        }
        after = page.next;
        ensure(after.is_some(), "an object that was just written is not listed")?;
    }
}

async fn replacement(area: &dyn Area, keys: &Keys) -> Result<(), StoreError> {
    let key = &keys.pointer;
    let first = swap(area, key, None, "1").await?;
    let first = first.ok_or_else(|| broken("refuses to create an absent pointer"))?;
    let over = swap(area, key, None, "2").await?;
    ensure(over.is_none(), "ignores `If-None-Match: *`: a pointer was created over another")?;
    let second = swap(area, key, Some(&first), "2").await?;
    let second = second.ok_or_else(|| broken("refuses `If-Match` with the current tag"))?;
    ensure(second != first, "gives other bytes the same tag")?;
    let stale = swap(area, key, Some(&first), "3").await?;
    ensure(stale.is_none(), "ignores `If-Match`: a stale tag was accepted")?;
    let read =
        area.read(key, LEN_MAX).await?.ok_or_else(|| broken("a pointer that was just written is absent"))?;
    ensure(read.bytes == "2", "a pointer does not read back as it was just written")?;
    ensure(read.tag == second, "reading a pointer gives another tag than writing it gave")?;
    let created = swap(area, &keys.missing, Some(&first), "1").await?;
    let absent = area.read(&keys.missing, LEN_MAX).await?.is_none();
    ensure(created.is_none() && absent, "ignores `If-Match` on a missing key: it was created")
}

/// `None` for a conflict. An unknown outcome decides nothing, so the probe must be run again.
async fn swap(
    area: &dyn Area,
    key: &Key,
    seen: Option<&Tag>,
    bytes: &'static str,
) -> Result<Option<Tag>, StoreError> {
    match area.replace(key, seen, Bytes::from_static(bytes.as_bytes()), Meta::PRIVATE).await? {
        Replace::Replaced(tag) => Ok(Some(tag)),
        Replace::Conflict => Ok(None),
        Replace::Unknown(detail) => Err(StoreError::Unknown { op: "probe", key: key.to_string(), detail }),
    }
}

async fn race(area: &dyn Area, keys: &Keys) -> Result<(), StoreError> {
    let bodies: Vec<NewObject> =
        (0..RACERS).map(|racer| object(&keys.raced, format!("racer {racer}"))).collect();
    let outcomes = join_all(bodies.iter().map(|body| area.put_new(body))).await;
    let mut winners = Vec::new();
    for (racer, outcome) in outcomes.into_iter().enumerate() {
        match outcome? {
            // All bodies differ, so "the same" is the racer's own, whose first answer was lost.
            Outcome::Created | Outcome::AlreadyThereSame => winners.push(format!("racer {racer}")),
            Outcome::AlreadyThereDifferent => {}
        }
    }
    let [winner] = winners.as_slice() else {
        return Err(broken(format!("{} of {RACERS} concurrent creators of one object won", winners.len())));
    };
    let read = area.get(&keys.raced, LEN_MAX).await?;
    ensure(read.as_deref() == Some(winner.as_bytes()), "the winner of a race is not what is stored")
}

async fn clean(area: &dyn Area, keys: &Keys) -> Result<(), StoreError> {
    let all = [&keys.object, &keys.pointer, &keys.missing, &keys.raced];
    for outcome in join_all(all.map(|key| area.delete(key))).await {
        outcome?;
    }
    let left = area.get(&keys.object, LEN_MAX).await?;
    ensure(left.is_none(), "a deleted object can still be read")
}

#[cfg(test)]
mod tests;
