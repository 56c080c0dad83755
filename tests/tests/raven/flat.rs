//! Archives as languages' own tools pack them, and uploads of them.

use axum::{
    body::Body,
    http::{Request, header},
};
use drystone_tests::{Answer, TestRegistry};
use flate2::{Compression, write::GzEncoder};

/// A gzip-compressed tar archive without a root directory, in the order given, with a time in its headers.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_760_000_000);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Sends a multipart body with a token.
pub(crate) async fn published_with(
    registry: &TestRegistry,
    token: &str,
    path: &str,
    (content_type, body): (String, Vec<u8>),
) -> Answer {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::ACCEPT, "*/*");
    registry.send(request.body(Body::from(body)).unwrap()).await
}
