//! `cache`: the packages that are kept for all projects of a user.

use std::time::Duration;

use drystone_client::{Damage, Listed, Store};
use drystone_schemas::Code;
use serde::Serialize;

use crate::{
    args,
    context::Context,
    failure::Failure,
    printer::{count, human_bytes},
};

#[derive(Serialize)]
struct Packages {
    packages: Vec<Listed>,
    bytes: u64,
}

#[derive(Serialize)]
struct Verified {
    whole: usize,
    damaged: Vec<Damage>,
}

#[derive(Serialize)]
struct Place {
    dir: String,
}

pub(super) async fn cache(args: &args::Cache, cx: &Context) -> Result<(), Failure> {
    let store = Store::new(cx.home()?.store());
    match args {
        args::Cache::List => list(cx, &store),
        args::Cache::Verify => verify(cx, &store),
        args::Cache::Gc(args) => collect(cx, &store, args),
        args::Cache::Dir => {
            let place = Place { dir: store.dir().display().to_string() };
            cx.printer.result(&place, || format!("{}\n", place.dir))
        }
    }
}

fn list(cx: &Context, store: &Store) -> Result<(), Failure> {
    let packages = store.list()?;
    let bytes = packages.iter().map(|package| package.bytes).sum();
    let listed = Packages { packages, bytes };
    cx.printer.result(&listed, || {
        let mut text = String::new();
        for Listed { digest, root, files, bytes, projects } in &listed.packages {
            let name = if root.is_empty() { &digest.hex()[..16] } else { root };
            let size = human_bytes(*bytes);
            let users = count(projects.len(), "project");
            text.push_str(&format!("{name}  {}, {size}, {users}\n", count(*files, "file")));
        }
        let all = count(listed.packages.len(), "package");
        text.push_str(&format!("{all}, {}\n", human_bytes(listed.bytes)));
        text
    })
}

fn verify(cx: &Context, store: &Store) -> Result<(), Failure> {
    let (whole, damaged) = store.verify()?;
    let verified = Verified { whole, damaged };
    cx.printer.result(&verified, || {
        let mut text = String::new();
        for Damage { digest, root, what } in &verified.damaged {
            let name = if root.is_empty() { &digest.hex()[..16] } else { root };
            what.iter().for_each(|what| text.push_str(&format!("{name}: {what}\n")));
        }
        text.push_str(&format!("{} whole", count(verified.whole, "package")));
        match verified.damaged.len() {
            0 => text.push('\n'),
            damaged => text
                .push_str(&format!(", {damaged} damaged and removed: `drystone install` brings them back\n")),
        }
        text
    })?;
    match verified.damaged.is_empty() {
        true => Ok(()),
        false => Err(Failure::Told(Code::VerificationFailed.exit_code())),
    }
}

fn collect(cx: &Context, store: &Store, args: &args::CacheGc) -> Result<(), Failure> {
    let keep = Duration::from_secs(u64::from(args.keep_days) * 24 * 60 * 60);
    let report = store.collect(cx.effects.clock.now_unix_ms(), keep, args.dry_run)?;
    report.forgotten.iter().for_each(|dir| cx.printer.detail(&format!("`{}` is gone", dir.display())));
    cx.printer.result(&report, || {
        let mut text: String = report.removed.iter().map(|name| format!("{name}\n")).collect();
        let (gone, freed) = (count(report.removed.len(), "package"), human_bytes(report.freed_bytes));
        let verb = if args.dry_run { "would be removed" } else { "removed" };
        text.push_str(&format!("{gone} {verb}, {freed}; {} kept\n", report.kept));
        text
    })
}
