//! Time: the store's, which everybody's would be, and clocks that are wrong.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use drystone_storage::Clock;

use super::{calls::Pid, rng::Rng, scheduler::Sim};

/// Largest difference from the store's clock with which a process works, in seconds: the protocol's rule.
pub(super) const CLOCK_OFF_S_MAX: u64 = 60;

/// The clock of a process: the store's time, and by how much it is wrong. Who waits on it waits for a turn, and the time
/// has passed when it comes.
pub(super) struct SimClock {
    pub(super) sim: Arc<Sim>,
    pub(super) pid: Pid,
}

#[async_trait]
impl Clock for SimClock {
    fn now_unix_ms(&self) -> u64 {
        self.sim.clock_of(self.pid)
    }

    async fn sleep(&self, duration: Duration) {
        self.sim.turn_of(self.pid, "for time to pass".into()).await;
        self.sim.advance(duration.as_millis() as u64);
    }
}

/// Turns clocks a few times: lets time pass, puts a clock a little wrong, or too wrong to work with, or right again.
pub(super) async fn turn_clocks(sim: Arc<Sim>, mut rng: Rng, times: u64) {
    for _ in 0..times {
        sim.turn("to turn a clock").await;
        let (kind, pid) = (rng.below(5), rng.below(8) as Pid);
        let sign = if rng.once_in(2) { 1 } else { -1 };
        match kind {
            0 => {
                sim.pass_time(1_000 + rng.below(120_000));
                sim.count("time passes");
            }
            1 => sim.set_clock(pid, 0),
            2 | 3 => {
                sim.set_clock(pid, sign * rng.below(CLOCK_OFF_S_MAX * 1_000 + 1) as i64);
                sim.count("clock jumps within bounds");
            }
            _ => {
                let beyond = (CLOCK_OFF_S_MAX + 1) * 1_000 + rng.below(7_200_000);
                sim.set_clock(pid, sign * beyond as i64);
                sim.count("clock jumps beyond bounds");
            }
        }
    }
}
