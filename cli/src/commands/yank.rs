//! `yank`, `unyank`, `deprecate`, `undeprecate`.

use drystone_schemas::{Code, PackageName, Problem, Version, WriteResponse};

use crate::{
    args,
    context::{Context, package_name, split_spec},
    failure::Failure,
};

pub(super) async fn yank(args: &args::Yank, cx: &Context) -> Result<(), Failure> {
    let (name, version) = release(&args.release)?;
    let response = cx.registry_here()?.yank(&name, &version, args.reason.clone()).await?;
    told(cx, &response, Some(&format!("drystone unyank {name}@{version}")))
}

pub(super) async fn unyank(args: &args::Unyank, cx: &Context) -> Result<(), Failure> {
    let (name, version) = release(&args.release)?;
    let response = cx.registry_here()?.unyank(&name, &version).await?;
    told(cx, &response, Some(&format!("drystone yank {name}@{version}")))
}

pub(super) async fn deprecate(args: &args::Deprecate, cx: &Context) -> Result<(), Failure> {
    let name = package_name(&args.package)?;
    let response = cx.registry_here()?.deprecate(&name, args.reason.clone()).await?;
    told(cx, &response, Some(&format!("drystone undeprecate {name}")))
}

pub(super) async fn undeprecate(args: &args::Undeprecate, cx: &Context) -> Result<(), Failure> {
    let name = package_name(&args.package)?;
    let response = cx.registry_here()?.undeprecate(&name).await?;
    told(cx, &response, None)
}

/// Shows what a change came to, and how to take it back.
pub(super) fn told(cx: &Context, response: &WriteResponse, undo: Option<&str>) -> Result<(), Failure> {
    let event = response.seq.map_or_else(String::new, |seq| format!(" (event {seq})"));
    cx.printer.step("Done", &format!("{}{event}", response.msg));
    if let (Some(undo), Some(_)) = (undo, response.seq) {
        cx.printer.more(&format!("undo: {undo}"));
    }
    if cx.printer.is_json() { cx.printer.result(response, String::new) } else { Ok(()) }
}

/// Reads `NAME@VERSION`.
pub(super) fn release(text: &str) -> Result<(PackageName, Version), Failure> {
    let (name, Some(version)) = split_spec(text) else {
        let problem = Problem::new(Code::BadUsage, format!("`{text}` names no version"));
        return Err(problem.with_hint("write `NAME@VERSION`").into());
    };
    let version = Version::new(version).map_err(|e| Failure::new(Code::InvalidVersion, e.to_string()))?;
    Ok((package_name(name)?, version))
}
