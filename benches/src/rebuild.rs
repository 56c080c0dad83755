//! Rebuild and audit of synthetic registries: time, processor time and the most memory, each in a process of its own.
//!
//! `rebuild` measures small registries; `rebuild-full` one of a million events, rebuilt and audited, and one of 200,000
//! packages, of which nothing is written to save the room of its files: each needs some 12 GB in the temporary directory, so
//! that `all` leaves them out.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use drystone_index_builder::{
    AreaSource, AuditOptions, RebuildOptions, Silent, audit, rebuild, refresh_hints,
};
use drystone_storage::{FsArea, Store};
use drystone_tests::synthetic::{self, Plan};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    machine,
    report::{Report, ms, rounded, say},
};

/// How a process of this program is told to do one thing to a directory.
pub(crate) const ONCE: &str = "maintain-once";
/// Packages of the small registries.
const SMALL: [u32; 2] = [2_000, 20_000];
/// Packages of a registry with a million events.
const MILLION: u32 = 100_000;
/// Packages of the large one.
const LARGE: u32 = 200_000;
/// Releases of a package on average, as a large public registry has.
const RELEASES_MEAN: f64 = 10.0;

const COLUMNS: [&str; 8] = ["packages", "releases", "events", "what", "s", "cpu_s", "peak_mib", "files"];

/// What is done to a registry.
#[derive(Clone, Copy)]
enum What {
    Rebuild,
    DryRebuild,
    Hints,
    Audit,
}

impl What {
    const ALL: [Self; 4] = [Self::Rebuild, Self::DryRebuild, Self::Hints, Self::Audit];

    fn name(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::DryRebuild => "dry-rebuild",
            Self::Hints => "hints",
            Self::Audit => "audit",
        }
    }
}

/// What a process tells of itself.
#[derive(Serialize, Deserialize)]
struct Ran {
    s: f64,
    cpu_s: f64,
    peak_mib: f64,
    files: u64,
}

#[derive(Serialize)]
struct Measured {
    packages: u32,
    releases: u64,
    events: u64,
    what: String,
    s: f64,
    cpu_s: f64,
    peak_mib: f64,
    files: u64,
    load: f64,
}

/// Measures the small registries.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for packages in SMALL {
        let steps = [
            ("rebuild of everything", What::Rebuild),
            ("rebuild of nothing", What::Rebuild),
            ("audit", What::Audit),
            ("hints", What::Hints),
        ];
        rows.extend(measure(report, packages, &steps)?);
    }
    report.table("Rebuild and audit of synthetic registries", &COLUMNS, &rows)
}

/// Measures the large ones.
pub(crate) fn run_full(report: &mut Report) -> anyhow::Result<()> {
    let mut rows =
        measure(report, MILLION, &[("rebuild of everything", What::Rebuild), ("audit", What::Audit)])?;
    rows.extend(measure(report, LARGE, &[("rebuild, writing nothing", What::DryRebuild)])?);
    report.table("Rebuild and audit of synthetic registries up to the size of crates.io", &COLUMNS, &rows)
}

fn measure(report: &Report, packages: u32, steps: &[(&str, What)]) -> anyhow::Result<Vec<Measured>> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("registry");
    let before = machine::own_cpu_ms()?;
    let start = Moment::now();
    let made = synthetic::write_directory(Plan { packages, releases_mean: RELEASES_MEAN, seed: 1 }, &dir)?;
    say(&format!(
        "  made {made:?} in {} s, {} s of processor time",
        rounded(ms(start.elapsed()) / 1000.0),
        rounded((machine::own_cpu_ms()? - before) / 1000.0)
    ));
    let mut rows = Vec::new();
    for (name, what) in steps {
        say(&format!("  {packages} packages, {name}"));
        let load = machine::load()?;
        let program = std::env::current_exe()?;
        let output = Command::new(program).args([ONCE, what.name()]).arg(&dir).output()?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let ran: Ran = serde_json::from_slice(&output.stdout)?;
        let row = Measured {
            packages,
            releases: made.releases,
            events: made.events,
            what: (*name).to_owned(),
            s: rounded(ran.s),
            cpu_s: rounded(ran.cpu_s),
            peak_mib: rounded(ran.peak_mib),
            files: ran.files,
            load: rounded(load),
        };
        report.measured("rebuild", &row)?;
        rows.push(row);
    }
    Ok(rows)
}

/// Does one thing to the registry in a directory, and prints what it took.
pub(crate) fn once(what: &str, dir: &str) -> anyhow::Result<()> {
    let what = What::ALL.into_iter().find(|one| one.name() == what).context("a known thing to do")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let start = Moment::now();
    let files = runtime.block_on(maintain(what, Path::new(dir)))?;
    let ran = Ran {
        s: ms(start.elapsed()) / 1000.0,
        cpu_s: machine::own_cpu_ms()? / 1000.0,
        peak_mib: machine::Pid(std::process::id()).resident_peak_mib()?,
        files,
    };
    Ok(serde_json::to_writer(std::io::stdout(), &ran)?)
}

/// How many files were looked at.
async fn maintain(what: What, dir: &Path) -> anyhow::Result<u64> {
    let (public, vault) = FsArea::open_store(dir)?;
    let store = Store { public: std::sync::Arc::new(public), vault: std::sync::Arc::new(vault) };
    let options = RebuildOptions { key: None, dry_run: matches!(what, What::DryRebuild) };
    match what {
        What::Rebuild | What::DryRebuild => Ok(rebuild(&store, &options, &Silent).await?.checked),
        What::Hints => Ok(refresh_hints(&store, &options, &Silent).await?.checked),
        What::Audit => {
            let options = AuditOptions { key: None, deep: false, seen: Vec::new(), keep: false };
            let source = AreaSource::new(store.public);
            let report = audit(&source, &options, None, &Silent, &|_| {}).await;
            ensure!(report.problems.is_empty(), "the registry has problems: {:?}", report.problems.first());
            Ok(report.counts.objects + report.counts.log_files + report.counts.state_nodes)
        }
    }
}
