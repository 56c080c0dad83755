//! What clients of GitHub, Zepplin and Zion ask: answered from the files below `api/`, where there are such.
//!
//! Owns: from an address to its file, and the search, which no file can answer. Does not own: what is in the files.
//! Source of Zion's rules: its code as of 1.1; it refuses unknown fields, and so gets a shape of its own.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use drystone_schemas::{
    Alias, Code, Format, IndexLine, PackageDocument, PackageName, SearchAnswer, SearchHit, SearchItem,
    SearchMeta, ZionHit, ZionSearch, layout,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{
    App,
    cargo::Names,
    no_such_route,
    read::{alias_target, file, find_document, find_index},
};
use crate::{Refusal, Service};

/// Longest query that is looked at, in characters.
const QUERY_CHARS_MAX: usize = 200;
/// Hits of an answer, unless the request says how many, and most of them.
const PER_PAGE: (usize, usize) = (20, 100);
/// Packages that are read at once.
const READS_MAX: usize = 8;

/// The addresses that are nobody else's.
pub(super) fn router() -> Router<Arc<Service>> {
    let names = Arc::new(Names::default());
    Router::new()
        .route("/api/v1/search", get(move |state, headers, query| search(state, headers, query, names)))
        .route("/api/v1/repos/{*rest}", get(repos))
}

async fn repos(State(service): App, request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path();
    stored(&service, path).await?.ok_or_else(|| no_such_route(path))
}

/// The file that answers an address, if there is one. Names in it may be spelt in any case, but not escaped. A file's own
/// address is one as well: whoever checks or copies the registry asks for it.
pub(super) async fn stored(service: &Service, path: &str) -> Result<Option<Response>, Refusal> {
    let address = path.strip_prefix('/').unwrap_or(path);
    let key = match address.strip_suffix("/index.json") {
        Some(of) if is_plain(of) => address.to_owned(),
        None if is_address(address) => layout::api_file(&address.to_ascii_lowercase()),
        _ => return Ok(None),
    };
    let bytes = file(service, key).await?;
    Ok(bytes.map(|bytes| {
        let cache = layout::CacheClass::Fresh.cache_control();
        ([(header::CONTENT_TYPE, layout::JSON), (header::CACHE_CONTROL, cache)], bytes).into_response()
    }))
}

/// Whether no segment of an address needs escaping, or leads elsewhere.
fn is_plain(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    address
        .split('/')
        .all(|segment| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain))
}

/// Whether an address is one of those that have files: `api/v1/packages/OWNER/REPO[/VERB]` or `api/v1/repos/...`.
fn is_address(address: &str) -> bool {
    let segments: Vec<&str> = address.split('/').collect();
    match segments[..] {
        ["api", "v1", "packages", owner, repo] => PackageName::new(format!("{owner}/{repo}")).is_ok(),
        ["api", "v1", "packages", owner, repo, "releases" | "tags" | "dependencies"]
        | ["api", "v1", "repos", owner, repo, "releases"] => {
            PackageName::new(format!("{owner}/{repo}")).is_ok()
        }
        _ => false,
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    language: Option<String>,
    per_page: Option<usize>,
    limit: Option<usize>,
    page: Option<usize>,
}

/// A package that a search found.
struct Found {
    document: PackageDocument,
    newest: Option<IndexLine>,
    aliases: Vec<Alias>,
}

async fn search(
    State(service): App,
    headers: HeaderMap,
    query: Result<Query<Asked>, QueryRejection>,
    names: Arc<Names>,
) -> Result<Response, Refusal> {
    let Query(asked) = query.map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))?;
    let text: String = asked.q.trim().chars().take(QUERY_CHARS_MAX).collect();
    let is_zion = headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes() == b"zion");
    let zig_only = is_zion || asked.language.is_some();
    let per_page = asked.per_page.or(asked.limit).unwrap_or(PER_PAGE.0).clamp(1, PER_PAGE.1);
    let skip = asked.page.unwrap_or(1).saturating_sub(1).saturating_mul(per_page);

    let (hits, aliases) = matching(&service, &text, &names).await?;
    let total = hits.len() as u64;
    let reads = hits.into_iter().skip(skip).take(per_page).map(|name| read(&service, name, &aliases));
    let found: Vec<Option<Found>> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    let found = found.into_iter().flatten();
    if zig_only {
        let registry = service.settings();
        let items = found.filter_map(|found| zion_hit(found, &registry.name, &registry.public_url)).collect();
        return Ok(Json(ZionSearch { items }).into_response());
    }
    let (items, crates) = found.map(|found| (item(&found), crate_hit(found))).unzip();
    let meta = SearchMeta { total };
    Ok(Json(SearchAnswer { items, total_count: total, incomplete_results: false, crates, meta })
        .into_response())
}

/// The names that fit, the best first, and the alias among them.
async fn matching(
    service: &Service,
    text: &str,
    names: &Names,
) -> Result<(Vec<PackageName>, Option<(PackageName, Alias)>), Refusal> {
    let mut hits = Vec::new();
    let mut alias_hit = None;
    if let Ok(name) = PackageName::new(text)
        && let Some(document) = find_document(service, &name).await?
    {
        hits.push(document.name);
    }
    if let Ok(alias) = Alias::new(text)
        && let Some(target) = alias_target(service, &alias).await?
    {
        alias_hit = Some((target.clone(), alias));
        hits.push(target);
    }
    let words: Vec<String> = words(text).map(str::to_ascii_lowercase).collect();
    if let Some(listed) = names.list(service).await? {
        let mut listed: Vec<&String> = listed.iter().filter(|name| fits(name, &words)).collect();
        listed.sort_by_key(|name| (name.len(), name.as_str()));
        hits.extend(listed.into_iter().filter_map(|name| PackageName::new(&**name).ok()));
    }
    let mut seen = std::collections::BTreeSet::new();
    hits.retain(|name| seen.insert(name.canonical()));
    Ok((hits, alias_hit))
}

/// The words of a name or query.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "-_/".contains(c)).filter(|word| !word.is_empty())
}

/// Whether each word of the query begins a word of the name.
fn fits(name: &str, query: &[String]) -> bool {
    query.iter().all(|wanted| words(name).any(|word| word.starts_with(&**wanted)))
}

async fn read(
    service: &Service,
    name: PackageName,
    alias: &Option<(PackageName, Alias)>,
) -> Result<Option<Found>, Refusal> {
    let Some(document) = find_document(service, &name).await? else { return Ok(None) };
    // What is yanked altogether is no hit.
    let Some(latest) = &document.latest else { return Ok(None) };
    let index = find_index(service, &name).await?;
    let newest = index.and_then(|index| index.find(latest).cloned());
    let aliases = alias.iter().filter(|(target, _)| *target == document.name).map(|(_, alias)| alias.clone());
    Ok(Some(Found { aliases: aliases.collect(), document, newest }))
}

/// A hit as Zion reads it; none for what it could not use: other formats, and names without owner.
fn zion_hit(found: Found, registry_name: &str, public_url: &str) -> Option<ZionHit> {
    let Found { document, newest, .. } = found;
    let line = newest.filter(|line| line.format == Format::Zig)?;
    document.name.owner()?;
    Some(ZionHit {
        name: document.name.short().into(),
        full_name: document.name.to_string(),
        description: document.description,
        version: line.vers.to_string(),
        tarball_url: format!("{public_url}/o/{}", line.cksum),
        sha256_hash: Some(line.cksum),
        published_at: line.pubtime,
        registry_name: registry_name.into(),
        last_updated: document.updated,
        license: document.license,
        homepage: document.homepage,
        repository_url: document.repository,
        keywords: document.keywords,
        zig_version_min: line.zig.and_then(|zig| zig.minimum_zig_version),
        categories: document.categories,
    })
}

fn item(found: &Found) -> SearchItem {
    let document = &found.document;
    SearchItem {
        full_name: document.name.to_string(),
        owner: document.name.owner().map(str::to_owned),
        name: document.name.short().into(),
        description: document.description.clone(),
        topics: document.keywords.clone(),
        stargazers_count: 0,
        download_count: 0,
        latest_version: document.latest.as_ref().map(ToString::to_string),
        format: found.newest.as_ref().map(|line| line.format),
        updated_at: document.updated.clone(),
    }
}

fn crate_hit(found: Found) -> SearchHit {
    SearchHit {
        max_version: found.document.latest.map(|version| version.to_string()).unwrap_or_default(),
        name: found.document.name,
        description: found.document.description,
        aliases: found.aliases,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_with_files_are_looked_up() {
        for good in
            ["api/v1/packages/acme/http", "api/v1/packages/Acme/http/tags", "api/v1/repos/acme/http/releases"]
        {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "api/v1/packages/acme",
            "api/v1/packages/acme/1.0.0",
            "api/v1/packages/acme%2Fhttp/tags",
            "api/v1/packages/../../releases",
            "api/v1/repos/acme/http",
            "api/v1/packages/acme/http/owners",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(is_plain("api/v1/packages/acme/http") && is_plain("api/v1/packages/http/1.0.0-RC.1+b"));
        for bad in ["", "api//v1", "api/../vault", "api/.x", "api/a%2Fb", "api/é"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }

    #[test]
    fn words_fit_names() {
        let fits = |query: &str, name: &str| fits(name, &words(query).map(str::to_owned).collect::<Vec<_>>());
        assert!(fits("http", "acme/http-client") && fits("cli acme", "acme/http-client") && fits("", "a"));
        assert!(!fits("ttp", "acme/http") && !fits("http x", "acme/http"));
    }
}
