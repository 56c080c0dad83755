//! From requirements to a lock, with every index proved; and a lock checked against the registry of today.
//!
//! Owns the loop of asking the resolver and fetching what it does not know. Does not own the search.
//! Invariant: a lock that leaves this module names only releases that one snapshot proves.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{Code, DeleteCode, PackageName, Problem, Version};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    ClientError, Lock, LockedCheckpoint, LockedPackage, Snapshot, VerificationError,
    resolve::{Outcome, Release, Requirement, Universe, solve},
};

/// Index files fetched at once.
const PARALLEL: usize = 8;

/// Chooses versions for these requirements, keeping `locked` versions where they fit.
pub async fn resolve(
    snapshot: &Snapshot<'_>,
    roots: &[Requirement],
    locked: &BTreeMap<String, Version>,
) -> Result<Lock, ClientError> {
    let mut universe = Universe::default();
    let mut wanted: BTreeSet<PackageName> = roots.iter().map(|root| root.name.clone()).collect();
    loop {
        for (name, releases) in fetch(snapshot, &wanted).await? {
            universe.insert(&name, releases);
        }
        match solve(roots, &universe, locked) {
            Outcome::Unknown(names) => wanted = names,
            Outcome::Solved(solution) => {
                let checkpoint = snapshot.checkpoint();
                let checkpoint = LockedCheckpoint { size: checkpoint.size(), root: checkpoint.root() };
                return Ok(Lock::new(
                    snapshot.registry().base(),
                    &snapshot.log().origin,
                    checkpoint,
                    &solution,
                ));
            }
            Outcome::Impossible { because } => {
                return Err(ClientError::NoVersionsFit { because, suggestion: suggestion(roots, &universe) });
            }
        }
    }
}

/// The releases of packages, from their proved index files; none for a package that does not exist.
async fn fetch(
    snapshot: &Snapshot<'_>,
    names: &BTreeSet<PackageName>,
) -> Result<Vec<(PackageName, Vec<Release>)>, ClientError> {
    snapshot.load(&names.iter().map(PackageName::canonical).collect::<Vec<_>>()).await?;
    stream::iter(names)
        .map(async |name| {
            let index = snapshot.index(name).await?;
            let lines = index.map(|index| index.file.lines).unwrap_or_default();
            let releases = lines.iter().filter(|line| line.deleted.is_none()).map(Release::from_line);
            // A release that cannot be read cannot be chosen; the others can.
            Ok((name.clone(), releases.filter_map(Result::ok).collect()))
        })
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// Drops one of the project's own requirements after the other: if one is to blame alone, that is worth saying.
fn suggestion(roots: &[Requirement], universe: &Universe) -> Option<String> {
    let any = drystone_schemas::VersionReq::new("*").expect("a star is a requirement");
    for (at, root) in roots.iter().enumerate() {
        let mut looser = roots.to_vec();
        looser[at].req = any.clone();
        if let Outcome::Solved(solution) = solve(&looser, universe, &BTreeMap::new()) {
            let chosen = solution.releases.get(&root.name.canonical())?;
            return Some(format!(
                "`{}` {} would solve it, in place of {}",
                root.name, chosen.version, root.req
            ));
        }
    }
    None
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
