//! Archives that follow from any bytes: nearly right ones, with a few lies in fields that parsers look at.
//!
//! Owns: which archive a string of bytes stands for. Equal bytes give equal archives; bytes that run out give an
//! archive that is right from there on. Does not own: whether it is accepted.

use arbitrary::{Result, Unstructured};

use crate::{
    cases::{manifest, zig_manifest},
    raw::{GZIP_HEADER, Raw, deflate, gzip, long_name, member, pax},
};

/// Most entries that are chosen: enough for any two to interact, few enough to be fast.
const ENTRIES_MAX: usize = 6;

/// Parts of paths, each of which some parser or system treats in its own way.
const SEGMENTS: [&str; 24] = [
    "a",
    "b",
    "A",
    "src",
    "é",
    "e\u{301}",
    "日本語",
    "ß",
    "ss",
    "..",
    ".",
    "",
    "a.",
    "con",
    "?",
    "a\\b",
    "a b",
    ".git",
    "drystone.toml",
    "PaxHeaders",
    "ninety-bytes-of-a-name-that-fill-most-of-the-field-in-which-a-short-name-must-find-room-as-is",
    "long-directory/long-directory/long-directory/long-directory/long-directory/long-directory/long",
    "é-that-makes-a-cut-at-a-hundred-bytes-fall-into-a-character-ééééééééééééééééééééééééééééééééé",
    "\u{202e}",
];

/// First bytes of fields, and last ones, of a tar header.
const PLACES: [usize; 24] = [
    0, 8, 99, 100, 107, 108, 116, 124, 131, 134, 135, 136, 147, 148, 156, 157, 256, 257, 263, 265, 297, 329,
    345, 500,
];

/// What fields are overwritten with.
const LIES: [&[u8]; 16] = [
    b"\0",
    b"/",
    b" ",
    b"0",
    b"1",
    b"5",
    b"7",
    b"x",
    b"00000000777\0",
    b"           1",
    b"0000644 ",
    b"-1\0",
    b"\x80\0\0\0\0\0\0\x01",
    &[0xff; 12],
    b"ustar  \0",
    b"ustar\x0000",
];

/// Records of pax headers; `=` alone means that the path follows.
const RECORDS: [&str; 14] = [
    "path=",
    "path=",
    "size=0",
    "size=1",
    "size=512",
    "mtime=1.5",
    "uid=1000",
    "uname=",
    "linkpath=a",
    "GNU.sparse.major=1",
    "hdrcharset=BINARY",
    "comment=a",
    "SCHILY.xattr.a=b",
    "path=p-1.0.0/a\0b",
];

/// Contents: empty, of one block exactly, and others.
const CONTENTS: [&[u8]; 5] = [b"x", b"", &[7; 512], &[b'y'; 513], b"p-1.0.0/a"];

/// The archive that these bytes stand for.
pub fn archive(bytes: &[u8]) -> Vec<u8> {
    let mut choices = Unstructured::new(bytes);
    compressed(&mut choices, manifest()).expect("choices that run out are the first ones")
}

/// The same of a Zig package, wherever its root is.
pub fn zig_archive(bytes: &[u8]) -> Vec<u8> {
    let (root, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (usize::from(*first), rest));
    let path = ["build.zig.zon", "p-1.0.0/build.zig.zon", "q-1.0.0/build.zig.zon"][root % 3];
    let mut choices = Unstructured::new(rest);
    compressed(&mut choices, zig_manifest(path, "\"\"")).expect("choices that run out are the first ones")
}

fn compressed(u: &mut Unstructured<'_>, manifest: Raw) -> Result<Vec<u8>> {
    let tar = tar(u, manifest)?;
    // Most archives are read as far as their entries.
    Ok(match u.int_in_range(0..=31)? {
        1 => {
            member(&[&GZIP_HEADER[..3], &[8], &GZIP_HEADER[4..], b"a.crate\0"].concat(), &deflate(&tar), &tar)
        }
        2 => [gzip(&tar), gzip(&tar)].concat(),
        3 => {
            let mut bytes = gzip(&tar);
            let at = u.choose_index(bytes.len())?;
            bytes[at] ^= u.int_in_range(1..=255)?;
            bytes
        }
        4 => {
            let mut bytes = gzip(&tar);
            bytes.truncate(u.choose_index(bytes.len() + 1)?);
            bytes
        }
        5 => [&gzip(&tar), u.bytes(4).unwrap_or(b"\0\0\0\0")].concat(),
        6 => {
            // Two compressed blocks, the border anywhere.
            let (first, second) = tar.split_at(u.choose_index(tar.len() + 1)?);
            let stored = stored_block(&first[..first.len().min(0xffff)]);
            let rest = [&first[first.len().min(0xffff)..], second].concat();
            member(&GZIP_HEADER, &[stored, deflate(&rest)].concat(), &tar)
        }
        _ => gzip(&tar),
    })
}

/// A stored block that is not the last (RFC 1951, section 3.2.4).
fn stored_block(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("the caller cuts at what a block holds");
    [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes(), data].concat()
}

fn tar(u: &mut Unstructured<'_>, manifest: Raw) -> Result<Vec<u8>> {
    let mut entries = if u.int_in_range(0..=15)? == 1 { Vec::new() } else { vec![manifest] };
    for _ in 0..u.int_in_range(0..=ENTRIES_MAX)? {
        entry(u, &mut entries)?;
    }
    for _ in 0..u.int_in_range(0..=3)? {
        if !entries.is_empty() {
            let chosen = u.choose_index(entries.len())?;
            lie(u, &mut entries[chosen])?;
        }
    }
    let mut out: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
    if u.int_in_range(0..=15)? == 1 && !out.is_empty() {
        // Padding and content, where the checksum does not look.
        let at = u.choose_index(out.len())?;
        out[at] = u.arbitrary()?;
    }
    let zeros = *u.choose(&[1024, 1024, 1024, 10_240, 512, 0, 1280, 12 * 1024])?;
    out.resize(out.len() + zeros, 0);
    if u.int_in_range(0..=15)? == 1 {
        out.extend(Raw::file("p-1.0.0/after", b"x").bytes());
    }
    Ok(out)
}

fn path(u: &mut Unstructured<'_>) -> Result<String> {
    let root =
        *u.choose(&["p-1.0.0", "p-1.0.0", "p-1.0.0", "P-1.0.0", "q-1.0.0", "..", "", "p-1.0.0evil"])?;
    let mut path = root.to_owned();
    for _ in 0..u.int_in_range(1..=3)? {
        path.push('/');
        path.push_str(u.choose(&SEGMENTS)?);
    }
    Ok(path)
}

/// The name that a writer puts next to the whole path.
fn short(u: &mut Unstructured<'_>, path: &str) -> Result<Vec<u8>> {
    let cut = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
    Ok(match u.int_in_range(0..=7)? {
        1 => cut(&path.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>()),
        2 => cut(&path.chars().filter(char::is_ascii).collect::<String>()),
        3 => cut(u.choose(&SEGMENTS)?),
        4 => {
            let mut end = path.len().min(100);
            while !path.is_char_boundary(end) {
                end -= 1;
            }
            path.as_bytes()[..end].to_vec()
        }
        _ => cut(path),
    })
}

fn entry(u: &mut Unstructured<'_>, entries: &mut Vec<Raw>) -> Result<()> {
    let path = path(u)?;
    let content = *u.choose(&CONTENTS)?;
    let gnu = u.arbitrary()?;
    let styled = |raw: Raw| if gnu { raw.gnu() } else { raw };
    let kind = u.int_in_range(0..=15)?;
    match kind {
        1 | 2 => entries.push(styled(Raw::new(&cut_directory(&path), b'5', b""))),
        3..=5 => {
            entries.push(long_name(&path));
            let short = short(u, &path)?;
            entries.push(styled(Raw::new(&short, b'0', content)));
        }
        6..=9 => {
            let mut records = Vec::new();
            for _ in 0..u.int_in_range(1..=3)? {
                let record = *u.choose(&RECORDS)?;
                records.push(if record.ends_with('=') {
                    format!("{record}{path}")
                } else {
                    record.to_owned()
                });
            }
            let records: Vec<&str> = records.iter().map(|record| &**record).collect();
            entries.push(pax(if kind == 9 { b'g' } else { b'x' }, &records));
            let short = short(u, &path)?;
            entries.push(styled(Raw::new(&short, b'0', content)));
        }
        10 => entries.push(styled(Raw::new(path.as_bytes(), *u.choose(b"\x0012346567SKVMDZgxL")?, content))),
        11 => {
            // Split at a slash, as ustar does, or anywhere else.
            let at = path.find('/').unwrap_or(0);
            let (prefix, name) = path.split_at(at);
            let name = name.strip_prefix('/').unwrap_or(name);
            entries.push(styled(Raw::file(name, content).with(345, prefix.as_bytes())));
        }
        _ => entries.push(styled(Raw::file(&path, content))),
    }
    Ok(())
}

fn cut_directory(path: &str) -> Vec<u8> {
    [&path.as_bytes()[..path.len().min(99)], b"/"].concat()
}

fn lie(u: &mut Unstructured<'_>, raw: &mut Raw) -> Result<()> {
    let lie: &[u8] = if u.ratio(1, 4)? { &[u.arbitrary()?] } else { u.choose(&LIES)? };
    let at = if u.ratio(1, 4)? { u.choose_index(512)? } else { *u.choose(&PLACES)? };
    let at = at.min(512 - lie.len());
    raw.put(at, lie);
    // The checksum is right nearly always, or nothing else would be looked at.
    raw.sum = u.int_in_range(0..=31)? != 1;
    Ok(())
}
