//! Extended headers: pax and GNU's long names.

use drystone_schemas::Code;

use super::{Case, case, cut, long, with};
use crate::raw::{Raw, long_name, pax};

pub(super) fn cases() -> Vec<Case> {
    use Code::*;
    let file = || Raw::file("p-1.0.0/a", b"x");
    let after = |extension: Raw| with(&[extension, file()]);
    let path = long(150);
    let long_file = || Raw::file(cut(&path), b"x");
    let evil = long(149) + "g";
    let mut unended = long_name("p-1.0.0/a");
    unended.data.pop();
    unended.put(124, format!("{:011o}\0", unended.data.len()).as_bytes());
    let mut padded = long_name("p-1.0.0/a");
    padded.data.resize(512, 1);
    vec![
        case("long-name", with(&[long_name(&path), long_file().gnu()]), &[]),
        case("long-name-in-ustar", with(&[long_name(&path).with(257, b"ustar\x0000"), long_file()]), &[]),
        case("long-name-without-nul", after(unended), &[PaxHeader]),
        case("long-name-with-nul-inside", after(long_name("p-1.0.0/a\0b")), &[PaxHeader]),
        case("long-name-empty", after(Raw::new(b"././@LongLink", b'L', b"").gnu()), &[PaxHeader]),
        case("long-name-of-another-file", after(long_name("p-1.0.0/b")), &[PaxHeader]),
        case("long-name-that-goes-on", after(long_name("p-1.0.0/a.exe")), &[PaxHeader]),
        case("long-name-padding", after(padded), &[TarHeader]),
        case("long-name-twice", with(&[long_name(&path), long_name(&evil), long_file()]), &[PaxHeader]),
        case("long-name-at-the-end", with(&[long_name(&path)]), &[PaxHeader]),
        case("long-name-not-utf8", after(Raw::new(b"././@LongLink", b'L', b"p\xff\0").gnu()), &[UnsafePath]),
        case("long-name-outside", with(&[long_name("../a"), Raw::file("../a", b"")]), &[UnsafePath]),
        case(
            "old-file-whose-short-name-is-a-directory",
            with(&[
                long_name(&format!("p-1.0.0/{}/a", "d".repeat(91))),
                Raw::new(format!("p-1.0.0/{}/", "d".repeat(91)).as_bytes(), 0, b"x").gnu(),
            ]),
            &[PaxHeader],
        ),
        case("pax-path", with(&[pax(b'x', &[&format!("path={path}")]), long_file()]), &[]),
        case("pax-path-python", with(&[pax(b'x', &["path=p-1.0.0/é"]), Raw::file("p-1.0.0/?", b"x")]), &[]),
        case("pax-path-go", with(&[pax(b'x', &["path=p-1.0.0/éa"]), Raw::file("p-1.0.0/a", b"x")]), &[]),
        case("pax-times", after(pax(b'x', &["mtime=1.5", "atime=2", "uname=me", "uid=1000"])), &[]),
        case("pax-size", after(pax(b'x', &["size=1"])), &[]),
        case("pax-path-override", after(pax(b'x', &["path=p-1.0.0/b"])), &[PaxHeader]),
        case("pax-dup-path", after(pax(b'x', &["path=p-1.0.0/a", "path=p-1.0.0/b"])), &[PaxHeader]),
        case("pax-size-bigger", after(pax(b'x', &["size=1024"])), &[PaxHeader]),
        case("pax-size-smaller", after(pax(b'x', &["size=0"])), &[PaxHeader]),
        case(
            "pax-size-then-long-name",
            with(&[pax(b'x', &["size=1024"]), long_name(&path), long_file()]),
            &[PaxHeader],
        ),
        case("pax-twice", with(&[pax(b'x', &["mtime=1"]), pax(b'x', &["mtime=2"]), file()]), &[PaxHeader]),
        case("pax-global-path", after(pax(b'g', &["path=p-1.0.0/b"])), &[PaxHeader]),
        case("pax-global-comment", after(pax(b'g', &["comment=0123"])), &[PaxHeader]),
        case("nul-in-pax", after(pax(b'x', &["path=p-1.0.0/a\0b"])), &[PaxHeader]),
        case("pax-link-target", after(pax(b'x', &["linkpath=/etc/passwd"])), &[PaxHeader]),
        case("pax-sparse", after(pax(b'x', &["GNU.sparse.major=1"])), &[PaxHeader]),
        case("pax-charset", after(pax(b'x', &["hdrcharset=BINARY"])), &[PaxHeader]),
        case("pax-deletes", after(pax(b'x', &["path="])), &[PaxHeader]),
        case("pax-garbage", after(Raw::new(b"x", b'x', b"9 path=ab\n")), &[PaxHeader]),
        case("pax-empty", after(Raw::new(b"x", b'x', b"")), &[PaxHeader]),
        case("pax-not-utf8", after(Raw::new(b"x", b'x', b"9 path=\xff\n")), &[PaxHeader]),
        case("pax-huge", after(pax(b'x', &[&format!("uname={}", "a".repeat(2000))])), &[PathTooLong]),
        case("pax-at-the-end", with(&[pax(b'x', &["mtime=1"])]), &[PaxHeader]),
        case("pax-outside", with(&[pax(b'x', &["path=../a"]), Raw::file("../a", b"")]), &[UnsafePath]),
    ]
}
