//! How many requests are under way at once.
//!
//! Owns the number. Does not own connections.
//! Invariant: never more than [`MULTIPLEXED`], and never more than [`SEPARATE`] where each takes a connection of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Version;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ClientError;

/// At once until the protocol is known, and where it is HTTP/1: each takes a connection, and a handshake.
const SEPARATE: usize = 32;
/// At once over HTTP/2, where they share one connection. Servers allow 100 to 250 streams (RFC 9113, section 6.5.2,
/// recommends at least 100); what is beyond that waits in the connection.
const MULTIPLEXED: usize = 128;

/// The requests of one pool.
#[derive(Debug)]
pub(super) struct Streams {
    places: Semaphore,
    shared: AtomicBool,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(SEPARATE), shared: AtomicBool::new(false) }
    }

    /// Waits for a place, which ends with the answer.
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, ClientError> {
        self.places.acquire().await.map_err(|e| ClientError::Internal(e.to_string()))
    }

    /// Learns what a server speaks.
    pub(super) fn saw(&self, version: Version) {
        if version == Version::HTTP_2 && !self.shared.swap(true, Ordering::Relaxed) {
            self.places.add_permits(MULTIPLEXED - SEPARATE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_more_places_once_the_protocol_shares_a_connection() {
        let streams = Streams::new();
        streams.saw(Version::HTTP_11);
        assert_eq!(streams.places.available_permits(), SEPARATE);
        streams.saw(Version::HTTP_2);
        streams.saw(Version::HTTP_2);
        assert_eq!(streams.places.available_permits(), MULTIPLEXED);
    }
}
