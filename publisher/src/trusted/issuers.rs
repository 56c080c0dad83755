//! The keys of issuers: where they are read, and for how long they count.
//!
//! Owns: discovery (OpenID Connect Discovery 1.0 section 4), key sets (RFC 7517), and their cache. Does not own: which issuers count.
//! Invariant: only addresses of configured issuers are asked, and the key set that such an issuer names itself.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use drystone_schemas::{Code, SecretText};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::shown;
use crate::{Refusal, jwt::PublicKey, service::Core};

/// Longest document of an issuer, in bytes.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Longest time for one request, in seconds.
const REQUEST_S_MAX: u64 = 5;
/// How long keys count without another look, in milliseconds: an issuer that withdraws one is heard after this time.
const KEPT_MS: u64 = 60 * 60 * 1_000;
/// How long a look stays the last one though a key is asked for that was not there, or nothing could be read.
const AGAIN_MS: u64 = 60 * 1_000;
/// Shortest RSA key, in bytes (RFC 7518 section 3.3).
const RSA_BYTES_MIN: usize = 256;

/// The way to issuers.
#[async_trait]
pub trait IssuerLink: fmt::Debug + Send + Sync {
    /// The document at this address, without following redirects; the error is a text for the operator.
    async fn get(&self, url: &str) -> Result<Bytes, String>;

    /// The answer to a form, in the same way; with a client's name and secret, if there is one (RFC 6749 section 2.3.1).
    async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        client: Option<(&str, &SecretText)>,
    ) -> Result<Bytes, String>;
}

/// The way over HTTP.
#[derive(Debug, Default)]
pub struct HttpIssuers(tokio::sync::OnceCell<reqwest::Client>);

fn told(error: reqwest::Error) -> String {
    error.without_url().to_string()
}

impl HttpIssuers {
    async fn client(&self) -> Result<&reqwest::Client, String> {
        let client = self.0.get_or_try_init(async || {
            // The process may have chosen a provider already; either serves.
            drop(rustls::crypto::ring::default_provider().install_default());
            let client = reqwest::Client::builder().timeout(Duration::from_secs(REQUEST_S_MAX));
            client.redirect(reqwest::redirect::Policy::none()).build().map_err(told)
        });
        client.await
    }
}

/// The body of a good answer.
async fn document(request: reqwest::RequestBuilder) -> Result<Bytes, String> {
    let mut answer = request.header("accept", "application/json").send().await.map_err(told)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("it answered {}", answer.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err("its answer is too long".into());
        }
    }
    Ok(bytes.into())
}

#[async_trait]
impl IssuerLink for HttpIssuers {
    async fn get(&self, url: &str) -> Result<Bytes, String> {
        document(self.client().await?.get(url)).await
    }

    async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        client: Option<(&str, &SecretText)>,
    ) -> Result<Bytes, String> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self.client().await?.post(url).body(body);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some((name, secret)) = client {
            let [name, secret] = [name, secret.expose()]
                .map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
            request = request.basic_auth(name, Some(secret));
        }
        document(request).await
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

/// Where an issuer lets people sign in.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// Where they go.
    pub(crate) authorization: Url,
    /// Where the code that they bring back is exchanged.
    pub(crate) token: Url,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// A JSON Web Key, as far as it is looked at (RFC 7518 section 6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// Its name and the key, if it is one to verify RS256 or ES256 with; others are passed over.
    fn read(self) -> Option<(String, PublicKey)> {
        let decode = |part: Option<String>| URL_SAFE_NO_PAD.decode(part?).ok();
        if self.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let key = match (&*self.kty, self.alg.as_deref()) {
            ("RSA", None | Some("RS256")) => {
                let (n, e) = (decode(self.n)?, decode(self.e)?);
                (n.len() >= RSA_BYTES_MIN).then_some(PublicKey::Rsa { n, e })?
            }
            ("EC", None | Some("ES256")) if self.crv.as_deref() == Some("P-256") => {
                let (x, y) = (decode(self.x)?, decode(self.y)?);
                // An uncompressed point (SEC 1 section 2.3.3).
                ((x.len(), y.len()) == (32, 32)).then(|| PublicKey::P256([&[4], &*x, &*y].concat()))?
            }
            _ => return None,
        };
        Some((self.kid?, key))
    }
}

/// The keys in a key set.
fn parse_keys(bytes: &[u8]) -> Result<HashMap<String, PublicKey>, String> {
    let set: KeySet =
        serde_json::from_slice(bytes).map_err(|e| format!("its key set does not parse: {e}"))?;
    Ok(set.keys.into_iter().filter_map(Jwk::read).collect())
}

/// What an issuer says of itself.
async fn discover(link: &dyn IssuerLink, issuer: &str) -> Result<Discovery, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    parse_discovery(issuer, &link.get(&url).await?)
}

fn parse_discovery(issuer: &str, bytes: &[u8]) -> Result<Discovery, String> {
    let discovery: Discovery =
        serde_json::from_slice(bytes).map_err(|e| format!("its configuration does not parse: {e}"))?;
    if discovery.issuer != issuer {
        return Err(format!("its configuration is that of `{}`", shown(&discovery.issuer)));
    }
    Ok(discovery)
}

/// An address that an issuer names. That of an `https` issuer is never one of `http`.
fn address(issuer: &str, named: Option<&str>, what: &str) -> Result<Url, String> {
    let url = named.and_then(|named| Url::parse(named).ok());
    let schemes: &[&str] = if issuer.starts_with("https://") { &["https"] } else { &["https", "http"] };
    url.filter(|url| schemes.contains(&url.scheme()))
        .ok_or_else(|| format!("its {what} has no `https` address"))
}

impl Endpoints {
    /// Asks an issuer; the error is a text for the operator.
    pub(crate) async fn read(link: &dyn IssuerLink, issuer: &str) -> Result<Self, String> {
        let discovery = discover(link, issuer).await?;
        let authorization = discovery.authorization_endpoint.as_deref();
        Ok(Self {
            authorization: address(issuer, authorization, "page to sign in")?,
            token: address(issuer, discovery.token_endpoint.as_deref(), "token endpoint")?,
        })
    }
}

async fn read_keys(link: &dyn IssuerLink, issuer: &str) -> Result<HashMap<String, PublicKey>, String> {
    let keys = address(issuer, Some(&discover(link, issuer).await?.jwks_uri), "key set")?;
    parse_keys(&link.get(keys.as_str()).await?)
}

/// What was read of one issuer.
#[derive(Default)]
struct Kept {
    keys: HashMap<String, PublicKey>,
    /// When that was, and when somebody last tried, in milliseconds since 1970.
    read_ms: u64,
    tried_ms: u64,
}

impl Kept {
    fn key(&self, kid: &str, now_ms: u64) -> Option<PublicKey> {
        let fresh = now_ms.saturating_sub(self.read_ms) < KEPT_MS;
        self.keys.get(kid).filter(|_| fresh).cloned()
    }
}

/// The keys of every issuer, as this process has read them.
#[derive(Default)]
pub(crate) struct IssuerKeys(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Kept>>>>);

impl Core {
    /// The key of an issuer with this name. One request at a time asks an issuer, and each a minute at most.
    pub(crate) async fn issuer_key(
        &self,
        link: &dyn IssuerLink,
        issuer: &str,
        kid: &str,
    ) -> Result<PublicKey, Refusal> {
        let kept = {
            let mut all = self.issuer_keys.0.lock().expect("no holder of this lock panics");
            all.entry(issuer.to_owned()).or_default().clone()
        };
        let mut kept = kept.lock().await;
        let now_ms = self.clock.now_unix_ms();
        if let Some(key) = kept.key(kid, now_ms) {
            return Ok(key);
        }
        let mut failed = "they could not be read a moment ago".to_owned();
        if kept.tried_ms == 0 || now_ms.saturating_sub(kept.tried_ms) >= AGAIN_MS {
            kept.tried_ms = now_ms;
            match read_keys(link, issuer).await {
                Ok(keys) => (kept.keys, kept.read_ms) = (keys, now_ms),
                Err(detail) => failed = detail,
            }
        }
        if let Some(key) = kept.key(kid, now_ms) {
            return Ok(key);
        }
        if now_ms.saturating_sub(kept.read_ms) < KEPT_MS {
            return Err(Refusal::code(
                Code::IdentityInvalid,
                "the token is signed with a key that its issuer does not name",
            ));
        }
        tracing::warn!(issuer, "the keys of an issuer cannot be read: {failed}");
        Err(Refusal::code(Code::IssuerUnreachable, format!("the keys of `{issuer}` cannot be read")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        let (n, x) = (URL_SAFE_NO_PAD.encode([7; 256]), URL_SAFE_NO_PAD.encode([7; 32]));
        let rsa = json!({"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": n, "e": "AQAB"});
        let ec = json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": x, "y": x});
        let with = |key: &serde_json::Value, name: &str, value: serde_json::Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        let short = URL_SAFE_NO_PAD.encode([7; 128]);
        let keys = json!({"keys": [
            rsa, ec,
            with(&rsa, "use", json!("enc")), with(&rsa, "alg", json!("HS256")), with(&rsa, "n", json!(short)),
            with(&rsa, "kid", json!(null)), with(&ec, "crv", json!("P-384")), with(&ec, "x", json!("AA")),
            {"kty": "oct", "kid": "secret", "k": "AA"}
        ]});
        let read = parse_keys(keys.to_string().as_bytes()).unwrap();
        let mut names: Vec<_> = read.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["ec", "rsa"]);
        assert!(parse_keys(b"{}").is_err());
    }

    #[test]
    fn a_configuration_speaks_for_its_own_issuer() {
        let of = |issuer: &str, jwks_uri: &str| json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string();
        let (secure, plain) = ("https://a.test", "http://127.0.0.1:1");
        let read = |issuer: &str, text: String| {
            let discovery = parse_discovery(issuer, text.as_bytes())?;
            address(issuer, Some(&discovery.jwks_uri), "key set").map(String::from)
        };
        assert_eq!(read(secure, of(secure, "https://keys.test/k")).unwrap(), "https://keys.test/k");
        assert_eq!(read(plain, of(plain, "http://127.0.0.1:1/k")).unwrap(), "http://127.0.0.1:1/k");
        assert!(read(secure, of(secure, "http://keys.test/k")).is_err());
        assert!(read(secure, of("https://b.test", "https://keys.test/k")).is_err());
        assert!(read(plain, of(plain, "file:///etc/passwd")).is_err());
    }
}
