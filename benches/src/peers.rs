//! Other registries for cargo that keep their packages in a directory, installed from the public registry once.
//!
//! Owns how they are installed and started. What they check and sync is theirs: neither opens an archive, and neither
//! waits for the disk.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{
    report::say,
    server::{Running, free_address},
};

/// A registry that is measured beside ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its name, and its crate's.
    pub(crate) name: &'static str,
    /// The version that was measured first; others may be slower or faster.
    version: &'static str,
    start: fn(&Path, &str, &Path) -> Command,
}

/// Those whose publishes are counted.
pub(crate) const PEERS: [Peer; 2] = [
    Peer {
        name: "cargo-http-registry",
        version: "0.1.8",
        start: |program, address, folder| {
            let mut command = Command::new(program);
            command.arg("-a").arg(address).arg(folder);
            command
        },
    },
    Peer {
        name: "ferro-cargo-registry-server",
        version: "1.0.0",
        start: |program, address, folder| {
            let mut command = Command::new(program);
            command.env("FERRO_CARGO_REGISTRY_LISTEN", address).env("FERRO_CARGO_REGISTRY_DATA", folder);
            command
        },
    },
];

/// A peer that runs on a new directory until its handle goes.
pub(crate) struct RunningPeer {
    pub(crate) server: Running,
    _folder: TempDir,
}

impl Peer {
    /// Starts it on an empty directory.
    pub(crate) fn start(&self) -> anyhow::Result<RunningPeer> {
        let program = self.installed()?;
        let (folder, address) = (tempfile::tempdir()?, free_address()?);
        let child = (self.start)(&program, &address.to_string(), folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(RunningPeer { server: Running::when_listening(child, address)?, _folder: folder })
    }

    /// The program below `target/peers`, built if it is not there.
    fn installed(&self) -> anyhow::Result<PathBuf> {
        let here = std::env::current_exe()?;
        let target = here.ancestors().nth(2).context("this program lies below the target directory")?;
        let root = target.join("peers");
        let program = root.join("bin").join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        say(&format!("installing {} {}", self.name, self.version));
        let status = Command::new("cargo")
            .args(["install", "--locked", "--quiet", "--version", self.version, self.name, "--root"])
            .arg(&root)
            .status()?;
        if !status.success() || !program.is_file() {
            bail!("`{}` cannot be installed: {status}", self.name);
        }
        Ok(program)
    }
}
