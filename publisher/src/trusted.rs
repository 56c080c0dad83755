//! Trusted publishing: a CI job shows who it is with a token of its issuer, and gets a short-lived token of the registry.
//!
//! Owns: the issuers' keys, what their tokens must claim, the exchange, and identities that wait for a package. Does not own:
//! who may publish what: every commit decides that anew, by the publishers that the package's document then names.
//!
//! Invariants: a key counts for the configured issuer that it was read from, and for one algorithm; an issuer's token is exchanged
//! once at most; what a token of ours is for, it was made for: one package, and one archive where the issuer's token names it.

mod claims;
mod exchange;
mod issuers;
mod pending;

pub use issuers::{HttpIssuers, IssuerLink};

pub(crate) use issuers::{Endpoints, IssuerKeys};
pub(crate) use pending::WAITING_S;

/// A text of somebody else's, as far as it is shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
