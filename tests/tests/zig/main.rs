//! Zig packages: the real zig against the real server, and everything that Zion sends and reads.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod building;
mod edges;
mod hashes;
mod packages;
mod projections;
mod zion;
