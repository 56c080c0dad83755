//! After a power failure: what the journal says, and bringing the files to it.
//!
//! Nothing that was not synced is believed. The records of both segments are read from the first to the last whole one;
//! the last one that names a file decides what it is. Then a new segment begins, so that what a torn end may hold can
//! never continue what is written from now on.
//!
//! Invariant: whatever was cut off at whatever moment, another recovery comes to the same files.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::atomic::Ordering,
};

use bytes::Bytes;

use super::{
    Item, Journal, LOCK_FILE, Mark, View, What, aligned, barrier, damaged,
    format::{ALIGN, DATA_START, Header},
};
use crate::{Key, fs::errors::is_absent};

/// What the segments say, taken together.
#[derive(Debug)]
pub(super) struct Replay {
    /// The newest segment.
    header: Header,
    /// Where its last whole record ends.
    end: u64,
    next_seq: u64,
    /// What each file is, after every record.
    pub(super) files: BTreeMap<(u8, Key), What>,
}

/// Reads the segments of even and of odd generations; none if there are none. Pure.
///
/// An end that is torn is an end. A record that is not whole where a later one says that it was durable is damage.
pub(super) fn replay(segments: [Option<Bytes>; 2]) -> io::Result<Option<Replay>> {
    let mut found = Vec::new();
    for (parity, bytes) in (0..).zip(segments) {
        let Some(bytes) = bytes else { continue };
        let header = Header::decode(&bytes).filter(|header| header.generation % 2 == parity);
        found.push((header.ok_or_else(|| damaged("has a segment whose header is not whole"))?, bytes));
    }
    found.sort_by_key(|(header, _)| header.generation);
    let generations: Vec<u64> = found.iter().map(|(header, _)| header.generation).collect();
    if !matches!(generations[..], [] | [1]) && !matches!(generations[..], [old, new] if old + 1 == new) {
        return Err(damaged(format!("has lost a segment: there are {generations:?}")));
    }
    let Some((header, newest)) = found.pop() else { return Ok(None) };
    let mut files = BTreeMap::new();
    if let Some((old, bytes)) = found.pop() {
        let (_, next_seq) = fold(&old, &bytes, &mut files);
        if next_seq != header.first_seq {
            return Err(damaged(format!("has a damaged record at seq {next_seq}")));
        }
    }
    let (end, next_seq) = fold(&header, &newest, &mut files);
    for at in (end..newest.len() as u64).step_by(ALIGN as usize) {
        let later = header.decode_record(&newest.slice(at as usize..));
        if later.is_some_and(|(head, record)| head.seq > next_seq && record.durable > next_seq) {
            return Err(damaged(format!("has a damaged record at seq {next_seq}")));
        }
    }
    Ok(Some(Replay { header, end, next_seq, files }))
}

/// Takes a segment's records over, in order. Tells where the last whole one ends, and the seq after it.
fn fold(header: &Header, bytes: &Bytes, files: &mut BTreeMap<(u8, Key), What>) -> (u64, u64) {
    let (mut end, mut next_seq) = (DATA_START, header.first_seq);
    while let Some(rest) = bytes.get(end as usize..) {
        let Some((head, record)) = header.decode_record(&bytes.slice_ref(rest)) else { break };
        if head.seq != next_seq {
            break;
        }
        files.extend(record.items.into_iter().map(|item| ((item.area, item.key), item.what)));
        end += aligned(head.record_bytes() as u64);
        next_seq += 1;
    }
    (end, next_seq)
}

impl Journal {
    /// Brings the files to what the journal says, and begins a new segment.
    pub(super) fn recover(&mut self) -> io::Result<()> {
        let Some(Replay { header, end, next_seq, files }) = replay(self.read_segments()?)? else {
            return self.begin();
        };
        for ((area, key), what) in files {
            let item = Item { area, key, what };
            if !self.is_as_told(&item)? {
                self.step()?;
                self.name(&item, None)?;
            }
        }
        self.step()?;
        barrier::sync_file_systems(&self.folders, &self.syncs)?;
        self.retired.fetch_max(header.generation, Ordering::Relaxed);
        self.open_segment(header.generation)?;
        let file_bytes = self.segment(header.generation)?.metadata()?.len();
        self.view = Some(View { header, applied: end, end, next_seq, durable: next_seq, file_bytes });
        self.rotate()
    }

    /// Whether an area that may only be read is as the journal says. It is, unless power failed and nobody has written
    /// since.
    pub(super) fn check_read_only(&self) -> io::Result<()> {
        let read = |name: &str| fs_err::read(self.dir.join(name));
        let segments = match (read(LOCK_FILE), self.read_segments()) {
            (Ok(mark), _) if Mark::decode(&mark).is_some_and(|mark| mark.boot == self.boot) => return Ok(()),
            // Who may not look into the journal sees the files as a web server does.
            (Err(e), _) | (_, Err(e)) if e.kind() == ErrorKind::PermissionDenied => return Ok(()),
            (_, segments) => segments?,
        };
        let Some(replay) = replay(segments)? else { return Ok(()) };
        for ((area, key), what) in replay.files {
            let item = Item { area, key, what };
            if !self.is_as_told(&item)? {
                let fact = format!(
                    "`{}` is not what the journal says: open the directory once with the right to write",
                    item.key
                );
                return Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, fact));
            }
        }
        Ok(())
    }

    fn read_segments(&self) -> io::Result<[Option<Bytes>; 2]> {
        let read = |generation| match fs_err::read(self.segment_path(generation)) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        Ok([read(0)?, read(1)?])
    }

    fn is_as_told(&self, item: &Item) -> io::Result<bool> {
        let there = match fs_err::read(self.folder(item.area)?.path(&item.key)) {
            Ok(bytes) => Some(bytes),
            Err(e) if is_absent(&e) => None,
            Err(e) => return Err(e),
        };
        Ok(match &item.what {
            What::Write(bytes) => there.is_some_and(|there| there == *bytes),
            What::Delete => there.is_none(),
            What::Keep => true,
        })
    }
}
