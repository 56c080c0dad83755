//! Where bytes lie: two small traits, and the backends that keep their contracts.
//!
//! Owns: the contracts of [`Objects`] (immutable artefacts) and [`Pointers`] (small files replaced by
//! compare-and-swap), the filesystem and memory backends, the start-up [`probe`], and the wrappers that count,
//! delay and break calls for tests. Does not own: which keys exist or what their bytes mean.
//! The S3 backend is a crate of its own, because its SDK takes minutes to build.
//!
//! Invariant: a write whose outcome is not known is reported as unknown, never as success or as failure.

mod call;
pub mod conformance;
mod contract;
mod count;
mod delay;
mod effects;
mod fault;
mod fs;
mod key;
mod memory;
mod probe;
mod shared;
mod store;

pub use call::Op;
pub use contract::{
    Area, Body, Meta, NewObject, ObjectReader, Objects, Outcome, PAGE_KEYS_MAX, Page, Pointers, PresignedPut,
    Replace, Stat, StoreError, Tag, Versioned, cut,
};
pub use count::{Counter, Counting, Counts, Logged};
pub use delay::Delayed;
pub use effects::{Clock, Entropy, SystemClock, SystemEntropy, new_ulid};
pub use fault::{Call, Fault, Faults, Faulty};
pub use fs::{FsArea, Syncs};
pub use key::{InvalidKey, Key};
pub use memory::MemoryArea;
pub use probe::{PROBE_FOLDER, probe};
pub use store::Store;
