//! From requirements to a lock, with every index proved; and a lock checked against the registry of today.
//!
//! Owns the loop of asking the resolver and fetching what it does not know. Does not own the search.
//! Invariant: a lock that leaves this module names only releases that one snapshot proves.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{Code, DeleteCode, IndexFile, IndexLine, PackageName, Problem, Sha256Digest, Version};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::oneshot;

use crate::{
    ClientError, Lock, LockedCheckpoint, LockedLocal, LockedPackage, Registry, Snapshot, VerificationError,
    resolve::{
        Chosen, Outcome, Overlay, PackageKey, RegistryId, Requirement, Rules, Solution, Universe, suggest,
    },
};

mod ahead;
mod proved;
pub mod rounds;

pub use ahead::{choose_by_name, indexes_by_name};
use proved::Records;
use rounds::{Names, choose};

/// Files asked for at once; how many requests are under way is the connections' business.
const PARALLEL: usize = 512;

/// Chooses versions for these requirements.
pub async fn resolve(
    snapshot: &Snapshot<'_>,
    roots: &[Requirement],
    rules: &Rules,
) -> Result<Lock, ClientError> {
    let own = snapshot.registry().config().await?.settings.cargo_index_url();
    let mut universe =
        Universe::new(vec![own, snapshot.registry().base().to_owned()]).with_overlay(rules.overlay.clone());
    let mut records = Records::new(snapshot);
    loop {
        let (outcome, _) = choose(&records, roots, &mut universe, rules).await?;
        match outcome {
            Outcome::Unknown(_) => return Err(ClientError::Internal("a choice ended without an end".into())),
            Outcome::Solved(solution) => {
                if !records.prove(&solution.consulted, &mut universe).await? {
                    return lock(snapshot, &solution, &rules.overlay).await;
                }
            }
            Outcome::Impossible(conflict) => {
                if !records.prove(&conflict.consulted, &mut universe).await? {
                    let suggestion = suggest(roots, &universe, rules, &conflict);
                    return Err(ClientError::NoVersionsFit { because: conflict.because, suggestion });
                }
            }
        }
    }
}

/// The same, beside the proof: `open` proves the registry while the choice is guessed by what it shows by name. `guessed` is
/// told the guess as soon as there is one, and may fetch what it names; nothing vouches for it yet. The lock that is
/// returned is chosen anew by what is proved, mostly out of the cache.
pub async fn resolve_beside<'a>(
    registry: &Registry,
    open: impl Future<Output = Result<Snapshot<'a>, ClientError>>,
    roots: &[Requirement],
    rules: &Rules,
    guessed: impl AsyncFnOnce(&Lock),
) -> Result<(Snapshot<'a>, Lock), ClientError> {
    let (tell, told) = oneshot::channel();
    let guess = async {
        // Whatever is wrong is told by those who know whether it is: after the proof.
        let lock = ahead::guess(registry, roots, rules).await.ok().flatten();
        _ = tell.send(());
        if let Some(lock) = &lock {
            guessed(lock).await;
        }
        Ok(())
    };
    let proof = async {
        let snapshot = open.await?;
        // By then what is needed is in the cache. It does not matter if the other side is gone.
        _ = told.await;
        let lock = resolve(&snapshot, roots, rules).await?;
        Ok::<_, ClientError>((snapshot, lock))
    };
    // A proof that fails ends everything at once.
    let ((), proved) = futures_util::try_join!(guess, proof)?;
    Ok(proved)
}

/// The versions of a lock, for the rules of the next one.
pub fn locked_versions(versions: BTreeMap<String, Version>) -> BTreeMap<PackageKey, BTreeSet<Version>> {
    let own = |name| PackageKey { registry: RegistryId::default(), name };
    versions.into_iter().map(|(name, version)| (own(name), BTreeSet::from([version]))).collect()
}

/// The lock of a solution.
async fn lock(snapshot: &Snapshot<'_>, solution: &Solution, overlay: &Overlay) -> Result<Lock, ClientError> {
    // Digests are in the index files, which are fetched for what was chosen and for nothing else.
    let fetched = solution.releases.iter().filter(|((key, _), _)| !overlay.is_local(key));
    let chosen = fetched.map(|((key, _), chosen)| (key.clone(), chosen.name.clone()));
    let indexes = fetch(snapshot, &chosen.collect()).await?;
    let checkpoint = snapshot.checkpoint();
    let checkpoint = LockedCheckpoint { size: checkpoint.size(), root: checkpoint.root() };
    let packages = packages(solution, &indexes, overlay)?;
    let lines = solution.releases.keys().filter_map(|(key, version)| indexes.get(key)?.find(version));
    stream::iter(lines)
        .map(|line| snapshot.check_authors(line))
        .buffered(PARALLEL)
        .try_for_each(async |_| Ok(()))
        .await?;
    let lock = Lock::new(snapshot.registry().base(), &snapshot.log().origin, checkpoint, packages);
    Ok(lock.on_disk(overlay.overrides(), locals(solution, overlay)))
}

/// The packages of a solution, with what their index files say of them.
fn packages(
    solution: &Solution,
    indexes: &BTreeMap<PackageKey, IndexFile>,
    overlay: &Overlay,
) -> Result<Vec<LockedPackage>, ClientError> {
    let mut packages = Vec::with_capacity(solution.releases.len());
    for ((key, version), chosen) in solution.releases.iter().filter(|((key, _), _)| !overlay.is_local(key)) {
        let line =
            indexes.get(key).and_then(|index| index.find(version)).filter(|line| line.deleted.is_none());
        let line =
            line.ok_or_else(|| ClientError::Internal(format!("`{}` was chosen unseen", chosen.name)))?;
        packages.push(LockedPackage {
            name: chosen.name.clone(),
            version: version.clone(),
            digest: digest(line)?,
            size: line.size,
            dependencies: needs(chosen),
        });
    }
    Ok(packages)
}

/// The packages of a solution that are on the project's disk.
fn locals(solution: &Solution, overlay: &Overlay) -> Vec<LockedLocal> {
    let on_disk = solution.releases.iter().filter_map(|((key, version), chosen)| {
        let path = overlay.local.get(key)?.path.clone();
        let (name, version) = (chosen.name.clone(), version.clone());
        Some(LockedLocal { name, version, path, dependencies: needs(chosen) })
    });
    on_disk.collect()
}

/// Canonical names of what a release needs, sorted.
fn needs(chosen: &Chosen) -> Vec<String> {
    let names: BTreeSet<String> = chosen.dependencies.iter().map(|(key, _)| key.name.clone()).collect();
    names.into_iter().collect()
}

fn digest(line: &IndexLine) -> Result<Sha256Digest, ClientError> {
    Sha256Digest::from_hex(&line.cksum).map_err(|e| {
        VerificationError::Contradiction(format!("the index line of `{}` {}: {e}", line.name, line.vers))
            .into()
    })
}

/// The proved index files of packages; an empty one for a package that does not exist.
async fn fetch(
    snapshot: &Snapshot<'_>,
    names: &Names,
) -> Result<BTreeMap<PackageKey, IndexFile>, ClientError> {
    snapshot.load(&names.keys().map(|key| key.name.clone()).collect::<Vec<_>>()).await?;
    stream::iter(names)
        .map(async |(key, name)| {
            let index = snapshot.index(name).await?;
            Ok((key.clone(), index.map(|index| index.file).unwrap_or_default()))
        })
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
    snapshot.check_authors(line).await?;
    Ok(line.yanked.then(|| Notice::Yanked(package.clone())))
}

pub(crate) fn deleted(name: &PackageName, version: &Version, code: DeleteCode) -> ClientError {
    let detail = format!("`{name}` {version} was taken down ({})", code.as_str());
    ClientError::Problems(vec![Problem::new(Code::VersionDeleted, detail).fact("code", code.as_str())])
}
