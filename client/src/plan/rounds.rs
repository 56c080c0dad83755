//! Fetching what a choice needs in few rounds: direct dependencies with their hints first, then all that these name.
//!
//! Owns what is asked for when. Does not own where it comes from, nor whether it is true: hints are advice, and records
//! are proved afterwards.
//! Invariant: hints change what is fetched and when, never what is chosen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drystone_schemas::{PackageName, ResolveRecord};

use crate::{
    ClientError,
    resolve::{Outcome, Package, PackageKey, Requirement, Rules, Universe, solve},
};

/// Most names that are fetched because hints say so.
const HINTED_MAX: usize = 20_000;

/// Packages by key, under the names by which they are asked for.
pub type Names = BTreeMap<PackageKey, PackageName>;

/// Where records and hints come from.
pub trait RecordSource {
    /// One round: everything that is wanted, side by side.
    fn round(&self, wanted: &Wanted) -> impl Future<Output = Result<Fetched, ClientError>>;
}

/// What one round is to bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Records without which the choice cannot go on.
    pub records: Names,
    /// Records that hints name; a failure to get one is no failure.
    pub perhaps: Names,
    /// Hints; a failure to get one is no failure.
    pub hints: Names,
}

/// What one round brought.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Records; none where there is no such package, as far as the source knows.
    pub records: Vec<(PackageKey, Option<ResolveRecord>)>,
    /// The packages that hints name.
    pub hinted: Names,
    /// URLs that turned out to mean the project's own registry.
    pub own_urls: Vec<String>,
}

/// What a choice cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Rounds, one after the other.
    pub rounds: u32,
    /// Records and hints that were asked for.
    pub requests: u32,
}

/// Chooses versions, fetching what is unknown until nothing is.
pub async fn choose(
    source: &impl RecordSource,
    roots: &[Requirement],
    universe: &mut Universe,
    rules: &Rules,
) -> Result<(Outcome, Cost), ClientError> {
    let mut cost = Cost::default();
    let mut hinted = Names::new();
    let mut asked: BTreeSet<PackageKey> = BTreeSet::new();
    loop {
        let unknown = match solve(roots, universe, rules) {
            Outcome::Unknown(unknown) => unknown,
            outcome => return Ok((outcome, cost)),
        };
        // Whatever no hint foretold may lead to more of the kind.
        let hints: Names = unknown
            .iter()
            .filter(|(key, _)| !hinted.contains_key(key))
            .map(|(key, name)| (key.clone(), name.clone()))
            .collect();
        let perhaps = hinted
            .iter()
            .filter(|(key, _)| {
                !unknown.contains_key(key) && !asked.contains(key) && universe.get(key).is_none()
            })
            .map(|(key, name)| (key.clone(), name.clone()))
            .collect();
        let wanted = Wanted { records: unknown, perhaps, hints };
        asked.extend(wanted.records.keys().chain(wanted.perhaps.keys()).cloned());
        cost.rounds += 1;
        let requests = wanted.records.len() + wanted.perhaps.len() + wanted.hints.len();
        cost.requests = cost.requests.saturating_add(u32::try_from(requests).unwrap_or(u32::MAX));
        let fetched = source.round(&wanted).await?;
        fetched.own_urls.into_iter().for_each(|url| universe.add_own_url(url));
        for (key, record) in fetched.records {
            universe.insert(key, record.map(|record| Arc::new(Package::new(record))));
        }
        if let Some(missing) = wanted.records.keys().find(|key| universe.get(key).is_none()) {
            return Err(ClientError::Internal(format!("nothing was learnt of `{}`", missing.name)));
        }
        for (key, name) in fetched.hinted {
            if hinted.len() < HINTED_MAX {
                hinted.entry(key).or_insert(name);
            }
        }
    }
}
