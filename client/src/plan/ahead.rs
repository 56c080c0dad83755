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
    rounds::{Fetched, Names, RecordSource, Wanted, choose},
};
use crate::{
    ClientError, Lock, LockedCheckpoint, Registry,
    registry::INDEX_BYTES_MAX,
    resolve::{Outcome, PackageKey, Requirement, Rules, Universe},
};

/// What would be chosen, if everything that the registry shows by name is as it should be. The lock is of no log, and has no
/// checkpoint.
pub(super) async fn guess(
    registry: &Registry,
    roots: &[Requirement],
    rules: &Rules,
) -> Result<Option<Lock>, ClientError> {
    let own = registry.config().await?.settings.cargo_index_url();
    let mut universe =
        Universe::new(vec![own, registry.base().to_owned()]).with_overlay(rules.overlay.clone());
    let (outcome, _) = choose(&ByName(registry), roots, &mut universe, rules).await?;
    let Outcome::Solved(solution) = outcome else { return Ok(None) };
    let fetched = solution.releases.iter().filter(|((key, _), _)| !universe.is_local(key));
    let chosen: BTreeMap<&PackageKey, &PackageName> =
        fetched.map(|((key, _), chosen)| (key, &chosen.name)).collect();
    let indexes = stream::iter(chosen)
        .map(async |(key, name)| Ok::<_, ClientError>((key.clone(), index(registry, name).await?)))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let nowhere = LockedCheckpoint { size: 0, root: empty_root() };
    Ok(Some(Lock::new(registry.base(), "", nowhere, super::packages(&solution, &indexes, &rules.overlay)?)))
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
struct ByName<'a>(&'a Registry);

impl ByName<'_> {
    async fn record(&self, key: &PackageKey, name: &PackageName) -> Option<ResolveRecord> {
        let bytes = self.0.by_name(&layout::resolve_record(name), RECORD_BYTES_MAX).await.ok()??;
        let record = ResolveRecord::parse(&bytes).ok()?;
        (record.name.canonical() == key.name).then_some(record)
    }

    async fn hint(&self, name: &PackageName) -> Vec<PackageName> {
        let bytes = self.0.by_name(&layout::resolve_hint(name), HINT_BYTES_MAX).await.ok().flatten();
        let hint = bytes.and_then(|bytes| serde_json::from_slice::<ResolveHint>(&bytes).ok());
        hint.map(|hint| hint.names).unwrap_or_default()
    }
}

impl RecordSource for ByName<'_> {
    async fn round(&self, wanted: &Wanted) -> Result<Fetched, ClientError> {
        let records = stream::iter(wanted.records.iter().chain(&wanted.perhaps))
            .map(async |(key, name)| (key.clone(), self.record(key, name).await))
            .buffered(PARALLEL)
            .collect::<Vec<_>>();
        let hints = stream::iter(&wanted.hints)
            .map(async |(key, name)| (key.registry, self.hint(name).await))
            .buffered(PARALLEL)
            .collect::<Vec<_>>();
        let (records, hints) = futures_util::future::join(records, hints).await;
        let mut hinted = Names::new();
        for (registry, names) in hints {
            let key = |name: &PackageName| PackageKey { registry, name: name.canonical() };
            hinted.extend(names.iter().map(|name| (key(name), name.clone())));
        }
        Ok(Fetched { records, hinted })
    }
}
