//! The machinery below a registry fails: disks are full or read-only, clocks jump, processes die while they start.
//!
//! Real processes throughout. What needs rights that the test has not is skipped with a message, unless
//! `DRYSTONE_TEST_S3=required` says that everything must run.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and it reads its own environment"
)]

mod client;
mod clocks;
mod disks;
mod read_only;
mod start_up;

/// Says that a test is skipped; a failure where everything must run.
fn skipped(why: &str) {
    let required = std::env::var("DRYSTONE_TEST_S3").is_ok_and(|value| value == "required");
    assert!(!required, "everything must run: {why}");
    println!("skipped: {why}");
}
