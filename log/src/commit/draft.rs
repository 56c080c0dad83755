//! What is to be committed: events with the files that follow from them, and what they come to at a head. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use drystone_schemas::{AccountId, Event, EventBody, EventId, FileChange, FileClass, Sha256Digest, layout};
use drystone_storage::Tag;

use super::{CommitError, Head, Op, OpKind, apply::Hints, edge::RightEdge};
use crate::{FileRef, Hash, ShardEntry, StateMap};

/// One event to commit, without what the commit itself decides.
#[derive(Debug, Clone)]
pub struct EventDraft {
    /// The intent's id.
    pub id: EventId,
    /// Who asked for it.
    pub actor: AccountId,
    /// What happened.
    pub body: EventBody,
    /// The state-mapped files that it changes, as they are afterwards.
    pub files: Vec<StateFile>,
    /// By-name files outside the state map: configuration, and answers for API clients.
    pub plain: Vec<PlainFile>,
    /// Public files that never change once they are there.
    pub immutable: Vec<PlainFile>,
    /// By-name files in the vault: counts that quotas look at.
    pub private: Vec<PlainFile>,
    /// Outcome to keep under the intent's id.
    pub done: Bytes,
}

/// A state-mapped file after an event.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// Its class.
    pub class: FileClass,
    /// Its line in the state map: a canonical package name, or `~alias/<xx>`.
    pub state_key: String,
    /// Its by-name key.
    pub key: String,
    /// Its bytes, which carry the event's position in the log.
    pub bytes: Vec<u8>,
    /// The tag of the by-name file, if the planner has read it.
    pub seen: Option<Option<Tag>>,
}

/// A by-name file outside the state map.
#[derive(Debug, Clone)]
pub struct PlainFile {
    /// Its key.
    pub key: String,
    /// Its bytes, which carry the event's position in the log.
    pub bytes: Vec<u8>,
    /// The tag of the file, if the planner has read it.
    pub seen: Option<Option<Tag>>,
}

impl PlainFile {
    /// A file that the planner has not read.
    pub fn unseen((key, bytes): (String, Vec<u8>)) -> Self {
        Self { key, bytes, seen: None }
    }
}

/// What the events of a commit come to, before the tree grows.
pub(super) struct Built {
    /// One line per event.
    pub(super) lines: Vec<Vec<u8>>,
    /// Files that are stored by their digest.
    pub(super) objects: Vec<(FileClass, Sha256Digest, Bytes)>,
    /// What is applied once head has moved.
    pub(super) ops: Vec<Op>,
    pub(super) hints: Hints,
    /// The newest configuration among the events, and its event.
    pub(super) config: Option<(Sha256Digest, u64)>,
}

/// The last state of a by-name file in a commit.
struct ByName {
    seq: u64,
    /// Set for a state-mapped file that is stored by its digest too.
    object: Option<(FileClass, Sha256Digest)>,
    bytes: Bytes,
}

/// Writes the event lines and collects the files; only the last state of each file is stored.
pub(super) fn build(
    head: &Head,
    time: u64,
    state: &mut StateMap,
    edge: &RightEdge,
    drafts: Vec<EventDraft>,
) -> Result<Built, CommitError> {
    debug_assert_eq!(edge.size(), head.size(), "the edge is that of head");
    let mut lines = Vec::with_capacity(drafts.len());
    let mut by_name: BTreeMap<String, ByName> = BTreeMap::new();
    let mut private: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
    let mut hints = Hints::new();
    let mut ops = Vec::new();
    let mut config = None;
    for (seq, draft) in (head.size()..).zip(drafts) {
        let mut changes = Vec::with_capacity(draft.files.len());
        for file in draft.files {
            let digest = Sha256Digest::of(&file.bytes);
            let len = file.bytes.len() as u64;
            let mut files = state.get(&file.state_key)?.map(|entry| entry.files.clone()).unwrap_or_default();
            files.insert(file.class.letter(), FileRef { digest: Hash::new(*digest.as_bytes()), len });
            state.set(&file.state_key, ShardEntry { seq, files })?;
            changes.push(FileChange(file.class, file.state_key, digest, len));
            if let Some(seen) = file.seen {
                // The first planner of a batch has read the file; later events of the batch build on its bytes.
                hints.entry(file.key.clone()).or_insert(seen);
            }
            let object = file.class.is_kept_by_hash().then_some((file.class, digest));
            by_name.insert(file.key, ByName { seq, object, bytes: file.bytes.into() });
        }
        for file in draft.plain {
            if let Some(seen) = file.seen {
                hints.entry(file.key.clone()).or_insert(seen);
            }
            by_name.insert(file.key, ByName { seq, object: None, bytes: file.bytes.into() });
        }
        ops.extend(draft.immutable.into_iter().map(|file| Op {
            kind: OpKind::PutPublic,
            key: file.key,
            bytes: file.bytes.into(),
        }));
        for file in draft.private {
            if let Some(seen) = file.seen {
                hints.entry(file.key.clone()).or_insert(seen);
            }
            private.insert(file.key, (seq, file.bytes));
        }
        if let EventBody::Genesis { config: digest, .. } | EventBody::Config { config: digest } = &draft.body
        {
            config = Some((*digest, seq));
        }
        ops.push(Op { kind: OpKind::PutVault, key: layout::done(&draft.id), bytes: draft.done });
        let event = Event {
            v: 1,
            seq,
            id: draft.id,
            time,
            actor: draft.actor,
            state: Sha256Digest::from_bytes(*state.root().as_bytes()),
            files: changes,
            body: draft.body,
        };
        lines.push(event.to_line()?);
    }
    ops.extend(private.into_iter().map(|(key, (seq, bytes))| Op {
        kind: OpKind::ReplaceVault { seq },
        key,
        bytes: bytes.into(),
    }));
    let mut objects = Vec::with_capacity(by_name.len());
    for (key, ByName { seq, object, bytes }) in by_name {
        if let Some((class, digest)) = object {
            objects.push((class, digest, bytes.clone()));
        }
        ops.push(Op { kind: OpKind::ReplacePublic { seq }, key, bytes });
    }
    Ok(Built { lines, objects, ops, hints, config })
}
