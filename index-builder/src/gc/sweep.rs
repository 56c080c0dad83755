//! Removing garbage: what a commit could name goes under the fence and through the trash, the rest at once.
//!
//! Invariant: between the moment at which head dooms a key and the moment at which it no longer does, no commit names
//! it; it is copied to the trash before it is deleted; and the fence stays up if a deletion was not answered for certain.

use drystone_log::commit::{DOOMED_MAX, Fence, SeenHead};
use drystone_storage::{Area, Clock, Entropy, Key, Meta, Store};
use futures_util::TryStreamExt;

use super::{
    GcClass, GcError, GcOptions, GcReport,
    judge::{BY_DIGEST, Named, Trashed, by_age, full_key, named_at},
    marks::{Marks, Reader, Scope},
    transfer::{delete, transfer},
};
use crate::{concurrent::in_order, progress::Progress};

/// How often a batch is judged anew because commits came in between.
const TRIES_MAX: usize = 64;

/// Bytes that one fence covers: they are copied to the trash within the first half of its lease, at 0.6 MB a second or more.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// A file that may go.
struct Candidate {
    class: GcClass,
    in_vault: bool,
    key: Key,
    len: u64,
}

impl Candidate {
    /// Its name in head.
    fn doomed(&self) -> String {
        if self.in_vault { format!("{VAULT}{}", self.key) } else { self.key.to_string() }
    }
}

/// What names of the vault begin with in head.
const VAULT: &str = "vault/";

/// A collection under way.
pub(super) struct Sweep<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) options: &'a GcOptions,
    entropy: &'a dyn Entropy,
    /// When the collection began, in seconds since 1970.
    pub(super) now_s: u64,
    pub(super) report: GcReport,
    batch: Vec<Candidate>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(
        store: &'a Store,
        options: &'a GcOptions,
        clock: &'a dyn Clock,
        entropy: &'a dyn Entropy,
        progress: &'a dyn Progress,
    ) -> Self {
        let (reader, now_s) = (Reader::new(store, clock, progress), clock.now_unix_s());
        Self { reader, options, entropy, now_s, report: GcReport::default(), batch: Vec::new() }
    }

    fn area(&self, in_vault: bool) -> &'a dyn Area {
        if in_vault { &*self.reader.store.vault } else { &*self.reader.store.public }
    }

    /// Finishes what a collector left doomed that has died.
    pub(super) async fn resume(&mut self) -> Result<(), GcError> {
        let seen = self.reader.head().await?;
        let gc = &seen.head.gc;
        if !gc.is_up() {
            return Ok(());
        }
        if !self.options.apply {
            self.report.under_way_until = Some(gc.leased_until());
            return Ok(());
        }
        gc.refuse_while_leased(self.now_s)?;
        let digests = gc.doomed.iter().filter_map(|key| match Named::of(key) {
            Named::Digest(_, hash) => Some(hash),
            Named::Partial(..) | Named::Other => None,
        });
        let scope = Scope::Only(digests.collect());
        for name in &gc.doomed {
            let (in_vault, key) = match name.strip_prefix(VAULT) {
                Some(key) => (true, key),
                None => (false, name.as_str()),
            };
            let key = Key::new(key)?;
            let class = match Named::of(key.as_str()) {
                Named::Digest(class, _) => class,
                Named::Partial(..) | Named::Other => GcClass::Staging,
            };
            let stat = self.area(in_vault).stat(&key).await?;
            self.report.resumed += 1;
            self.batch.extend(stat.map(|stat| Candidate { class, in_vault, key, len: stat.len }));
        }
        let mut marks = Marks::read(&self.reader, scope, self.options).await?;
        self.flush(&mut marks).await
    }

    /// Every file that is named by its hash.
    pub(super) async fn digests(&mut self, marks: &mut Marks) -> Result<(), GcError> {
        for (folder, _) in BY_DIGEST {
            for prefix in marks.scope.prefixes(folder) {
                let mut after = None;
                loop {
                    let page = self.reader.store.public.list(&prefix, after.as_deref()).await?;
                    let garbage =
                        page.keys.into_iter().filter_map(|key| Some((marks.garbage(key.as_str())?, key)));
                    let garbage: Vec<_> = garbage.collect();
                    self.consider(marks, false, garbage).await?;
                    match page.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
            }
        }
        self.flush(marks).await
    }

    /// Partial tiles, staging objects, and private files that have had their time.
    pub(super) async fn log_and_vault(&mut self, marks: &mut Marks) -> Result<(), GcError> {
        self.partial_tiles(marks).await?;
        let vault = self.reader.store.vault.clone();
        let mut after = None;
        loop {
            let page = vault.list("staging/", after.as_deref()).await?;
            let old = page.keys.into_iter().filter(|key| marks.is_old_staging(key.as_str()));
            let old: Vec<_> = old.map(|key| (GcClass::Staging, key)).collect();
            self.consider(marks, true, old).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.flush(marks).await?;
        for (folder, class, age_s) in by_age(&self.options.ages) {
            let mut after = None;
            loop {
                let page = vault.list(folder, after.as_deref()).await?;
                for key in page.keys {
                    // A name that does not tell its time stays.
                    if named_at(key.as_str()).is_some_and(|at| at.saturating_add(age_s) <= self.now_s) {
                        self.remove_unfenced(class, &key).await?;
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Partial tiles need no fence: the log is beyond them for good. They take the way through the trash.
    async fn partial_tiles(&mut self, marks: &Marks) -> Result<(), GcError> {
        let public = self.reader.store.public.clone();
        let mut after = None;
        // Partial tiles of one full tile lie beside each other.
        let mut known: Option<(String, bool)> = None;
        loop {
            let page = public.list("log/tile/", after.as_deref()).await?;
            for key in page.keys {
                let (Named::Partial(id, is_bundle), Some(class)) =
                    (Named::of(key.as_str()), marks.garbage(key.as_str()))
                else {
                    continue;
                };
                let Some(full) = full_key(id, is_bundle) else { continue };
                if known.as_ref().is_none_or(|(key, _)| *key != full) {
                    let is_there = public.stat(&Key::new(full.clone())?).await?.is_some();
                    known = Some((full, is_there));
                }
                if !known.as_ref().is_some_and(|(_, is_there)| *is_there) {
                    continue;
                }
                let Some(stat) = public.stat(&key).await? else { continue };
                if self.options.apply {
                    self.trash(&Candidate { class, in_vault: false, key: key.clone(), len: stat.len })
                        .await?;
                    delete(&*public, &key).await?;
                }
                self.tally(class, &key, stat.len);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Removes a private file that no commit can name.
    pub(super) async fn remove_unfenced(&mut self, class: GcClass, key: &Key) -> Result<(), GcError> {
        let vault = self.area(true);
        let Some(stat) = vault.stat(key).await? else { return Ok(()) };
        if self.options.apply {
            delete(vault, key).await?;
        }
        self.tally(class, key, stat.len);
        Ok(())
    }

    fn tally(&mut self, class: GcClass, key: &Key, len: u64) {
        let tally = self.report.classes.entry(class).or_default();
        (tally.count, tally.bytes) = (tally.count + 1, tally.bytes + len);
        if self.options.list {
            self.report.keys.push((class, key.to_string()));
        }
    }

    /// Takes what is old enough; what is young may be somebody's who is about to name it.
    async fn consider(
        &mut self,
        marks: &mut Marks,
        in_vault: bool,
        garbage: Vec<(GcClass, Key)>,
    ) -> Result<(), GcError> {
        let area = self.area(in_vault);
        self.reader.progress.total(garbage.len() as u64);
        let stats = garbage.into_iter().map(async |(class, key)| {
            let stat = area.stat(&key).await?;
            Ok::<_, GcError>((class, key, stat))
        });
        let mut stats = in_order(stats.collect());
        while let Some((class, key, stat)) = stats.try_next().await? {
            self.reader.progress.step(key.as_str());
            let Some(stat) = stat else { continue };
            let is_young = |at: u64| {
                self.options.ages.unnamed_s > 0 && at.saturating_add(self.options.ages.unnamed_s) > self.now_s
            };
            if stat.written_unix_s.is_some_and(is_young) {
                self.report.young += 1;
                continue;
            }
            if !self.options.apply {
                self.tally(class, &key, stat.len);
                continue;
            }
            self.batch.push(Candidate { class, in_vault, key, len: stat.len });
            let bytes: u64 = self.batch.iter().map(|candidate| candidate.len).sum();
            if self.batch.len() == DOOMED_MAX || bytes >= BATCH_BYTES_MAX {
                self.flush(marks).await?;
            }
        }
        Ok(())
    }

    /// Removes a batch under the fence.
    async fn flush(&mut self, marks: &mut Marks) -> Result<(), GcError> {
        let mut batch = std::mem::take(&mut self.batch);
        let Some(fence) = self.doom(marks, &mut batch).await? else { return Ok(()) };
        self.report.fences += 1;
        let (vault, clock) = (self.area(true), self.reader.clock);
        let ready = async {
            self.trash_all(&batch).await?;
            if fence.holds(vault, clock).await? { Ok(()) } else { Err(GcError::FenceLost) }
        };
        if let Err(error) = ready.await {
            // Nothing has been deleted, and nothing will be.
            fence.lower(vault, clock, self.entropy).await?;
            return Err(error);
        }
        let deletions = batch.iter().map(async |candidate| {
            if !fence.may_delete(clock) {
                return Err(GcError::FenceLost);
            }
            delete(self.area(candidate.in_vault), &candidate.key).await
        });
        // All are tried. After a doubtful one the fence stays up until its lease is over: it may still be under way.
        let mut outcomes = in_order(deletions.collect());
        let mut first_error = None;
        loop {
            match outcomes.try_next().await {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        drop(outcomes);
        if let Some(error) = first_error {
            return Err(error);
        }
        fence.lower(vault, clock, self.entropy).await?;
        for candidate in batch {
            self.tally(candidate.class, &candidate.key, candidate.len);
        }
        Ok(())
    }

    /// Raises the fence over what is garbage as of head itself; none if nothing is.
    async fn doom(&self, marks: &mut Marks, batch: &mut Vec<Candidate>) -> Result<Option<Fence>, GcError> {
        for _ in 0..TRIES_MAX {
            let seen: SeenHead = self.reader.head().await?;
            if !marks.extend(&self.reader, &seen).await? {
                continue;
            }
            batch.retain(|candidate| match candidate.in_vault {
                true => marks.is_old_staging(candidate.key.as_str()),
                false => marks.garbage(candidate.key.as_str()).is_some(),
            });
            if batch.is_empty() && !seen.head.gc.is_up() {
                return Ok(None);
            }
            let doomed = batch.iter().map(Candidate::doomed).collect();
            let vault = &*self.reader.store.vault;
            if let Some(fence) = Fence::raise(vault, &seen, doomed, self.reader.clock, self.entropy).await? {
                return Ok(Some(fence));
            }
        }
        Err(GcError::Contended)
    }

    async fn trash_all(&self, batch: &[Candidate]) -> Result<(), GcError> {
        let copies = batch.iter().map(|candidate| self.trash(candidate));
        in_order(copies.collect()).try_collect::<()>().await
    }

    async fn trash(&self, candidate: &Candidate) -> Result<(), GcError> {
        let (in_vault, key) = (candidate.in_vault, candidate.key.to_string());
        let trashed = Trashed { at: self.now_s, in_vault, key };
        let to = Key::new(trashed.to_key())?;
        // What is not there any more has been removed by somebody else, who has a copy of it.
        transfer(self.area(in_vault), &candidate.key, self.area(true), to, |_| Meta::PRIVATE).await?;
        Ok(())
    }
}
