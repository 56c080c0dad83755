//! A connection between cargo and the server that a test can watch and act on: it knows when a publish is on its way,
//! when it has arrived, and when it is answered.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
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

type Hook = Box<dyn FnMut(Moment) + Send>;

#[derive(Default)]
struct Shared {
    server: Mutex<String>,
    heads: Mutex<Vec<String>>,
    hook: Mutex<Option<Hook>>,
}

/// An address that stays the same whatever becomes of the server behind it.
pub(crate) struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a port of its own, for as long as the tests run.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
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

    /// Leads to the server at this URL from now on.
    pub(crate) fn lead_to(&self, url: &str) {
        *self.shared.server.lock().unwrap() = url.trim_start_matches("http://").to_owned();
    }

    /// Calls this at every moment of every publish from now on, while nothing moves on that connection.
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
    let Ok(server) = TcpStream::connect(address) else {
        drop(client.shutdown(Shutdown::Both));
        return;
    };
    let publishing = Arc::new(Mutex::new(false));
    let (to_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (answering, shared_back) = (publishing.clone(), shared.clone());
    let back = thread::spawn(move || {
        pass(&from_server, &to_client, |bytes| {
            // The answer, not the leave to go on.
            if *answering.lock().unwrap() && bytes.starts_with(b"HTTP/1.1 ") && !bytes.starts_with(b"HTTP/1.1 100") {
                shared_back.tell(Moment::Answered);
            }
            None
        });
    });
    let mut head: Option<Vec<u8>> = None;
    let (mut left, mut half) = (0_usize, 0_usize);
    pass(client, &server, |bytes| {
        let mut body = bytes;
        if left == 0 {
            if head.is_none() && !bytes.starts_with(b"PUT /api/v1/crates/new ") {
                return None;
            }
            let head = head.get_or_insert_default();
            head.extend_from_slice(bytes);
            let end = head.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            body = &bytes[bytes.len() - (head.len() - end)..];
            let text = String::from_utf8_lossy(&head[..end]).into_owned();
            let length = text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            left = length.expect("cargo tells the length");
            half = left / 2;
            shared.heads.lock().unwrap().push(text);
            *publishing.lock().unwrap() = true;
        }
        let before = left;
        left = left.saturating_sub(body.len());
        let kept = bytes.len() - body.len();
        let crosses = before > half && left <= half && !body.is_empty();
        let moments = if left == 0 { &[Moment::HalfSent, Moment::Sent][usize::from(!crosses)..] } else { &[Moment::HalfSent][..usize::from(crosses)] };
        if left == 0 && !body.is_empty() {
            head = None;
        }
        Some((kept + before.saturating_sub(half).min(body.len()), moments, shared.clone()))
    });
    drop(server.shutdown(Shutdown::Both));
    drop(back.join());
}

/// Where a chunk is cut, and what happens before its second part and after it.
type Cut<'a> = Option<(usize, &'a [Moment], Arc<Shared>)>;

fn pass<'a>(mut from: &TcpStream, mut to: &TcpStream, mut look: impl FnMut(&[u8]) -> Cut<'a>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(len @ 1..) = from.read(&mut buffer) else { break };
        let bytes = &buffer[..len];
        let sent = match look(bytes) {
            None => to.write_all(bytes),
            Some((at, moments, shared)) => to.write_all(&bytes[..at]).and_then(|()| {
                if moments.contains(&Moment::HalfSent) {
                    shared.tell(Moment::HalfSent);
                }
                to.write_all(&bytes[at..])?;
                if moments.contains(&Moment::Sent) {
                    shared.tell(Moment::Sent);
                }
                Ok(())
            }),
        };
        if sent.is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
