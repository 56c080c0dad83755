//! The events: replayed as far as the entries are good, and the objects that they name.

use std::collections::{BTreeSet, HashSet};

use drystone_log::{BundleId, TlogProof, proof_file::PROOF_BYTES_MAX};
use drystone_schemas::{Event, EventBody, EventHead, Sha256Digest, layout};
use futures_util::StreamExt;

use super::{Check, FsckProblem, ProblemKind, bad_object, log::Log, tree::Verdict, unreadable};
use crate::{
    concurrent::in_order,
    objects::{ObjectError, fetch_needed},
    published::{EntriesError, bundle_key, parse_event, read_bundle},
    replica::{Needed, Replica},
    source::Source,
};

/// What the events told.
#[derive(Default)]
pub(super) struct Events {
    pub(super) replica: Replica,
    /// Whether every event was replayed.
    pub(super) complete: bool,
    /// The state map's root after the last event; none if nothing tells it.
    pub(super) state: Option<Sha256Digest>,
    releases: Vec<Release>,
    /// Releases that were taken down, whose objects may be gone: canonical name and version.
    deleted: HashSet<(String, String)>,
    /// Objects that may be deleted at any time: reasons.
    optional: BTreeSet<Sha256Digest>,
    /// Documents of the root of trust: number, document, policy.
    trust: Vec<(u64, Sha256Digest, Sha256Digest)>,
}

/// The objects of one release.
struct Release {
    name: String,
    vers: String,
    tarball: Sha256Digest,
    /// Length of the archive, by the record; none if the record cannot be used.
    size: Option<u64>,
    /// Set if the record is missing, which a takedown may excuse.
    missing_record: Option<Sha256Digest>,
}

impl Check<'_> {
    pub(super) async fn events(&mut self, log: &Log) -> Events {
        let mut events = Events { complete: true, ..Events::default() };
        self.progress.total(log.bundles.len() as u64);
        for (id, verdict) in &log.bundles {
            let read = if *verdict == Verdict::Good { self.read_events(*id).await } else { None };
            match read {
                Some((list, last)) => {
                    self.fold(*id, &list, &mut events).await;
                    events.state = Some(last.state);
                }
                None => {
                    if events.complete {
                        let first = id.first_entry();
                        let detail = format!("events from {first} on could not be replayed");
                        self.problem(bundle_key(*id), ProblemKind::Unchecked, detail);
                    }
                    (events.complete, events.state) = (false, None);
                }
            }
            self.progress.step(&bundle_key(*id));
        }
        if events.state.is_none() {
            events.state = self.state_by_proof(log).await;
        }
        events
    }

    /// The events of a good bundle, and the head of its last entry, which also unknown kinds have.
    async fn read_events(&mut self, id: BundleId) -> Option<(Vec<Event>, EventHead)> {
        let bundle = match read_bundle(self.source, id).await {
            Ok(bundle) => bundle,
            Err(error) => {
                self.bad_bundle(id, &error);
                return None;
            }
        };
        let entries = bundle.entries().iter().enumerate();
        let parsed: Result<Vec<Event>, EntriesError> =
            entries.map(|(at, line)| parse_event(id, at, line)).collect();
        let last = bundle.entries().last().and_then(|line| EventHead::from_line(line).ok())?;
        match parsed {
            Ok(list) => Some((list, last)),
            Err(error) => {
                self.bad_bundle(id, &error);
                None
            }
        }
    }

    async fn fold(&mut self, id: BundleId, list: &[Event], events: &mut Events) {
        let source = self.source;
        let mut fetched = in_order(list.iter().map(|event| fetch_needed(source, event)).collect());
        for event in list {
            let (needed, error) = fetched.next().await.expect("each task has its outcome");
            self.note(event, &needed, error.as_ref(), events);
            if events.complete {
                self.counts.events += 1;
                let seq = events.replica.size();
                for fault in events.replica.apply(event, needed).1 {
                    self.problem(bundle_key(id), ProblemKind::Contradiction, format!("event {seq}: {fault}"));
                }
            }
        }
    }

    /// Keeps account of the objects that an event names.
    fn note(&mut self, event: &Event, needed: &Needed, error: Option<&ObjectError>, events: &mut Events) {
        let version = |pkg: &drystone_schemas::PackageName, vers: &drystone_schemas::Version| {
            (pkg.canonical(), vers.precedence_key())
        };
        let object = match &event.body {
            EventBody::Publish { pkg, vers, tarball, record, .. } => {
                let (name, vers) = version(pkg, vers);
                let missing = matches!(error, Some(ObjectError::Missing { .. }));
                events.releases.push(Release {
                    name,
                    vers,
                    tarball: *tarball,
                    size: needed.record.as_ref().map(|record| record.size),
                    missing_record: missing.then_some(*record),
                });
                if missing { None } else { Some(*record) }
            }
            EventBody::Genesis { config, .. } | EventBody::Config { config } => Some(*config),
            EventBody::Delete { pkg, vers, .. } => {
                events.deleted.insert(version(pkg, vers));
                None
            }
            EventBody::Yank { reason: text, .. }
            | EventBody::Deprecate { reason: text, .. }
            | EventBody::OwnerAdd { exception: text, .. }
            | EventBody::OwnerRemove { exception: text, .. }
            | EventBody::Policy { exception: text, .. } => {
                events.optional.extend(text);
                None
            }
            _ => None,
        };
        if let EventBody::Trust { version, document, policy } = &event.body {
            events.trust.push((*version, *document, *policy));
        }
        if let Some(digest) = object {
            let key = layout::object(&digest);
            self.counts.objects += 1;
            self.take(error.map(|error| bad_object(&key, error)));
            self.seen.insert(key);
        }
    }

    /// The state's root by the newest event in the proof file, when the last bundle is not good.
    async fn state_by_proof(&self, log: &Log) -> Option<Sha256Digest> {
        let bytes = self.source.get(layout::LATEST_PROOF, PROOF_BYTES_MAX as u64).await.ok()??;
        let proof = TlogProof::decode(&bytes).ok()?;
        let entry = proof.extra.as_deref()?;
        let signed = proof.verify(entry, &log.published.key, log.published.checkpoint.origin()).ok()?;
        let newest = *signed.checkpoint() == log.published.checkpoint && proof.index + 1 == log.size();
        if newest { EventHead::from_line(entry).ok().map(|head| head.state) } else { None }
    }

    /// Archives and missing records of releases that stand, and reasons where they are.
    pub(super) async fn objects(&mut self, events: &Events) {
        let standing =
            |release: &&Release| !events.deleted.contains(&(release.name.clone(), release.vers.clone()));
        let mut archives = Vec::new();
        for release in events.releases.iter().filter(standing) {
            if let Some(record) = &release.missing_record {
                let (name, vers) = (&release.name, &release.vers);
                let key = layout::object(record);
                let detail =
                    format!("it is the version record of `{name}` {vers}, whose files cannot be recomputed");
                self.problem(key, ProblemKind::Missing, detail);
            }
            let key = layout::object(&release.tarball);
            if self.seen.insert(key.clone()) {
                archives.push((key, release.tarball, release.size));
            }
        }
        self.progress.total(archives.len() as u64);
        let (source, deep, progress) = (self.source, self.options.deep, self.progress);
        let each = archives.into_iter().map(|(key, digest, size)| async move {
            let problem = if deep {
                hash(source, &key, &digest, size).await
            } else {
                measure(source, &key, size).await
            };
            progress.step(&key);
            problem
        });
        let problems: Vec<_> = in_order(each.collect()).collect().await;
        for problem in problems {
            self.counts.objects += 1;
            self.take(problem);
        }
        for (version, document, policy) in &events.trust {
            let files = [
                (layout::object(document), document),
                (layout::object(policy), policy),
                (layout::trust(*version), document),
            ];
            for (key, digest) in files {
                let problem = hash(source, &key, digest, None).await;
                self.counts.objects += 1;
                self.take(problem);
                self.seen.insert(key);
            }
        }
        if deep {
            for digest in &events.optional {
                let key = layout::object(digest);
                let problem = hash(source, &key, digest, None).await;
                self.counts.objects += 1;
                self.take(problem.filter(|problem| problem.kind != ProblemKind::Missing));
                self.seen.insert(key);
            }
        }
    }
}

/// Checks an object's bytes by its digest, and its length where that is known.
async fn hash(
    source: &dyn Source,
    key: &str,
    digest: &Sha256Digest,
    size: Option<u64>,
) -> Option<FsckProblem> {
    let (kind, detail) = match source.digest(key, size.unwrap_or(u64::MAX)).await {
        Ok(Some((found, len))) if found == *digest && size.is_none_or(|size| size == len) => return None,
        Ok(Some((found, _))) if found != *digest => {
            (ProblemKind::Damaged, "its bytes do not hash to its name".to_owned())
        }
        Ok(Some((_, len))) => wrong_length(len, size),
        Ok(None) => (ProblemKind::Missing, "an event names it".to_owned()),
        Err(error) => return Some(unreadable(key, &error)),
    };
    Some(FsckProblem { key: key.to_owned(), kind, detail })
}

/// Checks that an object is there, and its length where that is known.
pub(crate) async fn measure(source: &dyn Source, key: &str, size: Option<u64>) -> Option<FsckProblem> {
    let (kind, detail) = match source.length(key).await {
        Ok(Some(len)) if size.is_none_or(|size| size == len) => return None,
        Ok(Some(len)) => wrong_length(len, size),
        Ok(None) => (ProblemKind::Missing, "an event names it".to_owned()),
        Err(error) => return Some(unreadable(key, &error)),
    };
    Some(FsckProblem { key: key.to_owned(), kind, detail })
}

fn wrong_length(len: u64, size: Option<u64>) -> (ProblemKind, String) {
    let size = size.unwrap_or_default();
    (ProblemKind::Damaged, format!("it has {len} bytes, its version record says {size}"))
}
