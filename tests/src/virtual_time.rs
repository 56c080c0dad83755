//! Time that passes only while everybody waits: seconds of delays and back-off in milliseconds of a test.
//!
//! Owns: a clock and the runtime that moves it on. Invariant: time stands still while any task can go on. Work on
//! blocking threads counts as waiting, so that a test may last longer than it should, never shorter.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use drystone_storage::Clock;

/// A clock that jumps to the next moment for which somebody waits.
pub struct VirtualClock(Mutex<State>);

struct State {
    now_us: u64,
    next_sleeper: u64,
    /// Who waits, by the moment and in the order of coming.
    sleepers: BTreeMap<(u64, u64), Waker>,
}

impl VirtualClock {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self) {
        let woken = {
            let mut state = self.lock();
            let Some(((moment, _), waker)) = state.sleepers.pop_first() else { return };
            state.now_us = state.now_us.max(moment);
            waker
        };
        woken.wake();
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now_unix_ms(&self) -> u64 {
        self.lock().now_us / 1_000
    }

    async fn sleep(&self, duration: Duration) {
        let (moment, number) = {
            let mut state = self.lock();
            state.next_sleeper += 1;
            (state.now_us + duration.as_micros() as u64, state.next_sleeper)
        };
        poll_fn(|context| {
            let mut state = self.lock();
            if state.now_us >= moment {
                return Poll::Ready(());
            }
            state.sleepers.insert((moment, number), context.waker().clone());
            Poll::Pending
        })
        .await;
        self.lock().sleepers.remove(&(moment, number));
    }
}

/// Runs a test on one thread, with a clock that starts at this moment.
///
/// # Panics
///
/// If no runtime can be made.
pub fn in_virtual_time<T>(start_unix_ms: u64, test: impl AsyncFnOnce(Arc<VirtualClock>) -> T) -> T {
    let state = State { now_us: start_unix_ms * 1_000, next_sleeper: 0, sleepers: BTreeMap::new() };
    let clock = Arc::new(VirtualClock(Mutex::new(state)));
    let idle = clock.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .on_thread_park(move || idle.advance())
        .build()
        .expect("a runtime can be made");
    runtime.block_on(test(clock))
}
