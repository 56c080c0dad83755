//! `drystone gc`: tells what is garbage and why, and removes it if it is asked to.

use std::fmt::Write as _;

use drystone_index_builder::{GcAges, GcError, GcOptions, GcReport, GcTally, gc};
use drystone_log::{VerifierKey, commit::CommitError};
use drystone_publisher::{ExpiredOptions, ExpiredReport, Refusal, collect_expired};
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

/// How many private records a run looks at: what is left is the next one's.
const LOOKED_AT_MAX: u64 = 100_000;

/// Collects garbage, and what has expired.
pub async fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    let Args { target, log_key, apply, list } = args;
    let store = writable(cx, &target).await?;
    let options = GcOptions { key: log_key, apply, list, ages: GcAges::default() };
    let bar = Bar::new(cx, "Collecting");
    let report = gc(&store, &options, &*cx.effects.clock, &*cx.effects.entropy, &bar).await;
    bar.finish();
    let report = report.map_err(failure)?;
    let options = ExpiredOptions { apply, list, looked_at_max: LOOKED_AT_MAX };
    let expired = collect_expired(&store, &*cx.effects.clock, &options).await?;
    let total = total(&report, &expired);
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
    if expired.more {
        cx.printer.more("not every private record was looked at; the next run goes on there");
    }
    cx.printer.result(&value(&report, &expired, apply), || text(&report, &expired))?;
    if apply || (report.is_empty() && expired.classes.is_empty()) {
        Ok(())
    } else {
        Err(Failure::Told(WOULD_CHANGE))
    }
}

/// Both reports together.
fn total(report: &GcReport, expired: &ExpiredReport) -> GcTally {
    expired.classes.values().fold(report.total(), |sum, one| GcTally {
        count: sum.count + one.count,
        bytes: sum.bytes + one.bytes,
    })
}

/// One line a class, then the files, if they are to be named.
fn text(report: &GcReport, expired: &ExpiredReport) -> String {
    let mut out = String::new();
    let mut line = |what: &str, n: u64, size: &str, why: &str| {
        writeln!(out, "{what:<17}{n:>9}{size:>12}   {why}").expect("a string takes text");
    };
    for (class, tally) in &report.classes {
        line(class.as_str(), tally.count, &human_bytes(tally.bytes), class.why());
    }
    for (class, tally) in &expired.classes {
        line(class.as_str(), tally.count, &human_bytes(tally.bytes), class.why());
    }
    if !report.put_back.is_empty() {
        line("put-back", report.put_back.len() as u64, "", "they are needed and lay in the trash");
    }
    let keys = report.keys.iter().map(|(class, key)| (class.as_str(), key));
    for (class, key) in keys.chain(expired.keys.iter().map(|(class, key)| (class.as_str(), key))) {
        writeln!(out, "{class}: {key}").expect("a string takes text");
    }
    out
}

fn value(report: &GcReport, expired: &ExpiredReport, apply: bool) -> serde_json::Value {
    let class = |class: &str, why: &str, count: u64, bytes: u64| json!({"class": class, "why": why, "count": count, "bytes": bytes});
    let garbage =
        report.classes.iter().map(|(kind, tally)| class(kind.as_str(), kind.why(), tally.count, tally.bytes));
    let classes = garbage.chain(
        expired
            .classes
            .iter()
            .map(|(kind, tally)| class(kind.as_str(), kind.why(), tally.count, tally.bytes)),
    );
    let key = |class: &str, key: &str| json!({"class": class, "key": key});
    let keys = report.keys.iter().map(|(kind, name)| key(kind.as_str(), name));
    let keys = keys.chain(expired.keys.iter().map(|(kind, name)| key(kind.as_str(), name)));
    let total = total(report, expired);
    json!({
        "applied": apply, "events": report.size, "count": total.count, "bytes": total.bytes,
        "classes": classes.collect::<Vec<_>>(), "young": report.young, "put_back": report.put_back,
        "more": expired.more, "resumed": report.resumed, "under_way_until": report.under_way_until, "keys": keys.collect::<Vec<_>>(),
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
