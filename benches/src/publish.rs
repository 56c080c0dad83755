//! Publishes a second, latency, processor time and memory, beside what nginx and the disk do with the same bytes.
//!
//! `drystone serve` runs as users run it, on a directory, and syncs before it answers. nginx syncs nothing, so that the
//! third number is the disk's own: how many files a second can be written, synced, named, and their directory synced.

use std::{io::Write, path::Path};

use serde::Serialize;

use crate::{
    clock::Moment,
    load::{self, Request},
    machine, nginx, packages,
    report::{Report, median, ms, quantile, rounded, say},
    server::Registry,
};

/// How often everything is measured; tables show medians.
const RUNS: usize = 3;
/// Publishes in one measurement.
const PUBLISHES: usize = 1_000;
/// Publishes at the beginning and at the end that are compared.
const EDGE: usize = 100;
/// Files that are written to see how fast the disk is.
const DISK_FILES: usize = 200;

/// What is published, and by how many at once.
struct Scenario {
    name: &'static str,
    packages: usize,
    clients: usize,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "200 packages x 5 versions", packages: 200, clients: 1 },
    Scenario { name: "200 packages x 5 versions", packages: 200, clients: 8 },
    Scenario { name: "1 package x 1,000 versions", packages: 1, clients: 1 },
];

const COLUMNS: [&str; 15] = [
    "what",
    "clients",
    "per_s",
    "p50_ms",
    "p99_ms",
    "first_100_p50_ms",
    "last_100_p50_ms",
    "cpu_ms",
    "rss_before_mib",
    "rss_after_mib",
    "nginx_per_s",
    "ratio",
    "nginx_cpu_ms",
    "disk_files_per_s",
    "load",
];

/// One measurement.
#[derive(Debug, Clone, Default, Serialize)]
struct Measured {
    what: &'static str,
    clients: usize,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    first_100_p50_ms: f64,
    last_100_p50_ms: f64,
    cpu_ms: f64,
    rss_before_mib: f64,
    rss_after_mib: f64,
    nginx_per_s: f64,
    ratio: f64,
    nginx_cpu_ms: f64,
    disk_files_per_s: f64,
    load: f64,
}

/// Measures every scenario several times.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        let archives = packages::small(scenario.packages, PUBLISHES / scenario.packages);
        let mut runs = Vec::with_capacity(RUNS);
        for run in 1..=RUNS {
            say(&format!("  {}, {} clients, run {run} of {RUNS}", scenario.name, scenario.clients));
            let measured = measure(scenario, &archives)?;
            report.measured("publish", &measured)?;
            runs.push(measured);
        }
        rows.push(middle(scenario, &runs));
    }
    report.table("Publishing (medians of three runs; cpu is the server's, per publish)", &COLUMNS, &rows)
}

/// The median of each number.
fn middle(scenario: &Scenario, runs: &[Measured]) -> Measured {
    let of = |number: fn(&Measured) -> f64| rounded(median(runs.iter().map(number)).unwrap_or_default());
    Measured {
        what: scenario.name,
        clients: scenario.clients,
        per_s: of(|run| run.per_s),
        p50_ms: of(|run| run.p50_ms),
        p99_ms: of(|run| run.p99_ms),
        first_100_p50_ms: of(|run| run.first_100_p50_ms),
        last_100_p50_ms: of(|run| run.last_100_p50_ms),
        cpu_ms: of(|run| run.cpu_ms),
        rss_before_mib: of(|run| run.rss_before_mib),
        rss_after_mib: of(|run| run.rss_after_mib),
        nginx_per_s: of(|run| run.nginx_per_s),
        ratio: of(|run| run.ratio),
        nginx_cpu_ms: of(|run| run.nginx_cpu_ms),
        disk_files_per_s: of(|run| run.disk_files_per_s),
        load: of(|run| run.load),
    }
}

/// The floor, a new registry, and the floor again.
fn measure(scenario: &Scenario, archives: &[Vec<u8>]) -> anyhow::Result<Measured> {
    let load_before = machine::load()?;
    let before = Floor::measure(archives, scenario.clients)?;

    let registry = Registry::serve()?;
    let bodies = archives.iter().map(|archive| packages::publish_body(archive));
    let requests: Vec<Request> = bodies.map(|body| registry.publish_request(&body)).collect();
    let pid = registry.server.pid();
    let (rss_before_mib, cpu_before) = (pid.resident_mib()?, pid.cpu_ms()?);
    let load = load::run(registry.server.address, &requests, scenario.clients, 201)?;
    let (rss_after_mib, cpu) = (pid.resident_mib()?, pid.cpu_ms()? - cpu_before);
    drop(registry);

    let after = Floor::measure(archives, scenario.clients)?;
    let nginx_per_s = f64::midpoint(before.nginx_per_s, after.nginx_per_s);
    let latencies: Vec<f64> = load.latencies.iter().map(|latency| ms(*latency)).collect();
    let p50_of = |part: &[f64]| median(part.iter().copied()).unwrap_or_default();
    Ok(Measured {
        what: scenario.name,
        clients: scenario.clients,
        per_s: rounded(load.per_s()),
        p50_ms: rounded(p50_of(&latencies)),
        p99_ms: rounded(quantile(latencies.iter().copied(), 0.99).unwrap_or_default()),
        first_100_p50_ms: rounded(p50_of(&latencies[..EDGE])),
        last_100_p50_ms: rounded(p50_of(&latencies[latencies.len() - EDGE..])),
        cpu_ms: rounded(cpu / archives.len() as f64),
        rss_before_mib: rounded(rss_before_mib),
        rss_after_mib: rounded(rss_after_mib),
        nginx_per_s: rounded(nginx_per_s),
        ratio: rounded(load.per_s() / nginx_per_s),
        nginx_cpu_ms: rounded(f64::midpoint(before.nginx_cpu_ms, after.nginx_cpu_ms)),
        disk_files_per_s: rounded(f64::midpoint(before.disk_files_per_s, after.disk_files_per_s)),
        load: rounded(f64::midpoint(load_before, machine::load()?)),
    })
}

/// What nothing on this machine and disk can beat, in these minutes.
struct Floor {
    nginx_per_s: f64,
    nginx_cpu_ms: f64,
    disk_files_per_s: f64,
}

impl Floor {
    fn measure(archives: &[Vec<u8>], clients: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let disk_files_per_s = durable_files_per_s(folder.path(), archives)?;
        let nginx = nginx::start(folder.path())?;
        let put = |(i, archive): (usize, &Vec<u8>)| Request::new("PUT", &format!("/{i}"), &[], archive);
        let requests: Vec<Request> = archives.iter().enumerate().map(put).collect();
        let cpu_before = nginx.master.pid().cpu_ms()?;
        let load = load::run(nginx.master.address, &requests, clients, 201)?;
        let nginx_cpu_ms = (nginx.master.pid().cpu_ms()? - cpu_before) / requests.len() as f64;
        Ok(Self { nginx_per_s: load.per_s(), nginx_cpu_ms, disk_files_per_s })
    }
}

/// Writes files one after the other, each as durable as a file of the registry.
fn durable_files_per_s(folder: &Path, archives: &[Vec<u8>]) -> anyhow::Result<f64> {
    let directory = fs_err::File::open(folder)?;
    let start = Moment::now();
    for (i, archive) in archives.iter().cycle().take(DISK_FILES).enumerate() {
        let (temporary, name) = (folder.join("temporary-file"), folder.join(format!("file-{i}")));
        let mut file = fs_err::File::create(&temporary)?;
        file.write_all(archive)?;
        file.sync_all()?;
        fs_err::rename(temporary, name)?;
        directory.sync_all()?;
    }
    Ok(DISK_FILES as f64 / start.elapsed().as_secs_f64())
}
