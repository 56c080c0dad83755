//! `GET /api/v1/crates?q=&per_page=`: search by name, for `cargo search`.
//!
//! Finds a package by its name in any spelling, by an alias, by the beginning of its name, and by the beginnings of the
//! words in it. There is no index of names: the package documents are listed, and the list is kept for a few seconds.
//! A registry with more than [`NAMES_MAX`] packages is not listed; there, names are found by their beginning only.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use drystone_schemas::{Alias, Code, PackageName, SearchHit, SearchMeta, SearchResponse};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::{
    App,
    read::{alias_target, find_document},
};
use crate::{Refusal, Service};

/// Longest query that is looked at, in characters.
const QUERY_CHARS_MAX: usize = 200;
/// Hits of an answer, unless the request says how many.
const PER_PAGE_DEFAULT: usize = 10;
/// Most hits of an answer, as in Cargo.
const PER_PAGE_MAX: usize = 100;
/// Most names that are kept in memory: about a megabyte, and 20 pages of a listing.
const NAMES_MAX: usize = 20_000;
/// How long a list of names is kept.
const LIST_MS: u64 = 5_000;
/// How long it is remembered that there are too many.
const TOO_MANY_MS: u64 = 3_600_000;
/// Documents that are read at once.
const READS_MAX: usize = 8;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    per_page: Option<usize>,
}

pub(super) async fn search(
    State(service): App,
    query: Result<Query<Asked>, QueryRejection>,
    names: Arc<Names>,
) -> Result<Json<SearchResponse>, Refusal> {
    let Query(asked) = query.map_err(|e| Refusal::code(Code::MalformedRequest, e.body_text()))?;
    let per_page = asked.per_page.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX);
    Ok(Json(find(&service, &asked.q, per_page, &names).await?))
}

/// What is found, the best first; at most `per_page` of it.
pub(in super::super) async fn find(
    service: &Service,
    text: &str,
    per_page: usize,
    names: &Names,
) -> Result<SearchResponse, Refusal> {
    let text: String = text.trim().chars().take(QUERY_CHARS_MAX).collect();
    let query = QueryText::new(&text);

    let mut found = direct(service, &text).await?;
    let listed = match names.list(service).await? {
        Some(names) => names,
        None => Arc::new(beginning_with(service, &query).await?),
    };
    for name in listed.iter().filter(|name| !name.contains('/')) {
        if let Some(rank) = query.rank(name) {
            let best = found.entry(name.clone()).or_insert(rank);
            *best = rank.max(*best);
        }
    }
    let mut found: Vec<(String, Rank)> = found.into_iter().collect();
    found.sort_by(|(a, rank_a), (b, rank_b)| {
        (Reverse(rank_a), a.len(), a).cmp(&(Reverse(rank_b), b.len(), b))
    });
    let known = found.len();
    let reads = found.into_iter().take(per_page).map(|(name, _)| hit(service, name));
    let hits: Vec<Option<SearchHit>> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    let read = hits.len();
    let crates: Vec<SearchHit> = hits.into_iter().flatten().collect();
    // What is yanked altogether is no hit, as far as that was seen.
    let total = (known - (read - crates.len())) as u64;
    Ok(SearchResponse { crates, meta: SearchMeta { total } })
}

/// How well a name fits; the best is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Each word of the query begins a word of the name.
    Words,
    /// The query begins the name.
    Beginning,
    /// The query is the name, or an alias of it.
    Same,
}

/// A query in canonical spelling.
struct QueryText {
    whole: String,
    words: Vec<String>,
}

impl QueryText {
    fn new(text: &str) -> Self {
        let lower = text.to_ascii_lowercase().replace('_', "-");
        let words = lower.split(|c: char| c.is_whitespace() || c == '-').filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        Self { whole: words.join("-"), words }
    }

    /// How well a name fits, if at all.
    fn rank(&self, name: &str) -> Option<Rank> {
        let name = name.replace('_', "-");
        if name == self.whole {
            Some(Rank::Same)
        } else if name.starts_with(&self.whole) {
            Some(Rank::Beginning)
        } else if self.words.iter().all(|word| name.split('-').any(|part| part.starts_with(&**word))) {
            Some(Rank::Words)
        } else {
            None
        }
    }
}

/// What is found without a list, and so as soon as it is published: the name as written or in another spelling, and
/// what an alias means.
async fn direct(service: &Service, text: &str) -> Result<BTreeMap<String, Rank>, Refusal> {
    let mut found = BTreeMap::new();
    let Ok(name) = PackageName::new(text) else { return Ok(found) };
    let spellings = [name.path_form(), name.canonical(), name.canonical().replace('-', "_")];
    for spelling in spellings.iter().filter_map(|spelling| PackageName::new(&**spelling).ok()) {
        if name.owner().is_none() && find_document(service, &spelling).await?.is_some() {
            found.insert(spelling.path_form(), Rank::Same);
            return Ok(found);
        }
    }
    if let Ok(alias) = Alias::new(text)
        && let Some(target) = alias_target(service, &alias).await?.filter(|target| target.owner().is_none())
    {
        found.insert(target.path_form(), Rank::Same);
    }
    Ok(found)
}

/// One page of the names that begin with the query, in either spelling.
async fn beginning_with(service: &Service, query: &QueryText) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    // Nothing but what a name may hold becomes part of a key.
    if !query.whole.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(names);
    }
    let mut spellings = vec![query.whole.clone(), query.whole.replace('-', "_")];
    spellings.dedup();
    for spelling in spellings {
        let page = service.core.store.public.list(&format!("packages/{spelling}"), None).await?;
        names.extend(page.keys.iter().filter_map(|key| name_of(key.as_str())));
    }
    Ok(names)
}

/// The package whose document has this key, in lower case.
fn any_name_of(key: &str) -> Option<String> {
    Some(key.strip_prefix("packages/")?.strip_suffix(".json")?.to_owned())
}

/// The same; none for scoped names, which Cargo cannot write.
fn name_of(key: &str) -> Option<String> {
    any_name_of(key).filter(|name| !name.contains('/'))
}

/// A hit, unless there is nothing to use: all of it is yanked.
async fn hit(service: &Service, name: String) -> Result<Option<SearchHit>, Refusal> {
    let name = PackageName::new(name).map_err(Refusal::internal)?;
    let document = find_document(service, &name).await?;
    Ok(document.and_then(|document| {
        Some(SearchHit {
            max_version: document.latest?.to_string(),
            name: document.name,
            description: document.description,
            aliases: Vec::new(),
        })
    }))
}

/// The names of all packages, as they were a few seconds ago.
#[derive(Default)]
pub(in super::super) struct Names {
    /// Held while the list is made: whoever comes meanwhile waits for it instead of making another.
    listed: Mutex<Option<Listed>>,
}

struct Listed {
    at_ms: u64,
    /// None: there are too many.
    names: Option<Arc<Vec<String>>>,
}

impl Names {
    /// The list; none if there are too many names to keep.
    pub(in super::super) async fn list(
        &self,
        service: &Service,
    ) -> Result<Option<Arc<Vec<String>>>, Refusal> {
        let mut listed = self.listed.lock().await;
        let now_ms = service.core.clock.now_unix_ms();
        if let Some(listed) = &*listed {
            let kept_ms = if listed.names.is_some() { LIST_MS } else { TOO_MANY_MS };
            if now_ms.saturating_sub(listed.at_ms) < kept_ms {
                return Ok(listed.names.clone());
            }
        }
        let names = list_names(service, NAMES_MAX).await?.map(Arc::new);
        *listed = Some(Listed { at_ms: now_ms, names: names.clone() });
        Ok(names)
    }
}

async fn list_names(service: &Service, names_max: usize) -> Result<Option<Vec<String>>, Refusal> {
    let (mut names, mut keys, mut after) = (Vec::new(), 0, None);
    loop {
        let page = service.core.store.public.list("packages/", after.as_deref()).await?;
        keys += page.keys.len();
        names.extend(page.keys.iter().filter_map(|key| any_name_of(key.as_str())));
        if keys > names_max {
            return Ok(None);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Some(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_by_spelling_beginning_and_words() {
        let rank = |query: &str, name: &str| QueryText::new(query).rank(name);
        assert_eq!(rank("Serde_JSON", "serde-json"), Some(Rank::Same));
        assert_eq!(rank("serde json", "serde_json"), Some(Rank::Same));
        assert_eq!(rank("serde_j", "serde-json"), Some(Rank::Beginning));
        assert_eq!(rank("json", "serde-json"), Some(Rank::Words));
        assert_eq!(rank("json ser", "serde_json"), Some(Rank::Words));
        assert_eq!(rank("", "anything"), Some(Rank::Beginning));
        for (query, name) in [("erde", "serde"), ("json x", "serde-json"), ("serde-json", "serde")] {
            assert_eq!(rank(query, name), None, "{query} {name}");
        }
        assert!(Rank::Same > Rank::Beginning && Rank::Beginning > Rank::Words);
    }

    #[test]
    fn documents_name_packages() {
        assert_eq!(name_of("packages/serde.json").as_deref(), Some("serde"));
        for other in ["packages/acme/http.json", "packages/serde", "index/1/a"] {
            assert_eq!(name_of(other), None, "{other}");
        }
    }
}
