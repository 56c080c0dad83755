//! Options of the verbs about who somebody is, and who may act for what.

use clap::{Args, Subcommand, ValueEnum};

/// `login`
#[derive(Debug, Args)]
pub struct Login {
    /// Read a token from stdin, instead of asking you to say yes on the registry's page
    #[arg(long, conflicts_with = "username")]
    pub with_token: bool,
    /// Sign in as this user, with the password from stdin, and make a token for this machine
    #[arg(long, value_name = "LOGIN")]
    pub username: Option<String>,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor
    #[arg(long, value_name = "CODE", requires = "username")]
    pub code: Option<String>,
    /// What to call that token
    #[arg(long, value_name = "NAME", default_value = "drystone login", conflicts_with = "with_token")]
    pub token_name: String,
    /// Days until that token expires
    #[arg(long, default_value_t = 90, conflicts_with = "with_token")]
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
    /// A code of the authenticator app, or a recovery code, where that account has a second factor
    #[arg(long, value_name = "CODE", global = true)]
    pub code: Option<String>,
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
    /// Look after teams: members who act for packages that name the team as `ORG/TEAM`
    #[command(subcommand)]
    Team(TeamVerb),
}

/// What to do with a team.
#[derive(Debug, Subcommand)]
pub enum TeamVerb {
    /// Make a team
    Create(TeamName),
    /// Put a member of the organisation into a team
    Add(TeamMember),
    /// Take somebody out of a team; or leave it
    Remove(TeamMember),
    /// Dissolve a team
    Delete(TeamName),
}

/// Names a team.
#[derive(Debug, Args)]
pub struct TeamName {
    /// Organisation
    pub org: String,
    /// Team
    pub team: String,
}

/// A member of a team.
#[derive(Debug, Args)]
pub struct TeamMember {
    /// Organisation
    pub org: String,
    /// Team
    pub team: String,
    /// Login or account id
    pub login: String,
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
    /// Look after the second factor of the account: an authenticator app
    SecondFactor(SecondFactor),
}

/// `auth second-factor`
#[derive(Debug, Args)]
pub struct SecondFactor {
    /// Sign in as this user for the change, with the password from stdin
    #[arg(long, value_name = "LOGIN", global = true)]
    pub username: Option<String>,
    /// A code of the app, or a recovery code, to sign in with
    #[arg(long, value_name = "CODE", global = true)]
    pub code: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub verb: SecondFactorVerb,
}

/// What to do with a second factor.
#[derive(Debug, Subcommand)]
pub enum SecondFactorVerb {
    /// Say whether there is one, and how many recovery codes are left
    Status,
    /// Show the secret for an authenticator app, which counts once a code of it is confirmed
    Enable,
    /// Confirm a code of the app, and show the recovery codes
    Confirm(SecondFactorCode),
    /// Make other recovery codes
    RecoveryCodes(SecondFactorCode),
    /// Sign in with the password alone from now on
    Disable(SecondFactorCode),
}

/// One more code.
#[derive(Debug, Args)]
pub struct SecondFactorCode {
    /// A code that was not used yet: each works once, also the one that signs in
    #[arg(value_name = "CODE")]
    pub next: String,
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
    /// Hand a package over to an account or organisation that accepts it
    #[command(subcommand)]
    Transfer(Transfer),
}

/// What to do with an offer of a package.
#[derive(Debug, Subcommand)]
pub enum Transfer {
    /// Offer a package; for two weeks it can be accepted
    Offer(TransferOffer),
    /// Take a package over that is offered: nobody else acts for it then, and no CI identity publishes it
    Accept(OwnerList),
    /// Take an offer back, or decline it
    Withdraw(OwnerList),
}

/// `owner transfer offer`
#[derive(Debug, Args)]
pub struct TransferOffer {
    /// Package
    pub package: String,
    /// Login, name of an organisation, or account id
    pub to: String,
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
