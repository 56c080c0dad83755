//! The sequencer: one batch of intents at a time becomes one commit; what arrives meanwhile waits for the next.
//!
//! Invariant: every intent that was taken gets exactly one answer, and no answer rests on an event that is not in the log.

use std::{sync::Arc, time::Duration};

use drystone_log::commit::{CommitOutcome, EventDraft, Round};
use drystone_schemas::{Code, Problem};
use futures_util::future::{join_all, try_join};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Done, Intent, Refusal,
    intent::Answer,
    plan::{ByName, Decision, Desk, Place, decide},
    service::Core,
};

/// Most intents in one commit: their events, files and bundles stay far below the limits of a staging object.
const BATCH_INTENTS_MAX: usize = 64;
/// Most intents that wait; more are told to come back.
pub(crate) const WAITING_INTENTS_MAX: usize = 512;
/// How often one batch may lose the race for head before its intents are told to come back.
const LOST_RACES_MAX: u32 = 40;

/// An intent on its way, with the task that stores its objects.
pub(crate) struct Job {
    pub(crate) intent: Intent,
    /// Ends with the number of the garbage collector's fence that was seen before the objects were put.
    pub(crate) stored: JoinHandle<Result<u64, Refusal>>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// An intent whose objects are stored, or which has none.
struct Ready {
    intent: Intent,
    fence: u64,
    answer: oneshot::Sender<Answer>,
}

/// Runs until the last sender is gone.
pub(crate) async fn run(core: Arc<Core>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_INTENTS_MAX {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        run_batch(&core, batch).await;
    }
}

async fn run_batch(core: &Core, batch: Vec<Job>) {
    let mut starting = Some(batch);
    let mut waiting: Vec<Ready> = Vec::new();
    for attempt in 0..LOST_RACES_MAX {
        let result = attempt_batch(core, &mut starting, &mut waiting).await;
        match result {
            Ok(()) if waiting.is_empty() => return,
            // Lost to another process: wait a little, and longer each time, but not in step with it.
            Ok(()) => core.clock.sleep(core.jitter(Duration::from_millis(5 << attempt.min(5)))).await,
            Err(refusal) => {
                let jobs = starting.take().unwrap_or_default();
                jobs.into_iter().for_each(|job| give(job.answer, Err(refusal.clone())));
                waiting.into_iter().for_each(|ready| give(ready.answer, Err(refusal.clone())));
                return;
            }
        }
    }
    let refusal = Refusal {
        retry_after_s: Some(2),
        ..Refusal::new(Problem::new(Code::Overloaded, "other publishers kept winning the race for the log"))
    };
    waiting.into_iter().for_each(|ready| give(ready.answer, Err(refusal.clone())));
}

/// The caller may have gone; the commit stands all the same.
fn give(sender: oneshot::Sender<Answer>, answer: Answer) {
    drop(sender.send(answer));
}

/// One pass: read, decide, commit. Leaves in `waiting` what must be tried again because the commit was lost.
async fn attempt_batch(
    core: &Core,
    starting: &mut Option<Vec<Job>>,
    waiting: &mut Vec<Ready>,
) -> Result<(), Refusal> {
    let (mut round, by_name) = {
        let intents: Vec<&Intent> = starting
            .iter()
            .flatten()
            .map(|job| &job.intent)
            .chain(waiting.iter().map(|ready| &ready.intent))
            .collect();
        try_join(
            async { core.committer.begin().await.map_err(Refusal::from) },
            ByName::read(&core.store, &intents),
        )
        .await?
    };
    core.saw(&round.head);
    let settings = core.settings_of(&round.head.config).await?;
    let mut desk = {
        let intents: Vec<&Intent> = starting
            .iter()
            .flatten()
            .map(|job| &job.intent)
            .chain(waiting.iter().map(|ready| &ready.intent))
            .collect();
        Desk::gather(&core.store, &core.committer, &mut round, &by_name, settings, &intents).await?
    };
    if let Some(jobs) = starting.take() {
        waiting.extend(join_all(jobs.into_iter().map(stored)).await.into_iter().flatten());
    }
    store_again(core, &round, waiting).await;
    if desk.done.values().any(|done| done.seq >= round.head.size()) {
        // Somebody has committed one of these intents since head was read, and may not have applied it yet; the next
        // pass does that before it is told.
        return Ok(());
    }

    let (drafts, decided) = decide_all(&mut desk, &round, std::mem::take(waiting));
    if drafts.is_empty() {
        return Ok(());
    }
    let undecided = |decided: Vec<Decided>| decided.into_iter().map(|decided| decided.ready).collect();
    match core.committer.commit(round, drafts).await {
        Ok(CommitOutcome::Lost) => *waiting = undecided(decided),
        Ok(CommitOutcome::Committed(committed)) => {
            let mut proofs = committed.proofs.map(Vec::into_iter);
            let mut next_seq = committed.first_seq;
            for Decided { ready, answer } in decided {
                let answer = answer.unwrap_or_else(|| {
                    let proof = proofs.as_mut().and_then(Iterator::next);
                    next_seq += 1;
                    Ok(Done { seq: Some(next_seq - 1), already: false, proof })
                });
                give(ready.answer, answer);
            }
        }
        Err(error) => {
            *waiting = undecided(decided);
            return Err(error.into());
        }
    }
    Ok(())
}

async fn stored(job: Job) -> Option<Ready> {
    let outcome = job.stored.await.unwrap_or_else(|e| Err(Refusal::internal(e)));
    match outcome {
        Ok(fence) => Some(Ready { intent: job.intent, fence, answer: job.answer }),
        Err(refusal) => {
            give(job.answer, Err(refusal));
            None
        }
    }
}

/// Objects that were put before the garbage collector's fence moved may be gone: puts them again.
async fn store_again(core: &Core, round: &Round, waiting: &mut Vec<Ready>) {
    let gc = &round.head.gc;
    let mut kept = Vec::with_capacity(waiting.len());
    for mut ready in std::mem::take(waiting) {
        if let Some(object) = ready.intent.objects.iter().find(|object| gc.dooms(object.key.as_str())) {
            give(ready.answer, Err(Refusal::being_collected(format!("`{}`", object.key))));
            continue;
        }
        if ready.fence != gc.n {
            if let Err(refusal) = core.store_objects(&ready.intent.objects).await {
                give(ready.answer, Err(refusal));
                continue;
            }
            ready.fence = gc.n;
        }
        kept.push(ready);
    }
    *waiting = kept;
}

/// An intent whose answer waits for the commit.
struct Decided {
    ready: Ready,
    /// None: its event is in the commit. Else what follows for it if the events before it are in the log.
    answer: Option<Answer>,
}

/// Decides every intent in turn; answers those whose answer follows from the log as it is.
fn decide_all(desk: &mut Desk, round: &Round, waiting: Vec<Ready>) -> (Vec<EventDraft>, Vec<Decided>) {
    let (mut drafts, mut decided) = (Vec::new(), Vec::new());
    for ready in waiting {
        let place = Place::next(round, drafts.len() as u64);
        match decide(desk, &ready.intent, &place) {
            Decision::Commit(draft) => {
                drafts.push(*draft);
                decided.push(Decided { ready, answer: None });
            }
            Decision::Answer(answer) if drafts.is_empty() => give(ready.answer, answer),
            Decision::Answer(answer) => decided.push(Decided { ready, answer: Some(answer) }),
        }
    }
    (drafts, decided)
}
