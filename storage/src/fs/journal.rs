//! The write-ahead journal: every write of a directory's areas is in it, in order and durable, before a file shows it.
//!
//! Owns: the lock that orders the writers of all processes of a machine, the two segments, and giving names to what is
//! durable. Does not own: whether a write may happen (see [`super::writer`]), nor the encoding ([`format`]).
//!
//! Below the journal's directory lie `lock`, which whoever writes holds, and the segments `odd` and `even`, which take
//! turns: while one fills up, the file systems are synced for the other, which then begins anew. What is appended but
//! has no names yet is *pending*; whoever takes the lock finishes first what a process that died has left pending.
//!
//! Invariants: a name is only given to bytes whose record is durable. Records and names have one order. A segment is
//! begun anew only after everything that its records name is durable without them.

mod barrier;
mod format;
mod recover;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fs_err::os::unix::fs::OpenOptionsExt;

use self::format::{Boot, DATA_START, Header, MARK_BYTES, Mark, RECORD_HEAD_BYTES, aligned};
pub(super) use self::format::{Item, What};
use self::segment::Room;
use super::{
    folder::{Folder, TempFile, make_durable_dir},
    reserve::Reserve,
    syncs::SyncCounters,
};
use crate::{Entropy, Key, SystemEntropy};

/// The journal's directory.
pub(super) const JOURNAL_DIR: &str = ".journal";
const LOCK_FILE: &str = "lock";

/// How large segments are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Where a segment ends, in bytes. A few hundred publishes: often enough that recovery is quick, and seldom enough that
    /// syncing the file systems does not show.
    pub(super) segment_bytes: u64,
    /// By how much the file of a segment grows, in bytes: syncing a file that keeps its length is cheaper.
    pub(super) growth_bytes: u64,
}

impl Sizes {
    pub(super) const USUAL: Self = Self { segment_bytes: 8 << 20, growth_bytes: 256 << 10 };
}

/// The journal of one directory, as this process knows it.
pub(super) struct Journal {
    dir: PathBuf,
    folders: Vec<Arc<Folder>>,
    reserve: Arc<Reserve>,
    boot: Boot,
    sizes: Sizes,
    /// Open while something is pending, and closed then, so that a file system that nobody writes to can be remounted.
    lock: Option<Arc<fs_err::File>>,
    /// Those for even and for odd generations, open as long as the lock's file is.
    segments: [Option<fs_err::File>; 2],
    view: Option<View>,
    /// Whether another process has written since this one opened the journal.
    has_met_others: bool,
    pending: VecDeque<Pending>,
    /// Newest segment that is needed no more, as far as this process knows.
    retired: Arc<AtomicU64>,
    syncs: Arc<SyncCounters>,
    /// How many steps tests let it make.
    #[cfg(test)]
    pub(super) steps_left: Option<u32>,
}

/// The segment in use.
#[derive(Debug, Clone, Copy)]
struct View {
    header: Header,
    /// End of the last record whose names were given.
    applied: u64,
    /// Where the next record goes.
    end: u64,
    next_seq: u64,
    /// Every record before this seq is durable.
    durable: u64,
    /// Length of the file.
    file_bytes: u64,
}

/// A record whose names were not given yet.
struct Pending {
    start: u64,
    seq: u64,
    bytes: Vec<u8>,
    items: Vec<(Item, Option<TempFile>)>,
    is_durable: bool,
}

impl Journal {
    /// The journal of a directory; nothing is made or read yet.
    pub(super) fn new(
        home: &Path,
        folders: Vec<Arc<Folder>>,
        reserve: Arc<Reserve>,
        boot: Option<Boot>,
        sizes: Sizes,
        syncs: Arc<SyncCounters>,
    ) -> Self {
        let unknown = || {
            // Where the machine does not tell, every process counts as a start: that costs time, and is safe.
            let mut boot = [0; 16];
            SystemEntropy::new().fill(&mut boot);
            boot
        };
        Self {
            dir: home.join(JOURNAL_DIR),
            folders,
            reserve,
            boot: boot.unwrap_or_else(unknown),
            sizes,
            lock: None,
            segments: [None, None],
            view: None,
            has_met_others: false,
            pending: VecDeque::new(),
            retired: Arc::default(),
            syncs,
            #[cfg(test)]
            steps_left: None,
        }
    }

    /// Finishes what processes that died have left, and replays what a power failure may have undone.
    ///
    /// In an area that may only be read this is an error if files differ from what the journal says.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if ![0, 1].iter().any(|generation| self.segment_path(*generation).exists()) {
            return Ok(());
        }
        match self.locked(|_| Ok(())) {
            Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                self.check_read_only()
            }
            other => other,
        }
    }

    /// Does `work` while no other process writes, after everything that others have left pending was finished.
    pub(super) fn locked<R>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<R>) -> io::Result<R> {
        let lock = match &self.lock {
            Some(lock) => lock.clone(),
            None => self.lock.insert(Arc::new(self.open_lock()?)).clone(),
        };
        lock.lock()?;
        let outcome = self.refresh(&lock).and_then(|()| work(self));
        let unlocked = lock.unlock();
        if self.pending.is_empty() {
            self.lock = None;
            self.segments = [None, None];
        }
        outcome.and_then(|outcome| unlocked.map(|()| outcome))
    }

    fn open_lock(&self) -> io::Result<fs_err::File> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let path = self.dir.join(LOCK_FILE);
        match options.open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                make_journal_dir(&self.dir)?;
                options.open(&path)
            }
            other => other,
        }
    }

    /// Takes over what others have done since this process held the lock.
    fn refresh(&mut self, lock: &fs_err::File) -> io::Result<()> {
        let mut bytes = [0; MARK_BYTES];
        let mark = match lock.file().read_exact_at(&mut bytes, 0) {
            Ok(()) => Mark::decode(&bytes).filter(|mark| mark.boot == self.boot),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(e),
        };
        let Some(mark) = mark else {
            self.pending.clear();
            return self.recover();
        };
        self.retired.fetch_max(mark.retired, Ordering::Relaxed);
        let is_ours = |view: View| view.header.generation == mark.generation && view.applied == mark.applied;
        self.has_met_others |= self.view.is_some_and(|view| !is_ours(view));
        let view = match self.view {
            Some(view) if view.header.generation == mark.generation => view,
            _ => {
                self.pending.clear();
                self.look_at(mark.generation)?
            }
        };
        while self.pending.front().is_some_and(|pending| pending.start < mark.applied) {
            self.pending.pop_front();
        }
        self.open_segment(mark.generation)?;
        self.view = Some(View { applied: mark.applied, ..view });
        if mark.is_rotating {
            // Whoever began the next segment died, or could not finish: nothing is in it yet.
            let (end, next_seq) = (mark.applied, mark.next_seq);
            self.view = Some(View { end, next_seq, durable: next_seq, ..self.view() });
            return self.rotate();
        }
        if self.pending.is_empty() {
            let file_bytes = self.segment(mark.generation)?.metadata()?.len();
            let (end, next_seq) = (mark.applied, mark.next_seq);
            self.view = Some(View { end, next_seq, durable: next_seq, file_bytes, ..self.view() });
            self.adopt()?;
        }
        Ok(())
    }

    /// Finishes records that are whole and that nobody finished: their writer died, or is not in a hurry.
    fn adopt(&mut self) -> io::Result<()> {
        while let Some((bytes, items)) = self.read_record()? {
            let view = self.view();
            let items = items.into_iter().map(|item| (item, None)).collect();
            let (start, seq) = (view.end, view.next_seq);
            self.view = Some(View { end: start + bytes.len() as u64, next_seq: seq + 1, ..view });
            self.pending.push_back(Pending { start, seq, bytes, items, is_durable: false });
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        // Written again, because the error of a sync that failed is told once only.
        self.rewrite_pending()?;
        self.settle()
    }

    /// The record at the end of what is known, if there is one, filled up to where the next starts.
    fn read_record(&self) -> io::Result<Option<(Vec<u8>, Vec<Item>)>> {
        let view = self.view();
        let file = self.segment(view.header.generation)?;
        let mut fixed = [0; RECORD_HEAD_BYTES];
        if view.end + RECORD_HEAD_BYTES as u64 > view.file_bytes {
            return Ok(None);
        }
        file.file().read_exact_at(&mut fixed, view.end)?;
        let Some(head) = view.header.record_head(&fixed).filter(|head| head.seq == view.next_seq) else {
            return Ok(None);
        };
        let len = aligned(head.record_bytes() as u64);
        if view.end + len > view.file_bytes {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        file.file().read_exact_at(&mut bytes, view.end)?;
        let decoded = view.header.decode_record(&Bytes::from(bytes.clone()));
        Ok(decoded.map(|(_, record)| (bytes, record.items)))
    }

    /// Whether a write to this key waits for its name.
    pub(super) fn is_pending(&self, area: u8, key: &Key) -> bool {
        let mut items = self.pending.iter().flat_map(|pending| &pending.items);
        items.any(|(item, _)| item.area == area && item.key == *key)
    }

    /// Whether no other process is known to write, and to hold the lock while it syncs.
    pub(super) fn is_alone(&self) -> bool {
        !self.has_met_others
    }

    /// Whether anything waits for its name.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Appends one record. It is not durable before [`Journal::settle`]. An error has changed nothing.
    pub(super) fn append(&mut self, items: Vec<(Item, Option<TempFile>)>) -> io::Result<()> {
        let bytes: usize = items.iter().map(|(item, _)| item.encoded_bytes()).sum();
        self.make_room((RECORD_HEAD_BYTES + bytes) as u64, Room::Tried)?;
        self.step()?;
        let view = self.view();
        let items_only: Vec<Item> = items.iter().map(|(item, _)| item.clone()).collect();
        let bytes = view.header.encode_record(view.next_seq, view.durable, &items_only);
        self.write_with_reserve(&bytes, view.end)?;
        let end = view.end + bytes.len() as u64;
        self.view =
            Some(View { end, next_seq: view.next_seq + 1, file_bytes: view.file_bytes.max(end), ..view });
        let (start, seq) = (view.end, view.next_seq);
        self.pending.push_back(Pending { start, seq, bytes, items, is_durable: false });
        Ok(())
    }

    /// Makes sure that records of so many bytes in all find room.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if self.has_room(bytes) {
            return Ok(());
        }
        self.locked(|journal| journal.make_room(bytes, Room::Filled))
    }

    /// Whether records of so many bytes in all will find room.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let fits = |view: View| view.end + bytes <= view.file_bytes.min(self.sizes.segment_bytes);
        self.view.is_some_and(fits)
    }

    /// Makes everything pending durable, and gives it its names, in order.
    ///
    /// After an error nothing is lost: what is left is tried again by whoever takes the lock next.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let settled = self.sync_pending().and_then(|()| self.name_pending());
        // Also after an error: nobody gives a name again that was given.
        let marked = self.write_mark(false);
        settled.and(marked)
    }

    fn sync_pending(&mut self) -> io::Result<()> {
        if self.pending.iter().any(|pending| !pending.is_durable) {
            self.step()?;
            let view = self.view();
            SyncCounters::add(&self.syncs.journal, 1);
            if let Err(error) = self.segment(view.header.generation)?.sync_data() {
                // The kernel counts the pages as clean now; only written again are they synced by the next call.
                self.rewrite_pending()?;
                return Err(error);
            }
            self.pending.iter_mut().for_each(|pending| pending.is_durable = true);
            self.view = Some(View { durable: view.next_seq, ..view });
        }
        Ok(())
    }

    fn name_pending(&mut self) -> io::Result<()> {
        while let Some(pending) = self.pending.front_mut() {
            let mut items = std::mem::take(&mut pending.items).into_iter();
            while let Some((item, temp)) = items.next() {
                let named = self.step().and_then(|()| self.name(&item, temp));
                if let Err(error) = named {
                    let left = std::iter::once((item, None)).chain(items).collect();
                    self.pending.front_mut().expect("it is there still").items = left;
                    return Err(error);
                }
            }
            let done = self.pending.pop_front().expect("it was there");
            let view = self.view();
            self.view = Some(View { applied: done.start + done.bytes.len() as u64, ..view });
        }
        Ok(())
    }

    /// Gives the file of a durable record its name, or takes it.
    fn name(&self, item: &Item, temp: Option<TempFile>) -> io::Result<()> {
        let folder = self.folder(item.area)?;
        match &item.what {
            What::Write(bytes) => folder.name(temp, &item.key, bytes),
            What::Delete => match fs_err::remove_file(folder.path(&item.key)) {
                Err(e) if !super::errors::is_absent(&e) => Err(e),
                _ => Ok(()),
            },
            // Without its bytes the write has not happened, and nobody was told that it had.
            What::Keep => temp.map_or(Ok(()), |temp| {
                let path = folder.path(&item.key);
                temp.rename(&path)?;
                barrier::sync_names(folder.root(), &path, &self.syncs)
            }),
        }
    }

    fn rewrite_pending(&self) -> io::Result<()> {
        let file = self.segment(self.view().header.generation)?;
        self.pending.iter().try_for_each(|pending| file.file().write_all_at(&pending.bytes, pending.start))
    }

    /// Writes to the segment, and on a full disk uses up what was reserved.
    fn write_with_reserve(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = self.segment(self.view().header.generation)?;
        self.reserve.used_by(|| file.file().write_all_at(bytes, at))
    }

    /// Tells the next holder of the lock how far this one got, and whether it is about to begin a new segment.
    fn write_mark(&mut self, is_rotating: bool) -> io::Result<()> {
        self.step()?;
        let view = self.view();
        let first_pending = self.pending.front().map(|pending| pending.seq);
        let mark = Mark {
            boot: self.boot,
            generation: view.header.generation,
            applied: view.applied,
            next_seq: first_pending.unwrap_or(view.next_seq),
            retired: self.retired.load(Ordering::Relaxed),
            is_rotating,
        };
        let lock = self.lock.as_ref().expect("whoever tells holds the lock");
        lock.file().write_all_at(&mark.encode(), 0)
    }

    /// Makes a name durable that was given without the journal.
    pub(super) fn sync_names(&self, area: u8, path: &Path) -> io::Result<()> {
        barrier::sync_names(self.folder(area)?.root(), path, &self.syncs)
    }

    fn folder(&self, area: u8) -> io::Result<&Arc<Folder>> {
        let other = || damaged("names an area that is not part of this store");
        self.folders.get(usize::from(area)).ok_or_else(other)
    }

    fn view(&self) -> View {
        self.view.expect("whoever holds the lock has looked at the segment")
    }

    /// One step of those after each of which a process may die.
    fn step(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = &mut self.steps_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the process died"))?;
        }
        Ok(())
    }
}

/// Makes the journal's directory. It may hold what only the vault's owner may read.
pub(super) fn make_journal_dir(dir: &Path) -> io::Result<()> {
    make_durable_dir(dir, 0o700)
}

/// The journal is not what was written.
fn damaged(fact: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the journal {}", fact.into()))
}
