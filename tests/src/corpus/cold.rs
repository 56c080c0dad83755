//! What a cold choice costs: rounds, requests and bytes, with fresh hints, with hints as old as the packages, and without.
//!
//! Nothing is sent: records and hints are files in memory, and their length is what gzip makes of them, as web servers send
//! them. So the figures are the same on every machine.

use std::{cell::RefCell, collections::BTreeMap, io::Write as _};

use drystone_client::{
    ClientError,
    plan::rounds::{Cost, Fetched, RecordSource, Wanted, choose},
    resolve::{Outcome, PackageKey, Rules, Solution, Universe, Versions},
};
use drystone_index_builder::closure_hints;
use drystone_schemas::{IndexFile, PackageName, ResolveHint, ResolveRecord};

use super::Corpus;

/// The compiler that the lock files were made with.
const RUST_VERSION: &str = "1.95.0";

/// How old the hints are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintAge {
    /// Computed now.
    Fresh,
    /// Computed when the newest release of the package was published, and never again.
    AsThePackage,
    /// There are none.
    Absent,
}

impl HintAge {
    /// Every age.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::AsThePackage, Self::Absent];
}

/// One cold choice.
#[derive(Debug, Clone)]
pub struct Cold {
    /// How old the hints were.
    pub hints: HintAge,
    /// Rounds and requests.
    pub cost: Cost,
    /// Bytes of all bodies, compressed.
    pub bytes: usize,
    /// What was chosen.
    pub solution: Solution,
}

/// The rules by which the projects were resolved.
pub fn rules() -> Rules {
    Rules { rust_version: RUST_VERSION.parse().ok(), ..Rules::newest(Versions::OnePerCompatible) }
}

/// The hint of a package, by its name.
type HintOf<'a> = Box<dyn Fn(&str) -> Option<Vec<u8>> + 'a>;

/// Records and hints in memory.
struct Counted<'a> {
    records: &'a BTreeMap<String, Vec<u8>>,
    hint: HintOf<'a>,
    bytes: RefCell<usize>,
}

impl Counted<'_> {
    fn count(&self, bytes: &[u8]) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
        *self.bytes.borrow_mut() += written.expect("memory takes every byte").len();
    }
}

impl RecordSource for Counted<'_> {
    async fn round(&self, wanted: &Wanted) -> Result<Fetched, ClientError> {
        let mut fetched = Fetched::default();
        for key in wanted.records.keys().chain(wanted.perhaps.keys()) {
            let bytes = self.records.get(&key.name);
            bytes.into_iter().for_each(|bytes| self.count(bytes));
            let record = bytes.and_then(|bytes| ResolveRecord::parse(bytes).ok());
            fetched.records.push((key.clone(), record));
        }
        for key in wanted.hints.keys() {
            let Some(bytes) = (self.hint)(&key.name) else { continue };
            self.count(&bytes);
            let hint: ResolveHint = serde_json::from_slice(&bytes).expect("it was written as a hint");
            fetched.hinted.extend(hint.names.into_iter().map(|name| (PackageKey::own(&name), name)));
        }
        Ok(fetched)
    }
}

/// The hints of every package, as they were at a time.
fn hints_at(indexes: &[IndexFile], until: &str) -> BTreeMap<String, Vec<u8>> {
    let known = |index: &IndexFile| {
        let lines = index.lines.iter().filter(|line| *line.pubtime <= *until).cloned().collect();
        ResolveRecord::of(&IndexFile { lines })
    };
    let records: Vec<ResolveRecord> = indexes.iter().filter_map(known).collect();
    let bytes = |names: Vec<PackageName>| ResolveHint { seq: 1, names }.to_bytes();
    closure_hints(&records).into_iter().map(|(key, (_, names))| (key, bytes(names))).collect()
}

fn hint_of<'a>(indexes: &'a [IndexFile], age: HintAge) -> HintOf<'a> {
    match age {
        HintAge::Absent => Box::new(|_| None),
        HintAge::Fresh => {
            // Later than any time.
            let all = hints_at(indexes, "9");
            Box::new(move |key| all.get(key).cloned())
        }
        HintAge::AsThePackage => Box::new(move |key| {
            let own =
                |index: &&IndexFile| index.lines.first().is_some_and(|line| line.name.canonical() == key);
            let newest = indexes.iter().find(own)?.latest()?;
            hints_at(indexes, &newest.pubtime).remove(key)
        }),
    }
}

/// The records of every package, by canonical name.
pub fn records(indexes: &[IndexFile]) -> BTreeMap<String, Vec<u8>> {
    let records = indexes.iter().filter_map(ResolveRecord::of);
    records.map(|record| (record.name.canonical(), record.to_bytes())).collect()
}

/// Resolves a project from nothing, once for each age of hints.
pub fn cold(corpus: &Corpus) -> Vec<Cold> {
    let (indexes, roots, rules) = (corpus.indexes(), corpus.requirements(), rules());
    let records = records(&indexes);
    let resolve = |hints: HintAge| {
        let source = Counted { records: &records, hint: hint_of(&indexes, hints), bytes: RefCell::default() };
        let mut universe = Universe::default();
        let chosen = choose(&source, &roots, &mut universe, &rules);
        let chosen = futures_util::FutureExt::now_or_never(chosen).expect("memory answers at once");
        match chosen.expect("memory does not fail") {
            (Outcome::Solved(solution), cost) => {
                Cold { hints, cost, bytes: source.bytes.into_inner(), solution }
            }
            (other, _) => panic!("there is an answer, not {other:?}"),
        }
    };
    HintAge::ALL.into_iter().map(resolve).collect()
}
