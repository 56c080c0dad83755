//! Serving the public area: what a web server does with the directory, for `serve` on a laptop and for buckets.
//!
//! ETag, 304, Range, HEAD, and `Content-Type` and `Cache-Control` by the class of the key. Small text files are
//! compressed: those that are kept once, others by the layer around the router.

mod by_name;
mod conditions;
mod immutable;
mod kept;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::map_response,
    response::Response,
};
use bytes::Bytes;
use drystone_schemas::layout::{self, CacheClass};
use drystone_storage::{Area, Clock, Key};
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
/// Shortest body that is worth compressing, in bytes.
const COMPRESSED_BYTES_MIN: u16 = 256;
/// Digest of a whole file (RFC 9530).
const REPR_DIGEST: header::HeaderName = header::HeaderName::from_static("repr-digest");

/// What may be asked for; everything else in the area is nobody's business.
const PUBLIC_FOLDERS: [&str; 7] = ["index/", "resolve/", "o/", "packages/", "keys/", "aliases/", "log/"];

/// The files of a public area, and what is kept of them.
#[derive(Clone)]
pub struct PublicFiles(Arc<Files>);

struct Files {
    public: Arc<dyn Area>,
    kept: KeptFiles,
}

impl PublicFiles {
    /// The files of this area, with nothing kept yet.
    pub fn new(public: Arc<dyn Area>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Files { public, kept: KeptFiles::new(clock) }))
    }

    /// Serves them.
    pub fn router(&self) -> Router {
        let compressible = SizeAbove::new(COMPRESSED_BYTES_MIN).and(
            |_: StatusCode, _: axum::http::Version, headers: &HeaderMap, _: &axum::http::Extensions| {
                let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
                is_compressible(content_type.unwrap_or_default())
            },
        );
        Router::new()
            .fallback(serve)
            .layer(CompressionLayer::new().gzip(true).compress_when(compressible))
            .layer(map_response(weaken_tag))
            .with_state(self.clone())
    }

    /// The answer to a request for a file that is kept, and of which the store says without a wait that it is still the
    /// same; none where the router must see to it. It is the answer that the router would give.
    pub(crate) fn at_once(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<axum::http::Response<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        // Only what the router has served before is kept, so the path is one that may be asked for.
        let file = self.0.kept.at_once(&*self.0.public, path.strip_prefix('/')?)?;
        Some(file.answer(headers))
    }
}

fn is_compressible(content_type: &[u8]) -> bool {
    content_type.starts_with(b"text/") || content_type == layout::JSON.as_bytes()
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

async fn serve(State(PublicFiles(files)): State<PublicFiles>, request: Request) -> Result<Response, Refusal> {
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
    if class == CacheClass::Immutable {
        let answer = immutable::serve(&*files.public, &key, content_type, request.headers()).await?;
        return answer.ok_or_else(missing);
    }
    let file = files.kept.read(&*files.public, &key, BY_NAME_BYTES_MAX).await?.ok_or_else(missing)?;
    Ok(file.answer(request.headers()).map(Body::from))
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
