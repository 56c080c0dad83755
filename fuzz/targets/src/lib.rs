//! What holds for any bytes: the properties that the fuzzers look for counterexamples of.
//!
//! Owns: one function for each fuzzer, which panics if its property is broken, and the table of them. Does not own: where
//! bytes come from; `fuzz/` gives them what libFuzzer makes up, and `cargo test` the corpora that it left.
//!
//! Invariant: no function here depends on anything but its bytes, so that every finding can be repeated.

mod archive;
mod events;
mod files;
mod names;
mod notes;
mod publish;
mod tiles;
mod trust;

pub use archive::{archive_bytes, archive_shape, manifest};
pub use events::{events, head_and_staging};
pub use files::index_lines;
pub use names::names;
pub use notes::notes;
pub use publish::publish;
pub use tiles::tiles;
pub use trust::trust;

/// A fuzzer's property: it panics where it does not hold.
pub type Property = fn(&[u8]);

/// Every property, by the name of its fuzzer and its corpus.
pub const ALL: [(&str, Property); 11] = [
    ("archive_bytes", archive_bytes),
    ("archive_shape", archive_shape),
    ("events", events),
    ("head_and_staging", head_and_staging),
    ("index_lines", index_lines),
    ("manifest", manifest),
    ("names", names),
    ("notes", notes),
    ("publish", publish),
    ("tiles", tiles),
    ("trust", trust),
];
