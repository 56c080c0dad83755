//! Audit: replays a published log as an outsider sees it, and compares everything that follows from it with what is served.
//!
//! Owns the order of the checks and where an audit goes on after an earlier one. Its submodules own records made again
//! from archives (`records`), signatures of authors (`authors`) and what is kept between two audits (`kept`). Does not own the
//! checks of single files, nor telling which of two contradicting files is wrong: those are fsck's, and fsck runs where
//! anything of the log itself does not fit.
//! Invariant: memory grows with the registry's current state, not with its log; an audit that found anything wrong is
//! never built on.

mod authors;
mod kept;
mod records;

use std::collections::BTreeSet;

use bytes::Bytes;
use drystone_log::{
    BundleId, Checkpoint, SignedCheckpoint, TlogProof, VerifierKey,
    proof_file::PROOF_BYTES_MAX,
    tile::{TILE_WIDTH, entry_bundles, tile_bytes},
};
use drystone_schemas::{Event, EventBody, layout};
use futures_util::StreamExt;

use self::records::Archive;
use crate::{
    concurrent::in_order,
    fsck::{Check, Events, FsckCounts, FsckOptions, FsckProblem, Log, ProblemKind, bad_object, fsck},
    growing::Growing,
    objects::{ObjectError, fetch_needed},
    progress::Progress,
    published::{self, Published, PublishedError, bundle_key, parse_event, read_bundle, tile_key},
    replay::Replayed,
    replica::{Needed, Replica},
    source::Source,
};

pub use kept::{Kept, KeptError};

/// How to audit.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The log's key; without it that of the earlier audit, or else the one that the log names in its own genesis event.
    pub key: Option<VerifierKey>,
    /// Make every version record again from its archive. Where files can be listed, look at every other one too.
    pub deep: bool,
    /// Signed checkpoints of this log that the auditor has from elsewhere: from its own memory, or from others.
    pub seen: Vec<SignedCheckpoint>,
}

/// What an audit found.
#[derive(Debug)]
pub struct AuditReport {
    /// Number of events that an earlier audit had covered.
    pub from: u64,
    /// The checkpoint that all was compared with; none if there is no good one.
    pub checkpoint: Option<Checkpoint>,
    /// Everything that is not right, sorted by key.
    pub problems: Vec<FsckProblem>,
    /// How much was checked.
    pub counts: FsckCounts,
    /// Two signed notes that cannot both be of one log: what was seen, what is shown now, and the key of both.
    pub fork: Option<(Bytes, Bytes, VerifierKey)>,
    /// What the next audit can go on from; only if nothing is wrong.
    pub kept: Option<Kept>,
}

/// Audits the log that `source` publishes, from where `earlier` ended. `visit` sees every new event in order; nothing that
/// it learns may be used if the report has problems.
pub async fn audit(
    source: &dyn Source,
    options: &AuditOptions,
    earlier: Option<Kept>,
    progress: &dyn Progress,
    visit: &mut (dyn FnMut(&Replayed<'_>) + Send),
) -> AuditReport {
    let key = options.key.clone().or_else(|| earlier.as_ref().map(|kept| kept.key.clone()));
    let fsck_options = FsckOptions { key, deep: options.deep };
    let mut audit = Audit {
        check: Check::new(source, None, &fsck_options, progress),
        options,
        earlier: None,
        replica: Replica::new(),
        tree: Growing::new(),
        touched: BTreeSet::new(),
        missing: Vec::new(),
        whole: true,
    };
    if let Some(kept) = earlier {
        audit.earlier = Some(kept.checkpoint);
        (audit.replica, audit.tree) = (kept.replica, kept.tree);
    }
    audit.run(visit).await
}

struct Audit<'a> {
    check: Check<'a>,
    options: &'a AuditOptions,
    /// The checkpoint that an earlier audit ended at.
    earlier: Option<Bytes>,
    replica: Replica,
    tree: Growing,
    /// Names in the state map that the new events change.
    touched: BTreeSet<String>,
    /// Objects of releases that were missing, which a takedown may excuse: canonical name, version, and the problem.
    missing: Vec<(String, String, FsckProblem)>,
    /// Whether everything of the log itself fits.
    whole: bool,
}

impl Audit<'_> {
    async fn run(mut self, visit: &mut (dyn FnMut(&Replayed<'_>) + Send)) -> AuditReport {
        let from = self.tree.size();
        let Some(published) = self.published().await else { return self.report(from, None, None) };
        let size = published.checkpoint.size();
        if size < from || (size == from && self.tree.root() != published.checkpoint.root()) {
            return self.fork(from, published);
        }
        let proof = self.proof_size(&published).await;
        let seen = self.options.seen.iter().map(|seen| seen.checkpoint().size());
        proof.into_iter().chain(seen).for_each(|size| self.tree.note_root_at(size));
        let bundles = entry_bundles(from, size);
        self.check.progress.total(bundles.len() as u64);
        for id in bundles {
            if !self.bundle(id, size, visit).await {
                self.whole = false;
                break;
            }
            self.check.progress.step(&bundle_key(id));
        }
        self.whole &= self.tree.root() == published.checkpoint.root();
        if let Some(other) = self.options.seen.iter().find(|seen| self.contradicts(size, seen.checkpoint())) {
            self.earlier = Some(other.to_bytes().into());
            return self.fork(other.checkpoint().size(), published);
        }
        let log = Log::with_roots(published, self.tree.roots().clone());
        if self.whole {
            self.excuse_missing();
            self.files(&log).await;
        }
        let sound = self.diagnose(&log).await;
        if !self.whole && sound && self.earlier.is_some() {
            // What is served now is consistent in itself, and does not continue what was seen.
            return self.fork(from, log.published);
        }
        self.report(from, Some(log.published), None)
    }

    /// Whether a checkpoint that was seen elsewhere is not of this tree. Below the size where this audit began, only the
    /// earlier audit could tell.
    fn contradicts(&self, size: u64, seen: &Checkpoint) -> bool {
        let known = self.tree.roots().get(&seen.size());
        seen.size() > size || (self.whole && known.is_some_and(|root| *root != seen.root()))
    }

    /// The published checkpoint, or the problem that there is none.
    async fn published(&mut self) -> Option<Published> {
        let key = self.check.options.key.as_ref();
        match published::open(self.check.source, key).await {
            Ok(published) => return Some(published),
            Err(PublishedError::NoCheckpoint) => {
                self.check.problem(
                    layout::CHECKPOINT,
                    ProblemKind::Missing,
                    "without it nothing is published",
                );
            }
            Err(error) => self.check.problem(layout::CHECKPOINT, ProblemKind::Damaged, error),
        }
        None
    }

    /// At which size the proof file is, if that is not the published one.
    async fn proof_size(&self, published: &Published) -> Option<u64> {
        let bytes = self.check.source.get(layout::LATEST_PROOF, PROOF_BYTES_MAX as u64).await.ok()??;
        let proof = TlogProof::decode(&bytes).ok()?;
        let origin = published.checkpoint.origin();
        let signed = SignedCheckpoint::open(&proof.checkpoint, &published.key, origin).ok()?;
        Some(signed.checkpoint().size())
    }

    /// The new entries of a bundle: their place in the tree, then what they say. False if the audit cannot go on.
    async fn bundle(
        &mut self,
        id: BundleId,
        size: u64,
        visit: &mut (dyn FnMut(&Replayed<'_>) + Send),
    ) -> bool {
        self.check.counts.log_files += 1;
        let bundle = match read_bundle(self.check.source, id).await {
            Ok(bundle) => bundle,
            Err(error) => {
                self.check.bad_bundle(id, &error);
                return false;
            }
        };
        let old = (self.tree.size() - id.first_entry()) as usize;
        let tiles = match self.tree.grow(&bundle.leaf_hashes(), old, size) {
            Ok(tiles) => tiles,
            Err(error) => {
                self.check.problem(bundle_key(id), ProblemKind::Contradiction, error);
                return false;
            }
        };
        let tiles = tiles.into_iter().map(|(id, hashes)| (tile_key(id), tile_bytes(&hashes)));
        if !self.check.same(tiles.collect()).await {
            self.whole = false;
        }
        let lines = &bundle.entries()[old..];
        let parsed: Result<Vec<Event>, _> =
            lines.iter().enumerate().map(|(at, line)| parse_event(id, old + at, line)).collect();
        let events = match parsed {
            Ok(events) => events,
            Err(error) => {
                self.check.bad_bundle(id, &error);
                return false;
            }
        };
        let source = self.check.source;
        let mut fetched = in_order(events.iter().map(|event| fetch_needed(source, event)).collect());
        for (event, line) in events.iter().zip(lines) {
            let (needed, error) = fetched.next().await.expect("each task has its outcome");
            self.event(id, event, line, needed, error, visit).await;
        }
        debug_assert!(old < usize::from(TILE_WIDTH), "a bundle that is done is not read again");
        true
    }

    /// One event: what it claims, against what follows.
    async fn event(
        &mut self,
        id: BundleId,
        event: &Event,
        line: &[u8],
        needed: Needed,
        error: Option<ObjectError>,
        visit: &mut (dyn FnMut(&Replayed<'_>) + Send),
    ) {
        let seq = self.replica.size();
        self.check.counts.events += 1;
        if let Some(error) = error {
            self.object_problem(event, &error);
        }
        if let Some(detail) = authors::judge(&self.replica, event) {
            let detail = format!("event {seq}: {detail}");
            self.check.problem(bundle_key(id), ProblemKind::Contradiction, detail);
        }
        let archive = Archive::of(event, &needed);
        let (files, faults) = self.replica.apply(event, needed);
        for fault in faults {
            let detail = format!("event {seq}: {fault}");
            self.check.problem(bundle_key(id), ProblemKind::Contradiction, detail);
        }
        self.touched.extend(event.files.iter().map(|change| change.1.clone()));
        if let Some(archive) = archive {
            self.check.counts.objects += 1;
            let settings = self.replica.config().and_then(|config| config.settings.as_ref());
            let problem = match (self.options.deep, settings) {
                (true, Some(settings)) => archive.recompute(self.check.source, settings).await,
                _ => archive.measure(self.check.source).await,
            };
            match problem {
                Some(problem) if problem.kind == ProblemKind::Missing => {
                    self.missing.push((archive.name, archive.vers, problem));
                }
                other => self.check.take(other),
            }
        }
        visit(&Replayed { event, line, files: &files, replica: &self.replica });
    }

    fn object_problem(&mut self, event: &Event, error: &ObjectError) {
        match &event.body {
            EventBody::Publish { pkg, vers, record, .. } => {
                let problem = bad_object(&layout::object(record), error);
                if matches!(error, ObjectError::Missing { .. }) {
                    self.missing.push((pkg.canonical(), vers.precedence_key(), problem));
                } else {
                    self.check.take(Some(problem));
                }
            }
            EventBody::Genesis { config, .. } | EventBody::Config { config } => {
                self.check.take(Some(bad_object(&layout::object(config), error)));
            }
            _ => {}
        }
    }

    /// Objects of releases that were taken down may be gone.
    fn excuse_missing(&mut self) {
        for (name, vers, problem) in std::mem::take(&mut self.missing) {
            let lines = self.replica.packages().get(&name).map(|package| &package.index.lines);
            let line = lines.and_then(|lines| lines.iter().find(|line| line.vers.precedence_key() == vers));
            if line.is_none_or(|line| line.deleted.is_none()) {
                self.check.take(Some(problem));
            }
        }
    }

    /// Everything that follows from the replayed log: proof, history, nodes, files by name and by hash.
    async fn files(&mut self, log: &Log) {
        self.check.proof(log).await;
        let history = self.check.history(log, log.size()).await;
        self.check.take(history);
        let replica = std::mem::take(&mut self.replica);
        let events = Events::replayed(replica, std::mem::take(&mut self.touched));
        self.check.state(log, &events).await;
        self.check.config(log, &events).await;
        self.replica = events.replica;
    }

    /// Names the files that are wrong where the log does not fit, and looks at those that nothing leads to any more.
    /// Whether all that is served fits together.
    async fn diagnose(&mut self, log: &Log) -> bool {
        let listable = self.options.deep && matches!(self.check.source.list(None).await, Ok(Some(_)));
        if self.whole && !listable {
            return true;
        }
        let report = fsck(self.check.source, None, self.check.options, self.check.progress).await;
        let sound = report.is_clean();
        self.check.problems.extend(report.problems);
        if !self.whole && self.check.problems.is_empty() {
            let detail = format!("its {} entries do not lead to its root", log.size());
            self.check.problem(layout::CHECKPOINT, ProblemKind::Contradiction, detail);
        }
        sound
    }

    fn fork(mut self, from: u64, published: Published) -> AuditReport {
        let detail = format!("it does not continue the log of size {from} that was seen before");
        self.check.problem(layout::CHECKPOINT, ProblemKind::Contradiction, detail);
        let fork = self.earlier.take().map(|seen| (seen, published.bytes.clone(), published.key.clone()));
        self.report(from, Some(published), fork)
    }

    fn report(
        self,
        from: u64,
        published: Option<Published>,
        fork: Option<(Bytes, Bytes, VerifierKey)>,
    ) -> AuditReport {
        let checkpoint = published.as_ref().map(|published| published.checkpoint.clone());
        let clean = self.check.problems.is_empty();
        let kept = published.filter(|_| clean).map(|published| Kept {
            checkpoint: published.bytes,
            key: published.key,
            replica: self.replica,
            tree: self.tree,
        });
        let problems = self.check.problems.into_iter().collect();
        AuditReport { from, checkpoint, problems, counts: self.check.counts, fork, kept }
    }
}
