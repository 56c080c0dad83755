//! Room that is kept for what must not fail for want of it: what follows a commit point.
//!
//! Owns: files of zeros, one per area, whose blocks are given up when there are no others; and how much of the journal
//! is spoken for. All areas of a journal share one reserve, because they may share a file system: whoever is first to
//! find the disk full gives up everything that is kept, and there is enough for all then.

use std::{
    io::{self, ErrorKind},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::folder::{Folder, TempFile};

/// What is kept beyond what was asked for, in bytes: directories of new files, and the few small files that others
/// write meanwhile.
const SPARE_BYTES: u64 = 64 * 1024;

/// The room that is kept for the areas of one journal, by this process.
#[derive(Default)]
pub(super) struct Reserve(Mutex<Vec<Kept>>);

/// What is kept for one area.
#[derive(Default)]
struct Kept {
    /// A file, and for how many bytes of files it makes room.
    files: Option<(TempFile, u64)>,
    /// How many bytes its next records may have.
    records: u64,
}

impl Reserve {
    /// Speaks for so many bytes of an area's records; answers with those of all areas.
    pub(super) fn records(&self, area: u8, bytes: u64) -> u64 {
        let mut kept = self.of(area);
        kept[usize::from(area)].records = bytes;
        kept.iter().map(|kept| kept.records).sum()
    }

    /// Whether room is kept already for so many bytes of an area's files.
    pub(super) fn holds(&self, area: u8, bytes: u64) -> bool {
        self.of(area)[usize::from(area)].files.as_ref().is_some_and(|(_, room)| *room >= bytes)
    }

    /// Keeps room for so many bytes of new files in an area.
    pub(super) fn keep(&self, area: u8, folder: &Folder, bytes: u64) -> io::Result<()> {
        if !self.holds(area, bytes) {
            let file = folder.zeros(bytes + SPARE_BYTES)?;
            self.of(area)[usize::from(area)].files = Some((file, bytes));
        }
        Ok(())
    }

    /// Does a write, and on a full disk gives up what is kept, and does it again.
    pub(super) fn used_by<R>(&self, mut write: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        match write() {
            Err(e) if is_full(&e) => {
                self.of(0).iter_mut().for_each(|kept| kept.files = None);
                // Also if nothing was kept any more: another thread has given it up since.
                write()
            }
            other => other,
        }
    }

    fn of(&self, area: u8) -> MutexGuard<'_, Vec<Kept>> {
        // Whole after a panic elsewhere.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = kept.len().max(usize::from(area) + 1);
        kept.resize_with(count, Kept::default);
        kept
    }
}

/// Whether a write failed for want of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}
