//! What a project itself says of packages, in place of their registry: packages on its disk, and requirements that replace
//! those of whoever asks.
//!
//! Owns the change of what a registry says of a package before it is looked at. Does not own where the packages on disk are
//! found.
//! Invariant: a package that is on disk is never asked for elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use drystone_schemas::{PackageName, VersionReq};

use super::{Package, PackageKey, RegistryId};

/// A package on disk.
#[derive(Debug, Clone)]
pub struct Local {
    /// Its one release.
    pub package: Arc<Package>,
    /// Where it is, relative to the project, with `/` between names.
    pub path: String,
}

/// What a project says of packages of its own registry.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// Packages on disk.
    pub local: BTreeMap<PackageKey, Local>,
    /// Requirements that count in place of all others, by the canonical name of the package that they are about.
    pub requirements: BTreeMap<String, VersionReq>,
}

impl Overlay {
    /// An overlay that changes nothing.
    pub const fn none() -> Self {
        Self { local: BTreeMap::new(), requirements: BTreeMap::new() }
    }

    /// Whether a package is on disk.
    pub fn is_local(&self, key: &PackageKey) -> bool {
        self.local.contains_key(key)
    }

    /// What packages are replaced with, in words: a path or a requirement, by canonical name.
    pub fn overrides(&self) -> BTreeMap<String, String> {
        let told = |(name, req): (&String, &VersionReq)| {
            let key = PackageKey { registry: RegistryId::default(), name: name.clone() };
            let with = self.local.get(&key).map_or_else(|| req.to_string(), |local| local.path.clone());
            (name.clone(), with)
        };
        self.requirements.iter().map(told).collect()
    }

    /// What counts of a package that a registry has.
    pub(super) fn applied(&self, key: &PackageKey, package: Option<Arc<Package>>) -> Option<Arc<Package>> {
        if let Some(local) = self.local.get(key) {
            return Some(local.package.clone());
        }
        let package = package?;
        let replaced = |name: &str| self.requirements.get(&PackageName::new(name).ok()?.canonical());
        let touched = |package: &Package| {
            package.record().deps.iter().any(|dep| replaced(dep.package_name()).is_some())
        };
        // Most packages ask for nothing that is replaced.
        if self.requirements.is_empty() || !touched(&package) {
            return Some(package);
        }
        let mut record = package.record().clone();
        for dep in &mut record.deps {
            if let Some(req) = replaced(dep.package_name()).filter(|_| dep.registry.is_none()) {
                dep.req = req.to_string();
            }
        }
        Some(Arc::new(Package::new(record)))
    }
}
