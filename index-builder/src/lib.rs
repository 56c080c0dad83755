//! The projections, and the shells that apply and check them.
//!
//! Owns: what static files follow from the events of a log ([`project()`]), and the commands that read a whole registry:
//! replay, rebuild, fsck and recover. Does not own: how events get into the log, or how a client verifies one package.
//!
//! Invariant: a projection is a pure function of the events and of the objects that they name; equal events give
//! equal bytes, whatever their batching and whoever writes them.

mod audit;
mod concurrent;
mod fsck;
mod gc;
mod growing;
mod hints;
mod objects;
mod outline;
mod progress;
mod project;
mod published;
mod rebuild;
mod recover;
mod replay;
mod replica;
mod source;

/// The writer of the tests names this crate as its users do.
#[cfg(test)]
extern crate self as drystone_index_builder;

#[cfg(test)]
#[path = "../tests/shells/support.rs"]
#[expect(dead_code, reason = "its other users are the tests of the public interface")]
mod support;

pub use audit::{AuditOptions, AuditReport, Audited, Kept, KeptError, Visit, audit};
pub use fsck::{FsckCounts, FsckOptions, FsckProblem, FsckReport, ProblemKind, fsck};
pub use gc::{GcAges, GcClass, GcError, GcOptions, GcReport, GcTally, gc};
pub use hints::{Closures, hint_after_publish, hints_needed};
pub use objects::ObjectError;
pub use progress::{Progress, Silent};
pub use project::{
    AliasState, Draft, PROJECTION_VERSION, PackageState, ProjectError, ProjectedFile, Touched,
    github_release, project, project_config, project_plain, vais_index_file, vais_package,
};
pub use published::{EntriesError, Published, PublishedError};
pub use rebuild::{RebuildError, RebuildOptions, RebuildReport, rebuild, refresh_hints};
pub use recover::{RecoverError, RecoverOptions, RecoverReport, recover};
pub use replay::{Replay, ReplayError, Replayed, replay};
pub use replica::{Config, Fault, Identity, Needed, Replica, SavedError};
pub use source::{AreaSource, Source, SourceError};
