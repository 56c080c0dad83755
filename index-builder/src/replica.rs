//! A whole registry in memory, as its events make it.
//!
//! Owns: folding events into packages, alias maps, configuration and the state map, and saying where an event's own
//! claims (`seq`, `files`, `state`) do not follow. Does not own reading: events and objects are given.
//! Invariant: the state map is a function of the events alone; packages are exact except those in
//! [`Replica::unknown`], of which a version record or the settings were missing.

mod part;
mod saved;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drystone_log::{FileRef, Hash, ShardEntry, StateMap};
use drystone_schemas::{
    Alias, AliasHistory, AliasMap, Event, EventBody, FileChange, FileClass, Format, LanguageApi, PackageName,
    Settings, Sha256Digest, VaisPackage, Version, VersionRecord, layout,
};

use crate::project::{
    AliasState, Draft, PROJECTION_VERSION, PackageState, ProjectError, ProjectedFile, Touched, changed_files,
    fold, package_files, project_api, project_config, resolve_file, vais_index_file, vais_package, whole_map,
};

pub use saved::SavedError;
pub(crate) use saved::SavedReplica;

/// Everything that follows from the events so far.
#[derive(Default)]
pub struct Replica {
    next_seq: u64,
    time: u64,
    identity: Option<Identity>,
    config: Option<Config>,
    packages: BTreeMap<String, PackageState>,
    /// Shards of the alias map with their history, by name.
    shards: BTreeMap<String, (AliasMap, AliasHistory)>,
    /// The whole alias map; its position is 0 as long as there was no alias.
    aliases: AliasMap,
    /// Packages with the versions whose record was missing, or with none where the state was lost altogether.
    unknown: BTreeMap<String, BTreeSet<String>>,
    state: StateMap,
    /// Documents of the root of trust, the first one first.
    trust: Vec<Sha256Digest>,
    /// The settings in force, shared by the packages that they were in force for.
    shared: Option<Arc<Settings>>,
    /// Of packages that have files for API clients: the settings at their last event.
    api: BTreeMap<String, Arc<Settings>>,
}

/// Which log it is, by its genesis event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Origin, as in the log's checkpoints.
    pub origin: String,
    /// Verifier key.
    pub log_key: String,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Their object.
    pub digest: Sha256Digest,
    /// Position in the log of the event that set them.
    pub seq: u64,
    /// The settings; none if their object was missing.
    pub settings: Option<Settings>,
}

/// The objects that an event names and its projection needs; none where they are missing.
#[derive(Debug, Default)]
pub struct Needed {
    /// For a publish event: its version record.
    pub record: Option<VersionRecord>,
    /// For a genesis or `config` event: the settings.
    pub settings: Option<Settings>,
}

/// A claim of an event that does not follow from the events before it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It names another position in the log than its own.
    #[error("it says that it is event {given}")]
    Seq {
        /// The position it names.
        given: u64,
    },
    /// Its time is before that of the event before it.
    #[error("its time {given} is before that of the event before it, {before}")]
    Time {
        /// Its time, in seconds since 1970.
        given: u64,
        /// That of the event before it.
        before: u64,
    },
    /// The first event is no genesis, or a later one is.
    #[error("a log begins with one genesis event")]
    Genesis,
    /// Another version of the projections is in force than this code has.
    #[error("projection {given} is not known here: upgrade")]
    Projection {
        /// The version.
        given: u32,
    },
    /// It is not the next document of the root of trust.
    #[error("it is document {given} of the root of trust, after {before}")]
    Trust {
        /// Its number.
        given: u64,
        /// How many were before it.
        before: u64,
    },
    /// What it says cannot be, after what was said before.
    #[error(transparent)]
    Impossible(#[from] ProjectError),
    /// It names other files, digests or lengths than follow from it.
    #[error("it says that its files are {given}, but they are {made}")]
    Files {
        /// What it names.
        given: String,
        /// What follows.
        made: String,
    },
    /// A name in its list of files cannot be in the state map.
    #[error("it names a file that no state map can have: {0}")]
    BadFile(String),
    /// It names another root of the state map than follows from its files.
    #[error("it says that the state is {given}, but it is {made}")]
    State {
        /// What it names.
        given: Sha256Digest,
        /// What follows.
        made: Hash,
    },
}

impl Replica {
    /// The state before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of events so far.
    pub fn size(&self) -> u64 {
        self.next_seq
    }

    /// Time of the last event, in seconds since 1970.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Which log it is; none before genesis.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The settings in force; none before genesis.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Every package, by canonical name.
    pub fn packages(&self) -> &BTreeMap<String, PackageState> {
        &self.packages
    }

    /// The whole alias map.
    pub fn aliases(&self) -> &AliasMap {
        &self.aliases
    }

    /// The documents of the root of trust that were put in force, the first one first.
    pub fn trust(&self) -> &[Sha256Digest] {
        &self.trust
    }

    /// The state map.
    pub fn state(&self) -> &StateMap {
        &self.state
    }

    /// Whether a package's files cannot be made, because a record of a release that still stands was missing.
    pub fn unknown(&self, canonical: &str) -> bool {
        self.unknown.contains_key(canonical)
    }

    /// Every state-mapped file as it is now, except those of unknown packages.
    pub fn files(&self) -> impl Iterator<Item = ProjectedFile> {
        let of_shard = |(name, (map, history)): (&String, &(AliasMap, AliasHistory))| {
            let file =
                |class, key, bytes| ProjectedFile { class, state_key: format!("~alias/{name}"), key, bytes };
            [
                file(FileClass::Alias, layout::alias_map(name), map.to_bytes()),
                file(FileClass::History, layout::alias_history(name), history.to_bytes()),
            ]
        };
        let whole = (!self.shards.is_empty()).then(|| whole_map(&self.aliases));
        let maps = self.shards.iter().flat_map(of_shard).chain(whole);
        let known = self.packages.iter().filter(|(canonical, _)| !self.unknown(canonical));
        maps.chain(known.flat_map(|(_, package)| {
            let own = [package.index_file(), package.resolve_file(), package.document_file()];
            own.into_iter().chain(package.keys_file())
        }))
    }

    /// The answers in GitHub's shape, by key, except those of unknown packages.
    fn api_files(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let known = self.api.iter().filter(|(canonical, _)| !self.unknown(canonical));
        known.flat_map(|(canonical, settings)| {
            self.packages.get(canonical).map_or_else(Vec::new, |package| project_api(package, settings))
        })
    }

    /// Every by-name file outside the state map, by key: the configuration, and what clients of other registries ask for.
    /// None before genesis or without settings.
    pub fn plain_files(&self) -> Option<Vec<(String, Vec<u8>)>> {
        let (identity, config) = (self.identity.as_ref()?, self.config.as_ref()?);
        let settings = config.settings.as_ref()?;
        let mut files = project_config(config.seq, &identity.origin, &identity.log_key, settings);
        files.extend(self.plain_files_of_packages(settings));
        files.extend(vais_index_file(&self.vais_packages(settings)));
        Some(files)
    }

    /// Those that are about packages and short names, one by one.
    pub(crate) fn plain_files_of_packages(&self, settings: &Settings) -> Vec<(String, Vec<u8>)> {
        let mut files = self.resolve_files();
        files.extend(self.api_files());
        let known = self.packages.iter().filter(|(canonical, _)| !self.unknown(canonical));
        files.extend(known.flat_map(|(_, package)| package_files(package, settings, None)));
        files
    }

    /// The elements of the index of all packages, where the registry's language asks for one.
    pub(crate) fn vais_packages(&self, settings: &Settings) -> BTreeMap<String, VaisPackage> {
        let wanted = settings.language_api() == Some(LanguageApi::Vais);
        let known = self.packages.iter().filter(|(canonical, package)| {
            wanted && !self.unknown(canonical) && package.document.name.owner().is_none()
        });
        known.map(|(canonical, package)| (canonical.clone(), vais_package(package, settings))).collect()
    }

    /// What every short name means that ever meant something, by its last change.
    fn resolve_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut last: BTreeMap<&Alias, (u64, Option<&PackageName>)> = BTreeMap::new();
        for change in self.shards.values().flat_map(|(_, history)| &history.changes) {
            let target = self.aliases.aliases.get(&change.alias).map(|target| &target.package);
            last.insert(&change.alias, (change.seq, target));
        }
        last.into_iter().map(|(alias, (seq, target))| resolve_file(alias, target, seq)).collect()
    }

    /// Folds one event and returns the files that it changes, with every claim that does not follow.
    ///
    /// After a fault the replica goes on from what the event claims, so that one bad event is one fault, not many.
    pub fn apply(&mut self, event: &Event, needed: Needed) -> (Vec<ProjectedFile>, Vec<Fault>) {
        let mut faults = Vec::new();
        self.place(event, needed.settings, &mut faults);
        let files = self.project(event, needed.record, &mut faults);
        self.claim(event, &mut faults);
        (files, faults)
    }

    /// The event's place in the log, and what it says of the registry itself.
    fn place(&mut self, event: &Event, settings: Option<Settings>, faults: &mut Vec<Fault>) {
        if event.seq != self.next_seq {
            faults.push(Fault::Seq { given: event.seq });
        }
        if event.time < self.time {
            faults.push(Fault::Time { given: event.time, before: self.time });
        }
        if (self.next_seq == 0) != matches!(event.body, EventBody::Genesis { .. }) {
            faults.push(Fault::Genesis);
        }
        self.configure(event, settings, faults);
        if let EventBody::Trust { version, document, .. } = &event.body {
            let before = self.trust.len() as u64;
            if *version == before + 1 {
                self.trust.push(*document);
            } else {
                faults.push(Fault::Trust { given: *version, before });
            }
        }
        if event.package().is_none() && !event.files.is_empty() {
            faults.push(wrong_files(&event.files, &[]));
        }
    }

    /// What the event claims of the state map, and the end of the event.
    fn claim(&mut self, event: &Event, faults: &mut Vec<Fault>) {
        // A name's files come one after the other, and a shard is hashed once for all of them.
        for changes in event.files.chunk_by(|one, other| one.1 == other.1) {
            let name = &changes[0].1;
            let entry = self.state.get(name).ok().flatten();
            let mut files = entry.map(|entry| entry.files.clone()).unwrap_or_default();
            for FileChange(class, _, digest, len) in changes {
                files.insert(class.letter(), FileRef { digest: Hash::new(*digest.as_bytes()), len: *len });
            }
            if let Err(error) = self.state.set(name, ShardEntry { seq: self.next_seq, files }) {
                faults.push(Fault::BadFile(error.to_string()));
            }
        }
        let made = self.state.root();
        if event.state.as_bytes() != made.as_bytes() {
            faults.push(Fault::State { given: event.state, made });
        }
        self.next_seq += 1;
        self.time = self.time.max(event.time);
    }

    fn configure(&mut self, event: &Event, settings: Option<Settings>, faults: &mut Vec<Fault>) {
        let config = match &event.body {
            EventBody::Genesis { origin, log_key, config, projection } => {
                if *projection != PROJECTION_VERSION {
                    faults.push(Fault::Projection { given: *projection });
                }
                self.identity.get_or_insert(Identity { origin: origin.clone(), log_key: log_key.clone() });
                *config
            }
            EventBody::Config { config } => *config,
            _ => return,
        };
        self.shared = settings.clone().map(Arc::new);
        self.config = Some(Config { digest: config, seq: self.next_seq, settings });
    }

    /// Folds an event about a package, and shows what it touched, as it is then; nothing is shown of other events.
    fn fold<T>(
        &mut self,
        event: &Event,
        record: Option<VersionRecord>,
        show: impl FnOnce(&Touched) -> T,
    ) -> Result<Option<T>, ProjectError> {
        let Some(name) = event.package() else { return Ok(None) };
        let canonical = name.canonical();
        let shard = match &event.body {
            EventBody::AliasSet { alias, .. } | EventBody::AliasRemove { alias, .. } => {
                Some(alias.shard().to_owned())
            }
            _ => None,
        };
        let draft = Draft { seq: self.next_seq, time: event.time, actor: &event.actor, body: &event.body };
        let settings = self.config.as_ref().and_then(|config| config.settings.as_ref());
        let exact = record.is_some() && settings.is_some();
        let told = settings.is_some();
        let stand_in = Settings::new("", "");
        let record = record.or_else(|| blank_record(&event.body));
        let mut touched = Touched {
            package: self.packages.remove(&canonical),
            aliases: shard.as_ref().map(|shard| {
                let (shard, history) = self.shards.remove(shard).unwrap_or_default();
                AliasState { shard, history, all: std::mem::take(&mut self.aliases) }
            }),
        };
        let folded = fold(&mut touched, &draft, record.as_ref(), settings.unwrap_or(&stand_in));
        let shown = folded.map(|()| show(&touched));
        if let Some(package) = touched.package {
            self.note_settings(&canonical, &package, told);
            self.packages.insert(canonical.clone(), package);
        }
        if let (Some(shard), Some(state)) = (shard, touched.aliases) {
            self.aliases = state.all;
            // A refused event may leave a shard empty that never was one.
            if !state.history.changes.is_empty() {
                self.shards.insert(shard, (state.shard, state.history));
            }
        }
        let shown = shown?;
        self.note_exactness(&canonical, &event.body, exact);
        Ok(Some(shown))
    }

    fn project(
        &mut self,
        event: &Event,
        record: Option<VersionRecord>,
        faults: &mut Vec<Fault>,
    ) -> Vec<ProjectedFile> {
        let Some(canonical) = event.package().map(PackageName::canonical) else { return Vec::new() };
        let files = match self.fold(event, record, |touched| changed_files(touched, &event.body)) {
            Ok(files) => files.unwrap_or_default(),
            Err(error) => {
                faults.push(error.into());
                self.unknown.insert(canonical, BTreeSet::new());
                return Vec::new();
            }
        };
        let made: Vec<FileChange> = files.iter().map(ProjectedFile::change).collect();
        if self.unknown(&canonical) {
            faults.extend(self.judge_files(event, &canonical, &made));
            // What the package's own files say cannot be told, but alias maps are exact.
            let of_aliases =
                |file: &ProjectedFile| matches!(file.class, FileClass::Alias | FileClass::History);
            return files.into_iter().filter(of_aliases).collect();
        }
        faults.extend(self.judge_files(event, &canonical, &made));
        files
    }

    /// Compares the files that an event names with those that follow from it. Of a package that is not known exactly only
    /// which files change can be told.
    fn judge_files(&mut self, event: &Event, canonical: &str, made: &[FileChange]) -> Option<Fault> {
        if self.unknown(canonical) {
            let blind = |change: &FileChange| (change.0, change.1.clone());
            let same = event.files.iter().map(blind).eq(made.iter().map(blind));
            return (!same).then(|| wrong_files(&event.files, made));
        }
        if made == event.files {
            return None;
        }
        self.unknown.insert(canonical.to_owned(), BTreeSet::new());
        Some(wrong_files(&event.files, made))
    }

    /// Keeps the settings that a package's files were made with, where they say more than the package does.
    fn note_settings(&mut self, canonical: &str, package: &PackageState, told: bool) {
        match &self.shared {
            Some(settings) if told && !project_api(package, settings).is_empty() => {
                self.api.insert(canonical.to_owned(), settings.clone());
            }
            _ => {
                self.api.remove(canonical);
            }
        }
        // Its document names URLs, which only the settings tell.
        if !told && package.document.zig.is_some() {
            self.unknown.entry(canonical.to_owned()).or_default();
        }
    }

    /// Keeps account of the releases that were made without their record. A takedown removes what was not known.
    fn note_exactness(&mut self, canonical: &str, body: &EventBody, exact: bool) {
        match body {
            EventBody::Publish { vers, .. } if !exact => {
                self.unknown.entry(canonical.to_owned()).or_default().insert(vers.precedence_key());
            }
            EventBody::Delete { vers, .. } => {
                if let Some(blank) = self.unknown.get_mut(canonical)
                    && blank.remove(&vers.precedence_key())
                    && blank.is_empty()
                {
                    self.unknown.remove(canonical);
                }
            }
            _ => {}
        }
    }
}

/// A record that says only what the publish event says, for releases whose own is gone.
fn blank_record(body: &EventBody) -> Option<VersionRecord> {
    let EventBody::Publish { pkg, vers, tarball, .. } = body else { return None };
    Some(blank(pkg, vers, *tarball))
}

fn blank(name: &PackageName, vers: &Version, tarball: Sha256Digest) -> VersionRecord {
    VersionRecord {
        v: 1,
        name: name.clone(),
        vers: vers.clone(),
        format: Format::Generic,
        tarball,
        size: 0,
        unpacked: 0,
        deps: Vec::new(),
        features: BTreeMap::new(),
        links: None,
        rust_version: None,
        description: None,
        license: None,
        authors: Vec::new(),
        keywords: Vec::new(),
        categories: Vec::new(),
        homepage: None,
        repository: None,
        documentation: None,
        readme: None,
        vcs: None,
        zig: None,
        files: Vec::new(),
    }
}

pub(crate) fn wrong_files(given: &[FileChange], made: &[FileChange]) -> Fault {
    let show = |changes: &[FileChange]| {
        let each = changes.iter().map(|FileChange(class, name, digest, len)| {
            format!("{} {name} {} {len}", class.letter(), &digest.hex()[..12])
        });
        format!("[{}]", each.collect::<Vec<_>>().join(", "))
    };
    Fault::Files { given: show(given), made: show(made) }
}
