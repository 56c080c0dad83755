//! Cargo's web API: the real cargo against the real server, and bodies that no cargo would send.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bodies;
mod cargo;
mod commands;
mod crashes;
mod crowds;
mod disagreements;
mod edges;
mod fetching;
mod imports;
mod life;
mod mirrors;
mod private;
mod proxy;
mod real_index;
mod searching;
mod transcript;
mod workspaces;

use axum::{
    body::Body,
    http::{Request, header},
};
use drystone_tests::{Answer, Pkg, TestRegistry};
use serde_json::{Value, json};

/// Cargo's frame around metadata and archive.
fn frame(metadata: &str, archive: &[u8]) -> Vec<u8> {
    let mut body = (metadata.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(metadata.as_bytes());
    body.extend_from_slice(&(archive.len() as u32).to_le_bytes());
    body.extend_from_slice(archive);
    body
}

/// The metadata that cargo would send for a package without dependencies and features.
fn metadata_of(package: &Pkg) -> Value {
    json!({
        "name": package.name, "vers": package.vers, "deps": [], "features": {}, "authors": [],
        "description": "a package of a test", "documentation": null, "homepage": null, "readme": null,
        "readme_file": null, "keywords": [], "categories": [], "license": "MIT", "license_file": null,
        "repository": null, "badges": {}, "links": null, "rust_version": null,
    })
}

/// The whole body that cargo would send for it.
fn body_of(package: &Pkg) -> Vec<u8> {
    frame(&metadata_of(package).to_string(), &package.archive())
}

/// Sends a publish as cargo does: a bare token, no content type, and the length if it is known.
async fn put(registry: &TestRegistry, token: &str, len: Option<u64>, body: Body) -> Answer {
    let mut request = Request::put("/api/v1/crates/new").header(header::AUTHORIZATION, token);
    if let Some(len) = len {
        request = request.header(header::CONTENT_LENGTH, len);
    }
    registry.send(request.body(body).unwrap()).await
}

/// Sends these bytes, with their length.
async fn put_bytes(registry: &TestRegistry, body: Vec<u8>) -> Answer {
    put(registry, &registry.admin, Some(body.len() as u64), Body::from(body)).await
}
