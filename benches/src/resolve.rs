//! Choosing versions for two real projects: rounds, requests and bytes from nothing, and processor time with everything at
//! hand, beside cargo's for the same index.
//!
//! Ours: the records are read from files, hashed, parsed and solved, on one thread. Cargo's: `cargo generate-lockfile
//! --offline` on a local registry with the same index. Needs the extracts that `drystone_tests::corpus` describes.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context, ensure};
use drystone_client::resolve::{Outcome, Package, PackageKey, Universe, solve};
use drystone_schemas::{ResolveRecord, Sha256Digest, layout};
use drystone_tests::corpus::{
    Corpus,
    cold::{self, cold},
};
use serde::Serialize;

use crate::{machine, report::Report};

const COLD: [&str; 6] = ["project", "packages", "hints", "rounds", "requests", "bytes"];
const WARM: [&str; 4] = ["project", "ours_cpu_ms", "cargo_cpu_ms", "times_less"];
/// How often each is run; the least time counts, because others use the machine too.
const RUNS: usize = 5;

#[derive(Debug, Serialize)]
struct ColdRow {
    project: &'static str,
    packages: usize,
    hints: String,
    rounds: u32,
    requests: u32,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct WarmRow {
    project: &'static str,
    ours_cpu_ms: f64,
    cargo_cpu_ms: f64,
    times_less: f64,
}

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let (mut cold_rows, mut warm_rows) = (Vec::new(), Vec::new());
    for project in ["web", "bevy"] {
        let corpus = Corpus::open(project).context("the index extracts are not there")?;
        for of in cold(&corpus) {
            let row = ColdRow {
                project,
                packages: of.solution.releases.len(),
                hints: format!("{:?}", of.hints),
                rounds: of.cost.rounds,
                requests: of.cost.requests,
                bytes: of.bytes,
            };
            report.measured("resolve-cold", &row)?;
            cold_rows.push(row);
        }
        let row = warm(project, &corpus)?;
        report.measured("resolve-warm", &row)?;
        warm_rows.push(row);
    }
    report.table("Choosing versions from nothing", &COLD, &cold_rows)?;
    report.table("Choosing versions with everything at hand", &WARM, &warm_rows)
}

fn warm(project: &'static str, corpus: &Corpus) -> anyhow::Result<WarmRow> {
    let dir = tempfile::tempdir()?;
    let mut files = Vec::new();
    for (name, bytes) in cold::records(&corpus.indexes()) {
        let path = dir.path().join("records").join(&name);
        fs_err::create_dir_all(dir.path().join("records"))?;
        fs_err::write(&path, &bytes)?;
        files.push((path, Sha256Digest::of(&bytes)));
    }
    write_local_registry(dir.path(), corpus)?;
    let (roots, rules) = (corpus.requirements(), cold::rules());
    let mut least = (f64::MAX, f64::MAX);
    for _ in 0..RUNS {
        let before = own_cpu_ms()?;
        let mut universe = Universe::default();
        for (path, digest) in &files {
            let bytes = fs_err::read(path)?;
            ensure!(Sha256Digest::of(&bytes) == *digest, "`{}` is damaged", path.display());
            let record = ResolveRecord::parse(&bytes)?;
            universe.insert(PackageKey::own(&record.name), Some(Arc::new(Package::new(record))));
        }
        ensure!(matches!(solve(&roots, &universe, &rules), Outcome::Solved(_)), "there is an answer");
        least.0 = least.0.min(own_cpu_ms()? - before);

        let before = machine::childrens_cpu_ms()?;
        let status = Command::new("cargo")
            .args(["generate-lockfile", "--offline", "--quiet"])
            .current_dir(dir.path().join("project"))
            .env("CARGO_HOME", dir.path().join("home"))
            .status()?;
        ensure!(status.success(), "cargo finds no answer");
        least.1 = least.1.min(machine::childrens_cpu_ms()? - before);
    }
    let (ours_cpu_ms, cargo_cpu_ms) = least;
    let round = |value: f64| (value * 10.0).round() / 10.0;
    Ok(WarmRow {
        project,
        ours_cpu_ms: round(ours_cpu_ms),
        cargo_cpu_ms: round(cargo_cpu_ms),
        times_less: round(cargo_cpu_ms / ours_cpu_ms),
    })
}

/// A registry on disk with the same index, and the project that uses it.
fn write_local_registry(dir: &Path, corpus: &Corpus) -> anyhow::Result<()> {
    for index in corpus.indexes() {
        let name = &index.lines.first().context("an index file has a line")?.name;
        let path = dir.join("registry/index").join(layout::index_path(name));
        fs_err::create_dir_all(path.parent().context("it lies in a folder")?)?;
        fs_err::write(path, index.to_bytes())?;
    }
    for folder in ["project/src", "project/.cargo"] {
        fs_err::create_dir_all(dir.join(folder))?;
    }
    let config = format!(
        "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nlocal-registry = {:?}\n",
        dir.join("registry")
    );
    fs_err::write(dir.join("project/.cargo/config.toml"), config)?;
    fs_err::write(dir.join("project/src/lib.rs"), "")?;
    fs_err::write(dir.join("project/Cargo.toml"), corpus.manifest_text())?;
    Ok(())
}

/// Processor time of this thread so far, as proc(5) describes `schedstat`: in nanoseconds.
fn own_cpu_ms() -> anyhow::Result<f64> {
    let text = fs_err::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().context("`schedstat` starts with a number")?;
    Ok(first.parse::<f64>()? / 1e6)
}
