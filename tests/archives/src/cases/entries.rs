//! Kinds of entries, and modes.

use drystone_schemas::Code;

use super::{Case, case, with};
use crate::raw::Raw;

pub(super) fn cases() -> Vec<Case> {
    use Code::*;
    let empty = |flag| with(&[Raw::new(b"p-1.0.0/a", flag, b"")]);
    let directory = |path: &str| Raw::new(path.as_bytes(), b'5', b"");
    let mode = |mode: &[u8]| with(&[Raw::file("p-1.0.0/a", b"x").with(100, mode)]);
    vec![
        case("directories", with(&[directory("p-1.0.0/d/"), directory("p-1.0.0/e")]), &[]),
        case("directory-twice", with(&[directory("p-1.0.0/d"), directory("p-1.0.0/d/")]), &[DuplicatePath]),
        case("directory-with-data", with(&[Raw::new(b"p-1.0.0/d/", b'5', b"x")]), &[TarHeader]),
        case("directory-outside", with(&[directory("../d/")]), &[UnsafePath]),
        case("old-style-file", with(&[Raw::new(b"p-1.0.0/a", 0, b"x")]), &[]),
        case("symlink", with(&[link("p-1.0.0/a", b'2', "/etc/passwd")]), &[EntryType]),
        case(
            "symlink-and-write-through",
            with(&[link("p-1.0.0/a", b'2', "/tmp"), Raw::file("p-1.0.0/a/b", b"x")]),
            &[EntryType],
        ),
        case("hardlink", with(&[link("p-1.0.0/a", b'1', "p-1.0.0/drystone.toml")]), &[EntryType]),
        case("hardlink-with-data", with(&[Raw::new(b"p-1.0.0/a", b'1', b"x")]), &[EntryType]),
        case("chardev", empty(b'3'), &[EntryType]),
        case("blockdev", empty(b'4'), &[EntryType]),
        case("fifo", empty(b'6'), &[EntryType]),
        case("contiguous", empty(b'7'), &[EntryType]),
        case("sparse-gnu", with(&[Raw::new(b"p-1.0.0/a", b'S', b"x").gnu()]), &[EntryType]),
        case("long-link", with(&[Raw::new(b"././@LongLink", b'K', b"a\0").gnu()]), &[EntryType]),
        case("volume-label", empty(b'V'), &[EntryType]),
        case("unknown-type", empty(b'Z'), &[EntryType]),
        case("file-with-link-target", with(&[link("p-1.0.0/a", b'0', "b")]), &[TarHeader]),
        case("executable", mode(b"0000755\0"), &[]),
        case("mode-with-file-type", mode(b"0100644\0"), &[]),
        case("mode-of-a-link", mode(b"0120777\0"), &[FileMode]),
        case("setuid", mode(b"0004755\0"), &[FileMode]),
        case("setgid", mode(b"0002755\0"), &[FileMode]),
        case("sticky", mode(b"0001644\0"), &[FileMode]),
    ]
}

fn link(path: &str, flag: u8, target: &str) -> Raw {
    Raw::new(path.as_bytes(), flag, b"").with(157, target.as_bytes())
}
