//! The inbox: where a process leaves intents whose commit lost the race for head, for the winner to take along.
//!
//! Owns: leaving, taking and removing entries, and waiting for what another process makes of them. Does not own: the
//! decision on an intent, which is the same for everybody's, nor when there is a reason to look here.
//!
//! Invariant: nothing here can fail a batch, and nothing is lost with an entry: who left it still has the intent, and
//! asks for it under the same id when its outcome does not come. An entry that vanishes without an outcome is its
//! owner's again.

mod entry;

use std::collections::BTreeSet;

use bytes::Bytes;
use drystone_schemas::{AccountId, EventId, Sha256Digest, VersionRecord, canonical_json, layout};
use drystone_storage::{Body, Key, Meta, NewObject, Store, StoreError};
use futures_util::future::{join, join_all};

use crate::{Intent, service::Core};

pub(crate) use entry::Entry;
use entry::Unfit;

/// Most entries that one commit takes along.
const GUESTS_MAX: usize = 64;
/// Longest entry, in bytes: names, versions and digests, a few hundred of them.
const ENTRY_BYTES_MAX: u64 = 16 << 10;
/// Longest version record that is read for an entry, in bytes: sixteen times the default limit.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// Another process's intent.
pub(crate) struct Guest {
    pub(crate) intent: Intent,
    /// The garbage collector's number under which its objects were stored.
    pub(crate) fence: u64,
    /// Whose token it was when the entry was left.
    pub(crate) actor: AccountId,
}

/// What a look at an entry found.
enum Look {
    Guest(Guest),
    /// To be removed: nobody can take it along, and its owner asks for itself.
    Void,
    /// To be put aside, with what it holds.
    Bad(Option<Bytes>),
    /// Somebody else's, now or later.
    Leave,
}

/// Leaves entries, in one round. Those that were not stored for certain are as good as left: their owners poll for a
/// while, and then go on without.
pub(crate) async fn leave(store: &Store, entries: &[(EventId, Entry)]) {
    let object = |(id, entry): &(EventId, Entry)| {
        let body = Body::Bytes(canonical_json(entry).into());
        Some(NewObject { key: Key::new(layout::inbox(id)).ok()?, body, meta: Meta::PRIVATE })
    };
    let objects: Vec<NewObject> = entries.iter().filter_map(object).collect();
    // Another process may have been asked for the same, and have left it: one entry is enough.
    for outcome in store.vault.put_round(&objects).await {
        if let Err(error) = outcome {
            tracing::warn!("an intent could not be left in the inbox: {error}");
        }
    }
}

/// Takes others' entries, the oldest ids first; the entries stay where they are until their outcome is known.
///
/// `skip` names those that need no look: this process's own, and those that it is removing.
pub(crate) async fn take(core: &Core, skip: impl Fn(&str) -> bool) -> Vec<Guest> {
    let vault = &*core.store.vault;
    let page = match vault.list(layout::INBOX, None).await {
        Ok(page) => page,
        Err(error) => {
            tracing::warn!("the inbox could not be listed: {error}");
            return Vec::new();
        }
    };
    let names: BTreeSet<String> = page
        .keys
        .iter()
        .filter_map(|key| key.as_str().strip_prefix(layout::INBOX))
        .filter(|name| !skip(name))
        .map(str::to_owned)
        .collect();
    let looks = names.into_iter().take(GUESTS_MAX).map(async |name| {
        let look = look(core, &name).await;
        (name, look)
    });
    let mut guests = Vec::new();
    for (name, look) in join_all(looks).await {
        match look {
            Look::Guest(guest) => guests.push(guest),
            Look::Leave => {}
            Look::Void => remove(&core.store, &[name]).await,
            Look::Bad(bytes) => put_aside(&core.store, name, bytes).await,
        }
    }
    guests
}

async fn look(core: &Core, name: &str) -> Look {
    let Ok(key) = Key::new(format!("{}{name}", layout::INBOX)) else { return Look::Leave };
    let bytes = match core.store.vault.get(&key, ENTRY_BYTES_MAX).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Look::Leave,
        Err(StoreError::TooLong { .. }) => {
            tracing::warn!("`{key}` is longer than any entry");
            return Look::Bad(None);
        }
        Err(error) => {
            tracing::warn!("an entry of the inbox cannot be read now: {error}");
            return Look::Leave;
        }
    };
    let unfit = |unfit: Unfit| match unfit {
        Unfit::Expired => Look::Void,
        Unfit::Newer(_) => Look::Leave,
        Unfit::Bad(detail) => {
            tracing::warn!("`{key}` is no entry: {detail}");
            Look::Bad(Some(bytes.clone()))
        }
    };
    let entry = match Entry::parse(name, &bytes, core.clock.now_unix_s()) {
        Ok(entry) => entry,
        Err(error) => return unfit(error),
    };
    let record = match entry.record() {
        None => None,
        Some((record, tarball)) => match objects(&core.store, record, tarball).await {
            Ok(Some(record)) => Some(record),
            // Its owner has the bytes, and puts them again.
            Ok(None) => return Look::Void,
            Err(error) => {
                tracing::warn!("what an entry of the inbox names cannot be read now: {error}");
                return Look::Leave;
            }
        },
    };
    match entry.intent(record) {
        Ok(intent) => Look::Guest(Guest { intent, fence: entry.fence, actor: entry.actor().clone() }),
        Err(error) => unfit(error),
    }
}

/// The record with this digest, if it and the archive that it was made from are there.
async fn objects(
    store: &Store,
    record: &Sha256Digest,
    tarball: &Sha256Digest,
) -> Result<Option<VersionRecord>, StoreError> {
    let key = |digest| Key::new(layout::object(digest)).map_err(|e| StoreError::Broken(e.to_string()));
    let (record_key, tarball_key) = (key(record)?, key(tarball)?);
    let (bytes, archive) =
        join(store.public.get(&record_key, RECORD_BYTES_MAX), store.public.stat(&tarball_key)).await;
    let bytes = bytes?.filter(|bytes| Sha256Digest::of(bytes) == *record);
    let read: Option<VersionRecord> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let archive = archive?;
    Ok(read.filter(|record| archive.is_some_and(|archive| archive.len == record.size)))
}

/// Removes entries whose outcome is known, or which nobody can take along.
pub(crate) async fn remove(store: &Store, names: &[String]) {
    let keys: Vec<Key> =
        names.iter().filter_map(|name| Key::new(format!("{}{name}", layout::INBOX)).ok()).collect();
    for outcome in store.vault.delete_round(&keys).await {
        if let Err(error) = outcome {
            // Whoever looks next finds its outcome, or that it has expired, and tries again.
            tracing::warn!("an entry of the inbox could not be removed: {error}");
        }
    }
}

/// Moves what is no entry out of the way, for the operator to look at.
async fn put_aside(store: &Store, name: String, bytes: Option<Bytes>) {
    if let (Some(bytes), Ok(key)) = (bytes, Key::new(layout::inbox_bad(&name))) {
        let object = NewObject { key, body: Body::Bytes(bytes), meta: Meta::PRIVATE };
        if let Err(error) = store.vault.put_new(&object).await {
            tracing::warn!("an entry of the inbox could not be put aside: {error}");
            return;
        }
    }
    remove(store, &[name]).await;
}

/// Whether an entry still lies there.
pub(crate) async fn lies_there(store: &Store, id: &EventId) -> Result<bool, StoreError> {
    let Ok(key) = Key::new(layout::inbox(id)) else { return Ok(false) };
    Ok(store.vault.stat(&key).await?.is_some())
}
