//! What one publish asks of the store: calls, sequential rounds and bytes. The same on every machine.

use drystone_storage::{Counter, Counts};
use drystone_tests::{Pkg, TestRegistry};
use serde::Serialize;

use crate::report::Report;

const COLUMNS: [&str; 6] = ["publish", "puts", "gets", "rounds", "bytes_written", "bytes_read"];

/// One measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    publish: &'static str,
    pub(crate) puts: u64,
    pub(crate) gets: u64,
    rounds: u64,
    bytes_written: u64,
    bytes_read: u64,
}

impl Measured {
    fn of(publish: &'static str, counts: Counts) -> Self {
        let Counts { gets, puts, rounds, bytes_read, bytes_written, .. } = counts;
        Self { publish, puts, gets, rounds, bytes_written, bytes_read }
    }
}

/// Counts a publish into an existing package by a process that knows nothing, the next by the same process, and one of
/// a new package.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let rows = measure()?;
    rows.iter().try_for_each(|row| report.measured("calls", row))?;
    report.table("Storage calls of one publish", &COLUMNS, &rows)
}

/// The counts: cold, then warm, then of a new package.
pub(crate) fn measure() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(count())
}

async fn count() -> anyhow::Result<Vec<Measured>> {
    let registry = TestRegistry::new().await;
    let first = registry.publish(&Pkg::cargo("http", "1.0.0")).await;
    anyhow::ensure!(first.status == 201, "the first publish was refused");
    let counter = Counter::new();
    let process = registry.another(|store| counter.wrap(store)).await;
    let publishes = [
        ("cold, another version", Pkg::cargo("http", "1.1.0")),
        ("warm, another version", Pkg::cargo("http", "1.2.0")),
        ("warm, new package", Pkg::cargo("json", "1.0.0")),
    ];
    let mut rows = Vec::new();
    for (name, package) in publishes {
        counter.reset();
        let answer = process.publish(&package).await;
        anyhow::ensure!(answer.status == 201, "`{name}` was refused: {}", answer.json());
        rows.push(Measured::of(name, counter.counts()));
    }
    Ok(rows)
}
