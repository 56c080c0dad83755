//! Two of the doors through which effects come in: the clock and randomness. Built once, in `main`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ring::rand::{SecureRandom, SystemRandom};

/// The time, and waiting for it.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_unix_ms(&self) -> u64;

    /// Waits; the only way to wait.
    async fn sleep(&self, duration: Duration);

    /// Seconds since 1970-01-01T00:00:00Z.
    fn now_unix_s(&self) -> u64 {
        self.now_unix_ms() / 1000
    }
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills a buffer.
    fn fill(&self, out: &mut [u8]);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
    fn now_unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door to waiting")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// Opens the door.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.fill(out).expect("the operating system gives randomness");
    }
}

/// Makes a ULID (26 characters): 48 bits of time, 80 of randomness.
///
/// Format: the ULID specification; Crockford's base 32, most significant digit first.
pub fn new_ulid(clock: &dyn Clock, entropy: &dyn Entropy) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes[6..]);
    bytes[..6].copy_from_slice(&clock.now_unix_ms().to_be_bytes()[2..]);
    let value = u128::from_be_bytes(bytes);
    (0..26).rev().map(|digit| char::from(ALPHABET[(value >> (5 * digit) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    #[async_trait]
    impl Clock for Fixed {
        fn now_unix_ms(&self) -> u64 {
            1_469_922_850_259
        }
        async fn sleep(&self, _: Duration) {}
    }

    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) {
            out.fill(0xff);
        }
    }

    #[test]
    fn a_ulid_holds_its_time_first() {
        assert_eq!(new_ulid(&Fixed, &Fixed), "01ARZ3NDEKZZZZZZZZZZZZZZZZ");
    }
}
