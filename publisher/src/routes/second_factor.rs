//! The second factor over HTTP: `/api/v1/users/me/second-factor`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use drystone_schemas::{ConfirmSecondFactorRequest, NewSecondFactorRequest, SecondFactorRequest};

use super::{
    App,
    auth::{done, unkept},
    bearer,
    language::small_json,
};
use crate::{Refusal, Service};

/// The routes.
pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/api/v1/users/me/second-factor", get(show).post(begin).delete(end))
        .route("/api/v1/users/me/second-factor/confirm", post(confirm))
        .route("/api/v1/users/me/second-factor/recovery-codes", post(renew))
        .layer(map_response(unkept))
}

async fn show(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    let record = service.admit(&bearer(&headers)?).await?;
    Ok(Json(service.second_factor(&record.account).await?).into_response())
}

async fn begin(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let NewSecondFactorRequest { password } = small_json(&service, request).await?;
    let begun = service.begin_second_factor(&token, &password).await?;
    Ok((StatusCode::CREATED, Json(begun)).into_response())
}

async fn confirm(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let ConfirmSecondFactorRequest { code } = small_json(&service, request).await?;
    Ok(Json(service.confirm_second_factor(&token, &code).await?).into_response())
}

async fn renew(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let SecondFactorRequest { password, code } = small_json(&service, request).await?;
    Ok(Json(service.renew_recovery_codes(&token, &password, &code).await?).into_response())
}

async fn end(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let SecondFactorRequest { password, code } = small_json(&service, request).await?;
    service.end_second_factor(&token, &password, &code).await?;
    Ok(done("signing in takes the password alone"))
}
