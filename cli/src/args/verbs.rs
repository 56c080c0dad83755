//! The options of each verb.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use drystone_client::install::LinkMode;
use drystone_schemas::Format;

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

/// `login`
#[derive(Debug, Args)]
pub struct Login {
    /// Read the token from stdin
    #[arg(long, conflicts_with = "username")]
    pub with_token: bool,
    /// Sign in as this user, with the password from stdin, and make a token for this machine
    #[arg(long, value_name = "LOGIN")]
    pub username: Option<String>,
    /// What to call that token
    #[arg(long, value_name = "NAME", default_value = "drystone login", requires = "username")]
    pub token_name: String,
    /// Days until that token expires
    #[arg(long, default_value_t = 90, requires = "username")]
    pub days: u64,
}

/// `logout`
#[derive(Debug, Args)]
pub struct Logout {
    /// Revoke the token as well, wherever it came from
    #[arg(long)]
    pub revoke: bool,
}

/// `org`
#[derive(Debug, Args)]
pub struct Org {
    /// Sign in as this user for the change, with the password from stdin: tokens of tools may not govern organisations
    #[arg(long, value_name = "LOGIN", global = true)]
    pub username: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub verb: OrgVerb,
}

/// What to do with an organisation.
#[derive(Debug, Subcommand)]
pub enum OrgVerb {
    /// Make an organisation
    Create(OrgName),
    /// Show an organisation; its members, if you are one
    Show(OrgName),
    /// Invite somebody, or give a member another role
    Invite(OrgInvite),
    /// Take an invitation
    Join(OrgName),
    /// Remove a member or an invitation; or leave
    Remove(OrgMember),
}

/// Names an organisation.
#[derive(Debug, Args)]
pub struct OrgName {
    /// Organisation
    pub name: String,
}

/// `org invite`
#[derive(Debug, Args)]
pub struct OrgInvite {
    /// Organisation
    pub name: String,
    /// Login or account id
    pub login: String,
    /// What they may do
    #[arg(long, value_enum, default_value_t = RoleArg::Collaborator)]
    pub role: RoleArg,
}

/// `org remove`
#[derive(Debug, Args)]
pub struct OrgMember {
    /// Organisation
    pub name: String,
    /// Login or account id
    pub login: String,
}

/// `auth`
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Say who is signed in, and what the token may do
    Status,
    /// List the tokens of the account
    Tokens,
}

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
    /// What its authors sign
    #[command(flatten)]
    pub signing: SignArgs,
    /// Check everything, publish nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Signatures of authors
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Sign with the author key on this machine
    #[arg(long)]
    pub sign: bool,
    /// File with the author key; the one in the home if absent
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub key: Option<PathBuf>,
    /// What another author has signed with `drystone key sign`
    #[arg(long = "signature", value_name = "FILE")]
    pub signatures: Vec<PathBuf>,
}

/// `key`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key, and print its public half
    Generate(KeyGenerate),
    /// Show the keys of a package, and which must sign
    List(KeyList),
    /// Make a key known as one of a package's authors
    Register(KeyRegister),
    /// Let a key count no more, for ever; what it signed before stays signed
    Revoke(KeyRevoke),
    /// Say which keys must sign the releases of a package
    Require(KeyRequire),
    /// Sign what somebody else publishes
    Sign(KeySign),
}

/// `key generate`
#[derive(Debug, Args)]
pub struct KeyGenerate {
    /// File for the secret; it must not be there. In the home if absent
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `key list`
#[derive(Debug, Args)]
pub struct KeyList {
    /// Package
    pub package: String,
}

/// `key register`
#[derive(Debug, Args)]
pub struct KeyRegister {
    /// Package
    pub package: String,
    /// The public key, if it is not the one on this machine
    #[arg(conflicts_with = "key")]
    pub public: Option<String>,
    /// File with the secret; the one in the home if absent
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `key revoke`
#[derive(Debug, Args)]
pub struct KeyRevoke {
    /// Package
    pub package: String,
    /// The public key
    pub public: String,
}

/// `key require`
#[derive(Debug, Args)]
pub struct KeyRequire {
    /// Package
    pub package: String,
    /// How many of the keys must sign; 0 lifts the rule
    pub threshold: u32,
    /// Their public keys
    pub keys: Vec<String>,
    /// How many hours a weaker rule, or a change of owners, waits after this one; 24 if absent
    #[arg(long, value_name = "HOURS")]
    pub lock_hours: Option<u32>,
    /// Why it must take force at once, where a time-lock would delay it; administrators only, and public
    #[arg(long, value_name = "REASON")]
    pub exception: Option<String>,
}

/// `key sign`
#[derive(Debug, Args)]
pub struct KeySign {
    /// The archive, or the directory of the package
    pub package: PathBuf,
    /// Format of the package; its manifest decides if absent
    #[arg(long, value_parser = parse_format, value_name = "generic|cargo|zig")]
    pub format: Option<Format>,
    /// Owner of a Zig package, as for `publish`
    #[arg(long, value_name = "OWNER")]
    pub scope: Option<String>,
    /// File with the secret; the one in the home if absent
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
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

/// `add`
#[derive(Debug, Args)]
pub struct Add {
    /// `NAME`, `NAME@REQUIREMENT` or an alias
    #[arg(required = true)]
    pub packages: Vec<String>,
    /// For tests only
    #[arg(long)]
    pub dev: bool,
    /// Into `build.zig.zon`, with URL and hash
    #[arg(long, conflicts_with_all = ["dev", "no_install", "manifest_path"])]
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
    /// Fill cargo's cache with what Cargo.lock names, so that `cargo build --locked --offline` follows
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

/// `owner`
#[derive(Debug, Subcommand)]
pub enum Owner {
    /// Show who may act for a package
    List(OwnerList),
    /// Add owners, or change their role
    Add(OwnerAdd),
    /// Remove owners
    Remove(OwnerRemove),
}

/// `owner list`
#[derive(Debug, Args)]
pub struct OwnerList {
    /// Package
    pub package: String,
}

/// `owner add`
#[derive(Debug, Args)]
pub struct OwnerAdd {
    /// Package
    pub package: String,
    /// Logins or account ids
    #[arg(required = true)]
    pub logins: Vec<String>,
    /// What they may do
    #[arg(long, value_enum, default_value_t = RoleArg::Owner)]
    pub role: RoleArg,
    /// Why it must take force at once, where a time-lock would delay it; administrators only, and public
    #[arg(long, value_name = "REASON")]
    pub exception: Option<String>,
}

/// A role, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Publish and yank.
    Collaborator,
    /// That, and change owners, aliases and deprecation.
    Owner,
}

/// `owner remove`
#[derive(Debug, Args)]
pub struct OwnerRemove {
    /// Package
    pub package: String,
    /// Logins or account ids
    #[arg(required = true)]
    pub logins: Vec<String>,
    /// Why it must take force at once, where a time-lock would delay it; administrators only, and public
    #[arg(long, value_name = "REASON")]
    pub exception: Option<String>,
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

fn parse_format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|e: drystone_schemas::UnknownFormat| e.to_string())
}
