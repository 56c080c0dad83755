//! Trusted publishing: CI identities that may publish a package, and the issuers that vouch for them.
//!
//! Owns: what a publisher is, and which are well-formed. Does not own: tokens of issuers and how they are checked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountId, SecretText};

/// Most publishers of a package.
pub const PUBLISHERS_MAX: usize = 10;
/// Most claims that a publisher of a general issuer demands, and the longest text of any claim, in bytes.
const CLAIMS_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 255;

/// Which claims an issuer's tokens have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Those of GitHub Actions.
    Github,
    /// Those of GitLab CI.
    Gitlab,
    /// Any: a publisher names the claims that it demands.
    Oidc,
}

/// An OpenID Connect issuer whose tokens this registry takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustedIssuer {
    /// Its URL, exactly as in the claim `iss`; no slash at the end.
    pub url: String,
    /// Which claims its tokens have.
    pub provider: Provider,
}

/// A CI identity that may publish versions of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustedPublisher {
    /// The actor of what it publishes.
    pub id: AccountId,
    /// URL of the issuer that vouches for it.
    pub issuer: String,
    /// Who it is.
    #[serde(flatten)]
    pub identity: CiIdentity,
}

impl TrustedPublisher {
    /// Whether both are one identity, under whatever ids.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.issuer, &self.identity) == (&other.issuer, &other.identity)
    }
}

/// Who a CI job is, as its issuer says.
///
/// Names can be given up and taken by somebody else, numbers cannot: where a provider has numbers, they count beside the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "provider", rename_all = "kebab-case")]
pub enum CiIdentity {
    /// A workflow of GitHub Actions.
    Github {
        /// `owner/name`, in any case.
        repository: String,
        /// Number of the repository's owner: the claim `repository_owner_id`.
        owner_id: String,
        /// Number of the repository: the claim `repository_id`.
        repository_id: String,
        /// File below `.github/workflows/`.
        workflow: String,
        /// Environment of the job, in any case; any or none if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// Whether the job must run on a machine of the provider's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hosted_only: bool,
    },
    /// A pipeline of GitLab CI.
    Gitlab {
        /// Path of the project, groups included, in any case.
        project: String,
        /// Number of the namespace: the claim `namespace_id`.
        namespace_id: String,
        /// Number of the project: the claim `project_id`.
        project_id: String,
        /// Path of the pipeline's file in the repository, such as `.gitlab-ci.yml`.
        file: String,
        /// Environment of the job, in any case; any or none if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
    },
    /// A job of any other issuer.
    Oidc {
        /// Claims that must be there with exactly these texts; `sub` is one of them.
        claims: BTreeMap<String, String>,
    },
}

/// Why a publisher cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` of a trusted publisher must be {form}")]
pub struct InvalidPublisher {
    /// Which field.
    pub field: &'static str,
    /// What it must be.
    pub form: &'static str,
}

impl CiIdentity {
    /// Which provider's it is.
    pub const fn provider(&self) -> Provider {
        match self {
            Self::Github { .. } => Provider::Github,
            Self::Gitlab { .. } => Provider::Gitlab,
            Self::Oidc { .. } => Provider::Oidc,
        }
    }

    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), InvalidPublisher> {
        let demand = |holds: bool, field, form| {
            if holds { Ok(()) } else { Err(InvalidPublisher { field, form }) }
        };
        match self {
            Self::Github { repository, owner_id, repository_id, workflow, environment, .. } => {
                demand(
                    is_path(repository) && repository.matches('/').count() == 1,
                    "repository",
                    "`owner/name`",
                )?;
                demand(is_number(owner_id), "owner_id", "a number")?;
                demand(is_number(repository_id), "repository_id", "a number")?;
                let is_file =
                    is_part(workflow) && (workflow.ends_with(".yml") || workflow.ends_with(".yaml"));
                demand(is_file, "workflow", "the name of a `.yml` or `.yaml` file, without a directory")?;
                demand(environment.as_deref().is_none_or(is_text), "environment", "a short text")
            }
            Self::Gitlab { project, namespace_id, project_id, file, environment } => {
                demand(is_path(project) && project.contains('/'), "project", "`group/name`")?;
                demand(is_number(namespace_id), "namespace_id", "a number")?;
                demand(is_number(project_id), "project_id", "a number")?;
                let is_file = is_path(file) && (file.ends_with(".yml") || file.ends_with(".yaml"));
                demand(is_file, "file", "the path of a `.yml` or `.yaml` file")?;
                demand(environment.as_deref().is_none_or(is_text), "environment", "a short text")
            }
            Self::Oidc { claims } => {
                demand(claims.len() <= CLAIMS_MAX, "claims", "at most 8")?;
                demand(claims.contains_key("sub"), "claims", "such that `sub` is among them")?;
                demand(
                    claims.iter().all(|(name, value)| is_text(name) && is_text(value)),
                    "claims",
                    "short texts",
                )
            }
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_part(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (1..=100).contains(&text.len()) && plain && text != "." && text != ".."
}

fn is_path(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && text.split('/').all(is_part)
}

impl std::fmt::Display for CiIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let environment = match self {
            Self::Github { repository, workflow, environment, .. } => {
                write!(f, "{workflow} of {repository}")?;
                environment
            }
            Self::Gitlab { project, file, environment, .. } => {
                write!(f, "{file} of {project}")?;
                environment
            }
            Self::Oidc { claims } => {
                let all: Vec<String> = claims.iter().map(|(name, value)| format!("{name}={value}")).collect();
                return f.write_str(&all.join(" "));
            }
        };
        environment.iter().try_for_each(|environment| write!(f, " in the environment {environment}"))
    }
}

/// The body of a request to trust a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublisherRequest {
    /// URL of the issuer that vouches for it.
    pub issuer: String,
    /// Who it is.
    #[serde(flatten)]
    pub identity: CiIdentity,
}

/// Publishers of a package, or those that wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishersResponse {
    /// In the order in which they were added.
    pub publishers: Vec<TrustedPublisher>,
}

/// The body of an exchange of an issuer's token for one of the registry's.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct ExchangeRequest {
    /// The issuer's token.
    pub jwt: SecretText,
    /// The package that is to be published, unless the token's audience names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// The registry's token for a CI identity.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct ExchangeResponse {
    /// The token.
    pub token: SecretText,
    /// When it expires, RFC 3339.
    pub expires_at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github() -> CiIdentity {
        CiIdentity::Github {
            repository: "acme/http".into(),
            owner_id: "4711".into(),
            repository_id: "815".into(),
            workflow: "release.yml".into(),
            environment: None,
            hosted_only: false,
        }
    }

    #[test]
    fn what_is_well_formed() {
        assert_eq!(github().check(), Ok(()));
        let CiIdentity::Github { owner_id, repository_id, .. } = github() else { unreachable!() };
        for (repository, workflow) in [
            ("acme", "release.yml"),
            ("acme/http/x", "release.yml"),
            ("acme/..", "release.yml"),
            ("acme/http", "a/release.yml"),
            ("acme/http", "release.sh"),
            ("acme/http", "release.yml@x"),
        ] {
            let wrong = CiIdentity::Github {
                repository: repository.into(),
                owner_id: owner_id.clone(),
                repository_id: repository_id.clone(),
                workflow: workflow.into(),
                environment: None,
                hosted_only: false,
            };
            assert!(wrong.check().is_err(), "{repository} {workflow}");
        }
        let oidc = |claims: &[(&str, &str)]| CiIdentity::Oidc {
            claims: claims.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        assert_eq!(oidc(&[("sub", "job")]).check(), Ok(()));
        assert!(oidc(&[("ref", "main")]).check().is_err() && oidc(&[("sub", "")]).check().is_err());
    }

    #[test]
    fn they_are_written_flat() {
        let publisher = TrustedPublisher {
            id: AccountId::new("acct:01K742R2DRAAAAAAAAAAAAAAAB").unwrap(),
            issuer: "https://ci.example".into(),
            identity: github(),
        };
        let text = String::from_utf8(crate::canonical_json(&publisher)).unwrap();
        assert!(
            text.contains("\"provider\":\"github\"") && text.contains("\"workflow\":\"release.yml\""),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<TrustedPublisher>(&text).unwrap(), publisher);
        assert_eq!(github().to_string(), "release.yml of acme/http");
    }
}
