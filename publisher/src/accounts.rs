//! Accounts: who somebody is, how they show it, and what they hand to their tools.
//!
//! Owns: registration, sign-in, sessions, passwords, addresses, tokens, and the trail of what happened. Does not own: what an
//! account may do to a package, which the log says and every commit decides anew.
//!
//! Everything is a small private object, made or swapped under a condition. Invariants: what the outside is told does not
//! depend on whether an account or an address is known; a change of password and a deletion end what they should though
//! others act at the same time; whoever was told that something is revoked finds it so at every instance.

mod audit;
mod device;
mod email;
mod keys;
mod mail;
mod orgs;
mod password;
mod pattern;
mod provider;
mod record;
mod recovery;
mod second_factor;
mod session;
mod sign_up;
mod smtp;
mod teams;
mod tokens;
mod totp;

pub use email::{Email, InvalidEmail};
pub use mail::{FileMailer, Mail, MailError, Mailer, mailer_of_environment};
pub use pattern::{InvalidPattern, PackagePattern};
pub use provider::SignInProvider;
pub use record::AccountRecord;
pub use smtp::{SmtpMailer, SmtpSettings, SmtpTls};

pub(crate) use device::in_words;
pub(crate) use keys::KeyRing;
pub(crate) use orgs::MemberRecord;
pub(crate) use password::Hasher;
pub(crate) use provider::{Arrived, Leaving, ProviderAnswer, Returned};
pub(crate) use record::AuditKind;
pub(crate) use tokens::Uses;
