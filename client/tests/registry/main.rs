//! The client against a small registry in memory, which can be made to lie, to break off and to forget.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cut;
mod fake;
mod install;
mod transfer;
mod trust;
mod updates;
