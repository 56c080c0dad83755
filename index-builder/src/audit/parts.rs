//! The packages of an audited log, a part of them at a time: each folded from event to event, every claim of its files
//! compared with what follows, its archives looked at, and its files by name and by hash.
//!
//! Owns the second reading. Does not own the division, nor claims that are not about a package's own files.
//! Invariant: at most [`LINES_AT_ONCE`] events are held, and the releases of [`PARTS_AT_ONCE`] parts. What computes runs on
//! threads of its own while other parts' files are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use drystone_log::{BundleId, Hash, StateMap};
use drystone_schemas::{Event, EventBody, Settings, VaisPackage, VersionRecord, layout};
use futures_util::{StreamExt, stream};

use super::{
    Audit, Audited, Visit, authors,
    claims::{Claims, LINES_AT_ONCE, NO_PACKAGE},
    digests::Digests,
    records::Archive,
};
use crate::{
    concurrent::in_order,
    fsck::{Found, FsckCounts, FsckProblem, Mapped, ProblemKind, bad_object, spelling},
    objects::{ObjectError, get_object, read_object},
    outline::{Division, root_of},
    published::{EntriesError, bundle_key, decode_bundle, get_bundle},
    replica::{Config, Replica},
    source::{Source, SourceError},
};

/// Parts that are worked at together: one or two compute while another one's files are read.
const PARTS_AT_ONCE: usize = 3;
/// Events of a part whose records are held at once, as bytes.
const RECORDS_AT_ONCE: usize = 64;
/// Bundles that are read ahead.
pub(super) const BUNDLES_AT_ONCE: usize = 8;

/// A line of the log with its position.
type Line = (u64, Vec<u8>);

/// What all parts have in common.
struct Common<'a> {
    source: &'a dyn Source,
    deep: bool,
    /// Whether everything of the log itself fits; else the files that follow are not looked at.
    whole: bool,
    size: u64,
    state: &'a StateMap,
    settings: Option<&'a Settings>,
    log: Arc<LogFacts>,
    visit: &'a Visit<'a>,
}

/// What the threads that compute need of the log.
struct LogFacts {
    from: u64,
    configs: Vec<Config>,
    bundles: Vec<(BundleId, Hash)>,
    /// The part of each event, as [`NO_PACKAGE`] for none.
    part_of: Vec<u32>,
}

/// Entries of a bundle.
const WIDTH: u64 = drystone_log::tile::TILE_WIDTH as u64;

/// What was found in a part.
#[derive(Default)]
pub(super) struct PartDone {
    problems: Vec<FsckProblem>,
    counts: FsckCounts,
    replica: Replica,
    vais: BTreeMap<String, VaisPackage>,
}

impl Audit<'_> {
    /// All packages that new events are about. Elements of the index of all packages, where the language has one.
    pub(super) async fn packages(&mut self, visit: &Visit<'_>) -> BTreeMap<String, VaisPackage> {
        let mut claims = std::mem::take(&mut self.claims);
        let events_of: BTreeMap<String, u64> =
            claims.packages.iter().map(|(name, (_, events))| (name.clone(), *events)).collect();
        let division = Division::new(events_of, &claims.with_aliases, LINES_AT_ONCE);
        let mut seeds = self.seeds(&claims, &division);
        let log = Arc::new(LogFacts::of(&mut claims, &division));
        self.check.progress.total(division.parts().into());
        let settings = self.replica.config().and_then(|config| config.settings.clone());
        let (mut vais, mut kept) = (BTreeMap::new(), Vec::new());
        for reading in 0..division.readings() {
            let range = division.in_reading(reading);
            let parts = match claims.lines.take() {
                Some(lines) => log.divide(&range, lines),
                None => match self.read_again(&log, &range).await {
                    Some(parts) => parts,
                    None => break,
                },
            };
            let common = Common {
                source: self.check.source,
                deep: self.options.deep,
                whole: self.whole,
                size: self.tree.size(),
                state: self.replica.state(),
                settings: settings.as_ref(),
                log: log.clone(),
                visit,
            };
            let tasks = range.zip(parts).map(|(number, lines)| {
                // Packages with short names are the first part.
                let alias_maps =
                    if number == 0 { std::mem::take(&mut claims.alias_maps) } else { BTreeSet::new() };
                let seed = seeds.remove(&number).unwrap_or_default();
                common.part(seed, lines, alias_maps)
            });
            let tasks: Vec<_> = tasks.collect();
            let mut parts = stream::iter(tasks).buffered(PARTS_AT_ONCE);
            while let Some(done) = parts.next().await {
                self.check.problems.extend(done.problems);
                self.check.counts.by_name += done.counts.by_name;
                self.check.counts.objects += done.counts.objects;
                vais.extend(done.vais);
                kept.extend(self.options.keep.then_some(done.replica));
                self.check.progress.step("packages");
            }
        }
        self.done = kept;
        let known = |name: &String| division.part_of(name).is_none();
        self.foreign = claims.foreign.into_iter().filter(known).collect();
        vais
    }

    /// Packages of an earlier audit that new events are about, and the alias maps, by part.
    fn seeds(&mut self, claims: &Claims, division: &Division) -> BTreeMap<u32, Replica> {
        let mut names: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        if self.earlier.is_some() {
            for name in claims.packages.keys() {
                names.entry(division.part_of(name).unwrap_or_default()).or_default().push(name);
            }
        }
        let mut seeds = BTreeMap::new();
        for (part, names) in names {
            let with_aliases = part == 0 && !claims.with_aliases.is_empty();
            seeds.insert(part, self.replica.take_packages(names, with_aliases));
        }
        seeds
    }

    /// Reads the log again for the lines of some parts. None if it is not the log any more that was read before.
    async fn read_again(&mut self, log: &Arc<LogFacts>, range: &Range<u32>) -> Option<Vec<Vec<Line>>> {
        let source = self.check.source;
        let again = |(id, root): &(BundleId, Hash)| {
            let (id, root, log, range) = (*id, *root, log.clone(), range.clone());
            async move { (id, select(source, id, root, log, range).await) }
        };
        let mut bundles =
            stream::iter(log.bundles.iter().map(again).collect::<Vec<_>>()).buffered(BUNDLES_AT_ONCE);
        let mut parts: Vec<Vec<Line>> = range.clone().map(|_| Vec::new()).collect();
        while let Some((id, selected)) = bundles.next().await {
            match selected {
                Ok(Some(lines)) => {
                    lines
                        .into_iter()
                        .for_each(|(part, line)| parts[(part - range.start) as usize].push(line));
                    continue;
                }
                Ok(None) => {
                    let detail = "its entries are not those that were read before";
                    self.check.problem(bundle_key(id), ProblemKind::Damaged, detail);
                }
                Err(error) => self.check.bad_bundle(id, &error),
            }
            self.whole = false;
            return None;
        }
        Some(parts)
    }
}

/// The lines of a bundle that belong to some parts; none if its entries have another root.
async fn select(
    source: &dyn Source,
    id: BundleId,
    root: Hash,
    log: Arc<LogFacts>,
    range: Range<u32>,
) -> Result<Option<Vec<(u32, Line)>>, EntriesError> {
    let bytes = get_bundle(source, id).await?;
    let select = move || {
        let bundle = decode_bundle(id, &bytes)?;
        if root_of(&bundle.leaf_hashes()) != root {
            return Ok(None);
        }
        let lines = (id.first_entry()..).zip(bundle.into_entries());
        Ok(Some(lines.filter_map(|line| log.part_of(line.0, &range).map(|part| (part, line))).collect()))
    };
    tokio::task::spawn_blocking(select).await.expect("decoding does not panic, and the runtime waits for it")
}

impl LogFacts {
    fn of(claims: &mut Claims, division: &Division) -> Self {
        let mut part_of_number = vec![NO_PACKAGE; claims.packages.len()];
        for (name, (number, _)) in std::mem::take(&mut claims.packages) {
            part_of_number[number as usize] = division.part_of(&name).unwrap_or(NO_PACKAGE);
        }
        let mut part_of = std::mem::take(&mut claims.package_of);
        for part in &mut part_of {
            *part = part_of_number.get(*part as usize).copied().unwrap_or(NO_PACKAGE);
        }
        let configs = std::mem::take(&mut claims.configs);
        Self { from: claims.from, configs, bundles: std::mem::take(&mut claims.bundles), part_of }
    }

    /// The part of a new event, if it is one of these.
    fn part_of(&self, seq: u64, range: &Range<u32>) -> Option<u32> {
        let place = seq.checked_sub(self.from)?;
        self.part_of.get(place as usize).copied().filter(|part| range.contains(part))
    }

    fn divide(&self, range: &Range<u32>, lines: Vec<Line>) -> Vec<Vec<Line>> {
        let mut parts: Vec<Vec<Line>> = range.clone().map(|_| Vec::new()).collect();
        for line in lines {
            if let Some(part) = self.part_of(line.0, range) {
                parts[(part - range.start) as usize].push(line);
            }
        }
        parts
    }

    /// The settings in force at an event.
    fn config_at(&self, seq: u64) -> Option<&Config> {
        let before = self.configs.partition_point(|config| config.seq < seq);
        self.configs[..before].last()
    }

    /// The file that an event lies in.
    fn bundle_key(&self, seq: u64) -> String {
        bundle_key(self.bundles[(seq / WIDTH - self.from / WIDTH) as usize].0)
    }
}

/// An event on its way through its part.
struct Told {
    seq: u64,
    event: Event,
    line: Vec<u8>,
    waits_until: Option<u64>,
}

/// A part while its events are folded.
struct Folding {
    log: Arc<LogFacts>,
    replica: Replica,
    digests: Digests,
    problems: Vec<FsckProblem>,
    /// Objects of releases that were missing, which a takedown may excuse: canonical name, version, and the problem.
    missing: Vec<(String, String, FsckProblem)>,
    /// Archives that were not looked at yet, with the positions of their releases.
    archives: Vec<(u64, Archive)>,
}

/// A version record as it was read, where the event names one.
type Got = Option<Result<Option<Bytes>, SourceError>>;

impl Folding {
    /// Folds events one after the other, with the records that they name.
    fn fold(mut self, mut chunk: Vec<Told>, records: Vec<Got>) -> (Self, Vec<Told>) {
        for (told, got) in chunk.iter_mut().zip(records) {
            let record = self.record(&told.event, got);
            self.event(told, record);
        }
        (self, chunk)
    }

    fn record(&mut self, event: &Event, got: Got) -> Option<VersionRecord> {
        let (Some(got), EventBody::Publish { pkg, vers, record, .. }) = (got, &event.body) else {
            return None;
        };
        match read_object(record, got) {
            Ok(record) => Some(record),
            Err(error) => {
                let problem = bad_object(&layout::object(record), &error);
                if matches!(error, ObjectError::Missing { .. }) {
                    self.missing.push((pkg.canonical(), vers.precedence_key(), problem));
                } else {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// One event: what it claims of its package, against what follows.
    fn event(&mut self, told: &mut Told, record: Option<VersionRecord>) {
        let Told { seq, event, .. } = &*told;
        self.archives.extend(Archive::of(event, record.as_ref()).map(|archive| (*seq, archive)));
        let unsigned = authors::judge(&self.replica, event);
        let digests = &mut self.digests;
        let fault = self.replica.check_at(*seq, event, self.log.config_at(*seq), record, |touched, event| {
            digests.changes(touched, event)
        });
        for detail in unsigned.into_iter().chain(fault.map(|fault| fault.to_string())) {
            self.problems.push(FsckProblem {
                key: self.log.bundle_key(*seq),
                kind: ProblemKind::Contradiction,
                detail: format!("event {seq}: {detail}"),
            });
        }
        let package = event.package().and_then(|name| self.replica.packages().get(&name.canonical()));
        told.waits_until = package.and_then(|package| package.document.waits_until(event.seq, event.time));
    }

    /// Objects of releases that were taken down may be gone.
    fn excuse_missing(&mut self) {
        for (name, vers, problem) in std::mem::take(&mut self.missing) {
            let lines = self.replica.packages().get(&name).map(|package| &package.index.lines);
            let line = lines.and_then(|lines| lines.iter().find(|line| line.vers.precedence_key() == vers));
            if line.is_none_or(|line| line.deleted.is_none()) {
                self.problems.push(problem);
            }
        }
    }
}

impl Common<'_> {
    /// Audits some packages, whose events are these.
    async fn part(&self, seed: Replica, lines: Vec<Line>, alias_maps: BTreeSet<String>) -> PartDone {
        let mut folding = Folding {
            log: self.log.clone(),
            replica: seed,
            digests: Digests::default(),
            problems: Vec::new(),
            missing: Vec::new(),
            archives: Vec::new(),
        };
        let (mut names, mut counts) = (alias_maps, FsckCounts::default());
        let mut lines = lines.into_iter();
        loop {
            let chunk: Vec<Line> = lines.by_ref().take(RECORDS_AT_ONCE).collect();
            if chunk.is_empty() {
                break;
            }
            let events = tokio::task::spawn_blocking(move || chunk.into_iter().map(told).collect::<Vec<_>>());
            let chunk = events.await.expect("lines that were read strictly before are read again");
            let source = self.source;
            let records = in_order(chunk.iter().map(|told| record_of(source, &told.event)).collect());
            let records: Vec<Got> = records.collect().await;
            names.extend(chunk.iter().filter_map(|told| told.event.package().map(|name| name.canonical())));
            let folded = tokio::task::spawn_blocking(move || folding.fold(chunk, records)).await;
            let chunk;
            (folding, chunk) = folded.expect("folding does not panic, and the runtime waits for it");
            for told in &chunk {
                let Told { event, line, waits_until, .. } = told;
                (self.visit)(&Audited { event, line, waits_until: *waits_until });
            }
            self.archives(&mut folding, &mut counts).await;
        }
        let mut vais = BTreeMap::new();
        if self.whole {
            folding.excuse_missing();
            self.files(&names, &mut folding, &mut counts).await;
            vais = self.settings.map(|settings| folding.replica.vais_packages(settings)).unwrap_or_default();
        }
        PartDone { problems: folding.problems, counts, replica: folding.replica, vais }
    }

    /// The archives of the newest releases.
    async fn archives(&self, folding: &mut Folding, counts: &mut FsckCounts) {
        let archives = std::mem::take(&mut folding.archives);
        let look = |(seq, archive): (u64, Archive)| async move {
            let settings = self.log.config_at(seq).and_then(|config| config.settings.as_ref());
            let problem = match settings.filter(|_| self.deep) {
                Some(settings) => archive.recompute(self.source, settings).await,
                None => archive.measure(self.source).await,
            };
            (archive, problem)
        };
        let mut looked = in_order(archives.into_iter().map(look).collect());
        while let Some((archive, problem)) = looked.next().await {
            counts.objects += 1;
            match problem {
                Some(problem) if problem.kind == ProblemKind::Missing => {
                    folding.missing.push((archive.name, archive.vers, problem));
                }
                other => folding.problems.extend(other),
            }
        }
    }

    /// The files of the part as they are now, by name and by hash.
    async fn files(&self, names: &BTreeSet<String>, folding: &mut Folding, counts: &mut FsckCounts) {
        let mut files = Vec::new();
        for name in names {
            let Some(entry) = self.state.get(name).ok().flatten() else { continue };
            let package = folding.replica.packages().get(name);
            let spelling = spelling(self.source, package, entry).await;
            files.extend(Mapped::of(name, entry, spelling.as_ref()));
        }
        let plain = self.settings.map(|settings| folding.replica.plain_files_of_packages(settings));
        files.extend(plain.unwrap_or_default().into_iter().map(|(key, bytes)| Mapped::plain(key, &bytes)));
        let each = files.into_iter().map(|file| async move { file.check(self.source, self.size).await });
        let mut checked = in_order(each.collect());
        while let Some(checked) = checked.next().await {
            counts.by_name += 1;
            counts.objects += u64::from(checked.copy.is_some());
            folding.problems.extend(checked.copy.and_then(|(_, problem)| problem));
            folding.problems.extend(checked.by_name.map(Found::into_problem));
        }
    }
}

/// An event that was read strictly in the first reading.
fn told((seq, line): Line) -> Told {
    let event = serde_json::from_slice(&line).expect("it was read before, and has the same digest");
    Told { seq, event, line, waits_until: None }
}

/// The version record that an event names.
async fn record_of(source: &dyn Source, event: &Event) -> Got {
    match &event.body {
        EventBody::Publish { record, .. } => Some(get_object(source, record).await),
        _ => None,
    }
}
