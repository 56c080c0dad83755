//! A language's own package tool in one function: resolve, lock and install what a manifest asks for, with proof.
//!
//! The language's tool calls [`install`]; this program does so for a directory and a registry given on its command line.

use std::{path::Path, sync::Arc};

use drystone_client::{
    ClientError, Effects, Home, Http, HttpOptions, Network, Project, ProjectTree, Registry, Snapshot, Store,
    TrustStore,
    install::{InstallReport, Installer, LinkMode, OnInstall, Stock},
    plan::{check_lock, resolve},
    resolve::{Rules, Versions},
};
use drystone_storage::{SystemClock, SystemEntropy};

/// Installs the dependencies of the project in `dir` from a registry, below `dir/drystone_packages/`.
///
/// `home` keeps the cache, unpacked packages, and the log's key and checkpoint as they were seen before.
pub(crate) async fn install(dir: &Path, url: &str, home: &Path) -> Result<InstallReport, ClientError> {
    let effects = Effects::new(Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let http = Http::new(HttpOptions::new("quill/0.1.0"), effects);
    let home = Home::new(home);
    let registry = Registry::new(url, http, &home.cache(), Network::Online, None)?;

    // The registry says what the manifest is called, and where its fields are.
    let settings = registry.config().await?.settings.clone();
    let project = Project::find(dir, &settings.generic_manifest)?;
    let project = project.with_fields(settings.language.map(|language| language.fields).unwrap_or_default());

    let snapshot = Snapshot::open(&registry, &TrustStore::new(home.clone())).await?;
    let tree = ProjectTree::around(&project)?;
    let rules = Rules { overlay: tree.overlay(), ..Rules::newest(Versions::One) };
    let lock = resolve(&snapshot, &tree.requirements()?, &rules).await?;
    check_lock(&snapshot, &lock, &lock.packages.values().collect::<Vec<_>>()).await?;
    lock.write(tree.dir())?;
    let store = Store::new(home.store());
    let on_install = Arc::new(|_| ()) as OnInstall;
    let installer =
        Installer { store: &store, registry: &registry, limits: &settings.limits, on_install: &on_install };
    installer.install(&lock, Stock::take(&lock, &store), tree.dir(), LinkMode::Auto).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, url, home] = &arguments[..] else { return Err("usage: embed DIR URL HOME".into()) };
    let report = install(Path::new(dir), url, Path::new(home)).await?;
    Ok(serde_json::to_writer(std::io::stdout(), &report)?)
}
