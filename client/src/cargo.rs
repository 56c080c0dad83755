//! For projects of cargo's: what a `Cargo.lock` names is brought to where cargo looks for it.
//!
//! | module | owns |
//! |---|---|
//! | `lock` | reading `Cargo.lock` |
//! | `config` | which registry a source is replaced with |
//! | `home` | where files lie below `CARGO_HOME`, and the form of cached index files |
//! | `fetch` | what is missing, and how it gets there |
//! | `vendor` | directory sources |
//! | `workspace` | what the members of a workspace ask for, as cargo tells it |
//! | `resolve` | writing `Cargo.lock` where there is none |
//!
//! Does not own the choice of versions, building, or git sources, which are left to cargo.
//! Invariant: nothing gets where cargo finds it whose bytes do not have the checksum of the lock file; what is there is
//! whole.

mod config;
mod fetch;
mod home;
mod lock;
mod resolve;
mod turns;
mod vendor;
mod workspace;

pub use config::CargoConfig;
pub use fetch::{CargoFetch, CargoFetchReport, LeftOver};
pub use home::CargoHome;
pub use lock::{CARGO_LOCK, CargoLock, LockedCrate};
pub use vendor::CargoVendorReport;
pub use workspace::CargoWorkspace;
