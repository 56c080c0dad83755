//! `Cargo.lock` where there is none: chosen by our resolver from the sparse indexes that cargo would ask.
//!
//! Owns reading those indexes, round by round, and keeping what was read where cargo looks for it. Does not own the choice,
//! nor the form of the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use drystone_schemas::{
    CRATES_IO_INDEX, DepKind, Format, IndexDep, IndexFile, IndexLine, PackageName, ResolveRecord,
    Sha256Digest, Version,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::{
    CargoFetch, CargoWorkspace,
    config::Replaced,
    home::{RegistryDirs, cached_index},
};
use crate::{
    CargoRegistry, ClientError, Network,
    plan::rounds::{Fetched, Names, RecordSource, Wanted, choose},
    resolve::{
        Outcome, PackageKey, RegistryId, Rules, Universe, Versions,
        cargo_lock::{self, Facts},
        suggest,
    },
};

/// Index files that are asked for at once.
const PARALLEL: usize = 64;

/// One registry that crates may come from.
struct Source {
    /// As lock files write it.
    name: String,
    registry: CargoRegistry,
    dirs: RegistryDirs,
}

/// Indexes as they are read, with the checksums of all releases.
struct Indexes<'a> {
    fetch: &'a CargoFetch<'a>,
    sources: Vec<Source>,
    checksums: Mutex<BTreeMap<(PackageKey, Version), String>>,
}

impl CargoFetch<'_> {
    /// The text of a lock file for a workspace. `compiler` is the one that is here, for members that name none.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoVersionsFit`] says why; [`ClientError::LeftToCargo`] where a registry has no sparse index.
    pub async fn lock(
        &self,
        workspace: &CargoWorkspace,
        compiler: Option<semver::Version>,
    ) -> Result<String, ClientError> {
        if self.network == Network::Offline {
            return Err(ClientError::OfflineMiss { what: "`Cargo.lock`".into() });
        }
        let named: BTreeSet<&String> =
            workspace.requirements.iter().filter_map(|requirement| requirement.registry.as_ref()).collect();
        let mut universe = Universe::new(vec![CRATES_IO_INDEX.to_owned()]);
        let mut sources = vec![self.source(format!("registry+{CRATES_IO_INDEX}")).await?];
        for url in named {
            let name = if url.starts_with("sparse+") { url.clone() } else { format!("registry+{url}") };
            universe.add_registry(vec![url.clone()]);
            sources.push(self.source(name).await?);
        }
        let indexes = Indexes { fetch: self, sources, checksums: Mutex::default() };
        let rules = Rules {
            rust_version: workspace.rust_version.clone().or(compiler).filter(|_| workspace.minds_compiler),
            ..Rules::newest(Versions::OnePerCompatible)
        };
        let roots = &workspace.requirements;
        match choose(&indexes, roots, &mut universe, &rules).await?.0 {
            Outcome::Solved(solution) => Ok(cargo_lock::write(&workspace.members, &solution, &indexes)),
            Outcome::Impossible(conflict) => {
                let suggestion = suggest(roots, &universe, &rules, &conflict);
                Err(ClientError::NoVersionsFit { because: conflict.because, suggestion })
            }
            Outcome::Unknown(_) => Err(ClientError::Internal("a choice ended without an end".into())),
        }
    }

    async fn source(&self, name: String) -> Result<Source, ClientError> {
        let index = match self.config.replaced(&name) {
            Replaced::Sparse(index) => index,
            Replaced::OnDisk(path) => {
                return Err(ClientError::LeftToCargo {
                    what: name,
                    why: format!("it is on disk, at `{path}`"),
                });
            }
            Replaced::Unknown(url) => {
                return Err(ClientError::LeftToCargo {
                    what: name,
                    why: format!("`{url}` is no sparse index"),
                });
            }
        };
        let registry = CargoRegistry::new(self.http.clone(), &index, self.config.token(&index))?;
        if self.config.token(&index).is_some() {
            registry.settle_token().await?;
        }
        Ok(Source { name, registry, dirs: self.home.of(&index)? })
    }
}

impl Indexes<'_> {
    fn of(&self, registry: RegistryId) -> &Source {
        &self.sources[registry.0 as usize]
    }

    /// What choosing needs to know of a crate; none if there is no such crate.
    async fn record(
        &self,
        key: &PackageKey,
        name: &PackageName,
    ) -> Result<Option<ResolveRecord>, ClientError> {
        let source = self.of(key.registry);
        let Some((bytes, etag)) = source.registry.index_file(name).await? else { return Ok(None) };
        let lines: Vec<IndexLine> = bytes.split(|byte| *byte == b'\n').filter_map(index_line).collect();
        let place = source.dirs.index_file(name);
        if let Some(parent) = place.parent() {
            self.fetch.disk.create_dir_all(parent)?;
        }
        self.fetch.disk.replace(&place, &cached_index(&bytes, etag.as_deref()))?;
        let mut checksums = self.checksums.lock().expect("no holder of this lock panics");
        checksums.extend(lines.iter().map(|line| ((key.clone(), line.vers.clone()), line.cksum.clone())));
        Ok(ResolveRecord::of(&IndexFile { lines }))
    }
}

impl RecordSource for Indexes<'_> {
    async fn round(&self, wanted: &Wanted) -> Result<Fetched, ClientError> {
        let records = stream::iter(&wanted.records)
            .map(async |(key, name)| Ok::<_, ClientError>((key.clone(), self.record(key, name).await?)))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(Fetched { records, hinted: Names::new(), own_urls: Vec::new() })
    }
}

impl Facts for Indexes<'_> {
    fn source(&self, registry: RegistryId) -> &str {
        &self.of(registry).name
    }

    fn checksum(&self, package: &PackageKey, version: &Version) -> Option<String> {
        let checksums = self.checksums.lock().expect("no holder of this lock panics");
        checksums.get(&(package.clone(), version.clone())).cloned()
    }
}

#[derive(Deserialize)]
struct Line {
    name: PackageName,
    vers: Version,
    deps: Option<Vec<Dep>>,
    cksum: String,
    features: Option<BTreeMap<String, Vec<String>>>,
    features2: Option<BTreeMap<String, Vec<String>>>,
    yanked: Option<bool>,
    links: Option<String>,
    v: Option<u32>,
    rust_version: Option<String>,
}

#[derive(Deserialize)]
struct Dep {
    name: String,
    req: String,
    features: Option<Vec<String>>,
    optional: Option<bool>,
    default_features: Option<bool>,
    target: Option<String>,
    kind: Option<String>,
    registry: Option<String>,
    package: Option<String>,
}

/// A line of any registry's index (the Cargo book, "Index format") in our form; one that cannot be read is left out, as cargo
/// leaves it out.
fn index_line(line: &[u8]) -> Option<IndexLine> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let dep = |dep: Dep| IndexDep {
        name: dep.name,
        req: dep.req,
        features: dep.features.unwrap_or_default(),
        optional: dep.optional.unwrap_or(false),
        default_features: dep.default_features.unwrap_or(true),
        target: dep.target,
        kind: match dep.kind.as_deref() {
            Some("dev") => DepKind::Dev,
            Some("build") => DepKind::Build,
            _ => DepKind::Normal,
        },
        registry: dep.registry,
        package: dep.package,
    };
    let nothing = Sha256Digest::of(b"");
    Some(IndexLine {
        name: line.name,
        vers: line.vers,
        deps: line.deps.unwrap_or_default().into_iter().map(dep).collect(),
        cksum: line.cksum,
        features: line.features.unwrap_or_default(),
        yanked: line.yanked.unwrap_or(false),
        links: line.links,
        v: line.v.unwrap_or(1),
        features2: line.features2.unwrap_or_default(),
        rust_version: line.rust_version,
        pubtime: String::new(),
        seq: 0,
        published: 0,
        size: 0,
        format: Format::Cargo,
        record: nothing,
        sigs: Default::default(),
        zig: None,
        yank_reason: None,
        deleted: None,
    })
}
