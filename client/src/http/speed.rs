//! The least speed of a download: a server that drips bytes must not hold a client for ever.

use std::time::Duration;

/// Measures speed over consecutive windows.
pub(super) struct SpeedFloor {
    bytes_min: u64,
    window_ms: u64,
    window_start_ms: u64,
    window_bytes: u64,
}

impl SpeedFloor {
    pub(super) fn new(bytes_per_s_min: u64, window: Duration, now_ms: u64) -> Self {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            bytes_min: bytes_per_s_min.saturating_mul(window_ms) / 1000,
            window_ms,
            window_start_ms: now_ms,
            window_bytes: 0,
        }
    }

    /// Counts bytes that just came; false if a whole window has passed with too few of them.
    pub(super) fn keeps_up(&mut self, bytes: u64, now_ms: u64) -> bool {
        self.window_bytes += bytes;
        if now_ms.saturating_sub(self.window_start_ms) < self.window_ms {
            return true;
        }
        let enough = self.window_bytes >= self.bytes_min;
        self.window_start_ms = now_ms;
        self.window_bytes = 0;
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_fails_after_one_window_and_a_burst_does_not_excuse_it_for_ever() {
        let mut floor = SpeedFloor::new(1000, Duration::from_secs(10), 0);
        assert!(floor.keeps_up(1, 5_000));
        assert!(floor.keeps_up(20_000, 10_000));
        assert!(floor.keeps_up(1, 19_999));
        assert!(!floor.keeps_up(1, 20_000));
    }
}
