//! The API: one router for every way of running the publisher.
//!
//! Every answer carries `x-request-id`; every refusal is an [`ErrorBody`], written in one place, after it was logged.

mod access;
mod auth;
mod cargo;
mod change;
mod device;
mod github;
mod language;
mod limit;
mod orgs;
mod publish;
mod raven;
mod read;
mod second_factor;
mod target;
mod trusted;
mod vais;
mod zion;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get, post, put},
};
use drystone_schemas::{Code, ErrorBody, Problem, Settings};

use crate::{PublicFiles, Refusal, Service, Token};

type App = State<Arc<Service>>;

/// The publisher's API. What it does not know is looked for among `files`, if there are such.
pub fn api_router(service: Arc<Service>, files: Option<&PublicFiles>) -> Router {
    let api = Router::new()
        .route("/healthz", get(read::healthz))
        .route("/health", get(read::health))
        .route("/readyz", get(read::readyz))
        .route("/api/v1/registry/config", get(read::config))
        .route("/api/v1/openapi.json", get(read::openapi))
        .route("/api/v1/registry/access", get(access::granted))
        .route("/api/v1/me", get(read::me))
        .route("/api/v1/resolve/{alias}", get(read::resolve))
        .route("/api/v1/aliases/{alias}", put(change::set_alias).delete(change::remove_alias))
        .route("/api/v1/uploads", post(publish::begin_upload))
        .route("/api/v1/packages", post(publish::publish))
        .route("/api/v1/packages/publish", post(publish::publish))
        .route("/api/v1/packages/{*rest}", any(target::dispatch))
        .merge(auth::router())
        .merge(device::router())
        .merge(second_factor::router())
        .merge(orgs::router())
        .merge(trusted::router())
        .merge(cargo::router(&service))
        .merge(github::router())
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .with_state(service.clone());
    let api = match files {
        Some(files) => api.fallback_service(files.router()),
        None => api.fallback(async |request: Request| no_such_route(request.uri().path())),
    };
    let names = Arc::new(cargo::Names::default());
    let api = api.layer(from_fn_with_state((service.clone(), names), language::answer));
    api.layer(from_fn_with_state(service.clone(), access::guard)).layer(from_fn_with_state(service, envelope))
}

/// Gives a request its id, and its refusal a body; logs one line for it.
async fn envelope(State(service): App, request: Request, next: Next) -> Response {
    let trace = Trace::begin(&service);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let asked = limit::Counted::of(&request);
    let counted = limit::count(&service, asked.as_ref()).await;
    let mut response = match counted {
        Ok(_) => next.run(request).await,
        Err(exhausted) => Refusal::from(exhausted).into_response(),
    };
    let mut too_often = None;
    if let Some(refusal) = response.extensions_mut().remove::<Arc<Refusal>>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = render(&refusal, &trace.id, &service.settings());
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        too_often = limit::rate_problem(&refusal).cloned();
        log_refusal(&refusal, &trace.id);
    }
    limit::note_use(&service, asked.as_ref());
    limit::tell(service.core.clock.now_unix_s(), counted, too_often.as_ref(), &mut response);
    trace.end(&service, &method, route.as_deref().unwrap_or(FILES), &mut response);
    response
}

/// The route of static files, for logs.
pub(crate) const FILES: &str = "files";
const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");

/// What is told of every request: its id to whoever asked, the rest to the log.
pub(crate) struct Trace {
    id: String,
    began_ms: u64,
}

impl Trace {
    pub(crate) fn begin(service: &Service) -> Self {
        Self { id: service.new_id().to_string(), began_ms: service.core.clock.now_unix_ms() }
    }

    pub(crate) fn end<B>(self, service: &Service, method: &Method, route: &str, response: &mut Response<B>) {
        let Self { id, began_ms } = self;
        let duration_ms = service.core.clock.now_unix_ms().saturating_sub(began_ms);
        let status = response.status().as_u16();
        tracing::info!(request.id = id, %method, route, status, duration_ms, "request");
        if let Ok(value) = HeaderValue::try_from(id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
    }
}

fn log_refusal(refusal: &Refusal, id: &str) {
    if refusal.status() >= 500 {
        tracing::error!(request.id = id, code = refusal.problems[0].code.slug(), "{refusal}");
    } else {
        // Not what it says: that quotes the request, and people put tokens where names should be.
        let code = refusal.problems[0].code;
        tracing::debug!(request.id = id, code = code.slug(), "{}", code.title());
    }
}

fn render(refusal: &Refusal, request_id: &str, settings: &Settings) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = ErrorBody { errors: refusal.problems.clone(), request_id: request_id.to_owned() };
    let mut response = match settings.language_api() {
        None => (status, Json(body)).into_response(),
        Some(api) => {
            let mut fields = language::error_fields(api, refusal);
            if let Ok(serde_json::Value::Object(ours)) = serde_json::to_value(body) {
                fields.extend(ours);
            }
            (status, Json(fields)).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        // One field with both challenges: some proxies pass only one on. Cargo's is that of its book, "Registry
        // authentication".
        let challenges =
            HeaderValue::from_str(&format!("Cargo login_url=\"{}/me\", Bearer", settings.public_url));
        headers.insert(header::WWW_AUTHENTICATE, challenges.unwrap_or(HeaderValue::from_static("Bearer")));
    }
    response
}

impl IntoResponse for Refusal {
    /// An answer without a body, which `envelope` writes: only there is the request's id known.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// A refusal of an address.
pub(crate) fn no_such_route(path: &str) -> Refusal {
    let shown: String = path.chars().take(200).collect();
    Refusal::code(Code::NoSuchRoute, format!("there is nothing at `{shown}`"))
}

async fn method_not_allowed(method: Method) -> Refusal {
    Refusal::code(Code::MethodNotAllowed, format!("`{method}` is not allowed here"))
}

/// A refusal of a method, with those that are allowed (RFC 9110 section 15.5.6).
pub(crate) fn only_allowed(method: &Method, allow: &'static str) -> Response {
    let detail = format!("`{method}` is not allowed here, only {allow}");
    let mut response = Refusal::code(Code::MethodNotAllowed, detail).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// The variable part of an address.
fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    path.map(|Path(text)| text).map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))
}

/// The token of a request: `Authorization: Bearer TOKEN`, or the bare token as Cargo sends it.
fn bearer(headers: &HeaderMap) -> Result<Token, Refusal> {
    let missing = || Refusal::code(Code::TokenMissing, "the request carries no token");
    let invalid = || {
        Refusal::new(Problem::new(Code::TokenInvalid, "the request's token is not a token of this registry"))
    };
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?.to_str().map_err(|_| invalid())?;
    let text =
        value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")).unwrap_or(value).trim();
    Token::parse(text).map_err(|_| invalid())
}
