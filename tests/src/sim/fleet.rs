//! Publishers that come and go: each has its own memory, caches and sequencer, and all have one store.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::Request,
};
use drystone_publisher::{Options, Refusal, Service, api_router};
use futures_util::future::{Either, select};
use tower::ServiceExt;

use super::{area::store_of, base::Base, calls::Pid, clock::SimClock, oracle::UNKNOWN, scheduler::Sim};
use crate::{TestEntropy, TestRegistry};

/// A publisher.
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// The publisher itself.
    pub service: Arc<Service>,
    router: Router,
    sim: Arc<Sim>,
}

/// What came back on a request.
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// Randomness of its own: what a test registry draws from starts without this bit.
pub(super) fn entropy_of(sim: &Sim, pid: Pid) -> TestEntropy {
    TestEntropy::seeded(1 << 63 | sim.seed << 16 | u64::from(pid))
}

impl Process {
    /// Starts a process; none if it died or its store failed before it was ready.
    pub async fn start(sim: &Arc<Sim>) -> Option<Arc<Self>> {
        match Self::open(sim).await? {
            Ok(process) => Some(process),
            Err(refusal) => {
                let code = refusal.problems[0].code.slug();
                if !UNKNOWN.contains(&code) {
                    sim.violation(format!("a process does not start: {refusal}"));
                }
                None
            }
        }
    }

    /// Makes the registry in a store where there is none, as a process of its own; none if it died before it was done.
    pub async fn initialise(sim: &Arc<Sim>) -> Option<Result<(), Refusal>> {
        let pid = sim.new_pid();
        let signing = TestRegistry::signing();
        let origin = signing.log_key().name().to_owned();
        let clock = Arc::new(SimClock { sim: sim.clone(), pid });
        let entropy = Arc::new(entropy_of(sim, pid));
        let (store, settings) = (store_of(sim, pid), Base::settings(0));
        let made = Service::initialise(&store, signing, &origin, &settings, clock, entropy);
        match select(pin!(made), pin!(sim.death(pid))).await {
            Either::Left((made, _)) => Some(made.map(drop)),
            Either::Right(_) => None,
        }
    }

    /// Starts a process, whatever comes of it; none if it died before it was ready.
    pub async fn open(sim: &Arc<Sim>) -> Option<Result<Arc<Self>, Refusal>> {
        let pid = sim.new_pid();
        let signing = TestRegistry::signing();
        let origin = signing.log_key().name().to_owned();
        let clock = Arc::new(SimClock { sim: sim.clone(), pid });
        let entropy = Arc::new(entropy_of(sim, pid));
        // Small uploads never touch it.
        let options = Options::new(PathBuf::from("nowhere"), 1);
        let opened = Service::open(store_of(sim, pid), signing, origin, clock, entropy, options);
        let opened = match select(pin!(opened), pin!(sim.death(pid))).await {
            Either::Left((opened, _)) => opened,
            Either::Right(_) => return None,
        };
        Some(opened.map(|service| {
            let router = api_router(service.clone(), None);
            Arc::new(Self { pid, service, router, sim: sim.clone() })
        }))
    }

    /// Sends a request; none if the process dies first, or if `patience` ends.
    ///
    /// A process inspects an upload on another thread, so nothing else may move until it goes on: `uploads` says so.
    pub async fn send(
        &self,
        request: Request<Body>,
        uploads: bool,
        patience: impl Future<Output = ()> + Send,
    ) -> Option<Reply> {
        let answer = async {
            let response = self.router.clone().oneshot(request).await.expect("a router answers");
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory arrives");
            Reply { status, body }
        };
        // What the last step has set off must have come to rest before another thread takes part.
        self.sim.turn("to send").await;
        if uploads && !self.sim.is_dead(self.pid) {
            self.sim.works(self.pid);
        }
        let (death, patience) = (pin!(self.sim.death(self.pid)), pin!(patience));
        let ends = select(death, patience);
        let reply = match select(pin!(answer), pin!(ends)).await {
            Either::Left((reply, _)) => Some(reply),
            Either::Right(_) => None,
        };
        self.sim.answered(self.pid);
        reply
    }

    /// Does something else with the service; none if the process dies first.
    pub async fn until_death<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.sim.death(self.pid))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// Places at which a publisher runs; a dead one is started again when somebody needs it.
pub(super) struct Fleet {
    sim: Arc<Sim>,
    slots: Mutex<Vec<Option<Arc<Process>>>>,
}

impl Fleet {
    /// Places, all empty.
    pub(super) fn new(sim: &Arc<Sim>, places: usize) -> Self {
        Self { sim: sim.clone(), slots: Mutex::new(vec![None; places]) }
    }

    /// Number of places.
    pub(super) fn len(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The publisher at a place; none if it could not be started.
    pub(super) async fn at(&self, place: usize) -> Option<Arc<Process>> {
        let there = self.slots.lock().unwrap_or_else(PoisonError::into_inner)[place].clone();
        if let Some(process) = there.filter(|process| !self.sim.is_dead(process.pid)) {
            return Some(process);
        }
        let process = Process::start(&self.sim).await?;
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(process.clone());
        Some(process)
    }
}
