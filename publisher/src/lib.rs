//! The publish function: who may do what, is the archive sound, and one commit to the log for the answer.
//!
//! Owns: tokens and accounts of the operator, inspection of uploads, the check of every intent against the head that
//! it is committed to, batching inside one process, and one router for every way of running it. Does not own: the
//! order of writes (`drystone-log`), what files follow from an event (`drystone-index-builder`), how archives are
//! read (`drystone-archive`).
//!
//! Invariant: a right is decided from what is stored when the commit is prepared, never from what a request was
//! admitted with.

mod accounts;
mod admin;
mod expired;
mod files;
mod front;
mod inbox;
mod intent;
mod jwt;
mod limits;
mod listen;
mod multipart;
mod plan;
mod refusal;
mod routes;
mod sequencer;
mod service;
mod spool;
mod swap;
mod token;
mod trust;
mod trusted;
mod vault;
mod witness;
mod witness_link;

pub use accounts::{
    AccountRecord, Email, FileMailer, InvalidEmail, InvalidPattern, Mail, MailError, Mailer, PackagePattern,
    SignInProvider, SmtpMailer, SmtpSettings, SmtpTls, mailer_of_environment,
};
pub use admin::NewToken;
pub use expired::{ExpiredClass, ExpiredOptions, ExpiredReport, ExpiredTally, collect_expired};
pub use files::PublicFiles;
pub use front::Front;
pub use intent::{Action, Done, Intent, Rule};
pub use limits::Peer;
pub use listen::{ConnectionLimits, serve};
pub use refusal::Refusal;
pub use routes::api_router;
pub use service::{Options, Service};
pub use token::{InvalidToken, Token, TokenKind};
pub use trust::policy_in_force;
pub use trusted::{HttpIssuers, IssuerLink};
pub use vault::{Scope, TokenRecord};
pub use witness::{Witness, WitnessError, witness_path, witness_router};
pub use witness_link::witness_link;
