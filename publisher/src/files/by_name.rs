//! A file that changes, as it was at one moment: whole, with a weak tag, because it may be compressed on the way.
//!
//! Owns: its bytes and headers, in both encodings, made once however often it is answered.

use std::{io::Write, sync::OnceLock};

use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use drystone_schemas::layout;
use drystone_storage::{Key, Tag};
use flate2::{Compression, write::GzEncoder};

use super::{
    COMPRESSED_BYTES_MIN,
    conditions::{names_tag, takes_gzip},
    describe, is_compressible,
};

pub(super) struct File {
    pub(super) bytes: Bytes,
    etag: String,
    headers: HeaderMap,
    /// What an answer without a body says.
    unmodified: HeaderMap,
    /// Whether it is worth compressing.
    compressible: bool,
    gzip: OnceLock<Bytes>,
}

impl File {
    pub(super) fn new(key: &Key, tag: &Tag, bytes: Bytes) -> Self {
        let (class, content_type) = layout::headers(key.as_str());
        let (etag, mut headers) = (format!("W/\"{}\"", tag.0), HeaderMap::new());
        describe(&mut headers, &etag, content_type, class);
        let compressible =
            bytes.len() >= usize::from(COMPRESSED_BYTES_MIN) && is_compressible(content_type.as_bytes());
        if compressible {
            headers.insert(header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING));
        }
        let kept = [header::ETAG, header::CACHE_CONTROL, header::VARY];
        let unmodified =
            kept.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect();
        Self { bytes, etag, headers, unmodified, compressible, gzip: OnceLock::new() }
    }

    /// What it takes to keep it, in bytes.
    pub(super) fn cost(&self) -> usize {
        // What is compressed is shorter than what is not.
        if self.compressible { 2 * self.bytes.len() } else { self.bytes.len() }
    }

    /// The answer to a request with these headers.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response<Bytes> {
        if names_tag(asked, &self.etag) {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().clone_from(&self.unmodified);
            return response;
        }
        if self.compressible && takes_gzip(asked) {
            let mut response = Response::new(self.gzip.get_or_init(|| compressed(&self.bytes)).clone());
            response.headers_mut().clone_from(&self.headers);
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return response;
        }
        let mut response = Response::new(self.bytes.clone());
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

fn compressed(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map(Bytes::from)
        .expect("nothing fails that is written to memory")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn one_file_in_two_encodings() {
        let text = "{\"name\":\"a\"}\n".repeat(100);
        let file = File::new(&Key::new("index/1/a").unwrap(), &Tag("t".into()), text.clone().into());
        let ask = |name: header::HeaderName, value| {
            file.answer(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
        };
        let plain = file.answer(&HeaderMap::new());
        assert_eq!((plain.status(), &plain.body()[..]), (StatusCode::OK, text.as_bytes()));
        let packed = ask(header::ACCEPT_ENCODING, "deflate, gzip");
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed.body()[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        let unmodified = ask(header::IF_NONE_MATCH, "W/\"t\"");
        assert_eq!((unmodified.status(), unmodified.body().len()), (StatusCode::NOT_MODIFIED, 0));
        for response in [&plain, &packed, &unmodified] {
            assert_eq!(response.headers()[header::ETAG], "W/\"t\"");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
        let short = File::new(&Key::new("index/1/a").unwrap(), &Tag("t".into()), "{}".into());
        let asked = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert_eq!(short.answer(&asked).headers().get(header::CONTENT_ENCODING), None);
    }
}
