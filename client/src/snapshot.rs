//! A registry at one moment, proved: every file read through it is the one that the log's state names.
//!
//! Owns the way from the pinned log key to the bytes of a by-name file. Does not own the formats or the proofs
//! themselves.
//! Invariant: a snapshot exists only if its checkpoint is signed by the pinned log, continues the largest one seen
//! before, and has the state root in its newest event. No file leaves it whose digest that state does not name.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use drystone_log::{
    Checkpoint, FileRef, Hash, RootTile, ShardEntry, SignedCheckpoint, StateMap, TlogProof,
    state_map::{SHARD_READ_BYTES_MAX, STATE_TILE_BYTES, StateNode, root_tile_key},
};
use drystone_schemas::{
    Alias, AliasChange, AliasHistory, AliasMap, EventHead, FileClass, IndexFile, PackageDocument,
    PackageName, Sha256Digest, layout,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::{
    ClientError, Network, Registry, TrustStore, VerificationError,
    defences::Defence,
    feed::Feed,
    registry::{ALIASES_BYTES_MAX, DOCUMENT_BYTES_MAX, INDEX_BYTES_MAX},
    roots,
    tiles::{self, NotConsistent},
    trust::PinnedLog,
};

/// How often a checkpoint that is older than the one seen before is asked for again: an edge may lag by seconds.
const LAGGING_TRIES_MAX: u32 = 3;
/// State nodes fetched at once.
const PARALLEL: usize = 64;
/// Longest `latest.tlog-proof` that is read, in bytes: an event of 4 KiB, 63 hashes, and a checkpoint with some ten times the
/// signatures that a note of this size needs.
const PROOF_FILE_BYTES_MAX: u64 = 64 << 10;

/// A registry at one moment.
#[derive(Debug)]
pub struct Snapshot<'a> {
    registry: &'a Registry,
    trust: TrustStore,
    log: PinnedLog,
    signed: SignedCheckpoint,
    state_root: Hash,
    /// Loaded when the feed does not know enough.
    state: OnceCell<Mutex<StateMap>>,
    feed: Mutex<Option<Feed>>,
}

/// A package's index file as the state names it.
#[derive(Debug, Clone)]
pub struct ProvedIndex {
    /// The file.
    pub file: IndexFile,
    /// Its digest.
    pub digest: Sha256Digest,
}

impl<'a> Snapshot<'a> {
    /// Fetches and checks the newest checkpoint of the registry, and remembers it.
    pub async fn open(registry: &'a Registry, trust: &TrustStore) -> Result<Self, ClientError> {
        let defences = registry.defences();
        // All three at once: none of them is needed to ask for the others.
        let (config, roots, shown) = futures_util::try_join!(
            registry.config(),
            roots::in_force(registry, trust),
            Shown::fetch(registry)
        )?;
        let pinned = match &roots {
            Some(roots) => trust.pin_by_root(registry.base(), config, roots),
            None => trust.pin(registry.base(), config),
        };
        let log = match pinned {
            Err(_) if !defences.up(Defence::PinnedKey) => PinnedLog::offered(config)?,
            pinned => pinned?,
        };
        let remembered = match trust.remembered(registry.base(), &log) {
            // A checkpoint that the pinned key did not sign, where no key is pinned.
            Err(_) if !defences.up(Defence::PinnedKey) => None,
            remembered => remembered?,
        };
        let (signed, last_entry) = newest(registry, &log, remembered.as_ref(), shown).await?;
        if let Some(roots) = &roots {
            roots.check(registry, &signed)?;
        }
        let (feed, from) = follow(registry, &log, signed.checkpoint(), &last_entry).await?;
        // Events that lead from what was seen to what is signed prove that the log continues.
        let is_proved = |old: &Checkpoint| from == Some((old.size(), old.root()));
        if let (Some(seen), Network::Online) = (&remembered, registry.network())
            && !is_proved(seen.checkpoint())
        {
            let old = seen.checkpoint();
            let continues = check_continues(registry, old.size(), &old.root(), signed.checkpoint())
                .await
                .map_err(|error| with_evidence(error, trust, seen, &signed));
            defences.hold(Defence::SeenCheckpoint, continues)?;
        }
        let state_root = state_root(registry, signed.checkpoint(), &last_entry)?;
        defences.hold(Defence::PinnedKey, trust.remember(registry.base(), &log, &signed))?;
        if let Some(feed) = feed.as_ref().filter(|_| registry.network() == Network::Online) {
            feed.remember(registry)?;
        }
        let (state, feed) = (OnceCell::new(), Mutex::new(feed));
        let trust = trust.clone();
        Ok(Self { registry, trust, log, signed, state_root, state, feed })
    }

    /// The registry.
    pub fn registry(&self) -> &'a Registry {
        self.registry
    }

    /// The checkpoint that all files belong to.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.signed.checkpoint()
    }

    /// What the user has seen before.
    pub(crate) fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// The log's pinned key.
    pub fn log(&self) -> &PinnedLog {
        &self.log
    }

    /// The root of the state map.
    pub fn state_root(&self) -> Hash {
        self.state_root
    }

    /// Checks that this snapshot continues a log of another origin of knowledge, such as a lock file's checkpoint.
    pub async fn check_continues(&self, size: u64, root: &Hash) -> Result<(), ClientError> {
        if self.registry.network() == Network::Offline {
            return Ok(());
        }
        let continues = check_continues(self.registry, size, root, self.checkpoint()).await;
        self.registry.defences().hold(Defence::LockedCheckpoint, continues)
    }

    /// Loads what is needed to look up these canonical names, in two rounds at most.
    pub async fn load(&self, keys: &[String]) -> Result<(), ClientError> {
        let keys: Vec<&str> =
            keys.iter().map(String::as_str).filter(|key| self.told_by_feed(key).is_none()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let whole = self
            .state
            .get_or_try_init(async || {
                let root_tile = load_root_tile(self.registry, &self.state_root).await?;
                Ok::<_, ClientError>(Mutex::new(StateMap::over(root_tile)))
            })
            .await?;
        loop {
            let missing = {
                let state = whole.lock().expect("no holder of this lock panics");
                state.missing(keys.iter().copied())
            };
            if missing.is_empty() {
                return self.learn(&keys, whole);
            }
            let nodes: Vec<(StateNode, Bytes)> = stream::iter(missing)
                .map(async |node| Ok::<_, ClientError>((node, self.node(node).await?)))
                .buffer_unordered(PARALLEL)
                .try_collect()
                .await?;
            let mut state = whole.lock().expect("no holder of this lock panics");
            for (node, bytes) in nodes {
                // Two callers may have fetched the same node; the first one's is in place already.
                if state.missing(keys.iter().copied()).contains(&node) {
                    state
                        .load(node, &bytes)
                        .map_err(|e| ClientError::proof(format!("`{}`", node.key()), e))?;
                }
            }
        }
    }

    /// What the state says of a canonical name; `None` proves that there is nothing of that name.
    pub async fn entry(&self, key: &str) -> Result<Option<ShardEntry>, ClientError> {
        self.load(&[key.to_owned()]).await?;
        if let Some(entry) = self.told_by_feed(key) {
            return Ok(entry);
        }
        let state =
            self.state.get().ok_or_else(|| ClientError::Internal("the state is not loaded".into()))?;
        let state = state.lock().expect("no holder of this lock panics");
        let entry = state.get(key).map_err(|e| ClientError::Internal(e.to_string()))?;
        Ok(entry.cloned())
    }

    /// What the feed says of a canonical name; the outer `None` says that it knows nothing of it.
    fn told_by_feed(&self, key: &str) -> Option<Option<ShardEntry>> {
        self.feed.lock().expect("no holder of this lock panics").as_ref()?.get(key)
    }

    /// Lets the feed know what the state proves of these names, for the next look.
    fn learn(&self, keys: &[&str], state: &Mutex<StateMap>) -> Result<(), ClientError> {
        let mut feed = self.feed.lock().expect("no holder of this lock panics");
        let Some(feed) = feed.as_mut() else { return Ok(()) };
        let state = state.lock().expect("no holder of this lock panics");
        for key in keys {
            feed.learn(key, state.get(key).map_err(|e| ClientError::Internal(e.to_string()))?);
        }
        feed.remember(self.registry)
    }

    /// A package's releases; `None` proves that there is no such package. Any spelling of the name will do.
    pub async fn index(&self, name: &PackageName) -> Result<Option<ProvedIndex>, ClientError> {
        let key = name.canonical();
        let what = format!("the index of `{name}`");
        let by_name = layout::index_file(name);
        let found = self.file(&key, FileClass::Index, &by_name, &what, INDEX_BYTES_MAX).await?;
        let Some((bytes, digest)) = found else { return Ok(None) };
        let file = IndexFile::parse(&bytes).map_err(|e| self.registry.unexpected(&by_name, &e))?;
        if let Some(line) = file.lines.iter().find(|line| line.name.canonical() != key) {
            return Err(
                VerificationError::Contradiction(format!("{what} has a release of `{}`", line.name)).into()
            );
        }
        Ok(Some(ProvedIndex { file, digest }))
    }

    /// A package's document; `None` proves that there is no such package.
    pub async fn document(&self, name: &PackageName) -> Result<Option<PackageDocument>, ClientError> {
        let what = format!("the document of `{name}`");
        let by_name = layout::document(name);
        let found =
            self.file(&name.canonical(), FileClass::Document, &by_name, &what, DOCUMENT_BYTES_MAX).await?;
        let Some((bytes, _)) = found else { return Ok(None) };
        let document: PackageDocument =
            serde_json::from_slice(&bytes).map_err(|e| self.registry.unexpected(&by_name, &e))?;
        if document.name.canonical() != name.canonical() {
            return Err(
                VerificationError::Contradiction(format!("{what} is that of `{}`", document.name)).into()
            );
        }
        Ok(Some(document))
    }

    /// What a short name means; `None` proves that it means nothing.
    pub async fn alias(&self, alias: &Alias) -> Result<Option<PackageName>, ClientError> {
        let what = format!("the aliases of `{}`", alias.shard());
        let map: Option<AliasMap> =
            self.about_aliases(&layout::alias_state_key(alias), FileClass::Alias, &what).await?;
        Ok(map.and_then(|map| map.aliases.get(alias).map(|target| target.package.clone())))
    }

    /// Every short name with what it means; `None` proves that there has never been one.
    pub async fn aliases(&self) -> Result<Option<AliasMap>, ClientError> {
        self.about_aliases(layout::ALIASES_STATE_KEY, FileClass::Alias, "the alias map").await
    }

    /// Everything that ever happened to a short name, oldest first; nothing proves that nothing did.
    pub async fn alias_history(&self, alias: &Alias) -> Result<Vec<AliasChange>, ClientError> {
        let what = format!("the history of the aliases of `{}`", alias.shard());
        let key = layout::alias_state_key(alias);
        let history: Option<AliasHistory> = self.about_aliases(&key, FileClass::History, &what).await?;
        let changes = history.map(|history| history.changes).unwrap_or_default();
        Ok(changes.into_iter().filter(|change| change.alias == *alias).collect())
    }

    async fn about_aliases<T: DeserializeOwned>(
        &self,
        key: &str,
        class: FileClass,
        what: &str,
    ) -> Result<Option<T>, ClientError> {
        let by_name = layout::alias_file(key, class)
            .ok_or_else(|| ClientError::Internal(format!("`{key}` is not about aliases")))?;
        let Some((bytes, _)) = self.file(key, class, &by_name, what, ALIASES_BYTES_MAX).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| self.registry.unexpected(&by_name, &e))
    }

    /// The bytes of a state-mapped file: cached, or by name, or by hash where the name gives other bytes.
    pub(crate) async fn file(
        &self,
        key: &str,
        class: FileClass,
        by_name: &str,
        what: &str,
        bytes_max: u64,
    ) -> Result<Option<(Bytes, Sha256Digest)>, ClientError> {
        let Some(entry) = self.entry(key).await? else { return Ok(None) };
        let Some(&FileRef { digest, len }) = entry.files.get(&class.letter()) else { return Ok(None) };
        let digest = Sha256Digest::from_bytes(digest.into());
        if len > bytes_max {
            return Err(ClientError::TooBig { url: self.registry.url(by_name), bytes_max });
        }
        let is_it = |bytes: &[u8]| {
            !self.registry.defences().up(Defence::FileDigest)
                || bytes.len() as u64 == len && Sha256Digest::of(bytes) == digest
        };
        let object = layout::object(&digest);
        if let Some(bytes) = self.registry.cached(&object).filter(|bytes| is_it(bytes)) {
            return Ok(Some((bytes, digest)));
        }
        if self.registry.network() == Network::Offline {
            return Err(ClientError::OfflineMiss { what: what.into() });
        }
        // The file by name is what edges have at hand. It may lag behind or run ahead; that is no attack.
        if let Ok(answer) = self.registry.read(&self.registry.url(by_name), None, len).await
            && is_it(&answer.body)
        {
            self.registry.keep(&object, answer.body.clone())?;
            return Ok(Some((answer.body, digest)));
        }
        match self.registry.by_hash(&object, len, is_it).await {
            Ok(Some(Ok(bytes))) => Ok(Some((bytes, digest))),
            Ok(Some(Err(bytes))) => {
                let actual = Sha256Digest::of(&bytes);
                Err(VerificationError::Digest { what: what.into(), expected: digest, actual }.into())
            }
            Ok(None) => Err(VerificationError::Missing { what: what.into() }.into()),
            Err(ClientError::TooBig { .. }) => {
                Err(ClientError::proof(what, format!("it is longer than the {len} bytes that the log names")))
            }
            Err(error) => Err(error),
        }
    }

    async fn node(&self, node: StateNode) -> Result<Bytes, ClientError> {
        let bytes_max = match node {
            StateNode::Mid { .. } => STATE_TILE_BYTES,
            StateNode::Shard { .. } => SHARD_READ_BYTES_MAX,
        };
        let passes = |bytes: &[u8]| match node {
            StateNode::Mid { root, .. } => drystone_log::MidTile::open(&root, bytes).is_ok(),
            StateNode::Shard { index, leaf } => drystone_log::Shard::open(index, &leaf, bytes).is_ok(),
        };
        state_node(self.registry, &node.key(), bytes_max, passes).await
    }
}

/// What the events since the last look say of the files known then, and size and root that they were followed from; a
/// new beginning where there is nothing to follow, or it does not lead here: then the tiles decide what that means.
async fn follow(
    registry: &Registry,
    log: &PinnedLog,
    to: &Checkpoint,
    last_entry: &[u8],
) -> Result<(Option<Feed>, Option<(u64, Hash)>), ClientError> {
    let recalled = Feed::recall(registry, &log.origin);
    if registry.network() == Network::Offline {
        return Ok((recalled.filter(|feed| (feed.size(), feed.root()) == (to.size(), to.root())), None));
    }
    if let Some(feed) = recalled {
        let from = (feed.size(), feed.root());
        if let Ok(Some(Ok(feed))) = feed.catch_up(registry, to, last_entry).await {
            return Ok((Some(feed), Some(from)));
        }
    }
    // The newest proof was read a moment ago.
    let proof = registry.cached(layout::LATEST_PROOF).and_then(|bytes| TlogProof::decode(&bytes).ok());
    Ok((proof.and_then(|proof| Feed::begin(to, last_entry, &proof)), None))
}

/// Fetches a node of the state map, named by its hash.
async fn state_node(
    registry: &Registry,
    key: &str,
    bytes_max: usize,
    passes: impl Fn(&[u8]) -> bool,
) -> Result<Bytes, ClientError> {
    match registry.by_hash(key, bytes_max as u64, passes).await? {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(_)) => {
            Err(ClientError::proof(format!("`{key}`"), "its bytes do not have the hash in its name"))
        }
        None => Err(VerificationError::Missing { what: format!("`{key}`") }.into()),
    }
}

async fn load_root_tile(registry: &Registry, root: &Hash) -> Result<RootTile, ClientError> {
    if RootTile::is_empty_root(root) {
        return Ok(RootTile::empty());
    }
    let key = root_tile_key(root);
    let open = |bytes: &[u8]| match registry.defences().up(Defence::StateRoot) {
        true => RootTile::open(root, bytes),
        false => RootTile::from_bytes(bytes),
    };
    let bytes = state_node(registry, &key, STATE_TILE_BYTES, |bytes| open(bytes).is_ok()).await?;
    open(&bytes).map_err(|e| ClientError::proof(format!("`{key}`"), e))
}

/// The newest signed checkpoint and the last entry below it, asked for again if an edge lags behind what was seen.
async fn newest(
    registry: &Registry,
    log: &PinnedLog,
    remembered: Option<&SignedCheckpoint>,
    mut shown: Shown,
) -> Result<(SignedCheckpoint, Vec<u8>), ClientError> {
    let seen = remembered.map_or(0, |signed| signed.checkpoint().size());
    let mut tries = 1;
    loop {
        let (signed, last_entry) = shown.open(registry, log).await?;
        let lags = signed.checkpoint().size() < seen;
        if !lags || tries == LAGGING_TRIES_MAX || registry.network() == Network::Offline {
            return Ok((signed, last_entry));
        }
        tries += 1;
        let effects = registry.http().effects();
        effects
            .wait(effects.jittered(Duration::from_secs(1)), "the registry shows an older log than before")
            .await;
        shown = Shown::fetch(registry).await?;
    }
}

/// What a registry shows of its log, not looked at yet.
enum Shown {
    /// The newest event's proof.
    Proof(Bytes),
    /// Only a checkpoint.
    Checkpoint(Bytes),
}

impl Shown {
    async fn fetch(registry: &Registry) -> Result<Self, ClientError> {
        if let Some(bytes) = registry.by_name(layout::LATEST_PROOF, PROOF_FILE_BYTES_MAX).await? {
            return Ok(Self::Proof(bytes));
        }
        let bytes = registry.by_name(layout::CHECKPOINT, drystone_log::note::NOTE_BYTES_MAX as u64).await?;
        let missing = || registry.unexpected(layout::CHECKPOINT, &"there is no checkpoint");
        Ok(Self::Checkpoint(bytes.ok_or_else(missing)?))
    }

    /// The checkpoint, signed by the log, and its last entry, proved.
    async fn open(
        &self,
        registry: &Registry,
        log: &PinnedLog,
    ) -> Result<(SignedCheckpoint, Vec<u8>), ClientError> {
        let refused = |what: &'static str| move |e: &dyn std::fmt::Display| ClientError::proof(what, e);
        match self {
            Self::Proof(bytes) => {
                let refused = refused("the newest event's proof");
                let proof = TlogProof::decode(bytes).map_err(|e| refused(&e))?;
                let entry = proof.extra.clone().ok_or_else(|| refused(&"it does not hold the event"))?;
                let signed = proof.verify(&entry, &log.key, &log.origin).map_err(|e| refused(&e))?;
                let newest = proof.index + 1 == signed.checkpoint().size();
                let newest = newest.then_some(()).ok_or_else(|| refused(&"it is not that of the last event"));
                registry.defences().hold(Defence::NewestEvent, newest)?;
                Ok((signed, entry))
            }
            Self::Checkpoint(bytes) => {
                let refused = refused("the checkpoint");
                let signed = SignedCheckpoint::open(bytes, &log.key, &log.origin).map_err(|e| refused(&e))?;
                let last = signed.checkpoint().size().checked_sub(1);
                let last = last.ok_or_else(|| refused(&"the log has no event"))?;
                let entry = tiles::entry(registry, signed.checkpoint(), last).await?;
                Ok((signed, entry))
            }
        }
    }
}

/// The state root in the last event, whose place in the log has been proved.
fn state_root(registry: &Registry, checkpoint: &Checkpoint, last_entry: &[u8]) -> Result<Hash, ClientError> {
    let refused = |e: &dyn std::fmt::Display| ClientError::proof("the newest event", e);
    let head = EventHead::from_line(last_entry).map_err(|e| refused(&e))?;
    let newest = (head.seq + 1 == checkpoint.size())
        .then_some(())
        .ok_or_else(|| refused(&"it names another position in the log"));
    registry.defences().hold(Defence::NewestEvent, newest)?;
    Ok(Hash::new(*head.state.as_bytes()))
}

async fn check_continues(
    registry: &Registry,
    size: u64,
    root: &Hash,
    new: &Checkpoint,
) -> Result<(), ClientError> {
    match tiles::check_consistency(registry, size, root, new).await {
        Ok(()) => Ok(()),
        Err(NotConsistent::Client(error)) => Err(error),
        Err(NotConsistent::Proof(detail)) => Err(VerificationError::Fork {
            origin: new.origin().into(),
            old_size: size,
            new_size: new.size(),
            detail,
            evidence: None,
        }
        .into()),
    }
}

/// Keeps both notes of a fork, so that the user can show them to others.
fn with_evidence(
    error: ClientError,
    trust: &TrustStore,
    seen: &SignedCheckpoint,
    offered: &SignedCheckpoint,
) -> ClientError {
    match error {
        ClientError::Verification(VerificationError::Fork { origin, old_size, new_size, detail, .. }) => {
            let evidence = trust.keep_evidence(seen, offered).ok();
            VerificationError::Fork { origin, old_size, new_size, detail, evidence }.into()
        }
        other => other,
    }
}
