//! Audit: replays a published log as an outsider sees it, and compares everything that follows from it with what is served.
//!
//! Owns the order of the checks and where an audit goes on after an earlier one. Its submodules own the first reading of the
//! log (`claims`), the second one, of its packages (`parts`), how a replay tells digests quickly (`digests`), records made
//! again from archives (`records`), signatures of authors (`authors`) and what is kept between two audits (`kept`). Does not
//! own the checks of single files, nor telling which of two contradicting files is wrong: those are fsck's, and fsck runs
//! where anything of the log itself does not fit.
//! Invariant: memory holds the state map, four bytes an event, and some packages, whatever the registry has; all packages
//! only if a later audit is to go on from there. An audit that found anything wrong is never built on.

mod authors;
mod claims;
mod digests;
mod kept;
mod parts;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_log::{
    Checkpoint, SignedCheckpoint, TlogProof, VerifierKey, proof_file::PROOF_BYTES_MAX, tile::entry_bundles,
};
use drystone_schemas::{Event, VaisPackage, layout};
use futures_util::{StreamExt, stream};

use self::{claims::Claims, parts::BUNDLES_AT_ONCE};
use crate::{
    fsck::{Check, FsckCounts, FsckOptions, FsckProblem, Log, Mapped, ProblemKind, fsck, spelling},
    growing::Growing,
    progress::Progress,
    project::{project_config, vais_index_file},
    published::{self, Published, PublishedError, bundle_key},
    replica::Replica,
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
    /// Keep what a later audit can go on from. Memory grows with the registry's packages then.
    pub keep: bool,
}

/// One event that was audited.
#[derive(Debug, Clone, Copy)]
pub struct Audited<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its line in the log.
    pub line: &'a [u8],
    /// When what it changes takes force, in seconds since 1970, if that waits for a time-lock.
    pub waits_until: Option<u64>,
}

/// Hears of every new event, from one task at a time.
pub type Visit<'a> = dyn Fn(&Audited<'_>) + Sync + 'a;

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
    /// What the next audit can go on from; only if that was asked for and nothing is wrong.
    pub kept: Option<Kept>,
}

/// Audits the log that `source` publishes, from where `earlier` ended. `visit` sees every new event, those of a package in
/// their order; nothing that it learns may be used if the report has problems.
pub async fn audit(
    source: &dyn Source,
    options: &AuditOptions,
    earlier: Option<Kept>,
    progress: &dyn Progress,
    visit: &Visit<'_>,
) -> AuditReport {
    let key = options.key.clone().or_else(|| earlier.as_ref().map(|kept| kept.key.clone()));
    let fsck_options = FsckOptions { key, deep: options.deep };
    let mut audit = Audit {
        check: Check::new(source, None, &fsck_options, progress),
        options,
        earlier: None,
        replica: Replica::new(),
        tree: Growing::new(),
        claims: Claims::default(),
        done: Vec::new(),
        foreign: BTreeSet::new(),
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
    /// The registry as such, its state map, and the packages of an earlier audit.
    replica: Replica,
    tree: Growing,
    claims: Claims,
    /// The packages that new events are about, if they are to be kept.
    done: Vec<Replica>,
    /// Names in the state map that events claim something of which is not theirs, and that no part has.
    foreign: BTreeSet<String>,
    /// Whether everything of the log itself fits.
    whole: bool,
}

impl Audit<'_> {
    async fn run(mut self, visit: &Visit<'_>) -> AuditReport {
        let from = self.tree.size();
        let Some(published) = self.published().await else { return self.report(from, None, None) };
        let size = published.checkpoint.size();
        if size < from || (size == from && self.tree.root() != published.checkpoint.root()) {
            return self.fork(from, published);
        }
        let proof = self.proof_size(&published).await;
        let seen = self.options.seen.iter().map(|seen| seen.checkpoint().size());
        proof.into_iter().chain(seen).for_each(|size| self.tree.note_root_at(size));
        self.entries(from, size, visit).await;
        self.whole &= self.tree.root() == published.checkpoint.root();
        let vais = self.packages(visit).await;
        if let Some(other) = self.options.seen.iter().find(|seen| self.contradicts(size, seen.checkpoint())) {
            self.earlier = Some(other.to_bytes().into());
            return self.fork(other.checkpoint().size(), published);
        }
        let log = Log::with_roots(published, self.tree.roots().clone());
        if self.whole {
            self.files(&log, vais).await;
        }
        let sound = self.diagnose(&log).await;
        if !self.whole && sound && self.earlier.is_some() {
            // What is served now is consistent in itself, and does not continue what was seen.
            return self.fork(from, log.published);
        }
        self.report(from, Some(log.published), None)
    }

    /// The new entries, as far as they are good.
    async fn entries(&mut self, from: u64, size: u64, visit: &Visit<'_>) {
        self.claims = Claims::new(from, self.replica.config());
        let ids = entry_bundles(from, size);
        self.check.progress.total(ids.len() as u64);
        let source = self.check.source;
        let read = ids.into_iter().map(|id| async move {
            let old = from.saturating_sub(id.first_entry()) as usize;
            (id, claims::read(source, id, old).await)
        });
        let mut bundles = stream::iter(read.collect::<Vec<_>>()).buffered(BUNDLES_AT_ONCE);
        while let Some((id, read)) = bundles.next().await {
            if !self.bundle(id, read, size, visit).await {
                self.whole = false;
                break;
            }
            self.check.progress.step(&bundle_key(id));
        }
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

    /// What follows from the log besides its packages: proof, history, nodes and configuration; and what an earlier audit
    /// left that is outside of the state map.
    async fn files(&mut self, log: &Log, mut vais: BTreeMap<String, VaisPackage>) {
        self.check.proof(log).await;
        let history = self.check.history(log, log.size()).await;
        self.check.take(history);
        self.check.nodes(self.replica.state()).await;
        let mut foreign = Vec::new();
        for name in &self.foreign {
            let Some(entry) = self.replica.state().get(name).ok().flatten() else { continue };
            let spelling = spelling(self.check.source, self.replica.packages().get(name), entry).await;
            foreign.extend(Mapped::of(name, entry, spelling.as_ref()));
        }
        self.check.mapped(log.size(), foreign).await;
        let settings = self.replica.config().and_then(|config| config.settings.as_ref());
        let plain = match (self.replica.identity(), self.replica.config(), settings) {
            (Some(identity), Some(config), Some(settings)) => {
                vais.extend(self.replica.vais_packages(settings));
                let mut files = project_config(config.seq, &identity.origin, &identity.log_key, settings);
                files.extend(self.replica.plain_files_of_packages(settings));
                files.extend(vais_index_file(&vais));
                Some(files)
            }
            _ => None,
        };
        self.check.plain(log.size(), plain).await;
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
        mut self,
        from: u64,
        published: Option<Published>,
        fork: Option<(Bytes, Bytes, VerifierKey)>,
    ) -> AuditReport {
        let checkpoint = published.as_ref().map(|published| published.checkpoint.clone());
        let clean = self.check.problems.is_empty();
        std::mem::take(&mut self.done).into_iter().for_each(|part| self.replica.put_packages(part));
        let kept = published.filter(|_| clean && self.options.keep).map(|published| Kept {
            checkpoint: published.bytes,
            key: published.key,
            replica: self.replica,
            tree: self.tree,
        });
        let problems = self.check.problems.into_iter().collect();
        AuditReport { from, checkpoint, problems, counts: self.check.counts, fork, kept }
    }
}
