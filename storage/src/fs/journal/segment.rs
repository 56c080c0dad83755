//! The two files of the journal: how they are made, grow, and begin anew.

use std::{
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::atomic::Ordering,
};

use fs_err::os::unix::fs::OpenOptionsExt;

use super::{DATA_START, Header, Journal, View, aligned, barrier, damaged, format::HEADER_BYTES};
use crate::{
    Entropy, SystemEntropy,
    fs::{reserve::is_full, syncs::SyncCounters},
};

/// Names of the files for even and for odd generations.
const NAMES: [&str; 2] = ["even", "odd"];
/// Bytes written at a time where a file is filled with zeros.
const FILL_BYTES: usize = 64 * 1024;

/// Whether a segment's file must have its blocks before a record is written there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room {
    /// It must: nothing may fail later.
    Filled,
    /// The record itself will say that there is none.
    Tried,
}

/// Fills a file with zeros, so that what is written there later needs no room, and its sync no change of the file's length.
fn fill(file: &fs_err::File, from_to: (u64, u64)) -> io::Result<()> {
    let zeros = [0; FILL_BYTES];
    let (mut at, end) = from_to;
    while at < end {
        let count = (end - at).min(FILL_BYTES as u64);
        file.file().write_all_at(&zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

impl Journal {
    pub(super) fn segment_path(&self, generation: u64) -> PathBuf {
        self.dir.join(NAMES[(generation % 2) as usize])
    }

    /// The open file of a generation.
    pub(super) fn segment(&self, generation: u64) -> io::Result<&fs_err::File> {
        self.segments[(generation % 2) as usize].as_ref().ok_or_else(|| damaged("has lost a segment"))
    }

    /// Opens the file of a generation, if it is there.
    pub(super) fn open_segment(&mut self, generation: u64) -> io::Result<bool> {
        let path = self.segment_path(generation);
        let slot = &mut self.segments[(generation % 2) as usize];
        if slot.is_none() {
            *slot = match fs_err::OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => Some(file),
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
        }
        Ok(slot.is_some())
    }

    /// Looks at a segment that another process has begun.
    pub(super) fn look_at(&mut self, generation: u64) -> io::Result<View> {
        self.open_segment(generation)?;
        let file = self.segment(generation)?;
        let mut start = vec![0; DATA_START as usize];
        file.file().read_exact_at(&mut start, 0)?;
        let header = Header::decode(&start).filter(|header| header.generation == generation);
        let header = header.ok_or_else(|| damaged("has a segment whose header is not whole"))?;
        let file_bytes = file.metadata()?.len();
        let (end, next_seq) = (DATA_START, header.first_seq);
        Ok(View { header, applied: end, end, next_seq, durable: next_seq, file_bytes })
    }

    /// Makes room for so many bytes of records: in this segment, or in a new one.
    ///
    /// The file grows ahead of its records if the disk has room for that.
    pub(super) fn make_room(&mut self, bytes: u64, room: Room) -> io::Result<()> {
        let bytes = aligned(bytes);
        let view = self.view();
        if view.end + bytes > self.sizes.segment_bytes && view.end > DATA_START {
            self.settle()?;
            self.rotate()?;
        }
        let view = self.view();
        let needed = view.end + bytes;
        if needed <= view.file_bytes {
            return Ok(());
        }
        let file = self.segment(view.header.generation)?;
        let ahead = needed.next_multiple_of(self.sizes.growth_bytes);
        match fill(file, (view.file_bytes, ahead)) {
            Err(e) if is_full(&e) => {
                // Others need what is left.
                file.file().set_len(view.file_bytes)?;
                if let Room::Filled = room {
                    fill(file, (view.file_bytes, needed))?;
                }
            }
            other => other?,
        }
        let file_bytes = file.metadata()?.len();
        self.view = Some(View { file_bytes, ..view });
        Ok(())
    }

    /// Begins the first segment of all.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.begin_segment(1, 0)?;
        self.write_mark(false)
    }

    /// Begins the next segment. Nothing is pending.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let old = self.view();
        let (full, next) = (old.header.generation, old.header.generation + 1);
        // The file that begins anew holds the generation before the full one.
        if self.retired.load(Ordering::Relaxed) + 1 < full {
            self.step()?;
            barrier::sync_file_systems(&self.folders, &self.syncs)?;
            self.retired.fetch_max(full, Ordering::Relaxed);
        }
        self.write_mark(true)?;
        self.begin_segment(next, old.next_seq)?;
        self.write_mark(false)?;
        if self.retired.load(Ordering::Relaxed) < full {
            barrier::retire_later(&self.folders, &self.syncs, &self.retired, full);
        }
        Ok(())
    }

    fn begin_segment(&mut self, generation: u64, first_seq: u64) -> io::Result<()> {
        let mut salt = [0; 16];
        SystemEntropy::new().fill(&mut salt);
        let header = Header { generation, first_seq, salt };
        let bytes = header.encode();
        self.step()?;
        if !self.open_segment(generation)? {
            self.make_segment(generation, &bytes)?;
        } else {
            // One copy after the other: a power failure leaves one of them whole.
            for copy in [0, HEADER_BYTES] {
                let file = self.segment(generation)?;
                file.file().write_all_at(&bytes, copy)?;
                SyncCounters::add(&self.syncs.journal, 1);
                file.sync_data()?;
                self.step()?;
            }
        }
        let file_bytes = self.segment(generation)?.metadata()?.len();
        let end = DATA_START;
        self.view =
            Some(View { header, applied: end, end, next_seq: first_seq, durable: first_seq, file_bytes });
        Ok(())
    }

    /// Makes the file of a segment, which has its name only when its header is durable.
    fn make_segment(&mut self, generation: u64, header: &[u8]) -> io::Result<()> {
        let path = self.segment_path(generation);
        let new = path.with_extension("new");
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.file().write_all_at(header, 0)?;
        file.file().write_all_at(header, HEADER_BYTES)?;
        SyncCounters::add(&self.syncs.journal, 1);
        file.sync_all()?;
        self.step()?;
        fs_err::rename(new, &path)?;
        SyncCounters::add(&self.syncs.directories, 1);
        fs_err::File::open(&self.dir)?.sync_all()?;
        self.segments[(generation % 2) as usize] = Some(file);
        Ok(())
    }
}
