//! The sequencer: one batch of intents at a time becomes one commit; what arrives meanwhile waits for the next.
//!
//! Owns: what is in a batch, other processes' intents included, and what follows when the race for head is lost: the
//! intents are left in the inbox, and asked for again when nobody has taken them along within a while.
//!
//! Invariant: every intent that was taken from the queue gets exactly one answer, within a bounded time, and no answer
//! rests on an event that is not in the log.

mod batch;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use drystone_schemas::{Code, EventId};
use futures_util::future::{Either, join, select, try_join_all};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Done, Intent, Refusal,
    inbox::{self, Entry},
    intent::Answer,
    service::Core,
    vault::read_done,
};
use batch::{Attempt, Ended};

/// Most intents of this process in one commit: with as many of others', their events, files and bundles stay far
/// below the limits of a staging object.
const BATCH_INTENTS_MAX: usize = 64;
/// Most intents that wait; more are told to come back.
pub(crate) const WAITING_INTENTS_MAX: usize = 512;
/// How often in a row the race for head may be lost before those who wait are told to come back.
const LOST_RACES_MAX: u32 = 40;
/// Milliseconds after which those who wait are told to come back: less than clients and gateways wait for an answer.
const WAIT_MS_MAX: u64 = 20_000;
/// Milliseconds for which the inbox is looked into after a sign of other writers: longer than an entry is good.
const CONTENDED_MS: u64 = 30_000;
/// Every so many lost races in a row head is moved again, so that a winner who has not noticed us loses once, and does.
const KNOCK_LOSSES: u32 = 3;
/// What part of the last commit's time is spent waiting for those whom it answered to ask for more.
const LINGER_PART: u64 = 8;
/// Bounds of the time that one attempt is taken to need, in milliseconds, for what depends on it.
const ATTEMPT_MS: (u64, u64) = (20, 1_000);
/// Milliseconds for which an entry that was removed may still be listed.
const REMOVAL_MS: u64 = 5_000;

/// An intent on its way.
pub(crate) struct Job {
    pub(crate) intent: Intent,
    /// The garbage collector's number that was seen before its objects were put; none if they are not put yet.
    pub(crate) fence: Option<u64>,
    /// When it was asked for, in milliseconds since 1970.
    pub(crate) came_ms: u64,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// An intent of this process that waits for its answer.
struct Waiting {
    job: Job,
    /// What lies in the inbox for it, as far as is known.
    left: bool,
}

impl Waiting {
    /// The caller may have gone; the commit stands all the same.
    fn give(self, answer: Answer) {
        drop(self.job.answer.send(answer));
    }

    fn id(&self) -> &EventId {
        &self.job.intent.id
    }
}

/// Runs until the last sender is gone.
pub(crate) async fn run(core: Arc<Core>, jobs: mpsc::Receiver<Job>) {
    let mut sequencer = Sequencer {
        core,
        jobs,
        waiting: Vec::new(),
        lost: 0,
        contended_until_ms: 0,
        alone: false,
        removed: BTreeMap::new(),
        last: (0, 0),
    };
    while sequencer.fill().await {
        sequencer.pass().await;
    }
}

struct Sequencer {
    core: Arc<Core>,
    jobs: mpsc::Receiver<Job>,
    waiting: Vec<Waiting>,
    /// Attempts in a row that ended before head was replaced.
    lost: u32,
    /// Until then others are taken to be at work.
    contended_until_ms: u64,
    /// The next pass takes nobody along, because the last one did and failed.
    alone: bool,
    /// Entries that were removed, and until when they may still be listed.
    removed: BTreeMap<String, u64>,
    /// How many of this process's intents the last commit took, and how many milliseconds.
    last: (usize, u64),
}

impl Sequencer {
    /// Waits until there is something to do; `false` if there never will be.
    async fn fill(&mut self) -> bool {
        if self.waiting.is_empty() {
            self.lost = 0;
            match self.jobs.recv().await {
                Some(job) => self.waiting.push(Waiting { job, left: false }),
                None => return false,
            }
        }
        self.take_queued();
        self.linger().await;
        true
    }

    fn take_queued(&mut self) {
        while self.waiting.len() < BATCH_INTENTS_MAX {
            match self.jobs.try_recv() {
                Ok(job) => self.waiting.push(Waiting { job, left: false }),
                Err(_) => break,
            }
        }
    }

    /// Waits a little for as many as the last commit took. Those whom it answered come back in a moment; without this
    /// the first of them would go alone, and the others wait for a whole commit.
    async fn linger(&mut self) {
        let (many, commit_ms) = std::mem::take(&mut self.last);
        let (core, began_ms) = (self.core.clone(), self.core.clock.now_unix_ms());
        let linger_ms = (commit_ms / LINGER_PART).min(ATTEMPT_MS.0);
        while self.waiting.len() < many.min(BATCH_INTENTS_MAX) {
            let left_ms = linger_ms.saturating_sub(core.clock.now_unix_ms() - began_ms);
            if left_ms == 0 {
                return;
            }
            match select(pin!(self.jobs.recv()), core.clock.sleep(Duration::from_millis(left_ms))).await {
                Either::Left((Some(job), _)) => self.waiting.push(Waiting { job, left: false }),
                Either::Left((None, _)) | Either::Right(_) => return,
            }
        }
    }

    /// One attempt to commit what waits, and what follows from its end.
    async fn pass(&mut self) {
        let began_ms = self.core.clock.now_unix_ms();
        self.send_away(began_ms);
        if self.waiting.is_empty() {
            return;
        }
        self.removed.retain(|_, until_ms| *until_ms > began_ms);
        let takes_guests = !std::mem::take(&mut self.alone) && began_ms < self.contended_until_ms;
        let mut attempt = Attempt::new(std::mem::take(&mut self.waiting));
        let skip = |name: &str| self.removed.contains_key(name);
        let ended = attempt.run(&self.core, takes_guests, skip).await;
        self.waiting = attempt.waiting;
        self.remove(attempt.over);
        let now_ms = self.core.clock.now_unix_ms();
        if attempt.met_others {
            self.contended_until_ms = now_ms + CONTENDED_MS;
        }
        match ended {
            Ok(Ended::Settled) => {
                self.lost = 0;
                // The clock may have been set back meanwhile.
                self.last = (attempt.committed, now_ms.saturating_sub(began_ms));
            }
            Ok(Ended::Overtaken) => {
                self.lost += 1;
                let (ms_min, _) = ATTEMPT_MS;
                self.core.clock.sleep(self.core.jitter(Duration::from_millis(ms_min))).await;
            }
            Ok(Ended::Lost(entries)) => {
                self.lost += 1;
                // The winner may never have lost, and not know that there are others.
                let knocks = began_ms >= self.contended_until_ms || self.lost.is_multiple_of(KNOCK_LOSSES);
                self.leave(entries).await;
                if knocks {
                    // If it fails, the next attempt meets the same obstacle and tells.
                    drop(self.core.committer.fence().await);
                }
                self.wait(now_ms.saturating_sub(began_ms)).await;
            }
            // Whatever it was, those who wait here shall not suffer from what others have left.
            Err(refusal) if attempt.took_guests => {
                tracing::warn!("a batch with others' intents failed, and is tried without: {refusal}");
                self.alone = true;
            }
            Err(refusal) => {
                self.remove(left_by(&self.waiting));
                self.waiting.drain(..).for_each(|waiting| waiting.give(Err(refusal.clone())));
            }
        }
    }

    /// Tells those who have waited too long to come back, and everybody when the race was lost too often.
    fn send_away(&mut self, now_ms: u64) {
        let hopeless = self.lost >= LOST_RACES_MAX;
        let too_long =
            |waiting: &Waiting| hopeless || now_ms.saturating_sub(waiting.job.came_ms) > WAIT_MS_MAX;
        let (away, stay) = std::mem::take(&mut self.waiting).into_iter().partition(too_long);
        self.waiting = stay;
        self.remove(left_by(&away));
        for waiting in away {
            let detail = "other changes kept going before this one";
            waiting.give(Err(Refusal::code(Code::Overloaded, detail)));
        }
    }

    /// Leaves intents in the inbox that do not lie there yet.
    async fn leave(&mut self, mut entries: Vec<(EventId, Entry)>) {
        self.contended_until_ms = self.core.clock.now_unix_ms() + CONTENDED_MS;
        entries.retain(|(id, _)| self.waiting.iter().any(|waiting| waiting.id() == id && !waiting.left));
        if entries.is_empty() {
            return;
        }
        inbox::leave(&self.core.store, &entries).await;
        for waiting in &mut self.waiting {
            waiting.left |= entries.iter().any(|(id, _)| id == waiting.id());
        }
    }

    /// Waits for what a winner makes of what was left, for about as long as a winner needs for its next commit.
    ///
    /// The times are random: the first of many losers whose patience ends takes all others along.
    async fn wait(&mut self, attempt_ms: u64) {
        let core = self.core.clone();
        let (ms_min, ms_max) = ATTEMPT_MS;
        let attempt = Duration::from_millis(attempt_ms.clamp(ms_min, ms_max));
        // One to four attempts.
        let patience = core.jitter(attempt * 6) - attempt * 2;
        let end_ms = core.clock.now_unix_ms() + patience.as_millis() as u64;
        while core.clock.now_unix_ms() < end_ms {
            core.clock.sleep(core.jitter(attempt / 3)).await;
            match self.look().await {
                Ok(true) => {}
                // Either there is nothing to wait for, or this process must find out itself.
                Ok(false) | Err(_) => break,
            }
        }
    }

    /// Looks whether what was left has been taken along, and answers what has; whether it is worth to wait on.
    async fn look(&mut self) -> Result<bool, Refusal> {
        let core = self.core.clone();
        let Some(first) = self.waiting.iter_mut().filter(|w| w.left).min_by(|a, b| a.id().cmp(b.id())) else {
            return Ok(false);
        };
        let (done, there) = {
            let (vault, id) = (&*core.store.vault, &first.job.intent.id);
            join(read_done(vault, id), inbox::lies_there(&core.store, id)).await
        };
        if done?.is_none() {
            // An entry without an outcome that is gone was given back.
            first.left = there?;
            return Ok(first.left);
        }
        self.answer_done(&core).await?;
        Ok(self.waiting.iter().any(|waiting| waiting.left))
    }

    /// Answers what another process has committed, applied and published.
    async fn answer_done(&mut self, core: &Core) -> Result<(), Refusal> {
        let left = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.left);
        let reads = left.map(async |(i, waiting)| {
            let done = read_done(&*core.store.vault, waiting.id()).await?;
            Ok::<_, Refusal>((i, done.filter(|done| done.intent == waiting.job.intent.action.digest())))
        });
        let done: BTreeMap<usize, u64> =
            try_join_all(reads).await?.into_iter().filter_map(|(i, done)| Some((i, done?.seq))).collect();
        let seqs: Vec<u64> = done.values().copied().collect();
        let receipts = core.committer.receipts(&seqs).await?;
        for (i, waiting) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            match done.get(&i).and_then(|seq| receipts.get_key_value(seq)) {
                Some((seq, proof)) => {
                    let answer = Done { seq: Some(*seq), already: false, proof: Some(proof.clone()) };
                    waiting.give(Ok(answer));
                }
                None => self.waiting.push(waiting),
            }
        }
        Ok(())
    }

    /// Removes entries beside what comes next.
    fn remove(&mut self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let until_ms = self.core.clock.now_unix_ms() + REMOVAL_MS;
        self.removed.extend(names.iter().map(|name| (name.clone(), until_ms)));
        let core = self.core.clone();
        tokio::spawn(async move { inbox::remove(&core.store, &names).await });
    }
}

/// Names of the entries that lie in the inbox for these.
fn left_by(waiting: &[Waiting]) -> Vec<String> {
    waiting.iter().filter(|waiting| waiting.left).map(|waiting| waiting.id().to_string()).collect()
}
