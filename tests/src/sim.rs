//! The whole publish path under a scheduler that a seed drives: several publishers, clients and readers over one
//! store, whose calls take effect in any order, fail in every way that the storage contract allows, and outlive the
//! processes that made them.
//!
//! Owns: the scheduler, the store in front of it, the workload, and the invariants that are checked at every write and
//! at the end. Does not own: any rule of the protocol; what it checks is what everybody can see.
//!
//! Invariant: a run is a function of its plan and its seed. Everything runs on one thread; nothing moves while a call
//! has been let through and has not been digested; time and randomness are injected.

mod area;
mod base;
mod broken;
mod builder;
mod calls;
mod client;
mod clock;
mod collector;
mod fleet;
mod oracle;
mod random;
mod reader;
mod rng;
mod run;
mod scheduler;
mod tally;

pub use broken::Broken;
pub use calls::{Call, Fault, Pid, Place, Verdict};
pub use client::Ask;
pub use collector::{Collector, HISTORY_S, archive_key, run_collecting};
pub use fleet::{Process, Reply};
pub use random::{explore, explore_by, run_random};
pub use rng::Rng;
pub use run::{Report, Request, World, run_from_nothing, run_scenario};
pub use scheduler::{Order, Sim};
pub use tally::Tally;
