//! APIs of existing clients, in registries whose language has one.
//!
//! Owns: which requests below `/api/v1/` are answered in the form of such a client; all others go on to the native API. Reads
//! are answered from static files, so that static hosting answers them too. Does not own: what a publish or a change is.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use drystone_schemas::{
    AuthorSignatures, Code, EventId, Format, IndexLine, LanguageApi, LoginRequest, PackageName, Problem,
    PublishMetadata, RegisterRequest, Registration, SecretText, VersionRecord, layout,
};

use super::{
    bearer,
    cargo::Names,
    publish::{commit, content_length, in_time, intent_id},
    raven, read, vais,
};
use crate::{
    AccountRecord, Refusal, Service, Token, TokenRecord, multipart,
    spool::{IN_MEMORY_BYTES_MAX, Spooled, too_big},
    vault,
};

/// Room for the multipart frame and the metadata around an archive.
const FRAME_BYTES_MAX: u64 = multipart::METADATA_BYTES_MAX + (4 << 10);

/// Answers in the form of the language's client, or hands the request on.
pub(super) async fn answer(
    State((service, names)): State<(Arc<Service>, Arc<Names>)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(api) = service.settings().language_api() else { return next.run(request).await };
    let path = request.uri().path().to_owned();
    let Some(below) = path.strip_prefix("/api/v1/") else { return next.run(request).await };
    let segments: Vec<&str> = below.split('/').collect();
    let outcome = match api {
        LanguageApi::Raven => raven::answer(&service, &names, &segments, request).await,
        LanguageApi::Vais => vais::answer(&service, &names, &segments, request).await,
    };
    match outcome {
        Ok(response) => response,
        Err(NotOurs::Refused(refusal)) => refusal.into_response(),
        Err(NotOurs::Native(request)) => next.run(*request).await,
    }
}

/// Why a client's API has no answer.
pub(super) enum NotOurs {
    /// The request is one of the native API.
    Native(Box<Request>),
    Refused(Refusal),
}

impl From<Refusal> for NotOurs {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The name in an address. What cannot be a name is the name of nothing.
pub(super) fn name_at(text: &str) -> Result<PackageName, Refusal> {
    PackageName::new(text).map_err(|_| {
        let shown: String = text.chars().take(100).collect();
        Refusal::code(Code::PackageNotFound, format!("there is no package `{shown}`"))
    })
}

/// A static file, or the refusal that it is not there.
pub(super) async fn file(
    service: &Service,
    key: String,
    missing: impl FnOnce() -> Refusal,
) -> Result<Response, Refusal> {
    let bytes = read::file(service, key).await?.ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, layout::JSON),
        (header::CACHE_CONTROL, layout::CacheClass::Fresh.cache_control()),
    ];
    Ok((headers, bytes).into_response())
}

/// The release at an address.
pub(super) async fn release(
    service: &Service,
    name: &PackageName,
    version: &str,
) -> Result<IndexLine, Refusal> {
    let missing = || Refusal::code(Code::VersionNotFound, format!("`{name}` has no version `{version}`"));
    let wanted = drystone_schemas::Version::new(version).map_err(|_| missing())?;
    let line = read::index(service, name).await?.find(&wanted).cloned().ok_or_else(missing)?;
    match line.deleted {
        Some(code) => {
            let detail = format!("`{name}` {version} was taken down ({})", code.as_str());
            Err(Refusal::code(Code::VersionDeleted, detail))
        }
        None => Ok(line),
    }
}

/// A package as its client's own tool uploads it.
pub(super) struct Upload {
    token: Token,
    id: EventId,
    metadata: Vec<u8>,
    package: Arc<Spooled>,
}

/// Receives a multipart body with the parts `metadata` and `archive_part`.
pub(super) async fn receive(
    service: &Service,
    request: Request,
    archive_part: &str,
) -> Result<Upload, Refusal> {
    let token = bearer(request.headers())?;
    let id = intent_id(service, request.headers())?;
    let limits = &service.settings().limits;
    let declared = content_length(request.headers());
    if declared.is_some_and(|len| len > limits.tarball_bytes_max + FRAME_BYTES_MAX) {
        return Err(too_big(limits, Format::Generic));
    }
    if declared.is_none_or(|len| len > IN_MEMORY_BYTES_MAX) {
        service.admit(&token).await?;
    }
    let (metadata, package) = in_time(service, multipart::read_parts(service, request, archive_part)).await?;
    let metadata =
        metadata.ok_or_else(|| Refusal::code(Code::MalformedMultipart, "the part `metadata` is missing"))?;
    Ok(Upload { token, id, metadata, package })
}

impl Upload {
    /// The metadata, in the client's form.
    pub(super) fn metadata<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.metadata).map_err(|e| {
            Refusal::code(Code::MalformedRequest, format!("the metadata is not what it should be: {e}"))
        })
    }

    /// Inspects the archive, which must be what the metadata say, and commits it.
    pub(super) async fn publish(
        self,
        service: &Service,
        expected: PublishMetadata,
    ) -> Result<(Arc<VersionRecord>, IndexLine), Refusal> {
        let expected = PublishMetadata { format: Some(Format::Generic.to_string()), ..expected };
        let (package, inspected) = service.inspect(&self.package, expected).await?;
        if inspected.record.name.owner().is_some() {
            let detail = format!("`{}` has an owner, which this client cannot write", inspected.record.name);
            return Err(Refusal::code(Code::InvalidName, detail));
        }
        let committed =
            commit(service, &self.token, self.id, &package, inspected.record, AuthorSignatures::new())
                .await?;
        let record = committed.record;
        let line = release(service, &record.name, &record.vers.to_string()).await?;
        Ok((record, line))
    }
}

/// A client that is signed in: what it keeps, and whom it acts for.
pub(super) struct SignedIn {
    pub(super) token: Token,
    pub(super) record: TokenRecord,
    pub(super) account: AccountRecord,
}

/// Signs in with a login, or a verified address, and a password; or with a token in place of the password.
pub(super) async fn sign_in(
    service: &Service,
    name: &str,
    password: SecretText,
    from: Option<IpAddr>,
) -> Result<SignedIn, Refusal> {
    if Token::parse(password.expose().trim()).is_ok() {
        return with_token(service, password.expose()).await;
    }
    let asked = LoginRequest { username: Some(name.to_owned()), email: None, password, code: None };
    let (token, record, account) = service.sign_in_for_long(&asked, from).await?;
    Ok(SignedIn { token, record, account })
}

/// Makes an account for a client.
pub(super) async fn sign_up(service: &Service, request: Request) -> Result<SignedIn, Refusal> {
    let from = super::auth::address(&request);
    if service.recent_settings().await.registration == Registration::Closed {
        return Err(no_registration());
    }
    let asked: RegisterRequest = small_json(service, request).await?;
    let (token, record, account) = service.register_for_long(&asked, from).await?;
    Ok(SignedIn { token, record, account })
}

async fn with_token(service: &Service, password: &str) -> Result<SignedIn, Refusal> {
    let wrong = || {
        let problem = Problem::new(Code::TokenInvalid, "the password is not a token of this registry");
        Refusal::new(problem.with_hint("ask the operator for a token, and give it as the password"))
    };
    let token = Token::parse(password.trim()).map_err(|_| wrong())?;
    let record = service
        .admit(&token)
        .await
        .map_err(|refusal| if refusal.status() < 500 { wrong() } else { refusal })?;
    let account = vault::read_account(&*service.core.store.vault, &record.account).await?;
    Ok(SignedIn { token, record, account: account.ok_or_else(wrong)? })
}

/// When a token ends, as clients demand it: far away, if never.
pub(super) fn expiry(record: &TokenRecord) -> String {
    record.expires.map_or_else(|| "9999-12-31T23:59:59Z".into(), drystone_schemas::rfc3339)
}

/// A refusal of a registration.
pub(super) fn no_registration() -> Refusal {
    Refusal::code(Code::AccountsClosed, "accounts of this registry are made by its operator")
}

/// The body of a small request.
pub(super) async fn small_json<T: serde::de::DeserializeOwned>(
    service: &Service,
    request: Request,
) -> Result<T, Refusal> {
    let body = in_time(service, super::publish::small_body(request, multipart::METADATA_BYTES_MAX)).await?;
    serde_json::from_slice(&body)
        .map_err(|e| Refusal::code(Code::MalformedRequest, format!("the body is not what it should be: {e}")))
}

/// Fields that a client's error messages come from, beside our own.
pub(super) fn error_fields(
    api: LanguageApi,
    refusal: &Refusal,
) -> serde_json::Map<String, serde_json::Value> {
    let details: Vec<&str> = refusal.problems.iter().map(|problem| &*problem.detail).collect();
    let (message, code) =
        (details.join("; "), refusal.problems.first().map_or("internal", |p| p.code.slug()));
    let fields = match api {
        LanguageApi::Raven => serde_json::json!({"error": code, "message": message}),
        LanguageApi::Vais => serde_json::json!({"error": message, "status": refusal.status()}),
    };
    fields.as_object().cloned().unwrap_or_default()
}
