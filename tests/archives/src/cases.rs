//! Hostile archives, and harmless ones that look like them: what is in each, and the codes of all its problems.
//!
//! Names are those of the corpus that the project started from, where it has the case.

mod entries;
mod extensions;
mod flat;
mod headers;
mod layers;
mod paths;
mod zig;

use drystone_schemas::Code;

use crate::raw::{Raw, archive};

pub use flat::flat;
pub use layers::too_far;
pub use zig::{zig, zig_manifest};

/// An archive and what becomes of it.
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// The archive.
    pub bytes: Vec<u8>,
    /// Of all problems, in order; empty if the archive is accepted.
    pub codes: Vec<Code>,
}

fn case(name: &'static str, bytes: Vec<u8>, codes: &[Code]) -> Case {
    Case { name, bytes, codes: codes.to_vec() }
}

/// The manifest of `p` 1.0.0, as an entry.
pub fn manifest() -> Raw {
    Raw::file("p-1.0.0/drystone.toml", b"[package]\nname = 'p'\nversion = '1.0.0'\n")
}

/// An archive of the manifest and more.
fn with(entries: &[Raw]) -> Vec<u8> {
    archive(&[&[manifest()], entries].concat())
}

fn files(paths: &[&str]) -> Vec<u8> {
    with(&paths.iter().map(|path| Raw::file(path, b"x")).collect::<Vec<_>>())
}

/// A path of `length` bytes.
fn long(length: usize) -> String {
    let mut path = "p-1.0.0/".to_owned();
    while path.len() + 21 < length {
        path += "twenty-letter-folder/";
    }
    let left = length - path.len();
    path + &"f".repeat(left)
}

/// The beginning of a path, as writers put it next to the whole.
fn cut(path: &str) -> &str {
    &path[..path.len().min(100)]
}

/// All that lie in one root directory, or should.
pub fn all() -> Vec<Case> {
    [
        paths::cases(),
        entries::cases(),
        headers::cases(),
        extensions::cases(),
        layers::ends(),
        layers::layers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
