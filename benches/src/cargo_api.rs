//! Publishes a second through cargo's API, beside other registries that keep their packages in a directory.
//!
//! All get the same bodies in the same order, one after the other in the same minutes. `drystone serve` syncs every file
//! before it answers; the others do not.

use serde::Serialize;

use crate::{
    load::{self, Load, Request},
    machine, packages,
    peers::PEERS,
    report::{Report, median, ms, quantile, rounded},
    server::{Registry, Running, cargo_request},
};

/// How often everything is measured; tables show medians.
const RUNS: usize = 3;
/// Packages, and versions of each.
const PUBLISHES: (usize, usize) = (60, 5);
/// Who publishes at once.
const CLIENTS: [usize; 2] = [1, 8];

const COLUMNS: [&str; 8] =
    ["registry", "clients", "per_s", "p50_ms", "p99_ms", "cpu_ms", "drystone_is_times", "load"];

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    registry: &'static str,
    clients: usize,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Processor time of the server, per publish.
    cpu_ms: f64,
    /// How many times as many publishes `drystone serve` made in the same run.
    drystone_is_times: f64,
    load: f64,
}

/// Measures every registry with every number of clients, several times.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let bodies = packages::cargo_bodies(PUBLISHES.0, PUBLISHES.1);
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let measured = measure(&bodies, clients)?;
            measured.iter().try_for_each(|row| report.measured("cargo-api", row))?;
            runs.push(measured);
        }
        rows.extend(
            (0..runs[0].len()).map(|at| middle(&runs.iter().map(|run| &run[at]).collect::<Vec<_>>())),
        );
    }
    report.table("Publishing through cargo's API (medians of three runs)", &COLUMNS, &rows)
}

/// The median of each number.
fn middle(runs: &[&Measured]) -> Measured {
    let of = |number: fn(&Measured) -> f64| {
        rounded(median(runs.iter().map(|run| number(run))).unwrap_or_default())
    };
    Measured {
        registry: runs[0].registry,
        clients: runs[0].clients,
        per_s: of(|run| run.per_s),
        p50_ms: of(|run| run.p50_ms),
        p99_ms: of(|run| run.p99_ms),
        cpu_ms: of(|run| run.cpu_ms),
        drystone_is_times: of(|run| run.drystone_is_times),
        load: of(|run| run.load),
    }
}

/// Ours first, then each of the others.
fn measure(bodies: &[Vec<u8>], clients: usize) -> anyhow::Result<Vec<Measured>> {
    let registry = Registry::serve()?;
    let requests: Vec<Request> = bodies.iter().map(|body| registry.cargo_request(body)).collect();
    let ours = publish(&registry.server, &requests, clients)?;
    drop(registry);
    let ours_per_s = ours.0.per_s();
    let mut rows = vec![row("drystone serve", clients, &ours, ours_per_s)?];
    for peer in PEERS {
        let running = peer.start()?;
        let requests: Vec<Request> = bodies.iter().map(|body| cargo_request("token", body)).collect();
        let theirs = publish(&running.server, &requests, clients)?;
        rows.push(row(peer.name, clients, &theirs, ours_per_s)?);
    }
    Ok(rows)
}

/// The load, and the processor time that it took the server, in milliseconds.
fn publish(server: &Running, requests: &[Request], clients: usize) -> anyhow::Result<(Load, f64)> {
    let before = server.pid().cpu_ms()?;
    let load = load::run(server.address, requests, clients, 200)?;
    Ok((load, server.pid().cpu_ms()? - before))
}

fn row(
    registry: &'static str,
    clients: usize,
    (load, cpu_ms): &(Load, f64),
    ours_per_s: f64,
) -> anyhow::Result<Measured> {
    let latencies: Vec<f64> = load.latencies.iter().map(|latency| ms(*latency)).collect();
    Ok(Measured {
        registry,
        clients,
        per_s: rounded(load.per_s()),
        p50_ms: rounded(median(latencies.iter().copied()).unwrap_or_default()),
        p99_ms: rounded(quantile(latencies.iter().copied(), 0.99).unwrap_or_default()),
        cpu_ms: rounded(cpu_ms / load.latencies.len() as f64),
        drystone_is_times: rounded(ours_per_s / load.per_s()),
        load: rounded(machine::load()?),
    })
}
