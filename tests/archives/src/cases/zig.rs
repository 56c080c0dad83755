//! Zig packages that do not lie in `name-version/`, and are packed anew: what must not slip through on the way.

use drystone_schemas::Code;

use super::{Case, case};
use crate::raw::{Raw, archive, long_name};

/// A `build.zig.zon` of `p` 1.0.0, with these `.paths`, anywhere.
pub fn zig_manifest(path: &str, paths: &str) -> Raw {
    let mut crc = flate2::Crc::new();
    crc.update(b"p");
    let fingerprint = u64::from(crc.sum()) << 32 | 7;
    let text = format!(
        ".{{ .name = .p, .version = \"1.0.0\", .fingerprint = {fingerprint:#x}, .paths = .{{ {paths} }} }}\n"
    );
    Raw::file(path, text.as_bytes())
}

/// The manifest, and files beside it, below this prefix.
fn below(prefix: &str, entries: &[Raw]) -> Vec<u8> {
    archive(&[&[zig_manifest(&format!("{prefix}build.zig.zon"), "\"\"")], entries].concat())
}

fn files(paths: &[&str]) -> Vec<u8> {
    below("", &paths.iter().map(|path| Raw::file(path, b"x")).collect::<Vec<_>>())
}

/// All of them, for a publish of the format `zig`. Those that are accepted are stored in `p-1.0.0/`.
pub fn zig() -> Vec<Case> {
    use Code::*;
    let file = |path: &str| Raw::file(path, b"x");
    let link = |flag| Raw::new(b"a", flag, b"").with(157, b"/tmp");
    let directory = |path: &str| Raw::new(path.as_bytes(), b'5', b"");
    let long = format!("{}{}", "twenty-letter-folder/".repeat(11), "f".repeat(19));
    let other = |path: &str| Raw::file(path, b".{ this is the manifest of somebody else");
    let vendored =
        [other("a/build.zig.zon"), other("b/build.zig.zon"), zig_manifest("build.zig.zon", "\"\"")];
    vec![
        case("zig-canonical", below("p-1.0.0/", &[file("p-1.0.0/src/a")]), &[]),
        case("zig-flat", files(&["build.zig", "src/a"]), &[]),
        case("zig-flat-executable", below("", &[file("a").with(100, b"0000755\0")]), &[]),
        case("zig-flat-with-directories", below("", &[directory("src/"), file("src/a")]), &[]),
        case("zig-other-root", below("anything/", &[file("anything/src/a")]), &[]),
        case("zig-root-in-other-case", below("P-1.0.0/", &[file("P-1.0.0/a")]), &[]),
        case("zig-other-root-with-directories", below("q/", &[directory("q/"), directory("q/d/")]), &[]),
        case("zig-manifests-of-others-before-its-own", archive(&vendored), &[]),
        case("zig-another-format-beside", files(&["Cargo.toml", "drystone.toml"]), &[]),
        case("zig-two-roots", below("a/", &[file("b/x")]), &[WrongRoot]),
        case("zig-empty-directory-beside-the-root", below("a/", &[directory("b/")]), &[WrongRoot]),
        case("zig-file-beside-the-root", below("a/", &[file("b")]), &[WrongRoot]),
        case("zig-manifest-too-deep", below("a/b/", &[]), &[ManifestMissing]),
        case("zig-no-manifest", archive(&[file("a"), file("b")]), &[WrongRoot]),
        case("zig-manifest-in-other-case", archive(&[zig_manifest("BUILD.ZIG.ZON", "\"\"")]), &[WrongRoot]),
        case("zig-manifest-in-two-cases", files(&["Build.zig.zon"]), &[DuplicatePath]),
        case("zig-manifest-twice", below("", &[zig_manifest("build.zig.zon", "\"src\"")]), &[DuplicatePath]),
        case("zig-manifest-as-directory", files(&["build.zig.zon/a"]), &[DuplicatePath]),
        case("zig-manifest-is-bad", archive(&[other("build.zig.zon")]), &[ManifestInvalid]),
        case(
            "zig-manifest-is-too-long",
            archive(&[Raw::file("build.zig.zon", &[b' '; (1 << 20) + 1])]),
            &[ManifestTooBig],
        ),
        case(
            "zig-selects-nothing",
            archive(&[zig_manifest("build.zig.zon", "\"src\""), file("a")]),
            &[ManifestInvalid],
        ),
        case(
            "zig-selects-nothing-in-its-root",
            archive(&[zig_manifest("p-1.0.0/build.zig.zon", "\"src\"")]),
            &[ManifestInvalid],
        ),
        case("zig-dot", archive(&[zig_manifest("./build.zig.zon", "\"\"")]), &[UnsafePath]),
        case("zig-dotdot", files(&["../a"]), &[UnsafePath]),
        case("zig-dotdot-inside", files(&["a/../../x"]), &[UnsafePath]),
        case("zig-absolute", files(&["/etc/passwd"]), &[UnsafePath]),
        case("zig-device-name", files(&["aux.zig"]), &[UnsafePath]),
        case("zig-symlink", below("", &[link(b'2')]), &[EntryType]),
        case("zig-symlink-and-write-through", below("", &[link(b'2'), file("a/b")]), &[EntryType]),
        case("zig-hardlink", below("", &[link(b'1')]), &[EntryType]),
        case(
            "zig-hardlink-below-a-root",
            below("q/", &[Raw::new(b"q/a", b'1', b"").with(157, b"q/b")]),
            &[EntryType],
        ),
        case("zig-dup", files(&["a", "a"]), &[DuplicatePath]),
        case("zig-case-fold", files(&["A", "a"]), &[DuplicatePath]),
        case(
            "zig-path-that-the-root-makes-too-long",
            below("", &[long_name(&long), file(&long[..100]).gnu()]),
            &[PathTooLong],
        ),
        case("zig-setuid", below("", &[file("a").with(100, b"0004755\0")]), &[FileMode]),
        case("zig-two-members", [files(&["a"]), files(&["a"])].concat(), &[ArchiveTrailingData]),
    ]
}
