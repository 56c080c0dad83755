//! Which versions: from requirements to one version of each package.
//!
//! Owns the search. Does not own where releases come from: the caller hands in what is known, and is told what else
//! is needed.
//! Invariant: equal inputs give equal answers; no clock, no randomness, no map without order.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{DepKind, IndexLine, PackageName, Sha256Digest, Version, VersionReq};

mod explain;
mod search;

pub use search::solve;

/// Most candidates that are tried before the search gives up.
pub const TRIES_MAX: usize = 200_000;

/// One requirement of the project itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The package, in any spelling.
    pub name: PackageName,
    /// Which versions will do.
    pub req: VersionReq,
}

/// What is known of the packages: their releases, by canonical name. A package that is known not to exist has none.
#[derive(Debug, Clone, Default)]
pub struct Universe {
    packages: BTreeMap<String, Vec<Release>>,
}

/// One release, as far as the choice of versions goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Name, as its author writes it.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// Whether it may only be kept, not newly chosen.
    pub yanked: bool,
    /// SHA-256 of the archive.
    pub digest: Sha256Digest,
    /// Length of the archive in bytes.
    pub size: u64,
    /// What it needs when it is used and built.
    pub needs: Vec<Need>,
}

/// One dependency of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The package.
    pub name: PackageName,
    /// Which versions will do.
    pub req: VersionReq,
    /// Set if it is to come from another registry, which is not supported.
    pub registry: Option<String>,
}

/// One version of each package that is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solution {
    /// The releases, by canonical name.
    pub releases: BTreeMap<String, Release>,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Solved(Solution),
    /// These packages must be known first; all that the search met, so that they can be fetched together.
    Unknown(BTreeSet<PackageName>),
    /// There is no answer.
    Impossible {
        /// Why, sentence by sentence.
        because: Vec<String>,
    },
}

/// A release whose index line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the index line of `{name}` {version}: {detail}")]
pub struct BadRelease {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// What is wrong.
    pub detail: String,
}

impl Release {
    /// Takes from an index line what the choice needs: dependencies that are neither optional nor for tests.
    pub fn from_line(line: &IndexLine) -> Result<Self, BadRelease> {
        let bad = |detail: String| BadRelease { name: line.name.clone(), version: line.vers.clone(), detail };
        let mut needs = Vec::new();
        for dep in line.deps.iter().filter(|dep| dep.kind != DepKind::Dev && !dep.optional) {
            needs.push(Need {
                name: PackageName::new(dep.package_name()).map_err(|e| bad(e.to_string()))?,
                req: VersionReq::new(&dep.req).map_err(|e| bad(e.to_string()))?,
                registry: dep.registry.clone(),
            });
        }
        Ok(Self {
            name: line.name.clone(),
            version: line.vers.clone(),
            yanked: line.yanked,
            digest: Sha256Digest::from_hex(&line.cksum).map_err(|e| bad(e.to_string()))?,
            size: line.size,
            needs,
        })
    }
}

impl Universe {
    /// Adds what is known of a package; an empty list says that it does not exist.
    pub fn insert(&mut self, name: &PackageName, releases: Vec<Release>) {
        self.packages.insert(name.canonical(), releases);
    }

    /// The releases of a package, if anything is known of it.
    pub fn get(&self, name: &PackageName) -> Option<&[Release]> {
        self.packages.get(&name.canonical()).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
