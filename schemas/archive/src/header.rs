//! One tar header block, 512 bytes, read in the only way in which every parser reads it, and the canonical one.
//!
//! Formats: POSIX ustar (IEEE Std 1003.1, "pax", ustar interchange format) and its GNU variant `ustar  \0` (GNU tar
//! manual, "Basic tar format"), whose fields from byte 345 on must be unused. Does not own: what follows the header.

/// Length of a block.
pub(crate) const BLOCK: usize = 512;
/// Longest content of the `name` field.
pub(crate) const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;
/// Sizes from here on do not fit the field: eight bytes to the power of eleven octal digits.
const SIZE_END: u64 = 1 << 33;

/// A raw block.
pub(crate) type Block = [u8; BLOCK];

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// GNU `L`: the data is the next entry's path.
    LongName,
    /// pax `x`: the data is records about the next entry.
    Pax,
    /// pax `g`: the data is records about all entries from here on.
    PaxGlobal,
    /// Something that has no place in a package.
    Other(&'static str),
}

/// A header whose every field has one reading.
#[derive(Debug)]
pub(crate) struct Header {
    /// Path, with the prefix in front.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mode: u64,
    /// When the file was written, in seconds since 1970, by its packer's account.
    pub(crate) modified: u64,
    /// Whether the type is written as NUL, which makes some parsers look for a slash at the end of the short name.
    pub(crate) old_style: bool,
}

/// The block is not a header, or not one that everybody reads alike: what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadHeader(pub(crate) &'static str);

impl Header {
    pub(crate) fn parse(block: &Block) -> Result<Self, BadHeader> {
        let gnu = match &block[257..265] {
            b"ustar\x0000" => false,
            b"ustar  \0" => true,
            _ => return Err(BadHeader("is not a ustar header")),
        };
        if !has_right_checksum(block) {
            return Err(BadHeader("has a wrong checksum"));
        }
        let (name, prefix) = (text(&block[..100])?, if gnu { b"" } else { text(&block[345..500])? });
        let unused = if gnu { &block[345..] } else { &block[500..] };
        if unused.iter().any(|byte| *byte != 0) {
            return Err(BadHeader("has bytes in fields that must be unused"));
        }
        let kind = kind(block[156]);
        let linked = !text(&block[157..257])?.is_empty();
        if linked && !matches!(kind, Kind::Other(_)) {
            return Err(BadHeader("has a link target though it is not a link"));
        }
        text(&block[265..297])?;
        text(&block[297..329])?;
        for field in [&block[329..337], &block[337..345]] {
            number(field)?;
        }
        for owner in [&block[108..116], &block[116..124]] {
            if !is_large_id(owner) {
                number(owner)?;
            }
        }
        let name = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        Ok(Self {
            name,
            kind,
            size: number(&block[124..136])?.ok_or(BadHeader("has no size"))?,
            mode: number(&block[100..108])?.unwrap_or(0),
            modified: number(&block[136..148])?.unwrap_or(0),
            old_style: block[156] == 0,
        })
    }
}

/// Whether the checksum field holds the checksum; only archives have that, old ones without magic too.
pub(crate) fn has_right_checksum(block: &Block) -> bool {
    number(&block[148..156]) == Ok(Some(checksum(block)))
}

const fn kind(flag: u8) -> Kind {
    match flag {
        0 | b'0' => Kind::File,
        b'5' => Kind::Directory,
        b'L' => Kind::LongName,
        b'x' => Kind::Pax,
        b'g' => Kind::PaxGlobal,
        b'1' => Kind::Other("hard link"),
        b'2' => Kind::Other("symbolic link"),
        b'3' => Kind::Other("character device"),
        b'4' => Kind::Other("block device"),
        b'6' => Kind::Other("named pipe"),
        b'7' => Kind::Other("contiguous file"),
        b'S' => Kind::Other("sparse file"),
        b'K' => Kind::Other("long link target"),
        b'V' => Kind::Other("volume label"),
        b'M' => Kind::Other("part of another volume's file"),
        b'D' => Kind::Other("directory dump"),
        _ => Kind::Other("entry of unknown type"),
    }
}

/// A text field: it ends at the first NUL or with the field, and only NULs follow.
fn text(field: &[u8]) -> Result<&[u8], BadHeader> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    if field[end..].iter().any(|byte| *byte != 0) {
        return Err(BadHeader("has bytes after the end of a text field"));
    }
    Ok(&field[..end])
}

/// A number field: spaces, octal digits, then at least one NUL or space and nothing else. None if it is all NUL.
///
/// Parsers differ in base-256 numbers, in signs, and in where a number without terminator ends.
fn number(field: &[u8]) -> Result<Option<u64>, BadHeader> {
    const BAD: BadHeader = BadHeader("has a number field that is not terminated octal digits");
    if field.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let field = field.trim_ascii_start();
    let digits = field.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let after = &field[digits..];
    if digits == 0 || after.is_empty() || after.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return Err(BAD);
    }
    Ok(Some(field[..digits].iter().fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0'))))
}

/// Whether an owner field is a positive base-256 number of up to 32 bits.
///
/// Directory services give user ids that octal digits cannot hold; GNU tar then writes this, every parser reads it
/// alike, and nobody uses the value.
fn is_large_id(field: &[u8]) -> bool {
    matches!(field, [0x80, 0, 0, 0, _, _, _, _])
}

/// The sum of the bytes, unsigned, with the checksum field taken as spaces.
fn checksum(block: &Block) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// Where a path is split into prefix and name: at the first slash after which at most 100 bytes are left.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME_BYTES {
        return Some(("", path));
    }
    let (at, _) = path.match_indices('/').find(|(at, _)| path.len() - at - 1 <= NAME_BYTES)?;
    (at <= PREFIX_BYTES).then(|| (&path[..at], &path[at + 1..]))
}

/// The canonical header blocks of a file: one header, or before it a pax header with the path where that is too long.
///
/// None if the size does not fit the field.
pub(crate) fn canonical(path: &str, size: u64, executable: bool) -> Option<Vec<u8>> {
    let mode = if executable { 0o755 } else { 0o644 };
    if let Some((prefix, name)) = split(path) {
        return Some(block(prefix, name, b'0', mode, size)?.to_vec());
    }
    let record = crate::pax::record("path", path);
    let mut end = NAME_BYTES;
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    // A slash at the end makes old parsers take a file for a directory.
    let name = path[..end].trim_end_matches('/');
    let mut blocks = block("", name, b'x', 0o644, record.len() as u64)?.to_vec();
    blocks.extend_from_slice(record.as_bytes());
    blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    blocks.extend_from_slice(&block("", name, b'0', mode, size)?);
    Some(blocks)
}

fn block(prefix: &str, name: &str, flag: u8, mode: u32, size: u64) -> Option<Block> {
    if size >= SIZE_END {
        return None;
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(156, &[flag]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    put(345, prefix.as_bytes());
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_reading() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    12 \0", Some(0o12)),
            (b"7 ", Some(7)),
            (b"77777777777\0", Some(SIZE_END - 1)),
            (b"\0\0\0", None),
        ] {
            assert_eq!(number(field), Ok(value));
        }
        for bad in [
            &b"0000644"[..],
            b"\x0012\0",
            b"12 3\0",
            b"8\0",
            b"-1\0",
            b"+1\0",
            b"0x1\0",
            b"   \0",
            b"\x80\0\0\x01",
        ] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn canonical_headers_read_back() {
        let long = format!("p-1.0.0/{}", "directory/".repeat(12)) + "file";
        for path in ["p-1.0.0/a", &*long, &"é".repeat(50)] {
            let block: Block = canonical(path, 5, true).expect("it fits").try_into().expect("one block");
            let header = Header::parse(&block).expect("it is valid");
            assert_eq!((&*header.name, header.size, header.mode), (path.as_bytes(), 5, 0o755));
        }
        assert_eq!(canonical(&format!("p/{}", "a".repeat(120)), 5, false).expect("it fits").len(), 3 * BLOCK);
        assert_eq!(canonical("a", SIZE_END, false), None);
    }
}
