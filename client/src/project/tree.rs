//! A manifest with everything on disk that its lock is about: the workspace around it, and packages at paths.
//!
//! Owns which manifests belong together, and what the root says of packages in place of their registry. Does not own the
//! choice of versions.
//! Invariant: a name means one package. One that is at a path is that package for whoever asks for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use drystone_schemas::{
    Format, IndexFile, IndexLine, PackageName, ResolveRecord, Sha256Digest, Version, VersionReq,
};
use toml_edit::Item;

use super::{Dependency, DependencyTable, Project, Source};
use crate::{
    ClientError, Lock, LockedLocal,
    resolve::{Local, Overlay, Package, PackageKey, Requirement},
};

/// A package on the project's own disk.
#[derive(Debug, Clone)]
pub struct LocalPackage {
    /// Name, as its manifest writes it.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// Its directory.
    pub dir: PathBuf,
    /// The same, relative to the root, with `/` between names.
    pub path: String,
    project: Project,
    dependencies: Vec<Dependency>,
}

/// A project with its workspace.
#[derive(Debug, Clone)]
pub struct ProjectTree {
    root: PathBuf,
    members: Vec<Project>,
    /// By canonical name.
    locals: BTreeMap<String, LocalPackage>,
    /// Requirements that the root says instead of all others, by canonical name.
    requirements: BTreeMap<String, VersionReq>,
}

impl ProjectTree {
    /// The workspace that a manifest belongs to; one of its own, if it belongs to none.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadManifest`] names the manifest, of the root or of any package at a path, that cannot be used.
    pub fn around(project: &Project) -> Result<Self, ClientError> {
        let root = root_of(project)?;
        let root_dir = fs_err::canonicalize(root.dir())?;
        let mut members = vec![root.clone()];
        for dir in member_dirs(&root, &root_dir)? {
            members.push(open_beside(&dir, &root)?);
        }
        // The manifest at hand may have edits that are not written yet.
        for member in &mut members {
            if same_file(member.path(), project.path()) {
                *member = project.clone();
            } else if !same_file(member.path(), root.path())
                && (member.workspace().is_some() || !member.overrides()?.is_empty())
            {
                return Err(member.bad(
                    "`workspace` and `overrides` are looked at in the root of the workspace only".into(),
                ));
            }
        }
        let mut tree =
            Self { root: root_dir, members, locals: BTreeMap::new(), requirements: BTreeMap::new() };
        tree.override_with(&root)?;
        for member in tree.members.clone() {
            tree.follow(&member)?;
        }
        Ok(tree)
    }

    /// The directory of the root: where the lock file and the installed packages are.
    pub fn dir(&self) -> &Path {
        &self.root
    }

    /// The manifests of the workspace, the root's first.
    pub fn members(&self) -> &[Project] {
        &self.members
    }

    /// Packages at paths, by canonical name.
    pub const fn locals(&self) -> &BTreeMap<String, LocalPackage> {
        &self.locals
    }

    /// What all members ask for, for use, building and tests, without the optional ones.
    pub fn requirements(&self) -> Result<Vec<Requirement>, ClientError> {
        let mut all: Vec<Requirement> = Vec::new();
        for member in &self.members {
            for requirement in self.requirements_of(member)? {
                if !all.contains(&requirement) {
                    all.push(requirement);
                }
            }
        }
        Ok(all)
    }

    /// What one member asks for.
    pub fn requirements_of(&self, member: &Project) -> Result<Vec<Requirement>, ClientError> {
        let mut all = Vec::new();
        for dependency in member.dependencies()?.into_iter().filter(|dependency| !dependency.optional) {
            all.push(Requirement {
                req: self.req_of(&dependency),
                features: dependency.features,
                default_features: dependency.default_features,
                ..Requirement::new(dependency.name, any())
            });
        }
        Ok(all)
    }

    /// What is said of packages here in place of their registry.
    pub fn overlay(&self) -> Overlay {
        let own = |package: &LocalPackage| {
            let record = ResolveRecord::of(&IndexFile { lines: vec![self.line(package)] });
            let record = record.expect("a file with a line has a record");
            let local = Local { package: Arc::new(Package::new(record)), path: package.path.clone() };
            (PackageKey::own(&package.name), local)
        };
        Overlay { local: self.locals.values().map(own).collect(), requirements: self.requirements.clone() }
    }

    /// Whether a lock answers all manifests as they are now.
    pub fn is_answered_by(&self, lock: &Lock) -> Result<bool, ClientError> {
        let answered = |(key, locked): (&String, &LockedLocal)| {
            let Some(package) = self.locals.get(key) else { return false };
            let needs = package.needs().map(|needed| needed.name.canonical());
            let met = |needed: &Dependency| {
                let version = lock.version_of(&needed.name.canonical());
                version.is_some_and(|version| self.req_of(needed).matches(version))
            };
            let needs: BTreeSet<String> = needs.collect();
            (&package.version, &package.path) == (&locked.version, &locked.path)
                && needs.iter().eq(&locked.dependencies)
                && package.needs().all(met)
        };
        Ok(lock.overrides == self.overlay().overrides()
            && lock.locals.iter().all(answered)
            && lock.satisfies(&self.requirements()?))
    }

    /// Which versions of a dependency will do.
    fn req_of(&self, dependency: &Dependency) -> VersionReq {
        let key = dependency.name.canonical();
        let local = || self.locals.get(&key).map(|package| exactly(&package.version));
        match (self.requirements.get(&key), &dependency.source) {
            (Some(req), _) => req.clone(),
            (None, Source::Registry(req) | Source::Path { req: Some(req), .. }) => req.clone(),
            (None, Source::Path { req: None, .. }) => local().unwrap_or_else(any),
        }
    }

    /// A package on disk as an index would say it.
    fn line(&self, package: &LocalPackage) -> IndexLine {
        let deps = package.dependencies.iter().filter(|dep| dep.table != DependencyTable::Dev);
        let deps = deps.map(|dep| dep.index_dep(dep.table.kind(), &self.req_of(dep))).collect();
        let nothing = Sha256Digest::of(b"");
        IndexLine {
            name: package.name.clone(),
            vers: package.version.clone(),
            deps,
            cksum: nothing.hex(),
            features: package.project.features(),
            yanked: false,
            links: None,
            v: 1,
            features2: BTreeMap::new(),
            rust_version: None,
            pubtime: String::new(),
            seq: 0,
            published: 0,
            size: 0,
            format: Format::Generic,
            record: nothing,
            sigs: Default::default(),
            zig: None,
            yank_reason: None,
            deleted: None,
        }
    }

    fn override_with(&mut self, root: &Project) -> Result<(), ClientError> {
        for replaced in root.overrides()? {
            let key = replaced.name.canonical();
            let req = match &replaced.source {
                Source::Registry(req) => req.clone(),
                Source::Path { dir, req } => {
                    exactly(&self.local(root, &replaced.name, dir, req.as_ref())?.version)
                }
            };
            self.requirements.insert(key, req);
        }
        Ok(())
    }

    /// Finds every package at a path that a manifest leads to.
    fn follow(&mut self, from: &Project) -> Result<(), ClientError> {
        for dependency in from.dependencies()? {
            // What the root says of a package counts for all.
            let is_replaced = self.requirements.contains_key(&dependency.name.canonical());
            if let (false, Source::Path { dir, req }) = (is_replaced, &dependency.source) {
                self.local(from, &dependency.name, dir, req.as_ref())?;
            }
        }
        Ok(())
    }

    /// The package at a path, and whatever that leads to.
    fn local(
        &mut self,
        from: &Project,
        wanted: &PackageName,
        dir: &Path,
        req: Option<&VersionReq>,
    ) -> Result<LocalPackage, ClientError> {
        let place = format!("`{wanted}` at `{}`", dir.display());
        let project = open_beside(&from.dir().join(dir), from)?;
        let named = project.name().and_then(|name| PackageName::new(name).ok());
        let name = named.ok_or_else(|| project.bad("it has no name of a package".into()))?;
        if name.canonical() != wanted.canonical() {
            return Err(from.bad(format!("{place} is `{name}`")));
        }
        let version = project.version().and_then(|version| Version::new(version).ok());
        let version = version.ok_or_else(|| project.bad("it has no version of a package".into()))?;
        if let Some(req) = req.filter(|req| !req.matches(&version)) {
            return Err(from.bad(format!("{place} is {version}, which {req} does not allow")));
        }
        let dir = fs_err::canonicalize(project.dir())?;
        if let Some(known) = self.locals.get(&name.canonical()) {
            if known.dir == dir {
                return Ok(known.clone());
            }
            return Err(from.bad(format!("{place} is at `{}`, too", known.path)));
        }
        let path = relative(&self.root, &dir);
        let dependencies = project.dependencies()?;
        let package = LocalPackage { name, version, dir, path, project, dependencies };
        self.locals.insert(package.name.canonical(), package.clone());
        self.follow(&package.project)?;
        Ok(package)
    }
}

impl LocalPackage {
    /// What it needs to be used, without what is optional.
    fn needs(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dep| dep.table != DependencyTable::Dev && !dep.optional)
    }
}

impl Project {
    /// The table `[workspace]`.
    fn workspace(&self) -> Option<&Item> {
        self.at("workspace")
    }

    /// The way from the manifest's directory to another one, with `/` between names.
    pub fn way_to(&self, dir: &Path) -> Result<PathBuf, ClientError> {
        Ok(relative(&fs_err::canonicalize(self.dir())?, &fs_err::canonicalize(dir)?).into())
    }

    /// `[features]`, as far as it can be read.
    fn features(&self) -> BTreeMap<String, Vec<String>> {
        let texts = |item: &Item| -> Vec<String> {
            let items = item.as_array().into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let table = self.at("features").and_then(Item::as_table_like);
        table
            .into_iter()
            .flat_map(|table| table.iter())
            .map(|(key, item)| (key.to_owned(), texts(item)))
            .collect()
    }
}

/// The root of the workspace that a project belongs to: the nearest one above it that names it.
fn root_of(project: &Project) -> Result<Project, ClientError> {
    if project.workspace().is_some() {
        return Ok(project.clone());
    }
    let dir = fs_err::canonicalize(project.dir())?;
    let file_name = project.path().file_name().unwrap_or_default();
    for above in dir.ancestors().skip(1) {
        let path = above.join(file_name);
        if !path.is_file() {
            continue;
        }
        let candidate = open_beside(above, project)?;
        if candidate.workspace().is_some() && member_dirs(&candidate, above)?.contains(&dir) {
            return Ok(candidate);
        }
    }
    Ok(project.clone())
}

/// The directories of the members beside the root, sorted.
fn member_dirs(root: &Project, root_dir: &Path) -> Result<Vec<PathBuf>, ClientError> {
    let patterns = |key: &str| -> Result<Vec<String>, ClientError> {
        let Some(item) = root.workspace().and_then(|workspace| workspace.get(key)) else {
            return Ok(Vec::new());
        };
        let texts = item.as_array().into_iter().flatten().map(|item| item.as_str().map(str::to_owned));
        texts
            .collect::<Option<Vec<String>>>()
            .filter(|_| item.is_array())
            .ok_or_else(|| root.bad(format!("`workspace.{key}` is not a list of directories")))
    };
    let file_name = root.path().file_name().unwrap_or_default();
    let excluded = patterns("exclude")?;
    let excluded: Vec<PathBuf> = excluded.iter().map(|dir| root_dir.join(dir)).collect();
    let mut dirs = Vec::new();
    for pattern in patterns("members")? {
        let mut found = vec![root_dir.to_owned()];
        for part in Path::new(&pattern).components() {
            found = match part {
                Component::Normal(part) if part == "*" => {
                    found.iter().map(|dir| directories(dir)).collect::<Result<Vec<_>, _>>()?.concat()
                }
                other => found.iter().map(|dir| dir.join(other)).collect(),
            };
        }
        let (is_pattern, found_any) = (pattern.contains('*'), found.iter().any(|dir| dir.is_dir()));
        if !is_pattern && !found_any {
            return Err(root.bad(format!("the member `{pattern}` is not there")));
        }
        // What a pattern finds without a manifest is something else.
        dirs.extend(found.into_iter().filter(|dir| !is_pattern || dir.join(file_name).is_file()));
    }
    let dirs: Vec<PathBuf> = dirs.into_iter().map(fs_err::canonicalize).collect::<Result<_, _>>()?;
    let mut dirs: Vec<PathBuf> = dirs
        .into_iter()
        .filter(|dir| dir != root_dir && !excluded.iter().any(|excluded| dir.starts_with(excluded)))
        .collect();
    dirs.sort_unstable();
    dirs.dedup();
    Ok(dirs)
}

/// The directories in a directory, without hidden ones.
fn directories(dir: &Path) -> Result<Vec<PathBuf>, ClientError> {
    let Ok(entries) = fs_err::read_dir(dir) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The manifest in a directory, called and read like another one.
fn open_beside(dir: &Path, like: &Project) -> Result<Project, ClientError> {
    let file_name = like.path().file_name().unwrap_or_default();
    let path = dir.join(file_name);
    if !path.is_file() {
        return Err(like.bad(format!("there is no `{}`", path.display())));
    }
    Ok(Project::open(&path)?.like(like))
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs_err::canonicalize(path).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

/// The way from one directory to another, both without links, with `/` between names.
fn relative(from: &Path, to: &Path) -> String {
    let common = from.components().zip(to.components()).take_while(|(from, to)| from == to).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    let way: Vec<String> = up.chain(down).collect();
    if way.is_empty() { ".".into() } else { way.join("/") }
}

fn exactly(version: &Version) -> VersionReq {
    VersionReq::new(&format!("={}", version.precedence_key())).expect("a version after `=` is a requirement")
}

fn any() -> VersionReq {
    VersionReq::new("*").expect("a star is a requirement")
}
