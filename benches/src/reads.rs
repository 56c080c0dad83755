//! Reads a second, of `drystone serve` beside nginx on the same bytes, before it and after it: a small index file, the same by a
//! client that has it, and an archive of 1 MiB.
//!
//! The client is `wrk`. Processor time is the steadier number on a machine that others use too.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use anyhow::{Context, bail};
use drystone_schemas::{Sha256Digest, layout};
use serde::Serialize;

use crate::{
    load, machine, nginx, packages,
    report::{Report, median, rounded},
    server::{Registry, Running},
};

/// How often everything is measured; tables show medians.
const RUNS: usize = 3;
/// Releases in the index file.
const VERSIONS: usize = 5;
/// Payload of the archive, in bytes.
const PAYLOAD_BYTES: usize = 1 << 20;
/// Seconds of each of the three loads of a run.
const SECONDS: u32 = 5;
const INDEX_FILE: &str = "index/sm/al/small-0";

const COLUMNS: [&str; 8] =
    ["what", "bytes", "drystone_per_s", "nginx_per_s", "ratio", "drystone_cpu_us", "nginx_cpu_us", "load"];

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    what: &'static str,
    bytes: u64,
    drystone_per_s: f64,
    nginx_per_s: f64,
    ratio: f64,
    drystone_cpu_us: f64,
    nginx_cpu_us: f64,
    load: f64,
}

/// What is asked for.
struct Asked {
    what: &'static str,
    path: String,
    /// The client says that it has the file.
    has_it: bool,
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
    let archive = packages::large(PAYLOAD_BYTES);
    let request = registry.publish_request(&packages::publish_body(&archive));
    load::run(registry.server.address, &[request], 1, 201)?;
    let folder = tempfile::tempdir()?;
    let nginx = nginx::start_serving(folder.path(), &registry.public())?;
    let asked = |what, path: &str, has_it| Asked { what, path: path.to_owned(), has_it };
    let mut rows = Vec::new();
    for asked in [
        asked("an index file", INDEX_FILE, false),
        asked("an index file that the client has", INDEX_FILE, true),
        asked("an archive", &layout::object(&Sha256Digest::of(&archive)), false),
    ] {
        rows.push(beside(report, &asked, &registry, &nginx.master)?);
    }
    report.table("Reads (medians of three runs)", &COLUMNS, &rows)
}

/// The same reads from both.
fn beside(report: &Report, asked: &Asked, registry: &Registry, nginx: &Running) -> anyhow::Result<Measured> {
    let bytes = fs_err::metadata(registry.public().join(&asked.path))?.len();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let before = read(nginx, asked)?;
        let ours = read(&registry.server, asked)?;
        let after = read(nginx, asked)?;
        let nginx_per_s = f64::midpoint(before.per_s, after.per_s);
        let measured = Measured {
            what: asked.what,
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
    Ok(Measured {
        what: asked.what,
        bytes,
        drystone_per_s: of(|run| run.drystone_per_s),
        nginx_per_s: of(|run| run.nginx_per_s),
        ratio: of(|run| run.ratio),
        drystone_cpu_us: of(|run| run.drystone_cpu_us),
        nginx_cpu_us: of(|run| run.nginx_cpu_us),
        load: of(|run| run.load),
    })
}

/// The entity tag that a server gives a file.
fn etag(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    write!(connection, "HEAD /{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    for line in BufReader::new(connection).lines() {
        let line = line?;
        if let Some((_, tag)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("etag")) {
            return Ok(tag.trim().to_owned());
        }
    }
    bail!("`{path}` has no ETag at {address}")
}

/// Asks for the file over 64 connections for some seconds.
fn read(server: &Running, asked: &Asked) -> anyhow::Result<Reads> {
    let (address, pid) = (server.address, server.pid());
    let mut wrk = Command::new("wrk");
    wrk.args(["-t2", "-c64", &format!("-d{SECONDS}s"), &format!("http://{address}/{}", asked.path)]);
    if asked.has_it {
        wrk.args(["-H", &format!("If-None-Match: {}", etag(address, &asked.path)?)]);
    }
    let cpu_before = pid.cpu_ms()?;
    let output = wrk.output().context("`wrk` is the client of this measurement")?;
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
