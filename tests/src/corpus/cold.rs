//! What a cold choice costs: rounds, requests and bytes, with fresh hints, with hints as old as the packages, and without.
//!
//! Nothing is sent: records and hints are files in memory, and their length is what gzip makes of them, as web servers send
//! them. So the figures are the same on every machine.

use std::{cell::RefCell, collections::BTreeMap, io::Write as _, path::Path};

use drystone_client::{
    ClientError,
    plan::rounds::{Cost, Fetched, RecordSource, Wanted, choose},
    resolve::{Outcome, PackageKey, Rules, Solution, Universe, Versions},
};
use drystone_index_builder::{Closures, hint_after_publish};
use drystone_schemas::{DepKind, IndexFile, IndexLine, ResolveHint, ResolveRecord, layout};

use super::Corpus;

/// The compiler that the lock files were made with.
const RUST_VERSION: &str = "1.95.0";

/// How old the hints are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintAge {
    /// Computed now.
    Fresh,
    /// Each as the publish of its package's newest release has left it: with the hints that there were then.
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

/// Records and hints in memory.
struct Counted<'a> {
    records: &'a BTreeMap<String, Vec<u8>>,
    hints: BTreeMap<String, Vec<u8>>,
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
            let Some(bytes) = self.hints.get(&key.name) else { continue };
            self.count(bytes);
            let hint = ResolveHint::parse(bytes).expect("it was written as a hint");
            fetched.hinted.extend(hint.names.into_iter().map(|name| (PackageKey::own(&name), name)));
        }
        Ok(fetched)
    }
}

/// The hints of every package that has one, by canonical name.
pub fn hints(indexes: &[IndexFile], age: HintAge) -> BTreeMap<String, Vec<u8>> {
    let hints: BTreeMap<String, ResolveHint> = match age {
        HintAge::Absent => BTreeMap::new(),
        HintAge::Fresh => {
            let mut closures = Closures::default();
            indexes.iter().filter_map(ResolveRecord::of).for_each(|record| closures.add(&record));
            closures.hints(1).map(|(name, hint)| (name.canonical(), hint)).collect()
        }
        HintAge::AsThePackage => published_one_by_one(indexes),
    };
    let some = hints.into_iter().filter(|(_, hint)| !hint.names.is_empty());
    some.map(|(key, hint)| (key, hint.to_bytes())).collect()
}

/// The hints that publishing every release in the order of time leaves behind.
fn published_one_by_one(indexes: &[IndexFile]) -> BTreeMap<String, ResolveHint> {
    let all = indexes.iter().flat_map(|index| &index.lines);
    let mut releases: Vec<&IndexLine> = all.collect();
    releases.sort_by_key(|line| &line.pubtime);
    let mut hints: BTreeMap<String, ResolveHint> = BTreeMap::new();
    let mut files: BTreeMap<String, IndexFile> = BTreeMap::new();
    for (seq, line) in (1..).zip(releases) {
        let key = line.name.canonical();
        let index = files.entry(key.clone()).or_default();
        index.lines.push(line.clone());
        let known = |name: &str| hints.get(name);
        // As at a publish, nothing is read for a release that needs nothing.
        let needs = line.deps.iter().any(|dep| dep.kind != DepKind::Dev && dep.registry.is_none());
        if let Some(hint) = hint_after_publish(index, &line.vers, seq, &known).filter(|_| needs) {
            hints.insert(key, hint);
        }
    }
    hints
}

/// The records of every package, by canonical name.
pub fn records(indexes: &[IndexFile]) -> BTreeMap<String, Vec<u8>> {
    let records = indexes.iter().filter_map(ResolveRecord::of);
    records.map(|record| (record.name.canonical(), record.to_bytes())).collect()
}

/// Writes index files, records and hints to where a registry's public area has them.
pub fn write_files(indexes: &[IndexFile], age: HintAge, public: &Path) -> std::io::Result<()> {
    let hints = hints(indexes, age);
    let write = |key: String, bytes: &[u8]| {
        let path = public.join(key);
        fs_err::create_dir_all(path.parent().unwrap_or(public))?;
        fs_err::write(path, bytes)
    };
    for index in indexes {
        let Some(record) = ResolveRecord::of(index) else { continue };
        write(layout::index_file(&record.name), &index.to_bytes())?;
        write(layout::resolve_record(&record.name), &record.to_bytes())?;
        if let Some(hint) = hints.get(&record.name.canonical()) {
            write(layout::resolve_hint(&record.name), hint)?;
        }
    }
    Ok(())
}

/// Resolves a project from nothing, once for each age of hints.
pub fn cold(corpus: &Corpus) -> Vec<Cold> {
    let (indexes, roots, rules) = (corpus.indexes(), corpus.requirements(), rules());
    let records = records(&indexes);
    let resolve = |age: HintAge| {
        let hints = hints(&indexes, age);
        let source = Counted { records: &records, hints, bytes: RefCell::default() };
        let mut universe = Universe::default();
        let chosen = choose(&source, &roots, &mut universe, &rules);
        let chosen = futures_util::FutureExt::now_or_never(chosen).expect("memory answers at once");
        match chosen.expect("memory does not fail") {
            (Outcome::Solved(solution), cost) => {
                Cold { hints: age, cost, bytes: source.bytes.into_inner(), solution }
            }
            (other, _) => panic!("there is an answer, not {other:?}"),
        }
    };
    HintAge::ALL.into_iter().map(resolve).collect()
}
