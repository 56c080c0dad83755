//! Private records that change: replaced by compare-and-swap until it is known what became of the change.
//!
//! Owns: the loop, and how a write is found again whose outcome nobody told. Does not own: what a record says.
//! Invariant: no change is lost, and none is made twice. A record names the last writes that made it what it is; whoever
//! does not know whether a write happened reads the record and looks for it.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    time::Duration,
};

use drystone_schemas::canonical_json;
use drystone_storage::{Key, Meta, Replace, new_ulid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Refusal, service::Core, vault::RECORD_BYTES_MAX};

/// How many writes a record names.
const WRITES_MAX: usize = 16;
/// How often a record is read again. Between processes each time somebody else has won; inside one they wait in turn.
const TRIES_MAX: u32 = 60;
/// Most by which one wait is longer than the first.
const PAUSE_DOUBLINGS_MAX: u32 = 5;
/// The first wait after a lost race.
const PAUSE: Duration = Duration::from_millis(4);
/// How many records can be changed at once by one process, at most.
const TURNS: usize = 64;

/// A record and the writes that made it what it is, the newest last.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    #[serde(default)]
    writes: Vec<String>,
    #[serde(flatten)]
    record: T,
}

/// What becomes of a record.
pub(crate) enum Change<T, R> {
    /// It is replaced; then this is the answer.
    Write(T, R),
    /// It stays.
    Leave(R),
}

/// Turns: those who change one record in one process wait for each other instead of racing.
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    async fn take(&self, key: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.0[hasher.finish() as usize % TURNS].lock().await
    }
}

/// Reads a record.
pub(crate) async fn look<T: DeserializeOwned>(core: &Core, key: String) -> Result<Option<T>, Refusal> {
    let written: Option<Written<T>> = crate::vault::read(&*core.store.vault, key).await?;
    Ok(written.map(|written| written.record))
}

/// Changes a record, as it is when the change takes place.
///
/// `change` is asked again whenever somebody else was faster. A refusal of its own leaves the record.
pub(crate) async fn update<T, R>(
    core: &Core,
    key: String,
    mut change: impl FnMut(Option<T>) -> Result<Change<T, R>, Refusal>,
) -> Result<R, Refusal>
where
    T: Serialize + DeserializeOwned,
{
    let _turn = core.turns.take(&key).await;
    let key = Key::new(key).map_err(Refusal::internal)?;
    let vault = &*core.store.vault;
    // The write whose outcome is not known, and what follows if it happened.
    let mut open: Option<(String, R)> = None;
    for tried in 0..TRIES_MAX {
        if tried > 0 {
            let pause = PAUSE * 2_u32.pow((tried - 1).min(PAUSE_DOUBLINGS_MAX));
            core.clock.sleep(core.jitter(pause)).await;
        }
        let there = vault.read(&key, RECORD_BYTES_MAX).await?;
        let tag = there.as_ref().map(|file| file.tag.clone());
        let parsed = there.map(|file| serde_json::from_slice::<Written<T>>(&file.bytes)).transpose();
        let parsed = parsed.map_err(|e| Refusal::internal(format!("`{key}` does not parse: {e}")))?;
        let (mut writes, record) =
            parsed.map_or((Vec::new(), None), |written| (written.writes, Some(written.record)));
        let write = match open.take() {
            Some((write, answer)) if writes.contains(&write) => return Ok(answer),
            // It may still arrive. Under the same name it is found whichever of the two does.
            Some((write, _)) => write,
            None => new_ulid(&*core.clock, &*core.entropy),
        };
        let (record, answer) = match change(record)? {
            Change::Leave(answer) => return Ok(answer),
            Change::Write(record, answer) => (record, answer),
        };
        writes.push(write.clone());
        writes.drain(..writes.len().saturating_sub(WRITES_MAX));
        let bytes = canonical_json(&Written { writes, record });
        match vault.replace(&key, tag.as_ref(), bytes.into(), Meta::PRIVATE).await? {
            Replace::Replaced(_) => return Ok(answer),
            Replace::Conflict => {}
            Replace::Unknown(_) => open = Some((write, answer)),
        }
    }
    Err(Refusal::outcome_unknown(format!("`{key}` is changed by too many at once")))
}
