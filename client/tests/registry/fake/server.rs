//! The server: static files, and whatever else it is told to do with a request.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use drystone_schemas::Sha256Digest;
use tokio::sync::Notify;

/// What the server does with a request in place of serving a file.
pub(crate) enum Act {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Sends these bytes, then breaks the connection.
    BreakAfter(Vec<u8>),
    /// Sends these bytes in chunks, without saying how many there are.
    Unannounced(Vec<u8>),
    /// Sends them one by one.
    Drip(Vec<u8>),
}

/// A request as the server saw it.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What it serves, and what it has seen.
#[derive(Default)]
pub(super) struct Served {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Acts for `METHOD /path`, the next one last; when they are used up, files are served.
    pub(super) script: BTreeMap<String, Vec<Act>>,
    pub(super) seen: Vec<Seen>,
    pub(super) token: Option<String>,
    /// Answers that wait until somebody says so.
    pub(super) held: BTreeMap<String, Arc<Notify>>,
}

pub(super) async fn serve(State(served): State<Arc<Mutex<Served>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
    let held = served.lock().unwrap().held.remove(&line);
    if let Some(held) = held {
        held.notified().await;
    }
    let mut served = served.lock().unwrap();
    served.seen.push(Seen { line: line.clone(), headers: parts.headers.clone(), body });
    if let Some(act) = served.script.get_mut(&line).and_then(Vec::pop) {
        return perform(act);
    }
    let given = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    if served.token.as_ref().is_some_and(|token| given != Some(&*format!("Bearer {token}"))) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(bytes) = served.files.get(parts.uri.path().trim_start_matches('/')) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let etag = format!("\"{}\"", Sha256Digest::of(bytes).hex());
    if parts.headers.get("if-none-match").is_some_and(|value| value.as_bytes() == etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([("etag", etag)], bytes.clone()).into_response()
}

fn perform(act: Act) -> Response {
    let chunk = |bytes: Vec<u8>| Ok::<_, std::io::Error>(Bytes::from(bytes));
    match act {
        Act::Answer(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Act::BreakAfter(bytes) => {
            let broken = Err(std::io::Error::other("cut"));
            Body::from_stream(futures_util::stream::iter([chunk(bytes), broken])).into_response()
        }
        Act::Unannounced(bytes) => {
            let chunks: Vec<_> = bytes.chunks(1000).map(|part| chunk(part.to_vec())).collect();
            Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }
        Act::Drip(bytes) => {
            let bytes = bytes.into_iter().map(move |byte| chunk(vec![byte]));
            Body::from_stream(futures_util::stream::iter(bytes)).into_response()
        }
    }
}
