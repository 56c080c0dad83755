//! Raw archives, right and wrong, byte by byte; and listings to compare.

use std::io::{Read as _, Write as _};

use drystone_archive::{ArchiveError, ReadError, read_archive};
use drystone_schemas::{Limits, Sha256Digest};
use flate2::{Compression, Crc, write::DeflateEncoder};

/// A tar entry of which every byte can be set; [`Raw::file`] is a plain one.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) header: [u8; 512],
    pub(crate) data: Vec<u8>,
    /// Whether to compute the checksum when it is written.
    pub(crate) sum: bool,
}

impl Raw {
    pub(crate) fn new(path: &[u8], flag: u8, data: &[u8]) -> Self {
        let mut raw = Self { header: [0; 512], data: data.to_vec(), sum: true };
        raw.put(0, &path[..path.len().min(100)]);
        raw.put(100, b"0000644\0");
        raw.put(108, b"0000000\0");
        raw.put(116, b"0000000\0");
        raw.put(124, format!("{:011o}\0", data.len()).as_bytes());
        raw.put(136, b"00000000000\0");
        raw.put(156, &[flag]);
        raw.put(257, b"ustar\x0000");
        raw
    }

    pub(crate) fn file(path: &str, data: &[u8]) -> Self {
        Self::new(path.as_bytes(), b'0', data)
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    /// The header in GNU tar's variant.
    pub(crate) fn gnu(self) -> Self {
        self.with(257, b"ustar  \0")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = self.header;
        if self.sum {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let mut out = header.to_vec();
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

/// GNU tar's long name for the next entry.
pub(crate) fn long_name(path: &str) -> Raw {
    Raw::new(b"././@LongLink", b'L', format!("{path}\0").as_bytes()).gnu()
}

/// A pax header; each record as it stands but for its length.
pub(crate) fn pax(flag: u8, records: &[&str]) -> Raw {
    let mut data = String::new();
    for record in records {
        let mut length = record.len() + 3;
        while format!("{length} {record}\n").len() != length {
            length += 1;
        }
        data += &format!("{length} {record}\n");
    }
    Raw::new(b"p-1.0.0/PaxHeaders/x", flag, data.as_bytes())
}

pub(crate) fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
    out.extend_from_slice(&[0; 1024]);
    out
}

pub(crate) fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// A gzip member of parts: header, compressed data, and the trailer for the plain data.
pub(crate) fn member(header: &[u8], deflated: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(plain);
    [header, deflated, &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat()
}

pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    member(&GZIP_HEADER, &deflate(data), data)
}

/// An archive that holds the entries and nothing unusual around them.
pub(crate) fn archive(entries: &[Raw]) -> Vec<u8> {
    gzip(&tar(entries))
}

/// Path, length, digest, and whether it is executable.
pub(crate) type Listing = Vec<(String, u64, Sha256Digest, bool)>;

/// The files as this crate reads them.
pub(crate) fn ours(bytes: &[u8]) -> Result<Listing, Vec<ArchiveError>> {
    ours_within(bytes, &Limits::default())
}

pub(crate) fn ours_within(bytes: &[u8], limits: &Limits) -> Result<Listing, Vec<ArchiveError>> {
    let mut listing = Vec::new();
    let outcome = read_archive::<_, std::io::Error>(bytes, limits, &mut |entry, body| {
        let mut content = Vec::new();
        body.read_to_end(&mut content)?;
        let path = format!("{}/{}", entry.root, entry.path);
        listing.push((path, entry.size, Sha256Digest::of(&content), entry.executable));
        Ok(())
    });
    match outcome {
        Ok(facts) => {
            assert_eq!(facts.files, listing.len() as u64);
            assert_eq!(facts.unpacked, listing.iter().map(|file| file.1).sum::<u64>());
            assert_eq!(facts.size, bytes.len() as u64);
            Ok(listing)
        }
        Err(ReadError::Refused(errors)) => {
            assert!(!errors.is_empty());
            Err(errors)
        }
        Err(other) => panic!("memory does not fail: {other}"),
    }
}

/// Whether the `tar` and `flate2` crates, which Cargo unpacks with, see the same files.
pub(crate) fn lists_alike(bytes: &[u8], ours: &Listing) -> bool {
    let mut theirs = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries().expect("it opens") {
        let mut entry = entry.expect("it goes on");
        if entry.header().entry_type() == tar::EntryType::Directory {
            continue;
        }
        assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("it is UTF-8");
        let executable = entry.header().mode().expect("it has a mode") & 0o111 != 0;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it can be read");
        theirs.push((path, content.len() as u64, Sha256Digest::of(&content), executable));
    }
    theirs == *ours
}
