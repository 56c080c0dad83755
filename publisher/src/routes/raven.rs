//! The API of `raven pkg`. Its base, `RAVEN_REGISTRY`, is this registry's URL with `/api/v1`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, Request},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use drystone_schemas::{
    Code, PublishMetadata, RavenOwner, Role, SecretText, Version, VersionRecord, layout, rfc3339,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    bearer,
    cargo::{Names, find},
    change,
    language::{NotOurs, SignedIn, expiry, file, name_at, receive, release, sign_in, sign_up, small_json},
    publish::intent_id,
    read,
    target::Target,
};
use crate::{Action, Refusal, Service};

/// Hits of a search, unless the request says how many; and the most.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

pub(super) async fn answer(
    service: &Service,
    names: &Arc<Names>,
    segments: &[&str],
    request: Request,
) -> Result<Response, NotOurs> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let (method, headers, uri) = (request.method().clone(), request.headers().clone(), request.uri().clone());
    Ok(match (&method, segments) {
        (&Method::POST, ["auth", "login"]) => login(service, request).await?,
        (&Method::POST, ["auth", "register"]) => register(service, request).await?,
        (&Method::POST, ["packages", "publish"]) => publish(service, request).await?,
        (_, ["search"]) if get => search(service, names, &uri).await?,
        (_, ["stats"]) if get => stats(service, names).await?,
        (_, ["packages", name]) if get => {
            let name = name_at(name)?;
            file(service, layout::api_package(&name), || read::no_package(&name)).await?
        }
        (_, ["packages", name, "stats"]) if get => package_stats(service, name).await?,
        (_, ["packages", name, "owners"]) if get => owners(service, name).await?,
        (&Method::POST | &Method::PUT, ["packages", name, "owners"]) => {
            add_owner(service, name, request).await?
        }
        (&Method::DELETE, ["packages", name, "owners", login]) => {
            remove_owner(service, name, login, &headers).await?
        }
        (_, ["packages", name, vers]) if get && Version::new(vers).is_ok() => {
            version(service, name, vers).await?
        }
        (&Method::DELETE, ["packages", name, vers]) => yank(service, name, vers, &headers).await?,
        _ => return Err(NotOurs::Native(Box::new(request))),
    })
}

async fn login(service: &Service, request: Request) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Login {
        email: String,
        password: SecretText,
    }
    let from = super::auth::address(&request);
    let Login { email, password } = small_json(service, request).await?;
    let SignedIn { token, record, account } = sign_in(service, &email, password, from).await?;
    let user = json!({"user_id": account.id, "username": account.login, "email": email});
    let body = json!({"token": token.reveal(), "expires_at": expiry(&record), "user": user});
    Ok(Json(body).into_response())
}

async fn register(service: &Service, request: Request) -> Result<Response, Refusal> {
    let SignedIn { token, record, account } = sign_up(service, request).await?;
    let body = json!({
        "user_id": account.id,
        "username": account.login,
        "email": account.email,
        "created_at": rfc3339(account.created),
        "token": token.reveal(),
        "expires_at": expiry(&record),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn publish(service: &Service, request: Request) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
        version: String,
    }
    let upload = receive(service, request, "tarball").await?;
    let Metadata { name, version } = upload.metadata()?;
    let expected = PublishMetadata { name: Some(name), vers: Some(version), ..PublishMetadata::default() };
    let (record, line) = upload.publish(service, expected).await?;
    let body = json!({
        "package_id": record.name,
        "name": record.name,
        "version": record.vers,
        "published_at": line.pubtime,
        "download_url": download_url(service, &record),
        "checksum": line.cksum,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn download_url(service: &Service, record: &VersionRecord) -> String {
    format!("{}/api/v1/packages/{}/{}/download", service.settings().api_url(), record.name, record.vers)
}

async fn search(service: &Service, names: &Arc<Names>, uri: &Uri) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Asked {
        #[serde(default)]
        q: String,
        limit: Option<usize>,
        #[serde(default)]
        offset: usize,
    }
    #[derive(Serialize)]
    struct Hit {
        name: String,
        version: String,
        description: String,
        keywords: Vec<String>,
        downloads: u64,
        /// Falls with the place in the list: nothing else is known of how well it fits.
        score: f64,
    }
    let Query(asked) = Query::<Asked>::try_from_uri(uri)
        .map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let wanted = limit.saturating_add(asked.offset).min(LIMIT_MAX);
    let found = find(service, &asked.q, wanted, names).await?;
    let mut results = Vec::new();
    for (place, hit) in found.crates.into_iter().enumerate().skip(asked.offset) {
        let document = read::find_document(service, &hit.name).await?;
        results.push(Hit {
            name: hit.name.to_string(),
            version: hit.max_version,
            description: hit.description.unwrap_or_default(),
            keywords: document.map(|document| document.keywords).unwrap_or_default(),
            downloads: 0,
            score: 1.0 / (place as f64 + 1.0),
        });
    }
    let body = json!({"results": results, "total": found.meta.total, "limit": limit, "offset": asked.offset});
    Ok(Json(body).into_response())
}

async fn version(service: &Service, name: &str, vers: &str) -> Result<Response, Refusal> {
    let line = release(service, &name_at(name)?, vers).await?;
    let bytes = read::file(service, layout::object(&line.record)).await?;
    let bytes =
        bytes.ok_or_else(|| Refusal::internal(format!("the record of `{name}` {vers} is missing")))?;
    let record: VersionRecord = serde_json::from_slice(&bytes).map_err(Refusal::internal)?;
    let deps = |dev: bool| -> serde_json::Map<String, serde_json::Value> {
        let of_kind = record.deps.iter().filter(|dep| (dep.kind == drystone_schemas::DepKind::Dev) == dev);
        of_kind.map(|dep| (dep.name.clone(), dep.req.clone().into())).collect()
    };
    let body = json!({
        "name": record.name,
        "version": record.vers,
        "description": record.description.clone().unwrap_or_default(),
        "authors": record.authors,
        "license": record.license.clone().unwrap_or_default(),
        "repository": record.repository,
        "dependencies": deps(false),
        "dev_dependencies": deps(true),
        "published_at": line.pubtime,
        "download_url": download_url(service, &record),
        "checksum": line.cksum,
        "size_bytes": line.size,
        "yanked": line.yanked,
    });
    Ok(Json(body).into_response())
}

async fn yank(service: &Service, name: &str, vers: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let token = bearer(headers)?;
    let id = intent_id(service, headers)?;
    let pkg = name_at(name)?;
    let vers = Version::new(vers).map_err(|e| Refusal::code(Code::InvalidVersion, e.to_string()))?;
    let action = Action::Yank { pkg: pkg.clone(), vers: vers.clone(), reason: None };
    service.submit(id, &token, action, Vec::new()).await?;
    let message = format!("`{pkg}` {vers} is yanked");
    Ok(Json(json!({"message": message, "package": pkg, "version": vers})).into_response())
}

fn target(name: &str) -> Result<Target, Refusal> {
    Ok(Target { name: name_at(name)?, version: None, verb: Vec::new() })
}

async fn owners(service: &Service, name: &str) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Listed {
        #[serde(flatten)]
        owner: RavenOwner,
        role: Role,
    }
    let target = target(name)?;
    let listed = read::owner_list(service, &target).await?.into_iter().map(|owner| Listed {
        owner: RavenOwner { username: owner.login, user_id: owner.account.to_string() },
        role: owner.role,
    });
    let owners: Vec<Listed> = listed.collect();
    Ok(Json(json!({"package": target.name, "owners": owners})).into_response())
}

async fn add_owner(service: &Service, name: &str, request: Request) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Asked {
        username: String,
        role: Option<Role>,
    }
    let token = bearer(request.headers())?;
    let id = intent_id(service, request.headers())?;
    service.admit(&token).await?;
    let pkg = name_at(name)?;
    let Asked { username, role } = small_json(service, request).await?;
    let account = change::account(service, &username).await?.id;
    let action =
        Action::OwnerAdd { pkg: pkg.clone(), account, role: role.unwrap_or(Role::Owner), exception: None };
    service.submit(id, &token, action, Vec::new()).await?;
    Ok(Json(json!({"message": format!("`{username}` may act for `{pkg}`"), "package": pkg})).into_response())
}

async fn remove_owner(
    service: &Service,
    name: &str,
    username: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let token = bearer(headers)?;
    let id = intent_id(service, headers)?;
    service.admit(&token).await?;
    let pkg = name_at(name)?;
    let account = change::account(service, username).await?.id;
    let action = Action::OwnerRemove { pkg: pkg.clone(), account, exception: None };
    service.submit(id, &token, action, Vec::new()).await?;
    Ok(Json(json!({"message": format!("`{username}` may not act for `{pkg}`"), "package": pkg}))
        .into_response())
}

/// Downloads are not counted, and nobody counts versions and users of a registry that is made of files.
async fn stats(service: &Service, names: &Arc<Names>) -> Result<Response, Refusal> {
    let packages = names.list(service).await?.map_or(0, |names| names.len());
    Ok(Json(json!({
        "total_packages": packages,
        "total_versions": 0,
        "total_downloads": 0,
        "total_users": 0,
        "updated_at": rfc3339(service.core.clock.now_unix_s()),
    }))
    .into_response())
}

async fn package_stats(service: &Service, name: &str) -> Result<Response, Refusal> {
    let name = name_at(name)?;
    let document = read::find_document(service, &name).await?.ok_or_else(|| read::no_package(&name))?;
    let downloads = json!({"total": 0, "last_week": 0, "last_month": 0, "last_year": 0});
    let body = json!({"downloads": downloads, "versions_count": document.releases, "dependents_count": 0});
    Ok(Json(body).into_response())
}
