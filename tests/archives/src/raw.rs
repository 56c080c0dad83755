//! Raw archives, right and wrong: every byte of a tar header and of the gzip member can be set.

use std::io::Write as _;

use flate2::{Compress, Compression, Crc, FlushCompress, write::DeflateEncoder};

/// A tar entry of which every byte can be set; [`Raw::file`] is a plain one.
#[derive(Clone)]
pub struct Raw {
    pub header: [u8; 512],
    pub data: Vec<u8>,
    /// Whether to compute the checksum when it is written.
    pub sum: bool,
}

impl Raw {
    /// An entry of any type, with a right header for a path of up to 100 bytes; more of it is cut off.
    pub fn new(path: &[u8], flag: u8, data: &[u8]) -> Self {
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

    /// A file, mode 0644.
    pub fn file(path: &str, data: &[u8]) -> Self {
        Self::new(path.as_bytes(), b'0', data)
    }

    /// Overwrites bytes of the header.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The same with these bytes of the header overwritten.
    #[must_use]
    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    /// The header in GNU tar's variant.
    #[must_use]
    pub fn gnu(self) -> Self {
        self.with(257, b"ustar  \0")
    }

    /// Header, data and padding.
    pub fn bytes(&self) -> Vec<u8> {
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
pub fn long_name(path: &str) -> Raw {
    Raw::new(b"././@LongLink", b'L', format!("{path}\0").as_bytes()).gnu()
}

/// A pax header; each record as it stands but for its length.
pub fn pax(flag: u8, records: &[&str]) -> Raw {
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

/// A tar stream of entries, ended as it must be.
pub fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
    out.extend_from_slice(&[0; 1024]);
    out
}

/// Deflate data (RFC 1951), the last block included.
pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// A gzip member of parts: header, compressed data, and the trailer for the plain data.
pub fn member(header: &[u8], deflated: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(plain);
    [header, deflated, &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat()
}

/// A gzip member of parts, each some bytes and then so many zeros, which are never held anywhere.
///
/// After a full flush nothing refers back, and the data end at a whole byte: a mebibyte of zeros is compressed once and
/// then repeated.
pub fn zeros(parts: &[(&[u8], u64)]) -> Vec<u8> {
    const PIECE: usize = 1 << 20;
    let piece = flushed(&vec![0; PIECE]);
    let mut piece_crc = Crc::new();
    piece_crc.update(&vec![0; PIECE]);
    let (mut out, mut crc) = (GZIP_HEADER.to_vec(), Crc::new());
    for (bytes, count) in parts {
        let rest = usize::try_from(count % PIECE as u64).expect("less than a piece");
        let beginning = [bytes, &vec![0; rest][..]].concat();
        out.extend(flushed(&beginning));
        crc.update(&beginning);
        for _ in 0..count / PIECE as u64 {
            out.extend_from_slice(&piece);
            crc.combine(&piece_crc);
        }
    }
    // The last block, empty, with the fixed code.
    out.extend([3, 0]);
    out.extend(crc.sum().to_le_bytes());
    out.extend(crc.amount().to_le_bytes());
    out
}

/// Deflate data that end at a whole byte and are not the last block.
fn flushed(bytes: &[u8]) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    deflate.compress_vec(bytes, &mut out, FlushCompress::Full).expect("valid parameters");
    assert_eq!(deflate.total_in(), bytes.len() as u64, "there was room for all");
    out
}

/// The gzip header without flags, name and time.
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A gzip member without anything unusual.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    member(&GZIP_HEADER, &deflate(data), data)
}

/// An archive that holds the entries and nothing unusual around them.
pub fn archive(entries: &[Raw]) -> Vec<u8> {
    gzip(&tar(entries))
}
