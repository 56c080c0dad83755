//! Archives whose files lie at the top, as some languages' own tools pack them: what has no root directory to hide behind.

use drystone_schemas::Code;

use super::{Case, case};
use crate::raw::{Raw, archive, gzip, long_name, pax, tar};

/// The manifest of `p` 1.0.0, at the top.
fn manifest() -> Raw {
    Raw::file("drystone.toml", b"[package]\nname = 'p'\nversion = '1.0.0'\n")
}

fn with(entries: &[Raw]) -> Vec<u8> {
    archive(&[&[manifest()], entries].concat())
}

fn files(paths: &[&str]) -> Vec<u8> {
    with(&paths.iter().map(|path| Raw::file(path, b"x")).collect::<Vec<_>>())
}

/// All of them, for a registry whose language has flat archives.
pub fn flat() -> Vec<Case> {
    use Code::*;
    let refused = |name, path: &str| case(name, files(&[path]), &[UnsafePath]);
    let link = |flag| Raw::new(b"a", flag, b"").with(157, b"/tmp");
    let directory = |path: &str| Raw::new(path.as_bytes(), b'5', b"");
    let long = |length: usize| {
        let path = format!("{}{}", "twenty-letter-folder/".repeat(11), "f".repeat(length - 231));
        with(&[long_name(&path), Raw::file(&path[..100], b"x").gnu()])
    };
    let rooted = Raw::file("p-1.0.0/drystone.toml", &manifest().data);
    vec![
        case("flat-plain", files(&["a", "b/c", "p-1.0.0/a"]), &[]),
        case("flat-directories", with(&[directory("d/"), directory("e"), Raw::file("d/a", b"x")]), &[]),
        case("flat-executable", with(&[Raw::file("a", b"x").with(100, b"0000755\0")]), &[]),
        case("flat-manifest-below-as-well", with(std::slice::from_ref(&rooted)), &[]),
        case("flat-in-one-root", archive(&[rooted]), &[ManifestMissing]),
        case(
            "flat-manifest-in-other-case",
            archive(&[Raw::file("DRYSTONE.TOML", b"")]),
            &[ManifestAmbiguous],
        ),
        case("flat-manifest-in-two-cases", files(&["DRYSTONE.TOML"]), &[DuplicatePath]),
        case("flat-manifest-twice", with(&[manifest()]), &[DuplicatePath]),
        case(
            "flat-manifest-as-link",
            archive(&[Raw::new(b"drystone.toml", b'2', b"").with(157, b"a")]),
            &[EntryType],
        ),
        refused("flat-dot", "./a"),
        refused("flat-manifest-after-dot", "./drystone.toml"),
        refused("flat-dotdot", "../a"),
        refused("flat-dotdot-inside", "a/../../b"),
        refused("flat-absolute", "/etc/passwd"),
        refused("flat-drive", "C:/a"),
        refused("flat-backslash", "..\\a"),
        refused("flat-device-name", "con"),
        refused("flat-git", ".git/config"),
        refused("flat-not-nfc", "e\u{301}"),
        case("flat-root-directory-itself", with(&[directory("./")]), &[UnsafePath]),
        case("flat-symlink", with(&[link(b'2')]), &[EntryType]),
        case("flat-symlink-and-write-through", with(&[link(b'2'), Raw::file("a/b", b"x")]), &[EntryType]),
        case("flat-hardlink", with(&[link(b'1')]), &[EntryType]),
        case("flat-device", with(&[Raw::new(b"a", b'3', b"")]), &[EntryType]),
        case("flat-dup", files(&["a", "a"]), &[DuplicatePath]),
        case("flat-case-fold", files(&["README", "readme"]), &[DuplicatePath]),
        case("flat-case-fold-directory", files(&["src/a", "SRC/b"]), &[DuplicatePath]),
        case("flat-file-as-dir", files(&["a", "a/b"]), &[DuplicatePath]),
        case("flat-dir-as-file", files(&["a/b", "a"]), &[DuplicatePath]),
        case("flat-255-bytes", long(255), &[]),
        case("flat-256-bytes", long(256), &[PathTooLong]),
        case("flat-setuid", with(&[Raw::file("a", b"x").with(100, b"0004755\0")]), &[FileMode]),
        case("flat-pax-path", with(&[pax(b'x', &["path=é"]), Raw::file("a", b"x")]), &[PaxHeader]),
        case("flat-no-manifest", archive(&[Raw::file("a", b"x")]), &[ManifestMissing]),
        case("flat-two-members", [with(&[]), with(&[])].concat(), &[ArchiveTrailingData]),
        case(
            "flat-after-eof",
            gzip(&[tar(&[manifest()]), tar(&[Raw::file("b", b"x")])].concat()),
            &[ArchiveTrailingData],
        ),
    ]
}
