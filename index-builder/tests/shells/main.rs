//! The shells over a whole registry: replay, rebuild, fsck and recover.

mod fsck;
mod rebuild;
mod recover;
mod support;
