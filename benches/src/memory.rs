//! The most memory that a process needs while it takes in the longest archive that is allowed.

use serde::Serialize;

use crate::{
    clock::Moment,
    load, packages,
    report::{Report, ms, rounded, say},
    server::Registry,
};

/// Payload, in bytes: with its headers the archive stays below the default limit of 50 MiB.
const PAYLOAD_BYTES: usize = (50 << 20) - (128 << 10);
/// What a process may take, in MiB: the smallest function that can be rented.
const RESIDENT_MIB_MAX: f64 = 128.0;

const COLUMNS: [&str; 7] =
    ["program", "archive_mib", "rss_before_mib", "rss_peak_mib", "rss_after_mib", "ms", "under_128_mib"];

/// One measurement.
#[derive(Debug, Serialize)]
struct Measured {
    program: &'static str,
    archive_mib: f64,
    rss_before_mib: f64,
    rss_peak_mib: f64,
    rss_after_mib: f64,
    ms: f64,
    under_128_mib: bool,
}

/// Uploads a large archive to each program that can take one.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let archive = packages::large(PAYLOAD_BYTES);
    let mut rows = vec![measure("drystone serve", &Registry::serve()?, &archive)?];
    match Registry::serve()?.hand_over()? {
        Some(registry) => rows.push(measure("drystone-publisher", &registry, &archive)?),
        None => say("  `drystone-publisher` is not built beside this program, and left out"),
    }
    rows.iter().try_for_each(|row| report.measured("memory", row))?;
    report.table("Memory while one large archive is published", &COLUMNS, &rows)
}

fn measure(program: &'static str, registry: &Registry, archive: &[u8]) -> anyhow::Result<Measured> {
    let request = registry.publish_request(&packages::publish_body(archive));
    let pid = registry.server.pid();
    let before = pid.resident_mib()?;
    let start = Moment::now();
    load::run(registry.server.address, &[request], 1, 201)?;
    let took = start.elapsed();
    let peak = pid.resident_peak_mib()?;
    Ok(Measured {
        program,
        archive_mib: rounded(archive.len() as f64 / f64::from(1 << 20)),
        rss_before_mib: rounded(before),
        rss_peak_mib: rounded(peak),
        rss_after_mib: rounded(pid.resident_mib()?),
        ms: rounded(ms(took)),
        under_128_mib: peak < RESIDENT_MIB_MAX,
    })
}
