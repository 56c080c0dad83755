//! The commit protocol: how many writers, each of which may die at any await, keep one log on dumb storage.
//!
//! Owns: head, the order of writes, helping, unknown outcomes, the signature after the commit. Does not own: what an
//! event means, who may cause it, or which files follow from it; the caller plans that against the [`Round`] it got.
//!
//! The order (each step's guard is an invariant): objects, then state nodes and the staging object, then *head* (the
//! commit point), then tiles and by-name files, then the checkpoint. Recovery is [`Committer::begin`] itself: whoever
//! finds a commit that is not applied executes its staging list, with the functions of the normal path.
//!
//! Where this differs from a plain log: the signature comes after the compare-and-swap, from committed state, so that
//! a writer that loses or dies never holds a signed fork.

mod apply;
mod attempt;
mod collect;
mod committer;
mod draft;
mod edge;
mod error;
mod genesis;
mod head;
mod heartbeat;
mod nodes;
mod publish;
mod signing;
mod staging;
mod witnesses;

pub use apply::put_all;
pub use attempt::{CommitOutcome, Committed};
pub use collect::{DOOMED_MAX, Fence, LEASE_S, SeenHead};
pub use committer::{Committer, Round};
pub use draft::{EventDraft, PlainFile, StateFile};
pub use error::CommitError;
pub use genesis::Genesis;
pub use head::{Gc, Head};
pub use heartbeat::Heartbeat;
pub use signing::{FreshnessKey, KeyUnavailable, LogKey, Signing, WitnessLink};
pub use staging::{Op, OpKind, STAGING_BYTES_MAX, Staging};
