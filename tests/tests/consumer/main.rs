//! The consumer's commands by the real program: what they say, workspaces, packages on disk, and kills at every step.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kills;
mod session;
mod words;
mod workspaces;
