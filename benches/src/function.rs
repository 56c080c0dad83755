//! The function of a cloud: how long its first answer takes from nothing, and how long the archive is that is uploaded.
//!
//! `drystone-lambda` runs against a stand-in for the runtime on this machine, on a registry in a directory: what the cloud adds
//! is not in it. Each start is a new process; the answer is that a package does not exist, which needs the store.

use std::{io::Write as _, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use drystone_tests::runtime::Function;
use flate2::{Compression, write::DeflateEncoder};
use serde::Serialize;
use serde_json::json;

use crate::{
    clock::Moment,
    machine,
    report::{Report, median, ms, rounded},
    server::program,
};

/// Cold starts.
const RUNS: usize = 15;
/// What a zip archive has beside the one file that it holds: its headers and its directory, about.
const ZIP_BYTES: usize = 256;

const COLUMNS: [&str; 5] = ["first_answer_ms", "slowest_ms", "binary_mib", "zip_mib", "load"];

#[derive(Debug, Serialize)]
struct Measured {
    /// Median, from the start of the process to the end of its first answer.
    first_answer_ms: f64,
    slowest_ms: f64,
    binary_mib: f64,
    zip_mib: f64,
    load: f64,
}

/// Starts the function, again and again.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().join("data").display());
    let key = folder.path().join("log.key");
    let status = Command::new(program("drystone")?)
        .args(["admin", "init", "--store", &store, "--public-url", "http://registry.test"])
        .args(["--key-file".as_ref(), key.as_os_str()])
        .args(["--token-file".as_ref(), folder.path().join("token").as_os_str()])
        .env("HOME", folder.path())
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "no registry could be made");
    let key = key.to_str().context("a temporary directory has a name in UTF-8")?;
    let environment = [("DRYSTONE_STORE", &*store), ("DRYSTONE_LOG_KEY_FILE", key)];
    let load = machine::load()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut took = Vec::new();
    for _ in 0..RUNS {
        took.push(runtime.block_on(first_answer(&environment))?);
    }
    let (binary, zip) = lengths(&program("drystone-lambda")?)?;
    let mib = |bytes: usize| rounded(bytes as f64 / f64::from(1 << 20));
    let row = Measured {
        first_answer_ms: rounded(median(took.iter().copied()).context("there were runs")?),
        slowest_ms: rounded(took.iter().copied().fold(0.0, f64::max)),
        binary_mib: mib(binary),
        zip_mib: mib(zip),
        load: rounded(load),
    };
    report.measured("function", &row)?;
    report.table("The function, from nothing to its first answer", &COLUMNS, &[row])
}

/// Milliseconds until a new process has answered.
async fn first_answer(environment: &[(&str, &str)]) -> anyhow::Result<f64> {
    let start = Moment::now();
    let function = Function::start(environment).await;
    let headers = json!({"host": "registry.test"});
    let (status, answer) = function.invoke("GET", "/api/v1/packages/nothing/1.0.0", &headers, b"").await;
    let took = ms(start.elapsed());
    ensure!(status == 404, "the function answered {status}: {answer}");
    Ok(took)
}

/// Bytes of a program, and of a zip archive with nothing else in it.
fn lengths(path: &Path) -> anyhow::Result<(usize, usize)> {
    let bytes = fs_err::read(path)?;
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(&bytes)?;
    Ok((bytes.len(), deflated.finish()?.len() + ZIP_BYTES))
}
