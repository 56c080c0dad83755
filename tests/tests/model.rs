//! A model of the commit protocol, small enough to read and to check whole: every interleaving of a few writers, each of
//! whose calls may fail or be the last one of its process.
//!
//! The store holds what the protocol orders in time: object < staging < head < outcome and file < checkpoint. A *writer*
//! is asked to commit intents, one after the other; asked again after its death it starts from the beginning, in another
//! process. An event is the number of its intent, and a root of the log is the log itself. One file stands for all
//! by-name files, by the number of events that it shows. What a switch of [`Without`] takes away is a guard; for each
//! of them the model finds how the protocol then fails.
//!
//! Left out: the state map, batches, and reads that fail (they are repeated, or their writer dies).

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

type Intent = u8;
type Log = Vec<Intent>;

/// `vault/head`: two heads are never the same, since one has its commit, by writer and process, and its fences.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Head {
    log: Log,
    commit: (usize, u8),
    fences: u8,
}

/// The guard that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    ObjectBeforeHead,
    StagingBeforeHead,
    Helping,
    Outcome,
    OutcomeOfAnAppliedHead,
    HeadCondition,
    StagingWhenUnknown,
    RereadAfterUnknown,
    FilePosition,
    FileCondition,
    FilesBeforeCheckpoint,
    SignatureAfterHead,
    CheckpointCondition,
    Fence,
}

/// A call that changes the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Write {
    Object(Intent),
    Staging(Head),
    Head { seen: Head, new: Head },
    Outcome(Intent),
    File { seen: u8, new: u8 },
    Checkpoint { seen: Log, new: Log },
}

/// What a writer does next. A commit that it helps along is `head`; one of its own is `next`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    PutObject,
    ReadHead,
    ReadCheckpoint { head: Head },
    ReadOutcome { head: Head },
    Stage { head: Head, next: Head },
    ReplaceHead { head: Head, next: Head, doubt: bool },
    Resolve { head: Head, next: Head },
    PutOutcome { head: Head, seen: Log },
    ReadFile { head: Head, seen: Log },
    ReplaceFile { head: Head, seen: Log, file: u8 },
    Publish { head: Head, seen: Log },
    Republish { head: Head },
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    /// Intents that it is still asked for; the first is the one at hand.
    asked: Vec<Intent>,
    process: u8,
    step: Step,
}

/// Takes the right to commit the last intent away: deletes the token, replaces head by itself, and says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Revocation {
    #[default]
    NotAsked,
    Fencing,
    Replacing(Head),
    Answered,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    objects: BTreeSet<Intent>,
    staging: BTreeSet<Head>,
    head: Head,
    outcomes: BTreeSet<Intent>,
    file: u8,
    checkpoint: Log,
    /// Writes that were sent, and that nobody waits for any more.
    late: BTreeSet<Write>,
    writers: Vec<Writer>,
    revocation: Revocation,
    faults_left: u8,
    crashes_left: u8,
    /// What was ever signed, which intents were answered with success, and what must not happen.
    signed: BTreeSet<Log>,
    answered: BTreeSet<Intent>,
    wrong: BTreeSet<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// The next call of a writer does what it should.
    Call(usize),
    /// Its outcome is unknown to the writer.
    Unknown(usize, Ending),
    /// The writer dies; what it has sent may still be under way.
    Crash(usize),
    CrashSending(usize),
    Arrive(Write),
    Revoke,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    NotDone,
    Done,
    DoneLater,
}

struct Protocol {
    asked: Vec<Vec<Intent>>,
    revoked: Option<Intent>,
    faults: u8,
    crashes: u8,
    without: Without,
}

impl State {
    /// Does a write, and tells whether it was done; a conflict is the other answer.
    fn write(&mut self, model: &Protocol, write: Write) -> bool {
        match write {
            Write::Object(intent) => drop(self.objects.insert(intent)),
            Write::Staging(head) => drop(self.staging.insert(head)),
            Write::Outcome(intent) => drop(self.outcomes.insert(intent)),
            Write::Head { seen, new } => {
                if self.head != seen && model.without != Without::HeadCondition {
                    return false;
                }
                self.must(new.log.starts_with(&self.head.log), "head goes back");
                let added = new.log.len() > self.head.log.len();
                let revoked =
                    self.revocation == Revocation::Answered && new.log.last() == model.revoked.as_ref();
                self.must(!(added && revoked), "a commit with a right that was taken away");
                self.head = new;
            }
            Write::File { seen, new } => {
                if self.file != seen && model.without != Without::FileCondition {
                    return false;
                }
                self.must(new >= self.file, "a file goes back");
                self.file = new;
            }
            Write::Checkpoint { seen, new } => {
                if self.checkpoint != seen && model.without != Without::CheckpointCondition {
                    return false;
                }
                self.must(new.len() >= self.checkpoint.len(), "the published size shrinks");
                self.checkpoint = new;
            }
        }
        true
    }

    fn must(&mut self, holds: bool, what: &'static str) {
        if !holds {
            self.wrong.insert(what);
        }
    }
}

impl Protocol {
    /// The write that a writer makes next; none if it reads.
    fn sends(&self, writer: &Writer) -> Option<Write> {
        Some(match writer.step.clone() {
            Step::PutObject => Write::Object(writer.asked[0]),
            Step::Stage { next, .. } => Write::Staging(next),
            Step::ReplaceHead { head, next, .. } => Write::Head { seen: head, new: next },
            Step::PutOutcome { head, .. } => Write::Outcome(*head.log.last()?),
            Step::ReplaceFile { head, file, .. } => Write::File { seen: file, new: head.log.len() as u8 },
            Step::Publish { head, seen } => Write::Checkpoint { seen, new: head.log },
            _ => return None,
        })
    }

    /// What a writer does after a call; `done` tells of a write whether it was done, if that is known.
    fn after(&self, state: &mut State, at: usize, done: Option<bool>) {
        let Writer { asked, process, step } = state.writers[at].clone();
        let intent = asked.first().copied().unwrap_or_default();
        let without = |guard| self.without == guard;
        let apply = |head: Head, seen: Log| {
            if without(Without::FilesBeforeCheckpoint) {
                return Step::Publish { head, seen };
            }
            Step::PutOutcome { head, seen }
        };
        // A put whose outcome is unknown is repeated.
        let again = |next: Step| if done == Some(true) { next } else { step.clone() };
        let next = match step.clone() {
            Step::PutObject => again(Step::ReadHead),
            Step::ReadHead => Step::ReadCheckpoint { head: state.head.clone() },
            Step::ReadCheckpoint { head } => {
                let seen = state.checkpoint.clone();
                if seen.len() > head.log.len() {
                    Step::ReadHead // it was read earlier; had it been restored from a backup, this would refuse
                } else if seen == head.log || without(Without::Helping) {
                    Step::ReadOutcome { head }
                } else if state.staging.contains(&Head { fences: 0, ..head.clone() }) {
                    apply(head, seen)
                } else {
                    state.must(false, "a commit cannot be helped along");
                    Step::Rest
                }
            }
            Step::ReadOutcome { head } if state.outcomes.contains(&intent) && !without(Without::Outcome) => {
                if head.log.contains(&intent) || without(Without::OutcomeOfAnAppliedHead) {
                    return self.answered(state, at);
                }
                Step::ReadHead // it is of a later commit, which may not be applied yet
            }
            // The token is read now; it is gone once its revocation has begun.
            Step::ReadOutcome { .. }
                if self.revoked == Some(intent) && state.revocation != Revocation::NotAsked =>
            {
                return self.next_intent(state, at);
            }
            Step::ReadOutcome { head } => {
                let log = [head.log.clone(), vec![intent]].concat();
                let next = Head { log, commit: (at, process), fences: 0 };
                if without(Without::SignatureAfterHead) {
                    state.signed.insert(next.log.clone());
                }
                match self.without {
                    Without::StagingBeforeHead => Step::ReplaceHead { head, next, doubt: false },
                    _ => Step::Stage { head, next },
                }
            }
            Step::Stage { head, next } => again(Step::ReplaceHead { head, next, doubt: false }),
            Step::ReplaceHead { head, next, doubt } => match done {
                Some(true) => apply(next, head.log),
                Some(false) if !doubt => Step::ReadHead,
                None if without(Without::RereadAfterUnknown) => Step::ReadHead,
                None if without(Without::StagingWhenUnknown) => {
                    state.staging.remove(&next);
                    Step::ReadHead
                }
                _ => Step::Resolve { head, next },
            },
            Step::Resolve { head, next } => {
                if (Head { fences: 0, ..state.head.clone() }) == next {
                    apply(next, head.log)
                } else if state.head == head {
                    Step::ReplaceHead { head, next, doubt: true }
                } else {
                    Step::ReadHead
                }
            }
            Step::PutOutcome { head, seen } => again(Step::ReadFile { head, seen }),
            Step::ReadFile { head, seen } => {
                let file = state.file;
                if usize::from(file) >= head.log.len() && !without(Without::FilePosition) {
                    self.sign(state, head, seen)
                } else {
                    Step::ReplaceFile { head, seen, file }
                }
            }
            Step::ReplaceFile { head, seen, .. } => match done {
                Some(true) => self.sign(state, head, seen),
                _ => Step::ReadFile { head, seen },
            },
            Step::Publish { head, .. } => match done {
                Some(true) => return self.published(state, at, head),
                _ => Step::Republish { head },
            },
            Step::Republish { head } => {
                let seen = state.checkpoint.clone();
                if seen.len() >= head.log.len() {
                    return self.published(state, at, head);
                }
                Step::Publish { head, seen }
            }
            Step::Rest => Step::Rest,
        };
        state.writers[at].step = next;
    }

    /// The signer signs what extends the published log, and nothing else.
    fn sign(&self, state: &mut State, head: Head, seen: Log) -> Step {
        if !head.log.starts_with(&seen) {
            return Step::Rest;
        }
        state.signed.insert(head.log.clone());
        Step::Publish { head, seen }
    }

    /// A commit is published: if it was the writer's own, that is the answer; else it goes on with the intent at hand.
    fn published(&self, state: &mut State, at: usize, head: Head) {
        let own = head.commit == (at, state.writers[at].process);
        if own && head.log.last() == state.writers[at].asked.first() {
            return self.answered(state, at);
        }
        state.writers[at].step = Step::ReadOutcome { head };
    }

    fn answered(&self, state: &mut State, at: usize) {
        state.answered.insert(state.writers[at].asked[0]);
        self.next_intent(state, at);
    }

    fn next_intent(&self, state: &mut State, at: usize) {
        let writer = &mut state.writers[at];
        writer.asked.remove(0);
        writer.step = if writer.asked.is_empty() { Step::Rest } else { self.start() };
    }

    fn start(&self) -> Step {
        if self.without == Without::ObjectBeforeHead { Step::ReadHead } else { Step::PutObject }
    }

    fn crash(&self, state: &mut State, at: usize) {
        state.crashes_left -= 1;
        state.writers[at].process += 1;
        state.writers[at].step = self.start();
    }

    fn revoke(&self, state: &mut State) {
        state.revocation = match state.revocation.clone() {
            Revocation::NotAsked if self.without == Without::Fence => Revocation::Answered,
            Revocation::NotAsked => Revocation::Fencing,
            Revocation::Fencing => Revocation::Replacing(state.head.clone()),
            Revocation::Replacing(seen) => {
                // A conflict is as good: head is another than every commit has seen that was prepared before.
                let new = Head { fences: seen.fences + 1, ..seen.clone() };
                state.write(self, Write::Head { seen, new });
                Revocation::Answered
            }
            Revocation::Answered => Revocation::Answered,
        };
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writer = |asked: &Vec<Intent>| Writer { asked: asked.clone(), process: 0, step: self.start() };
        let writers = self.asked.iter().map(writer).collect();
        vec![State { writers, faults_left: self.faults, crashes_left: self.crashes, ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, writer) in state.writers.iter().enumerate().filter(|(_, w)| w.step != Step::Rest) {
            actions.push(Action::Call(at));
            let writes = self.sends(writer).is_some();
            if writes && state.faults_left > 0 {
                let endings = [Ending::NotDone, Ending::Done, Ending::DoneLater];
                actions.extend(endings.map(|ending| Action::Unknown(at, ending)));
            }
            if state.crashes_left > 0 {
                actions.push(Action::Crash(at));
                actions.extend(writes.then_some(Action::CrashSending(at)));
            }
        }
        actions.extend(state.late.iter().cloned().map(Action::Arrive));
        if self.revoked.is_some() && state.revocation != Revocation::Answered {
            actions.push(Action::Revoke);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let sends = |at: usize| self.sends(&last.writers[at]);
        match action {
            Action::Call(at) => {
                let done = sends(at).map(|write| state.write(self, write));
                self.after(&mut state, at, done);
            }
            Action::Unknown(at, ending) => {
                state.faults_left -= 1;
                match ending {
                    Ending::NotDone => {}
                    Ending::Done => drop(state.write(self, sends(at)?)),
                    Ending::DoneLater => drop(state.late.insert(sends(at)?)),
                }
                self.after(&mut state, at, None);
            }
            Action::Crash(at) => self.crash(&mut state, at),
            Action::CrashSending(at) => {
                state.late.insert(sends(at)?);
                self.crash(&mut state, at);
            }
            Action::Arrive(write) => {
                state.late.remove(&write);
                state.write(self, write);
            }
            Action::Revoke => self.revoke(&mut state),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_WRONG, |_, state: &State| state.wrong.is_empty()),
            Property::always(BEFORE_HEAD, |_, state: &State| {
                let head = Head { fences: 0, ..state.head.clone() };
                head.log.iter().all(|intent| state.objects.contains(intent))
                    && (head.log.is_empty() || state.staging.contains(&head))
            }),
            Property::always(ONCE, |_, state: &State| {
                state.head.log.iter().collect::<BTreeSet<_>>().len() == state.head.log.len()
            }),
            Property::always(SIGNED, |_, state: &State| {
                state.signed.iter().all(|signed| state.head.log.starts_with(signed))
            }),
            Property::always(BEFORE_CHECKPOINT, |_, state: &State| {
                state.checkpoint.iter().all(|intent| state.outcomes.contains(intent))
                    && usize::from(state.file) >= state.checkpoint.len()
            }),
            Property::always(ANSWERED, |_, state: &State| {
                state.answered.iter().all(|intent| state.checkpoint.contains(intent))
            }),
            Property::sometimes(EVERYBODY, |model, state: &State| {
                (state.faults_left, state.crashes_left) == (0, 0)
                    && model.asked.iter().flatten().all(|intent| state.answered.contains(intent))
            }),
        ]
    }
}

const NOTHING_WRONG: &str = "nothing goes back, and nothing is done without a right";
const BEFORE_HEAD: &str = "objects and staging are there before head";
const ONCE: &str = "every intent is in the log at most once";
const SIGNED: &str = "only what was committed is signed";
const BEFORE_CHECKPOINT: &str = "outcomes and files are there before the checkpoint";
const ANSWERED: &str = "an answer of success is never lost";
const EVERYBODY: &str = "everybody is answered in spite of every fault";

fn protocol<const N: usize>(asked: [&[Intent]; N], faults: u8, crashes: u8) -> Protocol {
    let asked = asked.iter().map(|intents| intents.to_vec()).collect();
    Protocol { asked, revoked: None, faults, crashes, without: Without::Nothing }
}

/// Checks every state that can be reached, and that there are as many as ARCHITECTURE.md says: with another number this
/// would be another model.
fn check(model: Protocol, states: usize) {
    let checker = model.checker().spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), states);
}

#[test]
fn two_writers_are_asked_for_the_same() {
    check(protocol([&[1], &[1]], 1, 1), 54_387);
}

#[test]
fn two_writers_are_asked_for_different_things() {
    check(protocol([&[1], &[2]], 1, 1), 160_702);
}

#[test]
fn an_intent_is_repeated_after_another() {
    check(protocol([&[1], &[2, 1]], 0, 1), 38_167);
}

#[test]
fn three_writers_of_which_two_are_asked_for_the_same() {
    check(protocol([&[1], &[2], &[1]], 0, 0), 20_323);
}

#[test]
fn a_right_is_taken_away_meanwhile() {
    check(Protocol { revoked: Some(2), ..protocol([&[1], &[2]], 1, 0) }, 37_176);
}

/// To take an unknown outcome for a lost race would be harmless, as long as nothing staged is deleted: the next round
/// helps, and finds the outcome.
#[test]
fn an_unknown_outcome_that_is_taken_for_a_lost_race_does_no_harm() {
    let model = Protocol { without: Without::RereadAfterUnknown, ..protocol([&[1], &[1]], 1, 0) };
    model.checker().spawn_bfs().join().assert_properties();
}

#[test]
fn without_one_of_its_guards_the_protocol_fails() {
    let different = || Protocol { revoked: Some(2), ..protocol([&[1], &[2]], 0, 0) };
    let same = || protocol([&[1], &[1]], 0, 0);
    for (without, model, property) in [
        (Without::ObjectBeforeHead, same(), BEFORE_HEAD),
        (Without::StagingBeforeHead, same(), BEFORE_HEAD),
        (Without::Helping, different(), BEFORE_CHECKPOINT),
        (Without::Outcome, same(), ONCE),
        (Without::OutcomeOfAnAppliedHead, same(), ANSWERED),
        (Without::HeadCondition, different(), NOTHING_WRONG),
        (Without::StagingWhenUnknown, protocol([&[1], &[2]], 1, 0), BEFORE_HEAD),
        (Without::FilePosition, different(), NOTHING_WRONG),
        (Without::FileCondition, different(), NOTHING_WRONG),
        (Without::FilesBeforeCheckpoint, same(), BEFORE_CHECKPOINT),
        (Without::SignatureAfterHead, same(), SIGNED),
        (Without::CheckpointCondition, different(), NOTHING_WRONG),
        (Without::Fence, different(), NOTHING_WRONG),
    ] {
        let stop = HasDiscoveries::AnyOf(BTreeSet::from([property]));
        let checker = Protocol { without, ..model }.checker().finish_when(stop).spawn_bfs().join();
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("{without:?} is not needed for: {property}"));
        println!("{without:?}: {} steps to a state without: {property}", path.into_actions().len());
    }
}
