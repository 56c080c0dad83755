//! `trust-publisher`: which CI identities may publish a package; and `ci-token`, for tools that want a token.

use std::collections::BTreeMap;

use drystone_client::{
    ClientError, Registry, Snapshot,
    ci::{CiSource, CiUpload},
};
use drystone_schemas::{AccountId, CiIdentity, Code, PackageName, Problem, Provider, TrustedPublisher};

use super::yank::told;
use crate::{
    args::{self, PublisherAdd, PublisherOf},
    context::{Context, package_name},
    failure::Failure,
};

/// Where the public providers tell the numbers of repositories.
const GITHUB_API: &str = "https://api.github.com";
const GITLAB_API: &str = "https://gitlab.com/api/v4";

pub(super) async fn trust_publisher(args: &args::TrustPublisher, cx: &Context) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    match args {
        args::TrustPublisher::List(args) => {
            let name = package_name(&args.package)?;
            let publishers = if args.pending {
                registry.pending_publishers(&name).await?
            } else {
                let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
                let document = snapshot.document(&name).await?;
                document.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?.publishers
            };
            cx.printer
                .result(&publishers, || publishers.iter().map(|publisher| line(publisher) + "\n").collect())
        }
        args::TrustPublisher::Add(args) => add(args, cx, &registry).await,
        args::TrustPublisher::Remove(args) => {
            let name = package_name(&args.package)?;
            let missing =
                |_| Problem::new(Code::PublisherNotFound, format!("`{}` is no publisher's id", args.id));
            let id = AccountId::new(&*args.id).map_err(missing)?;
            let response = if args.pending {
                registry.remove_pending_publisher(&name, &id).await?
            } else {
                registry.remove_publisher(&name, &id).await?
            };
            told(cx, &response, None)
        }
    }
}

fn line(publisher: &TrustedPublisher) -> String {
    format!("{}  {}  ({})", publisher.id, publisher.identity, publisher.issuer)
}

async fn add(args: &PublisherAdd, cx: &Context, registry: &Registry) -> Result<(), Failure> {
    let name = package_name(&args.package)?;
    let issuer = issuer(args, registry).await?;
    let identity = identity(args, cx, registry).await?;
    if args.pending {
        let publisher = registry.add_pending_publisher(&name, &issuer, identity).await?;
        cx.printer
            .step("Waiting", &format!("{} may publish the first version of {name}", publisher.identity));
        return if cx.printer.is_json() { cx.printer.result(&publisher, String::new) } else { Ok(()) };
    }
    let response = registry.add_publisher(&name, &issuer, identity).await?;
    told(cx, &response, Some(&format!("drystone trust-publisher remove {name} ID")))
}

/// The issuer: the one named, else the only one of its provider that the registry takes.
async fn issuer(args: &PublisherAdd, registry: &Registry) -> Result<String, Failure> {
    if let Some(issuer) = &args.issuer {
        return Ok(issuer.clone());
    }
    let provider = match args.of {
        PublisherOf::Github => Provider::Github,
        PublisherOf::Gitlab => Provider::Gitlab,
        PublisherOf::Oidc => Provider::Oidc,
    };
    let issuers = &registry.config().await?.settings.issuers;
    let fit: Vec<&str> =
        issuers.iter().filter(|issuer| issuer.provider == provider).map(|issuer| &*issuer.url).collect();
    match &*fit {
        [only] => Ok((*only).to_owned()),
        [] => Err(Problem::new(Code::IssuerUnknown, "the registry takes tokens of no such issuer").into()),
        several => Err(Problem::new(Code::BadUsage, "the registry takes tokens of several such issuers")
            .fact("issuers", several.join(", "))
            .with_hint("choose one with `--issuer URL`")
            .into()),
    }
}

async fn identity(args: &PublisherAdd, cx: &Context, registry: &Registry) -> Result<CiIdentity, Failure> {
    let needed = |value: &Option<String>, flag: &str| {
        let missing = || Problem::new(Code::BadUsage, format!("`{flag}` is missing"));
        value.clone().ok_or_else(|| Failure::from(missing()))
    };
    if matches!(args.of, PublisherOf::Oidc) {
        return Ok(CiIdentity::Oidc { claims: claims(&args.claims)? });
    }
    let repository = needed(&args.repository, "--repository")?;
    let numbers = match (&args.owner_id, &args.repository_id) {
        (Some(owner), Some(repository)) => (owner.clone(), repository.clone()),
        _ => {
            let found = match args.of {
                PublisherOf::Gitlab => {
                    registry.gitlab_numbers(args.api.as_deref().unwrap_or(GITLAB_API), &repository).await
                }
                _ => registry.github_numbers(args.api.as_deref().unwrap_or(GITHUB_API), &repository).await,
            };
            let (owner, number) = found.map_err(|error| {
                Failure::from(error)
                    .noting("give `--owner-id` and `--repository-id` where the provider does not tell them")
            })?;
            cx.printer.more(&format!("{repository} is number {number}, its owner {owner}"));
            (owner, number)
        }
    };
    let (workflow, environment) = (needed(&args.workflow, "--workflow")?, args.environment.clone());
    Ok(match args.of {
        PublisherOf::Gitlab => CiIdentity::Gitlab {
            project: repository,
            namespace_id: numbers.0,
            project_id: numbers.1,
            file: workflow,
            environment,
        },
        _ => CiIdentity::Github {
            repository,
            owner_id: numbers.0,
            repository_id: numbers.1,
            workflow,
            environment,
            hosted_only: args.hosted_only,
        },
    })
}

/// Reads `NAME=VALUE`.
fn claims(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let read = |text: &String| {
        let wrong = || Problem::new(Code::BadUsage, format!("`{text}` is not `NAME=VALUE`"));
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(read).collect()
}

/// Prints a token of the registry's for this job, for tools such as cargo.
pub(super) async fn ci_token(args: &args::CiToken, cx: &Context) -> Result<(), Failure> {
    let name: PackageName = package_name(&args.package)?;
    let source = CiSource::of_env(|name| cx.env.get(name)).ok_or_else(no_identity)?;
    let registry = cx.registry_here()?;
    let token = registry.exchange(&source, &CiUpload { name: &name, release: None }).await?;
    let text = token.expose();
    cx.printer.result(&serde_json::json!({"token": text}), || format!("{text}\n"))
}

fn no_identity() -> Failure {
    Problem::new(Code::BadUsage, "this is no CI job that can show who it is")
        .with_hint("in GitHub Actions grant `id-token: write`; elsewhere put the provider's token into `DRYSTONE_ID_TOKEN`")
        .into()
}
