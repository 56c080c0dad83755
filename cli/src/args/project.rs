//! Options of the verbs of a project: its manifest, its lock, and what is installed in it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use drystone_client::install::LinkMode;

/// Which project.
#[derive(Debug, Clone, Args)]
pub struct ProjectArgs {
    /// The manifest, if it is not found in this directory or above it
    #[arg(long, value_name = "FILE")]
    pub manifest_path: Option<PathBuf>,
}

/// Whether the lock file may change.
#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// Fail with exit code 3 if the lock file would change
    #[arg(long)]
    pub locked: bool,
    /// The same as `--locked --offline`
    #[arg(long)]
    pub frozen: bool,
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// Where; the current directory if absent
    pub dir: Option<PathBuf>,
    /// Package name; the directory's name if absent
    #[arg(long)]
    pub name: Option<String>,
    /// Language whose manifest to write: that of the registry, `raven` or `vais`
    #[arg(long, value_name = "NAME")]
    pub language: Option<String>,
}

/// `add`
#[derive(Debug, Args)]
pub struct Add {
    /// `NAME`, `NAME@REQUIREMENT` or an alias
    #[arg(required_unless_present = "path")]
    pub packages: Vec<String>,
    /// The package in this directory, in place of the registry's
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// For tests only
    #[arg(long)]
    pub dev: bool,
    /// Into `build.zig.zon`, with URL and hash
    #[arg(long, conflicts_with_all = ["dev", "no_install", "manifest_path", "path"])]
    pub zig: bool,
    /// Change manifest and lock file, install nothing
    #[arg(long)]
    pub no_install: bool,
    /// Whether the lock file may change.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `remove`
#[derive(Debug, Args)]
pub struct Remove {
    /// Names
    #[arg(required = true)]
    pub packages: Vec<String>,
    /// Change manifest and lock file, install nothing
    #[arg(long)]
    pub no_install: bool,
    /// Whether the lock file may change.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// How packages get from the store into a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkModeArg {
    /// The first of the others that works.
    Auto,
    /// A link to the package's directory in the store.
    Dir,
    /// Copies that share their blocks with the store until they are written.
    Reflink,
    /// Other names for the store's files.
    Hard,
    /// Copies.
    Copy,
}

impl From<LinkModeArg> for LinkMode {
    fn from(mode: LinkModeArg) -> Self {
        match mode {
            LinkModeArg::Auto => Self::Auto,
            LinkModeArg::Dir => Self::Dir,
            LinkModeArg::Reflink => Self::Reflink,
            LinkModeArg::Hard => Self::Hard,
            LinkModeArg::Copy => Self::Copy,
        }
    }
}

/// `install`
#[derive(Debug, Args)]
pub struct Install {
    /// How packages get from the store into the project
    #[arg(long, value_enum, value_name = "MODE")]
    pub link_mode: Option<LinkModeArg>,
    /// Whether the lock file may change.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// Whether the lock file may change.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `vendor`
#[derive(Debug, Args)]
pub struct Vendor {
    /// Where, below the project
    #[arg(default_value = "vendor")]
    pub dir: PathBuf,
    /// Whether the lock file may change.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `cargo`
#[derive(Debug, Subcommand)]
pub enum Cargo {
    /// Fill cargo's cache with what Cargo.lock names, which is made where it is missing; `cargo build --locked --offline` follows
    Fetch(CargoFetch),
    /// Unpack what Cargo.lock names into a directory source, as `cargo vendor` does
    Vendor(CargoVendor),
}

/// `cargo fetch`
#[derive(Debug, Args)]
pub struct CargoFetch {
    /// The Cargo.lock, if it is not found in this directory or above it
    #[arg(long, value_name = "FILE")]
    pub lock_path: Option<PathBuf>,
}

/// `cargo vendor`
#[derive(Debug, Args)]
pub struct CargoVendor {
    /// Where
    #[arg(default_value = "vendor")]
    pub dir: PathBuf,
    /// The Cargo.lock, if it is not found in this directory or above it
    #[arg(long, value_name = "FILE")]
    pub lock_path: Option<PathBuf>,
}

/// `cache`
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show what is kept, and for which projects
    List,
    /// Hash everything again; what is damaged goes, and the next install brings it back
    Verify,
    /// Remove what no project uses
    Gc(CacheGc),
    /// Show where it is
    Dir,
}

/// `cache gc`
#[derive(Debug, Args)]
pub struct CacheGc {
    /// Keep what was unpacked in the last days, whoever uses it
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub keep_days: u32,
    /// Say what would go
    #[arg(long)]
    pub dry_run: bool,
}

/// `lock`
#[derive(Debug, Args)]
pub struct Lock {
    /// Choose the newest versions, whatever is locked
    #[arg(long)]
    pub update: bool,
    /// Choose the oldest versions that will do
    #[arg(long)]
    pub minimal_versions: bool,
    /// Whether the lock file may change.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `update`
#[derive(Debug, Args)]
pub struct Update {
    /// Only these packages; all if absent
    pub packages: Vec<String>,
    /// The same, as an option
    #[arg(short, long = "package", value_name = "PACKAGE")]
    pub package: Vec<String>,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `why`
#[derive(Debug, Args)]
pub struct Why {
    /// The package
    pub package: String,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `outdated`
#[derive(Debug, Args)]
pub struct Outdated {
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `tree`
#[derive(Debug, Args)]
pub struct Tree {
    /// Turn it round: who needs this package
    #[arg(short, long, value_name = "PACKAGE")]
    pub invert: Option<String>,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}
