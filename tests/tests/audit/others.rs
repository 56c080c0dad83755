//! Go's `sumdb/tlog` and `note`, and the Python package `aics-tlog`, on a log that is written here.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use drystone_schemas::layout;
use drystone_storage::Store;
use drystone_tests::{Pkg, TestRegistry, process::skipped};
use futures_util::future::join_all;

/// The Go auditor, as a program.
pub(super) fn auditor(folder: &Path) -> PathBuf {
    let source = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit").join(name);
    let program = folder.join("auditor");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).args([source("auditor.go"), source("sizes.go")]);
    // The packages of Debian lie there; nothing is fetched.
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    if std::env::var_os("HOME").is_none() {
        go.env("GOCACHE", std::env::temp_dir().join("drystone-go-cache"));
    }
    let output = go.output().unwrap_or_else(|error| panic!("{go:?}: {error}; see tests/run"));
    assert!(output.status.success(), "{}; see tests/run", told(&output));
    program
}

pub(super) fn told(output: &Output) -> String {
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

/// The command of `aics-tlog`, which `tests/run` installs where there is a Python of 3.12 or newer. Where there is none, it
/// says so by `none`, and this check is left out.
pub(super) fn aics() -> Option<PathBuf> {
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
