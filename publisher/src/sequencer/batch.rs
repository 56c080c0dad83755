//! One attempt to commit a batch: read, decide, commit.
//!
//! Owns: the order of the steps, and who of the batch is answered. Does not own: what happens after a lost race.

use std::{collections::BTreeSet, mem, sync::Arc};

use drystone_log::commit::{CommitOutcome, Committed, EventDraft, Round};
use drystone_schemas::{AccountId, EventId};
use futures_util::future::{join, try_join};

use super::{Waiting, left_by};
use crate::{
    Done, Intent, Refusal,
    inbox::{self, Entry, Guest},
    intent::{Answer, Caller},
    plan::{ByName, Decision, Desk, Place, decide},
    service::Core,
};

/// How an attempt ended.
pub(super) enum Ended {
    /// Whatever could be answered was.
    Settled,
    /// Somebody has committed one of these intents since head was read: begin again.
    Overtaken,
    /// Another process won the race for head: these intents can be left to it.
    Lost(Vec<(EventId, Entry)>),
}

/// A batch on its way.
pub(super) struct Attempt {
    /// Those of this process who are not answered yet.
    pub(super) waiting: Vec<Waiting>,
    guests: Vec<Guest>,
    /// Names of entries in the inbox that have served their purpose.
    pub(super) over: Vec<String>,
    /// There are signs of other writers.
    pub(super) met_others: bool,
    /// How many of this process's intents were committed.
    pub(super) committed: usize,
    /// Other processes' intents were part of it.
    pub(super) took_guests: bool,
    /// Those whose intent was found done, with the position of its event: their answers lack a receipt.
    done: Vec<(Waiting, u64)>,
}

/// A member of the batch.
enum Member {
    Own(Waiting),
    Guest(Guest),
}

impl Member {
    fn intent(&self) -> &Intent {
        match self {
            Self::Own(waiting) => &waiting.job.intent,
            Self::Guest(guest) => &guest.intent,
        }
    }
}

/// A member whose answer waits for the commit.
struct Decided {
    member: Member,
    what: Outcome,
}

enum Outcome {
    /// Its event is in the commit; the account is its actor.
    Event(AccountId),
    /// What follows for it if the events before it are in the log.
    Answer(Answer),
}

impl Attempt {
    pub(super) fn new(waiting: Vec<Waiting>) -> Self {
        Self {
            waiting,
            guests: Vec::new(),
            over: Vec::new(),
            met_others: false,
            committed: 0,
            took_guests: false,
            done: Vec::new(),
        }
    }

    fn intents(&self) -> Vec<&Intent> {
        let own = self.waiting.iter().map(|waiting| &waiting.job.intent);
        // Guests have lost a race already, so they come first.
        self.guests.iter().map(|guest| &guest.intent).chain(own).collect()
    }

    /// One pass. Leaves in `waiting` whoever is not answered.
    ///
    /// `skip` names entries of the inbox that need no look; it is looked into only if the pass `takes_guests`.
    pub(super) async fn run(
        &mut self,
        core: &Arc<Core>,
        takes_guests: bool,
        skip: impl Fn(&str) -> bool,
    ) -> Result<Ended, Refusal> {
        let ended = self.try_run(core, takes_guests, skip).await;
        if !self.done.is_empty() {
            // Beside what comes next: it takes two rounds of reads.
            tokio::spawn(give_receipts(core.clone(), mem::take(&mut self.done)));
        }
        ended
    }

    async fn try_run(
        &mut self,
        core: &Core,
        takes_guests: bool,
        skip: impl Fn(&str) -> bool,
    ) -> Result<Ended, Refusal> {
        let (mut round, by_name) = self.begin(core, takes_guests, skip).await?;
        core.saw(&round.head);
        let settings = core.settings_of(&round.head.config).await?;
        let intents = self.intents();
        let (store, known) = (&core.store, &core.known);
        let mut desk =
            Desk::gather(store, &core.committer, &mut round, &by_name, settings, known, &intents).await?;
        self.check_guests(&desk, &round);
        self.store_again(core, &round).await;
        if desk.done.values().any(|done| done.seq >= round.head.size()) {
            // Whoever committed it may not have applied it yet; the next pass does that before it is told.
            return Ok(Ended::Overtaken);
        }
        let (drafts, decided) = self.decide_all(&mut desk, &round);
        if drafts.is_empty() {
            return Ok(Ended::Settled);
        }
        self.commit(core, round, drafts, decided).await
    }

    /// Reads head, and beside it the by-name files of everybody's packages and the inbox, if there is a reason.
    async fn begin(
        &mut self,
        core: &Core,
        takes_guests: bool,
        skip: impl Fn(&str) -> bool,
    ) -> Result<(Round, ByName), Refusal> {
        let own: BTreeSet<&str> = self.waiting.iter().map(|waiting| waiting.id().as_str()).collect();
        let invite = async {
            if !takes_guests {
                return (Vec::new(), ByName::default());
            }
            let guests = inbox::take(core, |name| own.contains(name) || skip(name)).await;
            let intents: Vec<&Intent> = guests.iter().map(|guest| &guest.intent).collect();
            match ByName::read(&core.store, &intents).await {
                Ok(by_name) => (guests, by_name),
                Err(error) => {
                    tracing::warn!("the files of others' intents cannot be read now: {error}");
                    (Vec::new(), ByName::default())
                }
            }
        };
        let intents: Vec<&Intent> = self.waiting.iter().map(|waiting| &waiting.job.intent).collect();
        let begin = async { core.committer.begin().await.map_err(Refusal::from) };
        let (begun, (guests, files_of_guests)) =
            join(try_join(begin, ByName::read(&core.store, &intents)), invite).await;
        let (round, mut by_name) = begun?;
        by_name.add(files_of_guests);
        self.guests = guests;
        self.took_guests = !self.guests.is_empty();
        self.met_others = self.took_guests || round.met_others;
        Ok((round, by_name))
    }

    /// Sends guests back whose objects may have been collected, or whose token is not whose they say.
    fn check_guests(&mut self, desk: &Desk, round: &Round) {
        let gc = &round.head.gc;
        let fits = |guest: &Guest| {
            let Caller::Token(digest) = &guest.intent.caller else { return false };
            let token = desk.tokens.get(digest).and_then(Option::as_ref);
            guest.fence == gc.n
                && gc.doomed.is_empty()
                && token.is_some_and(|token| token.account == guest.actor)
        };
        let (stay, away): (Vec<Guest>, Vec<Guest>) = mem::take(&mut self.guests).into_iter().partition(fits);
        self.over.extend(away.iter().map(|guest| guest.intent.id.to_string()));
        self.guests = stay;
    }

    /// Objects that were put before the garbage collector's fence moved may be gone: puts them again.
    async fn store_again(&mut self, core: &Core, round: &Round) {
        let gc = &round.head.gc;
        for mut waiting in mem::take(&mut self.waiting) {
            let objects = &waiting.job.intent.objects;
            if let Some(object) = objects.iter().find(|object| gc.dooms(object.key.as_str())) {
                let doomed = format!("`{}`", object.key);
                waiting.give(Err(Refusal::being_collected(doomed)));
                continue;
            }
            if waiting.job.fence.is_some_and(|fence| fence != gc.n) {
                if let Err(refusal) = core.store_objects(objects).await {
                    waiting.give(Err(refusal));
                    continue;
                }
                waiting.job.fence = Some(gc.n);
            }
            self.waiting.push(waiting);
        }
    }

    /// Decides every member in turn; answers those whose answer follows from the log as it is.
    fn decide_all(&mut self, desk: &mut Desk, round: &Round) -> (Vec<EventDraft>, Vec<Decided>) {
        let guests = mem::take(&mut self.guests).into_iter().map(Member::Guest);
        let own = mem::take(&mut self.waiting).into_iter().map(Member::Own);
        let (mut drafts, mut decided) = (Vec::new(), Vec::new());
        for member in guests.chain(own) {
            let place = Place::next(round, drafts.len() as u64);
            match decide(desk, member.intent(), &place) {
                Decision::Commit(draft) => {
                    let what = Outcome::Event(draft.actor.clone());
                    drafts.push(*draft);
                    decided.push(Decided { member, what });
                }
                Decision::Answer(answer) if drafts.is_empty() => self.give(member, answer),
                Decision::Answer(answer) => decided.push(Decided { member, what: Outcome::Answer(answer) }),
            }
        }
        (drafts, decided)
    }

    /// Answers a member. A guest's owner finds its outcome; or finds that its entry is gone, decides for itself, and
    /// answers with the reason.
    fn give(&mut self, member: Member, answer: Answer) {
        match member {
            Member::Own(waiting) => {
                self.over.extend(left_by(std::slice::from_ref(&waiting)));
                match answer {
                    Ok(Done { seq: Some(seq), already: false, proof: None }) => {
                        self.done.push((waiting, seq))
                    }
                    answer => waiting.give(answer),
                }
            }
            Member::Guest(guest) => self.over.push(guest.intent.id.to_string()),
        }
    }

    async fn commit(
        &mut self,
        core: &Core,
        mut round: Round,
        drafts: Vec<EventDraft>,
        decided: Vec<Decided>,
    ) -> Result<Ended, Refusal> {
        let gc_n = round.head.gc.n;
        put_first(&mut round, &decided);
        match core.committer.commit(round, drafts).await {
            Ok(CommitOutcome::Committed(committed)) => {
                self.answer(decided, committed);
                Ok(Ended::Settled)
            }
            Ok(CommitOutcome::Lost) => {
                let now_s = core.clock.now_unix_s();
                let mut entries = Vec::new();
                for Decided { member, what } in decided {
                    let Member::Own(mut waiting) = member else { continue };
                    if let Outcome::Event(actor) = what {
                        // What precedes head was put.
                        let fence = *waiting.job.fence.get_or_insert(gc_n);
                        let entry = Entry::of(&waiting.job.intent, &actor, fence, now_s);
                        entries.extend(entry.map(|entry| (waiting.id().clone(), entry)));
                    }
                    self.waiting.push(waiting);
                }
                Ok(Ended::Lost(entries))
            }
            Err(error) => {
                let own = |decided: Decided| match decided.member {
                    Member::Own(waiting) => Some(waiting),
                    Member::Guest(_) => None,
                };
                self.waiting.extend(decided.into_iter().filter_map(own));
                Err(error.into())
            }
        }
    }

    fn answer(&mut self, decided: Vec<Decided>, committed: Committed) {
        let mut proofs = committed.proofs.map(Vec::into_iter);
        let mut next_seq = committed.first_seq;
        self.committed = decided.iter().filter(|decided| matches!(decided.member, Member::Own(_))).count();
        for Decided { member, what } in decided {
            let answer = match what {
                Outcome::Answer(answer) => answer,
                Outcome::Event(_) => {
                    let proof = proofs.as_mut().and_then(Iterator::next);
                    next_seq += 1;
                    Ok(Done { seq: Some(next_seq - 1), already: false, proof })
                }
            };
            self.give(member, answer);
        }
    }
}

/// Answers those whose intent was found done, with a receipt if there is one by now.
async fn give_receipts(core: Arc<Core>, done: Vec<(Waiting, u64)>) {
    let seqs: Vec<u64> = done.iter().map(|(_, seq)| *seq).collect();
    let receipts = core.committer.receipts(&seqs).await.unwrap_or_default();
    for (waiting, seq) in done {
        let proof = receipts.get(&seq).cloned();
        waiting.give(Ok(Done { seq: Some(seq), already: false, proof }));
    }
}

/// Has the objects that are not stored yet put with the commit, each once.
fn put_first(round: &mut Round, decided: &[Decided]) {
    let mut named = BTreeSet::new();
    for decided in decided {
        if let (Member::Own(Waiting { job, .. }), Outcome::Event(_)) = (&decided.member, &decided.what)
            && job.fence.is_none()
        {
            let new = job.intent.objects.iter().filter(|object| named.insert(object.key.clone()));
            round.put_first(new.cloned());
        }
    }
}
