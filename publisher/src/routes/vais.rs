//! The API of `vaisc pkg`. Its `--registry` is this registry's URL with `/api/v1`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Query, Request},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use drystone_schemas::{Code, Problem, PublishMetadata, SecretText, Version, layout};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::language::{
    NotOurs, SignedIn, expiry, file, name_at, receive, release, sign_in, sign_up, small_json,
};
use super::{
    cargo::{Names, find},
    read,
};
use crate::{Refusal, Service};

/// Hits of a search, unless the request says how many; and how many of the best are looked at.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

pub(super) async fn answer(
    service: &Service,
    names: &Arc<Names>,
    segments: &[&str],
    request: Request,
) -> Result<Response, NotOurs> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    Ok(match segments {
        ["search"] if get => search(service, names, request.uri()).await?,
        ["auth", "login"] if request.method() == Method::POST => login(service, request).await?,
        ["auth", "register"] if request.method() == Method::POST => register(service, request).await?,
        ["packages", "publish"] if request.method() == Method::POST => publish(service, request).await?,
        ["index.json"] if get => index(service).await?,
        ["packages", name, "index.json"] if get => {
            let name = name_at(name)?;
            file(service, layout::api_package(&name), || read::no_package(&name)).await?
        }
        ["packages", name, file] if get => match file.strip_suffix(".tar.gz") {
            Some(vers) => archive(service, name, vers).await?,
            None if Version::new(file).is_ok() => version(service, name, file).await?,
            None => return Err(NotOurs::Native(Box::new(request))),
        },
        _ => return Err(NotOurs::Native(Box::new(request))),
    })
}

/// A registry without packages has no file yet.
async fn index(service: &Service) -> Result<Response, Refusal> {
    let missing = || Refusal::code(Code::NoSuchRoute, Code::NoSuchRoute.title());
    match file(service, layout::API_INDEX.into(), missing).await {
        Err(refusal) if refusal.status() == 404 => Ok(Json(json!([])).into_response()),
        other => other,
    }
}

/// The client searches in its copy of the index; this is for pages and scripts.
async fn search(service: &Service, names: &Names, uri: &Uri) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Asked {
        #[serde(default)]
        q: String,
        limit: Option<usize>,
        #[serde(default)]
        offset: usize,
        category: Option<String>,
        keyword: Option<String>,
    }
    #[derive(Serialize)]
    struct Hit {
        name: String,
        description: Option<String>,
        latest_version: String,
        downloads: u64,
        keywords: Vec<String>,
        categories: Vec<String>,
        updated_at: String,
    }
    let Query(asked) = Query::<Asked>::try_from_uri(uri)
        .map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let found = find(service, &asked.q, LIMIT_MAX, names).await?;
    let mut hits = Vec::new();
    for hit in found.crates {
        let Some(document) = read::find_document(service, &hit.name).await? else { continue };
        let fits = |wanted: &Option<String>, said: &[String]| {
            wanted.as_ref().is_none_or(|wanted| said.iter().any(|said| said.eq_ignore_ascii_case(wanted)))
        };
        if fits(&asked.category, &document.categories) && fits(&asked.keyword, &document.keywords) {
            hits.push(Hit {
                name: hit.name.to_string(),
                description: document.description,
                latest_version: hit.max_version,
                downloads: 0,
                keywords: document.keywords,
                categories: document.categories,
                updated_at: document.updated,
            });
        }
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for category in hits.iter().flat_map(|hit| &hit.categories) {
        *counts.entry(category.clone()).or_default() += 1;
    }
    let categories: Vec<_> =
        counts.into_iter().map(|(name, count)| json!({"name": name, "count": count})).collect();
    let total = hits.len();
    let packages: Vec<Hit> = hits.into_iter().skip(asked.offset).take(limit).collect();
    Ok(Json(json!({"packages": packages, "total": total, "categories": categories})).into_response())
}

async fn version(service: &Service, name: &str, vers: &str) -> Result<Response, Refusal> {
    let line = release(service, &name_at(name)?, vers).await?;
    let key = layout::api_release(&line.name, &line.vers);
    file(service, key, || Refusal::code(Code::VersionNotFound, format!("`{name}` has no version `{vers}`")))
        .await
}

async fn archive(service: &Service, name: &str, vers: &str) -> Result<Response, Refusal> {
    let line = release(service, &name_at(name)?, vers).await?;
    Ok((StatusCode::FOUND, [(header::LOCATION, read::object_url(service, &line.cksum))]).into_response())
}

async fn login(service: &Service, request: Request) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Login {
        username: String,
        password: SecretText,
    }
    let from = super::auth::address(&request);
    let asked: Login = small_json(service, request).await?;
    let signed_in = sign_in(service, &asked.username, asked.password, from).await?;
    if signed_in.account.login.as_str() != asked.username {
        let problem = Problem::new(Code::TokenInvalid, "the token is that of another user");
        return Err(Refusal::new(
            problem.with_hint("ask the operator for your login, and give your token as the password"),
        ));
    }
    Ok(Json(session(&signed_in)).into_response())
}

async fn register(service: &Service, request: Request) -> Result<Response, Refusal> {
    Ok((StatusCode::CREATED, Json(session(&sign_up(service, request).await?))).into_response())
}

fn session(SignedIn { token, record, account }: &SignedIn) -> serde_json::Value {
    let user = json!({
        "id": account.id,
        "username": account.login,
        "email": account.email.as_ref().map_or("", |email| email.as_str()),
        "is_admin": record.is_admin(),
    });
    json!({"token": token.reveal(), "expires_at": expiry(record), "user": user})
}

async fn publish(service: &Service, request: Request) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let upload = receive(service, request, "archive").await?;
    let Metadata { name, version, checksum } = upload.metadata()?;
    let expected = PublishMetadata {
        name: Some(name),
        vers: Some(version),
        sha256: checksum,
        ..PublishMetadata::default()
    };
    let (record, line) = upload.publish(service, expected).await?;
    let body = json!({"name": record.name, "version": record.vers, "checksum": line.cksum});
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
