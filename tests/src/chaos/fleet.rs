//! The processes of a run: started, killed, started again on whatever port is free, until the run stops them.

use std::{
    process::Child,
    sync::{
        Arc, RwLock,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use super::{progress::Progress, setup::Registry};
use crate::{
    process::{Said, spawn},
    sim::Rng,
};

/// Where the processes listen, by number. One that was killed stays until the next one listens: nobody tells clients.
#[derive(Clone)]
pub(super) struct Addresses(Arc<RwLock<Vec<Option<String>>>>);

impl Addresses {
    /// One of the addresses; none while none is known.
    pub(super) fn any(&self, rng: &mut Rng) -> Option<String> {
        let all = self.0.read().expect("no holder of this lock panics");
        let known: Vec<&String> = all.iter().flatten().collect();
        (!known.is_empty()).then(|| (*rng.pick(&known)).clone())
    }

    fn set(&self, number: usize, local: String) {
        self.0.write().expect("no holder of this lock panics")[number] = Some(local);
    }
}

/// What the keeper of a process is told.
enum Signal {
    /// The process that was started as the n-th of its keeper said something.
    Said(u64, Said),
    Kill,
    Stop,
}

/// All processes, each with a keeper.
pub(super) struct Fleet {
    addresses: Addresses,
    keepers: Vec<(Sender<Signal>, JoinHandle<u64>)>,
}

impl Fleet {
    /// Starts the processes; they may listen later.
    pub(super) fn start(registry: &Arc<Registry>, progress: &Arc<Progress>, count: usize) -> Self {
        let addresses = Addresses(Arc::new(RwLock::new(vec![None; count])));
        let keep = |number| {
            let (sender, signals) = mpsc::channel();
            let keeper = Keeper {
                number,
                registry: registry.clone(),
                progress: progress.clone(),
                addresses: addresses.clone(),
                signals,
                sender: sender.clone(),
                started: 0,
            };
            (sender, thread::spawn(move || keeper.keep()))
        };
        Self { keepers: (0..count).map(keep).collect(), addresses: addresses.clone() }
    }

    /// Number of processes.
    pub(super) fn len(&self) -> u64 {
        self.keepers.len() as u64
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Has a process killed, wherever it is, and started again.
    pub(super) fn kill(&self, number: usize) {
        self.keepers[number].0.send(Signal::Kill).expect("a keeper lives until it is told to stop");
    }

    /// Kills every process for good. Returns how many were killed while the run lasted.
    pub(super) async fn stop(self) -> u64 {
        self.keepers.iter().for_each(|(sender, _)| drop(sender.send(Signal::Stop)));
        let join = || self.keepers.into_iter().map(|(_, keeper)| keeper.join().expect("a keeper ends")).sum();
        tokio::task::spawn_blocking(join).await.expect("keepers end")
    }
}

struct Keeper {
    number: usize,
    registry: Arc<Registry>,
    progress: Arc<Progress>,
    addresses: Addresses,
    signals: Receiver<Signal>,
    sender: Sender<Signal>,
    started: u64,
}

impl Keeper {
    fn keep(mut self) -> u64 {
        let mut kills = 0;
        let mut child = self.spawn();
        loop {
            match self.signals.recv().expect("a keeper holds a sender of its own") {
                Signal::Said(of, Said::Listens(listens)) if of == self.started => {
                    self.addresses.set(self.number, listens.local);
                }
                Signal::Said(of, Said::Ended(last)) if of == self.started => {
                    child.wait().expect("a process that has ended can be waited for");
                    if self.registry.may_end(&last) {
                        self.progress.open_answer("process ended for want of its store");
                    } else {
                        self.progress.violation(format!("process {} ended by itself: {last}", self.number));
                    }
                    child = self.spawn();
                }
                // The last words of one that is gone.
                Signal::Said(..) => {}
                Signal::Kill => {
                    kill(&mut child);
                    kills += 1;
                    child = self.spawn();
                }
                Signal::Stop => {
                    kill(&mut child);
                    return kills;
                }
            }
        }
    }

    fn spawn(&mut self) -> Child {
        self.started += 1;
        let (sender, started) = (self.sender.clone(), self.started);
        spawn(self.registry.server(self.number), move |said| {
            // A keeper that has stopped hears nothing any more.
            drop(sender.send(Signal::Said(started, said)));
        })
    }
}

fn kill(child: &mut Child) {
    child.kill().expect("a process can be killed");
    child.wait().expect("a killed process ends");
}
