//! HTTP with limits: capped bodies, time-outs, a least speed, and bounded retries of what may be repeated.
//!
//! Owns connections and attempts. Does not own URLs, caching or the meaning of an answer.
//! Invariant: no answer makes this module hold more than the caller's `bytes_max`, or wait without end; a token is
//! never sent after a redirect.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use drystone_schemas::{Code, Problem};
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode, header};
use rustls_platform_verifier::BuilderVerifierExt;
use url::{Host, Url};

use crate::{
    ClientError, Effects,
    defences::{Defence, Defences},
};

mod attempt;
mod speed;
mod streams;

pub(crate) use attempt::Attempts;
use speed::SpeedFloor;
use streams::{LANES, Place, Servers};

/// How connections behave. Every limit has a default.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// `User-Agent`.
    pub user_agent: String,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest silence in the middle of an answer.
    pub read_timeout: Duration,
    /// Most attempts of one idempotent request.
    pub attempts_max: u32,
    /// First wait between attempts; doubles, with jitter.
    pub backoff: Duration,
    /// Longest wait that a `Retry-After` may ask for; more is a failure.
    pub retry_after_max: Duration,
    /// Least speed of any answer in bytes per second, over `speed_window`.
    pub speed_min: u64,
    /// Over how long the speed is measured.
    pub speed_window: Duration,
    /// Whether plain `http` may be used to other machines.
    pub allow_plain_http: bool,
}

impl HttpOptions {
    /// The defaults, under this name.
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            attempts_max: 4,
            backoff: Duration::from_millis(250),
            retry_after_max: Duration::from_secs(60),
            speed_min: 1024,
            speed_window: Duration::from_secs(30),
            allow_plain_http: false,
        }
    }
}

/// A token that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    /// What comes before it in the header.
    scheme: &'static str,
}

impl Secret {
    /// Wraps a token.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), scheme: "Bearer " }
    }

    /// Wraps a token that is sent bare, as Cargo sends one.
    pub fn bare(text: impl Into<String>) -> Self {
        Self { text: text.into(), scheme: "" }
    }

    /// The token itself, for a header or a file that only the user reads.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The value of `Authorization`, which is not shown either.
    fn header(&self) -> Result<header::HeaderValue, ClientError> {
        let mut value = header::HeaderValue::from_str(&format!("{}{}", self.scheme, self.text))
            .map_err(|_| ClientError::Internal("a token that no header can carry".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A token and the API that it may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub secret: Secret,
    /// Base URL of the API that it was stored for; any, if absent.
    pub api: Option<String>,
}

/// A whole answer in memory.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Where it came from.
    pub url: String,
    /// HTTP status.
    pub status: StatusCode,
    /// `ETag`, if there is one.
    pub etag: Option<String>,
    /// The body, at most as long as was allowed.
    pub body: Bytes,
}

/// What to ask for; the body is made anew for each attempt.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) token: Option<&'a Secret>,
    pub(crate) body: Box<dyn Fn() -> Result<AskBody, ClientError> + Send + Sync + 'a>,
    pub(crate) bytes_max: u64,
    /// Whether a second attempt can do no harm.
    pub(crate) repeatable: bool,
}

pub(crate) enum AskBody {
    Empty,
    Bytes(Bytes),
    Stream(reqwest::Body, u64),
    Form(Box<reqwest::multipart::Form>),
}

impl<'a> Ask<'a> {
    pub(crate) fn get(url: &'a str, bytes_max: u64) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            token: None,
            body: Box::new(|| Ok(AskBody::Empty)),
            bytes_max,
            repeatable: true,
        }
    }
}

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// A pool of connections.
#[derive(Debug)]
pub struct Http {
    options: HttpOptions,
    effects: Effects,
    defences: Defences,
    servers: Servers,
    plain: OnceLock<reqwest::Client>,
    /// A client keeps one HTTP/2 connection to a server; so there is one for each lane.
    tls: [OnceLock<reqwest::Client>; LANES],
    /// What the lanes share, so that the system's certificates are read once.
    tls_config: OnceLock<rustls::ClientConfig>,
}

impl Http {
    /// Makes the pool; nothing is opened yet.
    pub fn new(options: HttpOptions, effects: Effects) -> Arc<Self> {
        Arc::new(Self::guarded(options, effects, Defences::default()))
    }

    /// The same with the defences that a test leaves up.
    fn guarded(options: HttpOptions, effects: Effects, defences: Defences) -> Self {
        Self {
            options,
            effects,
            defences,
            servers: Servers::default(),
            plain: OnceLock::new(),
            tls: std::array::from_fn(|_| OnceLock::new()),
            tls_config: OnceLock::new(),
        }
    }

    /// A pool without one of the defences.
    #[cfg(test)]
    pub(crate) fn without(options: HttpOptions, effects: Effects, down: Defence) -> Arc<Self> {
        Arc::new(Self::guarded(options, effects, Defences::without(down)))
    }

    /// The defences of everything that is read through it.
    pub(crate) fn defences(&self) -> Defences {
        self.defences
    }

    /// The effects that it was made with.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// Fetches a whole body of at most `bytes_max` bytes, with retries. Any status but a transient one is an answer.
    pub async fn get(
        &self,
        url: &str,
        etag: Option<&str>,
        bytes_max: u64,
        token: Option<&Secret>,
    ) -> Result<Answer, ClientError> {
        let mut ask = Ask { token, ..Ask::get(url, bytes_max) };
        if let Some(etag) = etag {
            ask.headers.push((header::IF_NONE_MATCH, etag.into()));
        }
        self.ask(ask).await
    }

    /// Streams a body into `sink`, in one attempt, and returns its length; `None` if there is nothing at the URL.
    ///
    /// Fails on more than `bytes_max` bytes, on fewer than announced, and below the least speed.
    pub async fn download(
        &self,
        url: &str,
        bytes_max: u64,
        token: Option<&Secret>,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), ClientError> + Send),
    ) -> Result<Option<u64>, ClientError> {
        let ask = Ask { token, ..Ask::get(url, bytes_max) };
        let server = self.servers.of(&parse(url)?);
        let place = server.enter().await?;
        let response = self.send(&ask, &place).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(status_error(&shown(url), response.status()));
        }
        self.drain(response, url, bytes_max, sink).await.map(Some)
    }

    /// Reads a body into `sink`: at most `bytes_max` bytes, and never below the least speed. Returns its length.
    async fn drain(
        &self,
        response: reqwest::Response,
        url: &str,
        bytes_max: u64,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), ClientError> + Send),
    ) -> Result<u64, ClientError> {
        let bytes_max = if self.defences.up(Defence::Length) { bytes_max } else { u64::MAX };
        let too_big = || ClientError::TooBig { url: shown(url), bytes_max };
        if response.content_length().is_some_and(|len| len > bytes_max) {
            return Err(too_big());
        }
        let clock = &self.effects.clock;
        let mut floor =
            SpeedFloor::new(self.options.speed_min, self.options.speed_window, clock.now_unix_ms());
        let mut len = 0;
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| transport_error(url, &e))?;
            len += chunk.len() as u64;
            if len > bytes_max {
                return Err(too_big());
            }
            sink(&chunk)?;
            let slow = !floor.keeps_up(chunk.len() as u64, clock.now_unix_ms());
            if slow && self.defences.up(Defence::Speed) {
                let detail = format!("slower than {} bytes per second", self.options.speed_min);
                return Err(ClientError::Unreachable { url: shown(url), detail });
            }
        }
        Ok(len)
    }

    /// Counts the attempts of one operation.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.options, &self.effects)
    }

    /// Asks, with retries if the request may be repeated.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, ClientError> {
        let mut attempts = self.attempts();
        loop {
            let (failure, retry_after) = match self.ask_once(&ask).await {
                Ok((answer, retry_after)) if is_transient(answer.status) => {
                    if !ask.repeatable || attempts.are_used_up() {
                        return Ok(answer);
                    }
                    (format!("the registry answers {}", answer.status.as_u16()), retry_after)
                }
                Ok((answer, _)) => return Ok(answer),
                Err(error) if error.is_transient() && ask.repeatable && !attempts.are_used_up() => {
                    (error.to_string(), None)
                }
                Err(error) => return Err(error),
            };
            attempts.wait(ask.url, &failure, retry_after).await?;
        }
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<(Answer, Option<Duration>), ClientError> {
        let server = self.servers.of(&parse(ask.url)?);
        let place = server.enter().await?;
        let response = self.send(ask, &place).await?;
        let status = response.status();
        let text =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = text(header::ETAG);
        let retry_after =
            text(header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let mut body = BytesMut::new();
        let mut sink = |chunk: &[u8]| {
            body.extend_from_slice(chunk);
            Ok(())
        };
        self.drain(response, ask.url, ask.bytes_max, &mut sink).await?;
        Ok((Answer { url: shown(ask.url), status, etag, body: body.freeze() }, retry_after))
    }

    /// Sends one request, following redirects of plain reads.
    async fn send(&self, ask: &Ask<'_>, place: &Place<'_>) -> Result<reqwest::Response, ClientError> {
        let mut url = parse(ask.url)?;
        let followable = ask.method == Method::GET && ask.token.is_none();
        for redirects in 0..=REDIRECTS_MAX {
            // What another server speaks, to which a redirect may lead, is not known.
            let lane = if redirects == 0 { place.lane } else { 0 };
            let mut request = self.client_for(&url, lane)?.request(ask.method.clone(), url.clone());
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            if let Some(token) = ask.token {
                request = request.header(header::AUTHORIZATION, token.header()?);
            }
            request = match (ask.body)()? {
                AskBody::Empty => request,
                AskBody::Bytes(bytes) => request.body(bytes),
                AskBody::Stream(body, len) => request.header(header::CONTENT_LENGTH, len).body(body),
                AskBody::Form(form) => request.multipart(*form),
            };
            let response = request.send().await.map_err(|e| transport_error(ask.url, &e))?;
            if redirects == 0 {
                place.saw(response.version());
            }
            if !followable
                || !response.status().is_redirection()
                || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            url = next.ok_or_else(|| ClientError::Unexpected {
                url: shown(ask.url),
                detail: "a redirect without a target".into(),
            })?;
        }
        Err(ClientError::Unexpected { url: shown(ask.url), detail: "too many redirects".into() })
    }

    /// The client for a URL; the one with TLS is made on first use, because it reads the system's certificates.
    fn client_for(&self, url: &Url, lane: usize) -> Result<&reqwest::Client, ClientError> {
        let encrypted = match url.scheme() {
            "https" => true,
            "http" if self.options.allow_plain_http || is_loopback(url) => false,
            _ => return Err(ClientError::Insecure { url: shown(url.as_str()) }),
        };
        let cell = if encrypted { &self.tls[lane] } else { &self.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.options.user_agent)
            .connect_timeout(self.options.connect_timeout)
            .read_timeout(self.options.read_timeout)
            .redirect(reqwest::redirect::Policy::none());
        if encrypted {
            let mut config = self.tls_config()?.clone();
            if lane == 0 {
                config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            } else {
                // Only a server that speaks it has more lanes; so a hundred requests wait for one handshake.
                config.alpn_protocols = vec![b"h2".to_vec()];
                builder = builder.http2_prior_knowledge();
            }
            builder = builder.tls_backend_preconfigured(config);
        } else {
            // Another part of the program may have chosen a provider already; it is not used here anyway.
            let _ = rustls::crypto::ring::default_provider().install_default();
            builder = builder.tls_certs_only(None);
        }
        let client = builder.build().map_err(|e| ClientError::Internal(format!("no HTTP client: {e}")))?;
        Ok(cell.get_or_init(|| client))
    }

    /// The certificates that the system trusts, read once.
    fn tls_config(&self) -> Result<&rustls::ClientConfig, ClientError> {
        if let Some(config) = self.tls_config.get() {
            return Ok(config);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|e| ClientError::Internal(format!("no TLS: {e}")))?;
        Ok(self.tls_config.get_or_init(|| config.with_no_client_auth()))
    }
}

/// A URL for messages: without its query, which may hold a signature.
fn shown(url: &str) -> String {
    url.split_once('?').map_or(url, |(path, _)| path).to_owned()
}

pub(crate) fn parse(url: &str) -> Result<Url, ClientError> {
    Url::parse(url).map_err(|e| ClientError::BadUrl { text: url.into(), detail: e.to_string() })
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Statuses after which the same request may succeed.
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// A refusal by something that does not tell its reasons as the registry does.
pub(crate) fn bare_refusal(url: &str, status: StatusCode, code: Code) -> ClientError {
    let status = status.as_u16();
    let problem = Problem::new(code, format!("`{url}` answers with status {status}"));
    ClientError::Refused { status, problems: vec![problem], request_id: String::new() }
}

/// A status that a plain read cannot use.
pub(crate) fn status_error(url: &str, status: StatusCode) -> ClientError {
    if status == StatusCode::UNAUTHORIZED {
        bare_refusal(url, status, Code::TokenInvalid)
    } else if is_transient(status) {
        ClientError::Unreachable { url: url.into(), detail: format!("status {}", status.as_u16()) }
    } else {
        ClientError::Unexpected { url: url.into(), detail: format!("status {}", status.as_u16()) }
    }
}

/// The innermost cause says what happened; the outer ones only say where.
fn transport_error(url: &str, error: &reqwest::Error) -> ClientError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let detail = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    ClientError::Unreachable { url: shown(url), detail }
}
