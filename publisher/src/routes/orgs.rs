//! Organisations over HTTP: `/api/v1/orgs/...`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use drystone_schemas::{Code, MemberRequest, NewOrgRequest, WriteResponse};

use super::{App, bearer, language::small_json, path_text};
use crate::{Refusal, Service};

type Org = Result<Path<String>, PathRejection>;
type OfOrg = Result<Path<(String, String)>, PathRejection>;
type OfTeam = Result<Path<(String, String, String)>, PathRejection>;

/// The routes.
pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/api/v1/orgs", post(make))
        .route("/api/v1/orgs/{org}", get(show))
        .route("/api/v1/orgs/{org}/join", post(join))
        .route("/api/v1/orgs/{org}/members/{login}", put(set).delete(remove))
        .route("/api/v1/orgs/{org}/teams/{team}", put(make_team).delete(end_team))
        .route("/api/v1/orgs/{org}/teams/{team}/members/{login}", put(add_to_team).delete(remove_from_team))
}

fn done(msg: String) -> Response {
    Json(WriteResponse { ok: true, msg, seq: None }).into_response()
}

fn of_team(at: OfTeam) -> Result<(String, String, String), Refusal> {
    at.map(|Path(at)| at).map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))
}

async fn make_team(State(service): App, at: OfOrg, headers: HeaderMap) -> Result<Response, Refusal> {
    let (org, team) = of_org(at)?;
    Ok(done(service.make_team(&bearer(&headers)?, &org, &team).await?))
}

async fn end_team(State(service): App, at: OfOrg, headers: HeaderMap) -> Result<Response, Refusal> {
    let (org, team) = of_org(at)?;
    Ok(done(service.end_team(&bearer(&headers)?, &org, &team).await?))
}

async fn add_to_team(State(service): App, at: OfTeam, headers: HeaderMap) -> Result<Response, Refusal> {
    let (org, team, login) = of_team(at)?;
    Ok(done(service.add_to_team(&bearer(&headers)?, &org, &team, &login).await?))
}

async fn remove_from_team(State(service): App, at: OfTeam, headers: HeaderMap) -> Result<Response, Refusal> {
    let (org, team, login) = of_team(at)?;
    Ok(done(service.remove_from_team(&bearer(&headers)?, &org, &team, &login).await?))
}

fn of_org(at: OfOrg) -> Result<(String, String), Refusal> {
    at.map(|Path(at)| at).map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))
}

async fn make(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    let NewOrgRequest { name } = small_json(&service, request).await?;
    Ok((StatusCode::CREATED, Json(service.make_org(&token, &name).await?)).into_response())
}

async fn show(State(service): App, org: Org, headers: HeaderMap) -> Result<Response, Refusal> {
    let token = match bearer(&headers) {
        Ok(token) => Some(token),
        Err(refusal) if refusal.problems[0].code == Code::TokenMissing => None,
        Err(refusal) => return Err(refusal),
    };
    Ok(Json(service.show_org(token.as_ref(), &path_text(org)?).await?).into_response())
}

async fn join(State(service): App, org: Org, headers: HeaderMap) -> Result<Response, Refusal> {
    Ok(done(service.join_org(&bearer(&headers)?, &path_text(org)?).await?))
}

async fn set(State(service): App, at: OfOrg, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    let (org, login) = of_org(at)?;
    let MemberRequest { role } = small_json(&service, request).await?;
    Ok(done(service.set_member(&token, &org, &login, role).await?))
}

async fn remove(State(service): App, at: OfOrg, headers: HeaderMap) -> Result<Response, Refusal> {
    let (org, login) = of_org(at)?;
    Ok(done(service.remove_member(&bearer(&headers)?, &org, &login).await?))
}
