//! Signing in a machine over HTTP: `/api/v1/auth/device...`, and the page where people type its code in.
//!
//! Owns: addresses, bodies, and the page. Does not own: what they do, which is in `accounts`.
//! Invariants: the page keeps nothing, sets no cookie and runs no script: whoever answers there gives a password with the answer, so
//! that no other site can make a browser answer; nothing that came from outside is in it but escaped.

mod provider;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use drystone_schemas::{Code, DeviceAnswer, DeviceTokenRequest, LoginRequest, NewTokenRequest, SecretText};
use html_escape::{encode_double_quoted_attribute, encode_text};
use url::form_urlencoded;

use super::{
    App,
    auth::{address, done, unkept},
    bearer,
    language::small_json,
    publish::{in_time, small_body},
};
use crate::{Refusal, Service, accounts::in_words};

/// Longest form, in bytes.
const FORM_BYTES_MAX: u64 = 8 << 10;
/// The page runs nothing, loads nothing, stands in no frame, and sends its form to this registry alone.
const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The routes.
pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/api/v1/auth/device", post(begin))
        .route("/api/v1/auth/device/token", post(token))
        .route("/api/v1/auth/device/answer", post(answer))
        .route("/device", get(page).post(answer_on_page))
        .merge(provider::router())
        .layer(map_response(unkept))
}

async fn begin(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let asked: NewTokenRequest = small_json(&service, request).await?;
    Ok(Json(service.begin_device(&asked, from).await?).into_response())
}

async fn token(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let DeviceTokenRequest { device_code } = small_json(&service, request).await?;
    Ok(Json(service.poll_device(&device_code, from).await?).into_response())
}

async fn answer(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.session_of(&token).await?;
    let answer: DeviceAnswer = small_json(&service, request).await?;
    service.answer_device(&token, &answer).await?;
    Ok(done(said(answer.approve)))
}

const fn said(approve: bool) -> &'static str {
    if approve { "the machine is signed in" } else { "the machine is not signed in" }
}

/// `GET /device`: asks for a code; with one, shows what the machine asks for, and asks for an answer.
async fn page(State(service): App, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "user_code");
    let name = service.settings().name.clone();
    let Some((_, code)) = code else { return html(StatusCode::OK, &name, &ask_code("")) };
    match service.device_asks(&code, address(&request)).await {
        Ok(asked) => html(StatusCode::OK, &name, &ask_answer(&service, &code, &asked, "")),
        Err(refusal) => refused(&name, &refusal, ask_code),
    }
}

/// `POST /device`: the answer, and who gives it.
async fn answer_on_page(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let bytes = in_time(&service, small_body(request, FORM_BYTES_MAX)).await?;
    let form = Form(&bytes);
    let (by, answer) = (form.by(), form.answer()?);
    let name = service.settings().name.clone();
    let refusal = match service.answer_device_by_password(&by, &answer, from).await {
        Ok(_) => return Ok(answered(&name, answer.approve)),
        Err(refusal) => refusal,
    };
    Ok(match service.device_asks(&answer.user_code, from).await {
        Ok(asked) => refused(&name, &refusal, |told| ask_answer(&service, &answer.user_code, &asked, told)),
        Err(_) => refused(&name, &refusal, ask_code),
    })
}

/// The fields of a form that was sent.
struct Form<'a>(&'a [u8]);

impl Form<'_> {
    /// A field; empty if it is not there.
    fn field(&self, name: &str) -> String {
        let found = form_urlencoded::parse(self.0).find(|(there, _)| there == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    fn answer(&self) -> Result<DeviceAnswer, Refusal> {
        let approve = match &*self.field("answer") {
            "yes" => true,
            "no" => false,
            _ => return Err(Refusal::code(Code::MalformedRequest, "the form has no answer")),
        };
        Ok(DeviceAnswer { user_code: self.field("user_code"), approve })
    }

    /// Login, password, and a code of the second factor.
    fn by(&self) -> LoginRequest {
        let code = Some(self.field("code")).filter(|code| !code.trim().is_empty());
        LoginRequest {
            username: Some(self.field("username")),
            email: None,
            password: SecretText::new(self.field("password")),
            code: code.map(SecretText::new),
        }
    }
}

/// The page after an answer.
fn answered(name: &str, approve: bool) -> Response {
    let text = format!("<p>Done: {}. You can close this page.</p>", said(approve));
    html(StatusCode::OK, name, &text)
}

/// The page again, with what was wrong; what is no matter of the one who reads it is answered as everywhere.
fn refused(name: &str, refusal: &Refusal, again: impl FnOnce(&str) -> String) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = &refusal.problems[0];
    let told = format!(
        "<p><strong>{}</strong> ({}): {}</p>",
        encode_text(problem.code.title()),
        problem.number,
        encode_text(&problem.hint)
    );
    let mut response = html(status, name, &again(&told));
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn ask_code(told: &str) -> String {
    format!(
        "{told}<form method=\"get\" action=\"/device\">\
         <p><label>Code that your machine shows<br><input name=\"user_code\" required autofocus autocomplete=\"off\"></label></p>\
         <p><button>Go on</button></p></form>"
    )
}

/// What a machine asks for.
fn told_of(code: &str, asked: &NewTokenRequest) -> String {
    let rows: String = in_words(asked)
        .iter()
        .map(|(what, text)| format!("<dt>{what}</dt><dd>{}</dd>", encode_text(text)))
        .collect();
    format!(
        "<p>A machine that shows the code <strong>{}</strong> asks to act for you. Say yes only if it is yours, and you have just \
         begun to sign in there.</p><dl>{rows}</dl>",
        encode_text(code)
    )
}

const ASK_PASSWORD: &str = "<p><label>Login<br><input name=\"username\" required autocomplete=\"username\"></label></p>\
     <p><label>Password<br><input name=\"password\" type=\"password\" required autocomplete=\"current-password\"></label></p>";
const ASK_CODE: &str = "<p><label>Code of your authenticator app, if you use one<br>\
     <input name=\"code\" autocomplete=\"one-time-code\"></label></p>";
const YES: &str = "<button name=\"answer\" value=\"yes\">Yes, sign it in</button>";
/// Says no without what only a yes takes.
const NO: &str = "<button name=\"answer\" value=\"no\" formnovalidate>No</button>";

fn ask_answer(service: &Service, code: &str, asked: &NewTokenRequest, told: &str) -> String {
    let elsewhere = service.provider().map(|provider| provider::link(provider, code)).unwrap_or_default();
    format!(
        "{}{told}{elsewhere}<form method=\"post\" action=\"/device\">\
         <input type=\"hidden\" name=\"user_code\" value=\"{}\">{ASK_PASSWORD}{ASK_CODE}<p>{YES} {NO}</p></form>",
        told_of(code, asked),
        encode_double_quoted_attribute(code)
    )
}

fn html(status: StatusCode, registry: &str, body: &str) -> Response {
    let title = encode_text(registry);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Sign in a machine - {title}</title></head><body><h1>Sign in a machine</h1><p>Registry <strong>{title}</strong></p>{body}</body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, text).into_response()
}
