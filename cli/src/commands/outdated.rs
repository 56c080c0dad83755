//! `outdated`: what is locked in an older version than there is.

use drystone_client::{Lock, resolve::Order};
use drystone_schemas::{Code, Problem, Version};
use serde::Serialize;

use super::install::{Keep, Then, Workspace};
use crate::{args, context::Context, failure::Failure, printer::count};

#[derive(Serialize)]
struct Outdated {
    name: String,
    locked: Version,
    /// What `update` would choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<Version>,
    /// The newest version there is, whatever the requirements say.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<Version>,
    /// Whether the locked version is yanked.
    yanked: bool,
}

pub(super) async fn outdated(args: &args::Outdated, cx: &Context) -> Result<(), Failure> {
    let workspace = Workspace::open(cx, &args.project, false).await?;
    let Some(lock) = &workspace.lock else {
        let problem = Problem::new(Code::ProjectNotFound, "there is no lock file here");
        return Err(problem.with_hint("make one with `drystone lock`").into());
    };
    let newest: Lock = workspace.resolve(cx, &Keep::None, Order::NewestFirst, Then::Nothing).await?;
    let snapshot = workspace.snapshot(cx).await?;
    let mut all = Vec::new();
    for (key, package) in &lock.packages {
        let index = snapshot.index(&package.name).await?;
        let line = index.as_ref().and_then(|index| index.file.find(&package.version));
        let latest = index.as_ref().and_then(|index| index.file.latest()).map(|line| line.vers.clone());
        let of = Outdated {
            name: package.name.to_string(),
            locked: package.version.clone(),
            update: newest
                .packages
                .get(key)
                .map(|new| new.version.clone())
                .filter(|new| *new != package.version),
            latest: latest.filter(|latest| *latest > package.version),
            yanked: line.is_some_and(|line| line.yanked),
        };
        if of.update.is_some() || of.latest.is_some() || of.yanked {
            all.push(of);
        }
    }
    if all.is_empty() {
        cx.printer.step("Newest", &count(lock.packages.len(), "package"));
    }
    cx.printer.result(&all, || all.iter().map(line).collect())
}

fn line(of: &Outdated) -> String {
    let mut text = format!("{} {}", of.name, of.locked);
    if of.yanked {
        text.push_str(", yanked");
    }
    if let Some(update) = &of.update {
        text.push_str(&format!(", update to {update}"));
    }
    if let Some(latest) = of.latest.as_ref().filter(|latest| of.update.as_ref() != Some(*latest)) {
        text.push_str(&format!(", latest {latest}"));
    }
    text + "\n"
}
