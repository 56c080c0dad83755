//! Options of the verbs about packages of a registry.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drystone_schemas::Format;

use super::SignArgs;

/// `publish`
#[derive(Debug, Args)]
pub struct Publish {
    /// Directory of the package; the current one if absent
    #[arg(conflicts_with = "archive")]
    pub dir: Option<PathBuf>,
    /// Publish this archive as it is
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// Format of the package; its manifest decides if absent
    #[arg(long, value_parser = parse_format, value_name = "generic|cargo|zig")]
    pub format: Option<Format>,
    /// Owner of a Zig package, whose manifest cannot name one: `OWNER` makes it `OWNER/NAME`
    #[arg(long, value_name = "OWNER")]
    pub scope: Option<String>,
    /// What its authors sign.
    #[command(flatten)]
    pub signing: SignArgs,
    /// Check everything, publish nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `import`
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Every `.crate` file below a directory, dependencies first
    Crates(ImportDir),
    /// Crates of another registry, over Cargo's sparse protocol
    Registry(ImportRegistry),
    /// A local registry of cargo's: `index/` beside `.crate` files
    LocalRegistry(ImportDir),
    /// What `cargo vendor` unpacked; packed again, so that checksums are new
    Vendored(ImportDir),
}

impl Import {
    /// How many to move at once.
    pub fn jobs(&self) -> u16 {
        match self {
            Self::Crates(args) | Self::LocalRegistry(args) | Self::Vendored(args) => args.jobs,
            Self::Registry(args) => args.jobs,
        }
    }
}

/// `import crates`, `import local-registry`, `import vendored`
#[derive(Debug, Args)]
pub struct ImportDir {
    /// Where the files are
    pub dir: PathBuf,
    /// How many to upload at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
}

/// `import registry`
#[derive(Debug, Args)]
pub struct ImportRegistry {
    /// URL of the index, as in cargo's configuration. A token for it comes from `DRYSTONE_SOURCE_TOKEN`
    pub index: String,
    /// `NAME` for all releases, `NAME@REQUIREMENT` for some
    pub packages: Vec<String>,
    /// Every package of this `Cargo.lock` that comes from the registry, in the locked versions
    #[arg(long, value_name = "FILE")]
    pub lock: Vec<PathBuf>,
    /// And what they depend on in that registry: all releases
    #[arg(long)]
    pub with_dependencies: bool,
    /// How many to fetch and to upload at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
}

/// `info`
#[derive(Debug, Args)]
pub struct Info {
    /// `NAME`, `NAME@VERSION` or an alias
    pub package: String,
}

/// `search`
#[derive(Debug, Args)]
pub struct Search {
    /// What to look for
    #[arg(required = true)]
    pub words: Vec<String>,
}

/// `yank`
#[derive(Debug, Args)]
pub struct Yank {
    /// `NAME@VERSION`
    pub release: String,
    /// Why, for those who meet the yanked release
    #[arg(long)]
    pub reason: Option<String>,
}

/// `unyank`
#[derive(Debug, Args)]
pub struct Unyank {
    /// `NAME@VERSION`
    pub release: String,
}

/// `deprecate`
#[derive(Debug, Args)]
pub struct Deprecate {
    /// Package
    pub package: String,
    /// Why, and what to use instead
    #[arg(long)]
    pub reason: Option<String>,
}

/// `undeprecate`
#[derive(Debug, Args)]
pub struct Undeprecate {
    /// Package
    pub package: String,
}

/// `alias`
#[derive(Debug, Subcommand)]
pub enum Alias {
    /// Make a short name mean a package
    Set(AliasSet),
    /// Make a short name mean nothing
    Remove(AliasName),
    /// Show what a short name means
    Resolve(AliasName),
    /// Show every short name
    List(AliasList),
    /// Show short names like this one, and free ones for a package
    Suggest(AliasSuggest),
    /// Show everything that happened to a short name
    History(AliasName),
}

/// `alias set`
#[derive(Debug, Args)]
pub struct AliasSet {
    /// Short name
    pub alias: String,
    /// Package
    pub package: String,
}

/// `alias list`
#[derive(Debug, Args)]
pub struct AliasList {
    /// Only those that mean this package
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
}

/// `alias suggest`
#[derive(Debug, Args)]
pub struct AliasSuggest {
    /// Short name or package
    pub name: String,
}

/// `alias remove`, `alias resolve`, `alias history`
#[derive(Debug, Args)]
pub struct AliasName {
    /// Short name
    pub alias: String,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// `NAME@VERSION`, or an archive on disk
    pub target: String,
}

/// `explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// `DRY0104` or `version-exists`; all codes if absent
    pub code: Option<String>,
}

pub(super) fn parse_format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|e: drystone_schemas::UnknownFormat| e.to_string())
}
