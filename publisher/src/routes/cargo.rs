//! Cargo's web API: publish, yank, owners, search, and the page that `cargo login` names.
//!
//! Owns: Cargo's addresses, its bodies and the wording of its refusals. Does not own: what a publish, a yank or a
//! change of owners is; those are the handlers of the native API. Format: the Cargo book, "Web API", and what cargo
//! 1.95 was seen to send.

mod body;
mod metadata;
mod publish;
mod search;
mod wording;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::header,
    middleware::map_response_with_state,
    response::{IntoResponse, Response},
    routing::{delete, get, put},
};
use drystone_schemas::{Code, PackageName, Version, layout};

use super::{App, change, read, target::Target};
use crate::{Refusal, Service};
pub(super) use search::{Names, find};
pub(super) use wording::in_cargos_words;

/// The routes of Cargo's web API.
pub(super) fn router(service: &Arc<Service>) -> Router<Arc<Service>> {
    let names = Arc::new(Names::default());
    Router::new()
        .route("/api/v1/crates", get(move |service, query| search::search(service, query, names)))
        .route("/api/v1/crates/new", put(publish::publish))
        .route("/api/v1/crates/{name}/owners", get(owners).put(add_owners).delete(remove_owners))
        .route("/api/v1/crates/{name}/{version}/yank", delete(yank))
        .route("/api/v1/crates/{name}/{version}/unyank", put(unyank))
        .layer(map_response_with_state(service.clone(), wording::reword))
        .route("/me", get(me))
}

type Name = Result<Path<String>, PathRejection>;
type Release = Result<Path<(String, String)>, PathRejection>;

fn malformed(rejection: &PathRejection) -> Refusal {
    Refusal::code(Code::MalformedRequest, rejection.body_text())
}

fn package(name: String) -> Result<Target, Refusal> {
    let name = PackageName::new(name).map_err(|e| Refusal::code(Code::InvalidName, e.to_string()))?;
    Ok(Target { name, version: None, verb: Vec::new() })
}

fn package_at(path: Name) -> Result<Target, Refusal> {
    let Path(name) = path.map_err(|e| malformed(&e))?;
    package(name)
}

fn release_at(path: Release) -> Result<Target, Refusal> {
    let Path((name, version)) = path.map_err(|e| malformed(&e))?;
    let version = Version::new(&version).map_err(|e| Refusal::code(Code::InvalidVersion, e.to_string()))?;
    Ok(Target { version: Some(version), ..package(name)? })
}

async fn yank(State(service): App, at: Release, request: Request) -> Result<Response, Refusal> {
    change::yank(&service, &release_at(at)?, request).await
}

async fn unyank(State(service): App, at: Release, request: Request) -> Result<Response, Refusal> {
    change::unyank(&service, &release_at(at)?, request).await
}

async fn owners(State(service): App, at: Name) -> Result<Response, Refusal> {
    read::owners(&service, &package_at(at)?).await
}

async fn add_owners(State(service): App, at: Name, request: Request) -> Result<Response, Refusal> {
    change::add_owners(&service, &package_at(at)?, request).await
}

async fn remove_owners(State(service): App, at: Name, request: Request) -> Result<Response, Refusal> {
    change::remove_owners(&service, &package_at(at)?, request).await
}

/// `GET /me`: where `cargo login` sends people.
async fn me(State(service): App) -> Response {
    let settings = service.settings();
    let text = format!(
        "Tokens of the registry `{}` at {}\n\n\
         Sign in, and let the registry make one:\n\n\
         \x20   drystone login --registry {}\n\n\
         Or its operator makes them, at the machine that holds the registry:\n\n\
         \x20   drystone admin token --login YOU > token\n\n\
         Give yours to cargo, under the name that the registry has in your .cargo/config.toml:\n\n\
         \x20   cargo login --registry NAME < token\n",
        settings.name, settings.public_url, settings.public_url
    );
    let headers = [
        (header::CONTENT_TYPE, layout::TEXT),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
