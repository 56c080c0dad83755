//! The client: ready-made requests over kept-alive connections, one thread each, and how long each answer took.
//!
//! Invariant: nothing but writing the request and reading the answer lies between two readings of the clock, and the
//! client does so little that the server is what is measured.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use crate::clock::Moment;

/// How long an answer may take: far longer than any should.
const ANSWER_S_MAX: u64 = 60;

/// A request as it goes over the wire.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// Writes a request with these header lines.
    pub(crate) fn new(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut bytes =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| bytes.push_str(&format!("{name}: {value}\r\n")));
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        Self(bytes)
    }
}

/// What a load came to.
pub(crate) struct Load {
    /// From the first request to the last answer.
    pub(crate) total: Duration,
    /// Of each request, in the order in which they were answered.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Answers a second.
    pub(crate) fn per_s(&self) -> f64 {
        self.latencies.len() as f64 / self.total.as_secs_f64()
    }
}

/// Sends the requests from this many clients, each of which sends the next one as soon as it has an answer.
///
/// Every answer must have this status.
pub(crate) fn run(
    address: SocketAddr,
    requests: &[Request],
    clients: usize,
    status: u16,
) -> anyhow::Result<Load> {
    let mut connections =
        (0..clients).map(|_| Connection::open(address)).collect::<anyhow::Result<Vec<_>>>()?;
    let next = AtomicUsize::new(0);
    let latencies = Mutex::new(Vec::with_capacity(requests.len()));
    let client = |connection: &mut Connection| -> anyhow::Result<()> {
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let sent = Moment::now();
            let answer = connection.ask(request)?;
            let latency = sent.elapsed();
            if answer.status != status {
                bail!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            }
            latencies.lock().expect("no holder of this lock panics").push(latency);
        }
        Ok(())
    };
    let start = Moment::now();
    thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> =
            connections.iter_mut().map(|connection| scope.spawn(|| client(connection))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })?;
    let total = start.elapsed();
    Ok(Load { total, latencies: latencies.into_inner().expect("no holder of this lock panicked") })
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_S_MAX)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        self.0.get_mut().write_all(&request.0)?;
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status in `{status_line}`"))?;
        let mut len = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("no header in `{line}`"))?;
            if name.eq_ignore_ascii_case("content-length") {
                len = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("an answer without a length");
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
