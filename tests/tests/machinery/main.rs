//! The machinery below a registry fails: disks are full or read-only, clocks jump, processes die while they start.
//!
//! Real processes throughout. What needs rights that the test has not is skipped with a message, unless
//! `DRYSTONE_TEST_S3=required` says that everything must run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod clocks;
mod disks;
mod installs;
mod read_only;
mod start_up;
