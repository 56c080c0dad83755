//! The shells over a whole registry: replay, rebuild, fsck and recover.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod audit;
mod fsck;
mod protocol;
mod rebuild;
mod recover;
mod support;
