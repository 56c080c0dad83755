//! Serving the public area: what a web server does with the directory, for `serve` on a laptop and for buckets.
//!
//! ETag, 304, Range, HEAD, and `Content-Type` and `Cache-Control` by the class of the key. Small text files are
//! compressed by the layer around this router.

mod kept;

use std::{ops::Range, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use drystone_schemas::layout::{self, CacheClass};
use drystone_storage::{Area, Key, Tag};
use futures_util::StreamExt;
use tower_http::compression::{
    CompressionLayer,
    predicate::{Predicate, SizeAbove},
};

use self::kept::KeptFiles;
use crate::{
    Refusal,
    routes::{no_such_route, only_allowed},
};

/// Longest by-name file that is served, in bytes.
const BY_NAME_BYTES_MAX: u64 = 64 << 20;
/// Bytes that tell an archive from JSON and from text.
const SNIFFED_BYTES: u64 = 8;
/// Digest of a whole file (RFC 9530).
const REPR_DIGEST: header::HeaderName = header::HeaderName::from_static("repr-digest");

/// What may be asked for; everything else in the area is nobody's business.
const PUBLIC_FOLDERS: [&str; 5] = ["index/", "o/", "packages/", "aliases/", "log/"];

/// A public area, and what is kept of it.
struct Files {
    public: Arc<dyn Area>,
    kept: KeptFiles,
}

/// Serves the files of a public area.
pub fn file_router(public: Arc<dyn Area>) -> Router {
    let compressible = SizeAbove::new(256).and(
        |_: StatusCode, _: axum::http::Version, headers: &HeaderMap, _: &axum::http::Extensions| {
            let content_type =
                headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            content_type.starts_with(b"text/") || content_type == layout::JSON.as_bytes()
        },
    );
    let files = Arc::new(Files { public, kept: KeptFiles::default() });
    Router::new()
        .fallback(serve)
        .layer(CompressionLayer::new().gzip(true).compress_when(compressible))
        .layer(map_response(weaken_tag))
        .with_state(files)
}

/// What was compressed on the way has other bytes: its tag is no longer one that a part could be asked for with
/// (RFC 9110 sections 8.8.1 and 13.1.5), and its digest another (RFC 9530 section 3).
async fn weaken_tag(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    headers.remove(REPR_DIGEST);
    let strong =
        headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
    if let Some(weak) = strong.map(|tag| format!("W/{tag}")) {
        insert(headers, header::ETAG, &weak);
    }
    response
}

async fn serve(State(files): State<Arc<Files>>, request: Request) -> Result<Response, Refusal> {
    let asked = request.uri().path();
    let path = asked.strip_prefix('/').unwrap_or(asked);
    let missing = || no_such_route(asked);
    let known = [layout::CONFIG, layout::ALIASES, layout::HEALTH].contains(&path)
        || (path.starts_with(layout::API) && path.ends_with("/index.json"))
        || PUBLIC_FOLDERS.iter().any(|folder| path.starts_with(folder));
    let hidden = path.split('/').any(|segment| segment.starts_with('.'));
    let key = Key::new(path).ok().filter(|_| known && !hidden).ok_or_else(missing)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(only_allowed(request.method(), "GET, HEAD"));
    }
    let (class, content_type) = layout::headers(path);
    let response = if class == CacheClass::Immutable {
        serve_immutable(&*files.public, &key, content_type, request.headers()).await?
    } else {
        serve_by_name(&files, &key, content_type, class, request.headers()).await?
    };
    response.ok_or_else(missing)
}

/// An immutable file: its path is as good as a hash of its bytes.
async fn serve_immutable(
    public: &dyn Area,
    key: &Key,
    content_type: &'static str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Refusal> {
    let etag = format!("\"{}\"", key.as_str().rsplit_once("log/").map_or(key.as_str(), |(_, rest)| rest));
    if matches(headers, header::IF_NONE_MATCH, &etag) {
        // Only a file that is there has a tag to be asked about; yet the caller may have made it up.
        return Ok(public.stat(key).await?.map(|_| not_modified(&etag, CacheClass::Immutable)));
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

/// A file that changes: whole, with a weak tag, because it may be compressed on the way.
async fn serve_by_name(
    files: &Files,
    key: &Key,
    content_type: &'static str,
    class: CacheClass,
    headers: &HeaderMap,
) -> Result<Option<Response>, Refusal> {
    let described = |tag: &Tag| {
        let (etag, mut headers) = (format!("W/\"{}\"", tag.0), HeaderMap::new());
        describe(&mut headers, &etag, content_type, class);
        (etag, headers)
    };
    let file = files.kept.read(&*files.public, key, BY_NAME_BYTES_MAX, described).await?;
    let Some(file) = file else { return Ok(None) };
    if matches(headers, header::IF_NONE_MATCH, &file.etag) {
        return Ok(Some(not_modified(&file.etag, class)));
    }
    let mut response = Response::new(Body::from(file.bytes.clone()));
    response.headers_mut().clone_from(&file.headers);
    Ok(Some(response))
}

fn describe(headers: &mut HeaderMap, etag: &str, content_type: &'static str, class: CacheClass) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(class.cache_control()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    insert(headers, header::ETAG, etag);
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn not_modified(etag: &str, class: CacheClass) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    insert(response.headers_mut(), header::ETAG, etag);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(class.cache_control()));
    response
}

fn unsatisfiable(len: u64) -> Response {
    let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{len}"));
    response
}

/// Whether a list of entity tags names this one, by weak comparison (RFC 9110 section 8.8.3.2).
fn matches(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let asked = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    asked.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == opaque(etag))
}

/// `If-Range` takes strong tags only (RFC 9110 section 13.1.5); a date never matches.
fn if_range_holds(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

/// What a `Range` header comes to for a file of this length.
#[derive(Debug, PartialEq, Eq)]
enum RangeAsked {
    /// Not a single byte range: served whole, which is always allowed.
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Reads a single byte range (RFC 9110 section 14.1.2).
fn parse_range(value: &HeaderValue, len: u64) -> RangeAsked {
    let spec = value.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes="));
    let Some((first, last)) = spec.filter(|spec| !spec.contains(',')).and_then(|spec| spec.split_once('-'))
    else {
        return RangeAsked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim().is_empty(), number(first), last.trim().is_empty(), number(last)) {
        (true, _, false, Some(suffix)) if suffix > 0 && len > 0 => {
            RangeAsked::Part(len.saturating_sub(suffix)..len)
        }
        (true, _, false, Some(_)) => RangeAsked::Unsatisfiable,
        (false, Some(first), true, _) if first < len => RangeAsked::Part(first..len),
        (false, Some(first), false, Some(last)) if first <= last && first < len => {
            RangeAsked::Part(first..len.min(last.saturating_add(1)))
        }
        (false, Some(first), ..) if first >= len => RangeAsked::Unsatisfiable,
        _ => RangeAsked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let parse = |text: &str| parse_range(&HeaderValue::from_str(text).unwrap(), 100);
        assert_eq!(parse("bytes=0-9"), RangeAsked::Part(0..10));
        assert_eq!(parse("bytes=90-"), RangeAsked::Part(90..100));
        assert_eq!(parse("bytes=90-900"), RangeAsked::Part(90..100));
        assert_eq!(parse("bytes=-10"), RangeAsked::Part(90..100));
        assert_eq!(parse("bytes=-1000"), RangeAsked::Part(0..100));
        assert_eq!(parse("bytes=100-"), RangeAsked::Unsatisfiable);
        assert_eq!(parse("bytes=-0"), RangeAsked::Unsatisfiable);
        for whole in ["bytes=0-1,5-6", "lines=0-1", "bytes=5-1", "bytes=a-b", "bytes=-"] {
            assert_eq!(parse(whole), RangeAsked::Whole, "{whole}");
        }
    }

    #[test]
    fn tags_compare_weakly() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"x\", W/\"abc\""));
        assert!(
            matches(&headers, header::IF_NONE_MATCH, "W/\"abc\"")
                && matches(&headers, header::IF_NONE_MATCH, "\"abc\"")
        );
        assert!(!matches(&headers, header::IF_NONE_MATCH, "\"abcd\""));
    }
}
