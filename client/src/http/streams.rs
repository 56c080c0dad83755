//! How many requests are under way at once, and over which connection each goes.
//!
//! Owns the numbers, of each server on its own. Does not own connections.
//! Invariant: never more than [`SEPARATE`] where each takes a connection of its own; never more than [`PER_LANE`] in a
//! lane, and a further lane is used only where the ones before it are full.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use reqwest::Version;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::ClientError;

/// At once until the protocol is known, and where it is HTTP/1: each takes a connection, and a handshake.
const SEPARATE: usize = 32;
/// At once in one HTTP/2 connection: servers should allow as many (RFC 9113, section 6.5.2), and few allow more. What is beyond
/// that would wait in the connection.
const PER_LANE: usize = 100;
/// HTTP/2 connections to one server. Over a long line it is the number of requests under way that decides how long a thousand
/// small files take.
pub(super) const LANES: usize = 4;

/// The requests to every server that was asked.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<HashMap<String, Arc<Streams>>>);

impl Servers {
    /// The requests to the server of a URL.
    pub(super) fn of(&self, url: &Url) -> Arc<Streams> {
        let mut servers = self.0.lock().expect("no holder of this lock panics");
        servers.entry(url[..url::Position::BeforePath].to_owned()).or_default().clone()
    }
}

/// The requests to one server.
#[derive(Debug)]
pub(super) struct Streams {
    places: Semaphore,
    shared: AtomicBool,
    lanes: [AtomicUsize; LANES],
}

/// A place among the requests to one server, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    streams: &'a Streams,
    /// Which connection it is in; the first one, unless the server is known to speak HTTP/2.
    pub(super) lane: usize,
    _permit: SemaphorePermit<'a>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            places: Semaphore::new(SEPARATE),
            shared: AtomicBool::new(false),
            lanes: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }
}

impl Streams {
    /// Waits for a place, which ends with the answer.
    pub(super) async fn enter(&self) -> Result<Place<'_>, ClientError> {
        let permit = self.places.acquire().await.map_err(|e| ClientError::Internal(e.to_string()))?;
        let shared = self.shared.load(Ordering::Relaxed);
        let join = |lane: &AtomicUsize| {
            let more = |under_way| (under_way < PER_LANE).then_some(under_way + 1);
            lane.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        };
        // There are as many permits as places in the lanes, so that one of them has room.
        let lane = if shared { self.lanes.iter().position(join) } else { None };
        if lane.is_none() {
            self.lanes[0].fetch_add(1, Ordering::Relaxed);
        }
        Ok(Place { streams: self, lane: lane.unwrap_or(0), _permit: permit })
    }

    /// Learns what the server speaks.
    pub(super) fn saw(&self, version: Version) {
        if version == Version::HTTP_2 && !self.shared.swap(true, Ordering::Relaxed) {
            self.places.add_permits(LANES * PER_LANE - SEPARATE);
        }
    }
}

impl Place<'_> {
    /// Learns what the server speaks.
    pub(super) fn saw(&self, version: Version) {
        self.streams.saw(version);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.streams.lanes[self.lane].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_more_places_once_the_protocol_shares_a_connection() {
        let streams = Streams::default();
        streams.saw(Version::HTTP_11);
        assert_eq!(streams.places.available_permits(), SEPARATE);
        streams.saw(Version::HTTP_2);
        streams.saw(Version::HTTP_2);
        assert_eq!(streams.places.available_permits(), LANES * PER_LANE);
    }

    #[tokio::test]
    async fn a_lane_is_used_when_those_before_it_are_full() {
        let streams = Streams::default();
        let unknown = streams.enter().await.unwrap();
        streams.saw(Version::HTTP_2);
        let mut first = Vec::new();
        for _ in 1..PER_LANE {
            first.push(streams.enter().await.unwrap());
        }
        assert!(unknown.lane == 0 && first.iter().all(|place| place.lane == 0));
        let second = streams.enter().await.unwrap();
        assert_eq!(second.lane, 1);
        drop(first.pop());
        assert_eq!(streams.enter().await.unwrap().lane, 0);
    }

    #[test]
    fn servers_are_told_apart_by_scheme_and_authority() {
        let servers = Servers::default();
        let of = |url: &str| servers.of(&Url::parse(url).unwrap());
        assert!(Arc::ptr_eq(&of("https://a.example/x?y"), &of("https://a.example/z")));
        assert!(!Arc::ptr_eq(&of("https://a.example/x"), &of("https://a.example:8443/x")));
        assert!(!Arc::ptr_eq(&of("https://a.example/x"), &of("http://a.example/x")));
    }
}
