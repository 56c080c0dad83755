//! Puts a registry of many real processes through kills, as long as one likes, and says what was lost.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, which talks to people")]

use std::{path::PathBuf, process::ExitCode, sync::Mutex};

use clap::{Parser, ValueEnum};
use drystone_storage::{Clock, SystemClock};
use drystone_tests::{
    chaos::{Place, Plan, Report, S3Server, run},
    process::unique,
};

/// Kills real processes while writers publish; ends with 0 if nothing that was acknowledged is lost, doubled or half.
#[derive(Debug, Parser)]
struct Args {
    /// Where the registry is made
    #[arg(long, value_enum, default_value = "directory")]
    store: Kind,
    /// Acknowledged publishes after which the run ends
    #[arg(long, default_value_t = 300)]
    publishes: u64,
    /// Processes to kill, spread over the run
    #[arg(long, default_value_t = 8)]
    kills: u64,
    /// Times to kill the S3 server
    #[arg(long, default_value_t = 0)]
    store_kills: u64,
    /// Processes on the store
    #[arg(long, default_value_t = 8)]
    processes: usize,
    /// Writers, each with one request at a time
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// Seed of the run; of the clock if absent
    #[arg(long)]
    seed: Option<u64>,
    /// Directory for the registry, or for the S3 server; a temporary one if absent
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// First port of the S3 server; a free one if absent
    #[arg(long)]
    port: Option<u16>,
    /// Directory of the programs to run; where this one is if absent
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A directory.
    Directory,
    /// A bucket of an S3 server of the run's own.
    S3,
}

/// Seconds between two lines of progress.
const TOLD_EVERY_S: u64 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| SystemClock.now_unix_ms());
    eprintln!("seed {seed}");
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let directory = args.directory.clone().unwrap_or_else(|| temporary.path().join("store"));
    let store = match args.store {
        Kind::Directory => Place::Directory(directory),
        Kind::S3 => {
            fs_err::create_dir_all(&directory).expect("the server's directory can be made");
            let directory = fs_err::canonicalize(&directory).expect("the server's directory has a path");
            let server = S3Server::start(args.port.unwrap_or_else(S3Server::free_port), &directory);
            let environment = server.environment();
            Place::Bucket {
                url: format!("s3://drystone/{}", unique("chaos")),
                environment,
                server: Some(server),
            }
        }
    };
    let plan = Plan {
        store,
        programs: args.programs.clone(),
        publishes: args.publishes,
        kills: args.kills,
        store_kills: args.store_kills,
        processes: args.processes,
        writers: args.writers,
        seed,
    };
    let started = SystemClock.now_unix_s();
    let told = Mutex::new(started);
    let report = run(plan, |acknowledged, kills| {
        let now = SystemClock.now_unix_s();
        let mut told = told.lock().expect("no holder of this lock panics");
        if now >= *told + TOLD_EVERY_S {
            *told = now;
            eprintln!("{} s: {acknowledged} publishes acknowledged, {kills} kills", now - started);
        }
    })
    .await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        print(&report);
    }
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report) {
    println!(
        "{}, {} processes, {} writers, seed {}",
        report.store, report.processes, report.writers, report.seed
    );
    let per_s = report.acknowledged_publishes as f64 / report.seconds.max(0.001);
    println!(
        "{} publishes and {} yanks and unyanks acknowledged in {:.0} s ({per_s:.1} publishes/s)",
        report.acknowledged_publishes, report.acknowledged_toggles, report.seconds
    );
    println!("{} kills of processes, {} of the S3 server", report.kills, report.store_kills);
    println!(
        "{} requests repeated; answers that left the outcome open: {:?}",
        report.repeats, report.open_answers
    );
    println!(
        "{} changes in doubt, {} of them in the log of {} events",
        report.in_doubt, report.in_doubt_in_log, report.events
    );
    println!("lost {}, doubled {}, half {}", report.lost, report.doubled, report.half);
    println!(
        "fsck --deep {}, rebuild would change {} files",
        if report.fsck_clean { "clean" } else { "NOT CLEAN" },
        report.rebuild_changes
    );
    report.violations.iter().for_each(|violation| println!("violation: {violation}"));
}
