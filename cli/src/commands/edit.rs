//! `add` and `remove`: the manifest changes only if versions can be found for what it would say.

use std::path::{Path, PathBuf};

use drystone_client::{
    ClientError, Lock, Project, Snapshot,
    project::{DependencyTable, Edit},
    resolve::Order,
};
use drystone_schemas::{Code, PackageName, Problem, VersionReq};
use serde::Serialize;

use super::install::{Changes, Keep, Then, Workspace, finish};
use crate::{
    args::{self, LockArgs},
    context::{Context, named_package, package_name, split_spec},
    failure::Failure,
};

#[derive(Serialize)]
struct Edited {
    /// `NAME REQUIREMENT` for each line of the manifest that is new or changed, or the names that are gone.
    manifest: Vec<String>,
    #[serde(flatten)]
    changes: Changes,
}

pub(super) async fn add(args: &args::Add, cx: &Context) -> Result<(), Failure> {
    let mut workspace = Workspace::open(cx, &args.project, args.lock.frozen).await?;
    let mut manifest = Vec::new();
    let wanted = if args.dev { DependencyTable::Dev } else { DependencyTable::Normal };
    if let Some(dir) = &args.path {
        let (name, dir) = at_path(cx, &workspace.project, dir, args.packages.first())?;
        if workspace.project.add_path(wanted, &name, &dir)? != Edit::Unchanged {
            manifest.push(format!("{name} at {}", dir.display()));
        }
    } else {
        let mut edits = Vec::new();
        {
            let snapshot = workspace.snapshot(cx).await?;
            for spec in &args.packages {
                edits.push(requirement(cx, &snapshot, spec).await?);
            }
        }
        for (name, req) in edits {
            if workspace.project.add(wanted, &name, &req)? != Edit::Unchanged {
                manifest.push(format!("{name} {req}"));
            }
        }
    }
    apply(cx, workspace, manifest, "Added", args.no_install, &args.lock).await
}

pub(super) async fn remove(args: &args::Remove, cx: &Context) -> Result<(), Failure> {
    let mut workspace = Workspace::open(cx, &args.project, args.lock.frozen).await?;
    let mut manifest = Vec::new();
    for text in &args.packages {
        let name = package_name(text)?;
        let Some(table) = workspace.project.find_dependency(&name) else {
            let detail = format!("`{name}` is not in `{}`", workspace.project.path().display());
            return Err(Problem::new(Code::PackageNotFound, detail)
                .with_hint("list them with `drystone tree`")
                .into());
        };
        workspace.project.remove(table, &name);
        manifest.push(name.to_string());
    }
    apply(cx, workspace, manifest, "Removed", args.no_install, &args.lock).await
}

/// Resolves what the edited manifest says, and only then writes manifest, lock and packages.
async fn apply(
    cx: &Context,
    mut workspace: Workspace,
    manifest: Vec<String>,
    verb: &str,
    no_install: bool,
    rules: &LockArgs,
) -> Result<(), Failure> {
    let then = if no_install { Then::Nothing } else { Then::Fetch };
    workspace.reread().map_err(|failure| failure.noting("nothing was changed"))?;
    let new: Lock = workspace
        .resolve(cx, &Keep::All, Order::NewestFirst, then)
        .await
        .map_err(|failure| failure.noting("nothing was changed"))?;
    let diff = new.diff(workspace.lock.as_ref());
    if (rules.locked || rules.frozen) && !diff.is_empty() {
        return Err(Failure::from(ClientError::LockWouldChange { diff }).noting("nothing was changed"));
    }
    workspace.project.save()?;
    manifest.iter().for_each(|line| cx.printer.step(verb, line));
    let lock = workspace.write(cx, new, &diff)?;
    let install = match no_install {
        true => None,
        false => Some(workspace.install(cx, &lock, drystone_client::install::LinkMode::Auto).await?),
    };
    finish(cx, &Edited { manifest, changes: Changes { lock: diff, install } })
}

/// The package in a directory, and how the manifest is to name the directory: as it was given, from where the manifest is.
fn at_path(
    cx: &Context,
    project: &Project,
    dir: &Path,
    spec: Option<&String>,
) -> Result<(PackageName, PathBuf), Failure> {
    let given = cx.path(dir);
    let manifest = given.join(project.path().file_name().unwrap_or_default());
    let found = Project::open(&manifest)?.like(project);
    let name = package_name(found.name().unwrap_or_default())?;
    if let Some(text) = spec
        && package_name(text)?.canonical() != name.canonical()
    {
        return Err(Failure::new(
            Code::BadUsage,
            format!("`{}` holds `{name}`, not `{text}`", dir.display()),
        ));
    }
    Ok((name, project.way_to(&given)?))
}

/// The package that a specification means, and the requirement to write: the one given, else the newest version.
async fn requirement(
    cx: &Context,
    snapshot: &Snapshot<'_>,
    spec: &str,
) -> Result<(PackageName, String), Failure> {
    let (text, req) = split_spec(spec);
    let name = named_package(cx, snapshot, text).await?;
    let index =
        snapshot.index(&name).await?.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?;
    // The author's own spelling goes into the manifest.
    let name = index.file.lines.first().map_or(name, |line| line.name.clone());
    let Some(req) = req else {
        let latest = index.file.latest().ok_or_else(|| ClientError::VersionNotFound {
            name: name.clone(),
            wanted: "that is not yanked".into(),
        })?;
        return Ok((name, latest.vers.precedence_key()));
    };
    let parsed = VersionReq::new(req).map_err(|e| Failure::new(Code::BadUsage, e.to_string()))?;
    let fits = index.file.lines.iter().any(|line| !line.yanked && parsed.matches(&line.vers));
    if !fits {
        return Err(ClientError::VersionNotFound { name, wanted: format!("for {parsed}") }.into());
    }
    Ok((name, req.to_owned()))
}
