//! Applying a commit: executing its staging list, by whoever finds it.

use std::collections::HashMap;

use bytes::Bytes;
use drystone_schemas::{
    file_seq,
    layout::{self, CacheClass},
};
use drystone_storage::{Area, Body, Key, Meta, NewObject, Outcome, Replace, Store, StoreError, Tag};
use futures_util::future::{join, join4, try_join_all};

use super::{CommitError, Op, OpKind, Staging};

/// How often a by-name file is read again before its writer gives up; each time somebody else has won.
const REPLACE_TRIES_MAX: usize = 16;
/// Longest by-name file, in bytes: four times the longest index file known.
pub(super) const BY_NAME_BYTES_MAX: u64 = 64 << 20;

/// Room for the files that publish a commit, in bytes: checkpoint, proof and history.
const PUBLISHED_BYTES: [u64; 3] = [8 << 10; 3];

/// Tags of by-name files as the planner saw them, so that the normal path need not read them again.
pub(super) type Hints = HashMap<String, Option<Tag>>;

/// HTTP metadata of a public key.
pub(super) fn meta_of(key: &str) -> Meta {
    let (class, content_type) = layout::headers(key);
    Meta { content_type, cache_control: class.cache_control() }
}

/// HTTP metadata of an object below `o/` that is JSON.
pub(super) fn json_object_meta() -> Meta {
    Meta { content_type: layout::JSON, cache_control: CacheClass::Immutable.cache_control() }
}

/// HTTP metadata of an object below `o/` that is an index file.
pub(super) fn text_object_meta() -> Meta {
    Meta { content_type: layout::TEXT, cache_control: CacheClass::Immutable.cache_control() }
}

/// Executes every operation of a staging list, in one round. Idempotent; any number of helpers may do it at once.
pub(super) async fn apply(store: &Store, staging: &Staging, hints: &Hints) -> Result<(), CommitError> {
    let puts = |kind: OpKind, meta: fn(&str) -> Meta| -> Result<Vec<NewObject>, CommitError> {
        let ops = staging.ops.iter().filter(|op| op.kind == kind);
        ops.map(|op| new_object(op.key.clone(), op.bytes.clone(), meta(&op.key))).collect()
    };
    let public = puts(OpKind::PutPublic, meta_of)?;
    let vault = puts(OpKind::PutVault, |_| Meta::PRIVATE)?;
    let (mut public_files, mut vault_files) = (Vec::new(), Vec::new());
    for op in &staging.ops {
        match op.kind {
            OpKind::ReplacePublic { seq } => public_files.push((op, seq, meta_of(&op.key))),
            OpKind::ReplaceVault { seq } => vault_files.push((op, seq, Meta::PRIVATE)),
            OpKind::PutPublic | OpKind::PutVault => {}
        }
    }
    let (put_public, put_vault, replaced_public, replaced_vault) = join4(
        put_all(&*store.public, &public),
        put_all(&*store.vault, &vault),
        replace_all(&*store.public, public_files, hints),
        replace_all(&*store.vault, vault_files, hints),
    )
    .await;
    put_public.and(put_vault).and(replaced_public).and(replaced_vault)
}

/// Makes sure that what follows the commit point will find room: head, what is applied, and what is published.
pub(super) async fn reserve(store: &Store, staging: &Staging, head: &Bytes) -> Result<(), CommitError> {
    let (mut public, mut vault) = (PUBLISHED_BYTES.to_vec(), vec![head.len() as u64]);
    for op in &staging.ops {
        let area = match op.kind {
            OpKind::PutPublic | OpKind::ReplacePublic { .. } => &mut public,
            OpKind::PutVault | OpKind::ReplaceVault { .. } => &mut vault,
        };
        area.push(op.bytes.len() as u64);
    }
    let (public, vault) = join(store.public.reserve(&public), store.vault.reserve(&vault)).await;
    Ok(public.and(vault)?)
}

pub(super) fn new_object(key: String, bytes: impl Into<Bytes>, meta: Meta) -> Result<NewObject, CommitError> {
    Ok(NewObject { key: Key::new(key)?, body: Body::Bytes(bytes.into()), meta })
}

/// Puts objects in one round, and those whose outcome is unknown a second and third time.
///
/// An object that is there with other bytes is fatal: every key here is a hash or a position in the log.
pub async fn put_all(area: &dyn Area, objects: &[NewObject]) -> Result<(), CommitError> {
    let mut open: Vec<NewObject> = objects.to_vec();
    for last_try in [false, false, true] {
        if open.is_empty() {
            return Ok(());
        }
        let outcomes = area.put_round(&open).await;
        let mut unknown = Vec::new();
        for (object, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Created | Outcome::AlreadyThereSame) => {}
                Ok(Outcome::AlreadyThereDifferent) => {
                    return Err(CommitError::ObjectConflict { key: object.key.to_string() });
                }
                Err(StoreError::Unknown { .. }) if !last_try => unknown.push(object),
                Err(error) => return Err(error.into()),
            }
        }
        open = unknown;
    }
    Ok(())
}

/// A by-name file to replace, its position in the log, and its metadata.
type File<'a> = (&'a Op, u64, Meta);

/// Replaces by-name files: those whose tag is known in one batch, the rest by reading first.
async fn replace_all(area: &dyn Area, files: Vec<File<'_>>, hints: &Hints) -> Result<(), CommitError> {
    let (hinted, blind): (Vec<File<'_>>, Vec<_>) =
        files.into_iter().partition(|(op, ..)| hints.contains_key(&op.key));
    let mut batch = Vec::with_capacity(hinted.len());
    for (op, _, meta) in &hinted {
        batch.push((Key::new(op.key.clone())?, hints[&op.key].clone(), op.bytes.clone(), *meta));
    }
    let replace_hinted =
        async { if batch.is_empty() { Vec::new() } else { area.replace_round(batch).await } };
    let (answers, blind) =
        join(replace_hinted, try_join_all(blind.into_iter().map(|file| replace_by_seq(area, file)))).await;
    blind?;
    for (answer, file) in answers.into_iter().zip(hinted) {
        match answer? {
            Replace::Replaced(_) => {}
            Replace::Conflict | Replace::Unknown(_) => replace_by_seq(area, file).await?,
        }
    }
    Ok(())
}

/// Brings one by-name file to at least this position in the log.
async fn replace_by_seq(area: &dyn Area, (op, seq, meta): File<'_>) -> Result<(), CommitError> {
    let key = Key::new(op.key.clone())?;
    for _ in 0..REPLACE_TRIES_MAX {
        let present = area.read(&key, BY_NAME_BYTES_MAX).await?;
        if present
            .as_ref()
            .is_some_and(|file| file_seq(&op.key, &file.bytes).is_some_and(|there| there >= seq))
        {
            return Ok(());
        }
        let seen = present.map(|file| file.tag);
        if let Replace::Replaced(_) = area.replace(&key, seen.as_ref(), op.bytes.clone(), meta).await? {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable {
        op: "replace",
        key: op.key.clone(),
        detail: format!("lost {REPLACE_TRIES_MAX} races for a file that only ever moves forward"),
    }
    .into())
}
