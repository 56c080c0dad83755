//! A log writer for tests: builds a whole registry in a memory store from a list of things that happen, with the pure
//! functions alone. The commit protocol is tested where it lives; this one writes the same files without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use drystone_index_builder::{
    AliasState, Draft, PROJECTION_VERSION, PackageState, ProjectedFile, Touched, project, project_config,
    project_plain,
};
use drystone_log::{
    Checkpoint, EntryBundle, FileRef, Frontier, Hash, HashReader, MemoryTree, NoteSigner, ShardEntry,
    StateMap, TlogProof,
    commit::{Gc, Head, Staging},
    leaf_hash, prove_inclusion,
    tile::{entry_bundles, new_tiles, tile_bytes},
};
use drystone_schemas::{
    AccountId, Alias, AliasHistory, AliasMap, DepKind, Event, EventBody, EventId, Format, PackageName,
    RecordDep, Settings, Sha256Digest, Version, VersionRecord, layout,
};
use drystone_storage::{Area, Body, Key, Meta, NewObject, Outcome, Replace, Store};

pub(crate) const ORIGIN: &str = "pkg.example/log/1";

pub(crate) fn account(n: u8) -> AccountId {
    AccountId::new(format!("acct:01JD3K6Q0Z000000000000000{n}")).unwrap()
}

pub(crate) fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub(crate) fn alias(text: &str) -> Alias {
    Alias::new(text).unwrap()
}

pub(crate) fn settings() -> Settings {
    Settings::new("demo", "https://pkg.example")
}

pub(crate) fn archive(pkg: &str, vers: &str) -> Vec<u8> {
    format!("the archive of {pkg} {vers}").into_bytes()
}

pub(crate) fn record(pkg: &str, vers: &str) -> VersionRecord {
    let archive = archive(pkg, vers);
    VersionRecord {
        v: 1,
        name: name(pkg),
        vers: version(vers),
        format: Format::Cargo,
        tarball: Sha256Digest::of(&archive),
        size: archive.len() as u64,
        unpacked: 9,
        deps: vec![RecordDep {
            name: "serde".into(),
            rename: None,
            req: "^1".into(),
            features: vec![],
            optional: false,
            default_features: true,
            target: None,
            kind: DepKind::Normal,
            registry_index: None,
        }],
        features: BTreeMap::new(),
        links: None,
        rust_version: None,
        description: Some(format!("{pkg} at {vers}")),
        license: Some("MIT".into()),
        authors: vec![],
        keywords: vec![],
        categories: vec![],
        homepage: None,
        repository: None,
        documentation: None,
        zig: None,
        readme: None,
        vcs: None,
        files: vec![],
    }
}

pub(crate) fn publish(pkg: &str, vers: &str) -> EventBody {
    let record = record(pkg, vers);
    EventBody::Publish {
        pkg: name(pkg),
        vers: version(vers),
        tarball: record.tarball,
        record: Sha256Digest::of(&record.to_bytes()),
        sigs: Default::default(),
    }
}

/// Where a record of [`publish`] lies.
pub(crate) fn record_key(pkg: &str, vers: &str) -> String {
    layout::object(&Sha256Digest::of(&record(pkg, vers).to_bytes()))
}

/// Where an archive of [`publish`] lies.
pub(crate) fn archive_key(pkg: &str, vers: &str) -> String {
    layout::object(&record(pkg, vers).tarball)
}

/// Writes a registry, one commit after the other.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) signer: NoteSigner,
    lines: Vec<Vec<u8>>,
    tree: MemoryTree,
    frontier: Frontier,
    state: StateMap,
    packages: BTreeMap<String, PackageState>,
    shards: BTreeMap<String, (AliasMap, AliasHistory)>,
    aliases: AliasMap,
    plain: BTreeMap<String, Vec<u8>>,
    settings: Settings,
    config_seq: u64,
    /// Makes events name other files than follow from them, and another state.
    pub(crate) lie_about_files: bool,
    /// Makes events name other bytes than follow from them, and the state of these.
    pub(crate) lie_about_bytes: bool,
}

impl Writer {
    /// A log with its genesis event.
    pub(crate) async fn new() -> Self {
        let mut writer = Self {
            store: Store::memory(),
            signer: NoteSigner::from_seed(ORIGIN, &[7; 32]).unwrap(),
            lines: Vec::new(),
            tree: MemoryTree::new(),
            frontier: Frontier::new(),
            state: StateMap::new(),
            packages: BTreeMap::new(),
            shards: BTreeMap::new(),
            aliases: AliasMap::default(),
            plain: BTreeMap::new(),
            settings: settings(),
            config_seq: 0,
            lie_about_files: false,
            lie_about_bytes: false,
        };
        let genesis = EventBody::Genesis {
            origin: ORIGIN.into(),
            log_key: writer.signer.verifier().to_string(),
            config: Sha256Digest::of(&writer.settings.to_bytes()),
            projection: PROJECTION_VERSION,
        };
        writer.commit(&[genesis]).await;
        writer
    }

    /// One commit of several events: everything is written, in the order of the protocol.
    pub(crate) async fn commit(&mut self, bodies: &[EventBody]) {
        let by_name = self.commit_unpublished(bodies).await;
        let size = self.lines.len() as u64;
        for (key, bytes) in by_name {
            set(&*self.store.public, &key, bytes).await;
        }
        let checkpoint =
            Checkpoint::new(ORIGIN, size, self.frontier.root()).unwrap().sign(&self.signer).to_bytes();
        let proof = TlogProof {
            extra: self.lines.last().cloned(),
            index: size - 1,
            hashes: prove_inclusion(size - 1, size, &self.tree).unwrap(),
            checkpoint: checkpoint.clone(),
        };
        put(&*self.store.public, &layout::checkpoint_history(size), checkpoint.clone()).await;
        set(&*self.store.public, layout::LATEST_PROOF, proof.encode()).await;
        set(&*self.store.public, layout::CHECKPOINT, checkpoint).await;
    }

    /// A commit whose writer died after the by-name files: neither checkpoint nor proof are written.
    pub(crate) async fn commit_without_checkpoint(&mut self, bodies: &[EventBody]) {
        for (key, bytes) in self.commit_unpublished(bodies).await {
            set(&*self.store.public, &key, bytes).await;
        }
    }

    /// Objects, nodes, tiles, bundles and head; the by-name files are returned.
    async fn commit_unpublished(&mut self, bodies: &[EventBody]) -> BTreeMap<String, Vec<u8>> {
        let old_size = self.lines.len() as u64;
        let mut by_name = BTreeMap::new();
        let mut objects = BTreeMap::new();
        for body in bodies {
            for file in self.append(body).await {
                by_name.insert(file.key, file.bytes.clone());
                objects.insert((file.class, file.state_key), file.bytes);
            }
            if let EventBody::Genesis { .. } | EventBody::Config { .. } = body {
                let (origin, key) = (ORIGIN, self.signer.verifier().to_string());
                by_name.extend(project_config(self.config_seq, origin, &key, &self.settings));
            }
        }
        by_name.append(&mut self.plain);
        let size = self.lines.len() as u64;
        let public = &*self.store.public;
        for bytes in objects.into_values() {
            put(public, &layout::object(&Sha256Digest::of(&bytes)), bytes).await;
        }
        for (key, bytes) in self.state.changed_nodes() {
            put(public, &key, bytes).await;
        }
        for id in new_tiles(old_size, size) {
            let hashes = (0..u64::from(id.width()))
                .map(|i| self.tree.subtree(8 * id.level(), id.index() * 256 + i).unwrap())
                .collect::<Vec<_>>();
            put(public, &format!("log/{id}"), tile_bytes(&hashes)).await;
        }
        for id in entry_bundles(old_size, size) {
            let start = id.first_entry() as usize;
            let entries = self.lines[start..start + usize::from(id.width())].to_vec();
            put(public, &format!("log/{id}"), EntryBundle::new(entries).unwrap().encode()).await;
        }
        self.write_head(size).await;
        by_name
    }

    async fn write_head(&self, size: u64) {
        let commit = format!("commit-{size}");
        let staging =
            Staging { size, last_entry: self.lines.last().unwrap().clone().into(), ops: Vec::new() };
        let staging = staging.to_bytes();
        let staging_digest = Sha256Digest::of(&staging);
        put(&*self.store.vault, &layout::staging(&commit), staging).await;
        let head = Head {
            v: 1,
            origin: ORIGIN.into(),
            log_key: self.signer.verifier().to_string(),
            frontier: self.frontier.clone(),
            root: self.frontier.root(),
            state: self.state.root(),
            root_tile: self.state.root_tile().clone(),
            time: self.time(size - 1),
            config: Sha256Digest::of(&self.settings.to_bytes()),
            config_seq: self.config_seq,
            staging: layout::staging(&commit),
            staging_digest,
            commit,
            nonce: format!("nonce {size}"),
            auth_epoch: 0,
            gc: Gc::default(),
        };
        set(&*self.store.vault, layout::HEAD, head.to_bytes()).await;
    }

    /// Makes another object of settings, for a `config` event.
    pub(crate) fn configure(&mut self, settings: Settings) -> EventBody {
        self.settings = settings;
        EventBody::Config { config: Sha256Digest::of(&self.settings.to_bytes()) }
    }

    fn time(&self, seq: u64) -> u64 {
        1_760_000_000 + seq
    }

    async fn append(&mut self, body: &EventBody) -> Vec<ProjectedFile> {
        let public = &*self.store.public;
        let seq = self.lines.len() as u64;
        let record = match body {
            EventBody::Publish { pkg, vers, .. } => {
                let (pkg, vers) = (pkg.as_str(), vers.to_string());
                put(public, &archive_key(pkg, &vers), archive(pkg, &vers)).await;
                put(public, &record_key(pkg, &vers), record(pkg, &vers).to_bytes()).await;
                Some(record(pkg, &vers))
            }
            EventBody::Genesis { config, .. } | EventBody::Config { config } => {
                put(public, &layout::object(config), self.settings.to_bytes()).await;
                self.config_seq = seq;
                None
            }
            _ => None,
        };
        let canonical = body.package().map(PackageName::canonical).unwrap_or_default();
        let shard = match body {
            EventBody::AliasSet { alias, .. } | EventBody::AliasRemove { alias, .. } => alias.shard(),
            _ => "",
        };
        let actor = account(1);
        let draft = Draft { seq, time: self.time(seq), actor: &actor, body };
        let aliases = (!shard.is_empty()).then(|| {
            let (shard, history) = self.shards.get(shard).cloned().unwrap_or_default();
            AliasState { shard, history, all: self.aliases.clone() }
        });
        let mut touched = Touched { package: self.packages.get(&canonical).cloned(), aliases };
        let mut files = project(&mut touched, &draft, record.as_ref(), &self.settings).unwrap();
        if self.lie_about_bytes {
            files.iter_mut().for_each(|file| file.bytes = b"a lie".to_vec());
        }
        if let Some(package) = &touched.package {
            self.plain.extend(project_plain(package, body, seq, &self.settings));
        }
        self.packages.extend(touched.package.map(|package| (canonical, package)));
        if let Some(state) = touched.aliases {
            self.shards.insert(shard.to_owned(), (state.shard, state.history));
            self.aliases = state.all;
        }
        for file in &files {
            let entry = self.state.get(&file.state_key).unwrap();
            let mut entry = entry.cloned().unwrap_or(ShardEntry { seq, files: BTreeMap::new() });
            let made = FileRef { digest: Hash::digest(&file.bytes), len: file.bytes.len() as u64 };
            entry.seq = seq;
            entry.files.insert(file.class.letter(), made);
            self.state.set(&file.state_key, entry).unwrap();
        }
        let mut changes: Vec<_> = files.iter().map(ProjectedFile::change).collect();
        if self.lie_about_files {
            changes.pop();
        }
        let event = Event {
            v: 1,
            seq,
            id: EventId::new(format!("01JD3K6Q0Z{seq:016}")).unwrap(),
            time: draft.time,
            actor: actor.clone(),
            state: Sha256Digest::from_bytes(*self.state.root().as_bytes()),
            files: changes,
            body: body.clone(),
        };
        let line = event.to_line().unwrap();
        self.tree.append(leaf_hash(&line));
        self.frontier.append(leaf_hash(&line));
        self.lines.push(line);
        files
    }

    /// A registry with every kind of event, in several commits.
    pub(crate) async fn sample() -> Self {
        let mut writer = Self::new().await;
        writer.commit(&[publish("acme/http", "1.0.0")]).await;
        writer.commit(&[publish("Net_Kit", "0.1.0"), publish("Net_Kit", "0.2.0")]).await;
        let pkg = || name("acme/http");
        writer
            .commit(&[
                EventBody::OwnerAdd {
                    pkg: pkg(),
                    account: account(2),
                    role: drystone_schemas::Role::Owner,
                    exception: None,
                },
                EventBody::AliasSet { pkg: pkg(), alias: alias("http") },
                EventBody::AliasSet { pkg: name("Net_Kit"), alias: alias("kit") },
            ])
            .await;
        let config = writer.configure(Settings { mirrors_crates_io: true, ..settings() });
        writer.commit(&[config, publish("acme/http", "1.1.0")]).await;
        writer
            .commit(&[
                EventBody::Yank { pkg: pkg(), vers: version("1.0.0"), reason: None },
                EventBody::Deprecate { pkg: name("Net_Kit"), reason: None },
                EventBody::AliasRemove { pkg: name("Net_Kit"), alias: alias("kit") },
                EventBody::Heartbeat {},
            ])
            .await;
        writer
    }
}

/// Creates an immutable file.
pub(crate) async fn put(area: &dyn Area, key: &str, bytes: Vec<u8>) {
    let object =
        NewObject { key: Key::new(key).unwrap(), body: Body::Bytes(bytes.into()), meta: Meta::PRIVATE };
    let outcome = area.put_new(&object).await.unwrap();
    assert_ne!(outcome, Outcome::AlreadyThereDifferent, "{key}");
}

/// Writes a file, whatever was there.
pub(crate) async fn set(area: &dyn Area, key: &str, bytes: Vec<u8>) {
    let key = Key::new(key).unwrap();
    let seen = area.read(&key, u64::MAX).await.unwrap().map(|file| file.tag);
    let outcome = area.replace(&key, seen.as_ref(), bytes.into(), Meta::PRIVATE).await.unwrap();
    assert!(matches!(outcome, Replace::Replaced(_)), "{key}");
}

/// Every file of an area.
pub(crate) async fn contents(area: &Arc<dyn Area>) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    let mut after = None;
    loop {
        let page = area.list("", after.as_deref()).await.unwrap();
        for key in page.keys {
            let bytes = area.get(&key, u64::MAX).await.unwrap().unwrap();
            files.insert(key.to_string(), bytes);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return files,
        }
    }
}

/// The keys of the files that the truth consists of: entries, archives, records and settings, and the checkpoint.
pub(crate) fn truth() -> BTreeSet<String> {
    let mut keys = BTreeSet::from([layout::CHECKPOINT.to_owned()]);
    for (pkg, vers) in
        [("acme/http", "1.0.0"), ("acme/http", "1.1.0"), ("Net_Kit", "0.1.0"), ("Net_Kit", "0.2.0")]
    {
        keys.extend([record_key(pkg, vers), archive_key(pkg, vers)]);
    }
    for mirrors_crates_io in [false, true] {
        let settings = Settings { mirrors_crates_io, ..settings() };
        keys.insert(layout::object(&Sha256Digest::of(&settings.to_bytes())));
    }
    keys
}

pub(crate) async fn remove(area: &dyn Area, key: &str) {
    area.delete(&Key::new(key).unwrap()).await.unwrap();
}
