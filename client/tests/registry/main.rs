//! The client against a small registry in memory, which can be made to lie, to break off and to forget.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cut;
#[expect(dead_code, reason = "its other users are the attacks, which are tests of the inside")]
mod fake;
mod install;
mod transfer;
mod trust;
mod updates;
