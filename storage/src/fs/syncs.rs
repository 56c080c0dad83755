//! How often the disk was waited for.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often this process synced, since a directory was opened. Areas that were opened together are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// Syncs of the journal: one for each batch of writes that were waited for.
    pub journal: u64,
    /// Syncs of files that are too long for the journal.
    pub files: u64,
    /// Syncs of directories.
    pub directories: u64,
    /// Syncs of whole file systems: one for each segment of the journal that was full.
    pub file_systems: u64,
}

/// The same, as it is counted.
#[derive(Default)]
pub(super) struct SyncCounters {
    pub(super) journal: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) directories: AtomicU64,
    pub(super) file_systems: AtomicU64,
}

impl SyncCounters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn counted(&self) -> Syncs {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Syncs {
            journal: of(&self.journal),
            files: of(&self.files),
            directories: of(&self.directories),
            file_systems: of(&self.file_systems),
        }
    }
}
