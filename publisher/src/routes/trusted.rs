//! Trusted publishing over HTTP: publishers of a package, those that wait for one, and the exchange of tokens.
//!
//! Owns: addresses and bodies. Does not own: what they do, which is in `trusted`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use drystone_schemas::{
    AccountId, Code, ExchangeRequest, PackageName, PublisherRequest, PublishersResponse, WriteResponse,
};

use super::{
    App, auth, bearer,
    change::Asked,
    language::small_json,
    path_text,
    read::{find_document, no_package},
    target::Target,
};
use crate::{Action, Refusal, Service};

type Text = Result<Path<String>, PathRejection>;

/// The routes that are not below a package.
pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/api/v1/trusted_publishing/tokens", post(exchange).delete(give_back))
        .route("/api/v1/pending-publishers/{package}", get(pending).post(add_pending))
        .route("/api/v1/pending-publishers/{package}/{id}", axum::routing::delete(remove_pending))
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }))
}

async fn exchange(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = auth::address(&request);
    let asked: ExchangeRequest = small_json(&service, request).await?;
    Ok(Json(service.exchange(&asked, from).await?).into_response())
}

async fn give_back(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    service.give_back(&bearer(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn package(text: Text) -> Result<PackageName, Refusal> {
    PackageName::new(path_text(text)?).map_err(|e| Refusal::code(Code::InvalidName, e.to_string()))
}

fn publisher_id(text: &str) -> Result<AccountId, Refusal> {
    let missing = |_| Refusal::code(Code::PublisherNotFound, "the address names no publisher's id");
    AccountId::new(text).map_err(missing)
}

async fn pending(State(service): App, name: Text, headers: HeaderMap) -> Result<Response, Refusal> {
    let publishers = service.pending_of(&bearer(&headers)?, &package(name)?).await?;
    Ok(Json(PublishersResponse { publishers }).into_response())
}

async fn add_pending(State(service): App, name: Text, request: Request) -> Result<Response, Refusal> {
    let (token, name) = (bearer(request.headers())?, package(name)?);
    let asked: PublisherRequest = small_json(&service, request).await?;
    let publisher = service.add_pending(&token, &name, &asked).await?;
    Ok((StatusCode::CREATED, Json(publisher)).into_response())
}

async fn remove_pending(
    State(service): App,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let token = bearer(&headers)?;
    let Path((name, id)) = path.map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))?;
    let name = PackageName::new(name).map_err(|e| Refusal::code(Code::InvalidName, e.to_string()))?;
    service.remove_pending(&token, &name, &publisher_id(&id)?).await?;
    let msg = format!("nobody waits for `{name}` as `{id}`");
    Ok(Json(WriteResponse { ok: true, msg, seq: None }).into_response())
}

/// The publishers that a package trusts.
pub(super) async fn list(service: &Service, target: &Target) -> Result<Response, Refusal> {
    let document = find_document(service, &target.name).await?.ok_or_else(|| no_package(&target.name))?;
    Ok(Json(PublishersResponse { publishers: document.publishers }).into_response())
}

/// Lets a package trust a publisher.
pub(super) async fn add(service: &Service, target: &Target, request: Request) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    service.admit(&asked.token).await?;
    let pkg = target.name.clone();
    let wanted: PublisherRequest = small_json(service, request).await?;
    let publisher = service.publisher_of(&wanted)?;
    let what = format!("`{pkg}` trusts {}", publisher.identity);
    asked
        .commit(service, Action::PublisherAdd { pkg, publisher: Box::new(publisher) }, Vec::new(), what)
        .await
}

/// Lets it trust a publisher no longer.
pub(super) async fn remove(
    service: &Service,
    target: &Target,
    id: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let (pkg, publisher) = (target.name.clone(), publisher_id(id)?);
    let what = format!("`{pkg}` does not trust `{publisher}`");
    asked.commit(service, Action::PublisherRemove { pkg, publisher }, Vec::new(), what).await
}
