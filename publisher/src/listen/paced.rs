//! A stream whose reader must keep some pace.
//!
//! Owns: the clock that runs only while the reader is waited for. Does not own: what is written.
//! Invariant: the reader is never waited for longer than the limit for each window's worth of bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    ANSWER_BYTES_PER_S_MIN,
    activity::{Activity, Guard},
};

pub(super) struct Paced<S> {
    inner: S,
    activity: Activity,
    /// Longest wait for [`Self::bytes_min`].
    window: Duration,
    bytes_min: u64,
    /// How long the reader was waited for in this window, before the wait at hand.
    waited: Duration,
    /// What it took in this window.
    bytes: u64,
    /// The wait at hand.
    wait: Option<Wait>,
}

struct Wait {
    since: Instant,
    end: Pin<Box<Sleep>>,
    /// While the reader is waited for, the connection is not quiet.
    _guard: Guard,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, window: Duration, activity: Activity) -> Self {
        let bytes_min = window.as_secs() * ANSWER_BYTES_PER_S_MIN;
        Self { inner, activity, window, bytes_min, waited: Duration::ZERO, bytes: 0, wait: None }
    }

    /// Counts what was written, or waits for the reader.
    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = polled {
            if let Some(wait) = self.wait.take() {
                self.waited += wait.since.elapsed();
            }
            self.bytes += outcome.as_ref().map_or(0, |count| *count as u64);
            return Poll::Ready(outcome);
        }
        loop {
            let (left, activity) = (self.window.saturating_sub(self.waited), &self.activity);
            let wait = self.wait.get_or_insert_with(|| {
                let since = Instant::now();
                Wait { since, end: Box::pin(sleep_until(since + left)), _guard: activity.begin() }
            });
            ready!(wait.end.as_mut().poll(cx));
            if self.bytes < self.bytes_min {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the answer is read too slowly",
                )));
            }
            (self.waited, self.bytes, self.wait) = (Duration::ZERO, 0, None);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::interval,
    };

    use super::*;

    /// Writes 24 KiB to a reader that takes `piece` bytes every 100 ms, as often as it is let.
    async fn write_to(piece: usize) -> io::Result<()> {
        let (ours, mut theirs) = duplex(1024);
        let mut paced = Paced::new(ours, Duration::from_secs(1), Activity::default());
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; piece];
            let mut ticks = interval(Duration::from_millis(100));
            while theirs.read_exact(&mut buffer).await.is_ok() {
                ticks.tick().await;
            }
        });
        let written = paced.write_all(&[0; 24 << 10]).await;
        drop(paced);
        reader.await.expect("the reader ends");
        written
    }

    #[tokio::test]
    async fn a_reader_must_keep_the_pace() {
        let (fast, slow) = tokio::join!(write_to(2048), write_to(10));
        fast.expect("20 KiB a second are fast enough");
        assert_eq!(slow.expect_err("100 bytes a second are too few").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn time_in_which_nothing_is_written_does_not_count() {
        let (ours, mut theirs) = duplex(8);
        let mut paced = Paced::new(ours, Duration::from_secs(1), Activity::default());
        let mut ticks = interval(Duration::from_millis(1100));
        for _ in 0..3 {
            ticks.tick().await;
            let mut buffer = [0; 16];
            let (written, read) = tokio::join!(paced.write_all(&[1; 16]), theirs.read_exact(&mut buffer));
            written.expect("the reader is there");
            read.expect("so is the writer");
        }
    }
}
