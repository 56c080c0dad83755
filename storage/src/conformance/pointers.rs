//! Cases about pointers.

use bytes::Bytes;

use super::{Finding, Suite, holds, same, text};
use crate::{Meta, Replace, Tag};

pub(super) async fn replace_seen(suite: &Suite) -> Finding {
    let key = suite.key("pointer/seen")?;
    let mut seen: Option<Tag> = None;
    for bytes in ["one", "two", "a longer third", "4"] {
        let tag = suite.swap(&key, seen.as_ref(), bytes).await?.ok_or("a right tag is refused")?;
        let read = suite.area.read(&key, 100).await.map_err(text)?.ok_or("not there")?;
        same("bytes", &read.bytes, &Bytes::from_static(bytes.as_bytes()))?;
        same("tags of read and replace", &read.tag, &tag)?;
        holds(seen.as_ref() != Some(&tag), "the tag did not change with the bytes")?;
        seen = Some(tag);
    }
    Ok(())
}

pub(super) async fn replace_unseen(suite: &Suite) -> Finding {
    let key = suite.key("pointer/unseen")?;
    let first = suite.swap(&key, None, "1").await?.ok_or("creating is refused")?;
    same("created over another", &suite.swap(&key, None, "x").await?, &None)?;
    let second = suite.swap(&key, Some(&first), "2").await?.ok_or("a right tag is refused")?;
    same("a lost update", &suite.swap(&key, Some(&first), "x").await?, &None)?;
    let read = suite.area.read(&key, 100).await.map_err(text)?.ok_or("not there")?;
    same("bytes after conflicts", &read.bytes, &Bytes::from_static(b"2"))?;

    let missing = suite.key("pointer/never/made")?;
    same("a tag on a missing key", &suite.swap(&missing, Some(&second), "x").await?, &None)?;
    holds(suite.area.read(&missing, 100).await.map_err(text)?.is_none(), "a conflict has created a pointer")?;

    suite.area.delete(&key).await.map_err(text)?;
    same("a tag on a deleted key", &suite.swap(&key, Some(&second), "x").await?, &None)?;
    holds(suite.swap(&key, None, "3").await?.is_some(), "a deleted pointer cannot be made again")
}

pub(super) async fn replace_round(suite: &Suite) -> Finding {
    let key = |number: usize| suite.key(&format!("pointer/round/{}/{number}", number % 3));
    let mut tags = Vec::new();
    for number in 0..12 {
        tags.push(suite.swap(&key(number)?, None, "old").await?);
    }
    // Every third is stale, and there is one to create.
    let mut swaps = Vec::new();
    for (number, tag) in tags.into_iter().enumerate() {
        let seen = if number % 3 == 0 { Some(Tag("stale".to_owned())) } else { tag };
        swaps.push((key(number)?, seen, Bytes::from(format!("new {number}")), Meta::PRIVATE));
    }
    swaps.push((suite.key("pointer/round/new")?, None, Bytes::from_static(b"new"), Meta::PRIVATE));
    let answers = suite.area.replace_round(swaps).await;
    same("answers", &answers.len(), &13)?;
    for (number, answer) in answers.into_iter().enumerate() {
        let stale = number % 3 == 0 && number < 12;
        match answer.map_err(text)? {
            Replace::Conflict if stale => {}
            Replace::Replaced(tag) if !stale => {
                let key = if number < 12 { key(number)? } else { suite.key("pointer/round/new")? };
                let read = suite.area.read(&key, 100).await.map_err(text)?.ok_or("not there")?;
                same("tag", &read.tag, &tag)?;
            }
            other => return Err(format!("swap {number}: {other:?}")),
        }
    }
    let stale = suite.area.read(&key(3)?, 100).await.map_err(text)?.ok_or("not there")?;
    same("bytes of a conflict", &stale.bytes, &Bytes::from_static(b"old"))?;
    same("an empty round", &suite.area.replace_round(Vec::new()).await.len(), &0)
}

pub(super) async fn probe(suite: &Suite) -> Finding {
    let nonce = suite.prefix.replace('/', "-");
    crate::probe(&*suite.area, &nonce).await.map_err(text)?;
    same("keys left by the probe", &suite.list(&format!("probe/{nonce}")).await?, &Vec::new())
}
