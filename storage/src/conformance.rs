//! One suite that every backend passes: the contract as cases that run.
//!
//! Owns: what is asked of a backend. Does not own: how the backend was opened, nor the test harness; each case
//! returns what it found wrong as text. Operators can run it against a store of their own as well.
//! Invariant: all keys lie below the suite's own prefix, and are deleted when a run ends well.

mod objects;
mod pointers;
mod races;

use std::{fmt::Debug, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::BoxFuture};

use crate::{Area, Body, Key, Meta, NewObject, Replace, Tag};

/// What a case found wrong.
pub type Finding = Result<(), String>;

/// A backend to ask, and how hard.
#[derive(Clone)]
pub struct Suite {
    /// The area.
    pub area: Arc<dyn Area>,
    /// Key prefix without a `/` at the end, new for each run.
    pub prefix: String,
    /// A directory for files to upload from.
    pub scratch: PathBuf,
    /// How often each of eight writers increments the raced counter. Some stores take a second for each lost race.
    pub increments: u32,
}

/// A case: its name, and what runs it.
type Case = (&'static str, fn(&Suite) -> BoxFuture<'_, Finding>);

const CASES: &[Case] = &[
    ("create twice with the same and with other bytes", |suite| Box::pin(objects::create_twice(suite))),
    ("create in a round", |suite| Box::pin(objects::create_round(suite))),
    ("missing objects", |suite| Box::pin(objects::missing(suite))),
    ("ranges", |suite| Box::pin(objects::ranges(suite))),
    ("reading more than the limit", |suite| Box::pin(objects::too_long(suite))),
    ("an empty object", |suite| Box::pin(objects::empty(suite))),
    ("a big object from a file", |suite| Box::pin(objects::big(suite))),
    ("a body file that is not as announced", |suite| Box::pin(objects::wrong_length(suite))),
    ("listing is complete", |suite| Box::pin(objects::list_is_complete(suite))),
    ("deleting", |suite| Box::pin(objects::delete(suite))),
    ("replace what was seen", |suite| Box::pin(pointers::replace_seen(suite))),
    ("replace what was not seen", |suite| Box::pin(pointers::replace_unseen(suite))),
    ("replace in a round", |suite| Box::pin(pointers::replace_round(suite))),
    ("eight creators, one winner", |suite| Box::pin(races::create(suite))),
    ("eight writers lose no update", |suite| Box::pin(races::counter(suite))),
    ("the start-up probe", |suite| Box::pin(pointers::probe(suite))),
];

impl Suite {
    /// Runs all cases, one after the other, and cleans up behind those that pass.
    ///
    /// Errors: one line for each case that failed.
    pub async fn run(&self) -> Result<(), String> {
        let mut failed = Vec::new();
        for (name, case) in CASES {
            if let Err(found) = case(self).await {
                failed.push(format!("{name}: {found}"));
            }
        }
        if failed.is_empty() { self.clean().await } else { Err(failed.join("\n")) }
    }

    fn key(&self, name: &str) -> Result<Key, String> {
        Key::new(format!("{}/{name}", self.prefix)).map_err(text)
    }

    fn object(&self, name: &str, bytes: impl Into<Bytes>) -> Result<NewObject, String> {
        Ok(NewObject { key: self.key(name)?, body: Body::Bytes(bytes.into()), meta: Meta::PRIVATE })
    }

    /// Reads a stream to its end.
    async fn open(
        &self,
        key: &Key,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<(u64, Bytes)>, String> {
        let Some(reader) = self.area.open(key, range).await.map_err(text)? else { return Ok(None) };
        let bytes: bytes::BytesMut = reader.stream.try_collect().await.map_err(text)?;
        Ok(Some((reader.len, bytes.freeze())))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, String> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.area.list(prefix, after.as_deref()).await.map_err(text)?;
            holds(page.keys.len() <= crate::PAGE_KEYS_MAX, "a page has more than 1,000 keys")?;
            keys.extend(page.keys);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(keys),
            }
        }
    }

    /// Replaces; `None` for a conflict.
    async fn swap(&self, key: &Key, seen: Option<&Tag>, bytes: &str) -> Result<Option<Tag>, String> {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        match self.area.replace(key, seen, bytes, Meta::PRIVATE).await.map_err(text)? {
            Replace::Replaced(tag) => Ok(Some(tag)),
            Replace::Conflict => Ok(None),
            Replace::Unknown(detail) => Err(format!("a calm replace is unknown: {detail}")),
        }
    }

    async fn clean(&self) -> Finding {
        let keys = self.list(&format!("{}/", self.prefix)).await?;
        let deletes = keys.iter().map(|key| self.area.delete(key));
        futures_util::stream::iter(deletes)
            .buffer_unordered(16)
            .try_collect::<Vec<()>>()
            .await
            .map_err(text)?;
        same("keys left", &self.list(&format!("{}/", self.prefix)).await?, &Vec::new())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`, which gives errors away")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

fn holds(holds: bool, fact: &str) -> Finding {
    if holds { Ok(()) } else { Err(fact.to_owned()) }
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Finding {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}
