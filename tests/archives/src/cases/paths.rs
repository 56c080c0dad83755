//! Paths: those that lead outside, that some system cannot write, or that meet another.

use drystone_schemas::Code;

use super::{Case, case, cut, files, long, manifest, with};
use crate::raw::{Raw, archive, long_name};

pub(super) fn cases() -> Vec<Case> {
    use Code::*;
    let unsafe_path = |name, path: &str| case(name, files(&[path]), &[UnsafePath]);
    let in_prefix = Raw::file("b", b"").with(345, b"p-1.0.0/a/../..");
    let deep = format!("p-1.0.0/{}a", "d/".repeat(40));
    let raw = |path: &[u8]| with(&[Raw::new(path, b'0', b"x")]);
    vec![
        case("plain", files(&["p-1.0.0/a", "p-1.0.0/b/c"]), &[]),
        case("unicode", files(&["p-1.0.0/日本語", "p-1.0.0/é"]), &[]),
        unsafe_path("abs-path", "/etc/passwd"),
        unsafe_path("abs-path-below-root", "/p-1.0.0/a"),
        unsafe_path("dotdot", "p-1.0.0/../../a"),
        unsafe_path("dotdot-at-once", "../a"),
        case("dotdot-in-ustar-prefix", with(&[in_prefix]), &[UnsafePath]),
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
        case("old-file-that-ends-in-slash", with(&[Raw::new(b"p-1.0.0/a/", 0, b"")]), &[UnsafePath]),
        case("no-name", with(&[Raw::new(b"", b'0', b"")]), &[UnsafePath]),
        case("non-utf8", raw(b"p-1.0.0/\xff"), &[UnsafePath]),
        case("nul-in-name", raw(b"p-1.0.0/a\0b"), &[TarHeader]),
        case("nfc-nfd", files(&["p-1.0.0/é", "p-1.0.0/e\u{301}"]), &[UnsafePath]),
        case("dup-exact", files(&["p-1.0.0/a", "p-1.0.0/a"]), &[DuplicatePath]),
        case("dup-manifest", with(&[manifest()]), &[DuplicatePath]),
        case("case-manifest", archive(&[Raw::file("p-1.0.0/DRYSTONE.TOML", b"")]), &[ManifestAmbiguous]),
        case("case-fold", files(&["p-1.0.0/README", "p-1.0.0/readme"]), &[DuplicatePath]),
        case("case-fold-directory", files(&["p-1.0.0/src/a", "p-1.0.0/SRC/b"]), &[DuplicatePath]),
        case("case-manifest-beside", files(&["p-1.0.0/DRYSTONE.TOML"]), &[DuplicatePath]),
        case("sharp-s", files(&["p-1.0.0/straße", "p-1.0.0/STRASSE"]), &[DuplicatePath]),
        case("ligature", files(&["p-1.0.0/ﬁ", "p-1.0.0/fi"]), &[DuplicatePath]),
        case("file-as-dir", files(&["p-1.0.0/a", "p-1.0.0/a/b"]), &[DuplicatePath]),
        case("dir-as-file", files(&["p-1.0.0/a/b", "p-1.0.0/a"]), &[DuplicatePath]),
        case("second-root", files(&["q-1.0.0/a"]), &[WrongRoot]),
        case("root-prefix-trick", files(&["p-1.0.0evil/a"]), &[WrongRoot]),
        case("root-in-other-case", files(&["P-1.0.0/a"]), &[WrongRoot]),
        case("no-root", files(&["a"]), &[WrongRoot]),
        case("file-named-as-root", files(&["p-1.0.0"]), &[WrongRoot]),
        case("too-deep", files(&[&deep]), &[PathTooLong]),
        case("65536-deep", with(&[long_name(&"d/".repeat(65_536)), Raw::file("d/d", b"")]), &[PathTooLong]),
        case("255-bytes", with(&[long_name(&long(255)), Raw::file(cut(&long(255)), b"x").gnu()]), &[]),
        case(
            "256-bytes",
            with(&[long_name(&long(256)), Raw::file(cut(&long(256)), b"x").gnu()]),
            &[PathTooLong],
        ),
        case(
            "many-problems-at-once",
            files(&["../a", "p-1.0.0/con", "q/a", "p-1.0.0/a", "p-1.0.0/A"]),
            &[UnsafePath, UnsafePath, WrongRoot, DuplicatePath],
        ),
        case(
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
