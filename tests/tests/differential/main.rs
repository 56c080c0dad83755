//! Other parsers see what this one sees: GNU tar, Python's `tarfile` and Go's `archive/tar`.
//!
//! Whatever is accepted lists alike everywhere, by path, kind, size and content. So what any of them reads differently
//! was refused. Archives come from the hostile cases, from every tool that people pack with, and from a generator.
//!
//! Each lister prints lines that begin with the archive's name: `f HEXPATH SIZE SHA256` or `d ...`, `error ...`, and
//! `end`; GNU tar prints `entry` lines as it does, and `digest` lines for the files in their order.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and starts other programs"
)]

mod canonical;
mod packers;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use drystone_archive::repack_zig;
use drystone_schemas::{Limits, Sha256Digest};
use drystone_test_archives::{
    cases,
    listing::{Listing, ours, ours_flat},
    shape,
};

/// Longest archive that every tool reads whole, in bytes: bombs are for other tests.
const BYTES_MAX: usize = 128 << 10;
/// Archives from the generator: a few hundred are enough to accept some dozens.
const GENERATED: u64 = 400;

/// One entry: kind, path, size, digest.
type Row = (String, Vec<u8>, u64, String);

/// What a tool read: rows, or some and an error.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    rows: Vec<Row>,
    failed: bool,
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential").join(file)
}

/// Runs a lister, and gives each archive's lines.
fn lines(command: &mut Command) -> BTreeMap<String, Vec<Vec<u8>>> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; see tests/run"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut found: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b' ') else { continue };
        let name = String::from_utf8_lossy(&line[..at]).into_owned();
        found.entry(name).or_default().push(line[at + 1..].to_vec());
    }
    found.retain(|_, lines| lines.iter().any(|line| line == b"end"));
    found
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// Directories are named with and without a slash at the end.
fn row(kind: &str, mut path: Vec<u8>, size: u64, digest: &str) -> Row {
    if kind == "d" && path.ends_with(b"/") {
        path.pop();
    }
    (kind.into(), path, size, if kind == "d" { String::new() } else { digest.into() })
}

/// Reads the lines of Python's and Go's listers.
fn plain_reading(lines: &[Vec<u8>]) -> Reading {
    let mut reading = Reading { rows: Vec::new(), failed: false };
    for line in lines.iter().filter(|line| *line != b"end") {
        let line = text(line);
        let fields: Vec<_> = line.split(' ').collect();
        match fields[..] {
            ["error", ..] => reading.failed = true,
            [kind, path, size, digest] => {
                reading.rows.push(row(
                    kind,
                    hex::decode(path).unwrap(),
                    size.parse().unwrap_or(u64::MAX),
                    digest,
                ));
            }
            _ => panic!("{line}"),
        }
    }
    reading
}

/// Reads the lines of GNU tar: `-rw-r--r-- 0/0  12 1970-01-01 00:00 path`.
fn gnu_reading(lines: &[Vec<u8>]) -> Reading {
    let mut reading = Reading { rows: Vec::new(), failed: false };
    let mut digests = lines.iter().filter_map(|line| line.strip_prefix(b"digest "));
    for line in lines {
        reading.failed |= line.starts_with(b"error");
        let Some(mut rest) = line.strip_prefix(b"entry ") else { continue };
        let mut fields = Vec::new();
        for _ in 0..5 {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            fields.push(text(&rest[..end]));
            rest = rest.get(end..).unwrap_or_default();
        }
        let kind = match fields[0].chars().next() {
            Some('-') => "f",
            Some('d') => "d",
            _ => "other",
        };
        let digest = if kind == "f" { digests.next().map(text).unwrap_or_default() } else { String::new() };
        let digest = digest.split(' ').next().unwrap_or_default().to_owned();
        let path = rest.get(1..).unwrap_or_default().to_vec();
        reading.rows.push(row(kind, path, fields[2].parse().unwrap_or(u64::MAX), &digest));
    }
    reading
}

/// The readings of Python, Go and GNU tar of every archive in a folder; contents by GNU tar only where that is safe.
fn readings(folder: &Path, safe: bool) -> BTreeMap<String, [Reading; 3]> {
    let scratch = tempfile::tempdir().unwrap();
    let python = lines(Command::new("python3").arg(here("list.py")).arg(folder));
    let go = lines(&mut go_program(folder));
    let mut gnu = Command::new("sh");
    gnu.arg(here("list.sh")).arg(folder);
    if safe {
        gnu.arg(scratch.path());
    }
    let gnu = lines(&mut gnu);
    assert_eq!(python.keys().collect::<Vec<_>>(), go.keys().collect::<Vec<_>>());
    assert_eq!(python.keys().collect::<Vec<_>>(), gnu.keys().collect::<Vec<_>>());
    let three =
        |name: &String| [plain_reading(&python[name]), plain_reading(&go[name]), gnu_reading(&gnu[name])];
    python.keys().map(|name| (name.clone(), three(name))).collect()
}

/// The Go program, which needs no modules and no network.
fn go_program(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.arg("run").arg(here("list.go")).arg(folder).env("GO111MODULE", "off").env("GOFLAGS", "-mod=mod");
    if std::env::var_os("HOME").is_none() {
        go.env("GOCACHE", std::env::temp_dir().join("drystone-go-cache"));
    }
    go
}

/// What this project reads, as the others would tell it; directories are theirs to tell.
fn as_rows(listing: &Listing) -> Vec<Row> {
    listing
        .iter()
        .map(|(path, size, digest, _)| row("f", path.clone().into_bytes(), *size, &digest.hex()))
        .collect()
}

fn assert_alike(name: &str, listing: &Listing, readings: &[Reading; 3]) {
    let [python, go, gnu] = readings;
    assert!(!python.failed && !go.failed && !gnu.failed, "{name}: {readings:?}");
    assert_eq!(python, go, "{name}: Python and Go");
    assert_eq!(python, gnu, "{name}: Python and GNU tar");
    let (files, others): (Vec<_>, Vec<_>) = python.rows.iter().cloned().partition(|row| row.0 == "f");
    assert_eq!(files, as_rows(listing), "{name}");
    assert!(others.iter().all(|row| row.0 == "d" && row.2 == 0), "{name}: {others:?}");
    let paths: BTreeSet<_> = python.rows.iter().map(|row| &row.1).collect();
    assert_eq!(paths.len(), python.rows.len(), "{name}: a path twice");
}

/// Writes archives into a folder, under their names.
fn write(folder: &Path, archives: &BTreeMap<String, Vec<u8>>) {
    fs_err::create_dir_all(folder).unwrap();
    for (name, bytes) in archives {
        fs_err::write(folder.join(name), bytes).unwrap();
    }
}

/// Random bytes for the generator, from a number: all of them, or half, a fourth or an eighth of them. Zeros choose what
/// is right, so that some archives lie in every field and others in one.
fn seed(number: u64) -> Vec<u8> {
    let block = |part: u64| Sha256Digest::of(format!("{number} {part}").as_bytes()).hex();
    let random = (0..16).flat_map(|part| hex::decode(block(part)).unwrap());
    let (kept, dropped): (Vec<_>, Vec<_>) = random.enumerate().partition(|(at, _)| at % 2 == 0);
    let keep = 8 >> (number % 4);
    kept.into_iter().zip(dropped).map(|((_, byte), (_, die))| if die % 8 < keep { byte } else { 0 }).collect()
}

#[test]
fn what_is_accepted_lists_alike_everywhere() {
    let mut archives: BTreeMap<String, Vec<u8>> = cases::all()
        .into_iter()
        .filter(|case| case.bytes.len() <= BYTES_MAX)
        .map(|case| (case.name.to_owned(), case.bytes))
        .collect();
    archives.extend(
        (0..GENERATED).map(|number| (format!("generated-{number:03}"), shape::archive(&seed(number)))),
    );
    let folder = tempfile::tempdir().unwrap();
    let packed = packers::all(folder.path());
    assert!(packed.len() >= 11, "{:?}", packed.keys());
    for (name, bytes) in &packed {
        // What people pack with works.
        ours(bytes).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    }
    archives.extend(packed);

    let folder_of = |name: &str| folder.path().join(name);
    check_flat(&folder_of("flat"));
    check_repacked(&folder_of("zig"));

    let (accepted, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
        archives.into_iter().partition(|(_, bytes)| ours(bytes).is_ok());
    let generated = accepted.keys().filter(|name| name.starts_with("generated")).count();
    assert!(generated >= 40, "the generator is rarely right: {generated}");
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    write(&good, &accepted);
    write(&bad, &refused);
    for (name, three) in readings(&good, true) {
        assert_alike(&name, &ours(&accepted[&name]).unwrap(), &three);
    }

    // These are not refused for nothing: the three do not agree on what they hold, or on whether they hold anything.
    let disagree: BTreeSet<String> = readings(&bad, false)
        .into_iter()
        .filter(|(_, [python, go, gnu])| {
            let bare = |reading: &Reading| -> Vec<_> {
                reading.rows.iter().map(|row| (row.0.clone(), row.1.clone(), row.2)).collect()
            };
            bare(python) != bare(go)
                || bare(go) != bare(gnu)
                || python.failed != go.failed
                || go.failed != gnu.failed
        })
        .map(|(name, _)| name)
        .collect();
    for name in KNOWN_TO_DIFFER {
        assert!(disagree.contains(name), "{name} is read alike: {disagree:?}");
    }
}

/// Flat archives, as languages' own tools pack them, list alike as they were uploaded.
fn check_flat(folder: &Path) {
    let accepted: BTreeMap<String, Vec<u8>> = cases::flat()
        .into_iter()
        .filter(|case| case.codes.is_empty())
        .map(|case| (case.name.into(), case.bytes))
        .collect();
    write(folder, &accepted);
    let all = readings(folder, true);
    assert_eq!(all.len(), accepted.len());
    for (name, three) in all {
        assert_alike(&name, &ours_flat(&accepted[&name]).unwrap(), &three);
    }
}

/// Zig packages list alike as they are stored, and hold what was uploaded.
fn check_repacked(folder: &Path) {
    let mut stored = BTreeMap::new();
    for case in cases::zig().into_iter().filter(|case| case.codes.is_empty()) {
        let scratch = std::io::Cursor::new(Vec::new());
        let packed = repack_zig(&*case.bytes, &Limits::default(), scratch, Vec::new()).unwrap();
        let files = |listing: Listing| -> BTreeMap<_, _> {
            listing.into_iter().map(|(path, _, digest, executable)| (path, (digest, executable))).collect()
        };
        let (uploaded, packed_files) =
            (files(ours_flat(&case.bytes).unwrap()), files(ours(&packed).unwrap()));
        assert_eq!(uploaded.len(), packed_files.len(), "{}", case.name);
        for (path, content) in &packed_files {
            let below = path.strip_prefix("p-1.0.0/").unwrap();
            let same = |uploaded: &str| {
                uploaded == below || uploaded.split_once('/').is_some_and(|(_, rest)| rest == below)
            };
            assert!(uploaded.iter().any(|(path, was)| same(path) && was == content), "{}: {path}", case.name);
        }
        stored.insert(case.name.to_owned(), packed);
    }
    assert!(stored.len() >= 8, "{:?}", stored.keys());
    write(folder, &stored);
    for (name, three) in readings(folder, true) {
        assert_alike(&name, &ours(&stored[&name]).unwrap(), &three);
    }
}

/// Cases that the three listers of today read differently: the test would be worth nothing if they did not.
const KNOWN_TO_DIFFER: [&str; 8] = [
    "bad-checksum",
    "gz-trailing-zeros",
    "neg-size",
    "nul-in-pax",
    "one-zero-block",
    "pax-global-path",
    "pax-size-bigger",
    "pax-size-smaller",
];
