//! Accounts and tokens over HTTP: `/api/v1/auth/...`, `/api/v1/users/...` and reports of leaked tokens.
//!
//! Owns: addresses and bodies. Does not own: what they do, which is in `accounts`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use drystone_schemas::{
    Code, DeleteAccountRequest, EventId, LeakedToken, LoginRequest, LogoutRequest, NewTokenRequest,
    PasswordChangeRequest, PasswordResetRequest, PasswordSetRequest, RefreshRequest, RegisterRequest,
    SecurityEventsResponse, TokensResponse, VerifyRequest, WriteResponse, layout,
};

use super::{App, bearer, language::small_json, path_text};
use crate::{Refusal, Service, limits::address_of, vault};

type Text = Result<Path<String>, PathRejection>;

/// The routes.
pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/api/v1/auth/register", post(register))
        .route("/api/v1/auth/login", post(login))
        .route("/api/v1/auth/refresh", post(refresh))
        .route("/api/v1/auth/logout", post(logout))
        .route("/api/v1/auth/verify", post(verify))
        .route("/api/v1/auth/verify/send", post(send_verification))
        .route("/api/v1/auth/password/change", post(change_password))
        .route("/api/v1/auth/password/reset", post(ask_reset))
        .route("/api/v1/auth/password/set", post(set_password))
        .route("/api/v1/users/me", get(user).delete(delete_user))
        .route("/api/v1/users/me/tokens", get(tokens).post(new_token))
        .route("/api/v1/users/me/tokens/{id}", axum::routing::delete(revoke))
        .route("/api/v1/users/me/tokens/{id}/rotate", post(rotate))
        .route("/api/v1/users/me/events", get(events))
        .route("/api/v1/secret-scanning/reports", post(leaked))
        .layer(map_response(unkept))
        .route("/api/v1/auth/keys", get(keys))
        .route("/api/v1/users/{login}", get(public_user))
}

/// What is about one account is for nobody's cache.
pub(super) async fn unkept(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Who a request came from.
pub(super) fn address(request: &Request) -> Option<IpAddr> {
    address_of(request.extensions(), request.headers())
}

pub(super) fn done(msg: &str) -> Response {
    Json(WriteResponse { ok: true, msg: msg.into(), seq: None }).into_response()
}

async fn register(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let asked: RegisterRequest = match service.recent_settings().await.registration {
        drystone_schemas::Registration::Open => small_json(&service, request).await?,
        drystone_schemas::Registration::Closed => return Err(super::language::no_registration()),
    };
    Ok((StatusCode::CREATED, Json(service.register(&asked, from).await?)).into_response())
}

async fn login(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let asked: LoginRequest = small_json(&service, request).await?;
    Ok(Json(service.sign_in(&asked, from).await?).into_response())
}

async fn refresh(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let RefreshRequest { refresh_token } = small_json(&service, request).await?;
    Ok(Json(service.refresh(&refresh_token, from).await?).into_response())
}

async fn logout(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    let has_body = super::publish::content_length(request.headers()).is_some_and(|length| length > 0);
    let LogoutRequest { everywhere } =
        if has_body { small_json(&service, request).await? } else { LogoutRequest::default() };
    service.sign_out(&token, everywhere).await?;
    Ok(done("signed out"))
}

async fn verify(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let VerifyRequest { token } = small_json(&service, request).await?;
    service.verify_email(&token, from).await?;
    Ok(done("the address is verified"))
}

async fn send_verification(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    service.send_verification(&bearer(&headers)?).await?;
    Ok((StatusCode::ACCEPTED, done("if the address is not verified yet, a mail is on its way"))
        .into_response())
}

async fn change_password(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let asked: PasswordChangeRequest = small_json(&service, request).await?;
    service.change_password(&token, &asked).await?;
    Ok(done("the password is changed; every other session has ended"))
}

async fn ask_reset(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let PasswordResetRequest { username } = small_json(&service, request).await?;
    service.ask_reset(&username, from).await?;
    let msg = "if there is such an account with a verified address, a mail is on its way";
    Ok((StatusCode::ACCEPTED, done(msg)).into_response())
}

async fn set_password(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let PasswordSetRequest { token, new_password } = small_json(&service, request).await?;
    service.reset_password(&token, &new_password, from).await?;
    Ok(done("the password is set; every session has ended"))
}

async fn user(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    let record = service.admit(&bearer(&headers)?).await?;
    let account = vault::read_account(&*service.core.store.vault, &record.account).await?;
    let account = account.ok_or_else(|| Refusal::code(Code::AccountNotFound, "the account is gone"))?;
    Ok(Json(account.to_user()).into_response())
}

async fn delete_user(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let asked: DeleteAccountRequest = small_json(&service, request).await?;
    service.delete_account(&token, &asked).await?;
    Ok(done("the account is deleted; what it published stays"))
}

async fn tokens(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    let record = service.admit(&bearer(&headers)?).await?;
    Ok(Json(TokensResponse { tokens: service.tokens_of(&record.account).await? }).into_response())
}

async fn new_token(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let asked: NewTokenRequest = small_json(&service, request).await?;
    Ok((StatusCode::CREATED, Json(service.new_token(&token, &asked).await?)).into_response())
}

fn token_id(text: Text) -> Result<EventId, Refusal> {
    let text = path_text(text)?;
    let shown: String = text.chars().take(40).collect();
    EventId::new(text)
        .map_err(|_| Refusal::code(Code::TokenNotFound, format!("the account has no token `{shown}`")))
}

async fn revoke(State(service): App, id: Text, headers: HeaderMap) -> Result<Response, Refusal> {
    let token = bearer(&headers)?;
    let record = service.admit(&token).await?;
    let id = token_id(id)?;
    // A tool may give its own token back; for others it takes a session.
    if record.id.as_ref() != Some(&id) {
        service.session_of(&token).await?;
    }
    service.revoke_by_id(&record.account, &id).await?;
    Ok(done("the token is revoked"))
}

async fn rotate(State(service): App, id: Text, headers: HeaderMap) -> Result<Response, Refusal> {
    let token = bearer(&headers)?;
    service.session_of(&token).await?;
    Ok((StatusCode::CREATED, Json(service.rotate(&token, &token_id(id)?).await?)).into_response())
}

async fn events(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    let record = service.admit(&bearer(&headers)?).await?;
    let events = service.security_events(&record.account).await?;
    Ok(Json(SecurityEventsResponse { events }).into_response())
}

async fn leaked(State(service): App, request: Request) -> Result<Response, Refusal> {
    service.core.take_for_address(crate::limits::ATTEMPTS, address(&request)).await?;
    let reports: Vec<LeakedToken> = small_json(&service, request).await?;
    let texts: Vec<_> = reports.into_iter().map(|report| report.token).collect();
    Ok(Json(service.leaked(&texts).await?).into_response())
}

async fn public_user(State(service): App, login: Text) -> Result<Response, Refusal> {
    Ok(Json(service.public_user(&path_text(login)?).await?).into_response())
}

/// The public keys that sessions are signed with, for edges that check them (RFC 7517).
async fn keys(State(service): App) -> Result<Response, Refusal> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(layout::JSON)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    Ok((headers, service.core.keys().await?.to_jwks().to_string()).into_response())
}
