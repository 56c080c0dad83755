//! Who may read: anybody, or whoever has a token.
//!
//! Owns the check in front of every read, and the address where a web server asks for it. Does not own what a token is
//! or who may change something; those addresses look at their token themselves.
//! Invariant: where reads need a token, the token is looked up for each of them, so that revoking it ends them at once,
//! and no cache may keep an answer.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use drystone_schemas::ReadAccess;

use super::{App, bearer, cargo::in_cargos_words};

/// What anybody may read everywhere: whether the process lives, where tokens come from, and what sessions are signed with.
const OPEN: [&str; 8] = [
    "/healthz",
    "/health",
    "/readyz",
    "/me",
    "/device",
    "/device/provider",
    "/device/signed-in",
    "/api/v1/auth/keys",
];
/// Keeps every cache, shared or not, from keeping an answer (RFC 9111 section 5.2.2).
const UNKEPT: HeaderValue = HeaderValue::from_static("private, no-store");

/// Lets a read pass if its sender may read. The settings are those of a few seconds ago at most.
pub(super) async fn guard(State(service): App, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match service.recent_settings().await.reads {
        ReadAccess::Public => next.run(request).await,
        ReadAccess::Token => {
            let token = bearer(request.headers());
            let is_cargo = request
                .headers()
                .get(header::USER_AGENT)
                .is_some_and(|by| by.as_bytes().starts_with(b"cargo/"));
            if let Err(refusal) = async { service.admit(&token?).await }.await {
                let url = &service.settings().public_url;
                return if is_cargo { in_cargos_words(&refusal, url) } else { refusal }.into_response();
            }
            let mut response = next.run(request).await;
            response.headers_mut().insert(header::CACHE_CONTROL, UNKEPT);
            response
        }
    }
}

/// `GET /api/v1/registry/access`: 204 if the request's sender may read, for web servers that serve the files.
pub(super) async fn granted() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, UNKEPT)]).into_response()
}
