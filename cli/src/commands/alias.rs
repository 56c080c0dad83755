//! `alias set`, `remove`, `resolve`, `list`, `suggest`, `history`.
//!
//! What is shown is proved against the log; what is changed goes to the registry's API.

use std::fmt::Write as _;

use drystone_client::{
    Registry, Snapshot,
    aliases::{Suggestion, free_names, similar},
};
use drystone_schemas::{Alias, AliasMap, Code, PackageName, ResolveResponse};
use serde::Serialize;

use super::yank::told;
use crate::{
    args,
    context::{self, Context, package_name},
    failure::Failure,
};

pub(super) async fn alias(args: &args::Alias, cx: &Context) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    match args {
        args::Alias::Set(args) => {
            let (alias, package) = (context::alias(&args.alias)?, package_name(&args.package)?);
            let response = registry.set_alias(&alias, &package).await?;
            told(cx, &response, Some(&format!("drystone alias remove {alias}")))
        }
        args::Alias::Remove(args) => {
            let response = registry.remove_alias(&context::alias(&args.alias)?).await?;
            told(cx, &response, None)
        }
        args::Alias::Resolve(args) => resolve(cx, &registry, &context::alias(&args.alias)?).await,
        args::Alias::List(args) => list(cx, &registry, args).await,
        args::Alias::Suggest(args) => suggest(cx, &registry, &args.name).await,
        args::Alias::History(args) => history(cx, &registry, &context::alias(&args.alias)?).await,
    }
}

async fn resolve(cx: &Context, registry: &Registry, alias: &Alias) -> Result<(), Failure> {
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let full_name = snapshot
        .alias(alias)
        .await?
        .ok_or_else(|| Failure::new(Code::AliasNotFound, format!("`{alias}` is no alias of any package")))?;
    let answer = ResolveResponse { full_name, resolved: true };
    cx.printer.result(&answer, || format!("{}\n", answer.full_name))
}

async fn list(cx: &Context, registry: &Registry, args: &args::AliasList) -> Result<(), Failure> {
    let package = args.package.as_deref().map(package_name).transpose()?.map(|name| name.canonical());
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let mut map = snapshot.aliases().await?.unwrap_or_default();
    map.aliases
        .retain(|_, target| package.as_ref().is_none_or(|wanted| target.package.canonical() == *wanted));
    cx.printer.result(&map, || listed(&map))
}

fn listed(map: &AliasMap) -> String {
    let width = map.aliases.keys().map(|alias| alias.as_str().len()).max().unwrap_or(0);
    map.aliases.iter().fold(String::new(), |mut out, (alias, target)| {
        let _ = writeln!(out, "{:width$}  {}", alias.as_str(), target.package);
        out
    })
}

#[derive(Serialize)]
struct Suggestions {
    /// Short names like the one that was written.
    similar: Vec<Suggestion>,
    /// Short names that could be set, where the name is that of a package.
    free: Vec<Alias>,
}

async fn suggest(cx: &Context, registry: &Registry, text: &str) -> Result<(), Failure> {
    let name: PackageName = package_name(text)?;
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let similar = similar(&snapshot.aliases().await?.unwrap_or_default(), name.short());
    let free = match snapshot.document(&name).await? {
        Some(document) => free_names(&snapshot, &document.name).await?,
        None => Vec::new(),
    };
    let found = Suggestions { similar, free };
    cx.printer.result(&found, || {
        let mut out = String::new();
        for Suggestion { alias, package } in &found.similar {
            let _ = writeln!(out, "{alias} means {package}");
        }
        for alias in &found.free {
            let _ = writeln!(out, "{alias} is free");
        }
        out
    })
}

async fn history(cx: &Context, registry: &Registry, alias: &Alias) -> Result<(), Failure> {
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let changes = snapshot.alias_history(alias).await?;
    if changes.is_empty() {
        return Err(Failure::new(Code::AliasNotFound, format!("`{alias}` has never been an alias")));
    }
    cx.printer.result(&changes, || {
        changes.iter().fold(String::new(), |mut out, change| {
            let (what, package) = (change.change.as_str(), &change.package);
            let _ =
                writeln!(out, "{}  event {}  {what} {package}  by {}", change.time, change.seq, change.actor);
            out
        })
    })
}
