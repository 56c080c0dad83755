//! Time that passes when it is told to, and randomness that is none.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drystone_storage::{Clock, Entropy};

/// 2025-10-09T08:53:20Z.
pub(crate) const START_UNIX_MS: u64 = 1_760_000_000_000;

/// A clock that never waits, and remembers for how long it should have.
#[derive(Default)]
pub(crate) struct TestClock {
    pub(crate) slept: Mutex<Vec<Duration>>,
    /// Milliseconds since the beginning.
    elapsed_ms: AtomicU64,
    /// How many of them pass whenever somebody looks.
    pub(crate) step_ms: AtomicU64,
}

impl TestClock {
    /// Lets time pass.
    pub(crate) fn pass(&self, duration: Duration) {
        self.elapsed_ms.fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now_unix_ms(&self) -> u64 {
        let step = self.step_ms.load(Ordering::Relaxed);
        START_UNIX_MS + self.elapsed_ms.fetch_add(step, Ordering::Relaxed)
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration);
    }
}

/// Not random at all, but different each time.
#[derive(Default)]
pub(super) struct Counter(Mutex<u8>);

impl Entropy for Counter {
    fn fill(&self, out: &mut [u8]) {
        let mut count = self.0.lock().unwrap();
        *count = count.wrapping_add(1);
        out.fill(*count);
    }
}
