//! What a connection is busy with: requests being answered, and bytes that wait for the reader.
//!
//! Invariant: a connection counts as quiet only while nothing is under way that it waits for the server for, or that the
//! server is writing.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::{sync::watch, time::timeout};

/// How many things are under way on one connection.
#[derive(Clone)]
pub(super) struct Activity(watch::Sender<usize>);

/// One of them, until it is dropped.
pub(super) struct Guard(watch::Sender<usize>);

impl Default for Activity {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Activity {
    pub(super) fn begin(&self) -> Guard {
        self.0.send_modify(|count| *count += 1);
        Guard(self.0.clone())
    }

    /// Is ready when nothing has been under way for this long.
    pub(super) async fn quiet(&self, duration: Duration) {
        let mut count = self.0.subscribe();
        loop {
            let changed = if *count.borrow_and_update() == 0 {
                match timeout(duration, count.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                }
            } else {
                count.changed().await
            };
            changed.expect("this activity is a sender itself");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// An answer's body; the request is under way as long as it is not read to its end.
pub(super) struct WithGuard {
    body: Body,
    guard: Option<Guard>,
}

impl WithGuard {
    pub(super) fn new(body: Body, guard: Guard) -> Self {
        Self { body, guard: Some(guard) }
    }
}

impl HttpBody for WithGuard {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.guard = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
