//! One commit: read head, let the caller plan, replace head, apply, publish.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use drystone_schemas::{AccountId, Event, EventBody, EventId, FileChange, FileClass, Sha256Digest, layout};
use drystone_storage::{Clock, Entropy, Key, Meta, NewObject, Replace, Store, Tag, Versioned, new_ulid};
use futures_util::future::{join, try_join, try_join_all};

use crate::{
    BundleId, Checkpoint, EntryBundle, FileRef, Frontier, Hash, ShardEntry, StateMap, TileId, leaf_hash,
    prove_inclusion,
    tile::{grow, grow_entries, needed_for_growth, parse_tile, partial_bundle, tile_bytes},
};

use super::{
    CommitError, Head, Op, OpKind, Staging,
    apply::{Hints, apply, json_object_meta, meta_of, new_object, put_all, reserve, text_object_meta},
    edge::RightEdge,
    head::HEAD_BYTES_MAX,
    nodes::NodeCache,
    publish::{Notes, Opened, Publishing, Tree, receipt},
    signing::Signing,
    staging::STAGING_BYTES_MAX,
};

/// Commits stop when this many events wait for a signature: then something is wrong with the key.
const UNPUBLISHED_EVENTS_MAX: u64 = 1_000;
/// Largest difference between this process's clock and the store's, in seconds.
const CLOCK_OFF_S_MAX: u64 = 60;
/// How often the same replacement of head is tried while its outcome stays unknown.
const HEAD_TRIES_MAX: u32 = 8;
/// Longest entry bundle: 256 entries of 4 KiB, each with its length.
const BUNDLE_BYTES_MAX: u64 = 256 * (4096 + 2);

/// Everything that commits to one registry share: the store, the key, the clock, and caches that cannot be stale.
pub struct Committer {
    pub(super) store: Store,
    /// The same, where what a commit writes need only be in order until it is published.
    ordered: Store,
    pub(super) signing: Signing,
    pub(super) origin: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    nodes: NodeCache,
    edge: Mutex<Option<(u64, Hash, RightEdge)>>,
    last_head: Mutex<Option<(Bytes, Head)>>,
    pub(super) last_checkpoint: Mutex<Option<Opened>>,
    /// The largest checkpoint that this process has published or seen published.
    pub(super) largest: Mutex<Option<Checkpoint>>,
}

/// A head to plan against, as one process saw it.
pub struct Round {
    /// The committed state.
    pub head: Head,
    /// Time that the events of this round will carry, in seconds since 1970.
    pub time: u64,
    /// There are signs of other writers: a commit was found that its writer had not finished, or head was moved without
    /// an event since this process committed last, which is how one that keeps losing makes itself noticed.
    pub met_others: bool,
    pub(super) head_tag: Option<Tag>,
    pub(super) publishing: Publishing,
    state: StateMap,
    edge: Option<RightEdge>,
    objects: Vec<NewObject>,
}

impl Round {
    /// Has these objects put in the round of the commit that precedes head, so that they cost no round of their own.
    pub fn put_first(&mut self, objects: impl IntoIterator<Item = NewObject>) {
        self.objects.extend(objects);
    }
}

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
    /// Prepares to commit to the log of this origin, with these keys. Touches nothing.
    pub fn new(
        store: Store,
        signing: impl Into<Signing>,
        origin: impl Into<String>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            ordered: store.ordered(),
            store,
            signing: signing.into(),
            origin: origin.into(),
            clock,
            entropy,
            nodes: NodeCache::default(),
            edge: Mutex::new(None),
            last_head: Mutex::new(None),
            last_checkpoint: Mutex::new(None),
            largest: Mutex::new(None),
        }
    }

    /// The keys.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// Steps 2 and 7 of the protocol: reads head and checkpoint, and applies and publishes what somebody left undone.
    pub async fn begin(&self) -> Result<Round, CommitError> {
        for _ in 0..HEAD_TRIES_MAX {
            if let Some(round) = self.try_begin().await? {
                return Ok(round);
            }
        }
        self.try_begin().await?.ok_or_else(|| {
            CommitError::OutcomeUnknown("head kept moving while its last commit was looked at".into())
        })
    }

    /// One try; none if head has moved meanwhile, so that what it named may have been collected.
    async fn try_begin(&self) -> Result<Option<Round>, CommitError> {
        let (mut head, publishing) = try_join(self.read_head(), self.read_publishing()).await?;
        if publishing.size() > head.as_ref().map_or(0, |(head, _)| head.size()) {
            // Read side by side, head may be older than what is published by now; read again, it cannot be.
            head = self.read_head().await?;
        }
        let Some((head, head_file)) = head else {
            return Err(match publishing.checkpoint {
                Some(published) => {
                    CommitError::HeadBehindLog { head: 0, published: published.opened.checkpoint.size() }
                }
                None => CommitError::NotInitialised,
            });
        };
        self.check_identity(&head)?;
        check_clock(&*self.clock, &head_file)?;
        let mut round = self.round(head, Some(head_file.tag), publishing);
        match self.catch_up(&mut round).await {
            Ok(()) => Ok(Some(round)),
            Err(error @ CommitError::Damaged { .. }) => {
                let now = self.read_head().await?.map(|(_, file)| file.tag);
                if now == round.head_tag { Err(error) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    async fn read_head(&self) -> Result<Option<(Head, Versioned)>, CommitError> {
        let file = self.store.vault.read(&Key::new(layout::HEAD)?, HEAD_BYTES_MAX).await?;
        let Some(file) = file else { return Ok(None) };
        let known = self.last_head.lock().expect("no holder of this lock panics").clone();
        let head = match known {
            // Usually it is what this process wrote last: the same bytes need not be checked again.
            Some((bytes, head)) if bytes == file.bytes => head,
            _ => Head::parse(&file.bytes)?,
        };
        Ok(Some((head, file)))
    }

    pub(super) fn round(&self, head: Head, head_tag: Option<Tag>, publishing: Publishing) -> Round {
        let state = StateMap::over(head.root_tile.clone());
        Round {
            time: self.clock.now_unix_s().max(head.time),
            met_others: false,
            head,
            head_tag,
            publishing,
            state,
            edge: None,
            objects: Vec::new(),
        }
    }

    fn check_identity(&self, head: &Head) -> Result<(), CommitError> {
        if head.origin == self.origin && head.log_key == self.signing.log_key().to_string() {
            Ok(())
        } else {
            Err(CommitError::WrongKey { origin: head.origin.clone(), log_key: head.log_key.clone() })
        }
    }

    /// Compares head with the published checkpoint; where head is ahead, applies its commit and publishes it.
    async fn catch_up(&self, round: &mut Round) -> Result<(), CommitError> {
        let (size, root) = (round.head.size(), round.head.root);
        let published = round.publishing.size();
        round.met_others = {
            let own = self.last_head.lock().expect("no holder of this lock panics");
            own.as_ref()
                .is_some_and(|(_, own)| own.commit == round.head.commit && own.nonce != round.head.nonce)
        };
        let agrees = match &round.publishing.checkpoint {
            Some(published) if published.opened.checkpoint.size() == size => {
                published.opened.checkpoint.root() == root
            }
            _ => published < size,
        };
        if !agrees {
            return Err(CommitError::HeadBehindLog { head: size, published });
        }
        // Where others cosign, the proof file waits for them; the heartbeat sees to that.
        let complete =
            if self.signing.waits_for_others() { published } else { round.publishing.complete_size() };
        if complete == size {
            return Ok(());
        }
        round.met_others = true;
        let staging = self.read_staging(&round.head).await?;
        apply(&self.store, &staging, &Hints::new()).await?;
        let notes = self.sign_applied(&round.head, &staging).await?;
        match self.publish(&mut round.publishing, notes, None).await {
            Err(error @ CommitError::HeadBehindLog { .. }) => Err(error),
            Err(_) if size - published < UNPUBLISHED_EVENTS_MAX => Ok(()),
            Err(_) => Err(CommitError::LogUnpublished { behind: size - published }),
            Ok(_) => Ok(()),
        }
    }

    /// What the commit that head names has left to be applied.
    pub(super) async fn read_staging(&self, head: &Head) -> Result<Staging, CommitError> {
        let key = Key::new(head.staging.clone())?;
        let bytes = self.store.vault.get(&key, STAGING_BYTES_MAX).await?;
        let bytes = bytes.filter(|bytes| Sha256Digest::of(bytes) == head.staging_digest);
        let bytes = bytes.ok_or_else(|| CommitError::Damaged { key: head.staging.clone() })?;
        Staging::parse(&bytes)
    }

    /// Signs the tree of a head whose commit is applied. A key that cannot sign stops every writer here, before it commits
    /// more.
    pub(super) async fn sign_applied(&self, head: &Head, staging: &Staging) -> Result<Notes, CommitError> {
        let (size, root) = (head.size(), head.root);
        let proof = self.proof_from_tiles(size, &root).await?;
        self.sign(Tree { size, root, last_entry: &staging.last_entry, proof }).await
    }

    /// Reads what the planner and the commit need of the state map and of the log's right edge.
    ///
    /// At most two rounds, fewer as nodes are cached. The keys are those of [`StateFile::state_key`].
    pub async fn load(&self, round: &mut Round, keys: &[String]) -> Result<(), CommitError> {
        let edge = async {
            match round.edge.take() {
                Some(edge) => Ok(edge),
                None => self.load_edge(&round.head.frontier, &round.head.root).await,
            }
        };
        let (edge, ()) = try_join(edge, self.nodes.load(&mut round.state, &*self.store.public, keys)).await?;
        round.edge = Some(edge);
        Ok(())
    }

    async fn load_edge(&self, frontier: &Frontier, root: &Hash) -> Result<RightEdge, CommitError> {
        let size = frontier.size();
        let cached = self.edge.lock().expect("no holder of this lock panics").clone();
        if let Some((_, _, edge)) = cached.filter(|(s, r, _)| (*s, r) == (size, root)) {
            return Ok(edge);
        }
        let entries = match partial_bundle(size) {
            Some(id) => self.read_bundle(id).await?.into_entries(),
            None => Vec::new(),
        };
        RightEdge::new(frontier, entries)
    }

    async fn read_bundle(&self, id: BundleId) -> Result<EntryBundle, CommitError> {
        let key = format!("log/{}", id.path());
        let bytes = self.store.public.get(&Key::new(key.clone())?, BUNDLE_BYTES_MAX).await?;
        let damaged = || CommitError::Damaged { key };
        let bytes = bytes.ok_or_else(damaged.clone())?;
        EntryBundle::decode(id, &bytes).map_err(|_| damaged())
    }

    pub(super) async fn read_tiles(
        &self,
        ids: impl IntoIterator<Item = TileId>,
    ) -> Result<BTreeMap<TileId, Vec<Hash>>, CommitError> {
        let reads = ids.into_iter().map(async |id: TileId| {
            let key = format!("log/{}", id.path());
            let bytes = self.store.public.get(&Key::new(key.clone())?, u64::from(id.width()) * 32).await?;
            let damaged = || CommitError::Damaged { key };
            let bytes = bytes.ok_or_else(damaged.clone())?;
            Ok::<_, CommitError>((id, parse_tile(id, &bytes).map_err(|_| damaged())?))
        });
        Ok(try_join_all(reads).await?.into_iter().collect())
    }

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

    pub(super) fn nonce(&self) -> String {
        new_nonce(&*self.entropy)
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

    /// The state-map entry of a package or alias shard at this round's head; its nodes must have been loaded.
    pub fn entry<'a>(
        &self,
        round: &'a Round,
        state_key: &str,
    ) -> Result<Option<&'a ShardEntry>, CommitError> {
        Ok(round.state.get(state_key)?)
    }
}

/// Refuses if this process's clock and the store's disagree.
pub(super) fn check_clock(clock: &dyn Clock, file: &Versioned) -> Result<(), CommitError> {
    let Some(store_s) = file.store_time_unix else { return Ok(()) };
    let off_s = store_s.abs_diff(clock.now_unix_s());
    if off_s > CLOCK_OFF_S_MAX { Err(CommitError::ClockWrong { off_s }) } else { Ok(()) }
}

/// What makes one head differ from every other.
pub(super) fn new_nonce(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    hex::encode(bytes)
}

/// What the events of a commit come to, before the tree grows.
struct Built {
    lines: Vec<Vec<u8>>,
    objects: Vec<(FileClass, Sha256Digest, Bytes)>,
    ops: Vec<Op>,
    hints: Hints,
    config: Option<(Sha256Digest, u64)>,
}

/// The last state of a by-name file in a commit.
struct ByName {
    seq: u64,
    /// Set for a state-mapped file that is stored by its digest too.
    object: Option<(FileClass, Sha256Digest)>,
    bytes: Bytes,
}

/// Writes the event lines and collects the files; only the last state of each file is stored.
fn build(
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
