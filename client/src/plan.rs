//! From requirements to a lock, with every index proved; and a lock checked against the registry of today.
//!
//! Owns the loop of asking the resolver and fetching what it does not know, ahead of the proof where that is wanted. Does
//! not own the search.
//! Invariant: a lock that leaves this module names only releases that one snapshot proves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drystone_log::empty_root;
use drystone_schemas::{
    Code, DeleteCode, IndexFile, IndexLine, PackageName, Problem, ResolveRecord, Sha256Digest, Version,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::oneshot;

use crate::{
    ClientError, Lock, LockedCheckpoint, LockedPackage, Registry, Snapshot, VerificationError,
    ahead::{Ahead, Indexes},
    resolve::{
        Outcome, Package, PackageKey, RegistryId, Requirement, Rules, Solution, Universe, solve, suggest,
    },
};

/// Index files fetched at once.
const PARALLEL: usize = 8;

/// Chooses versions for these requirements.
pub async fn resolve(
    snapshot: &Snapshot<'_>,
    roots: &[Requirement],
    rules: &Rules,
) -> Result<Lock, ClientError> {
    let choice = choose(snapshot, roots, rules).await?;
    choice.lock(snapshot.registry(), &snapshot.log().origin, locked_checkpoint(snapshot))
}

/// The same, but the choice is made by what the registry shows by name, while `open` proves what it is. `guessed` is told
/// what was chosen as soon as that is known, and may fetch it; what it is told is not proved, and its lock has no
/// checkpoint. Where the proof shows that something else was read than what the log names, the choice is made again.
pub async fn resolve_beside<'a>(
    registry: &'a Registry,
    open: impl Future<Output = Result<Snapshot<'a>, ClientError>>,
    roots: &[Requirement],
    rules: &Rules,
    guessed: impl AsyncFnOnce(&Lock),
) -> Result<(Snapshot<'a>, Lock), ClientError> {
    let ahead = Ahead::new(registry);
    let (tell, told) = oneshot::channel();
    let guess = async {
        // Whatever is wrong is told by those who know whether it is: after the proof.
        let choice = choose(&ahead, roots, rules).await.ok();
        let nowhere = LockedCheckpoint { size: 0, root: empty_root() };
        let lock = choice.as_ref().and_then(|choice| choice.lock(registry, "", nowhere).ok());
        _ = tell.send(lock.is_some());
        if let Some(lock) = &lock {
            guessed(lock).await;
        }
        Ok(choice)
    };
    let proof = async {
        let snapshot = open.await?;
        let right = told.await.unwrap_or(false) && ahead.settle(&snapshot).await?;
        Ok::<_, ClientError>((snapshot, right))
    };
    // A proof that fails ends everything at once.
    let (choice, (snapshot, right)) = futures_util::try_join!(guess, proof)?;
    let lock = match choice.filter(|_| right) {
        Some(choice) => choice.lock(registry, &snapshot.log().origin, locked_checkpoint(&snapshot))?,
        None => resolve(&snapshot, roots, rules).await?,
    };
    Ok((snapshot, lock))
}

fn locked_checkpoint(snapshot: &Snapshot<'_>) -> LockedCheckpoint {
    let checkpoint = snapshot.checkpoint();
    LockedCheckpoint { size: checkpoint.size(), root: checkpoint.root() }
}

/// Versions that were chosen, and what they were chosen from.
struct Choice {
    solution: Solution,
    indexes: BTreeMap<PackageKey, IndexFile>,
}

async fn choose(source: &impl Indexes, roots: &[Requirement], rules: &Rules) -> Result<Choice, ClientError> {
    let own = source.registry().config().await?.settings.cargo_index_url();
    let mut universe = Universe::new(vec![own, source.registry().base().to_owned()]);
    let mut indexes = BTreeMap::new();
    loop {
        match solve(roots, &universe, rules) {
            Outcome::Unknown(names) => {
                for (key, index) in fetch(source, &names).await? {
                    let record = ResolveRecord::of(&index);
                    universe.insert(key.clone(), record.map(|record| Arc::new(Package::new(record))));
                    indexes.insert(key, index);
                }
            }
            Outcome::Solved(solution) => return Ok(Choice { solution, indexes }),
            Outcome::Impossible(conflict) => {
                let suggestion = suggest(roots, &universe, rules, &conflict);
                return Err(ClientError::NoVersionsFit { because: conflict.because, suggestion });
            }
        }
    }
}

/// The versions of a lock, for the rules of the next one.
pub fn locked_versions(versions: BTreeMap<String, Version>) -> BTreeMap<PackageKey, BTreeSet<Version>> {
    let own = |name| PackageKey { registry: RegistryId::default(), name };
    versions.into_iter().map(|(name, version)| (own(name), BTreeSet::from([version]))).collect()
}

impl Choice {
    /// The lock of what was chosen.
    fn lock(
        &self,
        registry: &Registry,
        origin: &str,
        checkpoint: LockedCheckpoint,
    ) -> Result<Lock, ClientError> {
        let mut packages = Vec::with_capacity(self.solution.releases.len());
        for ((key, version), chosen) in &self.solution.releases {
            let line = self.indexes.get(key).and_then(|index| index.find(version));
            let line =
                line.ok_or_else(|| ClientError::Internal(format!("`{}` was chosen unseen", chosen.name)))?;
            let names: BTreeSet<String> =
                chosen.dependencies.iter().map(|(key, _)| key.name.clone()).collect();
            packages.push(LockedPackage {
                name: chosen.name.clone(),
                version: version.clone(),
                digest: digest(line)?,
                size: line.size,
                dependencies: names.into_iter().collect(),
            });
        }
        Ok(Lock::new(registry.base(), origin, checkpoint, packages))
    }
}

fn digest(line: &IndexLine) -> Result<Sha256Digest, ClientError> {
    Sha256Digest::from_hex(&line.cksum).map_err(|e| {
        VerificationError::Contradiction(format!("the index line of `{}` {}: {e}", line.name, line.vers))
            .into()
    })
}

/// The index files of packages; an empty one for a package that does not exist.
async fn fetch(
    source: &impl Indexes,
    names: &BTreeMap<PackageKey, PackageName>,
) -> Result<Vec<(PackageKey, IndexFile)>, ClientError> {
    source.load(&names.keys().map(|key| key.name.clone()).collect::<Vec<_>>()).await?;
    stream::iter(names)
        .map(async |(key, name)| Ok((key.clone(), source.index(name).await?.unwrap_or_default())))
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// What a lock may still be used for, though the registry has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The release was yanked after it was locked.
    Yanked(LockedPackage),
}

/// Checks that packages of a lock are what the registry's log vouches for.
///
/// # Errors
///
/// [`Code::VersionDeleted`] for a release that was taken down; [`VerificationError::Contradiction`] where the lock names
/// other bytes than the log.
pub async fn check_lock(
    snapshot: &Snapshot<'_>,
    lock: &Lock,
    packages: &[&LockedPackage],
) -> Result<Vec<Notice>, ClientError> {
    if snapshot.log().origin != lock.origin {
        let (log, lock) = (&snapshot.log().origin, &lock.origin);
        return Err(VerificationError::Contradiction(format!(
            "the lock file is for the log `{lock}`, not `{log}`"
        ))
        .into());
    }
    snapshot.check_continues(lock.checkpoint.size, &lock.checkpoint.root).await?;
    snapshot.load(&packages.iter().map(|package| package.name.canonical()).collect::<Vec<_>>()).await?;
    let notices: Vec<Option<Notice>> = stream::iter(packages)
        .map(|package| check_package(snapshot, package))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    Ok(notices.into_iter().flatten().collect())
}

async fn check_package(
    snapshot: &Snapshot<'_>,
    package: &LockedPackage,
) -> Result<Option<Notice>, ClientError> {
    let (name, version) = (&package.name, &package.version);
    let index =
        snapshot.index(name).await?.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?;
    let line = index.file.find(version);
    let line =
        line.ok_or_else(|| ClientError::VersionNotFound { name: name.clone(), wanted: version.to_string() })?;
    if let Some(code) = line.deleted {
        return Err(deleted(name, version, code));
    }
    if line.cksum != package.digest.hex() {
        return Err(VerificationError::Contradiction(format!(
            "the lock file says that `{name}` {version} is {}, the log says {}",
            package.digest.hex(),
            line.cksum
        ))
        .into());
    }
    Ok(line.yanked.then(|| Notice::Yanked(package.clone())))
}

pub(crate) fn deleted(name: &PackageName, version: &Version, code: DeleteCode) -> ClientError {
    let detail = format!("`{name}` {version} was taken down ({})", code.as_str());
    ClientError::Problems(vec![Problem::new(Code::VersionDeleted, detail).fact("code", code.as_str())])
}
