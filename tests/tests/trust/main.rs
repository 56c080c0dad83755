//! Freshness, witnesses and the root of trust, on the side of the registry.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authors;
mod chain;
mod freshness;
mod witnesses;
