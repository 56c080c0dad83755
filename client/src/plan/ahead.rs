//! A guess at the choice of versions, by what the registry shows by name, while something else proves what that is worth.
//!
//! Owns the reading ahead: records and hints into the cache, where the choice that is proved finds them, and the index files of
//! what was chosen. Does not own any proof.
//! Invariant: a guess decides what is fetched, and nothing else. What it leaves in the cache is held against the state by
//! whoever uses it.

use std::collections::BTreeMap;

use drystone_log::empty_root;
use drystone_schemas::{IndexFile, PackageName, ResolveHint, ResolveRecord, Sha256Digest, layout};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    PARALLEL,
    proved::{HINT_BYTES_MAX, RECORD_BYTES_MAX},
    rounds::{Cost, Fetched, Names, RecordSource, Wanted, choose},
};
use crate::{
    ClientError, Lock, LockedCheckpoint, Registry,
    registry::INDEX_BYTES_MAX,
    resolve::{Outcome, Overlay, PackageKey, Requirement, Rules, Solution, Universe},
};

/// What would be chosen, if everything that the registry shows by name is as it should be. The lock is of no log, and has no
/// checkpoint.
pub(super) async fn guess(
    registry: &Registry,
    roots: &[Requirement],
    rules: &Rules,
) -> Result<Option<Lock>, ClientError> {
    let (outcome, _) = choose_by_name(registry, roots, rules).await?;
    let Outcome::Solved(solution) = outcome else { return Ok(None) };
    let indexes = indexes_by_name(registry, &solution, &rules.overlay).await?;
    let nowhere = LockedCheckpoint { size: 0, root: empty_root() };
    Ok(Some(Lock::new(registry.base(), "", nowhere, super::packages(&solution, &indexes, &rules.overlay)?)))
}

/// Chooses versions by what the registry shows by name, with what that cost. Nothing of it is proved.
pub async fn choose_by_name(
    registry: &Registry,
    roots: &[Requirement],
    rules: &Rules,
) -> Result<(Outcome, Cost), ClientError> {
    let own = async || Ok::<_, ClientError>(registry.config().await?.settings.cargo_index_url());
    // Only a requirement that names a registry must wait until it is known which one is meant.
    let first = match roots.iter().any(|root| root.registry.is_some()) {
        true => Some(own().await?),
        false => None,
    };
    let mut universe = Universe::new(first.into_iter().chain([registry.base().to_owned()]).collect())
        .with_overlay(rules.overlay.clone());
    choose(&ByName { registry, own: &own }, roots, &mut universe, rules).await
}

/// The index files of what was chosen, unproved: they have the digests. What lies on this disk has none.
pub async fn indexes_by_name(
    registry: &Registry,
    solution: &Solution,
    overlay: &Overlay,
) -> Result<BTreeMap<PackageKey, IndexFile>, ClientError> {
    let fetched = solution.releases.iter().filter(|((key, _), _)| !overlay.is_local(key));
    let chosen: BTreeMap<&PackageKey, &PackageName> =
        fetched.map(|((key, _), chosen)| (key, &chosen.name)).collect();
    stream::iter(chosen)
        .map(async |(key, name)| Ok::<_, ClientError>((key.clone(), index(registry, name).await?)))
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// An index file by name, kept under its hash: if that is the one that the state names, it is not asked for again.
async fn index(registry: &Registry, name: &PackageName) -> Result<IndexFile, ClientError> {
    let by_name = layout::index_file(name);
    let Some(bytes) = registry.by_name(&by_name, INDEX_BYTES_MAX).await? else {
        return Ok(IndexFile::default());
    };
    registry.keep(&layout::object(&Sha256Digest::of(&bytes)), bytes.clone())?;
    IndexFile::parse(&bytes).map_err(|e| registry.unexpected(&by_name, &e))
}

/// Records and hints as the registry has them by name.
struct ByName<'a, F> {
    registry: &'a Registry,
    /// Asks for the URL that dependencies mean the registry by, which is kept once it is known.
    own: &'a F,
}

impl<F> ByName<'_, F> {
    async fn record(&self, key: &PackageKey, name: &PackageName) -> Option<ResolveRecord> {
        let bytes = self.registry.by_name(&layout::resolve_record(name), RECORD_BYTES_MAX).await.ok()??;
        let record = ResolveRecord::parse(&bytes).ok()?;
        (record.name.canonical() == key.name).then_some(record)
    }

    async fn hint(&self, name: &PackageName) -> Vec<PackageName> {
        let bytes = self.registry.by_name(&layout::resolve_hint(name), HINT_BYTES_MAX).await.ok().flatten();
        let hint = bytes.and_then(|bytes| ResolveHint::parse(&bytes).ok());
        hint.map(|hint| hint.names).unwrap_or_default()
    }
}

impl<F: AsyncFn() -> Result<String, ClientError>> RecordSource for ByName<'_, F> {
    async fn round(&self, wanted: &Wanted) -> Result<Fetched, ClientError> {
        let records = stream::iter(wanted.records.iter().chain(&wanted.perhaps))
            .map(async |(key, name)| (key.clone(), self.record(key, name).await))
            .buffered(PARALLEL)
            .collect::<Vec<_>>();
        let hints = stream::iter(&wanted.hints)
            .map(async |(key, name)| (key.registry, self.hint(name).await))
            .buffered(PARALLEL)
            .collect::<Vec<_>>();
        let (records, hints, own) = futures_util::future::join3(records, hints, (self.own)()).await;
        let mut hinted = Names::new();
        for (registry, names) in hints {
            let key = |name: &PackageName| PackageKey { registry, name: name.canonical() };
            hinted.extend(names.iter().map(|name| (key(name), name.clone())));
        }
        Ok(Fetched { records, hinted, own_urls: vec![own?] })
    }
}
