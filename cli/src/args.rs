//! The command line: verbs, options and their help, and nothing that acts.

mod keys;
mod packages;
mod people;
mod project;
mod publishers;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{keys::*, packages::*, people::*, project::*, publishers::*};
use crate::{admin, maintain, serve, trust, witness};

/// Shown when no verb is given.
pub const SHORT_HELP: &str = "\
drystone: packages from signed, content-addressed files

  drystone init                   start a package or project here
  drystone add NAME               add a dependency, lock and install it
  drystone install                install what the lock file says
  drystone publish                pack and publish the package here
  drystone info NAME              show a package
  drystone search WORDS           find packages
  drystone verify NAME@VERSION    prove a release against the log
  drystone serve --data DIR       run a registry of your own
  drystone help                   everything else
";

const EXIT_CODES: &str = "\
Exit codes:
  0    done, also where it was done already
  1    refused or failed
  2    wrong usage or configuration
  3    `--locked` would change the lock file
  4    sign-in needed, or the token may not do this
  5    verification failed
  69   the registry cannot be reached
  70   internal error
  130  interrupted

Environment:
  DRYSTONE_REGISTRY  base URL of the registry
  DRYSTONE_TOKEN     token, in place of a stored one
  DRYSTONE_ID_TOKEN  a CI provider's token, to publish without one of the registry's
  DRYSTONE_HOME      directory for cache, store, keys and tokens
  DRYSTONE_TRUST     trust document to begin with, in place of the registry's first
  DRYSTONE_MIRRORS   base URLs of mirrors, with commas between
  DRYSTONE_LINK_MODE how packages get from the store into a project
  NO_COLOR, CLICOLOR_FORCE, FORCE_COLOR, CI, DRYSTONE_NO_PROGRESS
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE";

/// Packages from signed, content-addressed files.
#[derive(Debug, Parser)]
#[command(name = "drystone", version, after_long_help = EXIT_CODES, disable_help_subcommand = false)]
pub struct Cli {
    /// How results and notices are shown.
    #[command(flatten)]
    pub output: Output,
    /// Which registry, and how it is reached.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How results and notices are shown.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Results and errors as JSON on stdout
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// Fewer notices; twice for errors only
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub quiet: u8,
    /// More details
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN", help_heading = "Output")]
    pub color: ColorChoice,
    /// No progress bars
    #[arg(long, global = true, help_heading = "Output")]
    pub no_progress: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On terminals.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which registry, and how it is reached.
#[derive(Debug, Clone, Args)]
pub struct NetworkArgs {
    /// Base URL of the registry [env: DRYSTONE_REGISTRY]
    #[arg(long, global = true, value_name = "URL", help_heading = "Registry")]
    pub registry: Option<String>,
    /// Ask this mirror for archives first; may be repeated [env: DRYSTONE_MIRRORS]
    #[arg(long = "mirror", global = true, value_name = "URL", help_heading = "Registry")]
    pub mirrors: Vec<String>,
    /// Use only what is cached
    #[arg(long, global = true, help_heading = "Registry")]
    pub offline: bool,
    /// Allow plain `http` to other machines
    #[arg(long, global = true, help_heading = "Registry")]
    pub allow_http: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a manifest for a new package or project
    Init(Init),
    /// Sign in, or store a token for a registry
    Login(Login),
    /// Forget the token of a registry; one that `login` made is revoked
    Logout(Logout),
    /// Show who is signed in
    #[command(subcommand)]
    Auth(Auth),
    /// Pack a directory and publish it, or publish an archive
    Publish(Publish),
    /// Bring crates from elsewhere
    #[command(subcommand)]
    Import(Import),
    /// Show a package
    Info(Info),
    /// Find packages
    Search(Search),
    /// Add dependencies to the manifest, lock and install them
    Add(Add),
    /// Remove dependencies from the manifest
    Remove(Remove),
    /// Install what the lock file says, after bringing it up to date
    Install(Install),
    /// Bring what the lock file says into the store, and leave the project as it is
    Fetch(Fetch),
    /// Copy what the lock file says into a directory, for a repository
    Vendor(Vendor),
    /// Write the lock file
    Lock(Lock),
    /// Choose newer versions, lock and install them
    Update(Update),
    /// Show what is locked, as a tree
    Tree(Tree),
    /// Say which dependencies lead to a package
    Why(Why),
    /// List what is locked in an older version than there is
    Outdated(Outdated),
    /// Keep a release from being chosen
    Yank(Yank),
    /// Take a yank back
    Unyank(Unyank),
    /// Say that a package should not be used for new work
    Deprecate(Deprecate),
    /// Take a deprecation back
    Undeprecate(Undeprecate),
    /// Show and change who may act for a package
    #[command(subcommand)]
    Owner(Owner),
    /// Make author keys, and say which must sign a package
    #[command(subcommand)]
    Key(Key),
    /// Show and change which CI identities may publish a package
    #[command(subcommand)]
    TrustPublisher(TrustPublisher),
    /// Print a token for this CI job, for tools such as cargo
    CiToken(CiToken),
    /// Show and change organisations
    Org(Org),
    /// Show and change short names
    #[command(subcommand)]
    Alias(Alias),
    /// Prove a release, or an archive on disk, against the log
    Verify(Verify),
    /// Fetch for projects of cargo's
    #[command(subcommand)]
    Cargo(Cargo),
    /// Look after the packages that are kept for all projects
    #[command(subcommand)]
    Cache(Cache),
    /// Say what an error code means
    Explain(Explain),
    /// Run a registry
    Serve(serve::Args),
    /// Operate a registry: tokens, settings, root of trust
    Admin(admin::Args),
    /// Make and rotate the root of trust, away from any server
    Trust(trust::Args),
    /// Cosign what other people's logs publish
    Witness(witness::Args),
    /// Check and repair a registry
    #[command(flatten)]
    Maintain(maintain::Args),
}
