//! Steps: which call is next, how it ends, and what it changes.
//!
//! Owns: the effects of a call that is let through, of a process that dies, and of protocols that are broken on purpose.
//! Does not own when a step is taken.

use std::task::Waker;

use drystone_log::commit::Head;
use drystone_schemas::layout;
use drystone_storage::{Key, Objects, Op, Replace};

use super::{Grant, Order, Parked, STEPS_MAX, State, What};
use crate::sim::{
    broken::{Broken, Kept},
    calls::{Call, Fault, Memory, Pid, Place, Verdict, Write, WriteReply, at_once},
};

impl State {
    pub(super) fn insert(&mut self, parked: Parked) -> u64 {
        self.next_call += 1;
        self.calls.insert(self.next_call, parked);
        self.next_call
    }

    pub(super) fn next(&mut self, memory: &Memory) -> Vec<Waker> {
        let mut open: Vec<u64> =
            self.calls.iter().filter(|(_, call)| self.may_go_on(call)).map(|(id, _)| *id).collect();
        if self.oracle.failed() {
            return std::mem::take(&mut self.watchers);
        }
        if open.is_empty() {
            if self.draining {
                self.drained = true;
            } else {
                self.oracle.violation("nothing can go on: somebody waits for ever".into());
            }
            return std::mem::take(&mut self.watchers);
        }
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.oracle.violation(format!("the run does not end within {STEPS_MAX} calls"));
            return std::mem::take(&mut self.watchers);
        }
        if let Order::Of(pids) = &self.order {
            let rank =
                |id: &u64| pids.iter().position(|pid| *pid == self.calls[id].pid).unwrap_or(usize::MAX);
            // The last is offered first.
            open.sort_by_key(|id| std::cmp::Reverse((rank(id), *id)));
        }
        let first = *open.last().expect("it is not empty");
        let mut rule = self.rule.take().expect("there is a rule between two steps");
        let mut chosen = (first, Fault::None);
        while !open.is_empty() {
            let at = match self.order {
                Order::Random => self.rng.below(open.len() as u64) as usize,
                Order::Of(_) => open.len() - 1,
            };
            let id = open.remove(at);
            let call = describe(&self.calls[&id], self.steps);
            if let Verdict::Let(fault) = rule(&call, &mut self.rng) {
                chosen = (id, fault);
                break;
            }
            self.tally.count("delay");
        }
        self.rule = Some(rule);
        self.let_through(chosen.0, chosen.1, memory)
    }

    pub(super) fn may_go_on(&self, call: &Parked) -> bool {
        call.grant.is_none() && (matches!(call.what, What::Late { .. }) || !self.dead.contains(&call.pid))
    }

    fn let_through(&mut self, id: u64, fault: Fault, memory: &Memory) -> Vec<Waker> {
        let call = &self.calls[&id];
        let pid = call.pid;
        let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        let told = self.trace.is_some().then(|| {
            let told = describe(call, 0);
            let op = told.op.map_or("waits", Op::as_str);
            let late = if told.late { " late" } else { "" };
            format!("{pid} {op}{late} {:?} {} {fault:?}", told.place, told.key)
        });
        self.tally.count("call");
        if fault != Fault::None {
            self.tally.count(fault.name());
        }
        let grant = match &call.what {
            What::Turn(_) => Some(Grant::Turn),
            What::Read { .. } => Some(Grant::Read(fault == Fault::None)),
            What::Late { place, write } => {
                let (place, write) = (*place, write.clone());
                self.calls.remove(&id);
                self.write_now(memory, place, &write);
                None
            }
            What::Write { place, write } => {
                let (place, write) = (*place, write.clone());
                self.clean_up(memory, place, &write, fault);
                Some(Grant::Write(match fault {
                    Fault::None | Fault::CrashAfter => self.write(memory, place, &write),
                    Fault::Failed | Fault::CrashBefore => write.failed(),
                    Fault::NotDone => self.unknown(&write),
                    Fault::DoneButUnknown => {
                        self.write(memory, place, &write);
                        self.unknown(&write)
                    }
                    Fault::DoneLater => {
                        let answer = self.unknown(&write);
                        self.leave_under_way(place, write);
                        answer
                    }
                }))
            }
        };
        if let (Some(told), Some(trace)) = (told, &mut self.trace) {
            trace.push(match &grant {
                Some(Grant::Write(reply)) => format!("{told} -> {reply:?}"),
                _ => told,
            });
        }
        if crashes {
            self.calls.remove(&id);
            self.kill(pid);
        }
        let mut wakers = Vec::new();
        if let Some(call) = self.calls.get_mut(&id) {
            call.grant = grant;
            wakers.extend(call.waker.take());
        }
        if crashes || self.oracle.failed() {
            wakers.append(&mut self.watchers);
        }
        wakers
    }

    fn write(&mut self, memory: &Memory, place: Place, write: &Write) -> WriteReply {
        match self.broken.keeps(memory, place, write) {
            Kept::Now => self.write_now(memory, place, write),
            Kept::Never => Memory::acknowledged(write),
            Kept::Later => {
                self.leave_under_way(place, write.clone());
                Memory::acknowledged(write)
            }
        }
    }

    fn write_now(&mut self, memory: &Memory, place: Place, write: &Write) -> WriteReply {
        let (reply, changed) = memory.apply(place, write, self.broken);
        if let Some(changed) = changed.filter(|changed| !self.planted.contains(&changed.key)) {
            self.oracle.wrote(memory, &changed);
        }
        if matches!(reply, WriteReply::Replace(Ok(Replace::Conflict)))
            && memory.bytes(place, write.key().as_str()).as_ref() == write.bytes()
        {
            self.tally.count("conflict after own success");
        }
        reply
    }

    /// The answer that leaves the outcome of a write open.
    fn unknown(&self, write: &Write) -> WriteReply {
        if self.broken == Broken::UnknownTakenForLost && write.key().as_str() == layout::HEAD {
            return WriteReply::Replace(Ok(Replace::Conflict));
        }
        write.unknown()
    }

    /// What code does that takes an unknown outcome of a commit for a failure.
    fn clean_up(&self, memory: &Memory, place: Place, write: &Write, fault: Fault) {
        let unknown = matches!(fault, Fault::NotDone | Fault::DoneButUnknown | Fault::DoneLater);
        if self.broken != Broken::UnknownCleansUp || !unknown || place != Place::Vault {
            return;
        }
        if let Some(head) = write.bytes().and_then(|bytes| Head::parse(bytes).ok()) {
            let staging = Key::new(head.staging).expect("a staging key is a key");
            at_once(memory.vault.delete(&staging)).expect("memory deletes");
        }
    }

    pub(super) fn leave_under_way(&mut self, place: Place, write: Write) {
        self.tally.count("late write");
        self.insert(Parked { pid: 0, nth: 0, what: What::Late { place, write }, waker: None, grant: None });
    }

    pub(super) fn kill(&mut self, pid: Pid) {
        if !self.dead.insert(pid) {
            return;
        }
        self.tally.count("crash");
        let under_way: Vec<(Place, Write)> = self
            .calls
            .values()
            .filter(|call| call.pid == pid && call.grant.is_none())
            .filter_map(|call| match &call.what {
                What::Write { place, write } => Some((*place, write.clone())),
                What::Turn(_) | What::Read { .. } | What::Late { .. } => None,
            })
            .collect();
        for (place, write) in under_way {
            // What a process has sent may arrive after its death.
            if self.rng.once_in(2) {
                self.leave_under_way(place, write);
            }
        }
    }
}

fn describe(parked: &Parked, step: u64) -> Call<'_> {
    let (place, op, key, bytes, late) = match &parked.what {
        What::Turn(why) => (Place::Vault, None, why.as_str(), None, false),
        What::Read { place, op, key } => (*place, Some(*op), key.as_str(), None, false),
        What::Write { place, write } => {
            (*place, Some(write.op()), write.key().as_str(), write.bytes(), false)
        }
        What::Late { place, write } => (*place, Some(write.op()), write.key().as_str(), write.bytes(), true),
    };
    Call { pid: parked.pid, nth: parked.nth, step, place, op, key, bytes, late }
}
