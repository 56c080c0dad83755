//! `audit` and `monitor`: what an outsider runs to see that a registry does not lie, and what it has been told to do.
//!
//! Owns where the memory of earlier audits lies, and what is printed. Does not own the checks.

use std::{collections::BTreeSet, path::PathBuf, sync::Mutex, time::Duration};

use drystone_client::{Network, Registry, TrustStore};
use drystone_index_builder::{
    AreaSource, AuditOptions, AuditReport, Audited, Kept, Progress as _, Source, Visit, audit,
};
use drystone_log::{SignedCheckpoint, TlogProof, VerifierKey, note::NOTE_BYTES_MAX};
use drystone_schemas::{Code, Event, PackageName, Problem, rfc3339};
use serde_json::json;

use super::{Bar, is_url, parse_key, readable};
use crate::{
    context::{Context, package_name},
    failure::Failure,
    source::HttpSource,
};

/// File with what the last audit ended with.
const KEPT: &str = "audit.json";

/// What both verbs are told.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Directory, `s3://bucket/prefix` or URL
    target: String,
    /// Verifier key of the log; else the one pinned for the URL, or the one that the first event names
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    log_key: Option<VerifierKey>,
    /// Make every version record again from its archive; look at every file, where files can be listed
    #[arg(long)]
    deep: bool,
    /// Checkpoint or `.tlog-proof` that somebody else has seen; the log must contain it
    #[arg(long, value_name = "FILE")]
    seen: Vec<PathBuf>,
}

/// `audit`
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// What both verbs are told.
    #[command(flatten)]
    common: Common,
    /// Directory that remembers what was audited; later audits go on from there
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// `monitor`
#[derive(Debug, clap::Args)]
pub struct MonitorArgs {
    /// What both verbs are told.
    #[command(flatten)]
    common: Common,
    /// Directory that remembers what was seen
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Tell of events about this package; of all events, if nothing is chosen
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// Tell of events by this account
    #[arg(long, value_name = "ACCOUNT")]
    actor: Vec<String>,
    /// Tell of events that name this key
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Go on for ever, looking again after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
}

/// Which events are worth telling.
#[derive(Debug, Default)]
struct Choice {
    packages: BTreeSet<String>,
    actors: Vec<String>,
    keys: Vec<String>,
}

impl Choice {
    fn of(args: &MonitorArgs) -> Result<Self, Failure> {
        let canonical = |text: &String| Ok::<_, Failure>(package_name(text)?.canonical());
        let packages = args.package.iter().map(canonical).collect::<Result<_, _>>()?;
        Ok(Self { packages, actors: args.actor.clone(), keys: args.key.clone() })
    }

    fn takes(&self, event: &Event, line: &[u8]) -> bool {
        let all = self.packages.is_empty() && self.actors.is_empty() && self.keys.is_empty();
        let line = String::from_utf8_lossy(line);
        all || event.package().is_some_and(|name| self.packages.contains(&name.canonical()))
            || self.actors.iter().any(|actor| *actor == event.actor.to_string())
            || self.keys.iter().any(|key| line.contains(key.as_str()))
    }
}

/// Audits a registry.
pub(super) async fn audit_once(args: AuditArgs, cx: &Context) -> Result<(), Failure> {
    let state = args.state.map(|dir| cx.path(&dir));
    let report = run(cx, &args.common, state.as_deref(), &|_| ()).await?;
    let counts = report.counts;
    let size = report.checkpoint.as_ref().map(|checkpoint| checkpoint.size());
    let new = counts.events;
    cx.printer.step(
        "Audited",
        &format!(
            "{new} events from {} on, {} log files, {} state nodes, {} by-name files, {} objects",
            report.from, counts.log_files, counts.state_nodes, counts.by_name, counts.objects
        ),
    );
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|found| json!({"key": found.key, "kind": found.kind.to_string(), "detail": found.detail}))
        .collect();
    let root = report.checkpoint.as_ref().map(|checkpoint| checkpoint.root().to_base64());
    let value = json!({
        "clean": report.problems.is_empty(), "from": report.from, "size": size, "root": root, "problems": problems,
        "counts": {"events": new, "log_files": counts.log_files, "state_nodes": counts.state_nodes,
                   "by_name": counts.by_name, "objects": counts.objects},
    });
    cx.printer.result(&value, || match report.problems.is_empty() {
        true => "clean\n".into(),
        false => report.problems.iter().map(|problem| format!("{problem}\n")).collect(),
    })?;
    verdict(cx, &args.common, &report)
}

/// Follows a registry's log.
pub(super) async fn monitor(args: &MonitorArgs, cx: &Context) -> Result<(), Failure> {
    let choice = Choice::of(args)?;
    let state = cx.path(&args.state);
    loop {
        // Nothing is told before the whole of it is verified.
        let events: Mutex<Vec<(Event, Option<String>)>> = Mutex::default();
        let visit = |seen: &Audited<'_>| {
            if choice.takes(seen.event, seen.line) {
                let from = seen.waits_until.map(rfc3339);
                events.lock().expect("no holder of this lock panics").push((seen.event.clone(), from));
            }
        };
        let report = run(cx, &args.common, Some(&state), &visit).await?;
        verdict(cx, &args.common, &report)?;
        let mut events = events.into_inner().expect("no holder of this lock panics");
        // They were seen package by package.
        events.sort_unstable_by_key(|(event, _)| event.seq);
        for (event, from) in events {
            let mut value =
                serde_json::to_value(&event).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
            if let Some(from) = &from {
                value["in_force_from"] = json!(from);
            }
            cx.printer.result(&value, || told(&event, &value, from.as_deref()))?;
        }
        match args.every {
            Some(seconds) => cx.effects.clock.sleep(Duration::from_secs(seconds)).await,
            None => return Ok(()),
        }
    }
}

/// One event in a line.
fn told(event: &Event, value: &serde_json::Value, from: Option<&str>) -> String {
    let word = |field: &str| value[field].as_str().map(|text| format!(" {text}")).unwrap_or_default();
    let package =
        event.package().map(PackageName::to_string).map(|name| format!(" {name}")).unwrap_or_default();
    let (time, kind) = (rfc3339(event.time), value["kind"].as_str().unwrap_or_default());
    let from = from.map_or_else(String::new, |from| format!(", in force from {from} on"));
    let excepted = if value["exception"].is_string() { ", by exception" } else { "" };
    format!("{} {time} {kind}{package}{} by {}{from}{excepted}\n", event.seq, word("vers"), event.actor)
}

/// One audit, from where the last one ended.
async fn run(
    cx: &Context,
    args: &Common,
    state: Option<&std::path::Path>,
    visit: &Visit<'_>,
) -> Result<AuditReport, Failure> {
    let (source, key, mut seen): (Box<dyn Source>, _, _) = if is_url(&args.target) {
        let registry = cx.open(&drystone_client::normalise_base(&args.target)?, Network::Online)?;
        let (key, seen) = remembered(&cx.trust()?, &registry, args.log_key.clone()).await?;
        (Box::new(HttpSource(registry)), Some(key), seen)
    } else {
        (Box::new(AreaSource::new(readable(cx, &args.target).await?.0)), args.log_key.clone(), vec![])
    };
    let kept = state.map(read_kept).transpose()?.flatten();
    if !args.seen.is_empty() {
        let key = key.as_ref().or(kept.as_ref().map(Kept::key)).ok_or_else(|| {
            Problem::new(Code::BadUsage, "the key of the log is not known").with_hint("give `--log-key KEY`")
        })?;
        for path in &args.seen {
            seen.push(read_seen(&cx.path(path), key)?);
        }
    }
    let bar = Bar::new(cx, "Auditing");
    bar.total(0);
    let options = AuditOptions { key, deep: args.deep, seen, keep: state.is_some() };
    let report = audit(&*source, &options, kept, &bar, visit).await;
    bar.finish();
    if let (Some(dir), Some(kept)) = (state, &report.kept) {
        write_kept(dir, kept)?;
    }
    Ok(report)
}

/// What this user has seen of the registry at a URL: the key that is pinned, or is to be used, and the largest checkpoint.
async fn remembered(
    trust: &TrustStore,
    registry: &Registry,
    given: Option<VerifierKey>,
) -> Result<(VerifierKey, Vec<SignedCheckpoint>), Failure> {
    if let Some(key) = given {
        return Ok((key, vec![]));
    }
    let log = trust.pin(registry.base(), registry.config().await?)?;
    let seen = trust.remembered(registry.base(), &log)?;
    Ok((log.key, seen.into_iter().collect()))
}

/// Reads a checkpoint, or the one in a proof, that the log is said to have signed.
fn read_seen(path: &std::path::Path, key: &VerifierKey) -> Result<SignedCheckpoint, Failure> {
    let bad = |detail: String| Failure::new(Code::BadUsage, format!("`{}`: {detail}", path.display()));
    let bytes = fs_err::read(path)?;
    if bytes.len() > 4 * NOTE_BYTES_MAX {
        return Err(bad("it is too long for a checkpoint".into()));
    }
    let note = TlogProof::decode(&bytes).map_or(bytes, |proof| proof.checkpoint);
    SignedCheckpoint::open(&note, key, key.name()).map_err(|e| bad(e.to_string()))
}

/// How the process ends, with the evidence of a fork on disk.
fn verdict(cx: &Context, args: &Common, report: &AuditReport) -> Result<(), Failure> {
    let count = report.problems.len();
    if count == 0 {
        return Ok(());
    }
    let target = &args.target;
    let mut problem = Problem::new(
        Code::VerificationFailed,
        format!("{count} files of `{target}` are not what its log says"),
    );
    if let Some((seen, offered, key)) = &report.fork {
        let open = |bytes: &[u8]| SignedCheckpoint::open(bytes, key, key.name());
        if let (Ok(seen), Ok(offered)) = (open(seen), open(offered)) {
            let evidence = cx.trust()?.keep_evidence(&seen, &offered)?;
            problem = problem.fact("evidence", evidence.display()).with_hint(
                "two signed notes contradict each other: show them to the operator and to other users",
            );
        }
    }
    Err(problem.into())
}

fn read_kept(dir: &std::path::Path) -> Result<Option<Kept>, Failure> {
    let path = dir.join(KEPT);
    match fs_err::read(&path) {
        Ok(bytes) => Kept::parse(&bytes).map(Some).map_err(|e| {
            let problem = Problem::new(Code::LocalIo, format!("`{}`: {e}", path.display()));
            problem.with_hint("remove the file to audit from the first event on").into()
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Replaces the file whole, so that an audit that is cut short costs nothing but itself.
fn write_kept(dir: &std::path::Path, kept: &Kept) -> Result<(), Failure> {
    use std::io::Write as _;
    fs_err::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().prefix(".audit-").tempfile_in(dir)?;
    file.write_all(&kept.to_bytes())?;
    file.persist(dir.join(KEPT)).map_err(|e| Failure::from(e.error))?;
    Ok(())
}
