//! The checks that keep a client from being lied to, each under its name.
//!
//! Owns the list. Does not own the checks: whoever makes one asks here whether it is up.
//! Invariant: in programs every defence is always up. Only this crate's own tests can take one away, to show that the
//! attack which it stops would succeed without it (`attacks.rs`).

/// A check between the bytes of a server and the decision to believe them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defence {
    /// The log has the key that was pinned at first contact.
    PinnedKey,
    /// A document of the root of trust follows the one before it, and is signed by enough roots of both.
    RootChain,
    /// The document in force has not expired.
    RootExpiry,
    /// Enough cosigners of the policy have signed the checkpoint.
    Quorum,
    /// They have done so recently.
    Freshness,
    /// A log that the roots have retired ends where they say.
    RetiredLog,
    /// The log continues the largest checkpoint that was seen.
    SeenCheckpoint,
    /// The log continues the checkpoint in the lock file.
    LockedCheckpoint,
    /// The event that names the state is the newest one of the checkpoint.
    NewestEvent,
    /// The root tile of the state map has the root that the newest event names; all below hangs on it.
    StateRoot,
    /// A file by name is the one that the state names.
    FileDigest,
    /// A resolve record that was read by name is the one that the state names.
    RecordDigest,
    /// An archive has the digest that the index names.
    ArchiveDigest,
    /// An entry of the log is the one below the root of the checkpoint.
    Entry,
    /// What the index says of a release is what its archive says.
    Manifest,
    /// A signature of an author is over this release, and of a key of the package.
    AuthorSignature,
    /// A release has the signatures that the rule in force asks for.
    AuthorRule,
    /// A weaker rule counts only once the time-lock of the one before it has run out.
    TimeLock,
    /// Keys and rules continue those that were seen before.
    SeenAuthors,
    /// A release was published by the event that the index names.
    ReleaseEvent,
    /// An event is not of the future.
    EventTime,
    /// Nothing is longer than it may be.
    Length,
    /// Nothing comes slower than it may.
    Speed,
}

/// Which defences are up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defences {
    #[cfg(test)]
    down: Option<Defence>,
}

impl Defences {
    /// All but one.
    #[cfg(test)]
    pub(crate) fn without(down: Defence) -> Self {
        Self { down: Some(down) }
    }

    /// Whether a defence is up.
    #[cfg(test)]
    pub(crate) fn up(self, defence: Defence) -> bool {
        self.down != Some(defence)
    }

    /// Whether a defence is up: always.
    #[cfg(not(test))]
    pub(crate) fn up(self, _: Defence) -> bool {
        true
    }

    /// What a check found, if its defence is up.
    pub(crate) fn hold<E>(self, defence: Defence, found: Result<(), E>) -> Result<(), E> {
        if self.up(defence) { found } else { Ok(()) }
    }
}
