//! `drystone rebuild`, `fsck`, `audit`, `monitor`, `gc` and `recover`, on a directory, a bucket, or a URL.

mod audit;
mod collect;

use std::sync::Arc;

use drystone_client::{Network, normalise_base};
use drystone_index_builder::{
    AreaSource, FsckOptions, Progress, RebuildOptions, RecoverError, RecoverOptions, Source, fsck, rebuild,
    recover, refresh_hints,
};
use drystone_log::VerifierKey;
use drystone_schemas::{Code, Problem};
use drystone_storage::{Area, FsArea, Store};
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    context::Context,
    failure::Failure,
    operate::{open_bucket, store_failure},
    source::HttpSource,
};

/// The verbs of maintenance.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Make the projections of a registry anew
    Rebuild {
        /// Directory or `s3://bucket/prefix`
        target: String,
        /// Verifier key of the log; else the one that its first event names
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        log_key: Option<VerifierKey>,
        /// Make the closure hints of all packages anew instead, which publishes leave as old as the packages
        #[arg(long)]
        hints: bool,
        /// Only list what would be written
        #[arg(long)]
        dry_run: bool,
    },
    /// Check a registry: log, state map, objects, projections
    Fsck {
        /// Directory, `s3://bucket/prefix` or URL
        target: String,
        /// Verifier key of the log; else the one that its first event names
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        log_key: Option<VerifierKey>,
        /// Hash every archive, and look at every file
        #[arg(long)]
        deep: bool,
    },
    /// Replay the log of a registry and compare everything with it, as an outsider
    Audit(audit::AuditArgs),
    /// Audit what is new in a log, and tell of events
    Monitor(audit::MonitorArgs),
    /// Remove what nothing leads to any more; without `--apply` only tell what that is
    Gc(collect::Args),
    /// Make the private head of a registry anew from its log; tokens made before are void
    Recover {
        /// Directory or `s3://bucket/prefix`
        target: String,
        /// Verifier key of the log; else the one that its first event names
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        log_key: Option<VerifierKey>,
    },
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|e| e.to_string())
}

/// Maintains a registry.
pub async fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    match args {
        Args::Rebuild { target, log_key, hints, dry_run } => {
            let store = writable(cx, &target).await?;
            let bar = Bar::new(cx, "Rebuilding");
            let options = RebuildOptions { key: log_key, dry_run };
            let report = match hints {
                true => refresh_hints(&store, &options, &bar).await,
                false => rebuild(&store, &options, &bar).await,
            };
            bar.finish();
            let report = report.map_err(|e| Failure::new(Code::FsckProblems, e.to_string()))?;
            let verb = if dry_run { "Would write" } else { "Wrote" };
            cx.printer.step(
                verb,
                &format!("{} of {} files, {} events", report.written.len(), report.checked, report.size),
            );
            let value = json!({"events": report.size, "checked": report.checked, "written": report.written, "ahead": report.ahead, "dry_run": dry_run});
            cx.printer.result(&value, || report.written.iter().map(|key| format!("{key}\n")).collect())
        }
        Args::Fsck { target, log_key, deep } => check(cx, &target, log_key, deep).await,
        Args::Audit(args) => audit::audit_once(args, cx).await,
        Args::Monitor(args) => audit::monitor(&args, cx).await,
        Args::Gc(args) => collect::run(args, cx).await,
        Args::Recover { target, log_key } => {
            let store = writable(cx, &target).await?;
            let options = RecoverOptions { key: log_key, now_unix_s: cx.effects.clock.now_unix_s() };
            let bar = Bar::new(cx, "Recovering");
            let report = recover(&store, &options, &*cx.effects.entropy, &bar).await;
            bar.finish();
            let report = report.map_err(|e| match e {
                RecoverError::HeadInOrder { .. } => Failure::new(Code::AlreadyExists, e.to_string()),
                other => Failure::new(Code::FsckProblems, other.to_string()),
            })?;
            cx.printer
                .step("Recovered", &format!("head, with {} events; older tokens are void", report.size));
            let value =
                json!({"events": report.size, "removed": report.removed, "written": report.rebuilt.written});
            cx.printer.result(&value, String::new)
        }
    }
}

async fn check(cx: &Context, target: &str, key: Option<VerifierKey>, deep: bool) -> Result<(), Failure> {
    let (source, vault): (Box<dyn Source>, Option<Arc<dyn Area>>) = if is_url(target) {
        (Box::new(HttpSource(cx.open(&normalise_base(target)?, Network::Online)?)), None)
    } else {
        let (public, vault) = readable(cx, target).await?;
        (Box::new(AreaSource::new(public)), vault)
    };
    let bar = Bar::new(cx, "Checking");
    let report = fsck(&*source, vault, &FsckOptions { key, deep }, &bar).await;
    bar.finish();
    let counts = report.counts;
    let summary = format!(
        "{} events, {} log files, {} state nodes, {} by-name files, {} objects",
        counts.events, counts.log_files, counts.state_nodes, counts.by_name, counts.objects
    );
    cx.printer.step("Checked", &summary);
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(
            |problem| json!({"key": problem.key, "kind": problem.kind.to_string(), "detail": problem.detail}),
        )
        .collect();
    let value = json!({
        "clean": report.is_clean(), "size": report.size, "problems": problems,
        "counts": {"events": counts.events, "log_files": counts.log_files, "state_nodes": counts.state_nodes,
                   "by_name": counts.by_name, "objects": counts.objects},
    });
    cx.printer.result(&value, || {
        let lines: String = report.problems.iter().map(|problem| format!("{problem}\n")).collect();
        if report.is_clean() { "clean\n".into() } else { lines }
    })?;
    match report.problems.len() {
        0 => Ok(()),
        n => Err(Problem::new(Code::FsckProblems, format!("{n} files of `{target}` are not right")).into()),
    }
}

fn is_url(target: &str) -> bool {
    target.starts_with("http://") || target.starts_with("https://")
}

/// Opens a store that commands may write to.
async fn writable(cx: &Context, target: &str) -> Result<Store, Failure> {
    if is_url(target) {
        return Err(Failure::new(Code::ReadOnlyView, format!("`{target}` can be read but not written")));
    }
    if target.starts_with("s3://") {
        return open_bucket(target).await;
    }
    let dir = cx.path(target.strip_prefix("file://").unwrap_or(target).as_ref());
    if !dir.join("public").is_dir() {
        return Err(Failure::new(
            Code::NotInitialised,
            format!("there is no registry in `{}`", dir.display()),
        ));
    }
    Store::open_dir(&dir).map_err(store_failure)
}

/// Opens a store, or the public directory alone.
async fn readable(cx: &Context, target: &str) -> Result<(Arc<dyn Area>, Option<Arc<dyn Area>>), Failure> {
    let dir = cx.path(target.as_ref());
    if !target.starts_with("s3://") && !dir.join("public").is_dir() && dir.join("log").is_dir() {
        return Ok((Arc::new(FsArea::open(dir).map_err(store_failure)?), None));
    }
    let store = writable(cx, target).await?;
    Ok((store.public, Some(store.vault)))
}

/// Progress as a bar.
struct Bar(ProgressBar);

impl Bar {
    fn new(cx: &Context, label: &str) -> Self {
        Self(cx.printer.count_bar(label, 0))
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn total(&self, n: u64) {
        self.0.inc_length(n);
    }

    fn step(&self, _: &str) {
        self.0.inc(1);
    }
}
