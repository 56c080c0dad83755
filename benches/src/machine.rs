//! What the kernel tells about this machine and about processes: facts, load, processor time, memory.
//!
//! Owns: reading `/proc`, as proc(5) describes it. Linux only.

use std::{fmt, process::Command};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, which is 100 wherever Linux runs.
const TICK_MS: f64 = 10.0;

/// What a reader must know to compare numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    cores: usize,
    kernel: String,
    rustc: String,
    /// File system below the temporary directory, where registries are made.
    file_system: String,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, kernel, rustc, file_system } = self;
        let rustc = rustc.split(" (").next().unwrap_or(rustc);
        write!(f, "{cores} cores, Linux {kernel}, {file_system}, {rustc}")
    }
}

/// The facts of this machine.
pub(crate) fn facts() -> anyhow::Result<Facts> {
    let cores = std::thread::available_parallelism()?.get();
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let folder = std::env::temp_dir();
    let folder = folder.to_str().context("the temporary directory has a name in UTF-8")?;
    let file_system = told_by("stat", &["-f", "-c", "%T", folder])?;
    Ok(Facts { cores, kernel, rustc: told_by("rustc", &["--version"])?, file_system })
}

fn told_by(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("`{program}`"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Processes that were running or waited for the disk, on average over the last minute.
pub(crate) fn load() -> anyhow::Result<f64> {
    let text = fs_err::read_to_string("/proc/loadavg")?;
    text.split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .context("`/proc/loadavg` starts with a number")
}

/// Processor time of this process so far, in milliseconds; a tick is 10.
pub(crate) fn own_cpu_ms() -> anyhow::Result<f64> {
    Ok(stat_ticks(&fs_err::read_to_string("/proc/self/stat")?, 11)? as f64 * TICK_MS)
}

/// The same of the children that have ended, and of theirs.
pub(crate) fn childrens_cpu_ms() -> anyhow::Result<f64> {
    Ok(stat_ticks(&fs_err::read_to_string("/proc/self/stat")?, 13)? as f64 * TICK_MS)
}

/// The sum of two fields of `stat`, which follow so many after the state.
fn stat_ticks(text: &str, skipped: usize) -> anyhow::Result<u64> {
    // The name, in brackets, may hold anything; the state comes after it.
    let (_, rest) = text.rsplit_once(')').context("a process's name is in brackets")?;
    let mut fields = rest.split_whitespace().skip(skipped);
    let mut next = || -> anyhow::Result<u64> {
        Ok(fields.next().context("`stat` has the fields of user and system time")?.parse()?)
    };
    Ok(next()? + next()?)
}

/// A process of which time and memory are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pid(pub(crate) u32);

impl Pid {
    /// Processor time that it and its living children have used, in milliseconds; a tick is 10.
    pub(crate) fn cpu_ms(self) -> anyhow::Result<f64> {
        let children = fs_err::read_to_string(format!("/proc/{0}/task/{0}/children", self.0))?;
        let mut ticks = self.own_ticks()?;
        for child in children.split_whitespace() {
            ticks += Self(child.parse()?).own_ticks()?;
        }
        Ok(ticks as f64 * TICK_MS)
    }

    fn own_ticks(self) -> anyhow::Result<u64> {
        let text = fs_err::read_to_string(format!("/proc/{}/stat", self.0))?;
        // User and system time are 11 fields after the state.
        stat_ticks(&text, 11)
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(self) -> anyhow::Result<f64> {
        self.status_mib("VmRSS:")
    }

    /// The most resident memory that it ever had, in MiB.
    pub(crate) fn resident_peak_mib(self) -> anyhow::Result<f64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(self, field: &str) -> anyhow::Result<f64> {
        let text = fs_err::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: f64 = kib.with_context(|| format!("`status` has the field `{field}`"))?.parse()?;
        Ok(kib / 1024.0)
    }
}
