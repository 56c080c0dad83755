//! When to try again, and how long to wait before.

use std::time::Duration;

use super::HttpOptions;
use crate::{ClientError, Effects};

/// The attempts of one operation.
pub(crate) struct Attempts<'a> {
    options: &'a HttpOptions,
    effects: &'a Effects,
    made: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(options: &'a HttpOptions, effects: &'a Effects) -> Self {
        Self { options, effects, made: 1 }
    }

    /// Whether the attempt under way is the last one.
    pub(crate) fn are_used_up(&self) -> bool {
        self.made >= self.options.attempts_max
    }

    /// Waits before the next attempt; fails if the server asks for a longer wait than is allowed.
    pub(crate) async fn wait(
        &mut self,
        url: &str,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), ClientError> {
        let base = match retry_after {
            Some(asked) if asked > self.options.retry_after_max => {
                let detail = format!("{reason}, and asks to wait {} s", asked.as_secs());
                return Err(ClientError::Unreachable { url: super::shown(url), detail });
            }
            Some(asked) => asked.max(self.options.backoff),
            None => self.options.backoff * 2_u32.pow((self.made - 1).min(6)),
        };
        self.made += 1;
        self.effects.wait(self.effects.jittered(base), reason).await;
        Ok(())
    }
}
