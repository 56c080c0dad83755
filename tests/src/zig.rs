//! The real zig, in the versions that the tests know, from the wheels that `tests/zig.sh` installs.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "these are the doors of the end-to-end tests"
)]

use std::{path::PathBuf, process::Command};

/// The versions, the oldest first.
pub const VERSIONS: [&str; 4] = ["0.14.1", "0.15.2", "0.16.0", "0.17.0"];

/// A zig of one version, with a cache that is kept between runs: what Zig compiles for itself takes minutes.
#[derive(Debug, Clone)]
pub struct Zig {
    program: PathBuf,
    cache: PathBuf,
}

impl Zig {
    /// The zig of a version; none, and a message, if it is not installed.
    ///
    /// With `DRYSTONE_TEST_ZIG=required` a missing zig is a failure.
    pub fn find(version: &str) -> Option<Self> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("drystone");
        let program = caches.join(format!("zig-{version}/ziglang/zig"));
        if program.is_file() {
            return Some(Self { program, cache: caches.join(format!("zig-cache-{version}")) });
        }
        let required = std::env::var("DRYSTONE_TEST_ZIG").is_ok_and(|value| value == "required");
        assert!(!required, "zig {version} is required, but {} is not there", program.display());
        println!("skipped: no zig {version}; install it with `tests/zig.sh`");
        None
    }

    /// The program, with the cache that is kept.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Zig 0.17 is to compile its own parts without optimising them: a tenth of the time, once per cache.
        command.env("ZIG_GLOBAL_CACHE_DIR", &self.cache).env("ZIG_DEBUG_CMD", "1");
        command
    }
}
