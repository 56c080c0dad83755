//! The doors through which effects reach this library: time, randomness, and a word to whoever waits.
//!
//! Owns nothing but the bundle. The caller builds it once; nothing here reads a clock or the environment.

use std::{fmt, sync::Arc, time::Duration};

use drystone_schemas::EventId;
use drystone_storage::{Clock, Entropy, new_ulid};

/// Called before a wait that a user may notice.
pub type OnWait = Arc<dyn Fn(&Wait) + Send + Sync>;

/// A wait between two attempts of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// How long.
    pub duration: Duration,
    /// Why, in a few words.
    pub reason: String,
}

/// Clock, randomness and the listener for waits.
#[derive(Clone)]
pub struct Effects {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Hears of waits.
    pub on_wait: OnWait,
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effects")
    }
}

impl Effects {
    /// Bundles the doors; nobody hears of waits.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, on_wait: Arc::new(|_| ()) }
    }

    /// A fresh idempotency key.
    pub fn new_id(&self) -> EventId {
        EventId::new(new_ulid(&*self.clock, &*self.entropy)).expect("a new ULID is a ULID")
    }

    /// Sixteen unpredictable hex digits, for the names of temporary files.
    pub fn random_suffix(&self) -> String {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// A duration between `base` and twice `base`, so that clients that failed together do not return together.
    pub(crate) fn jittered(&self, base: Duration) -> Duration {
        let mut bytes = [0; 2];
        self.entropy.fill(&mut bytes);
        base + base.mul_f64(f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
    }

    pub(crate) async fn wait(&self, duration: Duration, reason: &str) {
        (self.on_wait)(&Wait { duration, reason: reason.into() });
        self.clock.sleep(duration).await;
    }
}
