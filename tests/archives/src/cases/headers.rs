//! Fields of the tar header.

use drystone_schemas::Code;

use super::{Case, case, manifest, with};
use crate::raw::{Raw, archive, gzip, tar};

pub(super) fn cases() -> Vec<Case> {
    use Code::*;
    let file = || Raw::file("p-1.0.0/a", b"x");
    let changed = |at, bytes: &[u8]| with(&[file().with(at, bytes)]);
    let mut unsummed = file().with(148, b"000000\0 ");
    unsummed.sum = false;
    let mut padded = tar(&[manifest(), file()]);
    let at = padded.len() - 1024 - 1;
    padded[at] = 1;
    let v7 = Raw { sum: true, ..manifest().with(257, &[0; 8]) };
    vec![
        case("gnu-header", with(&[file().gnu()]), &[]),
        case("split-path", with(&[Raw::file("b", b"x").with(345, b"p-1.0.0/a")]), &[]),
        case("gnu-with-prefix", with(&[Raw::file("b", b"x").gnu().with(345, b"p-1.0.0/a")]), &[TarHeader]),
        case("v7-header-at-first", archive(std::slice::from_ref(&v7)), &[TarHeader]),
        case("v7-header-later", with(&[file().with(257, &[0; 8])]), &[TarHeader]),
        case("star-trailer", changed(508, b"tar\0"), &[TarHeader]),
        case("bad-checksum", with(&[unsummed]), &[TarHeader]),
        case("base256-size", changed(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), &[TarHeader]),
        case("neg-size", changed(124, &[0xff; 12]), &[TarHeader]),
        case("minus-size", changed(124, b"-0000000001\0"), &[TarHeader]),
        case("size-without-end", changed(124, b"000000000001"), &[TarHeader]),
        case("size-after-nul", changed(124, b"\x000000000001\0"), &[TarHeader]),
        case("size-in-two-parts", changed(124, b"0000 000001\0"), &[TarHeader]),
        case("no-size", changed(124, &[0; 12]), &[TarHeader]),
        case("size-with-spaces", changed(124, b"          1\0"), &[]),
        case("bad-mode", changed(100, b"rw-r--r-"), &[TarHeader]),
        case("bad-device", changed(329, b"9999999\0"), &[TarHeader]),
        case("base256-mtime", changed(136, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), &[TarHeader]),
        case("large-uid", changed(108, b"\x80\0\0\0\x7f\0\0\x01"), &[]),
        case("neg-uid", changed(108, &[0xff; 8]), &[TarHeader]),
        case("user-names", changed(265, b"root\0"), &[]),
        case("bytes-after-user-name", changed(265, b"root\0root"), &[TarHeader]),
        case("padding-not-zero", gzip(&padded), &[TarHeader]),
    ]
}
