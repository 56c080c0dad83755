//! Calls to the publisher's API, for what static files cannot do.
//!
//! Owns paths, bodies and the reading of refusals. Does not own publishing, which uploads: see [`crate::publish`].
//! Every change carries an idempotency key, so that it can be repeated until its outcome is known.

use bytes::Bytes;
use drystone_schemas::{
    Alias, AliasRequest, AuthorKey, AuthorKeyRequest, Code, ErrorBody, EventId, OwnersRequest,
    OwnersResponse, PackageName, Problem, ReasonRequest, ResolveResponse, Role, RuleRequest, SearchResponse,
    TransferRequest, Version, WriteResponse,
};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderName},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Answer, ClientError, Network, Registry,
    http::{Ask, AskBody, bare_refusal},
};

/// Longest answer of the API, in bytes: index lines of a whole package at most.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Name of the header with the idempotency key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whom a token acts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The account.
    pub account: String,
    /// Its login.
    pub login: String,
    /// What the token may do.
    pub scopes: Vec<String>,
}

/// The body of a call.
pub(crate) enum Body {
    None,
    Json(Vec<u8>),
}

impl Body {
    pub(crate) fn json<T: Serialize>(value: &T) -> Result<Self, ClientError> {
        serde_json::to_vec(value).map(Self::Json).map_err(|e| ClientError::Internal(e.to_string()))
    }
}

impl Registry {
    /// Whom the token acts for.
    pub async fn me(&self) -> Result<Me, ClientError> {
        self.token_for(&self.api_base().await?)?;
        self.call(Method::GET, "me", Body::None).await
    }

    /// Searches names, descriptions, keywords and aliases.
    pub async fn search(&self, query: &str) -> Result<SearchResponse, ClientError> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        self.call(Method::GET, &format!("search?q={query}"), Body::None).await
    }

    /// Asks the API what a short name means; a [`crate::Snapshot`] proves the same from static files.
    pub async fn resolve_alias(&self, alias: &Alias) -> Result<ResolveResponse, ClientError> {
        self.call(Method::GET, &format!("resolve/{alias}"), Body::None).await
    }

    /// Yanks a release.
    pub async fn yank(
        &self,
        name: &PackageName,
        version: &Version,
        reason: Option<String>,
    ) -> Result<WriteResponse, ClientError> {
        let path = format!("{}/{}/yank", package_path(name), version_segment(version));
        self.change(Method::POST, &path, Body::json(&ReasonRequest { reason })?).await
    }

    /// Takes a yank back.
    pub async fn unyank(&self, name: &PackageName, version: &Version) -> Result<WriteResponse, ClientError> {
        let path = format!("{}/{}/unyank", package_path(name), version_segment(version));
        self.change(Method::POST, &path, Body::None).await
    }

    /// Deprecates a package.
    pub async fn deprecate(
        &self,
        name: &PackageName,
        reason: Option<String>,
    ) -> Result<WriteResponse, ClientError> {
        let path = format!("{}/deprecate", package_path(name));
        self.change(Method::POST, &path, Body::json(&ReasonRequest { reason })?).await
    }

    /// Takes a deprecation back.
    pub async fn undeprecate(&self, name: &PackageName) -> Result<WriteResponse, ClientError> {
        self.change(Method::POST, &format!("{}/undeprecate", package_path(name)), Body::None).await
    }

    /// Who owns a package, with logins.
    pub async fn owners(&self, name: &PackageName) -> Result<OwnersResponse, ClientError> {
        self.call(Method::GET, &format!("{}/owners", package_path(name)), Body::None).await
    }

    /// Adds owners, or changes their role.
    pub async fn add_owners(
        &self,
        name: &PackageName,
        users: Vec<String>,
        role: Role,
        exception: Option<String>,
    ) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&OwnersRequest { users, role: Some(role), exception })?;
        self.change(Method::PUT, &format!("{}/owners", package_path(name)), body).await
    }

    /// Removes owners.
    pub async fn remove_owners(
        &self,
        name: &PackageName,
        users: Vec<String>,
        exception: Option<String>,
    ) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&OwnersRequest { users, role: None, exception })?;
        self.change(Method::DELETE, &format!("{}/owners", package_path(name)), body).await
    }

    /// Offers a package to an account or organisation.
    pub async fn offer_transfer(&self, name: &PackageName, to: &str) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&TransferRequest { to: to.into() })?;
        self.change(Method::PUT, &format!("{}/transfer", package_path(name)), body).await
    }

    /// Takes the offer back, or declines it.
    pub async fn withdraw_transfer(&self, name: &PackageName) -> Result<WriteResponse, ClientError> {
        self.change(Method::DELETE, &format!("{}/transfer", package_path(name)), Body::None).await
    }

    /// Takes a package over that is offered.
    pub async fn accept_transfer(&self, name: &PackageName) -> Result<WriteResponse, ClientError> {
        self.change(Method::POST, &format!("{}/transfer/accept", package_path(name)), Body::None).await
    }

    /// Registers a key of an author.
    pub async fn add_author_key(
        &self,
        name: &PackageName,
        key: AuthorKey,
    ) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&AuthorKeyRequest { key })?;
        self.change(Method::PUT, &format!("{}/keys", package_path(name)), body).await
    }

    /// Revokes a key of an author, for ever.
    pub async fn remove_author_key(
        &self,
        name: &PackageName,
        key: AuthorKey,
    ) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&AuthorKeyRequest { key })?;
        self.change(Method::DELETE, &format!("{}/keys", package_path(name)), body).await
    }

    /// Says which keys must sign the releases of a package.
    pub async fn set_rule(
        &self,
        name: &PackageName,
        rule: &RuleRequest,
    ) -> Result<WriteResponse, ClientError> {
        self.change(Method::PUT, &format!("{}/policy", package_path(name)), Body::json(rule)?).await
    }

    /// Makes a short name mean a package.
    pub async fn set_alias(
        &self,
        alias: &Alias,
        package: &PackageName,
    ) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&AliasRequest { package: package.to_string() })?;
        self.change(Method::PUT, &format!("aliases/{alias}"), body).await
    }

    /// Makes a short name mean nothing.
    pub async fn remove_alias(&self, alias: &Alias) -> Result<WriteResponse, ClientError> {
        self.change(Method::DELETE, &format!("aliases/{alias}"), Body::None).await
    }

    /// A change: needs a token, and is repeated under one key until its outcome is known.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, ClientError> {
        self.token()?;
        let id = self.http().effects().new_id();
        self.send(method, path, body, Some(&id), true).await
    }

    /// A call that may be repeated: it changes nothing.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, ClientError> {
        self.send(method, path, body, None, true).await
    }

    /// A call that must not be repeated unless somebody wants it twice.
    pub(crate) async fn call_once<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, ClientError> {
        self.send(method, path, body, None, false).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
        id: Option<&EventId>,
        repeatable: bool,
    ) -> Result<T, ClientError> {
        self.require_network(&format!("`{path}`"))?;
        let api = self.api_base().await?;
        let url = format!("{api}/{path}");
        let mut headers = Vec::new();
        headers.extend(id.map(|id| (IDEMPOTENCY_KEY, id.to_string())));
        let body: Box<dyn Fn() -> Result<AskBody, ClientError> + Send + Sync> = match body {
            Body::None => Box::new(|| Ok(AskBody::Empty)),
            Body::Json(bytes) => {
                headers.push((CONTENT_TYPE, "application/json".into()));
                let bytes = Bytes::from(bytes);
                Box::new(move || Ok(AskBody::Bytes(bytes.clone())))
            }
        };
        let token = match self.token_for(&api) {
            Ok(token) => Some(token),
            // What needs no token may be asked without.
            Err(_) if id.is_none() => None,
            Err(error) => return Err(error),
        };
        let ask = Ask { method, url: &url, headers, token, body, bytes_max: ANSWER_BYTES_MAX, repeatable };
        read_answer(&self.http().ask(ask).await?)
    }

    /// Fails when the network is off.
    pub(crate) fn require_network(&self, what: &str) -> Result<(), ClientError> {
        match self.network() {
            Network::Online => Ok(()),
            Network::Offline => {
                let problem =
                    Problem::new(Code::OfflineMiss, format!("{what} needs the network, which is off"));
                Err(ClientError::Problems(vec![problem]))
            }
        }
    }
}

/// Reads an answer of the API: the value, or the refusal in the registry's own words.
pub(crate) fn read_answer<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body)
            .map_err(|e| ClientError::Unexpected { url: answer.url.clone(), detail: e.to_string() });
    }
    let status = answer.status.as_u16();
    match serde_json::from_slice::<ErrorBody>(&answer.body) {
        Ok(body) if !body.errors.is_empty() => {
            Err(ClientError::Refused { status, problems: body.errors, request_id: body.request_id })
        }
        _ => Err(match status {
            401 => bare_refusal(&answer.url, answer.status, Code::TokenInvalid),
            403 => bare_refusal(&answer.url, answer.status, Code::TokenScope),
            429 => bare_refusal(&answer.url, answer.status, Code::Overloaded),
            502..=504 => {
                ClientError::Unreachable { url: answer.url.clone(), detail: format!("status {status}") }
            }
            _ => ClientError::Unexpected { url: answer.url.clone(), detail: format!("status {status}") },
        }),
    }
}

/// A package below the API's base. A scoped name is one segment.
pub(crate) fn package_path(name: &PackageName) -> String {
    format!("packages/{}", name.as_str().replace('/', "%2F"))
}

/// Versions have one character that some servers take for a space.
fn version_segment(version: &Version) -> String {
    version.to_string().replace('+', "%2B")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            url: "https://r.example/api/v1/x".into(),
            status: reqwest::StatusCode::from_u16(status).unwrap(),
            etag: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn code(status: u16, body: &'static str) -> Code {
        read_answer::<WriteResponse>(&answer(status, body)).unwrap_err().problems()[0].code
    }

    #[test]
    fn refusals_are_read_and_foreign_ones_are_told_by_status() {
        let body = r#"{"errors":[{"code":"not-an-owner","number":"DRY0505","detail":"no","hint":"ask"}],"request_id":"r1"}"#;
        let problems = read_answer::<WriteResponse>(&answer(403, body)).unwrap_err().problems();
        assert_eq!(problems[0].code, Code::NotAnOwner);
        assert_eq!(problems[0].facts["request"], "r1");
        assert_eq!(code(401, "<html>"), Code::TokenInvalid);
        assert_eq!(code(403, ""), Code::TokenScope);
        assert_eq!(code(502, "bad gateway"), Code::Unreachable);
        assert_eq!(code(404, "<html>"), Code::UnexpectedAnswer);
        assert_eq!(code(200, "<html>"), Code::UnexpectedAnswer);
    }

    #[test]
    fn scoped_names_are_one_segment() {
        assert_eq!(package_path(&PackageName::new("acme/http").unwrap()), "packages/acme%2Fhttp");
        assert_eq!(version_segment(&Version::new("1.0.0+a").unwrap()), "1.0.0%2Ba");
    }
}
