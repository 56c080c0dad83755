//! Connections: how many at once, how long they may wait for a request, and how slowly they may read.
//!
//! Owns: accepting, the limits on what a peer holds without asking for anything, and the end of all connections when the
//! process stops. Does not own: requests, whose bodies have a limit and a time of their own.
//!
//! Speaks HTTP/1.1 only. HTTP/2 would let one connection hold many answers open; it is for the proxy, with TLS.
//! Invariant: a peer that does nothing, or next to nothing, holds a connection only for a time that is configured.

mod activity;
mod paced;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, http::Request};
use drystone_schemas::{Code, ErrorBody, Problem};
use futures_util::future::{Either, ready};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use activity::{Activity, Answer};
use paced::Paced;

use crate::{Front, Peer};

/// Most connections that are being told at once that there are too many; others are closed without a word.
const REFUSALS_MAX: usize = 64;
/// Longest that telling takes.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// How long to wait when the system gives no connection, for want of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Of the file descriptors that a process may have open, those that are left for files and storage: one in so many.
const RESERVED_PART: usize = 4;

/// What one listener lets its peers do. Process options, not settings of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionLimits {
    /// Most connections at once; another one gets [`Code::TooManyConnections`].
    pub connections_max: usize,
    /// Longest request line and headers together, in bytes; longer ones get the status 431. At least 8,192.
    pub header_bytes_max: usize,
    /// Longest wait, in seconds, from the beginning of a connection or the end of an answer to the end of the next
    /// request's headers. Then the connection is closed.
    pub header_s_max: u64,
    /// Seconds of waiting for a peer that reads, in which it must take 1,024 bytes a second on average. Then the
    /// connection is closed.
    pub stalled_s_max: u64,
}

/// Least speed at which an answer must be read, in bytes a second of waiting for the reader.
const ANSWER_BYTES_PER_S_MIN: u64 = 1024;

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections_max: 4096, header_bytes_max: 64 << 10, header_s_max: 15, stalled_s_max: 30 }
    }
}

impl ConnectionLimits {
    /// The same, where these variables of the environment say nothing else: `DRYSTONE_CONNECTIONS_MAX`,
    /// `DRYSTONE_HEADER_BYTES_MAX`, `DRYSTONE_HEADER_S_MAX` and `DRYSTONE_STALLED_S_MAX`.
    ///
    /// # Errors
    ///
    /// What is wrong with a value: not a number, zero, or headers of less than 8,192 bytes.
    pub fn or_environment(self, get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, default: u64, min: u64| {
            let text = get(name).unwrap_or_else(|| default.to_string());
            let number = text.parse().ok().filter(|number| *number >= min);
            number.ok_or_else(|| format!("`{name}` is `{text}`, not a number of at least {min}"))
        };
        let count = |name: &str, default: usize, min: u64| {
            let number = number(name, default as u64, min)?;
            usize::try_from(number)
                .map_err(|_| format!("`{name}` is {number}, more than this machine can count"))
        };
        Ok(Self {
            connections_max: count("DRYSTONE_CONNECTIONS_MAX", self.connections_max, 1)?,
            header_bytes_max: count("DRYSTONE_HEADER_BYTES_MAX", self.header_bytes_max, 8192)?,
            header_s_max: number("DRYSTONE_HEADER_S_MAX", self.header_s_max, 1)?,
            stalled_s_max: number("DRYSTONE_STALLED_S_MAX", self.stalled_s_max, 1)?,
        })
    }

    /// The same, with no more connections than the process may have files open, less a quarter for files and storage.
    ///
    /// Where the system does not say how many these are, nothing changes.
    #[must_use]
    pub fn within_open_files(self) -> Self {
        let Some(open_files) = open_files_max() else { return self };
        let connections_max = self.connections_max.min(open_files - open_files / RESERVED_PART).max(1);
        if connections_max < self.connections_max {
            tracing::warn!(
                connections_max,
                open_files,
                "fewer connections than configured: raise `ulimit -n`"
            );
        }
        Self { connections_max, ..self }
    }
}

/// The process's limit on open files, on systems with `/proc`.
fn open_files_max() -> Option<usize> {
    let limits = fs_err::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Answers every connection, until `stop` is ready and the answers under way have been given.
pub async fn serve(
    listener: TcpListener,
    front: impl Into<Front>,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let front = front.into();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let (stopping, stopped) = watch::channel(false);
    let connections = TaskTracker::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                pause().await;
                continue;
            }
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let served =
                    connection(stream, Peer(peer.ip()), front.clone(), limits, stopped.clone(), slot);
                drop(connections.spawn(served));
            }
            Err(_) => {
                if let Ok(refusal) = refusals.clone().try_acquire_owned() {
                    tokio::spawn(refuse(stream, limits.connections_max, refusal));
                }
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    connections.close();
    connections.wait().await;
}

#[expect(clippy::disallowed_methods, reason = "the system's resources do not follow the registry's clock")]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    front: Front,
    limits: ConnectionLimits,
    mut stopped: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting to fill a packet would only delay the last one.
    drop(stream.set_nodelay(true));
    let activity = Activity::default();
    let stream = Paced::new(stream, Duration::from_secs(limits.stalled_s_max), activity.clone());
    let requests = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let guard = requests.begin();
        if let Some(response) = front.at_once(&request) {
            return Either::Left(ready(Ok::<_, Infallible>(
                response.map(|body| Answer::at_hand(body, guard)),
            )));
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer = front.router().clone().oneshot(request);
        // Boxed, so that it is only moved about when there is one.
        Either::Right(Box::pin(async move {
            let Ok(response) = answer.await;
            Ok(response.map(|body| Answer::streamed(body, guard)))
        }))
    });
    let mut serving = pin!(
        http1::Builder::new()
            .max_buf_size(limits.header_bytes_max)
            .max_header_size(limits.header_bytes_max)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut quiet = pin!(activity.quiet(Duration::from_secs(limits.header_s_max)));
    let ended = loop {
        tokio::select! {
            ended = &mut serving => break ended.map_err(|error| error.to_string()),
            () = &mut quiet => break Err("no request arrived in time".to_owned()),
            Ok(()) = stopped.changed() => serving.as_mut().graceful_shutdown(),
        }
    };
    if let Err(reason) = ended {
        tracing::debug!(reason, "a connection was closed");
    }
    drop(slot);
}

/// Tells a peer that there are too many connections, and waits a moment for it to read that.
async fn refuse(mut stream: TcpStream, connections_max: usize, slot: OwnedSemaphorePermit) {
    let detail = format!("{connections_max} connections are open already");
    let problem = Problem::new(Code::TooManyConnections, detail).fact("connections_max", connections_max);
    let body = ErrorBody { errors: vec![problem], request_id: String::new() };
    let body = serde_json::to_vec(&body).expect("problems have string keys");
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let told = async {
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection, and the answer with it.
        let mut request = [0; 4 << 10];
        while stream.read(&mut request).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    if timeout(REFUSAL_TIME, told).await.is_err() {
        tracing::debug!("a refused connection was closed");
    }
    drop(slot);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_what_was_set() {
        let set = |name: &'static str, value: &'static str| {
            ConnectionLimits::default().or_environment(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(set("", ""), Ok(ConnectionLimits::default()));
        assert_eq!(set("DRYSTONE_HEADER_S_MAX", "1").map(|limits| limits.header_s_max), Ok(1));
        for (name, bad) in [
            ("DRYSTONE_CONNECTIONS_MAX", "0"),
            ("DRYSTONE_HEADER_BYTES_MAX", "8191"),
            ("DRYSTONE_HEADER_S_MAX", "soon"),
            ("DRYSTONE_STALLED_S_MAX", "-1"),
        ] {
            assert!(set(name, bad).unwrap_err().contains(name));
        }
    }

    #[test]
    fn connections_leave_room_for_files() {
        let many = ConnectionLimits { connections_max: usize::MAX, ..ConnectionLimits::default() };
        let within = many.within_open_files();
        if let Some(open_files) = open_files_max() {
            assert!(within.connections_max < open_files);
        }
        let few = ConnectionLimits { connections_max: 1, ..ConnectionLimits::default() };
        assert_eq!(few.within_open_files(), few);
    }
}
