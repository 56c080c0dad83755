//! Immutable files: as a stream, whole or in part.
//!
//! Invariant: an immutable file's path is as good as a hash of its bytes, and so is its tag.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use drystone_schemas::layout::{self, CacheClass};
use drystone_storage::{Area, Key};
use futures_util::StreamExt;

use super::{
    REPR_DIGEST,
    conditions::{RangeAsked, if_range_holds, names_tag, parse_range},
    describe, insert,
};
use crate::Refusal;

/// Bytes that tell an archive from JSON and from text.
const SNIFFED_BYTES: u64 = 8;

/// Answers with the file, if it is there.
pub(super) async fn serve(
    public: &dyn Area,
    key: &Key,
    content_type: &'static str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Refusal> {
    let etag = format!("\"{}\"", key.as_str().rsplit_once("log/").map_or(key.as_str(), |(_, rest)| rest));
    if names_tag(headers, &etag) {
        // Only a file that is there has a tag to be asked about; yet the caller may have made it up.
        return Ok(public.stat(key).await?.map(|_| not_modified(&etag)));
    }
    let asked = headers.get(header::RANGE).filter(|_| if_range_holds(headers, &etag));
    let (range, total) = match asked {
        None => (None, None),
        Some(value) => {
            let Some(stat) = public.stat(key).await? else { return Ok(None) };
            match parse_range(value, stat.len) {
                RangeAsked::Whole => (None, None),
                RangeAsked::Part(range) => (Some(range), Some(stat.len)),
                RangeAsked::Unsatisfiable => return Ok(Some(unsatisfiable(stat.len))),
            }
        }
    };
    let Some(reader) = public.open(key, range.clone()).await? else { return Ok(None) };
    let len = range.as_ref().map_or(reader.len, |range| range.end - range.start);
    let mut stream = reader.stream.peekable();
    let mut content_type = content_type;
    if content_type == layout::GZIP {
        // A part tells of its own bytes only: what the whole is, its first bytes tell.
        let mut beginning = match &range {
            None => None,
            Some(_) => public.open(key, Some(0..SNIFFED_BYTES)).await?.map(|reader| reader.stream.peekable()),
        };
        let first = std::pin::Pin::new(beginning.as_mut().unwrap_or(&mut stream)).peek().await;
        content_type = first.and_then(|chunk| chunk.as_ref().ok()).map_or(content_type, |chunk| sniff(chunk));
    }
    let mut response = Response::new(Body::from_stream(stream));
    let sent = response.headers_mut();
    sent.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    sent.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    describe(sent, &etag, content_type, CacheClass::Immutable);
    if let Some(digest) = repr_digest(key) {
        insert(sent, REPR_DIGEST, &digest);
    }
    if let (Some(range), Some(total)) = (range, total) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        insert(response.headers_mut(), header::CONTENT_RANGE, &content_range);
    }
    Ok(Some(response))
}

/// `Repr-Digest` of an object, which is its name (RFC 9530 section 3).
fn repr_digest(key: &Key) -> Option<String> {
    let bytes = hex::decode(key.as_str().strip_prefix("o/")?).ok()?;
    Some(format!("sha-256=:{}:", STANDARD.encode(bytes)))
}

/// Objects are archives, JSON, or index files; their first bytes tell.
fn sniff(bytes: &[u8]) -> &'static str {
    match bytes.get(..2) {
        Some([0x1f, 0x8b]) => layout::GZIP,
        Some([b'{', b'"']) if !bytes.starts_with(b"{\"name\"") => layout::JSON,
        Some([b'"', _]) => layout::JSON,
        _ => layout::TEXT,
    }
}

fn not_modified(etag: &str) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    insert(response.headers_mut(), header::ETAG, etag);
    let cache_control = HeaderValue::from_static(CacheClass::Immutable.cache_control());
    response.headers_mut().insert(header::CACHE_CONTROL, cache_control);
    response
}

fn unsatisfiable(len: u64) -> Response {
    let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{len}"));
    response
}
