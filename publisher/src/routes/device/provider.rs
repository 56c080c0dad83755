//! The pages of people who sign in at their provider: on the way there, and back.
//!
//! Owns: addresses and pages. Does not own: what they do, which is in `accounts`.
//! Invariant: the way back shows a page and changes nothing for the machine; what answers is a form that only that page has.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use drystone_schemas::SecretText;
use html_escape::{encode_double_quoted_attribute, encode_text};
use url::form_urlencoded;

use super::{
    ASK_CODE, ASK_PASSWORD, FORM_BYTES_MAX, Form, NO, YES, answered, ask_code, html, refused, told_of,
};
use crate::{
    Refusal, Service, SignInProvider,
    accounts::{Arrived, Leaving, ProviderAnswer, Returned},
    routes::{
        App,
        auth::address,
        publish::{in_time, small_body},
    },
};

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/device/provider", get(leave))
        .route("/device/signed-in", get(arrive).post(answer_on_page))
}

/// The way to the provider. A link and no form: where a form leads is the page's policy to say, and a browser follows that on the
/// provider's side too.
pub(super) fn link(provider: &SignInProvider, code: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user_code", code).finish();
    format!(
        "<p><a href=\"/device/provider?{}\">Sign in with {}</a>, or here:</p>",
        encode_double_quoted_attribute(&query),
        encode_text(&provider.name)
    )
}

/// Name of the cookie by which a browser is known that comes back, and what makes it secure. Where there is TLS, no other host can set
/// it (RFC 6265bis section 4.1.3.2).
fn cookie(service: &Service) -> (&'static str, &'static str) {
    match service.settings().api_url().starts_with("https://") {
        true => ("__Host-drystone-sign-in", "; Secure"),
        false => ("drystone-sign-in", ""),
    }
}

/// What the browser has kept.
fn kept(service: &Service, headers: &HeaderMap) -> Option<SecretText> {
    let (name, _) = cookie(service);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(there, _)| *there == name).map(|(_, value)| SecretText::new(value))
}

/// `GET /device/provider`: sends somebody to the provider.
async fn leave(State(service): App, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let code = Form(query.as_bytes()).field("user_code");
    match service.leave_for_provider(&code, address(&request)).await {
        Ok(Leaving { url, keeps, keeps_s }) => {
            let (name, secure) = cookie(&service);
            // It has to come along from the provider's site, with the address that leads back, and with nothing else.
            let kept = format!(
                "{name}={}; Path=/; Max-Age={keeps_s}; HttpOnly; SameSite=Lax{secure}",
                keeps.expose()
            );
            let headers = [(header::REFERRER_POLICY, "no-referrer"), (header::SET_COOKIE, &*kept)];
            (headers, Redirect::to(url.as_str())).into_response()
        }
        Err(refusal) => refused(&service.settings().name, &refusal, ask_code),
    }
}

/// `GET /device/signed-in`: the way back.
async fn arrive(State(service): App, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let form = Form(query.as_bytes());
    let some = |name: &str| Some(form.field(name)).filter(|text| !text.is_empty());
    let returned = Returned {
        state: form.field("state"),
        code: some("code").map(SecretText::new),
        error: some("error"),
        issuer: some("iss"),
        kept: kept(&service, request.headers()),
    };
    let name = service.settings().name.clone();
    match service.arrive_from_provider(&returned, address(&request)).await {
        Ok(arrived) => html(StatusCode::OK, &name, &ask_arrived(&service, &arrived)),
        Err(refusal) => refused(&name, &refusal, ask_code),
    }
}

/// `POST /device/signed-in`: the answer of somebody whom the provider knows.
async fn answer_on_page(State(service): App, request: Request) -> Result<Response, Refusal> {
    let from = address(&request);
    let bytes = in_time(&service, small_body(request, FORM_BYTES_MAX)).await?;
    let form = Form(&bytes);
    let said = ProviderAnswer {
        page: SecretText::new(form.field("page")),
        answer: form.answer()?,
        new_login: Some(form.field("new_login")).filter(|login| !login.trim().is_empty()),
        by: form.by(),
    };
    let name = service.settings().name.clone();
    Ok(match service.answer_device_by_provider(&said, from).await {
        Ok(_) => answered(&name, said.answer.approve),
        Err(refusal) => refused(&name, &refusal, |told| {
            format!("{told}<p>Go back to try again, or type the code in anew.</p>{}", ask_code(""))
        }),
    })
}

fn ask_arrived(service: &Service, arrived: &Arrived) -> String {
    let Arrived { page, typed, asked, login, new_login } = arrived;
    let provider =
        service.provider().map(|provider| encode_text(&provider.name).into_owned()).unwrap_or_default();
    let hidden = format!(
        "<input type=\"hidden\" name=\"page\" value=\"{}\"><input type=\"hidden\" name=\"user_code\" value=\"{}\">",
        encode_double_quoted_attribute(page.expose()),
        encode_double_quoted_attribute(typed)
    );
    let form = |fields: &str| {
        format!("<form method=\"post\" action=\"/device/signed-in\">{hidden}{fields}<p>{YES} {NO}</p></form>")
    };
    let told = told_of(typed, asked);
    if let Some(login) = login {
        let who = format!("<p>You are <strong>{}</strong>.</p>", encode_text(login.as_str()));
        return format!("{who}{told}{}", form(ASK_CODE));
    }
    let new = new_login.as_ref().map(|login| {
        let login = encode_double_quoted_attribute(login);
        let field = format!(
            "<p><label>Your new login here<br><input name=\"new_login\" required value=\"{login}\" autocomplete=\"username\"></label></p>"
        );
        format!("<h2>Make an account</h2>{}", form(&field))
    });
    format!(
        "<p>{provider} knows you, and this registry does not yet.</p>{told}{}<h2>Use the account that you have</h2>{}",
        new.unwrap_or_default(),
        form(&format!("{ASK_PASSWORD}{ASK_CODE}"))
    )
}
