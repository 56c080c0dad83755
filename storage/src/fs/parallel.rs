//! Runs blocking work on a few threads at once, so that several fsyncs share one commit of the journal.
//!
//! The helpers are the runtime's blocking threads, which stay for the next round: making and ending a thread costs more
//! than the work that it would do here.
//!
//! Invariant: the calling thread takes whatever no helper has taken, and so never waits for a helper to begin.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::runtime::Handle;

/// Threads of one round. More gain little: eight concurrent fsyncs cost about half of eight in a row.
const THREADS_MAX: usize = 8;

/// One call of [`map`].
struct Round<T, R> {
    items: Arc<[T]>,
    next: AtomicUsize,
    answers: Mutex<Vec<(usize, thread::Result<R>)>>,
    all_there: Condvar,
}

/// Applies `work` to each item, in any order; answers in the order of `items`. One item costs no helper.
pub(super) fn map<T, R>(items: &Arc<[T]>, work: impl Fn(&T) -> R + Send + Sync + 'static) -> Vec<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    if items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let round = Arc::new(Round {
        items: items.clone(),
        next: AtomicUsize::new(0),
        answers: Mutex::new(Vec::with_capacity(items.len())),
        all_there: Condvar::new(),
    });
    let work = Arc::new(work);
    // Outside a runtime, which is where only tests are, the caller does it all.
    if let Ok(runtime) = Handle::try_current() {
        for _ in 1..items.len().min(THREADS_MAX) {
            let (round, work) = (round.clone(), work.clone());
            drop(runtime.spawn_blocking(move || round.take_part(&*work)));
        }
    }
    round.take_part(&*work);
    round.answers()
}

impl<T, R> Round<T, R> {
    /// Works until every item is taken.
    fn take_part(&self, work: &impl Fn(&T) -> R) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = self.items.get(index) else { return };
            // A panic is handed to the caller, who would wait for the answer for ever.
            let answer = panic::catch_unwind(AssertUnwindSafe(|| work(item)));
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push((index, answer));
            if answers.len() == self.items.len() {
                self.all_there.notify_one();
            }
        }
    }

    /// Waits for what helpers have taken.
    fn answers(&self) -> Vec<R> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = self
            .all_there
            .wait_while(answers, |answers| answers.len() < self.items.len())
            .unwrap_or_else(PoisonError::into_inner);
        let mut answers = std::mem::take(&mut *answers);
        answers.sort_unstable_by_key(|(index, _)| *index);
        let unwrap = |answer: thread::Result<R>| answer.unwrap_or_else(|bug| panic::resume_unwind(bug));
        answers.into_iter().map(|(_, answer)| unwrap(answer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Arc<[u64]> {
        (0..40).collect()
    }

    #[test]
    fn answers_come_in_order_without_a_runtime() {
        assert_eq!(map(&items(), |i| i * 2), (0..40).map(|i| i * 2).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn answers_come_in_order_with_helpers() {
        let work = || map(&items(), |i| (*i, thread::current().id()));
        let answers = tokio::task::spawn_blocking(work).await.expect("the work ends");
        assert_eq!(answers.iter().map(|(i, _)| *i).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let work = || map(&items(), |i| assert_ne!(*i, 7, "seven"));
        let bug = tokio::task::spawn_blocking(work).await.expect_err("the work panics");
        assert!(bug.is_panic());
    }
}
