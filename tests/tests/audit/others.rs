//! Go's `sumdb/tlog` and `note`, and the Python package `aics-tlog`, on a log and on trees that are made here.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use drystone_log::{
    Hash, HashReader as _, MemoryTree, leaf_hash, prove_consistency, prove_inclusion,
    tile::{new_tiles, tile_bytes},
};
use drystone_schemas::{Sha256Digest, layout};
use drystone_storage::Store;
use drystone_tests::{Pkg, TestRegistry, process::skipped};
use futures_util::future::join_all;

/// The Go auditor, as a program.
fn auditor(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/auditor.go");
    let program = folder.join("auditor");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(source);
    // The packages of Debian lie there; nothing is fetched.
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    if std::env::var_os("HOME").is_none() {
        go.env("GOCACHE", std::env::temp_dir().join("drystone-go-cache"));
    }
    let output = go.output().unwrap_or_else(|error| panic!("{go:?}: {error}; see tests/run"));
    assert!(output.status.success(), "{}; see tests/run", told(&output));
    program
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A registry in a directory, with a log of some 300 events.
async fn registry(folder: &Path) -> PathBuf {
    let registry = TestRegistry::on(Store::open_dir(folder).unwrap()).await;
    for batch in 0..5 {
        let packages: Vec<Pkg> =
            (0..60).map(|n| Pkg::new(&format!("pkg-{}", n % 30), &format!("{}.{batch}.0", n / 30))).collect();
        let answers = join_all(packages.iter().map(|package| registry.publish(package))).await;
        answers.iter().for_each(|answer| assert_eq!(answer.status, 201));
    }
    folder.join("public")
}

#[tokio::test]
async fn go_audits_a_log_that_was_written_here() {
    let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let public = registry(folder.path()).await;
    let auditor = auditor(tools.path());
    let key = TestRegistry::log_key().to_string();
    let audit = || Command::new(&auditor).arg("log").arg(&public).arg(&key).output().unwrap();
    let output = audit();
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).starts_with("PASS 301 entries, 3 tiles, "), "{}", told(&output));
    // And sees what is wrong, of every kind of file that it reads.
    let newest = String::from_utf8(fs_err::read(public.join("log/checkpoint")).unwrap()).unwrap();
    assert_eq!(newest.lines().nth(1), Some("301"));
    let any = |folder: &str| {
        let mut files: Vec<_> =
            fs_err::read_dir(public.join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.pop().unwrap()
    };
    let fixed = [
        "log/checkpoint",
        "log/latest.tlog-proof",
        "log/tile/0/000",
        "log/tile/0/001.p/45",
        "log/tile/1/000.p/1",
        "log/tile/entries/000",
    ];
    let paths = fixed.iter().map(|key| public.join(key)).chain([any("log/checkpoints")]);
    for path in paths {
        let good = fs_err::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        overwrite(&path, &bad);
        let output = audit();
        assert!(
            !output.status.success() && told(&output).starts_with("FAIL "),
            "{}: {}",
            path.display(),
            told(&output)
        );
        overwrite(&path, &good);
    }
    assert!(audit().status.success());
}

/// Files of a registry are not to be written to; a test removes them first.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs_err::remove_file(path).unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// What the trees of every size come to, line by line, as the Go program reads it.
fn sizes(largest: u64) -> String {
    let mut tree = MemoryTree::new();
    let mut text = String::new();
    let joined = |hashes: &[Hash]| hashes.iter().map(|hash| hash.to_base64()).collect::<Vec<_>>().join(",");
    for size in 1..=largest {
        tree.append(leaf_hash(format!("entry {}\n", size - 1).as_bytes()));
        writeln!(text, "root {size} {}", tree.root_at(size).unwrap().to_base64()).unwrap();
        for id in new_tiles(size - 1, size) {
            let hash = |i: u64| tree.subtree(8 * id.level(), id.index() * 256 + i).unwrap();
            let hashes: Vec<Hash> = (0..u64::from(id.width())).map(hash).collect();
            writeln!(text, "tile {size} {id} {}", Sha256Digest::of(&tile_bytes(&hashes)).hex()).unwrap();
        }
        // Places that move with the size, so that every shape of proof comes up.
        for index in [0, size / 2, size * 7919 % size.max(1), size - 1] {
            let proof = prove_inclusion(index, size, &tree).unwrap();
            writeln!(text, "inclusion {size} {index} {}", joined(&proof)).unwrap();
            let old = index + 1;
            let proof = prove_consistency(old, size, &tree).unwrap();
            writeln!(text, "consistency {size} {old} {}", joined(&proof)).unwrap();
        }
    }
    text
}

#[test]
fn go_agrees_on_every_size() {
    let tools = tempfile::tempdir().unwrap();
    let (auditor, file) = (auditor(tools.path()), tools.path().join("sizes"));
    let text = sizes(1_100);
    fs_err::write(&file, &text).unwrap();
    let output = Command::new(&auditor).arg("sizes").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let tiles = text.lines().filter(|line| line.starts_with("tile ")).count();
    let expected =
        format!("PASS 1100 roots, {tiles} tiles, 4400 inclusion proofs, 4400 consistency proofs\n");
    assert_eq!(told(&output), expected);
    // It would say if it did not.
    let at = text.find("inclusion 700 ").unwrap() + 30;
    let mut wrong = text.into_bytes();
    wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
    fs_err::write(&file, &wrong).unwrap();
    assert!(!Command::new(&auditor).arg("sizes").arg(&file).output().unwrap().status.success());
}

/// The command of `aics-tlog`, which `tests/run` installs where there is a Python of 3.12 or newer. Where there is none, it
/// says so by `none`, and this check is left out.
fn aics() -> Option<PathBuf> {
    let program = std::env::var_os("DRYSTONE_TEST_AICS").map(PathBuf::from);
    if program.is_none() {
        skipped("`tests/run` installs `aics-tlog` and sets `DRYSTONE_TEST_AICS`");
    }
    program.filter(|program| program.as_os_str() != "none")
}

#[tokio::test]
async fn aics_tlog_verifies_a_log_that_was_written_here() {
    let Some(program) = aics() else { return };
    let folder = tempfile::tempdir().unwrap();
    let public = registry(folder.path()).await;
    let (log, key) = (public.join("log"), TestRegistry::log_key());
    let run = |verb: &str, more: &[&str]| {
        let mut command = Command::new(&program);
        command.arg(verb).arg("--tiles").arg(&log).arg("--log-key").arg(key.to_string()).args(more);
        command.output().unwrap()
    };
    let old = public.join(layout::checkpoint_history(1)).display().to_string();
    let all = [
        ("verify-checkpoint", vec!["--origin", key.name()]),
        ("verify-inclusion", vec!["--index", "0"]),
        ("verify-inclusion", vec!["--index", "300"]),
        ("verify-consistency", vec!["--old-checkpoint", &old]),
    ];
    for (verb, more) in &all {
        let output = run(verb, more);
        assert!(output.status.success(), "{verb} {more:?}: {}", told(&output));
    }
    let tile = log.join("tile/0/000");
    let mut bad = fs_err::read(&tile).unwrap();
    bad[40] ^= 1;
    overwrite(&tile, &bad);
    assert!(!run("verify-inclusion", &["--index", "0"]).status.success(), "a forged tile is seen");
}
