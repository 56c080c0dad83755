//! Reads that answer from static files what clients of other registries ask an API for.

use std::sync::LazyLock;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use drystone_schemas::{
    Alias, AliasMap, Code, Format, IndexFile, Owner, OwnersResponse, PackageDocument, PackageName,
    PackageResponse, ResolveResponse, Sha256Digest, VersionRecord, VersionResponse, ZigSnippet, layout,
};
use serde::Serialize;

use super::{App, bearer, path_text, target::Target};
use crate::{Refusal, Service, vault};

pub(super) async fn file(service: &Service, key: String) -> Result<Option<bytes::Bytes>, Refusal> {
    service.file(key).await
}

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(Refusal::internal)
}

pub(super) fn no_package(name: &PackageName) -> Refusal {
    Refusal::code(Code::PackageNotFound, format!("there is no package `{name}`"))
}

pub(super) async fn find_document(
    service: &Service,
    name: &PackageName,
) -> Result<Option<PackageDocument>, Refusal> {
    service.document_of(name).await
}

async fn document(service: &Service, name: &PackageName) -> Result<PackageDocument, Refusal> {
    find_document(service, name).await?.ok_or_else(|| no_package(name))
}

pub(super) async fn find_index(service: &Service, name: &PackageName) -> Result<Option<IndexFile>, Refusal> {
    let bytes = file(service, layout::index_file(name)).await?;
    bytes.map(|bytes| IndexFile::parse(&bytes)).transpose().map_err(Refusal::internal)
}

pub(super) async fn index(service: &Service, name: &PackageName) -> Result<IndexFile, Refusal> {
    find_index(service, name).await?.ok_or_else(|| no_package(name))
}

pub(super) async fn healthz() -> Response {
    Json(serde_json::json!({"status": "ok"})).into_response()
}

/// The same, as text for those that do not ask for JSON: scripts of other registries compare it with `OK`.
pub(super) async fn health(headers: HeaderMap) -> Response {
    let asked = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if asked.contains("application/json") { healthz().await } else { "OK".into_response() }
}

pub(super) async fn readyz(State(service): App) -> Result<Response, Refusal> {
    let events = service.ready().await?;
    Ok(Json(serde_json::json!({"status": "ready", "events": events})).into_response())
}

pub(super) async fn config(State(service): App) -> Result<Response, Refusal> {
    // A registry that an earlier version made has only the first of the two.
    let bytes = match file(&service, layout::API_CONFIG.into()).await? {
        None => file(&service, layout::CONFIG.into()).await?,
        bytes => bytes,
    };
    let bytes = bytes.ok_or_else(|| Refusal::code(Code::NotInitialised, Code::NotInitialised.title()))?;
    Ok(([(header::CONTENT_TYPE, layout::JSON)], bytes).into_response())
}

/// The description of this API, which does not change while the process lives.
pub(super) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| drystone_schemas::openapi().to_string());
    ([(header::CONTENT_TYPE, layout::JSON)], DOCUMENT.as_str()).into_response()
}

pub(super) async fn me(State(service): App, headers: HeaderMap) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Me {
        account: drystone_schemas::AccountId,
        login: Option<String>,
        token: String,
        scopes: Vec<crate::Scope>,
        expires: Option<String>,
    }
    let token = service.admit(&bearer(&headers)?).await?;
    let account = vault::read_account(&*service.core.store.vault, &token.account).await?;
    let me = Me {
        login: account.map(|account| account.login.into()),
        account: token.account,
        token: token.name,
        scopes: token.scopes,
        expires: token.expires.map(drystone_schemas::rfc3339),
    };
    Ok(Json(me).into_response())
}

/// The package that an alias means.
pub(super) async fn alias_target(service: &Service, alias: &Alias) -> Result<Option<PackageName>, Refusal> {
    let Some(bytes) = file(service, layout::alias_map(alias.shard())).await? else { return Ok(None) };
    let map: AliasMap = parsed(&bytes)?;
    Ok(map.aliases.get(alias).map(|target| target.package.clone()))
}

pub(super) async fn resolve(
    State(service): App,
    text: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let text = path_text(text)?;
    let alias = Alias::new(&*text).map_err(|e| Refusal::code(Code::InvalidAlias, e.to_string()))?;
    // The file as it lies, which static hosting serves as well; an alias that was removed keeps one that names nothing.
    if let Some(bytes) = file(&service, layout::resolve(&alias)).await?
        && serde_json::from_slice::<ResolveResponse>(&bytes).is_ok()
    {
        let headers = [
            (header::CONTENT_TYPE, layout::JSON),
            (header::CACHE_CONTROL, layout::CacheClass::Fresh.cache_control()),
        ];
        return Ok((headers, bytes).into_response());
    }
    // A package's own name means the package.
    let own = match PackageName::new(text) {
        Ok(name) => find_document(&service, &name).await?.map(|document| document.name),
        Err(_) => None,
    };
    let missing = || Refusal::code(Code::AliasNotFound, format!("there is no alias `{alias}`"));
    Ok(Json(ResolveResponse { full_name: own.ok_or_else(missing)?, resolved: true }).into_response())
}

pub(super) async fn package(service: &Service, target: &Target) -> Result<Response, Refusal> {
    let document = document(service, &target.name).await?;
    let versions = index(service, &target.name).await?.lines;
    Ok(Json(PackageResponse { document, versions }).into_response())
}

async fn release(service: &Service, target: &Target) -> Result<drystone_schemas::IndexLine, Refusal> {
    let version = target
        .version
        .as_ref()
        .ok_or_else(|| Refusal::code(Code::NoSuchRoute, "the address has no version"))?;
    let index = index(service, &target.name).await?;
    let missing =
        || Refusal::code(Code::VersionNotFound, format!("`{}` has no version {version}", target.name));
    index.find(version).cloned().ok_or_else(missing)
}

pub(super) async fn version(service: &Service, target: &Target) -> Result<Response, Refusal> {
    let line = release(service, target).await?;
    let yank_reason_text = match &line.yank_reason {
        Some(digest) => {
            file(service, layout::object(digest)).await?.map(|bytes| parsed(&bytes)).transpose()?
        }
        None => None,
    };
    let vcs = match line.format {
        Format::Cargo if line.deleted.is_none() => {
            let record = file(service, layout::object(&line.record)).await?;
            record.map(|bytes| parsed::<VersionRecord>(&bytes)).transpose()?.and_then(|record| record.vcs)
        }
        _ => None,
    };
    let (checksum, download_url) = (line.cksum.clone(), object_url(service, &line.cksum));
    let public_url = &service.settings().public_url;
    let zig_snippet = line.zig.as_ref().map(|zig| ZigSnippet::new(zig, &line.cksum, public_url));
    let answer = VersionResponse { line, checksum, download_url, yank_reason_text, vcs, zig_snippet };
    Ok(Json(answer).into_response())
}

pub(super) fn object_url(service: &Service, hex: &str) -> String {
    format!("{}/o/{hex}", service.settings().public_url)
}

pub(super) async fn download(service: &Service, target: &Target) -> Result<Response, Refusal> {
    let line = release(service, target).await?;
    if let Some(code) = line.deleted {
        let detail = format!("`{}` {} was taken down ({})", line.name, line.vers, code.as_str());
        return Err(Refusal::code(Code::VersionDeleted, detail));
    }
    Ok((StatusCode::FOUND, [(header::LOCATION, object_url(service, &line.cksum))]).into_response())
}

pub(super) async fn owners(service: &Service, target: &Target) -> Result<Response, Refusal> {
    Ok(Json(OwnersResponse { users: owner_list(service, target).await? }).into_response())
}

/// The owners of a package, with their logins.
pub(super) async fn owner_list(service: &Service, target: &Target) -> Result<Vec<Owner>, Refusal> {
    let mut document = document(service, &target.name).await?;
    document.ripen(service.core.clock.now_unix_s());
    let mut users = Vec::with_capacity(document.owners.len());
    for entry in document.owners {
        let login = service.core.shown_as(&entry.account).await?;
        // Cargo wants a number; nothing else uses it.
        let [a, b, c, d, ..] = *Sha256Digest::of(entry.account.as_str().as_bytes()).as_bytes();
        users.push(Owner {
            id: u32::from_be_bytes([a, b, c, d]),
            login,
            name: None,
            account: entry.account,
            role: entry.role,
        });
    }
    Ok(users)
}
