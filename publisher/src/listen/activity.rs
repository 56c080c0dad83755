//! What a connection is busy with: requests being answered, and bytes that wait for the reader.
//!
//! Invariant: a connection counts as quiet only while nothing is under way that it waits for the server for, or that the
//! server is writing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// How many things are under way on one connection, and since when nothing is.
#[derive(Clone)]
pub(super) struct Activity(Arc<State>);

struct State {
    began: Instant,
    under_way: AtomicUsize,
    /// When the last of them ended, in nanoseconds since the beginning.
    ended_ns: AtomicU64,
}

/// One of them, until it is dropped.
pub(super) struct Guard(Arc<State>);

impl Default for Activity {
    fn default() -> Self {
        let (under_way, ended_ns) = Default::default();
        Self(Arc::new(State { began: Instant::now(), under_way, ended_ns }))
    }
}

impl Activity {
    pub(super) fn begin(&self) -> Guard {
        self.0.under_way.fetch_add(1, Ordering::AcqRel);
        Guard(self.0.clone())
    }

    /// Is ready when nothing has been under way for this long.
    ///
    /// Nobody tells it when something begins or ends, which happens often: it looks when there may be something to see.
    /// What ends after a look has ended for at most as long as the wait for the next one.
    pub(super) async fn quiet(&self, duration: Duration) {
        loop {
            let now = Instant::now();
            let end = if self.0.under_way.load(Ordering::Acquire) == 0 {
                let ended = Duration::from_nanos(self.0.ended_ns.load(Ordering::Acquire));
                self.0.began + ended + duration
            } else {
                now + duration
            };
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let ended_ns = u64::try_from(self.0.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.ended_ns.fetch_max(ended_ns, Ordering::AcqRel);
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body; the request is under way as long as it is not read to its end.
pub(super) struct Answer {
    bytes: Content,
    guard: Option<Guard>,
}

enum Content {
    AtHand(Bytes),
    Streamed(Body),
}

impl Answer {
    pub(super) fn at_hand(bytes: Bytes, guard: Guard) -> Self {
        Self { bytes: Content::AtHand(bytes), guard: Some(guard) }
    }

    pub(super) fn streamed(body: Body, guard: Guard) -> Self {
        Self { bytes: Content::Streamed(body), guard: Some(guard) }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = match &mut self.bytes {
            Content::AtHand(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::AtHand(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Streamed(body) => Pin::new(body).poll_frame(cx),
        };
        if matches!(polled, Poll::Ready(None)) {
            self.guard = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.bytes {
            Content::AtHand(bytes) => bytes.is_empty(),
            Content::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.bytes {
            Content::AtHand(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(body) => body.size_hint(),
        }
    }
}
