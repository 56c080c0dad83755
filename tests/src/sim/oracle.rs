//! What must hold at every write, whoever makes it: the order of a commit, and that nothing ever goes back.
//!
//! Owns: the log as heads committed it, and the checks of writes and of answers. Does not own the check of everything
//! at the end. Invariant: it believes no writer; it looks at what is stored.

mod answers;
mod removed;

pub(super) use answers::{Asked, Meaning, UNKNOWN};

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_log::{
    BundleId, EntryBundle, FileRef, Hash, MemoryTree, ShardEntry, SignedCheckpoint, StateMap, TileId,
    TlogProof, VerifierKey,
    commit::{Head, Staging},
    leaf_hash, shard_of,
    state_map::{mid_tile_key, root_tile_key, shard_key, split_index},
    tile::{new_tiles, partial_bundle},
    verify_inclusion,
};
use drystone_schemas::{AccountId, Event, EventBody, EventId, FileClass, Sha256Digest, file_seq, layout};
use serde::Deserialize;

use super::{
    calls::{Changed, Memory, Place},
    clock::CLOCK_OFF_S_MAX,
};

/// The log as it was committed, and what has been seen of it.
#[derive(Clone)]
pub(super) struct Oracle {
    key: VerifierKey,
    origin: String,
    tree: MemoryTree,
    /// The state map as the events say, from the first on.
    state: StateMap,
    /// Sizes at which a head was committed.
    heads: BTreeMap<u64, Hash>,
    pub(super) lines: Vec<Vec<u8>>,
    events: Vec<Event>,
    ids: BTreeMap<EventId, u64>,
    versions: BTreeMap<(String, String), Sha256Digest>,
    published: u64,
    latest: u64,
    /// Notes whose signature was verified, with what they say: most are seen several times.
    verified: BTreeMap<Vec<u8>, (u64, Hash)>,
    /// The store's time, in seconds since 1970.
    pub(super) now_s: u64,
    /// Somebody's clock was wrong, or may have seemed so.
    pub(super) clocks_were_turned: bool,
    /// Accounts whose only token is being revoked, and those of which that was answered.
    pub(super) revoking: BTreeSet<AccountId>,
    pub(super) revoked: BTreeSet<AccountId>,
    pub(super) removals: removed::Removals,
    violations: Vec<String>,
}

/// The by-name files that an event changes.
fn by_name(event: &Event) -> Vec<String> {
    let package = event.package();
    let of_class = |class: FileClass, name: &str| {
        let of_package = package.and_then(|package| layout::package_file(package, class));
        of_package.or_else(|| layout::alias_file(name, class)).unwrap_or_default()
    };
    let mut files: Vec<String> = event.files.iter().map(|change| of_class(change.0, &change.1)).collect();
    if matches!(event.body, EventBody::Config { .. } | EventBody::Genesis { .. }) {
        files.extend([layout::CONFIG.to_owned(), layout::INDEX_CONFIG.to_owned()]);
    }
    if let EventBody::AliasSet { alias, .. } | EventBody::AliasRemove { alias, .. } = &event.body {
        files.push(layout::resolve(alias));
    }
    files
}

impl Oracle {
    /// Starts from nothing.
    pub(super) fn new(key: VerifierKey) -> Self {
        Self {
            origin: key.name().to_owned(),
            key,
            tree: MemoryTree::new(),
            state: StateMap::new(),
            heads: BTreeMap::new(),
            lines: Vec::new(),
            events: Vec::new(),
            ids: BTreeMap::new(),
            versions: BTreeMap::new(),
            published: 0,
            latest: 0,
            verified: BTreeMap::new(),
            now_s: u64::MAX,
            clocks_were_turned: false,
            revoking: BTreeSet::new(),
            revoked: BTreeSet::new(),
            removals: removed::Removals::default(),
            violations: Vec::new(),
        }
    }

    /// Starts from a registry that is whole.
    pub(super) fn of(memory: &Memory, key: VerifierKey) -> Self {
        let mut oracle = Self::new(key);
        let head = memory.bytes(Place::Vault, layout::HEAD).expect("a registry has a head");
        let size = Head::parse(&head).expect("its head can be read").size();
        let bundle = partial_bundle(size).expect("the base has less than a bundle");
        let bytes = memory.bytes(Place::Public, &format!("log/{}", bundle.path())).expect("it has entries");
        let lines = EntryBundle::decode(bundle, &bytes).expect("which can be read").into_entries();
        lines.into_iter().for_each(|line| oracle.event(memory, line));
        oracle.heads.insert(size, oracle.root(size));
        (oracle.published, oracle.latest) = (size, size);
        assert!(!oracle.failed(), "the base is whole: {:?}", oracle.violations);
        oracle
    }

    pub(super) fn failed(&self) -> bool {
        !self.violations.is_empty()
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    pub(super) fn size(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Number of events that were ever published.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    fn root(&self, size: u64) -> Hash {
        self.tree.root_at(size).expect("the tree has every root up to its size")
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(what());
        }
    }

    /// Looks at a write that has changed something.
    pub(super) fn wrote(&mut self, memory: &Memory, changed: &Changed) {
        let Changed { place, key, before, after } = changed;
        let Some(after) = after else { return self.removed(memory, *place, key) };
        match (place, key.as_str()) {
            (Place::Vault, layout::HEAD) => self.head(memory, after),
            (Place::Vault, key) if key.starts_with("done/") => {
                self.expect(before.is_none(), || format!("`{key}` was written with other bytes"));
                self.outcome(key, after);
            }
            (Place::Public, layout::CHECKPOINT) => self.checkpoint(memory, after),
            (Place::Public, layout::LATEST_PROOF) => self.latest(after),
            (Place::Public, key) if key.starts_with("log/") || key.starts_with("o/") => {
                self.expect(before.is_none(), || format!("`{key}` was written with other bytes"));
                if key.starts_with("log/tile/") {
                    self.tile(key, after);
                } else if key.starts_with("log/checkpoints/") {
                    self.signed(key, after);
                }
            }
            (Place::Public, key) => {
                let (old, new) = (before.as_ref().and_then(|old| file_seq(key, old)), file_seq(key, after));
                let size = self.size();
                self.expect(new.is_some_and(|new| new < size), || {
                    format!(
                        "`{key}` has position {new:?}, and {size} events are committed: files before head"
                    )
                });
                self.expect(before.is_none() || old < new, || {
                    format!("`{key}` went from position {old:?} to {new:?}")
                });
            }
            (Place::Vault, _) => {}
        }
    }

    /// A head may add events, whose objects and staging list are there, or nothing.
    fn head(&mut self, memory: &Memory, bytes: &Bytes) {
        let head = match Head::parse(bytes) {
            Ok(head) => head,
            Err(error) => return self.violation(format!("head cannot be read: {error}")),
        };
        let Some(staging) = memory.bytes(Place::Vault, &head.staging) else {
            return self.violation("head was replaced before its staging object was there".into());
        };
        let size = self.size();
        if head.size() < size {
            return self.violation(format!("head went from {size} events to {}", head.size()));
        }
        if head.size() > size {
            let staging = match Staging::parse(&staging) {
                Ok(staging) => staging,
                Err(error) => return self.violation(format!("a staging object cannot be read: {error}")),
            };
            for op in staging.ops.iter().filter(|op| op.key.starts_with("log/tile/entries/")) {
                let id = BundleId::parse(&op.key["log/".len()..]).expect("a bundle's key is one");
                let bundle = EntryBundle::decode(id, &op.bytes).expect("a staged bundle can be read");
                let known = (self.size() - id.first_entry()) as usize;
                bundle.into_entries().drain(known..).for_each(|line| self.event(memory, line));
            }
            self.expect(self.size() == head.size(), || "the staged entries do not lead to head".into());
            self.files_of_commit(memory, size);
        }
        if self.size() == head.size() {
            let root = self.root(head.size());
            self.expect(head.root == root, || {
                format!("head has another root at {} events than was committed", head.size())
            });
            let state = self.state.root();
            self.expect(head.state == state, || {
                format!("head has another state at {} events than follows from them", head.size())
            });
            self.heads.insert(head.size(), root);
        }
    }

    /// The files of a commit are there by their hash, as they are after its last event, and the nodes above them.
    fn files_of_commit(&mut self, memory: &Memory, first: u64) {
        let changes = self.events[first as usize..].iter().flat_map(|event| &event.files);
        let last: BTreeMap<_, Sha256Digest> =
            changes.map(|change| ((change.0, change.1.clone()), change.2)).collect();
        let kept = last.iter().filter(|((class, _), _)| class.is_kept_by_hash());
        let mut keys: BTreeSet<String> = kept.map(|(_, digest)| layout::object(digest)).collect();
        for (_, state_key) in last.keys() {
            let index = shard_of(state_key);
            keys.insert(root_tile_key(&self.state.root()));
            keys.extend(self.state.mid(split_index(index).0).map(|mid| mid_tile_key(&mid.root())));
            keys.extend(self.state.shard(index).map(|shard| shard_key(&shard.leaf_hash())));
        }
        for key in keys {
            self.expect(memory.bytes(Place::Public, &key).is_some(), || {
                format!("head was replaced before `{key}` was there")
            });
        }
    }

    fn event(&mut self, memory: &Memory, line: Vec<u8>) {
        let seq = self.size();
        let event = Event::from_line(&line).expect("a committed event can be read");
        self.tree.append(leaf_hash(&line));
        self.expect(event.seq == seq, || format!("event {seq} says that it is event {}", event.seq));
        if let Some(first) = self.ids.insert(event.id.clone(), seq) {
            self.violation(format!("intent {} is in the log at {first} and at {seq}", event.id));
        }
        let mut objects = Vec::new();
        match &event.body {
            EventBody::Publish { pkg, vers, tarball, record, .. } => {
                objects.extend([*tarball, *record]);
                let known = self.versions.insert((pkg.canonical(), vers.to_string()), *tarball);
                self.expect(known.is_none(), || format!("`{pkg}` {vers} was published twice"));
            }
            EventBody::Config { config } | EventBody::Genesis { config, .. } => objects.push(*config),
            _ => {}
        }
        for object in objects {
            let key = layout::object(&object);
            self.expect(memory.bytes(Place::Public, &key).is_some(), || {
                format!("event {seq} was committed before its object `{key}` was there")
            });
        }
        let before = self.events.last().map_or(0, |event| event.time);
        self.expect(event.time >= before, || format!("the time of event {seq} goes back"));
        let latest = self.now_s.saturating_add(CLOCK_OFF_S_MAX);
        self.expect(event.time <= latest, || {
            format!("event {seq} lies {} seconds ahead of the store's clock", event.time - latest)
        });
        self.state(&event);
        self.expect(!self.revoked.contains(&event.actor), || {
            format!("event {seq} was committed with a token whose revocation had been answered")
        });
        self.lines.push(line);
        self.events.push(event);
    }

    /// The state that an event names is what follows from the events.
    fn state(&mut self, event: &Event) {
        for change in &event.files {
            let known = self.state.get(&change.1).expect("every node is there").cloned();
            let mut files = known.map(|entry| entry.files).unwrap_or_default();
            let file = FileRef { digest: Hash::new(*change.2.as_bytes()), len: change.3 };
            files.insert(change.0.letter(), file);
            let entry = ShardEntry { seq: event.seq, files };
            self.state.set(&change.1, entry).expect("an event's files fit the state map");
        }
        let root = self.state.root();
        self.expect(root.as_bytes() == event.state.as_bytes(), || {
            format!("the state of event {} does not follow from the events", event.seq)
        });
    }

    fn outcome(&mut self, key: &str, bytes: &Bytes) {
        #[derive(Deserialize)]
        struct Outcome {
            seq: u64,
        }
        let seq = serde_json::from_slice::<Outcome>(bytes).ok().map(|outcome| outcome.seq);
        let event = seq.and_then(|seq| self.events.get(seq as usize));
        let right = event.is_some_and(|event| layout::done(&event.id) == key);
        self.expect(right, || format!("`{key}` names event {seq:?}, which is not that intent's"));
    }

    fn tile(&mut self, key: &str, bytes: &Bytes) {
        let path = &key["log/".len()..];
        let size = self.size();
        let right = match BundleId::parse(path) {
            Ok(id) => {
                let first = id.first_entry() as usize;
                EntryBundle::decode(id, bytes).is_ok_and(|bundle| {
                    self.lines.get(first..first + bundle.entries().len()) == Some(bundle.entries())
                })
            }
            Err(_) => TileId::parse(path)
                .is_ok_and(|id| (id.index() * 256 + u64::from(id.width())) << (8 * id.level()) <= size),
        };
        self.expect(right, || format!("`{key}` does not follow from the committed log"));
    }

    /// What is signed is the tree of a head that was committed.
    fn signed(&mut self, key: &str, bytes: &[u8]) -> Option<(u64, Hash)> {
        let (size, root) = match self.verified.get(bytes) {
            Some(known) => *known,
            None => match SignedCheckpoint::open(bytes, &self.key, &self.origin) {
                Ok(signed) => (signed.checkpoint().size(), signed.checkpoint().root()),
                Err(error) => {
                    self.violation(format!("`{key}` is not a signed checkpoint: {error}"));
                    return None;
                }
            },
        };
        self.verified.insert(bytes.to_vec(), (size, root));
        let committed = self.heads.get(&size) == Some(&root);
        self.expect(committed, || format!("`{key}` signs {size} events that were never a head"));
        Some((size, root))
    }

    fn checkpoint(&mut self, memory: &Memory, bytes: &Bytes) {
        let Some((size, _)) = self.signed(layout::CHECKPOINT, bytes) else { return };
        let before = self.published;
        let tiles = new_tiles(before.min(size), size).into_iter().map(|id| id.path());
        for path in tiles.chain(partial_bundle(size).map(|id| id.path())) {
            self.expect(memory.bytes(Place::Public, &format!("log/{path}")).is_some(), || {
                format!("{size} events were published before `log/{path}` was there")
            });
        }
        self.expect(size >= before, || format!("the published size went from {before} to {size}"));
        self.published = self.published.max(size);
        for seq in before..size.min(self.size()) {
            if let Some(missing) = self.not_applied(memory, seq) {
                self.violation(format!("{size} events were published before {missing}"));
            }
        }
    }

    fn latest(&mut self, bytes: &Bytes) {
        let Ok(proof) = TlogProof::decode(bytes) else {
            return self.violation("the newest proof cannot be read".into());
        };
        let size = proof.index + 1;
        let before = self.latest;
        self.expect(size >= before, || format!("the newest proof went from {before} events to {size}"));
        self.latest = self.latest.max(size);
        self.proof(&proof);
    }

    /// Checks a proof of an event in the log.
    fn proof(&mut self, proof: &TlogProof) {
        let line = self.lines.get(proof.index as usize).cloned().unwrap_or_default();
        let Some((size, root)) = self.signed("a proof", &proof.checkpoint) else { return };
        let holds = verify_inclusion(&leaf_hash(&line), proof.index, size, &proof.hashes, &root);
        self.expect(holds.is_ok(), || format!("the proof of event {} does not hold", proof.index));
    }

    /// Names a file that an applied event must have left, and has not.
    fn not_applied(&self, memory: &Memory, seq: u64) -> Option<String> {
        let event = &self.events[seq as usize];
        let done = layout::done(&event.id);
        if memory.bytes(Place::Vault, &done).is_none() && !self.removals.outcomes.contains(&done) {
            return Some(format!("`{done}` was written"));
        }
        let late = |key: &String| {
            let bytes = memory.bytes(Place::Public, key);
            bytes.and_then(|bytes| file_seq(key, &bytes)).is_none_or(|there| there < seq)
        };
        by_name(event).into_iter().find(late).map(|key| format!("`{key}` had reached event {seq}"))
    }

    /// What happened from an event on.
    pub(super) fn kinds(&self, first: u64) -> Vec<String> {
        let kind = |event: &Event| {
            let body = serde_json::to_value(&event.body).expect("an event is JSON");
            body["kind"].as_str().expect("which has a kind").to_owned()
        };
        self.events[first as usize..].iter().map(kind).collect()
    }

    /// What must hold when everything has come to rest.
    pub(super) fn at_rest(&mut self) {
        let (size, published, latest) = (self.size(), self.published, self.latest);
        self.expect((published, latest) == (size, size), || {
            format!("{size} events are committed, {published} published, the newest proof is of {latest}")
        });
    }
}
