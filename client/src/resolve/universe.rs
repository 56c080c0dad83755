//! What is known when versions are chosen: packages of several registries, each name bound to one.

use std::{collections::BTreeMap, sync::Arc};

use drystone_schemas::PackageName;

use super::{Overlay, Package};

/// One of the registries of a choice, by its position; the project's own is the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId(pub u32);

/// A package: the registry that it comes from, and its canonical name. Equal names of two registries are two packages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageKey {
    /// The registry.
    pub registry: RegistryId,
    /// Canonical name.
    pub name: String,
}

impl PackageKey {
    /// A package of the project's own registry.
    pub fn own(name: &PackageName) -> Self {
        Self { registry: RegistryId::default(), name: name.canonical() }
    }
}

/// What is known of registries and their packages.
#[derive(Debug, Clone)]
pub struct Universe {
    /// The URLs that mean each registry.
    registries: Vec<Vec<String>>,
    /// None for a package that is known not to exist.
    packages: BTreeMap<PackageKey, Option<Arc<Package>>>,
    overlay: Overlay,
}

impl Default for Universe {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Universe {
    /// Nothing is known but the URLs that mean the project's own registry.
    pub fn new(own_urls: Vec<String>) -> Self {
        Self { registries: vec![own_urls], packages: BTreeMap::new(), overlay: Overlay::none() }
    }

    /// Adds a URL that means the project's own registry.
    pub fn add_own_url(&mut self, url: String) {
        let own = &mut self.registries[0];
        if !own.contains(&url) {
            own.push(url);
        }
    }

    /// Adds a registry under the URLs that mean it.
    pub fn add_registry(&mut self, urls: Vec<String>) -> RegistryId {
        self.registries.push(urls);
        RegistryId(u32::try_from(self.registries.len() - 1).expect("a project names few registries"))
    }

    /// The same with what the project itself says of packages; its packages on disk are known.
    #[must_use]
    pub fn with_overlay(self, overlay: Overlay) -> Self {
        let mut universe = Self { overlay, ..self };
        for key in universe.overlay.local.keys().cloned().collect::<Vec<_>>() {
            universe.insert(key, None);
        }
        universe
    }

    /// Whether a package is on the project's disk, so that no registry is asked.
    pub fn is_local(&self, key: &PackageKey) -> bool {
        self.overlay.is_local(key)
    }

    /// Adds what is known of a package; none if it does not exist. What the project says of it counts more.
    pub fn insert(&mut self, key: PackageKey, package: Option<Arc<Package>>) {
        let package = self.overlay.applied(&key, package);
        self.packages.insert(key, package);
    }

    /// What is known of a package: nothing, that it does not exist, or its releases.
    pub fn get(&self, key: &PackageKey) -> Option<Option<&Arc<Package>>> {
        self.packages.get(key).map(Option::as_ref)
    }

    /// The registry that a package of `from` means by a URL, or by none; nothing if no registry has that URL.
    ///
    /// A name is looked up there and nowhere else, so that nobody can slip a package in under a name of another registry.
    pub(super) fn registry(&self, from: RegistryId, url: Option<&str>) -> Option<RegistryId> {
        let Some(url) = url else { return Some(from) };
        let at = self.registries.iter().position(|urls| urls.iter().any(|known| bare(known) == bare(url)))?;
        Some(RegistryId(u32::try_from(at).expect("a project names few registries")))
    }
}

/// A URL without what two spellings of it may differ in.
fn bare(url: &str) -> &str {
    url.strip_prefix("sparse+").unwrap_or(url).trim_end_matches('/')
}
