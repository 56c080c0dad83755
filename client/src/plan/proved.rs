//! Records and hints of a registry, and the proof of the records that a choice rests on.
//!
//! A record is read by name, before anything proves it, because that saves rounds; what was read is proved by the digest in
//! the state map as soon as the choice is made, and where it is another one the index file is read in its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use drystone_schemas::{FileClass, PackageName, ResolveHint, ResolveRecord, Sha256Digest, layout};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    PARALLEL,
    rounds::{Fetched, Names, RecordSource, Wanted},
};
use crate::{
    ClientError, Network, Snapshot,
    defences::Defence,
    resolve::{Package, PackageKey, Universe},
};

/// Longest resolve record, in bytes.
pub(super) const RECORD_BYTES_MAX: u64 = 16 << 20;
/// Longest hint, in bytes.
pub(super) const HINT_BYTES_MAX: u64 = 1 << 20;

/// The records of one registry as they are read, with their digests until they are proved.
pub(super) struct Records<'a> {
    snapshot: &'a Snapshot<'a>,
    /// The digest of what was read; none where nothing was there.
    read: Mutex<BTreeMap<PackageKey, Option<Sha256Digest>>>,
    /// What is known of these is what the state says.
    proved: BTreeSet<PackageKey>,
}

impl<'a> Records<'a> {
    pub(super) fn new(snapshot: &'a Snapshot<'a>) -> Self {
        Self { snapshot, read: Mutex::default(), proved: BTreeSet::new() }
    }

    /// Proves what a choice rests on. Where a record is not the one that the state names, the proved index file takes its
    /// place; then true: the choice must be made again.
    pub(super) async fn prove(
        &mut self,
        names: &Names,
        universe: &mut Universe,
    ) -> Result<bool, ClientError> {
        let open = names.iter().filter(|(key, _)| !self.proved.contains(*key) && !universe.is_local(key));
        let open: Vec<_> = open.collect();
        self.snapshot.load(&open.iter().map(|(key, _)| key.name.clone()).collect::<Vec<_>>()).await?;
        let mut wrong = Vec::new();
        for (key, name) in open {
            let read = self.read.lock().expect("no holder of this lock panics").get(key).copied().flatten();
            let there = self.snapshot.entry(&key.name).await?.is_some();
            let proved = match self.named(key).await? {
                Some(named) => read == Some(named),
                // What does not exist has no record; what exists and has none is told by its index file.
                None => !there && read.is_none(),
            };
            if !proved && self.snapshot.registry().defences().up(Defence::RecordDigest) {
                wrong.push((key, name));
            }
            self.proved.insert(key.clone());
        }
        let indexes: Vec<_> = stream::iter(wrong)
            .map(async |(key, name)| Ok::<_, ClientError>((key, self.snapshot.index(name).await?)))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let changed = !indexes.is_empty();
        for (key, index) in indexes {
            let record = index.and_then(|index| ResolveRecord::of(&index.file));
            universe.insert(key.clone(), record.map(|record| Arc::new(Package::new(record))));
        }
        Ok(changed)
    }

    /// The digest of the record that the state names.
    async fn named(&self, key: &PackageKey) -> Result<Option<Sha256Digest>, ClientError> {
        let entry = self.snapshot.entry(&key.name).await?;
        let file = entry.and_then(|entry| entry.files.get(&FileClass::Resolve.letter()).cloned());
        Ok(file.map(|file| Sha256Digest::from_bytes(file.digest.into())))
    }

    /// A record as it is cached, if the state names it, else as the registry has it by name.
    async fn record(
        &self,
        key: &PackageKey,
        name: &PackageName,
    ) -> Result<Option<ResolveRecord>, ClientError> {
        let (registry, by_name) = (self.snapshot.registry(), layout::resolve_record(name));
        let cached = registry.cached(&by_name);
        let offline = registry.network() == Network::Offline;
        let bytes = match cached {
            // Offline the choice goes on from what there is; the proof then says what is missing.
            cached if offline => cached,
            Some(bytes) if self.named(key).await? == Some(Sha256Digest::of(&bytes)) => Some(bytes),
            _ => registry.by_name(&by_name, RECORD_BYTES_MAX).await?,
        };
        Ok(self.take(key, bytes))
    }

    fn take(&self, key: &PackageKey, bytes: Option<Bytes>) -> Option<ResolveRecord> {
        let record = bytes.as_ref().and_then(|bytes| ResolveRecord::parse(bytes).ok());
        // Another package's record is none of this one, whatever digest it has.
        let record = record.filter(|record| record.name.canonical() == key.name);
        let digest = bytes.filter(|_| record.is_some()).map(|bytes| Sha256Digest::of(&bytes));
        self.read.lock().expect("no holder of this lock panics").insert(key.clone(), digest);
        record
    }

    async fn hint(&self, name: &PackageName) -> Vec<PackageName> {
        let key = layout::resolve_hint(name);
        let bytes = self.snapshot.registry().by_name(&key, HINT_BYTES_MAX).await.ok().flatten();
        let hint = bytes.and_then(|bytes| ResolveHint::parse(&bytes).ok());
        hint.map(|hint| hint.names).unwrap_or_default()
    }
}

impl RecordSource for Records<'_> {
    async fn round(&self, wanted: &Wanted) -> Result<Fetched, ClientError> {
        // What is cached is compared with the state, whose nodes are then mostly cached too.
        let registry = self.snapshot.registry();
        let known = wanted.records.iter().chain(&wanted.perhaps);
        let cached = known.filter(|(_, name)| registry.cached(&layout::resolve_record(name)).is_some());
        let cached: Vec<String> = cached.map(|(key, _)| key.name.clone()).collect();
        if registry.network() == Network::Online && !cached.is_empty() {
            self.snapshot.load(&cached).await?;
        }
        let records = stream::iter(&wanted.records)
            .map(async |(key, name)| Ok::<_, ClientError>((key.clone(), self.record(key, name).await?)))
            .buffered(PARALLEL)
            .try_collect::<Vec<_>>();
        let perhaps = stream::iter(&wanted.perhaps)
            .map(async |(key, name)| self.record(key, name).await.ok().map(|record| (key.clone(), record)))
            .buffered(PARALLEL)
            .collect::<Vec<_>>();
        let hints = stream::iter(&wanted.hints)
            .map(async |(key, name)| (key.registry, self.hint(name).await))
            .buffered(PARALLEL)
            .collect::<Vec<_>>();
        let (records, perhaps, hints) = futures_util::future::join3(records, perhaps, hints).await;
        let mut fetched = Fetched { records: records?, ..Fetched::default() };
        fetched.records.extend(perhaps.into_iter().flatten());
        for (registry, names) in hints {
            let key = |name: &PackageName| PackageKey { registry, name: name.canonical() };
            fetched.hinted.extend(names.iter().map(|name| (key(name), name.clone())));
        }
        Ok(fetched)
    }
}
