//! The probe against stores that are broken in one way each.

use std::ops::Range;

use async_trait::async_trait;

use super::*;
use crate::{MemoryArea, ObjectReader, Objects, Page, Pointers, PresignedPut, Stat, Versioned};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    CreateOverwrites,
    CreateCallsAllSame,
    CreateCallsAllDifferent,
    ReadsAreStale,
    ListsNothing,
    AbsentIgnored,
    StaleTagAccepted,
    RightTagRefused,
    MissingKeyCreated,
    TagsAreConstant,
    ReadGivesOtherTag,
    RaceHasManyWinners,
    RaceHasNoWinner,
    DeleteIgnored,
    OutcomesUnknown,
}

/// A memory area with one defect.
struct Broken {
    inner: MemoryArea,
    defect: Defect,
}

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    async fn overwrite(&self, key: &Key, bytes: Bytes) -> Result<Replace, StoreError> {
        self.inner.delete(key).await?;
        self.inner.replace(key, None, bytes, Meta::PRIVATE).await
    }
}

#[async_trait]
impl Objects for Broken {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        let raced = object.key.as_str().ends_with("-raced");
        if self.is(Defect::CreateOverwrites) || raced && self.is(Defect::RaceHasManyWinners) {
            self.inner.delete(&object.key).await?;
        }
        let outcome = self.inner.put_new(object).await?;
        Ok(match (self.defect, outcome) {
            (Defect::RaceHasNoWinner, _) if raced => Outcome::AlreadyThereDifferent,
            (_, Outcome::Created) => Outcome::Created,
            (Defect::CreateCallsAllSame, _) => Outcome::AlreadyThereSame,
            (Defect::CreateCallsAllDifferent, _) => Outcome::AlreadyThereDifferent,
            (_, outcome) => outcome,
        })
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        if self.is(Defect::ReadsAreStale) { Ok(None) } else { self.inner.get(key, len_max).await }
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        self.inner.open(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.inner.stat(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        if self.is(Defect::ListsNothing) { Ok(Page::default()) } else { self.inner.list(prefix, after).await }
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        if self.is(Defect::DeleteIgnored) { Ok(()) } else { self.inner.delete(key).await }
    }

    async fn presign_put(
        &self,
        _: &Key,
        _: &str,
        _: u64,
        _: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Pointers for Broken {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        let mut read = self.inner.read(key, len_max).await?;
        if let (Defect::ReadGivesOtherTag | Defect::TagsAreConstant, Some(read)) = (self.defect, &mut read) {
            read.tag = Tag("constant".to_owned());
        }
        Ok(read)
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        let there = self.inner.stat(key).await?.is_some();
        match (self.defect, seen) {
            (Defect::OutcomesUnknown, _) => return Ok(Replace::Unknown("time-out".to_owned())),
            (Defect::AbsentIgnored, None) => return self.overwrite(key, bytes).await,
            (Defect::StaleTagAccepted, Some(_)) if there => return self.overwrite(key, bytes).await,
            (Defect::MissingKeyCreated, Some(_)) if !there => return self.overwrite(key, bytes).await,
            (Defect::RightTagRefused, Some(_)) => return Ok(Replace::Conflict),
            (Defect::TagsAreConstant, Some(_)) => {
                self.overwrite(key, bytes).await?;
                return Ok(Replace::Replaced(Tag("constant".to_owned())));
            }
            _ => {}
        }
        let replaced = self.inner.replace(key, seen, bytes, meta).await?;
        Ok(match replaced {
            Replace::Replaced(_) if self.is(Defect::TagsAreConstant) => {
                Replace::Replaced(Tag("constant".to_owned()))
            }
            replaced => replaced,
        })
    }
}

#[tokio::test]
async fn names_the_broken_condition() {
    let table = [
        (Defect::CreateOverwrites, "ignores `If-None-Match: *`: an object was created over another"),
        (Defect::CreateCallsAllSame, "takes other bytes for the same"),
        (Defect::CreateCallsAllDifferent, "takes the same bytes for others"),
        (Defect::ReadsAreStale, "an object does not read back as it was just written"),
        (Defect::ListsNothing, "an object that was just written is not listed"),
        (Defect::AbsentIgnored, "ignores `If-None-Match: *`: a pointer was created over another"),
        (Defect::StaleTagAccepted, "ignores `If-Match`: a stale tag was accepted"),
        (Defect::RightTagRefused, "refuses `If-Match` with the current tag"),
        (Defect::MissingKeyCreated, "ignores `If-Match` on a missing key: it was created"),
        (Defect::TagsAreConstant, "gives other bytes the same tag"),
        (Defect::ReadGivesOtherTag, "reading a pointer gives another tag than writing it gave"),
        (Defect::RaceHasManyWinners, "8 of 8 concurrent creators of one object won"),
        (Defect::RaceHasNoWinner, "0 of 8 concurrent creators of one object won"),
        (Defect::DeleteIgnored, "a deleted object can still be read"),
    ];
    for (defect, expected) in table {
        let area = Broken { inner: MemoryArea::new(), defect };
        match probe(&area, "n1").await {
            Err(StoreError::Broken(fact)) => assert_eq!(fact, expected, "{defect:?}"),
            other => panic!("{defect:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_not_called_broken() {
    let area = Broken { inner: MemoryArea::new(), defect: Defect::OutcomesUnknown };
    assert!(matches!(probe(&area, "n1").await, Err(StoreError::Unknown { .. })));
}

#[tokio::test]
async fn a_good_store_passes_and_is_left_clean() {
    let area = MemoryArea::new();
    probe(&area, "n1").await.expect("memory keeps the contract");
    assert_eq!(area.list("", None).await.expect("lists").keys, []);
}

#[tokio::test]
async fn a_nonce_that_is_no_key_is_refused() {
    assert!(matches!(probe(&MemoryArea::new(), "a b").await, Err(StoreError::Refused { .. })));
}
