//! Hostile archives, one row each: what is in it, and the codes of all its problems, or that it is accepted.

use std::collections::BTreeSet;

use drystone_archive::inspect;
use drystone_schemas::{Code, Format, Limits, PublishMetadata};

use crate::{
    build::{Raw, archive, gzip, lists_alike, long_name, ours, ours_within, pax, tar},
    layers::{ends, layers, too_far},
};

pub(crate) struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    /// Of all problems, in order; empty if the archive is accepted.
    codes: Vec<Code>,
}

pub(crate) fn row(name: &'static str, bytes: Vec<u8>, codes: &[Code]) -> Row {
    Row { name, bytes, codes: codes.to_vec() }
}

pub(crate) fn manifest() -> Raw {
    Raw::file("p-1.0.0/drystone.toml", b"[package]\nname = 'p'\nversion = '1.0.0'\n")
}

/// An archive of the manifest and more.
fn with(entries: &[Raw]) -> Vec<u8> {
    archive(&[&[manifest()], entries].concat())
}

fn files(paths: &[&str]) -> Vec<u8> {
    with(&paths.iter().map(|path| Raw::file(path, b"x")).collect::<Vec<_>>())
}

fn link(path: &str, flag: u8, target: &str) -> Raw {
    Raw::new(path.as_bytes(), flag, b"").with(157, target.as_bytes())
}

/// A path of `length` bytes.
fn long(length: usize) -> String {
    let mut path = "p-1.0.0/".to_owned();
    while path.len() + 21 < length {
        path += "twenty-letter-folder/";
    }
    let left = length - path.len();
    path + &"f".repeat(left)
}

/// The beginning of a path, as writers put it next to the whole.
fn cut(path: &str) -> &str {
    &path[..path.len().min(100)]
}

fn paths() -> Vec<Row> {
    use Code::*;
    let unsafe_path = |name, path: &str| row(name, files(&[path]), &[UnsafePath]);
    let in_prefix = Raw::file("b", b"").with(345, b"p-1.0.0/a/../..");
    let deep = format!("p-1.0.0/{}a", "d/".repeat(40));
    let raw = |path: &[u8]| with(&[Raw::new(path, b'0', b"x")]);
    vec![
        row("plain", files(&["p-1.0.0/a", "p-1.0.0/b/c"]), &[]),
        row("unicode", files(&["p-1.0.0/日本語", "p-1.0.0/é"]), &[]),
        unsafe_path("abs-path", "/etc/passwd"),
        unsafe_path("abs-path-below-root", "/p-1.0.0/a"),
        unsafe_path("dotdot", "p-1.0.0/../../a"),
        unsafe_path("dotdot-at-once", "../a"),
        row("dotdot-in-ustar-prefix", with(&[in_prefix]), &[UnsafePath]),
        unsafe_path("backslash", "p-1.0.0/a\\..\\b"),
        unsafe_path("drive", "C:evil"),
        unsafe_path("dup-dot", "./p-1.0.0/drystone.toml"),
        unsafe_path("dup-slashslash", "p-1.0.0//drystone.toml"),
        unsafe_path("newline", "p-1.0.0/a\nb"),
        unsafe_path("escape", "p-1.0.0/\x1b[31m"),
        unsafe_path("rtl-override", "p-1.0.0/\u{202e}txt.exe"),
        unsafe_path("zero-width", "p-1.0.0/a\u{200b}"),
        unsafe_path("win-con", "p-1.0.0/CON.txt"),
        unsafe_path("win-superscript", "p-1.0.0/com¹"),
        unsafe_path("win-trailing-dot", "p-1.0.0/a./b"),
        unsafe_path("win-trailing-space", "p-1.0.0/a "),
        unsafe_path("win-ads", "p-1.0.0/a::$DATA"),
        unsafe_path("git", "p-1.0.0/.GIT/hooks/post-checkout"),
        unsafe_path("not-nfc", "p-1.0.0/e\u{301}"),
        unsafe_path("file-that-ends-in-slash", "p-1.0.0/a/"),
        row("old-file-that-ends-in-slash", with(&[Raw::new(b"p-1.0.0/a/", 0, b"")]), &[UnsafePath]),
        row("no-name", with(&[Raw::new(b"", b'0', b"")]), &[UnsafePath]),
        row("non-utf8", raw(b"p-1.0.0/\xff"), &[UnsafePath]),
        row("nul-in-name", raw(b"p-1.0.0/a\0b"), &[TarHeader]),
        row("nfc-nfd", files(&["p-1.0.0/é", "p-1.0.0/e\u{301}"]), &[UnsafePath]),
        row("dup-exact", files(&["p-1.0.0/a", "p-1.0.0/a"]), &[DuplicatePath]),
        row("dup-manifest", with(&[manifest()]), &[DuplicatePath]),
        row("case-fold", files(&["p-1.0.0/README", "p-1.0.0/readme"]), &[DuplicatePath]),
        row("case-fold-directory", files(&["p-1.0.0/src/a", "p-1.0.0/SRC/b"]), &[DuplicatePath]),
        row("case-manifest-beside", files(&["p-1.0.0/DRYSTONE.TOML"]), &[DuplicatePath]),
        row("sharp-s", files(&["p-1.0.0/straße", "p-1.0.0/STRASSE"]), &[DuplicatePath]),
        row("ligature", files(&["p-1.0.0/ﬁ", "p-1.0.0/fi"]), &[DuplicatePath]),
        row("file-as-dir", files(&["p-1.0.0/a", "p-1.0.0/a/b"]), &[DuplicatePath]),
        row("dir-as-file", files(&["p-1.0.0/a/b", "p-1.0.0/a"]), &[DuplicatePath]),
        row("second-root", files(&["q-1.0.0/a"]), &[WrongRoot]),
        row("root-prefix-trick", files(&["p-1.0.0evil/a"]), &[WrongRoot]),
        row("root-in-other-case", files(&["P-1.0.0/a"]), &[WrongRoot]),
        row("no-root", files(&["a"]), &[WrongRoot]),
        row("file-named-as-root", files(&["p-1.0.0"]), &[WrongRoot]),
        row("too-deep", files(&[&deep]), &[PathTooLong]),
        row("65536-deep", with(&[long_name(&"d/".repeat(65_536)), Raw::file("d/d", b"")]), &[PathTooLong]),
        row("255-bytes", with(&[long_name(&long(255)), Raw::file(cut(&long(255)), b"x").gnu()]), &[]),
        row(
            "256-bytes",
            with(&[long_name(&long(256)), Raw::file(cut(&long(256)), b"x").gnu()]),
            &[PathTooLong],
        ),
        row(
            "many-problems-at-once",
            files(&["../a", "p-1.0.0/con", "q/a", "p-1.0.0/a", "p-1.0.0/A"]),
            &[UnsafePath, UnsafePath, WrongRoot, DuplicatePath],
        ),
        row(
            "more-problems-than-anybody-reads",
            files(
                &(0..100)
                    .map(|i| format!("../{i}"))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(|s| &**s)
                    .collect::<Vec<_>>(),
            ),
            &[UnsafePath; 20],
        ),
    ]
}

fn entries() -> Vec<Row> {
    use Code::*;
    let empty = |flag| with(&[Raw::new(b"p-1.0.0/a", flag, b"")]);
    let directory = |path: &str| Raw::new(path.as_bytes(), b'5', b"");
    let mode = |mode: &[u8]| with(&[Raw::file("p-1.0.0/a", b"x").with(100, mode)]);
    vec![
        row("directories", with(&[directory("p-1.0.0/d/"), directory("p-1.0.0/e")]), &[]),
        row("directory-twice", with(&[directory("p-1.0.0/d"), directory("p-1.0.0/d/")]), &[DuplicatePath]),
        row("directory-with-data", with(&[Raw::new(b"p-1.0.0/d/", b'5', b"x")]), &[TarHeader]),
        row("directory-outside", with(&[directory("../d/")]), &[UnsafePath]),
        row("old-style-file", with(&[Raw::new(b"p-1.0.0/a", 0, b"x")]), &[]),
        row("symlink", with(&[link("p-1.0.0/a", b'2', "/etc/passwd")]), &[EntryType]),
        row(
            "symlink-and-write-through",
            with(&[link("p-1.0.0/a", b'2', "/tmp"), Raw::file("p-1.0.0/a/b", b"x")]),
            &[EntryType],
        ),
        row("hardlink", with(&[link("p-1.0.0/a", b'1', "p-1.0.0/drystone.toml")]), &[EntryType]),
        row("hardlink-with-data", with(&[Raw::new(b"p-1.0.0/a", b'1', b"x")]), &[EntryType]),
        row("chardev", empty(b'3'), &[EntryType]),
        row("blockdev", empty(b'4'), &[EntryType]),
        row("fifo", empty(b'6'), &[EntryType]),
        row("contiguous", empty(b'7'), &[EntryType]),
        row("sparse-gnu", with(&[Raw::new(b"p-1.0.0/a", b'S', b"x").gnu()]), &[EntryType]),
        row("long-link", with(&[Raw::new(b"././@LongLink", b'K', b"a\0").gnu()]), &[EntryType]),
        row("volume-label", empty(b'V'), &[EntryType]),
        row("unknown-type", empty(b'Z'), &[EntryType]),
        row("file-with-link-target", with(&[link("p-1.0.0/a", b'0', "b")]), &[TarHeader]),
        row("executable", mode(b"0000755\0"), &[]),
        row("mode-with-file-type", mode(b"0100644\0"), &[]),
        row("mode-of-a-link", mode(b"0120777\0"), &[FileMode]),
        row("setuid", mode(b"0004755\0"), &[FileMode]),
        row("setgid", mode(b"0002755\0"), &[FileMode]),
        row("sticky", mode(b"0001644\0"), &[FileMode]),
    ]
}

fn headers() -> Vec<Row> {
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
        row("gnu-header", with(&[file().gnu()]), &[]),
        row("split-path", with(&[Raw::file("b", b"x").with(345, b"p-1.0.0/a")]), &[]),
        row("gnu-with-prefix", with(&[Raw::file("b", b"x").gnu().with(345, b"p-1.0.0/a")]), &[TarHeader]),
        row("v7-header-at-first", archive(std::slice::from_ref(&v7)), &[TarHeader]),
        row("v7-header-later", with(&[file().with(257, &[0; 8])]), &[TarHeader]),
        row("star-trailer", changed(508, b"tar\0"), &[TarHeader]),
        row("bad-checksum", with(&[unsummed]), &[TarHeader]),
        row("base256-size", changed(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), &[TarHeader]),
        row("neg-size", changed(124, &[0xff; 12]), &[TarHeader]),
        row("minus-size", changed(124, b"-0000000001\0"), &[TarHeader]),
        row("size-without-end", changed(124, b"000000000001"), &[TarHeader]),
        row("size-after-nul", changed(124, b"\x000000000001\0"), &[TarHeader]),
        row("size-in-two-parts", changed(124, b"0000 000001\0"), &[TarHeader]),
        row("no-size", changed(124, &[0; 12]), &[TarHeader]),
        row("size-with-spaces", changed(124, b"          1\0"), &[]),
        row("bad-mode", changed(100, b"rw-r--r-"), &[TarHeader]),
        row("bad-device", changed(329, b"9999999\0"), &[TarHeader]),
        row("base256-mtime", changed(136, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), &[TarHeader]),
        row("large-uid", changed(108, b"\x80\0\0\0\x7f\0\0\x01"), &[]),
        row("neg-uid", changed(108, &[0xff; 8]), &[TarHeader]),
        row("user-names", changed(265, b"root\0"), &[]),
        row("bytes-after-user-name", changed(265, b"root\0root"), &[TarHeader]),
        row("padding-not-zero", gzip(&padded), &[TarHeader]),
    ]
}

fn extensions() -> Vec<Row> {
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
        row("long-name", with(&[long_name(&path), long_file().gnu()]), &[]),
        row("long-name-in-ustar", with(&[long_name(&path).with(257, b"ustar\x0000"), long_file()]), &[]),
        row("long-name-without-nul", after(unended), &[PaxHeader]),
        row("long-name-with-nul-inside", after(long_name("p-1.0.0/a\0b")), &[PaxHeader]),
        row("long-name-empty", after(Raw::new(b"././@LongLink", b'L', b"").gnu()), &[PaxHeader]),
        row("long-name-of-another-file", after(long_name("p-1.0.0/b")), &[PaxHeader]),
        row("long-name-that-goes-on", after(long_name("p-1.0.0/a.exe")), &[PaxHeader]),
        row("long-name-padding", after(padded), &[TarHeader]),
        row("long-name-twice", with(&[long_name(&path), long_name(&evil), long_file()]), &[PaxHeader]),
        row("long-name-at-the-end", with(&[long_name(&path)]), &[PaxHeader]),
        row("long-name-not-utf8", after(Raw::new(b"././@LongLink", b'L', b"p\xff\0").gnu()), &[UnsafePath]),
        row("long-name-outside", with(&[long_name("../a"), Raw::file("../a", b"")]), &[UnsafePath]),
        row(
            "old-file-whose-short-name-is-a-directory",
            with(&[
                long_name(&format!("p-1.0.0/{}/a", "d".repeat(91))),
                Raw::new(format!("p-1.0.0/{}/", "d".repeat(91)).as_bytes(), 0, b"x").gnu(),
            ]),
            &[PaxHeader],
        ),
        row("pax-path", with(&[pax(b'x', &[&format!("path={path}")]), long_file()]), &[]),
        row("pax-path-python", with(&[pax(b'x', &["path=p-1.0.0/é"]), Raw::file("p-1.0.0/?", b"x")]), &[]),
        row("pax-path-go", with(&[pax(b'x', &["path=p-1.0.0/éa"]), Raw::file("p-1.0.0/a", b"x")]), &[]),
        row("pax-times", after(pax(b'x', &["mtime=1.5", "atime=2", "uname=me", "uid=1000"])), &[]),
        row("pax-size", after(pax(b'x', &["size=1"])), &[]),
        row("pax-path-override", after(pax(b'x', &["path=p-1.0.0/b"])), &[PaxHeader]),
        row("pax-dup-path", after(pax(b'x', &["path=p-1.0.0/a", "path=p-1.0.0/b"])), &[PaxHeader]),
        row("pax-size-bigger", after(pax(b'x', &["size=1024"])), &[PaxHeader]),
        row("pax-size-smaller", after(pax(b'x', &["size=0"])), &[PaxHeader]),
        row(
            "pax-size-then-long-name",
            with(&[pax(b'x', &["size=1024"]), long_name(&path), long_file()]),
            &[PaxHeader],
        ),
        row("pax-twice", with(&[pax(b'x', &["mtime=1"]), pax(b'x', &["mtime=2"]), file()]), &[PaxHeader]),
        row("pax-global-path", after(pax(b'g', &["path=p-1.0.0/b"])), &[PaxHeader]),
        row("pax-global-comment", after(pax(b'g', &["comment=0123"])), &[PaxHeader]),
        row("nul-in-pax", after(pax(b'x', &["path=p-1.0.0/a\0b"])), &[PaxHeader]),
        row("pax-link-target", after(pax(b'x', &["linkpath=/etc/passwd"])), &[PaxHeader]),
        row("pax-sparse", after(pax(b'x', &["GNU.sparse.major=1"])), &[PaxHeader]),
        row("pax-charset", after(pax(b'x', &["hdrcharset=BINARY"])), &[PaxHeader]),
        row("pax-deletes", after(pax(b'x', &["path="])), &[PaxHeader]),
        row("pax-garbage", after(Raw::new(b"x", b'x', b"9 path=ab\n")), &[PaxHeader]),
        row("pax-empty", after(Raw::new(b"x", b'x', b"")), &[PaxHeader]),
        row("pax-not-utf8", after(Raw::new(b"x", b'x', b"9 path=\xff\n")), &[PaxHeader]),
        row("pax-huge", after(pax(b'x', &[&format!("uname={}", "a".repeat(2000))])), &[PathTooLong]),
        row("pax-at-the-end", with(&[pax(b'x', &["mtime=1"])]), &[PaxHeader]),
        row("pax-outside", with(&[pax(b'x', &["path=../a"]), Raw::file("../a", b"")]), &[UnsafePath]),
    ]
}

fn rows() -> Vec<Row> {
    [paths(), entries(), headers(), extensions(), ends(), layers()].into_iter().flatten().collect()
}

#[test]
fn every_hostile_archive_gets_its_codes() {
    let mut wrong = Vec::new();
    for Row { name, bytes, codes } in rows() {
        let found = ours(&bytes);
        let found_codes: Vec<_> =
            found.as_ref().err().into_iter().flatten().map(|error| error.code()).collect();
        if found_codes != codes {
            wrong.push(format!("{name}: {found_codes:?} instead of {codes:?}"));
        } else if let Ok(listing) = found {
            assert!(lists_alike(&bytes, &listing), "{name}");
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn inspection_reports_them_too() {
    for Row { name, bytes, codes } in rows() {
        let inspected =
            inspect(&*bytes, &Limits::default(), "drystone.toml", &Format::ALL, &PublishMetadata::default());
        let found: Vec<_> = inspected.err().into_iter().flatten().map(|problem| problem.code).collect();
        assert!(found.starts_with(&codes) && found.is_empty() == codes.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn every_code_of_archives_has_a_row() {
    let mut seen: BTreeSet<Code> = rows().into_iter().flat_map(|row| row.codes).collect();
    seen.extend(limited().into_iter().map(|(_, _, code)| code));
    let all = Code::ALL.iter().copied().filter(|code| code.number().starts_with("DRY02"));
    assert_eq!(all.filter(|code| !seen.contains(code)).collect::<Vec<_>>(), []);
}

#[test]
fn the_unchecked_reference_really_has_two_readings() {
    let bytes = too_far(&tar(&[manifest()]));
    // Cargo's own decoder reads it; the same bytes are an error for others.
    let path = "p-1.0.0/drystone.toml".to_owned();
    let data = manifest().data;
    let listing = vec![(path, data.len() as u64, drystone_schemas::Sha256Digest::of(&data), false)];
    assert!(lists_alike(&bytes, &listing));
}

/// Archives that only break a limit: the limit, the archive, the code.
fn limited() -> Vec<(Limits, Vec<u8>, Code)> {
    let limits = Limits::default;
    let three = files(&["p-1.0.0/a", "p-1.0.0/b"]);
    let size = three.len() as u64;
    vec![
        (Limits { files_max: 2, ..limits() }, three.clone(), Code::TooManyFiles),
        (Limits { tarball_bytes_max: size - 1, ..limits() }, three.clone(), Code::TarballTooBig),
        (Limits { unpacked_bytes_max: 40, ..limits() }, three.clone(), Code::UnpackedTooBig),
        (Limits { path_bytes_max: 20, ..limits() }, three.clone(), Code::PathTooLong),
        (Limits { depth_max: 0, ..limits() }, three, Code::PathTooLong),
    ]
}

#[test]
fn limits_are_exact() {
    for (limits, bytes, code) in limited() {
        let codes: Vec<_> =
            ours_within(&bytes, &limits).expect_err("over the limit").iter().map(|e| e.code()).collect();
        assert!(codes.iter().all(|found| *found == code), "{codes:?}");
        let roomy = Limits {
            files_max: limits.files_max.max(3),
            tarball_bytes_max: limits.tarball_bytes_max.max(bytes.len() as u64),
            unpacked_bytes_max: limits.unpacked_bytes_max.max(manifest().data.len() as u64 + 2),
            path_bytes_max: limits.path_bytes_max.max(21),
            depth_max: limits.depth_max.max(1),
            ..limits
        };
        assert!(ours_within(&bytes, &roomy).is_ok());
    }
}

#[test]
fn one_file_more_than_the_default_limit_is_too_many() {
    let entries: Vec<_> =
        (0..=Limits::default().files_max).map(|i| Raw::file(&format!("p-1.0.0/{i}"), b"")).collect();
    let codes: Vec<_> =
        ours(&archive(&entries)).expect_err("too many").iter().map(|error| error.code()).collect();
    assert_eq!(codes, [Code::TooManyFiles]);
}
