//! The heartbeat: saying again, from time to time, that the published checkpoint is still the newest.
//!
//! Owns when it is said. Does not own who calls it: a background task, or a schedule.
//! Invariant: nothing is said of a tree that is smaller than one that this process has seen published.

use super::{CommitError, Committer};

/// What a heartbeat came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// What is published is young enough.
    Fresh,
    /// It was said again, and published.
    Renewed,
    /// Too few cosigners answer: the proof file waits for them.
    Pending,
    /// Nobody says how new a checkpoint is.
    NoCosigner,
}

impl Committer {
    /// Finishes what a commit left undone, and has the published checkpoint cosigned again if its cosignatures are older
    /// than this, in seconds.
    ///
    /// # Errors
    ///
    /// Those of [`Committer::begin`]; [`CommitError::HeadBehindLog`] if the store went back to an earlier state while this process
    /// looked away: that is not called new.
    pub async fn heartbeat(&self, age_s_max: u64) -> Result<Heartbeat, CommitError> {
        if !self.signing.tells_time() {
            return Ok(Heartbeat::NoCosigner);
        }
        // As it was before head is read, so that a commit of this process meanwhile is no return to an earlier state.
        let largest = self.largest.lock().expect("no holder of this lock panics").clone();
        let mut round = self.begin().await?;
        let (size, root) = (round.head.size(), round.head.root);
        if let Some(seen) = largest
            && (seen.size() > size || (seen.size() == size && seen.root() != root))
        {
            return Err(CommitError::HeadBehindLog { head: size, published: seen.size() });
        }
        let now = self.clock.now_unix_s();
        let is_fresh = |time: u64| time.saturating_add(age_s_max) > now;
        if round.publishing.time_at(size).is_some_and(is_fresh) {
            return Ok(Heartbeat::Fresh);
        }
        let staging = self.read_staging(&round.head).await?;
        let notes = self.sign_applied(&round.head, &staging).await?;
        let notes = self.publish(&mut round.publishing, notes, None).await?;
        Ok(if notes.is_enough() { Heartbeat::Renewed } else { Heartbeat::Pending })
    }
}
