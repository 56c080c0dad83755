//! The consumer library: fetch, verify, resolve, lock, download, unpack, and publish.
//!
//! For a language's own tool as well as for `drystone`: there is no terminal, no environment and no home directory in
//! here. The caller passes directories, tokens, clock and randomness in.
//!
//! | module | owns |
//! |---|---|
//! | [`Http`] | connections, limits, retries |
//! | [`Registry`] | a registry's files, by name and by hash, and the cache |
//! | [`Snapshot`] | files that are proved against the log |
//! | [`Authored`] | what the authors of a package have signed |
//! | [`TrustStore`] | the pinned key, the root of trust, and the largest checkpoint seen |
//! | [`resolve`], [`plan`], [`Lock`] | which versions |
//! | [`aliases`] | short names to suggest |
//! | [`install`], [`Store`] | unpacked packages, shared by projects |
//! | [`pack`], [`publish`] | the way up |
//! | [`CargoRegistry`], [`pack_vendored`] | where crates are brought from |
//! | [`cargo`] | filling cargo's own cache from a `Cargo.lock` |
//! | [`disk`] | the door through which all that is written passes |
//! | [`verify`] | the chain of one release, in words |
//!
//! Invariant: nothing is installed whose bytes the log of the registry does not vouch for.

mod accounts;
pub mod aliases;
mod api;
#[cfg(test)]
mod attacks;
mod authors;
mod cache;
pub mod cargo;
mod cargo_registry;
pub mod ci;
mod defences;
pub mod disk;
mod download;
mod effects;
mod error;
mod feed;
mod home;
mod http;
pub mod install;
mod lock;
pub mod pack;
pub mod plan;
pub mod project;
pub mod publish;
mod registry;
pub mod resolve;
mod roots;
mod snapshot;
mod store;
mod tiles;
mod trust;
mod unpack;
mod vendored;
pub mod verify;
pub mod zig;

/// The registry of the tests names this crate as its users do.
#[cfg(test)]
extern crate self as drystone_client;

pub use api::Me;
pub use authors::Authored;
pub use cache::Cache;
pub use cargo_registry::{CargoRegistry, CargoRelease, parse_cargo_index};
pub use effects::{Effects, OnWait, Wait};
pub use error::{ClientError, VerificationError};
pub use home::Home;
pub use http::{Answer, Http, HttpOptions, Secret, Token};
pub use lock::{LOCK_FILE, Lock, LockedCheckpoint, LockedLocal, LockedPackage};
pub use pack::LocalArchive;
pub use project::{Project, ProjectTree};
pub use registry::{Network, Registry, normalise_base};
pub use snapshot::{ProvedIndex, Snapshot};
pub use store::{Collected, Damage, Listed, Store, StoreEntry};
pub use trust::{PinnedLog, TrustStore};
pub use vendored::{CHECKSUM_FILE, pack_vendored};
