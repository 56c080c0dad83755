//! The scheduler: lets one call through at a time, when nothing else can go on.
//!
//! Owns: which call is next, crashes, writes that are still under way when nobody waits for them. Does not own: what
//! goes wrong; that is the rule's. Invariant: it acts only when every task of the runtime waits.

mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use drystone_storage::Op;

use super::{
    broken::Broken,
    calls::{Call, Fault, Memory, Pid, Place, Verdict, Write, WriteReply},
    oracle::Oracle,
    rng::Rng,
    tally::Tally,
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

pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) oracle: Oracle,
    pub(super) tally: Tally,
    steps: u64,
    /// By how many milliseconds the clocks of processes are wrong.
    clocks_off_ms: BTreeMap<Pid, i64>,
    /// Tokens that processes have read, if they keep them.
    tokens_read: BTreeMap<(Pid, String), Bytes>,
    /// Keys at which a scenario has put something behind everybody's back.
    planted: BTreeSet<String>,
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
    /// Wakes the runtime, so that it comes to rest again.
    pulse: Option<Waker>,
    /// Nothing waits any more is what is wanted, not a failure.
    draining: bool,
    drained: bool,
    /// The scheduler rests.
    quiet: bool,
    pub(super) trace: Option<Vec<String>>,
}

impl Sim {
    pub(super) fn new(
        seed: u64,
        memory: Memory,
        mut oracle: Oracle,
        now_ms: u64,
        broken: Broken,
    ) -> Arc<Self> {
        oracle.now_s = now_ms / 1_000;
        let state = State {
            rng: Rng::seeded(seed),
            oracle,
            tally: Tally::default(),
            steps: 0,
            clocks_off_ms: BTreeMap::new(),
            tokens_read: BTreeMap::new(),
            planted: BTreeSet::new(),
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
            pulse: None,
            draining: false,
            drained: false,
            quiet: false,
            trace: None,
        };
        Arc::new(Self { state: Mutex::new(state), memory, now_ms: AtomicU64::new(now_ms), seed })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's time.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        let now_ms = self.now_ms.fetch_add(ms, Ordering::SeqCst) + ms;
        self.lock().oracle.now_s = now_ms / 1_000;
    }

    /// Lets so much time pass that a process may take its clock for wrong: it was asleep between two looks at it.
    pub(super) fn pass_time(&self, ms: u64) {
        self.lock().oracle.clocks_were_turned = true;
        self.advance(ms);
    }

    /// Puts the clock of a process wrong by so many milliseconds.
    pub fn set_clock(&self, pid: Pid, off_ms: i64) {
        let mut state = self.lock();
        state.oracle.clocks_were_turned |= off_ms != 0;
        state.clocks_off_ms.insert(pid, off_ms);
    }

    /// Puts every clock right.
    pub(super) fn set_clocks_right(&self) {
        self.lock().clocks_off_ms.clear();
    }

    /// What the clock of a process shows, in milliseconds since 1970.
    pub(super) fn clock_of(&self, pid: Pid) -> u64 {
        let off_ms = self.lock().clocks_off_ms.get(&pid).copied().unwrap_or(0);
        self.now_ms().saturating_add_signed(off_ms)
    }

    /// What reads report as the store's time, in seconds since 1970.
    pub(super) fn store_time_s(&self) -> Option<u64> {
        let hidden = self.lock().broken == Broken::StoreTimeHidden;
        (!hidden).then(|| self.now_ms() / 1_000)
    }

    /// Notes that something happened.
    pub(super) fn count(&self, what: &'static str) {
        self.lock().tally.count(what);
    }

    /// The checks of writes overlook this key: what lies there is the scenario's doing.
    pub fn plant(&self, key: impl Into<String>) {
        self.lock().planted.insert(key.into());
    }

    /// What a process is shown of what is stored.
    pub(super) fn shown(
        &self,
        pid: Pid,
        place: Place,
        op: Op,
        key: &str,
        stored: Option<Bytes>,
    ) -> Option<Bytes> {
        let mut state = self.lock();
        if state.broken == Broken::Nothing || pid == 0 {
            return stored;
        }
        if state.broken == Broken::TokensCached && place == Place::Vault && key.starts_with("tokens/") {
            let known = state.tokens_read.entry((pid, key.to_owned()));
            return match stored {
                Some(bytes) => Some(known.or_insert(bytes).clone()),
                None => state.tokens_read.get(&(pid, key.to_owned())).cloned(),
            };
        }
        state.broken.shows(&self.memory, place, op, key, stored)
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

    /// Never ends. Somebody has to wait for it: what is let through need not wake anybody. A write under way has nobody
    /// who waits for it, and a stream wakes its task once, however many of its calls have ended since the task last asked.
    pub(super) async fn pulse(&self) {
        std::future::poll_fn(|context| {
            self.lock().pulse = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Called when every task waits: lets the next call through, and sees to it that it is called again.
    pub(super) fn idle(&self) {
        let (wakers, pulse) = {
            let mut state = self.lock();
            if state.quiet || state.busy.is_some() {
                return;
            }
            (state.next(&self.memory), state.pulse.take())
        };
        wakers.into_iter().chain(pulse).for_each(Waker::wake);
    }
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
