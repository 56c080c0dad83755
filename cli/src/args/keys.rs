//! Arguments of `key`, and of what authors sign.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drystone_schemas::Format;

use super::packages::parse_format;

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
