//! Running many small reads and writes at a time.

use futures_util::{StreamExt, stream};

/// How many run at a time: enough to hide a store's latency, few enough for the default limits of its clients.
const AT_A_TIME: usize = 16;

/// Outcomes of tasks, in their order.
pub(crate) type InOrder<F> = stream::Buffered<stream::Iter<std::vec::IntoIter<F>>>;

/// Runs tasks, some at a time; their outcomes come in the order of the tasks, each as soon as it is there.
///
/// The tasks are a vector, because a stream over a lazy iterator of borrowing futures cannot be sent between threads
/// (a limit of the compiler, which then asks for closures over any lifetime).
pub(crate) fn in_order<F: Future>(tasks: Vec<F>) -> InOrder<F> {
    stream::iter(tasks).buffered(AT_A_TIME)
}

/// The same for tasks that run many smaller ones each and hold much: two, so that one computes while the other waits.
pub(crate) fn two_in_order<F: Future>(tasks: Vec<F>) -> InOrder<F> {
    stream::iter(tasks).buffered(2)
}
