//! The names of all packages, for searches: there is no index of names, so the package documents are listed.
//!
//! Invariant: however many ask, one listing is under way at a time, and its outcome is kept for some seconds.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::{Refusal, Service};

/// Most names that are kept in memory: about a megabyte, and 20 pages of a listing.
pub(crate) const NAMES_MAX: usize = 20_000;
/// How long a list of names is kept.
const LIST_MS: u64 = 5_000;
/// How long it is remembered that there are too many.
const TOO_MANY_MS: u64 = 3_600_000;

/// The package whose document has this key, in lower case.
pub(crate) fn name_of(key: &str) -> Option<String> {
    Some(key.strip_prefix("packages/")?.strip_suffix(".json")?.to_owned())
}

/// The names of all packages as they were a few seconds ago.
#[derive(Default)]
pub(crate) struct Names {
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
    pub(crate) async fn list(&self, service: &Service) -> Result<Option<Arc<Vec<String>>>, Refusal> {
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
        names.extend(page.keys.iter().filter_map(|key| name_of(key.as_str())));
        if keys > names_max {
            return Ok(None);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Some(names)),
        }
    }
}
