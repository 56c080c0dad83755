//! One opened area: where keys lie, and who writes there.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    errors::definite,
    folder::{Folder, TEMP_DIR, make_durable_dir},
    journal::{JOURNAL_DIR, Journal, Sizes, make_journal_dir},
    reserve::Reserve,
    syncs::{SyncCounters, Syncs},
    unavailable,
    walk::Walks,
    writer::{Announced, Answer, Wait, Write, Writer},
};
use crate::{Key, StoreError};

/// Age from which a temporary file belongs to a crashed process: no upload takes so long.
const STALE: Duration = Duration::from_secs(3_600);
/// Where Linux tells which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Length of a boot id in hex digits.
const BOOT_ID_DIGITS: usize = 32;

/// Areas that lie in one directory and share its journal.
pub(super) struct Home {
    /// The directory that holds the journal.
    pub(super) dir: PathBuf,
    /// Each area's root and its mode if it has to be made. The order is part of the journal's format.
    pub(super) areas: Vec<(PathBuf, u32)>,
}

impl Home {
    /// A store's two areas.
    pub(super) fn store(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), areas: vec![(dir.join("public"), 0o777), (dir.join("vault"), 0o700)] }
    }

    /// Where an area's journal is: beside it if it is one of a store's, and else in it. With the area's place.
    pub(super) fn of(root: PathBuf, mode: u32) -> (Self, u8) {
        let absolute = fs_err::canonicalize(&root).unwrap_or_else(|_| root.clone());
        if let Some(dir) = absolute.parent().filter(|dir| dir.join(JOURNAL_DIR).is_dir()) {
            let home = Self::store(dir);
            if let Some(area) = home.areas.iter().position(|(area, _)| *area == absolute) {
                return (home, area as u8);
            }
        }
        (Self { dir: root.clone(), areas: vec![(root, mode)] }, 0)
    }

    /// Opens every area, after the journal was replayed where that is needed.
    pub(super) fn open(self) -> Result<Vec<Disk>, StoreError> {
        let boot = fs_err::read_to_string(BOOT_ID).ok().and_then(|id| boot_id(&id));
        self.open_as(boot, Sizes::USUAL)
    }

    /// The same, in a start of the machine and with sizes that the caller chooses.
    pub(super) fn open_as(self, boot: Option<[u8; 16]>, sizes: Sizes) -> Result<Vec<Disk>, StoreError> {
        let failed = |e: io::Error| definite("open", &self.dir.display(), &e);
        for (root, mode) in &self.areas {
            make_area(root, *mode).map_err(failed)?;
        }
        if self.areas.len() > 1 {
            // Whoever opens one of the areas alone finds the journal by it. Where it cannot be made now, nothing can be
            // written either; the first write tries again.
            drop(make_journal_dir(&self.dir.join(JOURNAL_DIR)));
        }
        let reserve = Arc::new(Reserve::default());
        let folder = |(root, _): &(PathBuf, u32)| Arc::new(Folder::new(root.clone(), reserve.clone()));
        let folders: Vec<Arc<Folder>> = self.areas.iter().map(folder).collect();
        let syncs = Arc::new(SyncCounters::default());
        let mut journal =
            Journal::new(&self.dir, folders.clone(), reserve.clone(), boot, sizes, syncs.clone());
        journal.open().map_err(failed)?;
        let writer = Arc::new(Writer::new(folders.clone(), reserve, journal, syncs));
        let disk = |(area, folder)| Disk {
            area,
            is_one_of_many: folders.len() > 1,
            folder,
            writer: writer.clone(),
            walks: Walks::default(),
        };
        let disks: Vec<Disk> = (0..).zip(folders.iter().cloned()).map(disk).collect();
        disks.iter().for_each(Disk::tidy);
        Ok(disks)
    }
}

/// Reads the id as the kernel writes it: hex digits with hyphens.
fn boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    let bytes = hex::decode(digits).ok().filter(|bytes| bytes.len() == BOOT_ID_DIGITS / 2)?;
    bytes.try_into().ok()
}

/// Makes an area's directories, unless it may only be read.
fn make_area(root: &Path, mode: u32) -> io::Result<()> {
    make_durable_dir(root, mode)?;
    match fs_err::create_dir(root.join(TEMP_DIR)) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => Ok(()),
        other => other,
    }
}

pub(super) struct Disk {
    /// The area's place among those of its journal.
    area: u8,
    /// Whether the journal orders the writes of other areas too.
    pub(super) is_one_of_many: bool,
    pub(super) folder: Arc<Folder>,
    pub(super) writer: Arc<Writer>,
    /// Listings under way, see [`Walks`].
    pub(super) walks: Walks,
}

impl Disk {
    /// Removes what crashed processes left long ago, if that is possible; the next start tries again.
    fn tidy(&self) {
        // What time it is to this file system, a new file tells; without one there is nothing to remove either.
        let Ok((file, _temp)) = self.folder.create_temp() else { return };
        if let Ok(now) = file.metadata().and_then(|meta| meta.modified()) {
            drop(self.remove_stale_temps(now, STALE));
        }
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Where a key lies. `None` for a name at the root that begins with a dot: those are the backend's, or nobody's.
    pub(super) fn path(&self, key: &Key) -> Option<PathBuf> {
        (!key.as_str().starts_with('.')).then(|| self.folder.path(key))
    }

    /// Where a key may be written.
    pub(super) fn path_to_write(&self, key: &Key) -> io::Result<PathBuf> {
        let own = || io::Error::new(ErrorKind::PermissionDenied, "the directory is the backend's own");
        self.path(key).ok_or_else(own)
    }

    /// Writes a round; answers in its order.
    pub(super) fn write(&self, wait: Wait, writes: Vec<Write>, announced: Announced) -> Vec<Answer> {
        if writes.is_empty() {
            return Vec::new();
        }
        self.writer.submit(self.area, wait, writes, announced)
    }

    /// Whether a round that is only to be in order would be done at once.
    pub(super) fn would_not_wait<'a>(
        &self,
        wait: Wait,
        writes: impl Iterator<Item = (&'a Key, u64)>,
    ) -> bool {
        wait == Wait::Ordered && self.writer.would_not_wait(self.area, writes)
    }

    /// Whether files of these lengths will find room; `false` if that is not known at once.
    pub(super) fn has_room(&self, lens: &[u64]) -> bool {
        self.writer.has_room(self.area, lens)
    }

    /// Makes sure that files of these lengths will find room.
    pub(super) fn reserve(&self, lens: &[u64]) -> io::Result<()> {
        self.writer.reserve(self.area, lens)
    }

    /// How often was synced.
    pub(super) fn syncs(&self) -> Syncs {
        self.writer.syncs.counted()
    }

    /// Removes temporary files older than `age`, as [`super::FsArea::remove_stale_temps`] says.
    pub(super) fn remove_stale_temps(&self, now: SystemTime, age: Duration) -> Result<u64, StoreError> {
        let failed = |e: io::Error| unavailable("delete", TEMP_DIR, e.to_string());
        let mut removed = 0;
        for entry in fs_err::read_dir(self.root().join(TEMP_DIR)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Gone or unreadable: its owner is alive and at work.
            let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            if now.duration_since(modified).is_ok_and(|elapsed| elapsed > age) {
                fs_err::remove_file(entry.path()).map_err(failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
