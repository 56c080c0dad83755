//! A connection between cargo and the server that a test can watch and act on: it knows when a publish is half sent,
//! when all of it is, and when it is answered. Its address stays the same whatever becomes of the server behind it.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// How far a publish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Half of its body went to the server, and the rest has not.
    HalfSent,
    /// All of its body went to the server.
    Sent,
    /// The server's answer is here, and cargo has not seen it.
    Answered,
}

/// Called at every moment of a publish, while nothing moves on that connection.
type Hook = Box<dyn FnMut(Moment) + Send>;

#[derive(Default)]
struct Shared {
    server: Mutex<String>,
    heads: Mutex<Vec<String>>,
    hook: Mutex<Option<Hook>>,
}

/// The middle of all connections between cargo and a server.
#[derive(Clone)]
pub(crate) struct Proxy {
    url: Arc<str>,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a port of its own, for as long as the tests run.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).into();
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = accepting.clone();
                thread::spawn(move || relay(&client, &shared));
            }
        });
        Self { url, shared }
    }

    /// The base URL for cargo.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// New connections lead to the server at this URL from now on.
    pub(crate) fn lead_to(&self, url: &str) {
        *self.shared.server.lock().unwrap() = url.trim_start_matches("http://").to_owned();
    }

    /// Calls this at every moment of every publish from now on.
    pub(crate) fn watch(&self, hook: impl FnMut(Moment) + Send + 'static) {
        *self.shared.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// The heads of the publishes that came through.
    pub(crate) fn publish_heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }
}

impl Shared {
    fn tell(&self, moment: Moment) {
        if let Some(hook) = &mut *self.hook.lock().unwrap() {
            hook(moment);
        }
    }
}

/// One connection in both directions; an end that breaks breaks the other.
fn relay(client: &TcpStream, shared: &Arc<Shared>) {
    let address = shared.server.lock().unwrap().clone();
    if let Ok(server) = TcpStream::connect(address) {
        let unanswered = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                drop(back(&server, client, shared, &unanswered));
                drop(client.shutdown(Shutdown::Both));
            });
            drop(forth(client, &server, shared, &unanswered));
            drop(server.shutdown(Shutdown::Both));
        });
    }
    drop(client.shutdown(Shutdown::Both));
}

/// Passes requests on, and counts the bytes of a publish.
fn forth(
    mut client: &TcpStream,
    mut server: &TcpStream,
    shared: &Shared,
    unanswered: &AtomicBool,
) -> io::Result<()> {
    let mut read = || -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 64 << 10];
        let len = client.read(&mut buffer)?;
        buffer.truncate(len);
        if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(buffer) }
    };
    loop {
        let mut chunk = read()?;
        if !chunk.starts_with(b"PUT /api/v1/crates/new ") {
            server.write_all(&chunk)?;
            continue;
        }
        let end = loop {
            match chunk.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => chunk.extend(read()?),
            }
        };
        let mut body = chunk.split_off(end);
        let head = String::from_utf8_lossy(&chunk).into_owned();
        let lower = head.to_ascii_lowercase();
        let length =
            lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = length.expect("cargo tells the length");
        shared.heads.lock().unwrap().push(head);
        unanswered.store(true, Ordering::SeqCst);
        server.write_all(&chunk)?;
        let mut sent = 0;
        for (goal, moment) in [(length / 2, Moment::HalfSent), (length, Moment::Sent)] {
            while sent < goal {
                if body.is_empty() {
                    body = read()?;
                }
                let rest = body.split_off(body.len().min(goal - sent));
                server.write_all(&body)?;
                sent += body.len();
                body = rest;
            }
            shared.tell(moment);
        }
    }
}

/// Passes answers back.
fn back(
    mut server: &TcpStream,
    mut client: &TcpStream,
    shared: &Shared,
    unanswered: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = server.read(&mut buffer)?;
        let bytes = &buffer[..len];
        if bytes.is_empty() {
            return Ok(());
        }
        // The leave to go on is no answer.
        if !bytes.starts_with(b"HTTP/1.1 100") && unanswered.swap(false, Ordering::SeqCst) {
            shared.tell(Moment::Answered);
        }
        client.write_all(bytes)?;
    }
}
