//! An install that is killed at any of its system calls that change a file system, and what the next one makes of it.

use std::process::{Command, Stdio};

use drystone_tests::process::{program, skipped};

use crate::session::Session;

/// The calls that make, name, write or remove something.
const CALLS: &str =
    "mkdir,openat,symlink,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,ftruncate";
/// Runs between the first call and the last.
const RUNS: usize = 24;

/// Runs an install that the kernel kills at a call of one of these kinds, or not at all.
fn install(session: &Session, at: Option<usize>, trace: &str) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(session.path(trace)).arg("-e").arg(format!("trace={CALLS}"));
    if let Some(at) = at {
        command.arg("-e").arg(format!("inject={CALLS}:signal=SIGKILL:when={at}"));
    }
    let status = command
        .arg(program("drystone"))
        .args(["install", "-qq"])
        .current_dir(session.path("app"))
        .env("HOME", session.user.home())
        .env("DRYSTONE_HOME", session.user.home().join("drystone"))
        .env("DRYSTONE_REGISTRY", &session.server.url)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.success()
}

/// What is installed: each package whole, in some version.
fn installed(session: &Session, case: &str) -> Vec<String> {
    let mut found = Vec::new();
    for place in ["a", "b", "@acme/c"] {
        let place = session.path("app/drystone_packages").join(place);
        if fs_err::symlink_metadata(&place).is_ok() {
            let code = fs_err::read_to_string(place.join("src/code.txt"));
            let code = code.unwrap_or_else(|error| panic!("{case}: half there: {error}"));
            let manifest = fs_err::read_to_string(place.join("drystone.toml")).unwrap();
            let (name, version) = code.trim().split_once(' ').unwrap();
            assert!(manifest.contains(name) && manifest.contains(version), "{case}: mixed");
            found.push(code.trim().to_owned());
        }
    }
    found
}

#[test]
fn an_install_that_is_killed_at_any_call_is_finished_by_the_next() {
    let traces =
        Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).stderr(Stdio::null()).status();
    if !traces.is_ok_and(|status| status.success()) {
        return skipped("`strace` is not there, or may not trace");
    }
    let session = Session::new();
    for vers in ["1.0.0", "2.0.0"] {
        session.publish("a", vers, "");
        session.publish("acme/c", vers, "");
    }
    session.publish("b", "1.0.0", "");
    let (old, new) = (["a 1.0.0", "b 1.0.0", "acme/c 1.0.0"], ["a 2.0.0", "acme/c 2.0.0"]);
    let manifest =
        |more: &str| format!("[package]\nname = \"app\"\nversion = \"0.1.0\"\n\n[dependencies]\n{more}");
    let (before, after) =
        (manifest("a = \"1\"\nb = \"1\"\n\"acme/c\" = \"1\"\n"), manifest("a = \"2\"\n\"acme/c\" = \"2\"\n"));
    let begin = || {
        session.write("app/drystone.toml", &before);
        session.user.ok(&session.path("app"), &["install"]);
        assert_eq!(installed(&session, "before"), old);
        session.write("app/drystone.toml", &after);
        // Everything of the new versions is downloaded and unpacked again.
        session.user.ok(&session.path("app"), &["cache", "gc", "--keep-days", "0"]);
    };
    begin();
    assert!(install(&session, None, "whole"), "without a kill");
    assert_eq!(installed(&session, "whole"), new);
    let calls = session.read("whole").lines().filter(|line| !line.contains("O_RDONLY")).count();
    assert!(calls > 60, "{calls}");
    // `when` counts the calls of each kind and thread on its own: there are at most so many of any.
    let most = session.read("whole").lines().filter(|line| line.contains("openat(")).count();
    let mut killed = 0;
    for run in 0..RUNS {
        // Small numbers meet every kind, large ones only the frequent.
        let at = 1 + run * run * most / (RUNS * RUNS);
        begin();
        killed += usize::from(!install(&session, Some(at), "cut"));
        let case = format!("killed at {at}");
        for package in installed(&session, &case) {
            assert!(old.contains(&&*package) || new.contains(&&*package), "{case}: {package}");
        }
        session.user.ok(&session.path("app"), &["install"]);
        assert_eq!(installed(&session, &case), new, "{case}");
        assert!(!session.path("app/drystone_packages/.new").exists(), "{case}");
        assert!(session.user.ok(&session.path("app"), &["cache", "verify"]).contains(" whole\n"), "{case}");
    }
    assert!(killed * 2 > RUNS, "only {killed} of {RUNS} were killed");
}
