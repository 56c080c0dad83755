//! The journal against power failures, deaths and damage: what a disk and a process may leave behind, made on purpose.

mod death;
mod power;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;

use super::{
    Boot, Item, Sizes, What,
    format::{DATA_START, Header, Mark, RECORD_HEAD_BYTES},
    recover::replay,
};
use crate::{
    Body, Key, Meta, NewObject, Outcome, Replace, StoreError,
    contract::content_tag,
    fs::{
        create::create_round,
        disk::{Disk, Home},
        swap::{Swap, delete_round, swap_round},
        writer::Wait,
    },
};

/// Small enough that a test fills several segments.
const SMALL: Sizes = Sizes { segment_bytes: 16 << 10, growth_bytes: 1 << 10 };

/// What the files of both areas are.
type Files = BTreeMap<(usize, String), Bytes>;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A directory in memory where there is one: what is tested is the order of the calls, not the disk.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(dir: &Path, boot: u8) -> Result<[Disk; 2], StoreError> {
    let disks = Home::store(dir).open_as(Some([boot; 16] as Boot), SMALL)?;
    Ok(disks.try_into().ok().unwrap())
}

/// All files of both areas, but for those that the backend keeps for itself.
fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    for (area, name) in ["public", "vault"].into_iter().enumerate() {
        let root = dir.join(name);
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs_err::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    if !relative.starts_with('.') {
                        dirs.push(path);
                    }
                } else {
                    found.insert((area, relative), fs_err::read(path).unwrap().into());
                }
            }
        }
    }
    found
}

/// The same for a message: beginning and length of each file.
fn told(files: &Files) -> String {
    let one = |((area, name), bytes): (&(usize, String), &Bytes)| {
        let text = String::from_utf8_lossy(bytes);
        format!("{area}/{name}={}({})", text.split(' ').next().unwrap_or_default(), bytes.len())
    };
    files.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// One write, as a test makes it.
#[derive(Debug, Clone)]
enum Change {
    Put(&'static str, Bytes),
    Swap(&'static str, Bytes),
    Delete(&'static str),
}

impl Change {
    fn name(&self) -> &'static str {
        match self {
            Self::Put(name, _) | Self::Swap(name, _) | Self::Delete(name) => name,
        }
    }
}

/// Writes one round of one change. Whether it was done; an error if that is not known.
fn write(disks: &[Disk; 2], area: usize, before: &Files, change: &Change, wait: Wait) -> Result<bool, ()> {
    let (disk, key) = (&disks[area], key(change.name()));
    let announced = disk.writer.announce();
    match change {
        Change::Put(_, bytes) => {
            let object = NewObject { key, body: Body::Bytes(bytes.clone()), meta: Meta::PRIVATE };
            match create_round(disk, &[object], wait, announced).remove(0) {
                Ok(outcome) => Ok(outcome == Outcome::Created),
                Err(_) => Err(()),
            }
        }
        Change::Swap(name, bytes) => {
            let seen = before.get(&(area, (*name).to_owned())).map(|there| content_tag(there));
            let swap = Swap { key, seen, bytes: bytes.clone() };
            match swap_round(disk, &[swap], wait, announced).remove(0) {
                Ok(Replace::Replaced(_)) => Ok(true),
                Ok(Replace::Conflict) => Ok(false),
                Ok(Replace::Unknown(_)) | Err(_) => Err(()),
            }
        }
        Change::Delete(_) => delete_round(disk, &[key], announced).remove(0).map(|()| true).map_err(drop),
    }
}

/// The files after a change.
fn after(before: &Files, area: usize, change: &Change) -> Files {
    let mut files = before.clone();
    let name = (area, change.name().to_owned());
    match change {
        Change::Put(_, bytes) => _ = files.entry(name).or_insert_with(|| bytes.clone()),
        Change::Swap(_, bytes) => _ = files.insert(name, bytes.clone()),
        Change::Delete(_) => _ = files.remove(&name),
    }
    files
}

fn item(name: &str, what: What) -> Item {
    Item { area: 0, key: key(name), what }
}

/// The journal of a store, not opened yet.
fn journal(home: &Path, boot: u8) -> super::Journal {
    let reserve = Arc::<super::Reserve>::default();
    let folders = ["public", "vault"].map(|area| super::Folder::new(home.join(area), reserve.clone()).into());
    super::Journal::new(home, folders.into(), reserve, Some([boot; 16]), SMALL, Arc::default())
}

#[test]
fn a_record_is_whole_or_none() {
    let header = Header { generation: 3, first_seq: 7, salt: [9; 16] };
    let items =
        [item("a/b", What::Write("some bytes".into())), item("c", What::Delete), item("d", What::Keep)];
    let bytes = header.encode_record(7, 5, &items);
    let (head, record) = header.decode_record(&Bytes::from(bytes.clone())).unwrap();
    assert_eq!((head.seq, record.durable, &record.items[..]), (7, 5, &items[..]));
    for at in 0..head.record_bytes() {
        let mut broken = bytes.clone();
        broken[at] ^= 1;
        assert!(header.decode_record(&broken.into()).is_none(), "byte {at} was changed");
        assert!(header.decode_record(&Bytes::copy_from_slice(&bytes[..at])).is_none(), "{at} bytes are left");
    }
    let other = Header { salt: [8; 16], ..header };
    assert!(other.decode_record(&bytes.into()).is_none(), "of another segment");
}

#[test]
fn a_mark_and_a_header_are_whole_or_none() {
    let mark = Mark { boot: [1; 16], generation: 2, applied: 3, next_seq: 4, retired: 5, is_rotating: true };
    let bytes = mark.encode();
    assert_eq!(Mark::decode(&bytes), Some(mark));
    for at in 0..bytes.len() {
        let mut broken = bytes;
        broken[at] ^= 0x80;
        assert_eq!(Mark::decode(&broken), None, "byte {at}");
    }
    let old = Header { generation: 3, first_seq: 7, salt: [9; 16] };
    let new = Header { generation: 5, first_seq: 70, salt: [8; 16] };
    // A new header is written over one copy, and then over the other; at every byte one of them is whole.
    let (old_bytes, new_bytes) = (old.encode(), new.encode());
    for cut in 0..200 {
        let torn = [&new_bytes[..cut], &old_bytes[cut..]].concat();
        let first = Header::decode(&[torn.clone(), old_bytes.clone()].concat());
        assert!(first == Some(old) || (first == Some(new) && torn == new_bytes), "{cut}");
        assert_eq!(Header::decode(&[new_bytes.clone(), torn].concat()), Some(new), "{cut}");
    }
}

/// Two segments with a few records each, as files.
fn two_segments() -> (Header, [Vec<u8>; 2]) {
    let segment = |generation, first_seq, seqs: std::ops::Range<u64>| {
        let header = Header { generation, first_seq, salt: [generation as u8; 16] };
        let mut bytes = [header.encode(), header.encode()].concat();
        for seq in seqs {
            let write = item("p", What::Write(seq.to_string().into()));
            bytes.extend(header.encode_record(seq, seq, &[write]));
        }
        bytes.extend([0; 256]);
        (header, bytes)
    };
    let ((_, odd), (header, even)) = (segment(1, 0, 0..3), segment(2, 3, 3..6));
    (header, [even, odd])
}

fn replayed([even, odd]: &[Vec<u8>; 2]) -> Result<Option<Bytes>, String> {
    let told = replay([Some(even.clone().into()), Some(odd.clone().into())]).map_err(|e| e.to_string())?;
    Ok(told.and_then(|told| match told.files.get(&(0, key("p"))) {
        Some(What::Write(bytes)) => Some(bytes.clone()),
        _ => None,
    }))
}

#[test]
fn a_torn_end_is_an_end_and_damage_before_it_is_told() {
    let (header, whole) = two_segments();
    assert_eq!(replayed(&whole), Ok(Some("5".into())));
    let record_bytes = header.encode_record(3, 3, &[item("p", What::Write("3".into()))]).len();
    let at = |record: usize| DATA_START as usize + record * record_bytes + RECORD_HEAD_BYTES;
    for (segment, record, expected) in [
        (0, 2, Ok(Some("4".into()))),
        (0, 1, Err("the journal has a damaged record at seq 4".to_owned())),
        (0, 0, Err("the journal has a damaged record at seq 3".to_owned())),
        (1, 2, Err("the journal has a damaged record at seq 2".to_owned())),
    ] {
        let mut broken = whole.clone();
        broken[segment][at(record)] ^= 1;
        assert_eq!(replayed(&broken), expected, "segment {segment}, record {record}");
    }
    // A later record that was written before the torn one was durable is part of the torn end.
    let mut torn = whole.clone();
    let later = header.encode_record(5, 4, &[item("p", What::Write("5".into()))]);
    torn[0][DATA_START as usize + 2 * record_bytes..][..record_bytes].copy_from_slice(&later);
    torn[0][at(1)] ^= 1;
    assert_eq!(replayed(&torn), Ok(Some("3".into())));
    // A segment whose header is gone, or that is gone itself, is damage too.
    let mut headless = whole.clone();
    headless[1][..DATA_START as usize].fill(0);
    assert_eq!(replayed(&headless), Err("the journal has a segment whose header is not whole".to_owned()));
    let lost = replay([Some(whole[0].clone().into()), None]).map_err(|e| e.to_string());
    assert_eq!(lost.unwrap_err(), "the journal has lost a segment: there are [2]");
}

#[test]
fn a_damaged_journal_is_an_error_and_not_an_empty_one() {
    let dir = directory();
    let disks = open(dir.path(), 1).unwrap();
    for round in 0..3 {
        let change = Change::Swap("p", Bytes::from(format!("{round}")));
        assert_eq!(write(&disks, 1, &files(dir.path()), &change, Wait::Durable), Ok(true));
    }
    let odd = dir.path().join(".journal/odd");
    let mut bytes = fs_err::read(&odd).unwrap();
    bytes[DATA_START as usize + RECORD_HEAD_BYTES] ^= 1;
    fs_err::write(odd, bytes).unwrap();
    // Who was here since the machine was started relies on the files; after a power failure they cannot be relied on.
    assert!(open(dir.path(), 1).is_ok());
    let told = open(dir.path(), 2).err().expect("it is refused");
    assert!(matches!(told, StoreError::Damaged { .. }), "{told}");
}

#[test]
fn what_may_only_be_read_is_refused_if_it_has_to_be_replayed() {
    let dir = directory();
    let disks = open(dir.path(), 1).unwrap();
    let change = Change::Put("o/1", "one".into());
    assert_eq!(write(&disks, 0, &Files::new(), &change, Wait::Durable), Ok(true));
    let check = |boot| journal(dir.path(), boot).check_read_only();
    assert!(check(1).is_ok() && check(2).is_ok());
    fs_err::write(dir.path().join("public/o/1"), "").unwrap();
    assert!(check(1).is_ok(), "the machine has not been off since");
    let told = check(2).unwrap_err().to_string();
    assert!(told.contains("`o/1`") && told.contains("the right to write"), "{told}");
    drop(open(dir.path(), 2).unwrap());
    assert!(check(2).is_ok());
}
