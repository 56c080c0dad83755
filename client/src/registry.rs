//! One registry as a consumer sees it: its static files, by name and by hash, through the cache.
//!
//! Owns URLs, conditional requests and offline reads. Does not own trust: bytes by name are only what the server
//! says; see [`crate::Snapshot`] for files that are proved.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use drystone_schemas::{
    Alias, AliasMap, IndexFile, PackageDocument, PackageName, RegistryConfig, Sha256Digest, layout,
};
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

use crate::{
    ClientError, Secret, Token,
    cache::{Cache, Entry},
    defences::Defences,
    http::{self, Answer, Http},
};

/// Longest `config.json`, in bytes.
const CONFIG_BYTES_MAX: u64 = 256 << 10;
/// Longest index file, in bytes: tens of thousands of releases.
pub(crate) const INDEX_BYTES_MAX: u64 = 64 << 20;
/// Longest package document, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// Longest file about aliases, in bytes.
pub(crate) const ALIASES_BYTES_MAX: u64 = 16 << 20;

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It may.
    Online,
    /// Only what is cached.
    Offline,
}

/// Somebody who has a registry's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Base URL, without a slash at the end.
    pub(crate) base: String,
    /// Whether it is somebody else than the registry: then it gets no token.
    pub(crate) is_mirror: bool,
}

/// A registry at a base URL.
#[derive(Debug)]
pub struct Registry {
    base: String,
    /// Who is asked for archives, one after the other; the registry last.
    sources: Vec<Source>,
    http: Arc<Http>,
    cache: Cache,
    network: Network,
    token: Option<Token>,
    /// Set once a read was refused without the token and granted with it.
    reads_need_token: AtomicBool,
    config: OnceCell<RegistryConfig>,
    /// Archives that were downloaded before it was known whether they are the right ones.
    prefetched: Mutex<BTreeMap<Sha256Digest, NamedTempFile>>,
}

impl Registry {
    /// A registry at a base URL (a slash at the end is dropped), cached below `cache_dir`. Nothing is fetched yet.
    pub fn new(
        base: &str,
        http: Arc<Http>,
        cache_dir: &Path,
        network: Network,
        token: Option<Token>,
    ) -> Result<Self, ClientError> {
        let base = normalise_base(base)?;
        let cache = Cache::new(cache_dir, &base);
        Ok(Self {
            sources: vec![Source { base: base.clone(), is_mirror: false }],
            base,
            http,
            cache,
            network,
            token,
            reads_need_token: AtomicBool::new(false),
            config: OnceCell::new(),
            prefetched: Mutex::default(),
        })
    }

    /// Asks mirrors for archives first, in this order. They are trusted with nothing: whatever they send is hashed,
    /// and what does not fit is asked of the next one, at last of the registry.
    pub fn with_mirrors(mut self, mirrors: &[String]) -> Result<Self, ClientError> {
        let mirrors = mirrors.iter().map(|url| Ok(Source { base: normalise_base(url)?, is_mirror: true }));
        let mut sources = mirrors.collect::<Result<Vec<_>, ClientError>>()?;
        sources.push(Source { base: self.base.clone(), is_mirror: false });
        self.sources = sources;
        Ok(self)
    }

    /// Who is asked for archives, in this order; never empty, and the registry is the last one.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The base URL, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The connections.
    pub fn http(&self) -> &Arc<Http> {
        &self.http
    }

    /// The defences of everything that is read through it.
    pub(crate) fn defences(&self) -> Defences {
        self.http.defences()
    }

    /// Whether the network may be used.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The token, or [`ClientError::NotSignedIn`].
    pub fn token(&self) -> Result<&Secret, ClientError> {
        let token =
            self.token.as_ref().ok_or_else(|| ClientError::NotSignedIn { registry: self.base.clone() })?;
        Ok(&token.secret)
    }

    /// The token, if it is for this API: not for a host that only a later `config.json` names.
    pub(crate) fn token_for(&self, api: &str) -> Result<&Secret, ClientError> {
        let secret = self.token()?;
        match self.token.as_ref().and_then(|token| token.api.as_deref()) {
            Some(known) if known != api => Err(ClientError::ApiMoved {
                registry: self.base.clone(),
                known: known.into(),
                found: api.into(),
            }),
            _ => Ok(secret),
        }
    }

    /// What the registry says of itself; fetched once.
    pub async fn config(&self) -> Result<&RegistryConfig, ClientError> {
        self.config
            .get_or_try_init(async || {
                let bytes = self.by_name(layout::CONFIG, CONFIG_BYTES_MAX).await?;
                let bytes = bytes.ok_or_else(|| ClientError::Unexpected {
                    url: self.url(layout::CONFIG),
                    detail: "there is no `config.json`".into(),
                })?;
                self.parse(layout::CONFIG, &bytes)
            })
            .await
    }

    /// Base URL of the publisher's API, `/api/v1` included.
    pub async fn api_base(&self) -> Result<String, ClientError> {
        let host = self.config().await?.settings.api_url.as_deref().unwrap_or(&self.base);
        Ok(format!("{host}/api/v1"))
    }

    /// A package's index file as the server has it by name, unproved.
    pub async fn index_by_name(&self, name: &PackageName) -> Result<Option<IndexFile>, ClientError> {
        let key = layout::index_file(name);
        let bytes = self.by_name(&key, INDEX_BYTES_MAX).await?;
        bytes.map(|bytes| IndexFile::parse(&bytes).map_err(|e| self.unexpected(&key, &e))).transpose()
    }

    /// A package's document as the server has it by name, unproved.
    pub async fn document_by_name(&self, name: &PackageName) -> Result<Option<PackageDocument>, ClientError> {
        let key = layout::document(name);
        self.by_name(&key, DOCUMENT_BYTES_MAX).await?.map(|bytes| self.parse(&key, &bytes)).transpose()
    }

    /// The shard of the alias map for an alias, as the server has it by name, unproved.
    pub async fn aliases_by_name(&self, alias: &Alias) -> Result<Option<AliasMap>, ClientError> {
        let key = layout::alias_map(alias.shard());
        self.by_name(&key, ALIASES_BYTES_MAX).await?.map(|bytes| self.parse(&key, &bytes)).transpose()
    }

    /// A file that may change, by its key: a conditional request, or the cached bytes when offline.
    pub(crate) async fn by_name(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, ClientError> {
        let cached = self.cache.read(key);
        if self.network == Network::Offline {
            return match cached {
                Some(entry) => Ok(Some(entry.body)),
                None => Err(ClientError::OfflineMiss { what: format!("`{key}`") }),
            };
        }
        let url = self.url(key);
        let etag = cached.as_ref().and_then(|entry| entry.etag.as_deref());
        let answer = self.read(&url, etag, bytes_max).await?;
        match (answer.status.as_u16(), cached) {
            (200, _) => {
                let entry = Entry { etag: answer.etag, body: answer.body };
                self.cache.write(key, &entry)?;
                Ok(Some(entry.body))
            }
            (304, Some(entry)) => Ok(Some(entry.body)),
            (404, _) => Ok(None),
            (_, _) => Err(http::status_error(&url, answer.status)),
        }
    }

    /// A file that never changes: from the cache if its bytes pass `check`, else fetched and kept if they do.
    ///
    /// `None` if the server does not have it; `Some(Err(bytes))` if what the server has does not pass.
    pub(crate) async fn by_hash(
        &self,
        key: &str,
        bytes_max: u64,
        check: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Result<Bytes, Bytes>>, ClientError> {
        if let Some(entry) = self.cache.read(key) {
            if check(&entry.body) {
                return Ok(Some(Ok(entry.body)));
            }
            self.cache.remove(key);
        }
        if self.network == Network::Offline {
            return Err(ClientError::OfflineMiss { what: format!("`{key}`") });
        }
        let url = self.url(key);
        let answer = self.read(&url, None, bytes_max).await?;
        match answer.status.as_u16() {
            200 if check(&answer.body) => {
                self.keep(key, answer.body.clone())?;
                Ok(Some(Ok(answer.body)))
            }
            200 => Ok(Some(Err(answer.body))),
            404 => Ok(None),
            _ => Err(http::status_error(&url, answer.status)),
        }
    }

    /// A small object, checked against its hash; `None` if it is gone.
    pub async fn object(&self, digest: &Sha256Digest, bytes_max: u64) -> Result<Option<Bytes>, ClientError> {
        let key = layout::object(digest);
        match self.by_hash(&key, bytes_max, |bytes| Sha256Digest::of(bytes) == *digest).await? {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(bytes)) => Err(crate::VerificationError::Digest {
                what: format!("object `{key}`"),
                expected: *digest,
                actual: Sha256Digest::of(&bytes),
            }
            .into()),
        }
    }

    /// Fetches a static file; with the token only where the registry does not serve it without.
    pub async fn read(&self, url: &str, etag: Option<&str>, bytes_max: u64) -> Result<Answer, ClientError> {
        // Others may learn meanwhile that a token is needed: what counts is whether this request had it.
        let sent = self.read_token();
        let answer = self.http.get(url, etag, bytes_max, sent).await?;
        let refused = matches!(answer.status.as_u16(), 401 | 403);
        if !refused || self.token.is_none() || sent.is_some() {
            return Ok(answer);
        }
        let answer = self.http.get(url, etag, bytes_max, self.token().ok()).await?;
        let granted = !matches!(answer.status.as_u16(), 401 | 403);
        self.reads_need_token.store(granted, Ordering::Relaxed);
        Ok(answer)
    }

    /// The token for reads, if they are known to need it.
    pub(crate) fn read_token(&self) -> Option<&Secret> {
        self.token().ok().filter(|_| self.reads_need_token.load(Ordering::Relaxed))
    }

    /// Keeps an archive, which has this digest, until somebody wants it.
    pub(crate) fn keep_prefetched(&self, digest: Sha256Digest, file: NamedTempFile) {
        self.prefetched.lock().expect("no holder of this lock panics").insert(digest, file);
    }

    /// An archive that was downloaded ahead.
    pub(crate) fn take_prefetched(&self, digest: &Sha256Digest) -> Option<NamedTempFile> {
        self.prefetched.lock().expect("no holder of this lock panics").remove(digest)
    }

    /// Bytes cached under a key, whatever they are worth.
    pub(crate) fn cached(&self, key: &str) -> Option<Bytes> {
        self.cache.read(key).map(|entry| entry.body)
    }

    /// Keeps bytes that the caller has checked.
    pub(crate) fn keep(&self, key: &str, body: Bytes) -> Result<(), ClientError> {
        Ok(self.cache.write(key, &Entry { etag: None, body })?)
    }

    /// The URL of a public key.
    pub fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.base)
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|e| self.unexpected(key, &e))
    }

    pub(crate) fn unexpected(&self, key: &str, detail: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unexpected { url: self.url(key), detail: detail.to_string() }
    }
}

/// Brings a base URL to the form under which its token, pinned key and cache are kept.
pub fn normalise_base(text: &str) -> Result<String, ClientError> {
    let bad = |detail: &str| ClientError::BadUrl { text: text.into(), detail: detail.into() };
    let url = http::parse(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it is neither `https` nor `http`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it holds a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it has a query or fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_have_one_form() {
        for text in ["https://Registry.example", "https://registry.example/", "https://registry.example:443"]
        {
            assert_eq!(normalise_base(text).unwrap(), "https://registry.example");
        }
        assert_eq!(normalise_base("http://127.0.0.1:8080/r/").unwrap(), "http://127.0.0.1:8080/r");
        for bad in ["", "registry.example", "ftp://a", "https://u:p@a", "https://a?b=c", "https://a#b"] {
            assert!(normalise_base(bad).is_err(), "{bad}");
        }
    }
}
