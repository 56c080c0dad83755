//! The gzip layer (RFC 1952): exactly one member, every byte accounted for.
//!
//! Owns: framing, checksums, and the bounds on compressed and expanded bytes. Does not own: what the bytes mean.
//! Invariant: the end is reported only after the CRC and length were compared and the source is at its end.

use std::io::Read;

use flate2::Crc;
use zlib_rs::{Inflate, InflateFlush, Status};

use crate::error::{ArchiveError, Fault};

/// Bytes of compressed input that are held at once: twice the window of deflate, see [`Gunzip::check_distances`].
const INPUT_BYTES: usize = 64 << 10;
/// Furthest that deflate refers back (RFC 1951, section 2).
const WINDOW_BYTES: usize = 1 << WINDOW_BITS;
/// The same as a power of two.
const WINDOW_BITS: u8 = 15;
/// Longest file name in the header; Cargo writes `name-version.crate`.
const FILE_NAME_BYTES_MAX: usize = 1024;
/// Expansion that is never looked at: small archives of empty files are legitimate.
const FREE_BYTES: u64 = 16 << 20;
/// Largest expansion beyond that; text compresses about 10 times, deflate at most 1,032 times.
const RATIO_MAX: u64 = 100;

const FLAG_FILE_NAME: u8 = 0x08;

/// A strict gzip reader in constant memory.
pub(crate) struct Gunzip<R> {
    source: R,
    source_bytes: u64,
    source_bytes_max: u64,
    at_end: bool,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    inflate: Inflate,
    crc: Crc,
    finished: bool,
    canonical_header: bool,
}

impl<R: Read> Gunzip<R> {
    /// Reads the header and the beginning of the data.
    pub(crate) fn new(source: R, source_bytes_max: u64) -> Result<Self, Fault> {
        let mut gunzip = Self {
            source,
            source_bytes: 0,
            source_bytes_max,
            at_end: false,
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            inflate: Inflate::new(false, WINDOW_BITS),
            crc: Crc::new(),
            finished: false,
            canonical_header: false,
        };
        gunzip.fill()?;
        gunzip.header()?;
        gunzip.fill()?;
        gunzip.check_distances()?;
        Ok(gunzip)
    }

    /// Whether the header is the one that [`pack`](crate::pack) writes.
    pub(crate) const fn canonical_header(&self) -> bool {
        self.canonical_header
    }

    /// Compressed bytes seen so far.
    pub(crate) const fn source_bytes(&self) -> u64 {
        self.source_bytes
    }

    /// Expands some bytes; 0 means that everything was read and proved whole.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        while !self.finished {
            if self.start == self.end {
                self.fill()?;
            }
            let (read_before, made_before) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(&self.input[self.start..self.end], out, InflateFlush::NoFlush)
                .map_err(|_| ArchiveError::Corrupt { what: "the compressed data is not valid" })?;
            let read = below_len(self.inflate.total_in() - read_before);
            let made = below_len(self.inflate.total_out() - made_before);
            self.start += read;
            self.crc.update(&out[..made]);
            let ratio = self.inflate.total_out() / self.inflate.total_in().max(1);
            if self.inflate.total_out() > FREE_BYTES && ratio > RATIO_MAX {
                return Err(ArchiveError::ExpandsTooMuch { ratio: RATIO_MAX }.into());
            }
            if status == Status::StreamEnd {
                self.trailer()?;
                self.finished = true;
            } else if read == 0 && made == 0 && self.start == self.end && self.at_end {
                return Err(ArchiveError::Truncated { place: "inside the compressed data" }.into());
            }
            if made > 0 {
                return Ok(made);
            }
        }
        Ok(0)
    }

    /// Moves what is left to the front and reads until the buffer is full or the source ends.
    fn fill(&mut self) -> Result<(), Fault> {
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.at_end && self.end < self.input.len() {
            let read = match self.source.read(&mut self.input[self.end..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            self.at_end = read == 0;
            self.end += read;
            self.source_bytes += read as u64;
            if self.source_bytes > self.source_bytes_max {
                return Err(ArchiveError::TarballTooBig { limit: self.source_bytes_max }.into());
            }
        }
        Ok(())
    }

    fn header(&mut self) -> Result<(), ArchiveError> {
        let head = &self.input[..self.end];
        if !head.starts_with(&[0x1f, 0x8b]) && head != [0x1f] {
            return Err(ArchiveError::NotAnArchive { found: looks_like(head) });
        }
        let truncated = || ArchiveError::Truncated { place: "inside the gzip header" };
        let fixed: &[u8; 10] = head.first_chunk().ok_or_else(truncated)?;
        let flags = fixed[3];
        if fixed[2] != 8 {
            return Err(ArchiveError::GzipHeader { what: "names a compression other than deflate" });
        }
        if flags & !FLAG_FILE_NAME != 0 {
            return Err(ArchiveError::GzipHeader {
                what: "has an extra field, comment, checksum or reserved flag",
            });
        }
        self.start = fixed.len();
        if flags & FLAG_FILE_NAME != 0 {
            let name = &head[fixed.len()..];
            let length = name.iter().take(FILE_NAME_BYTES_MAX + 1).position(|byte| *byte == 0);
            self.start += 1 + length.ok_or_else(|| {
                if name.len() > FILE_NAME_BYTES_MAX {
                    ArchiveError::GzipHeader { what: "has a file name of more than 1,024 bytes" }
                } else {
                    truncated()
                }
            })?;
        }
        self.canonical_header = *fixed == CANONICAL_HEADER;
        Ok(())
    }

    /// Refuses references to before the first byte.
    ///
    /// Some decoders read zeros there, others fail, so that one file would be two. Only the first [`WINDOW_BYTES`] of
    /// output can refer so far, and are expanded here on their own, so that it does not rest on what the decoder does
    /// while it streams. A stream that needs more than [`INPUT_BYTES`] for these is padded with empty blocks, which no
    /// compressor does.
    fn check_distances(&self) -> Result<(), ArchiveError> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut probe = Inflate::new(false, WINDOW_BITS);
        let status = probe
            .decompress(&self.input[self.start..self.end], &mut window, InflateFlush::Finish)
            .map_err(|_| ArchiveError::Corrupt { what: "the compressed data is not valid" })?;
        let seen = status == Status::StreamEnd || below_len(probe.total_out()) == window.len();
        if !seen && !self.at_end {
            return Err(ArchiveError::Corrupt { what: "the compressed data is padded" });
        }
        Ok(())
    }

    fn trailer(&mut self) -> Result<(), Fault> {
        self.fill()?;
        let rest = &self.input[..self.end];
        let (trailer, after): (&[u8; 8], _) =
            rest.split_first_chunk().ok_or(ArchiveError::Truncated { place: "inside the gzip trailer" })?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.sum() {
            return Err(ArchiveError::Corrupt { what: "the gzip checksum does not match" }.into());
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != self.crc.amount() {
            return Err(ArchiveError::Corrupt { what: "the gzip length does not match" }.into());
        }
        if after.starts_with(&[0x1f, 0x8b]) {
            return Err(ArchiveError::TrailingData { what: "a second gzip member follows the first" }.into());
        }
        // The buffer holds more than a trailer, so that an empty rest means the end of the source.
        if !after.is_empty() {
            return Err(ArchiveError::TrailingData { what: "bytes follow the gzip member" }.into());
        }
        Ok(())
    }
}

/// No flags, no time, best compression not claimed, operating system unknown.
pub(crate) const CANONICAL_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

fn below_len(count: u64) -> usize {
    usize::try_from(count).expect("a decoder moves no more bytes than its buffers hold")
}

fn looks_like(head: &[u8]) -> &'static str {
    const SIGNATURES: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x28\xb5\x2f\xfd", "zstandard data"),
        (b"\xfd7zXZ\0", "xz data"),
        (b"BZh", "bzip2 data"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"<", "a page or XML document"),
    ];
    let known = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature));
    match known {
        Some((_, name)) => name,
        None if head.is_empty() => "empty",
        None if head.get(257..262) == Some(b"ustar") => "an uncompressed tar archive",
        None => "something else",
    }
}
