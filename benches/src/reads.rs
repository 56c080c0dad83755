//! Reads of one index file a second, of `drystone serve` beside nginx on the same bytes, before it and after it.
//!
//! The client is `wrk`. Processor time is the steadier number on a machine that others use too.

use std::process::Command;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::{
    load, machine, nginx, packages,
    report::{Report, median, rounded},
    server::{Registry, Running},
};

/// How often everything is measured; tables show medians.
const RUNS: usize = 3;
/// Releases in the file.
const VERSIONS: usize = 5;
/// Seconds of each of the three loads of a run.
const SECONDS: u32 = 5;
const FILE: &str = "index/sm/al/small-0";

const COLUMNS: [&str; 7] =
    ["bytes", "drystone_per_s", "nginx_per_s", "ratio", "drystone_cpu_us", "nginx_cpu_us", "load"];

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    bytes: u64,
    drystone_per_s: f64,
    nginx_per_s: f64,
    ratio: f64,
    drystone_cpu_us: f64,
    nginx_cpu_us: f64,
    load: f64,
}

/// What one load came to.
struct Reads {
    per_s: f64,
    cpu_us: f64,
}

/// Measures several times.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let registry = Registry::serve()?;
    let bodies = packages::cargo_bodies(1, VERSIONS);
    let requests: Vec<_> = bodies.iter().map(|body| registry.cargo_request(body)).collect();
    load::run(registry.server.address, &requests, 1, 200)?;
    let bytes = fs_err::metadata(registry.public().join(FILE))?.len();
    let folder = tempfile::tempdir()?;
    let nginx = nginx::start_serving(folder.path(), &registry.public())?;

    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let before = read(&nginx.master)?;
        let ours = read(&registry.server)?;
        let after = read(&nginx.master)?;
        let nginx_per_s = f64::midpoint(before.per_s, after.per_s);
        let measured = Measured {
            bytes,
            drystone_per_s: rounded(ours.per_s),
            nginx_per_s: rounded(nginx_per_s),
            ratio: rounded(ours.per_s / nginx_per_s),
            drystone_cpu_us: rounded(ours.cpu_us),
            nginx_cpu_us: rounded(f64::midpoint(before.cpu_us, after.cpu_us)),
            load: rounded(machine::load()?),
        };
        report.measured("reads", &measured)?;
        runs.push(measured);
    }
    let of = |number: fn(&Measured) -> f64| rounded(median(runs.iter().map(number)).unwrap_or_default());
    let row = Measured {
        bytes,
        drystone_per_s: of(|run| run.drystone_per_s),
        nginx_per_s: of(|run| run.nginx_per_s),
        ratio: of(|run| run.ratio),
        drystone_cpu_us: of(|run| run.drystone_cpu_us),
        nginx_cpu_us: of(|run| run.nginx_cpu_us),
        load: of(|run| run.load),
    };
    report.table("Reads of one index file (medians of three runs)", &COLUMNS, &[row])
}

/// Asks for the file over 64 connections for some seconds.
fn read(server: &Running) -> anyhow::Result<Reads> {
    let (address, pid) = (server.address, server.pid());
    let cpu_before = pid.cpu_ms()?;
    let output = Command::new("wrk")
        .args(["-t2", "-c64", &format!("-d{SECONDS}s"), &format!("http://{address}/{FILE}")])
        .output()
        .context("`wrk` is the client of this measurement")?;
    let cpu_ms = pid.cpu_ms()? - cpu_before;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |before: &str, after: &str| -> Option<f64> {
        let (_, rest) = told.split_once(before)?;
        rest.split_once(after)?.0.trim().parse().ok()
    };
    if told.contains("Non-2xx") || told.contains("Socket errors") {
        bail!("some reads failed: {told}");
    }
    let requests =
        told.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok());
    let requests = requests.with_context(|| format!("no number of requests in `{told}`"))?;
    let per_s = number("Requests/sec:", "\n").with_context(|| format!("no rate in `{told}`"))?;
    Ok(Reads { per_s, cpu_us: cpu_ms * 1000.0 / requests })
}
