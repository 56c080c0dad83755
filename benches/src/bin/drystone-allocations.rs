//! How often what is done most asks for memory: the same on every machine, for one build of one version.
//!
//! A program of its own, which `drystone-benches allocations` starts: its allocator takes a lock for each allocation, and would
//! slow down whatever else is measured.

use std::{io::Write as _, sync::Mutex};

use anyhow::{Context as _, ensure};
use dhat::{HeapStats, Profiler};
use drystone_index_builder::{AreaSource, AuditOptions, RebuildOptions, Silent, audit, rebuild};
use drystone_log::{EntryBundle, tile::entry_bundles};
use drystone_schemas::Event;
use drystone_storage::{Body, Key, Meta, NewObject, Store};
use drystone_tests::{
    Pkg, TestRegistry,
    synthetic::{self, Made, Plan},
};
use serde::Serialize;

#[global_allocator]
static COUNTING: dhat::Alloc = dhat::Alloc;

/// The registry that is read, rebuilt and audited.
const PLAN: Plan = Plan { packages: 300, releases_mean: 5.0, seed: 1 };

#[derive(Debug, Serialize)]
struct Measured {
    what: &'static str,
    allocations: u64,
    bytes: u64,
}

/// Prints a line of JSON for each of a handful of things.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut rows = vec![publish().await?];
    rows.extend(maintenance().await?);
    let mut out = std::io::stdout();
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    }
    Ok(())
}

/// What was allocated while something ran, for each of so many.
async fn counted<T>(what: &'static str, each_of: u64, run: impl Future<Output = T>) -> (Measured, T) {
    let profiler = Profiler::builder().testing().build();
    let ran = run.await;
    let stats = HeapStats::get();
    drop(profiler);
    let row =
        Measured { what, allocations: stats.total_blocks / each_of, bytes: stats.total_bytes / each_of };
    (row, ran)
}

/// Another version of a package, by a process that has just published one.
async fn publish() -> anyhow::Result<Measured> {
    let registry = TestRegistry::on(Store::memory()).await;
    for version in ["1.0.0", "1.1.0"] {
        ensure!(registry.publish(&Pkg::cargo("http", version)).await.status == 201, "a publish was refused");
    }
    let package = Pkg::cargo("http", "1.2.0");
    let (row, answer) = counted("one publish, warm, store in memory", 1, registry.publish(&package)).await;
    ensure!(answer.status == 201, "a publish was refused: {}", answer.json());
    Ok(row)
}

async fn maintenance() -> anyhow::Result<[Measured; 3]> {
    let (store, made) = truth().await?;
    let public = store.public.clone();
    let mut lines = Vec::new();
    for id in entry_bundles(0, made.events) {
        let bytes = public.get(&Key::new(format!("log/{id}"))?, u64::MAX).await?.context("a bundle")?;
        lines.extend(EntryBundle::decode(id, &bytes)?.into_entries());
    }
    let read = async { lines.iter().filter(|line| Event::from_line(line).is_ok()).count() as u64 };
    let (reading, read) = counted("one event of the log, read strictly", made.events, read).await;
    ensure!(read == made.events, "an event cannot be read");
    let options = RebuildOptions { key: None, dry_run: false };
    let (rebuilding, rebuilt) =
        counted("one event, rebuilt", made.events, rebuild(&store, &options, &Silent)).await;
    ensure!(rebuilt?.size == made.events, "not all events were rebuilt");
    let options = AuditOptions { key: None, deep: false, seen: Vec::new(), keep: false };
    let source = AreaSource::new(public);
    let (auditing, report) =
        counted("one event, audited", made.events, audit(&source, &options, None, &Silent, &|_| {})).await;
    ensure!(report.problems.is_empty(), "the registry has problems: {:?}", report.problems.first());
    Ok([reading, rebuilding, auditing])
}

/// A synthetic registry in memory: its truth, and nothing that follows from it.
async fn truth() -> anyhow::Result<(Store, Made)> {
    let store = Store::memory();
    let files = Mutex::new(Vec::new());
    let made = synthetic::write(PLAN, &|key, bytes| {
        files.lock().expect("no holder of this lock panics").push((key.to_owned(), bytes));
        Ok(())
    })?;
    for (key, bytes) in files.into_inner().expect("no holder of this lock panics") {
        let object = NewObject { key: Key::new(key)?, body: Body::Bytes(bytes.into()), meta: Meta::PRIVATE };
        store.public.put_new(&object).await?;
    }
    Ok((store, made))
}
