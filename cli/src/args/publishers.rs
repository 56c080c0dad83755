//! Arguments of `trust-publisher` and `ci-token`.

use clap::{Args, Subcommand, ValueEnum};

/// `trust-publisher`
#[derive(Debug, Subcommand)]
pub enum TrustPublisher {
    /// Show which CI identities a package trusts
    List(PublisherList),
    /// Let a CI identity publish versions of a package
    Add(PublisherAdd),
    /// Let it no longer
    Remove(PublisherRemove),
}

/// `trust-publisher list`
#[derive(Debug, Args)]
pub struct PublisherList {
    /// Package
    pub package: String,
    /// Those of your own that wait for the package
    #[arg(long)]
    pub pending: bool,
}

/// Whose CI it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PublisherOf {
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
    /// Any other issuer
    Oidc,
}

/// `trust-publisher add`
#[derive(Debug, Args)]
pub struct PublisherAdd {
    /// Package
    pub package: String,
    /// Whose CI it is
    #[arg(value_enum)]
    pub of: PublisherOf,
    /// `OWNER/NAME` at GitHub, `GROUP/NAME` at GitLab
    #[arg(long)]
    pub repository: Option<String>,
    /// File of the workflow: below `.github/workflows/`, or the path of the pipeline's file
    #[arg(long, value_name = "FILE")]
    pub workflow: Option<String>,
    /// Environment that the job must have
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Only jobs on machines of the provider's (GitHub)
    #[arg(long)]
    pub hosted_only: bool,
    /// Claim that must have this text (other issuers); `sub` is needed
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub claims: Vec<String>,
    /// Number of the repository's owner or namespace; asked of the provider if absent
    #[arg(long, value_name = "NUMBER")]
    pub owner_id: Option<String>,
    /// Number of the repository or project; asked of the provider if absent
    #[arg(long, value_name = "NUMBER")]
    pub repository_id: Option<String>,
    /// Base URL of the provider's REST API
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// URL of the issuer; the registry's only one of this kind if absent
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The package is not there yet: let the identity publish its first version for you
    #[arg(long)]
    pub pending: bool,
}

/// `trust-publisher remove`
#[derive(Debug, Args)]
pub struct PublisherRemove {
    /// Package
    pub package: String,
    /// Id, as `trust-publisher list` shows it
    pub id: String,
    /// One of your own that waits for the package
    #[arg(long)]
    pub pending: bool,
}

/// `ci-token`
#[derive(Debug, Args)]
pub struct CiToken {
    /// Package that is to be published
    #[arg(long)]
    pub package: String,
}
