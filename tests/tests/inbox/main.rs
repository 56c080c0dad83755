//! Many processes that write one log: intents left to the winner, entries that are not what they should be, and what
//! happens when everybody is too busy.

mod contention;
mod entries;
mod fleet;
mod losers;
