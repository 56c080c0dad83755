//! Runs blocking work on a few threads at once, so that several fsyncs share one commit of the journal.

use std::{
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Threads of one round. More gain little: eight concurrent fsyncs cost about half of eight in a row.
const THREADS_MAX: usize = 8;

/// Applies `work` to each item, in any order; answers in the order of `items`. One item costs no thread.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take_and_work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut answers: Vec<(usize, R)> = thread::scope(|scope| {
        // The calling thread is one of the workers.
        let others: Vec<_> = (1..items.len().min(THREADS_MAX)).map(|_| scope.spawn(take_and_work)).collect();
        let mut all = take_and_work();
        for other in others {
            all.extend(other.join().unwrap_or_else(|bug| panic::resume_unwind(bug)));
        }
        all
    });
    answers.sort_unstable_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
