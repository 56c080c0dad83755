//! The identity of a CI job: where its provider gives a token, and what the registry gives for it.
//!
//! Owns: which variables say so, and the exchange. Does not own: which identities a package trusts.
//! Sources: GitHub's and GitLab's documentation of their ID tokens.

use drystone_schemas::{
    AccountId, CiIdentity, ExchangeRequest, ExchangeResponse, PackageName, PublisherRequest,
    PublishersResponse, SecretText, Sha256Digest, TrustedPublisher, Version, WriteResponse,
};
use reqwest::Method;
use serde::Deserialize;

use crate::{
    ClientError, Registry, Secret,
    api::{Body, package_path, read_answer},
    http::{Ask, AskBody},
};

/// Longest answer of a provider, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Where a CI job gets its provider's token.
#[derive(Debug, Clone)]
pub enum CiSource {
    /// The job has it: `DRYSTONE_ID_TOKEN`, as GitLab's `id_tokens` sets it.
    Given(Secret),
    /// GitHub Actions makes one for whatever audience is asked for.
    Asked {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: String,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        token: Secret,
    },
}

/// What a token is to be exchanged for: a package, and where it is known the upload.
#[derive(Debug, Clone, Copy)]
pub struct CiUpload<'a> {
    /// The package.
    pub name: &'a PackageName,
    /// Its version and archive.
    pub release: Option<(&'a Version, &'a Sha256Digest)>,
}

impl CiSource {
    /// The source that the environment names, if this is a job that has one.
    pub fn of_env<'e>(get: impl Fn(&str) -> Option<&'e str>) -> Option<Self> {
        if let Some(token) = get("DRYSTONE_ID_TOKEN") {
            return Some(Self::Given(Secret::new(token)));
        }
        let (url, token) = (get("ACTIONS_ID_TOKEN_REQUEST_URL")?, get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
        Some(Self::Asked { url: url.to_owned(), token: Secret::new(token) })
    }
}

/// The audience that binds a token to an upload.
fn audience(registry: &str, upload: &CiUpload<'_>) -> String {
    let name = upload.name;
    match upload.release {
        Some((version, digest)) => format!("{registry}#{digest}#{name}@{version}"),
        None => format!("{registry}#{name}"),
    }
}

impl Registry {
    /// Exchanges the job's token for one of the registry's, good for minutes and this upload.
    ///
    /// # Errors
    ///
    /// The provider's or the registry's refusal.
    pub async fn exchange(&self, source: &CiSource, upload: &CiUpload<'_>) -> Result<Secret, ClientError> {
        self.require_network("publishing")?;
        let jwt = match source {
            CiSource::Given(token) => token.clone(),
            CiSource::Asked { url, token } => {
                self.ask_provider(url, token, &audience(&self.config().await?.settings.public_url, upload))
                    .await?
            }
        };
        let asked =
            ExchangeRequest { jwt: SecretText::new(jwt.expose()), package: Some(upload.name.to_string()) };
        let made: ExchangeResponse =
            self.call_once(Method::POST, "trusted_publishing/tokens", Body::json(&asked)?).await?;
        Ok(Secret::new(made.token.expose()))
    }

    async fn ask_provider(&self, url: &str, token: &Secret, audience: &str) -> Result<Secret, ClientError> {
        #[derive(Deserialize)]
        struct Issued {
            value: SecretText,
        }
        let audience: String = url::form_urlencoded::byte_serialize(audience.as_bytes()).collect();
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}audience={audience}");
        let issued: Issued = self.get_json(&url, Some(token)).await?;
        Ok(Secret::new(issued.value.expose()))
    }

    async fn get_json<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        token: Option<&Secret>,
    ) -> Result<T, ClientError> {
        let ask = Ask {
            method: Method::GET,
            url,
            headers: vec![(reqwest::header::ACCEPT, "application/json".into())],
            token,
            body: Box::new(|| Ok(AskBody::Empty)),
            bytes_max: ANSWER_BYTES_MAX,
            repeatable: true,
        };
        read_answer(&self.http().ask(ask).await?)
    }

    /// The numbers of a repository's owner and of the repository, as GitHub's REST API at `api` tells them.
    pub async fn github_numbers(&self, api: &str, repository: &str) -> Result<(String, String), ClientError> {
        #[derive(Deserialize)]
        struct Numbered {
            id: u64,
        }
        #[derive(Deserialize)]
        struct Repository {
            id: u64,
            owner: Numbered,
        }
        let found: Repository = self.get_json(&format!("{api}/repos/{repository}"), None).await?;
        Ok((found.owner.id.to_string(), found.id.to_string()))
    }

    /// The numbers of a project's namespace and of the project, as GitLab's REST API at `api` tells them.
    pub async fn gitlab_numbers(&self, api: &str, project: &str) -> Result<(String, String), ClientError> {
        #[derive(Deserialize)]
        struct Namespace {
            id: u64,
        }
        #[derive(Deserialize)]
        struct Project {
            id: u64,
            namespace: Namespace,
        }
        let project = project.replace('/', "%2F");
        let found: Project = self.get_json(&format!("{api}/projects/{project}"), None).await?;
        Ok((found.namespace.id.to_string(), found.id.to_string()))
    }

    /// The CI identities that a package trusts.
    pub async fn publishers(&self, name: &PackageName) -> Result<Vec<TrustedPublisher>, ClientError> {
        let path = format!("{}/publishers", package_path(name));
        let found: PublishersResponse = self.call(Method::GET, &path, Body::None).await?;
        Ok(found.publishers)
    }

    /// Lets a package trust a CI identity.
    pub async fn add_publisher(
        &self,
        name: &PackageName,
        issuer: &str,
        identity: CiIdentity,
    ) -> Result<WriteResponse, ClientError> {
        let body = Body::json(&PublisherRequest { issuer: issuer.into(), identity })?;
        self.change(Method::POST, &format!("{}/publishers", package_path(name)), body).await
    }

    /// Lets it trust one no longer.
    pub async fn remove_publisher(
        &self,
        name: &PackageName,
        id: &AccountId,
    ) -> Result<WriteResponse, ClientError> {
        self.change(Method::DELETE, &format!("{}/publishers/{id}", package_path(name)), Body::None).await
    }

    /// The CI identities of one's own that wait for a package.
    pub async fn pending_publishers(&self, name: &PackageName) -> Result<Vec<TrustedPublisher>, ClientError> {
        let found: PublishersResponse = self.call(Method::GET, &pending_path(name), Body::None).await?;
        Ok(found.publishers)
    }

    /// Lets a CI identity wait for a package that is not there yet.
    pub async fn add_pending_publisher(
        &self,
        name: &PackageName,
        issuer: &str,
        identity: CiIdentity,
    ) -> Result<TrustedPublisher, ClientError> {
        let body = Body::json(&PublisherRequest { issuer: issuer.into(), identity })?;
        self.call_once(Method::POST, &pending_path(name), body).await
    }

    /// Lets it wait no longer.
    pub async fn remove_pending_publisher(
        &self,
        name: &PackageName,
        id: &AccountId,
    ) -> Result<WriteResponse, ClientError> {
        self.call(Method::DELETE, &format!("{}/{id}", pending_path(name)), Body::None).await
    }
}

fn pending_path(name: &PackageName) -> String {
    package_path(name).replacen("packages/", "pending-publishers/", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_the_token_is() {
        let of = |pairs: &'static [(&str, &str)]| {
            CiSource::of_env(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
        };
        assert!(of(&[]).is_none());
        assert!(of(&[("ACTIONS_ID_TOKEN_REQUEST_URL", "https://a.test")]).is_none());
        let asked = of(&[
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://a.test"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
        ]);
        assert!(matches!(asked, Some(CiSource::Asked { .. })));
        assert!(matches!(of(&[("DRYSTONE_ID_TOKEN", "x")]), Some(CiSource::Given(_))));
    }

    #[test]
    fn the_audience_names_the_upload() {
        let (name, version) = (PackageName::new("acme/http").unwrap(), Version::new("1.0.0").unwrap());
        let digest = Sha256Digest::of(b"archive");
        let upload = CiUpload { name: &name, release: Some((&version, &digest)) };
        let bound = audience("https://r.test", &upload);
        assert_eq!(bound, format!("https://r.test#sha256:{}#acme/http@1.0.0", digest.hex()));
        let upload = CiUpload { release: None, ..upload };
        assert_eq!(audience("https://r.test", &upload), "https://r.test#acme/http");
    }
}
