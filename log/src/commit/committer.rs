//! Whoever commits: its keys and caches, and the first steps of a commit: read head, catch up, load what a plan needs.
//!
//! Owns steps 1 to 3 of the protocol; an attempt is [`super::attempt`]'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use drystone_schemas::{Sha256Digest, layout};
use drystone_storage::{Clock, Entropy, Key, NewObject, Store, Tag, Versioned};
use futures_util::future::{try_join, try_join_all};

use crate::{
    BundleId, Checkpoint, EntryBundle, Frontier, Hash, ShardEntry, StateMap, TileId,
    tile::{parse_tile, partial_bundle},
};

use super::{
    CommitError, Head, Staging,
    apply::{Hints, apply},
    attempt::HEAD_TRIES_MAX,
    edge::RightEdge,
    head::HEAD_BYTES_MAX,
    nodes::NodeCache,
    publish::{Notes, Opened, Publishing, Tree},
    signing::Signing,
    staging::STAGING_BYTES_MAX,
};

/// Commits stop when this many events wait for a signature: then something is wrong with the key.
const UNPUBLISHED_EVENTS_MAX: u64 = 1_000;
/// Largest difference between this process's clock and the store's, in seconds.
const CLOCK_OFF_S_MAX: u64 = 60;
/// Longest entry bundle: 256 entries of 4 KiB, each with its length.
const BUNDLE_BYTES_MAX: u64 = 256 * (4096 + 2);

/// Everything that commits to one registry share: the store, the key, the clock, and caches that cannot be stale.
pub struct Committer {
    pub(super) store: Store,
    /// The same, where what a commit writes need only be in order until it is published.
    pub(super) ordered: Store,
    pub(super) signing: Signing,
    pub(super) origin: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) nodes: NodeCache,
    pub(super) edge: Mutex<Option<(u64, Hash, RightEdge)>>,
    pub(super) last_head: Mutex<Option<(Bytes, Head)>>,
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
    pub(super) state: StateMap,
    pub(super) edge: Option<RightEdge>,
    pub(super) objects: Vec<NewObject>,
}

impl Round {
    /// Has these objects put in the round of the commit that precedes head, so that they cost no round of their own.
    pub fn put_first(&mut self, objects: impl IntoIterator<Item = NewObject>) {
        self.objects.extend(objects);
    }
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
    /// At most two rounds, fewer as nodes are cached. The keys are those of [`StateFile::state_key`](super::StateFile::state_key).
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

    pub(super) fn nonce(&self) -> String {
        new_nonce(&*self.entropy)
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
