//! The door to a clock that measures intervals.

use std::time::{Duration, Instant};

/// A moment, to measure from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(Instant);

impl Moment {
    /// The present one.
    #[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
