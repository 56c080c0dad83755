//! `search`: the exact name from static files, everything else from the API.

use std::fmt::Write as _;

use drystone_client::{ClientError, Network, Registry, Snapshot};
use drystone_schemas::{Alias, Code, PackageName, SearchHit, SearchMeta, SearchResponse};

use crate::{args, context::Context, failure::Failure};

pub(super) async fn search(args: &args::Search, cx: &Context) -> Result<(), Failure> {
    let query = args.words.join(" ");
    let registry = cx.registry_here()?;
    let exact = exact(cx, &registry, &query).await?;
    let found = match registry.network() {
        Network::Online => registry.search(&query).await,
        Network::Offline => Err(ClientError::OfflineMiss { what: "search".into() }),
    };
    let mut hits = match found {
        Ok(response) => response,
        Err(error) if is_absent(&error) => {
            cx.printer
                .notice("only exact names are searched: the registry has no search, or it cannot be reached");
            SearchResponse { crates: vec![], meta: SearchMeta { total: 0 } }
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(exact) = exact {
        let before = hits.crates.len();
        hits.crates.retain(|hit| hit.name.canonical() != exact.name.canonical());
        let known = hits.crates.len() < before;
        hits.crates.insert(0, exact);
        hits.meta.total = (hits.meta.total + u64::from(!known)).max(hits.crates.len() as u64);
    }
    cx.printer.result(&hits, || text(&hits))
}

/// The package of exactly this name, or the one that the alias of this name means.
async fn exact(cx: &Context, registry: &Registry, query: &str) -> Result<Option<SearchHit>, Failure> {
    let Ok(name) = PackageName::new(query) else { return Ok(None) };
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let mut document = snapshot.document(&name).await?;
    let mut aliases = Vec::new();
    if document.is_none()
        && let Ok(alias) = Alias::new(query)
        && let Some(package) = snapshot.alias(&alias).await?
    {
        document = snapshot.document(&package).await?;
        aliases.push(alias);
    }
    Ok(document.map(|document| SearchHit {
        name: document.name,
        max_version: document.latest.map_or_else(String::new, |latest| latest.to_string()),
        description: document.description,
        aliases,
    }))
}

/// Plain file servers have no search; that leaves the exact name.
fn is_absent(error: &ClientError) -> bool {
    match error {
        ClientError::OfflineMiss { .. }
        | ClientError::Unexpected { .. }
        | ClientError::Unreachable { .. } => true,
        ClientError::Refused { problems, .. } => {
            problems.iter().any(|problem| matches!(problem.code, Code::NoSuchRoute | Code::MethodNotAllowed))
        }
        _ => false,
    }
}

fn text(hits: &SearchResponse) -> String {
    let width =
        hits.crates.iter().map(|hit| hit.name.as_str().len() + hit.max_version.len() + 1).max().unwrap_or(0);
    let mut text = String::new();
    for hit in &hits.crates {
        let release = format!("{} {}", hit.name, hit.max_version);
        let description = hit.description.as_deref().unwrap_or("").lines().next().unwrap_or("");
        let _ = writeln!(text, "{}", format!("{release:<width$}  {description}").trim_end());
    }
    let more = hits.meta.total.saturating_sub(hits.crates.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    if hits.crates.is_empty() {
        text.push_str("nothing found\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_aligned_and_the_rest_is_counted() {
        let hit = |name: &str, version: &str, description: Option<&str>| SearchHit {
            name: PackageName::new(name).unwrap(),
            max_version: version.into(),
            description: description.map(Into::into),
            aliases: vec![],
        };
        let hits = SearchResponse {
            crates: vec![
                hit("acme/http", "1.2.0", Some("Talks HTTP.\nAnd more.")),
                hit("url", "0.1.0", None),
            ],
            meta: SearchMeta { total: 7 },
        };
        assert_eq!(text(&hits), "acme/http 1.2.0  Talks HTTP.\nurl 0.1.0\nand 5 more\n");
        let none = SearchResponse { crates: vec![], meta: SearchMeta { total: 0 } };
        assert_eq!(text(&none), "nothing found\n");
    }
}
