//! Crates of another registry, over Cargo's sparse protocol.
//!
//! Owns which releases are taken, and where their archives lie until they are published.
//! Invariant: an archive that was fetched and verified once is not fetched again, and what the target has already is
//! not fetched at all.

use std::collections::{BTreeMap, BTreeSet};

use drystone_client::{CargoRegistry, CargoRelease, Registry, Secret};
use drystone_schemas::{Code, PackageName, Problem, Sha256Digest, VersionReq};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::{
    Found, Summary,
    pipeline::{failed, is_there},
};
use crate::{
    args::ImportRegistry,
    context::{Context, package_name, split_spec},
    failure::Failure,
};

/// Which releases of one package are taken.
#[derive(Debug, Default)]
struct Wanted {
    /// All of them.
    all: bool,
    /// Those that fit one of these.
    reqs: Vec<VersionReq>,
    /// Those with these versions.
    locked: Vec<String>,
}

impl Wanted {
    fn takes(&self, release: &CargoRelease) -> bool {
        self.all
            || self.reqs.iter().any(|req| req.matches(&release.version))
            || self.locked.contains(&release.version.to_string())
    }
}

/// Packages by canonical name, with their name as it was written.
type Names = BTreeMap<String, (PackageName, Wanted)>;

/// Fetches what is asked for and is not in the target yet.
pub(super) async fn fetch(
    cx: &Context,
    to: &Registry,
    args: &ImportRegistry,
    summary: &mut Summary,
) -> Result<Found, Failure> {
    let token = cx.env.get("DRYSTONE_SOURCE_TOKEN").map(Secret::bare);
    let from = CargoRegistry::open(cx.http(), &args.index, token).await?;
    let releases = releases(cx, &from, args, wanted(cx, args)?, summary).await?;
    summary.found = releases.len() + summary.failed.len();

    let dir = cx.home()?.cache().join("import").join(&Sha256Digest::of(args.index.as_bytes()).hex()[..16]);
    fs_err::create_dir_all(&dir)?;
    let bar = cx.printer.count_bar("Fetching", releases.len() as u64);
    let mut fetched = stream::iter(&releases)
        .map(async |release| {
            if is_there(to, &release.name, &release.version, &release.checksum).await? {
                return Ok(None);
            }
            bar.set_message(format!("{} {}", release.name, release.version));
            from.fetch(release, &dir).await.map(Some)
        })
        .buffered(usize::from(args.jobs));
    let (mut found, mut at) = (Found::default(), 0);
    while let Some(outcome) = fetched.next().await {
        bar.inc(1);
        match outcome {
            Ok(Some(path)) => found.files.push(path),
            Ok(None) => summary.already += 1,
            Err(error) => {
                summary.failed.push(failed(cx, releases[at].file_name().as_ref(), Failure::from(error)));
            }
        }
        at += 1;
    }
    bar.finish_and_clear();
    drop(fetched);
    let yanked = releases.into_iter().filter(|release| release.yanked);
    found.yanked = yanked.map(|release| (release.name, release.version)).collect();
    Ok(found)
}

/// What the command line and lock files ask for.
fn wanted(cx: &Context, args: &ImportRegistry) -> Result<Names, Failure> {
    let mut names = Names::new();
    let mut want = |name: PackageName, ask: &dyn Fn(&mut Wanted)| {
        ask(&mut names.entry(name.canonical()).or_insert_with(|| (name, Wanted::default())).1);
    };
    for text in &args.packages {
        let (name, req) = split_spec(text);
        let name = package_name(name)?;
        match req.map(VersionReq::new).transpose() {
            Ok(None) => want(name, &|wanted| wanted.all = true),
            Ok(Some(req)) => want(name, &|wanted| wanted.reqs.push(req.clone())),
            Err(e) => return Err(Failure::new(Code::BadUsage, format!("`{text}`: {e}"))),
        }
    }
    for path in &args.lock {
        for (name, version) in locked(&fs_err::read_to_string(cx.path(path))?, &args.index)? {
            want(package_name(&name)?, &|wanted| wanted.locked.push(version.clone()));
        }
    }
    if names.is_empty() {
        let problem = Problem::new(Code::BadUsage, "nothing is asked for");
        return Err(problem.with_hint("name packages, or give `--lock Cargo.lock`").into());
    }
    Ok(names)
}

/// The packages of a lock file that come from this registry: all that come from one, where none has its name.
fn locked(text: &str, index: &str) -> Result<Vec<(String, String)>, Failure> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        source: Option<String>,
    }
    let lock: Lock = toml::from_str(text)
        .map_err(|e| Failure::new(Code::BadUsage, format!("the lock file cannot be read: {e}")))?;
    let bare = |text: &str| {
        let text = text.strip_prefix("sparse+").or_else(|| text.strip_prefix("registry+")).unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    let of_registries = |package: &&Package| {
        package
            .source
            .as_deref()
            .is_some_and(|source| source.starts_with("sparse+") || source.starts_with("registry+"))
    };
    let packages: Vec<&Package> = lock.package.iter().filter(of_registries).collect();
    let here =
        |package: &&&Package| package.source.as_deref().is_some_and(|source| bare(source) == bare(index));
    let named: Vec<&&Package> = packages.iter().filter(here).collect();
    let taken = if named.is_empty() { packages.iter().collect() } else { named };
    Ok(taken.into_iter().map(|package| (package.name.clone(), package.version.clone())).collect())
}

/// Looks the packages up, and if asked to, what they need, and what that needs.
async fn releases(
    cx: &Context,
    from: &CargoRegistry,
    args: &ImportRegistry,
    names: Names,
    summary: &mut Summary,
) -> Result<Vec<CargoRelease>, Failure> {
    let mut seen: BTreeSet<String> = names.keys().cloned().collect();
    let mut round = names;
    let mut releases = Vec::new();
    while !round.is_empty() {
        let bar = cx.printer.count_bar("Looking up", round.len() as u64);
        let looked_up: Vec<(PackageName, Wanted, Option<Vec<CargoRelease>>)> =
            stream::iter(round.into_values())
                .map(async |(name, wanted)| {
                    let found = from.releases(&name).await;
                    bar.inc(1);
                    found.map(|found| (name, wanted, found))
                })
                .buffered(usize::from(args.jobs))
                .try_collect()
                .await?;
        bar.finish_and_clear();
        round = Names::new();
        for (name, wanted, found) in looked_up {
            let taken: Vec<CargoRelease> =
                found.into_iter().flatten().filter(|release| wanted.takes(release)).collect();
            if taken.is_empty() {
                let problem = Problem::new(
                    Code::PackageNotFound,
                    format!("the source has no such release of `{name}`"),
                );
                summary.failed.push(failed(cx, name.as_str().as_ref(), problem.into()));
            }
            let needs = taken.iter().flat_map(|release| &release.needs).filter(|_| args.with_dependencies);
            for need in needs.filter(|need| seen.insert(need.canonical())) {
                let wanted = Wanted { all: true, ..Wanted::default() };
                round.insert(need.canonical(), (need.clone(), wanted));
            }
            releases.extend(taken);
        }
    }
    Ok(releases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_names_what_comes_from_the_registry() {
        let text = "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\
                    [[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"sparse+https://r/index/\"\n\
                    [[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                    [[package]]\nname = \"c\"\nversion = \"3.0.0\"\nsource = \"git+https://r/c\"\n";
        let names = |index: &str| -> Vec<String> {
            locked(text, index).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("https://r/index"), ["a"]);
        assert_eq!(names("https://github.com/rust-lang/crates.io-index"), ["b"]);
        assert_eq!(names("https://elsewhere"), ["a", "b"]);
    }
}
