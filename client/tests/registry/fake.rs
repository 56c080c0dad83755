//! A registry in memory: a real log, a real state map, static files, and an HTTP server that misbehaves on request.

// The way is written down because this file is part of two programs.
#[path = "fake/aliases.rs"]
mod aliases;
#[path = "fake/effects.rs"]
mod effects;
#[path = "fake/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::Router;
use drystone_archive::{PackFile, inspect, pack, root_directory};
use drystone_client::{
    Effects, Home, Http, HttpOptions, Network, Registry, Secret, Store, Token, TrustStore,
};
use drystone_log::{
    BundleId, Checkpoint, Cosigner, EntryBundle, FileRef, Hash, HashReader as _, MemoryTree, NoteSigner,
    ShardEntry, SignedCheckpoint, StateMap, TlogProof, VerifierKey, leaf_hash, prove_inclusion,
    tile::{entry_bundles, new_tiles, tile_bytes},
};
use drystone_schemas::{
    AccountId, AuthorKeys, AuthorKeysFile, AuthorSignatures, DepKind, Event, EventBody, EventId, FileChange,
    FileClass, Format, IndexDep, IndexFile, IndexLine, Limits, OwnerEntry, PackageDocument, PackageName,
    PublishMetadata, RegistryConfig, ResolveRecord, Role, Settings, Sha256Digest, Version, layout, rfc3339,
};
use tokio::sync::Notify;

use self::{
    effects::Counter,
    server::{Served, serve},
};
pub(crate) use self::{
    effects::{START_UNIX_MS, TestClock},
    server::{Act, Seen},
};

pub(crate) const ORIGIN: &str = "fake.example/log/1";
const ID: &str = "01JD3K6Q0Z0000000000000000";

/// The log and the files that follow from it.
pub(crate) struct World {
    signer: NoteSigner,
    base: String,
    entries: Vec<Vec<u8>>,
    tree: MemoryTree,
    state: StateMap,
    indexes: BTreeMap<String, IndexFile>,
    /// Keys of authors, by canonical name.
    authors: BTreeMap<String, AuthorKeys>,
    /// Time of the next event, in seconds since 1970.
    pub(crate) time_s: u64,
    served: Arc<Mutex<Served>>,
    pub(crate) direct_upload_bytes_max: u64,
}

/// A world with a server and a client's home.
pub(crate) struct Fake {
    pub(crate) world: World,
    pub(crate) clock: Arc<TestClock>,
    home: tempfile::TempDir,
}

impl Fake {
    /// A registry with a log that holds nothing but its first event.
    pub(crate) async fn start() -> Self {
        let served = Arc::new(Mutex::new(Served::default()));
        let app = Router::new().fallback(serve).with_state(served.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let world = World::new(base, served, ORIGIN, 7);
        Self { world, clock: Arc::default(), home: tempfile::tempdir().unwrap() }
    }

    /// Another log at the same address, with the same key or with another one.
    pub(crate) fn replace_world(&mut self, seed: u8) {
        self.replace_log(ORIGIN, seed);
    }

    /// The same, under another origin.
    pub(crate) fn replace_log(&mut self, origin: &str, seed: u8) {
        let served = self.world.served.clone();
        served.lock().unwrap().files.clear();
        self.world = World::new(self.world.base.clone(), served, origin, seed);
    }

    pub(crate) fn home(&self) -> Home {
        Home::new(self.home.path())
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.home().store())
    }

    pub(crate) fn trust(&self) -> TrustStore {
        TrustStore::new(self.home())
    }

    pub(crate) fn http(&self) -> Arc<Http> {
        let effects = Effects::new(self.clock.clone(), Arc::new(Counter::default()));
        Http::new(HttpOptions::new("test"), effects)
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry_with(Network::Online, None)
    }

    pub(crate) fn registry_with(&self, network: Network, token: Option<&str>) -> Registry {
        let token = token.map(|token| Token { secret: Secret::new(token), api: None });
        Registry::new(&self.world.base, self.http(), &self.home().cache(), network, token).unwrap()
    }
}

impl World {
    fn new(base: String, served: Arc<Mutex<Served>>, origin: &str, seed: u8) -> Self {
        let mut world = Self {
            signer: NoteSigner::from_seed(origin, &[seed; 32]).unwrap(),
            base,
            entries: Vec::new(),
            tree: MemoryTree::new(),
            state: StateMap::new(),
            indexes: BTreeMap::new(),
            authors: BTreeMap::new(),
            time_s: START_UNIX_MS / 1000,
            served,
            direct_upload_bytes_max: 1 << 20,
        };
        let genesis = EventBody::Genesis {
            origin: origin.into(),
            log_key: world.signer.verifier().to_string(),
            config: Sha256Digest::of(b"config"),
            projection: 1,
        };
        world.append(genesis, vec![]);
        world
    }

    /// Signs with another key from now on.
    pub(crate) fn change_key(&mut self, seed: u8) {
        self.signer = NoteSigner::from_seed(self.signer.verifier().name(), &[seed; 32]).unwrap();
        self.write_log();
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap()
    }

    pub(crate) fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.served().files.insert(key.into(), bytes.into());
    }

    pub(crate) fn file(&self, key: &str) -> Vec<u8> {
        self.served().files[key].clone()
    }

    pub(crate) fn forget(&self, key: &str) {
        assert!(self.served().files.remove(key).is_some(), "{key} is there");
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.served().files.keys().cloned().collect()
    }

    /// What the server does with the next requests of this kind, in this order.
    pub(crate) fn script(&self, line: &str, mut acts: Vec<Act>) {
        acts.reverse();
        self.served().script.insert(line.into(), acts);
    }

    /// Keeps the next answer to a request of this kind back until it is released.
    pub(crate) fn hold(&self, line: &str) -> Arc<Notify> {
        self.served().held.entry(line.into()).or_default().clone()
    }

    pub(crate) fn require_token(&self, token: &str) {
        self.served().token = Some(token.into());
    }

    /// The requests since the last look.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.served().seen)
    }

    /// Everything that is served now.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.served().files.clone()
    }

    /// Serves these files and no others.
    pub(crate) fn serve(&self, files: BTreeMap<String, Vec<u8>>) {
        self.served().files = files;
    }

    /// The root of the state map.
    pub(crate) fn state_root(&self) -> Hash {
        self.state.root()
    }

    /// The proof of an event under the newest checkpoint.
    pub(crate) fn proof_of(&self, index: u64) -> Vec<u8> {
        let proof = TlogProof {
            extra: Some(self.entries[index as usize].clone()),
            index,
            hashes: prove_inclusion(index, self.size(), &self.tree).unwrap(),
            checkpoint: self.file(layout::CHECKPOINT),
        };
        proof.encode()
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(crate) fn root_at(&self, size: u64) -> Hash {
        self.tree.root_at(size).unwrap()
    }

    pub(crate) fn heartbeat(&mut self) {
        self.append(EventBody::Heartbeat {}, vec![]);
    }

    /// Many of them in one commit.
    pub(crate) fn heartbeats(&mut self, count: u64) {
        (0..count).for_each(|_| self.add(EventBody::Heartbeat {}, vec![]));
        self.write_log();
    }

    /// Publishes a package with one file, and returns its archive.
    pub(crate) fn publish(&mut self, name: &str, version: &str, deps: &[(&str, &str)]) -> Vec<u8> {
        let archive = archive_needing(name, version, deps);
        self.publish_archive(name, version, deps, &archive);
        archive
    }

    /// The same, without dependencies and with signatures.
    pub(crate) fn publish_signed(&mut self, name: &str, version: &str, sigs: AuthorSignatures) {
        self.put_release(name, version, &[], &archive(name, version), sigs);
    }

    /// Changes the keys of a package's authors by an event, whatever they were before. `edit` is told the event's position.
    pub(crate) fn author_keys(&mut self, name: &str, edit: impl FnOnce(&mut AuthorKeys, u64)) {
        let (name, seq) = (PackageName::new(name).unwrap(), self.size());
        edit(self.authors.entry(name.canonical()).or_default(), seq);
        // Which kind of event it is does not matter to clients: they go by the file.
        self.change(&name.clone(), EventBody::Undeprecate { pkg: name });
    }

    pub(crate) fn publish_archive(
        &mut self,
        name: &str,
        version: &str,
        deps: &[(&str, &str)],
        archive: &[u8],
    ) {
        self.put_release(name, version, deps, archive, AuthorSignatures::new());
    }

    fn put_release(
        &mut self,
        name: &str,
        version: &str,
        deps: &[(&str, &str)],
        archive: &[u8],
        sigs: AuthorSignatures,
    ) {
        let (name, vers) = (PackageName::new(name).unwrap(), Version::new(version).unwrap());
        let tarball = Sha256Digest::of(archive);
        let record = record_of(archive, &self.settings());
        self.put(&layout::object(&tarball), archive);
        let seq = self.size();
        let dep = |&(name, req): &(&str, &str)| IndexDep {
            name: name.into(),
            req: req.into(),
            features: vec![],
            optional: false,
            default_features: true,
            target: None,
            kind: DepKind::Normal,
            registry: None,
            package: None,
        };
        let line = IndexLine {
            name: name.clone(),
            vers: vers.clone(),
            deps: deps.iter().map(dep).collect(),
            cksum: tarball.hex(),
            features: BTreeMap::new(),
            yanked: false,
            links: None,
            v: 1,
            features2: BTreeMap::new(),
            rust_version: None,
            pubtime: rfc3339(self.time_s),
            seq,
            published: seq,
            size: archive.len() as u64,
            format: Format::Generic,
            record,
            sigs: sigs.clone(),
            zig: None,
            yank_reason: None,
            deleted: None,
        };
        self.indexes.entry(name.canonical()).or_default().lines.push(line);
        let body = EventBody::Publish { pkg: name.clone(), vers, tarball, record, sigs };
        self.change(&name, body);
    }

    /// Changes the lines of a package by an event that is not about one release.
    pub(crate) fn edit(&mut self, name: &str, edit: impl Fn(&mut IndexLine)) {
        let (name, seq) = (PackageName::new(name).unwrap(), self.size());
        let index = self.indexes.get_mut(&name.canonical()).unwrap();
        for line in &mut index.lines {
            edit(line);
            line.seq = seq;
        }
        self.change(&name.clone(), EventBody::Undeprecate { pkg: name });
    }

    /// Writes the files of a package and appends the event.
    fn change(&mut self, name: &PackageName, body: EventBody) {
        let index = self.indexes[&name.canonical()].clone();
        let document = PackageDocument {
            seq: self.size(),
            name: name.clone(),
            owners: vec![OwnerEntry { account: account(), role: Role::Owner }],
            pending_owners: vec![],
            transfer: None,
            author_keys: None,
            created: rfc3339(0),
            updated: rfc3339(0),
            releases: index.lines.len() as u64,
            latest: index.latest().map(|line| line.vers.clone()),
            aliases: vec![],
            authors: vec![],
            publishers: vec![],
            deprecated: None,
            description: None,
            license: None,
            keywords: vec![],
            categories: vec![],
            homepage: None,
            repository: None,
            documentation: None,
            zig: None,
        };
        let authors = self.authors.get(&name.canonical()).cloned();
        let keys = authors.map(|authors| AuthorKeysFile { seq: self.size(), name: name.clone(), authors });
        let files = [
            (FileClass::Index, layout::index_file(name), index.to_bytes()),
            (FileClass::Resolve, layout::resolve_record(name), ResolveRecord::of(&index).unwrap().to_bytes()),
            (FileClass::Document, layout::document(name), document.to_bytes()),
        ];
        let mut changes = Vec::new();
        let mut entry = ShardEntry { seq: self.size(), files: BTreeMap::new() };
        let keys = keys.map(|file| (FileClass::Keys, layout::author_keys(name), file.to_bytes()));
        for (class, key, bytes) in files.into_iter().chain(keys) {
            let digest = Sha256Digest::of(&bytes);
            let file = FileRef { digest: Hash::new(*digest.as_bytes()), len: bytes.len() as u64 };
            entry.files.insert(class.letter(), file);
            changes.push(FileChange(class, name.canonical(), digest, bytes.len() as u64));
            self.put(&layout::object(&digest), bytes.clone());
            self.put(&key, bytes);
        }
        self.state.set(&name.canonical(), entry).unwrap();
        self.append(body, changes);
    }

    fn append(&mut self, body: EventBody, files: Vec<FileChange>) {
        self.add(body, files);
        self.write_log();
    }

    fn add(&mut self, body: EventBody, files: Vec<FileChange>) {
        let event = Event {
            v: 1,
            seq: self.size(),
            id: EventId::new(ID).unwrap(),
            time: self.time_s,
            actor: account(),
            state: Sha256Digest::from_bytes(self.state.root().into()),
            files,
            body,
        };
        let line = event.to_line().unwrap();
        self.tree.append(leaf_hash(&line));
        self.entries.push(line);
    }

    /// The newest checkpoint with the signatures of cosigners at a time, in seconds since the test began.
    pub(crate) fn cosign(&self, cosigners: &[&Cosigner], at_s: u64) {
        let proof = TlogProof::decode(&self.file(layout::LATEST_PROOF)).unwrap();
        let key = self.signer.verifier();
        let mut signed = SignedCheckpoint::open(&proof.checkpoint, key, key.name()).unwrap();
        for cosigner in cosigners {
            let line = cosigner.sign(signed.note().text(), START_UNIX_MS / 1000 + at_s);
            signed.note_mut().add(line).unwrap();
        }
        let checkpoint = signed.to_bytes();
        self.put(layout::CHECKPOINT, checkpoint.clone());
        self.put(layout::LATEST_PROOF, TlogProof { checkpoint, ..proof }.encode());
    }

    /// Signs a checkpoint that need not be one of this log.
    pub(crate) fn sign(&self, size: u64, root: Hash) -> Vec<u8> {
        Checkpoint::new(self.signer.verifier().name(), size, root).unwrap().sign(&self.signer).to_bytes()
    }

    /// The key of the log.
    pub(crate) fn log_key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Writes everything that follows from the log, except the files of packages.
    fn write_log(&self) {
        let size = self.size();
        for id in new_tiles(0, size) {
            let first = id.index() * 256;
            let hash = |at: u64| self.tree.subtree(8 * id.level(), first + at).unwrap();
            let hashes: Vec<Hash> = (0..u64::from(id.width())).map(hash).collect();
            self.put(&format!("log/{}", id.path()), tile_bytes(&hashes));
        }
        for id in entry_bundles(0, size) {
            let id: BundleId = id;
            let first = id.first_entry() as usize;
            let entries = self.entries[first..first + usize::from(id.width())].to_vec();
            self.put(&format!("log/{}", id.path()), EntryBundle::new(entries).unwrap().encode());
        }
        for (key, bytes) in self.state.changed_nodes() {
            self.put(&key, bytes);
        }
        let root = self.tree.root_at(size).unwrap();
        let checkpoint = self.sign(size, root);
        let proof = TlogProof {
            extra: self.entries.last().cloned(),
            index: size - 1,
            hashes: prove_inclusion(size - 1, size, &self.tree).unwrap(),
            checkpoint: checkpoint.clone(),
        };
        self.put(layout::CHECKPOINT, checkpoint);
        self.put(layout::LATEST_PROOF, proof.encode());
        let key = self.signer.verifier().to_string();
        let config = RegistryConfig::new(0, self.signer.verifier().name().into(), key, self.settings());
        self.put(layout::CONFIG, config.to_bytes());
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new("fake", self.base.clone());
        settings.limits =
            Limits { direct_upload_bytes_max: self.direct_upload_bytes_max, ..Limits::default() };
        settings
    }

    /// Writes the configuration again after a setting has changed.
    pub(crate) fn rewrite(&self) {
        self.write_log();
    }
}

fn account() -> AccountId {
    AccountId::new(format!("acct:{ID}")).unwrap()
}

/// The digest of an archive's version record; of nothing in particular where the archive cannot be read.
fn record_of(archive: &[u8], settings: &Settings) -> Sha256Digest {
    let (limits, formats) = (&settings.limits, &settings.formats);
    let inspected = inspect(archive, limits, settings, formats, &PublishMetadata::default());
    inspected.map_or(Sha256Digest::of(b"record"), |inspected| Sha256Digest::of(&inspected.record.to_bytes()))
}

/// A canonical archive with a manifest and a source file.
pub(crate) fn archive(name: &str, version: &str) -> Vec<u8> {
    archive_needing(name, version, &[])
}

fn archive_needing(name: &str, version: &str, deps: &[(&str, &str)]) -> Vec<u8> {
    let mut manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n");
    if !deps.is_empty() {
        manifest.push_str("\n[dependencies]\n");
        deps.iter().for_each(|(name, req)| manifest.push_str(&format!("\"{name}\" = \"{req}\"\n")));
    }
    let source = format!("{name} {version}\n");
    let files = [
        PackFile::bytes("drystone.toml", false, manifest.as_bytes()),
        PackFile::bytes("src/lib.x", false, source.as_bytes()),
        PackFile::bytes("bin/run", true, b"#!/bin/sh\n"),
    ];
    let root = root_directory(&PackageName::new(name).unwrap(), &Version::new(version).unwrap());
    pack(Vec::new(), &root, files, &Limits::default()).unwrap()
}
