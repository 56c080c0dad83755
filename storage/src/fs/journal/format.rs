//! The bytes of the journal: headers, records and the mark. Pure.
//!
//! Owns: how they are encoded, and when they count as whole. Does not own: where they lie.
//!
//! A segment is two copies of its header, [`HEADER_BYTES`] apart, and then records, each at a multiple of [`ALIGN`]. All
//! numbers are little-endian. Every digest is keyed by the segment's salt, which nobody outside knows, so that bytes that
//! somebody uploads cannot pass for a record, and what an older segment left in the file cannot either.
//!
//! Invariant: a record decodes only if all of its bytes are those that were encoded, in this segment, at this seq.

use bytes::{Bytes, BytesMut};
use ring::digest::{Context, SHA256};

use crate::Key;

/// Room for one copy of a header: a block of its own, so that a torn write spoils one copy only.
pub(super) const HEADER_BYTES: u64 = 4096;
/// Where the first record lies.
pub(super) const DATA_START: u64 = 2 * HEADER_BYTES;
/// Records start at multiples of this.
pub(super) const ALIGN: u64 = 64;
/// Length of the mark.
pub(super) const MARK_BYTES: usize = 80;

const SEGMENT_MAGIC: &[u8; 8] = b"DRYJRNL1";
const MARK_MAGIC: &[u8; 8] = b"DRYMARK1";
const RECORD_MAGIC: &[u8; 4] = b"rec1";
/// Length of what precedes a record's payload: magic, length, generation, seq, durable seq, digest.
pub(super) const RECORD_HEAD_BYTES: usize = 4 + 4 + 8 + 8 + 8 + DIGEST_BYTES;
const DIGEST_BYTES: usize = 16;
/// Length of what precedes an item's key: kind, area, length of the key, length of the bytes.
const ITEM_HEAD_BYTES: usize = 1 + 1 + 2 + 4;

/// Which start of the machine this is: what was not synced in another one may be lost.
pub(super) type Boot = [u8; 16];

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Its number; odd ones lie in one file, even ones in the other.
    pub(super) generation: u64,
    /// Seq of its first record; every record before it was durable when this was written.
    pub(super) first_seq: u64,
    /// Key of its digests.
    pub(super) salt: [u8; 16],
}

/// How far a process got, for the next one that takes the lock. Never synced: good only in the same start of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) boot: Boot,
    /// Segment in use.
    pub(super) generation: u64,
    /// End of the last record whose names were given, in bytes from the segment's start.
    pub(super) applied: u64,
    /// Seq of the record after it.
    pub(super) next_seq: u64,
    /// Newest segment that is needed no more, because the files that it names are durable themselves.
    pub(super) retired: u64,
    /// Whether the next segment is about to begin.
    pub(super) is_rotating: bool,
}

/// What a write does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fs) enum What {
    /// The file has these bytes.
    Write(Bytes),
    /// The file is gone.
    Delete,
    /// The file is there and durable by itself: it was too long for the journal.
    Keep,
}

/// One write of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fs) struct Item {
    /// Which of the journal's areas.
    pub(in crate::fs) area: u8,
    pub(in crate::fs) key: Key,
    pub(in crate::fs) what: What,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Every record before this seq was durable when this one was written.
    pub(super) durable: u64,
    pub(super) items: Vec<Item>,
}

/// A record's fixed part, before its digest is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordHead {
    pub(super) seq: u64,
    payload_bytes: usize,
}

impl RecordHead {
    /// Length of the record, without what fills it up to the next.
    pub(super) fn record_bytes(self) -> usize {
        RECORD_HEAD_BYTES + self.payload_bytes
    }
}

/// Rounds up to where the next record starts.
pub(super) fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN)
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        let digest = digest(&[&bytes]);
        bytes.extend_from_slice(&digest);
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    /// The newer of the two copies at the start of a segment that is whole; none if neither is.
    pub(super) fn decode(segment: &[u8]) -> Option<Self> {
        let copies = [0, HEADER_BYTES as usize];
        copies.iter().filter_map(|at| Self::decode_copy(segment.get(*at..)?)).max_by_key(|it| it.generation)
    }

    fn decode_copy(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let magic = fields.take::<8>()?;
        let header =
            Self { generation: fields.number()?, first_seq: fields.number()?, salt: fields.take::<16>()? };
        let whole = magic == *SEGMENT_MAGIC && fields.take::<DIGEST_BYTES>()? == digest(&[&bytes[..40]]);
        whole.then_some(header)
    }

    /// Encodes a record, filled up to where the next one starts.
    pub(super) fn encode_record(&self, seq: u64, durable: u64, items: &[Item]) -> Vec<u8> {
        let payload_bytes: usize = items.iter().map(Item::encoded_bytes).sum();
        let mut bytes = Vec::with_capacity(aligned((RECORD_HEAD_BYTES + payload_bytes) as u64) as usize);
        bytes.extend_from_slice(RECORD_MAGIC);
        let length = u32::try_from(payload_bytes).expect("a record is a small part of a segment");
        bytes.extend_from_slice(&length.to_le_bytes());
        for number in [self.generation, seq, durable] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let head_end = bytes.len();
        bytes.extend_from_slice(&[0; DIGEST_BYTES]);
        items.iter().for_each(|item| item.encode(&mut bytes));
        let digest = digest(&[&self.salt, &bytes[..head_end], &bytes[RECORD_HEAD_BYTES..]]);
        bytes[head_end..RECORD_HEAD_BYTES].copy_from_slice(&digest);
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
        bytes
    }

    /// Whether a record of this segment may start here, and how long it would be.
    pub(super) fn record_head(&self, bytes: &[u8]) -> Option<RecordHead> {
        let mut fields = Fields(bytes);
        let magic = fields.take::<4>()?;
        let payload_bytes = u32::from_le_bytes(fields.take::<4>()?) as usize;
        let generation = fields.number()?;
        let head = RecordHead { seq: fields.number()?, payload_bytes };
        (magic == *RECORD_MAGIC && generation == self.generation).then_some(head)
    }

    /// The record at the start of these bytes, if it is whole.
    pub(super) fn decode_record(&self, bytes: &Bytes) -> Option<(RecordHead, Record)> {
        let head = self.record_head(bytes)?;
        let whole = bytes.get(..head.record_bytes())?;
        let (fixed, payload) = whole.split_at(RECORD_HEAD_BYTES);
        let (fixed, expected) = fixed.split_at(RECORD_HEAD_BYTES - DIGEST_BYTES);
        if digest(&[&self.salt, fixed, payload]) != *expected {
            return None;
        }
        let durable = Fields(&fixed[24..]).number()?;
        let mut rest = bytes.slice(RECORD_HEAD_BYTES..head.record_bytes());
        let mut items = Vec::new();
        while !rest.is_empty() {
            items.push(Item::decode(&mut rest)?);
        }
        Some((head, Record { durable, items }))
    }
}

impl Item {
    /// Length in a record.
    pub(in crate::fs) fn encoded_bytes(&self) -> usize {
        let bytes = if let What::Write(bytes) = &self.what { bytes.len() } else { 0 };
        ITEM_HEAD_BYTES + self.key.as_str().len() + bytes
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, bytes): (u8, &[u8]) = match &self.what {
            What::Write(bytes) => (1, bytes),
            What::Delete => (2, &[]),
            What::Keep => (3, &[]),
        };
        let key = self.key.as_str().as_bytes();
        out.extend_from_slice(&[kind, self.area]);
        out.extend_from_slice(&u16::try_from(key.len()).expect("a key has a limit").to_le_bytes());
        out.extend_from_slice(&u32::try_from(bytes.len()).expect("an item has a limit").to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(bytes);
    }

    fn decode(rest: &mut Bytes) -> Option<Self> {
        let mut fields = Fields(rest);
        let [kind, area] = fields.take::<2>()?;
        let key_bytes = usize::from(u16::from_le_bytes(fields.take::<2>()?));
        let len = u32::from_le_bytes(fields.take::<4>()?) as usize;
        let end = ITEM_HEAD_BYTES + key_bytes + len;
        let key = std::str::from_utf8(rest.get(ITEM_HEAD_BYTES..ITEM_HEAD_BYTES + key_bytes)?).ok()?;
        let key = Key::new(key).ok()?;
        if rest.len() < end {
            return None;
        }
        let bytes = rest.split_to(end).split_off(ITEM_HEAD_BYTES + key_bytes);
        let what = match kind {
            1 => What::Write(bytes),
            2 => What::Delete,
            3 => What::Keep,
            _ => return None,
        };
        Some(Self { area, key, what })
    }
}

impl Mark {
    pub(super) fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = BytesMut::with_capacity(MARK_BYTES);
        bytes.extend_from_slice(MARK_MAGIC);
        bytes.extend_from_slice(&self.boot);
        for number in
            [self.generation, self.applied, self.next_seq, self.retired, u64::from(self.is_rotating)]
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let digest = digest(&[&bytes]);
        bytes.extend_from_slice(&digest);
        bytes[..].try_into().expect("the fields of a mark have its length")
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let magic = fields.take::<8>()?;
        let mark = Self {
            boot: fields.take::<16>()?,
            generation: fields.number()?,
            applied: fields.number()?,
            next_seq: fields.number()?,
            retired: fields.number()?,
            is_rotating: fields.number()? != 0,
        };
        let fixed = bytes.get(..MARK_BYTES - DIGEST_BYTES)?;
        let whole = magic == *MARK_MAGIC && fields.take::<DIGEST_BYTES>()? == digest(&[fixed]);
        whole.then_some(mark)
    }
}

/// The first half of a SHA-256: nobody gains by a collision in what nobody else can write.
fn digest(parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let whole = context.finish();
    whole.as_ref()[..DIGEST_BYTES].try_into().expect("a digest is longer")
}

/// Reads fixed fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn number(&mut self) -> Option<u64> {
        self.take::<8>().map(u64::from_le_bytes)
    }
}
