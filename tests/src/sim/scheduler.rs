//! The scheduler: lets one call through at a time, when nothing else can go on.
//!
//! Owns: which call is next, crashes, writes that are still under way when nobody waits for them. Does not own: what
//! goes wrong; that is the rule's. Invariant: it acts only when every task of the runtime waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use drystone_storage::Op;

use super::{
    calls::{Broken, Call, Fault, Memory, Pid, Place, Verdict, Write, WriteReply},
    oracle::Oracle,
    rng::Rng,
};

/// More calls than any run needs; one that reaches it does not end.
const STEPS_MAX: u64 = 60_000;

/// Decides what becomes of a call.
pub(super) type Rule = Box<dyn FnMut(&Call<'_>, &mut Rng) -> Verdict + Send>;

/// In which order waiting calls are offered to the rule.
#[derive(Debug, Clone)]
pub enum Order {
    /// Any.
    Random,
    /// Those of the first process first, then those of the second; unnamed processes come last. Older calls first.
    Of(Vec<Pid>),
}

/// One simulated world.
pub struct Sim {
    state: Mutex<State>,
    pub(super) memory: Memory,
    now_ms: AtomicU64,
    /// The seed of everything.
    pub seed: u64,
}

/// What a task waits for.
enum What {
    Turn(String),
    Read { place: Place, op: Op, key: String },
    Write { place: Place, write: Write },
    Late { place: Place, write: Write },
}

struct Parked {
    pid: Pid,
    nth: u64,
    what: What,
    waker: Option<Waker>,
    grant: Option<Grant>,
}

/// A call has been let through.
pub(super) enum Grant {
    Turn,
    /// Whether the store can be read.
    Read(bool),
    Write(WriteReply),
}

/// Counts of what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) steps: u64,
    pub(super) faults: u64,
    pub(super) crashes: u64,
    pub(super) late: u64,
}

pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) oracle: Oracle,
    pub(super) happened: Happened,
    rule: Option<Rule>,
    order: Order,
    broken: Broken,
    calls: BTreeMap<u64, Parked>,
    next_call: u64,
    made: BTreeMap<Pid, u64>,
    dead: BTreeSet<Pid>,
    next_pid: Pid,
    /// A process that works outside the scheduler's sight, until it calls or answers.
    busy: Option<Pid>,
    watchers: Vec<Waker>,
    /// Nothing waits any more is what is wanted, not a failure.
    draining: bool,
    drained: bool,
    /// The scheduler rests.
    quiet: bool,
    trace_hash: u64,
    pub(super) trace: Option<Vec<String>>,
}

impl Sim {
    pub(super) fn new(seed: u64, memory: Memory, oracle: Oracle, now_ms: u64, broken: Broken) -> Arc<Self> {
        let state = State {
            rng: Rng::seeded(seed),
            oracle,
            happened: Happened::default(),
            rule: Some(Box::new(|_, _| Verdict::Let(Fault::None))),
            order: Order::Random,
            broken,
            calls: BTreeMap::new(),
            next_call: 0,
            made: BTreeMap::new(),
            dead: BTreeSet::new(),
            next_pid: 1,
            busy: None,
            watchers: Vec::new(),
            draining: false,
            drained: false,
            quiet: false,
            trace_hash: 0xcbf2_9ce4_8422_2325,
            trace: None,
        };
        Arc::new(Self { state: Mutex::new(state), memory, now_ms: AtomicU64::new(now_ms), seed })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    pub(super) fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Puts a rule in force.
    pub fn rule(&self, rule: impl FnMut(&Call<'_>, &mut Rng) -> Verdict + Send + 'static) {
        self.lock().rule = Some(Box::new(rule));
    }

    /// Offers waiting calls in this order.
    pub fn order(&self, order: Order) {
        self.lock().order = order;
    }

    /// A number for a new process.
    pub(super) fn new_pid(&self) -> Pid {
        let mut state = self.lock();
        state.next_pid += 1;
        state.next_pid - 1
    }

    /// The process works without calling the store, on another thread: nothing moves until it calls or answers.
    pub(super) fn works(&self, pid: Pid) {
        self.lock().busy = Some(pid);
    }

    pub(super) fn answered(&self, pid: Pid) {
        let mut state = self.lock();
        if state.busy == Some(pid) {
            state.busy = None;
        }
    }

    /// Waits until the scheduler picks this one.
    pub async fn turn(self: &Arc<Self>, why: impl Into<String>) {
        self.turn_of(0, why.into()).await;
    }

    pub(super) async fn turn_of(self: &Arc<Self>, pid: Pid, why: String) {
        self.park(pid, What::Turn(why)).await;
    }

    /// Whether the store can be read.
    pub(super) async fn read(self: &Arc<Self>, pid: Pid, place: Place, op: Op, key: &str) -> bool {
        matches!(self.park(pid, What::Read { place, op, key: key.to_owned() }).await, Grant::Read(true))
    }

    pub(super) async fn write(self: &Arc<Self>, pid: Pid, place: Place, write: Write) -> WriteReply {
        match self.park(pid, What::Write { place, write }).await {
            Grant::Write(reply) => reply,
            Grant::Turn | Grant::Read(_) => unreachable!("a write is answered as a write"),
        }
    }

    fn park(self: &Arc<Self>, pid: Pid, what: What) -> Parking {
        let mut state = self.lock();
        if state.busy == Some(pid) {
            state.busy = None;
        }
        let made = state.made.entry(pid).or_default();
        *made += 1;
        let nth = *made - 1;
        let id = state.insert(Parked { pid, nth, what, waker: None, grant: None });
        Parking { sim: self.clone(), id, over: false }
    }

    /// Ends when the process has died.
    pub(super) async fn death(&self, pid: Pid) {
        self.watch(|state| state.dead.contains(&pid)).await;
    }

    /// Ends when an invariant was found broken.
    pub(super) async fn broken(&self) {
        self.watch(|state| state.oracle.failed()).await;
    }

    /// Ends when nothing waits any more.
    pub async fn drain(&self) {
        self.lock().draining = true;
        self.watch(|state| state.drained || state.oracle.failed()).await;
        let mut state = self.lock();
        (state.draining, state.drained) = (false, false);
    }

    async fn watch(&self, is: impl Fn(&State) -> bool) {
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            if is(&state) {
                return Poll::Ready(());
            }
            let waker = context.waker();
            if !state.watchers.iter().any(|there| there.will_wake(waker)) {
                state.watchers.push(waker.clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether the process has died.
    pub fn is_dead(&self, pid: Pid) -> bool {
        self.lock().dead.contains(&pid)
    }

    /// Kills a process between two of its calls.
    pub fn kill(&self, pid: Pid) {
        let watchers = {
            let mut state = self.lock();
            state.kill(pid);
            std::mem::take(&mut state.watchers)
        };
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Whether this is what is broken.
    pub(super) fn is_broken_so(&self, broken: Broken) -> bool {
        self.lock().broken == broken
    }

    /// Whether a deletion is under way, whoever waits for it.
    pub(super) fn is_deleting(&self) -> bool {
        let is_deletion = |what: &What| {
            matches!(
                what,
                What::Write { write: Write::Delete(_), .. } | What::Late { write: Write::Delete(_), .. }
            )
        };
        let state = self.lock();
        state
            .calls
            .values()
            .any(|call| call.grant.is_none() && state.may_go_on(call) && is_deletion(&call.what))
    }

    /// No call is scheduled from now on: what remains goes to memory itself.
    pub(super) fn rest(&self) {
        self.lock().quiet = true;
    }

    /// Records that something is as it must not be.
    pub fn violation(&self, what: impl Into<String>) {
        let watchers = {
            let mut state = self.lock();
            state.oracle.violation(what.into());
            std::mem::take(&mut state.watchers)
        };
        watchers.into_iter().for_each(Waker::wake);
    }

    /// A hash of every call and of how it ended, in order.
    pub(super) fn trace_hash(&self) -> u64 {
        self.lock().trace_hash
    }

    /// Called when every task waits: lets the next call through.
    pub(super) fn idle(&self) {
        let wakers = {
            let mut state = self.lock();
            if state.quiet || state.busy.is_some() {
                return;
            }
            // A write that nobody waits for wakes nobody; then it is the next call's turn.
            loop {
                let wakers = state.next(&self.memory);
                if !wakers.is_empty() {
                    break wakers;
                }
            }
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn insert(&mut self, parked: Parked) -> u64 {
        self.next_call += 1;
        self.calls.insert(self.next_call, parked);
        self.next_call
    }

    fn next(&mut self, memory: &Memory) -> Vec<Waker> {
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
        self.happened.steps += 1;
        if self.happened.steps > STEPS_MAX {
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
            let call = describe(&self.calls[&id], self.happened.steps);
            if let Verdict::Let(fault) = rule(&call, &mut self.rng) {
                chosen = (id, fault);
                break;
            }
        }
        self.rule = Some(rule);
        self.let_through(chosen.0, chosen.1, memory)
    }

    fn may_go_on(&self, call: &Parked) -> bool {
        call.grant.is_none() && (matches!(call.what, What::Late { .. }) || !self.dead.contains(&call.pid))
    }

    fn let_through(&mut self, id: u64, fault: Fault, memory: &Memory) -> Vec<Waker> {
        let call = &self.calls[&id];
        let pid = call.pid;
        let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        let told = {
            let told = describe(call, 0);
            let op = told.op.map_or("waits", Op::as_str);
            let late = if told.late { " late" } else { "" };
            format!("{pid} {op}{late} {:?} {} {fault:?}", told.place, told.key)
        };
        let grant = match &call.what {
            What::Turn(_) => Some(Grant::Turn),
            What::Read { .. } => Some(Grant::Read(fault == Fault::None)),
            What::Late { place, write } => {
                let (place, write) = (*place, write.clone());
                self.calls.remove(&id);
                self.write(memory, place, &write);
                None
            }
            What::Write { place, write } => {
                let (place, write) = (*place, write.clone());
                Some(Grant::Write(match fault {
                    Fault::None | Fault::CrashAfter => self.write(memory, place, &write),
                    Fault::Failed | Fault::CrashBefore => write.failed(),
                    Fault::NotDone => write.unknown(),
                    Fault::DoneButUnknown => {
                        self.write(memory, place, &write);
                        write.unknown()
                    }
                    Fault::DoneLater => {
                        let answer = write.unknown();
                        self.leave_under_way(place, write);
                        answer
                    }
                }))
            }
        };
        self.happened.faults += u64::from(fault != Fault::None);
        let told = match &grant {
            Some(Grant::Write(reply)) => format!("{told} -> {reply:?}"),
            _ => told,
        };
        for byte in told.bytes() {
            self.trace_hash = (self.trace_hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(told);
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
        let (reply, changed) = memory.apply(place, write, self.broken);
        if let Some(changed) = changed {
            self.oracle.wrote(memory, &changed);
        }
        reply
    }

    fn leave_under_way(&mut self, place: Place, write: Write) {
        self.happened.late += 1;
        self.insert(Parked { pid: 0, nth: 0, what: What::Late { place, write }, waker: None, grant: None });
    }

    fn kill(&mut self, pid: Pid) {
        if !self.dead.insert(pid) {
            return;
        }
        self.happened.crashes += 1;
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

/// A task's wait for its turn.
struct Parking {
    sim: Arc<Sim>,
    id: u64,
    over: bool,
}

impl Future for Parking {
    type Output = Grant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Grant> {
        let sim = self.sim.clone();
        let mut state = sim.lock();
        // A call that a crash took away never ends.
        let Some(call) = state.calls.get_mut(&self.id) else { return Poll::Pending };
        match call.grant.take() {
            Some(grant) => {
                state.calls.remove(&self.id);
                self.over = true;
                Poll::Ready(grant)
            }
            None => {
                call.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Parking {
    /// Who waited has gone; what was sent may arrive all the same.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.sim.lock();
        let Some(call) = state.calls.remove(&self.id) else { return };
        if state.quiet || state.dead.contains(&call.pid) || call.grant.is_some() {
            return;
        }
        if let What::Write { place, write } = call.what
            && state.rng.once_in(2)
        {
            state.leave_under_way(place, write);
        }
    }
}
