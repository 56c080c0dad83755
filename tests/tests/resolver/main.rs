//! The resolver against the real `cargo`: for the same index and the same manifest, the same lock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cargo;
mod cases;
mod generated;
mod large;
mod notation;
mod over_http;
mod projects;
mod rounds;
