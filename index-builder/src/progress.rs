//! How long commands tell how far they are.

/// Hears how far a command is. Called from one task at a time; must not block.
pub trait Progress: Send + Sync {
    /// `n` more steps lie ahead.
    fn total(&self, n: u64);

    /// One step is done; `what` is the key it was about.
    fn step(&self, what: &str);
}

/// Progress that nobody hears.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _: u64) {}

    fn step(&self, _: &str) {}
}
