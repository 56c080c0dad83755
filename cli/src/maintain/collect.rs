//! `drystone gc`: tells what is garbage and why, and removes it if it is asked to.

use std::fmt::Write as _;

use drystone_index_builder::{GcAges, GcError, GcOptions, GcReport, gc};
use drystone_log::{VerifierKey, commit::CommitError};
use drystone_publisher::Refusal;
use drystone_schemas::{Code, Problem};
use serde_json::json;

use super::{Bar, parse_key, writable};
use crate::{
    context::Context,
    failure::Failure,
    printer::{count, human_bytes},
};

/// `gc`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory or `s3://bucket/prefix`
    target: String,
    /// Verifier key of the log; else the one that its first event names
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    log_key: Option<VerifierKey>,
    /// Remove it; without this the command ends with 3 if there is garbage, and changes nothing
    #[arg(long)]
    apply: bool,
    /// Name every file
    #[arg(long)]
    list: bool,
}

/// Exit code of a run that would change something.
const WOULD_CHANGE: u8 = 3;

/// Collects garbage.
pub async fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    let Args { target, log_key, apply, list } = args;
    let store = writable(cx, &target).await?;
    let options = GcOptions { key: log_key, apply, list, ages: GcAges::default() };
    let bar = Bar::new(cx, "Collecting");
    let report = gc(&store, &options, &*cx.effects.clock, &*cx.effects.entropy, &bar).await;
    bar.finish();
    let report = report.map_err(failure)?;
    let total = report.total();
    let verb = if apply { "Removed" } else { "Would remove" };
    let files = count(total.count as usize, "file");
    cx.printer.step(verb, &format!("{files}, {}; {} events", human_bytes(total.bytes), report.size));
    if report.young > 0 {
        cx.printer
            .more(&format!("{} may still be named by somebody", count(report.young as usize, "more file")));
    }
    if let Some(until) = report.under_way_until {
        cx.printer.notice(&format!("another collection has until {until} (Unix time) to end"));
    }
    cx.printer.result(&value(&report, apply), || text(&report))?;
    if apply || report.is_empty() { Ok(()) } else { Err(Failure::Told(WOULD_CHANGE)) }
}

/// One line a class, then the files, if they are to be named.
fn text(report: &GcReport) -> String {
    let mut out = String::new();
    let mut line = |what: &str, n: u64, size: &str, why: &str| {
        writeln!(out, "{what:<17}{n:>9}{size:>12}   {why}").expect("a string takes text");
    };
    for (class, tally) in &report.classes {
        line(class.as_str(), tally.count, &human_bytes(tally.bytes), class.why());
    }
    if !report.put_back.is_empty() {
        line("put-back", report.put_back.len() as u64, "", "they are needed and lay in the trash");
    }
    for (class, key) in &report.keys {
        writeln!(out, "{}: {key}", class.as_str()).expect("a string takes text");
    }
    out
}

fn value(report: &GcReport, apply: bool) -> serde_json::Value {
    let classes = report.classes.iter().map(|(class, tally)| {
        json!({"class": class.as_str(), "why": class.why(), "count": tally.count, "bytes": tally.bytes})
    });
    let keys = report.keys.iter().map(|(class, key)| json!({"class": class.as_str(), "key": key}));
    let total = report.total();
    json!({
        "applied": apply, "events": report.size, "count": total.count, "bytes": total.bytes,
        "classes": classes.collect::<Vec<_>>(), "young": report.young, "put_back": report.put_back,
        "resumed": report.resumed, "under_way_until": report.under_way_until, "keys": keys.collect::<Vec<_>>(),
    })
}

fn failure(error: GcError) -> Failure {
    let text = error.to_string();
    match error {
        GcError::Commit(CommitError::CollectionUnderWay { until }) => {
            let problem = Problem::new(Code::CollectionUnderWay, text).fact("until", until);
            problem.with_hint("wait for it; if it has died, run `drystone gc` again after that time").into()
        }
        GcError::Commit(error) => Refusal::from(error).into(),
        GcError::Store(error) => Refusal::from(error).into(),
        GcError::Spool(error) => error.into(),
        GcError::Contended | GcError::FenceLost => Failure::new(Code::TryAgain, text),
        GcError::Published(_)
        | GcError::Entries(_)
        | GcError::Damaged { .. }
        | GcError::OtherLog { .. }
        | GcError::Key(_) => Failure::new(Code::FsckProblems, text),
    }
}
