//! A clock that moves only when told, and randomness from a seed.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use drystone_storage::{Clock, Entropy};
use sha2::{Digest, Sha256};

/// A clock that stands still, except that waiting moves it on.
pub struct TestClock(AtomicU64);

impl TestClock {
    /// A clock that shows this many milliseconds since 1970.
    pub fn at(unix_ms: u64) -> Self {
        Self(AtomicU64::new(unix_ms))
    }

    /// Moves it on.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now_unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        tokio::task::yield_now().await;
    }
}

/// Randomness that repeats: SHA-256 of a seed and a counter.
pub struct TestEntropy(Mutex<(u64, u64)>);

impl TestEntropy {
    /// Randomness of this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new((seed, 0)))
    }
}

impl Entropy for TestEntropy {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let mut state = self.0.lock().expect("no holder of this lock panics");
            state.1 += 1;
            let block = Sha256::new()
                .chain_update(state.0.to_be_bytes())
                .chain_update(state.1.to_be_bytes())
                .finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}
