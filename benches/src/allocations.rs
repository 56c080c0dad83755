//! How often what is done most asks for memory, as the program beside this one counts it.

use std::process::Command;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::{report::Report, server::program};

const COLUMNS: [&str; 3] = ["what", "allocations", "bytes"];

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    what: String,
    allocations: u64,
    bytes: u64,
}

/// Counts a handful of things.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let counted = Command::new(program("drystone-allocations")?).output()?;
    ensure!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stderr));
    let rows = serde_json::Deserializer::from_slice(&counted.stdout).into_iter();
    let rows = rows.collect::<Result<Vec<Measured>, _>>()?;
    rows.iter().try_for_each(|row| report.measured("allocations", row))?;
    report.table("Allocations", &COLUMNS, &rows)
}
