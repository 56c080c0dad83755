//! One attempt to commit: steps 4 to 7 of the protocol, with every doubt about head resolved by reading.

use std::time::Duration;

use bytes::Bytes;
use drystone_schemas::{FileClass, Sha256Digest, layout};
use drystone_storage::{Key, Meta, NewObject, Replace, Store, Tag, new_ulid};
use futures_util::future::join;

use super::{
    CommitError, Committer, Head, Op, OpKind, Round, Staging,
    apply::{apply, json_object_meta, meta_of, new_object, put_all, reserve, text_object_meta},
    draft::{EventDraft, build},
    edge::RightEdge,
    head::HEAD_BYTES_MAX,
    publish::{Notes, Publishing, Tree, receipt},
    staging::STAGING_BYTES_MAX,
};
use crate::{
    Hash, leaf_hash, prove_inclusion,
    tile::{grow, grow_entries, needed_for_growth, tile_bytes},
};

/// How often the same replacement of head is tried while its outcome stays unknown.
pub(super) const HEAD_TRIES_MAX: u32 = 8;

/// What became of a commit.
#[derive(Debug)]
pub enum CommitOutcome {
    /// It is in the log, and applied.
    Committed(Committed),
    /// Head is not what this commit was prepared for: begin again, with the same ids. If the commit is in the log all the
    /// same, because its outcome was in doubt and somebody has moved head past it, the ids are found done.
    Lost,
}

/// A commit that is in the log and applied.
#[derive(Debug)]
pub struct Committed {
    /// Position of the first event.
    pub first_seq: u64,
    /// For each event its `.tlog-proof`, if the checkpoint is published and cosigners enough have signed it; else that will
    /// be so, by whoever comes next.
    pub proofs: Option<Vec<String>>,
}

impl Committer {
    /// Steps 4 to 7: commits the events in this order, applies and publishes them.
    ///
    /// The nodes of every `state_key` must have been loaded. An error after the commit point is
    /// [`CommitError::OutcomeUnknown`]: the caller repeats with the same ids, and finds them done.
    pub async fn commit(&self, round: Round, drafts: Vec<EventDraft>) -> Result<CommitOutcome, CommitError> {
        let outcome = self.commit_in_order(round, drafts).await;
        match (self.store.settle().await, outcome) {
            (Err(error), Ok(CommitOutcome::Committed(_))) => {
                Err(CommitError::OutcomeUnknown(format!("committed, but not durable yet: {error}")))
            }
            (_, outcome) => outcome,
        }
    }

    /// The store for what lies between the decision and the checkpoint: a store that keeps everything in order need not
    /// make each step durable by itself, because a step is lost only with all that follow it. Nobody outside may learn
    /// of what can be lost, and outside witnesses are asked before the checkpoint is written.
    fn stepwise(&self) -> &Store {
        if self.signing.outside().is_some() { &self.store } else { &self.ordered }
    }

    async fn commit_in_order(
        &self,
        round: Round,
        drafts: Vec<EventDraft>,
    ) -> Result<CommitOutcome, CommitError> {
        assert!(!drafts.is_empty(), "a commit has at least one event");
        let Round { head, time, head_tag, mut publishing, mut state, edge, objects, .. } = round;
        let mut edge = edge.expect("the right edge is loaded before a commit");
        let (first_seq, head_root) = (head.size(), head.root);

        let built = build(&head, time, &mut state, &edge, drafts)?;
        let higher =
            self.read_tiles(needed_for_growth(first_seq, first_seq + built.lines.len() as u64)).await?;
        let new_leaves: Vec<Hash> = built.lines.iter().map(|line| leaf_hash(line)).collect();
        let growth = grow(&head.frontier, edge.leaves(), &higher, &new_leaves)
            .map_err(|e| CommitError::Damaged { key: format!("the log's right edge ({e})") })?;
        let bundles = grow_entries(first_seq, edge.bundle().as_ref(), &built.lines)
            .map_err(|e| CommitError::Damaged { key: format!("the log's last entries ({e})") })?;
        built.lines.iter().for_each(|line| edge.push(line.clone()));

        let mut ops = built.ops;
        let put = |key: String, bytes: Vec<u8>| Op { kind: OpKind::PutPublic, key, bytes: bytes.into() };
        ops.extend(
            growth.tiles.iter().map(|(id, hashes)| put(format!("log/{}", id.path()), tile_bytes(hashes))),
        );
        ops.extend(bundles.iter().map(|(id, bundle)| put(format!("log/{}", id.path()), bundle.encode())));
        let last_entry = Bytes::from(built.lines.last().expect("there is at least one event").clone());
        let staging = Staging { size: growth.frontier.size(), last_entry, ops };

        let staging_bytes = Bytes::from(staging.to_bytes());
        if staging_bytes.len() as u64 > STAGING_BYTES_MAX {
            return Err(CommitError::TooLarge {
                bytes: staging_bytes.len() as u64,
                bytes_max: STAGING_BYTES_MAX,
            });
        }
        let commit = new_ulid(&*self.clock, &*self.entropy);
        let next = Head {
            root: growth.frontier.root(),
            frontier: growth.frontier,
            state: state.root(),
            root_tile: state.root_tile().clone(),
            time,
            config: built.config.map_or(head.config, |(digest, _)| digest),
            config_seq: built.config.map_or(head.config_seq, |(_, seq)| seq),
            staging: layout::staging(&commit),
            staging_digest: Sha256Digest::of(&staging_bytes),
            commit,
            nonce: self.nonce(),
            ..head
        };
        let nodes = state.changed_nodes();
        let head_bytes = Bytes::from(next.to_bytes());
        let store = self.stepwise();
        self.put_before_head(store, &next, objects, built.objects, &nodes, staging_bytes).await?;
        // What is committed must not be stuck half applied on a full disk.
        reserve(store, &staging, &head_bytes).await?;

        if !self.swap_head(&next, head_bytes, head_tag.as_ref()).await? {
            return Ok(CommitOutcome::Lost);
        }
        let unknown =
            |e: CommitError| CommitError::OutcomeUnknown(format!("committed, but not applied: {e}"));
        let own_notes = self.own_notes(&next, &edge, &staging);
        let (applied, notes) = join(apply(store, &staging, &built.hints), own_notes).await;
        applied.map_err(unknown)?;
        let proofs = match notes {
            Ok(notes) => self.publish_own(&mut publishing, (first_seq, head_root), &edge, notes).await,
            Err(error) => Err(error),
        };
        nodes.into_iter().for_each(|(key, bytes)| self.nodes.keep(key, bytes));
        if let Ok(edge) = edge.trimmed(&next.frontier) {
            *self.edge.lock().expect("no holder of this lock panics") = Some((next.size(), next.root, edge));
        }
        // A checkpoint that could not be published now is published by the next round; the commit stands.
        Ok(CommitOutcome::Committed(Committed { first_seq, proofs: proofs.ok().flatten() }))
    }

    /// Signs what this process has just committed.
    async fn own_notes(
        &self,
        head: &Head,
        edge: &RightEdge,
        staging: &Staging,
    ) -> Result<Notes, CommitError> {
        let size = head.size();
        let proof = prove_inclusion(size - 1, size, edge)?;
        self.sign(Tree { size, root: head.root, last_entry: &staging.last_entry, proof }).await
    }

    /// Publishes what this process has just committed, and grown from this size and root; answers with the proof of
    /// each new event.
    async fn publish_own(
        &self,
        publishing: &mut Publishing,
        grown_from: (u64, Hash),
        edge: &RightEdge,
        notes: Notes,
    ) -> Result<Option<Vec<String>>, CommitError> {
        let notes = self.publish(publishing, notes, Some(grown_from)).await?;
        let (first_seq, size) = (grown_from.0, notes.size());
        if !notes.is_enough() {
            return Ok(None);
        }
        let proof = |index| Ok(receipt(index, prove_inclusion(index, size, edge)?, notes.checkpoint()));
        (first_seq..size).map(proof).collect::<Result<_, CommitError>>().map(Some)
    }

    /// Everything that must be there before head may name it, in one round.
    async fn put_before_head(
        &self,
        store: &Store,
        next: &Head,
        objects: Vec<NewObject>,
        files: Vec<(FileClass, Sha256Digest, Bytes)>,
        nodes: &[(String, Vec<u8>)],
        staging: Bytes,
    ) -> Result<(), CommitError> {
        let mut public = objects;
        public.reserve(files.len() + nodes.len());
        for (class, digest, bytes) in files {
            let meta = if class == FileClass::Index { text_object_meta() } else { json_object_meta() };
            public.push(new_object(layout::object(&digest), bytes, meta)?);
        }
        for (key, bytes) in nodes {
            public.push(new_object(key.clone(), bytes.clone(), meta_of(key))?);
        }
        // Whoever committed under this fence has put nothing that is doomed, not even again.
        if let Some(object) = public.iter().find(|object| next.gc.dooms(object.key.as_str())) {
            return Err(CommitError::BeingCollected { key: object.key.to_string() });
        }
        let vault = [new_object(next.staging.clone(), staging, Meta::PRIVATE)?];
        let (public, vault) = join(put_all(&*store.public, &public), put_all(&*store.vault, &vault)).await;
        public.and(vault)
    }

    /// Step 5, the commit point, with every doubt resolved by reading. `false` if head is not ours.
    async fn swap_head(&self, next: &Head, bytes: Bytes, seen: Option<&Tag>) -> Result<bool, CommitError> {
        let key = Key::new(layout::HEAD)?;
        let mut doubt: Option<String> = None;
        for attempt in 0..HEAD_TRIES_MAX {
            match self.stepwise().vault.replace(&key, seen, bytes.clone(), Meta::PRIVATE).await {
                Ok(Replace::Replaced(_)) => {
                    *self.last_head.lock().expect("no holder of this lock panics") =
                        Some((bytes, next.clone()));
                    return Ok(true);
                }
                // Only if no earlier answer left a doubt is this somebody else's win for certain.
                Ok(Replace::Conflict) if doubt.is_none() => return Ok(false),
                Ok(Replace::Conflict) => {}
                Ok(Replace::Unknown(detail)) => doubt = Some(detail),
                Err(error) if doubt.is_none() => return Err(error.into()),
                Err(error) => doubt = Some(error.to_string()),
            }
            let unread = |e: drystone_storage::StoreError| CommitError::OutcomeUnknown(e.to_string());
            let present = self.store.vault.read(&key, HEAD_BYTES_MAX).await.map_err(unread)?;
            match present {
                // Of a fenced head only the nonce is another.
                Some(file) if Head::parse(&file.bytes).is_ok_and(|head| head.commit == next.commit) => {
                    return Ok(true);
                }
                // Head has moved on. Whoever moved it past our commit has applied ours first, outcomes included, so
                // that the next round finds them. That an intent of ours is done proves nothing about this commit:
                // another process may have committed it, at another place and without the rest of our batch.
                present if present.as_ref().map(|file| &file.tag) != seen => return Ok(false),
                _ => self.clock.sleep(Duration::from_millis(20 << attempt)).await,
            }
        }
        Err(CommitError::OutcomeUnknown(
            doubt.unwrap_or_else(|| "head neither moved nor was replaced".into()),
        ))
    }

    /// Replaces head by itself with another nonce, so that every commit prepared before fails.
    ///
    /// Called after a right was taken away and before that is answered: nothing commits with the right afterwards.
    pub async fn fence(&self) -> Result<(), CommitError> {
        let key = Key::new(layout::HEAD)?;
        for _ in 0..HEAD_TRIES_MAX * 4 {
            let file =
                self.store.vault.read(&key, HEAD_BYTES_MAX).await?.ok_or(CommitError::NotInitialised)?;
            let next = Head { nonce: self.nonce(), ..Head::parse(&file.bytes)? };
            let bytes = Bytes::from(next.to_bytes());
            // Any head that differs from the one read is as good a fence as ours, so a conflict would do as well;
            // it is repeated because the answer of an unknown outcome cannot be told from nothing having happened.
            match self.store.vault.replace(&key, Some(&file.tag), bytes, Meta::PRIVATE).await? {
                Replace::Replaced(_) | Replace::Conflict => return Ok(()),
                Replace::Unknown(_) => {}
            }
        }
        Err(CommitError::OutcomeUnknown("head could not be fenced".into()))
    }
}
