//! `install`, `lock`, `update`: from the manifest to a lock, from the lock to directories.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock},
};

use clap::ValueEnum as _;
use drystone_client::{
    ClientError, Lock, LockedPackage, Network, Project, ProjectTree, Registry, Snapshot, Store, TrustStore,
    install::{InstallEvent, InstallReport, Installer, LinkMode, OnInstall, PACKAGES_DIR, Stock},
    plan::{Notice, check_lock, locked_versions, resolve, resolve_beside},
    resolve::{Order, Requirement, Rules},
};
use drystone_schemas::{Code, Limits, PackageName, Problem};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::{
    args::{self, LinkModeArg, LockArgs},
    context::{Context, package_name, read_limits},
    failure::Failure,
    printer::count,
};

/// What changed, for programs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Changes {
    /// Lines of the lock file's difference.
    pub(super) lock: Vec<String>,
    /// What was installed, unless nothing was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) install: Option<InstallReport>,
}

/// What `fetch` came to, for programs.
#[derive(Debug, Serialize)]
struct Fetched {
    lock: Vec<String>,
    packages: usize,
    downloaded: usize,
}

/// Which locked versions are kept.
pub(super) enum Keep {
    All,
    AllBut(BTreeSet<String>),
    None,
}

/// What comes after the choice of versions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    /// The packages are fetched, so that their archives may come already.
    Fetch,
    /// Only the lock file is written.
    Nothing,
}

/// A project with its registry.
pub(super) struct Workspace {
    /// The manifest at hand.
    pub(super) project: Project,
    /// It, and all that belongs to it.
    pub(super) tree: ProjectTree,
    pub(super) registry: Registry,
    pub(super) lock: Option<Lock>,
    /// The choice that was made last, all of it proved.
    proved: OnceLock<Lock>,
}

pub(super) async fn install(args: &args::Install, cx: &Context) -> Result<(), Failure> {
    let workspace = Workspace::open(cx, &args.project, args.lock.frozen).await?;
    let (lock, diff) = workspace.settle(cx, &Keep::All, Order::NewestFirst, &args.lock, Then::Fetch).await?;
    let report = workspace.install(cx, &lock, link_mode(args.link_mode, cx)?).await?;
    finish(cx, &Changes { lock: diff, install: Some(report) })
}

/// The way that is asked for: on the command line, else in the environment.
fn link_mode(asked: Option<LinkModeArg>, cx: &Context) -> Result<LinkMode, Failure> {
    if let Some(asked) = asked {
        return Ok(asked.into());
    }
    let Some(text) = cx.env.get("DRYSTONE_LINK_MODE") else { return Ok(LinkMode::Auto) };
    let mode = LinkModeArg::from_str(text, true).map_err(|_| {
        let detail = format!("`DRYSTONE_LINK_MODE` is `{text}`");
        Problem::new(Code::BadConfiguration, detail)
            .with_hint("use `auto`, `dir`, `reflink`, `hard` or `copy`")
    })?;
    Ok(mode.into())
}

pub(super) async fn fetch(args: &args::Fetch, cx: &Context) -> Result<(), Failure> {
    let workspace = Workspace::open(cx, &args.project, args.lock.frozen).await?;
    let (lock, diff) = workspace.settle(cx, &Keep::All, Order::NewestFirst, &args.lock, Then::Fetch).await?;
    let store = Store::new(cx.home()?.store());
    let mut stock = Stock::take(&lock, &store);
    let limits = workspace.prove(cx, &lock, &stock).await?;
    let on_install = on_install(cx);
    let installer =
        Installer { store: &store, registry: &workspace.registry, limits: &limits, on_install: &on_install };
    let downloaded = installer.fetch(&mut stock).await?;
    let all = count(lock.packages.len(), "package");
    cx.printer.step("Fetched", &format!("{all} in the store, {downloaded} downloaded"));
    finish(cx, &Fetched { lock: diff, packages: lock.packages.len(), downloaded })
}

pub(super) async fn vendor(args: &args::Vendor, cx: &Context) -> Result<(), Failure> {
    let workspace = Workspace::open(cx, &args.project, args.lock.frozen).await?;
    let (lock, diff) = workspace.settle(cx, &Keep::All, Order::NewestFirst, &args.lock, Then::Fetch).await?;
    let store = Store::new(cx.home()?.store());
    let stock = Stock::take(&lock, &store);
    let limits = workspace.prove(cx, &lock, &stock).await?;
    let on_install = on_install(cx);
    let installer =
        Installer { store: &store, registry: &workspace.registry, limits: &limits, on_install: &on_install };
    let dir = workspace.tree.dir().join(&args.dir);
    let report = installer.vendor(&lock, stock, &dir).await?;
    let all = count(lock.packages.len(), "package");
    let (new, gone) = (report.linked.len(), report.removed.len());
    cx.printer.step("Vendored", &format!("{all} in {}/, {new} new, {gone} gone", args.dir.display()));
    finish(cx, &Changes { lock: diff, install: Some(report) })
}

pub(super) async fn lock(args: &args::Lock, cx: &Context) -> Result<(), Failure> {
    let workspace = Workspace::open(cx, &args.project, args.lock.frozen).await?;
    let (keep, order) = match (args.update, args.minimal_versions) {
        (_, true) => (Keep::None, Order::OldestFirst),
        (true, false) => (Keep::None, Order::NewestFirst),
        (false, false) => (Keep::All, Order::NewestFirst),
    };
    let (_, diff) = workspace.settle(cx, &keep, order, &args.lock, Then::Nothing).await?;
    finish(cx, &Changes { lock: diff, install: None })
}

pub(super) async fn update(args: &args::Update, cx: &Context) -> Result<(), Failure> {
    let names: Vec<PackageName> =
        args.packages.iter().chain(&args.package).map(|text| package_name(text)).collect::<Result<_, _>>()?;
    let keep = match names.is_empty() {
        true => Keep::None,
        false => Keep::AllBut(names.iter().map(PackageName::canonical).collect()),
    };
    let workspace = Workspace::open(cx, &args.project, false).await?;
    let free = LockArgs { locked: false, frozen: false };
    let (lock, diff) = workspace.settle(cx, &keep, Order::NewestFirst, &free, Then::Fetch).await?;
    let report = workspace.install(cx, &lock, LinkMode::Auto).await?;
    finish(cx, &Changes { lock: diff, install: Some(report) })
}

/// Shows a result that people have read already, step by step.
pub(super) fn finish<T: Serialize>(cx: &Context, changes: &T) -> Result<(), Failure> {
    if cx.printer.is_json() { cx.printer.result(changes, String::new) } else { Ok(()) }
}

impl Workspace {
    pub(super) async fn open(cx: &Context, args: &args::ProjectArgs, frozen: bool) -> Result<Self, Failure> {
        let project = cx.project(args).await?;
        let network = if frozen { Network::Offline } else { cx.asked_network() };
        let tree = ProjectTree::around(&project)?;
        // A member without a registry of its own has the root's.
        let naming = if project.registry_url().is_some() { Some(&project) } else { tree.members().first() };
        let registry = cx.open(&cx.registry_url(naming)?, network)?;
        let lock = Lock::read(tree.dir())?;
        Ok(Self { project, tree, registry, lock, proved: OnceLock::new() })
    }

    /// Takes edits of the manifest at hand into account.
    pub(super) fn reread(&mut self) -> Result<(), Failure> {
        self.tree = ProjectTree::around(&self.project)?;
        Ok(())
    }

    /// The lock for the manifest as it is, written if it changed; with the lines of the difference.
    async fn settle(
        &self,
        cx: &Context,
        keep: &Keep,
        order: Order,
        rules: &LockArgs,
        then: Then,
    ) -> Result<(Lock, Vec<String>), Failure> {
        if let (Keep::All, Some(lock)) = (keep, &self.lock)
            && self.tree.is_answered_by(lock)?
        {
            return Ok((lock.clone(), vec![]));
        }
        let fixed = rules.locked || rules.frozen;
        let new = match self.resolve(cx, keep, order, then).await {
            Err(failure) if fixed && failure.code() == Some(drystone_schemas::Code::OfflineMiss) => {
                return Err(ClientError::LockWouldChange { diff: self.unmet()? }.into());
            }
            other => other?,
        };
        let diff = new.diff(self.lock.as_ref());
        if fixed && !diff.is_empty() {
            return Err(ClientError::LockWouldChange { diff }.into());
        }
        if matches!(then, Then::Fetch) && self.registry.network() == Network::Offline {
            // A lock of what cannot be had now would only be in the way.
            Stock::take(&new, &Store::new(cx.home()?.store())).check_reach(self.registry.network())?;
        }
        let new = self.write(cx, new, &diff)?;
        Ok((new, diff))
    }

    /// Chooses versions for what the manifests say.
    pub(super) async fn resolve(
        &self,
        cx: &Context,
        keep: &Keep,
        order: Order,
        then: Then,
    ) -> Result<Lock, Failure> {
        let mut locked = self.lock.as_ref().map(Lock::versions).unwrap_or_default();
        match keep {
            Keep::All => {}
            Keep::None => locked.clear(),
            Keep::AllBut(names) => locked.retain(|key, _| !names.contains(key)),
        }
        let roots = &self.tree.requirements()?;
        let free = Rules { order, overlay: self.tree.overlay(), ..Rules::default() };
        let rules = Rules { locked: locked_versions(locked), ..free.clone() };
        let (snapshot, mut lock) = if self.registry.network() == Network::Offline {
            let snapshot = self.snapshot(cx).await?;
            let lock = resolve(&snapshot, roots, &rules).await?;
            (snapshot, lock)
        } else {
            let store = Store::new(cx.home()?.store());
            let guessed = async |lock: &Lock| match then {
                Then::Fetch => self.registry.prefetch(&store, lock).await,
                Then::Nothing => {}
            };
            let trust = cx.trust()?;
            resolve_beside(&self.registry, self.open_snapshot(&trust), roots, &rules, guessed).await?
        };
        if self.lock.as_ref().is_some_and(|old| old.origin != snapshot.log().origin) {
            // What another log had is no reason to keep a version.
            lock = resolve(&snapshot, roots, &free).await?;
        } else if let Some(old) = &self.lock {
            // Only what was locked before can have been yanked since.
            let kept = lock.packages.iter().filter(|(key, package)| old.packages.get(*key) == Some(package));
            let kept: Vec<&LockedPackage> = kept.map(|(_, package)| package).collect();
            warn(cx, &check_lock(&snapshot, &lock, &kept).await?);
        }
        self.tell(cx, &snapshot);
        drop(self.proved.set(lock.clone()));
        Ok(lock)
    }

    /// The registry of now, as a continuation of the one that the lock was made at.
    pub(super) async fn snapshot(&self, cx: &Context) -> Result<Snapshot<'_>, Failure> {
        let snapshot = self.open_snapshot(&cx.trust()?).await?;
        self.tell(cx, &snapshot);
        Ok(snapshot)
    }

    async fn open_snapshot(&self, trust: &TrustStore) -> Result<Snapshot<'_>, ClientError> {
        let snapshot = Snapshot::open(&self.registry, trust).await?;
        if let Some(lock) = self.lock.as_ref().filter(|lock| lock.origin == snapshot.log().origin) {
            snapshot.check_continues(lock.checkpoint.size, &lock.checkpoint.root).await?;
        }
        Ok(snapshot)
    }

    fn tell(&self, cx: &Context, snapshot: &Snapshot<'_>) {
        let (origin, size) = (&snapshot.log().origin, snapshot.checkpoint().size());
        cx.printer.detail(&format!("verified against `{origin}` at size {size}"));
    }

    /// Writes a lock, unless only its checkpoint is new: that is not worth a commit.
    pub(super) fn write(&self, cx: &Context, new: Lock, diff: &[String]) -> Result<Lock, Failure> {
        if let Some(old) = self.lock.as_ref().filter(|old| old.same_choice(&new)) {
            return Ok(old.clone());
        }
        new.write(self.tree.dir())?;
        cx.printer.step("Locked", &count(new.packages.len(), "package"));
        diff.iter().for_each(|line| cx.printer.more(line));
        Ok(new)
    }

    /// Brings the project's packages to what a lock says, proving first what is not in the store yet.
    pub(super) async fn install(
        &self,
        cx: &Context,
        lock: &Lock,
        mode: LinkMode,
    ) -> Result<InstallReport, Failure> {
        let store = Store::new(cx.home()?.store());
        let stock = Stock::take(lock, &store);
        let limits = self.prove(cx, lock, &stock).await?;
        let on_install = on_install(cx);
        let installer =
            Installer { store: &store, registry: &self.registry, limits: &limits, on_install: &on_install };
        let report = installer.install(lock, stock, self.tree.dir(), mode).await?;
        report.repaired.iter().for_each(|package| cx.printer.step("Repaired", package));
        let (all, dir) = (count(lock.packages.len() + lock.locals.len(), "package"), PACKAGES_DIR);
        match report.linked.len() + report.removed.len() + report.downloaded {
            0 => cx.printer.step("Installed", &format!("{all} already in {dir}/")),
            _ => cx.printer.step("Installed", &format!("{all} in {dir}/, {} downloaded", report.downloaded)),
        }
        Ok(report)
    }

    /// Holds what must be fetched against the log of today, while it comes, unless that was done when it was chosen; the limits
    /// for reading it. Nothing enters the store before. With everything there, nothing is asked of the registry at all.
    pub(super) async fn prove(
        &self,
        cx: &Context,
        lock: &Lock,
        stock: &Stock<'_>,
    ) -> Result<Limits, Failure> {
        let missing = stock.missing();
        if missing.is_empty() {
            return Ok(Limits::default());
        }
        let known = self.proved.get().is_some_and(|proved| proved.same_choice(lock));
        if self.registry.network() == Network::Online && !known {
            let checked = async {
                let snapshot = self.snapshot(cx).await?;
                Ok::<_, Failure>(check_lock(&snapshot, lock, &missing).await?)
            };
            let store = Store::new(cx.home()?.store());
            let fetched = async {
                self.registry.prefetch(&store, lock).await;
                Ok(())
            };
            let (notices, ()) = futures_util::try_join!(checked, fetched)?;
            warn(cx, &notices);
        }
        Ok(read_limits(&self.registry).await)
    }

    /// What of the manifest the lock does not answer, where nothing more can be known.
    fn unmet(&self) -> Result<Vec<String>, Failure> {
        let locked = |root: &Requirement| {
            let version = self.lock.as_ref()?.version_of(&root.name.canonical())?;
            root.req.matches(version).then_some(())
        };
        let roots = self.tree.requirements()?;
        let unmet = roots.iter().filter(|root| locked(root).is_none());
        Ok(unmet.map(|root| format!("+ {} {}", root.name, root.req)).collect())
    }
}

/// Tells what the registry has changed its mind about.
fn warn(cx: &Context, notices: &[Notice]) {
    for Notice::Yanked(package) in notices {
        let (name, version) = (&package.name, &package.version);
        cx.printer.warning(&format!("`{name}` {version} is yanked; the lock file keeps it"));
    }
}

/// One bar for each download; one line for each package where nobody watches.
pub(super) fn on_install(cx: &Context) -> OnInstall {
    let printer = cx.printer.clone();
    let bars: Mutex<BTreeMap<String, ProgressBar>> = Mutex::new(BTreeMap::new());
    Arc::new(move |event| {
        let mut bars = bars.lock().expect("no holder of this lock panics");
        match event {
            InstallEvent::Started { name, size } => {
                let bar = printer.bytes_bar("Downloading", size);
                bar.set_message(name.to_string());
                bars.insert(name.canonical(), bar);
            }
            InstallEvent::Bytes { name, more } => {
                if let Some(bar) = bars.get(&name.canonical()) {
                    bar.set_position(bar.position().saturating_add_signed(more));
                }
            }
            InstallEvent::Stored { name, version } => {
                if let Some(bar) = bars.remove(&name.canonical()) {
                    bar.finish_and_clear();
                }
                printer.step("Downloaded", &format!("{name} {version}"));
            }
            InstallEvent::Rejected { why } => printer.warning(&why),
        }
    })
}
