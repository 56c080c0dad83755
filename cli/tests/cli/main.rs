//! The program as a user meets it: help, errors and exit codes. No registry is needed here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drystone"));
    command
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("DRYSTONE_HOME", dir.join("home"))
        .stdin(Stdio::null());
    command
}

fn finish(mut command: Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(dir: &Path, args: &[&str]) -> Run {
    finish(command(dir, args))
}

fn check(args: &[&str], code: i32, out: &str, err: &str) {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), args), Run { code: Some(code), out: out.into(), err: err.into() }, "{args:?}");
}

#[test]
fn without_a_verb_ten_lines_say_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let Run { code, out, err } = run(dir.path(), &[]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert_eq!(out.lines().filter(|line| !line.is_empty()).count(), 10, "{out}");
    for verb in ["init", "add", "install", "publish", "info", "search", "verify", "serve", "help"] {
        assert!(out.contains(&format!("  drystone {verb} ")), "{verb}: {out}");
    }
}

#[test]
fn help_is_as_it_was_agreed() {
    let dir = tempfile::tempdir().unwrap();
    let verbs = verbs_below(dir.path(), "");
    assert!(verbs.len() > 50, "{verbs:?}");
    let mut text = String::new();
    for verb in verbs {
        let args: Vec<&str> = verb.split(' ').chain(["-h"]).collect();
        let Run { code, out, err } = run(dir.path(), &args);
        assert_eq!((code, &*err), (Some(0), ""), "{verb}");
        // The shared options are the same everywhere; they are looked at once, below.
        text.push_str(out.split("\nOutput:\n").next().unwrap());
        text.push('\n');
    }
    let help = run(dir.path(), &["--help"]).out;
    text.push_str(&help[help.find("Output:\n").unwrap()..]);
    let agreed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help.txt");
    if is_update() {
        fs_err::write(&agreed, &text).unwrap();
    }
    let agreed = fs_err::read_to_string(agreed).unwrap();
    assert_eq!(text, agreed, "if the change is meant, `DRYSTONE_UPDATE=1` writes it into `help.txt`");
}

#[expect(clippy::disallowed_methods, reason = "it reads its own environment")]
fn is_update() -> bool {
    std::env::var_os("DRYSTONE_UPDATE").is_some()
}

/// Every verb that acts, in the order of the help that lists it.
fn verbs_below(dir: &Path, verb: &str) -> Vec<String> {
    let args: Vec<&str> = verb.split_whitespace().chain(["-h"]).collect();
    let out = run(dir, &args).out;
    let Some((_, listed)) = out.split_once("\nCommands:\n") else { return vec![verb.to_owned()] };
    let names = listed.lines().take_while(|line| !line.is_empty());
    // What is indented further goes on from the line before.
    let names = names.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.flat_map(|name| verbs_below(dir, format!("{verb} {name}").trim())).collect()
}

#[test]
fn usage_problems_exit_with_2_in_both_forms() {
    check(
        &["yank"],
        2,
        "",
        "error[DRY0709]: the following required arguments were not provided:
  <RELEASE>
  hint: Usage: drystone yank <RELEASE>
        For more information, try '--help'.
",
    );
    check(
        &["yank", "acme/http", "--registry", "http://127.0.0.1:1"],
        2,
        "",
        "error[DRY0709]: `acme/http` names no version\n  hint: write `NAME@VERSION`\n",
    );
    check(
        &["--json", "info", "--bogus"],
        2,
        "{\"errors\":[{\"code\":\"bad-usage\",\"number\":\"DRY0709\",\"detail\":\"unexpected argument '--bogus' found\",\
         \"hint\":\"to pass '--bogus' as a value, use '-- --bogus'\\n        Usage: drystone info [OPTIONS] <PACKAGE>\\n        \
         For more information, try '--help'.\"}]}\n",
        "",
    );
    check(
        &["info", "serde"],
        2,
        "",
        "error[DRY0708]: no registry is named
  hint: give `--registry URL`, set `DRYSTONE_REGISTRY`, or write `[registry]` with `url` into the manifest
",
    );
    check(
        &["info", "serde", "--registry", "http://registry.example"],
        2,
        "",
        "error[DRY0708]: `http://registry.example/config.json` is not encrypted
  hint: use an `https` URL; plain `http` is for registries on this machine
",
    );
    check(
        &["install", "--registry", "https://registry.example", "--offline"],
        1,
        "",
        "error[DRY0705]: `config.json` is not in the cache\n  hint: run once without `--offline`\n",
    );
}

#[test]
fn who_is_not_signed_in_is_told_before_anything_is_sent() {
    check(
        &["yank", "acme/http@1.0.0", "--registry", "http://127.0.0.1:1"],
        4,
        "",
        "error[DRY0706]: not signed in to `http://127.0.0.1:1`\n  hint: sign in with `drystone login`\n",
    );
}

#[test]
fn an_unreachable_registry_exits_with_69() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Run { code, out, err } =
        run(dir.path(), &["info", "a", "--registry", &format!("http://127.0.0.1:{port}")]);
    assert_eq!((code, &*out), (Some(69), ""));
    // What is asked for first is asked for at once.
    let told = format!("error[DRY0701]: no answer from `http://127.0.0.1:{port}/");
    assert!(err.starts_with(&told), "{err}");
}

#[test]
fn explain_needs_no_network() {
    check(
        &["explain", "name-collision"],
        0,
        "DRY0103 name-collision

  another spelling of the name is taken

  what to do: names that differ only in case, `-` and `_` are one name: use the spelling that exists, or another name
  exit code:  1
  HTTP:       409
",
        "",
    );
    check(
        &["explain", "DRY9999"],
        2,
        "",
        "error[DRY0709]: `DRY9999` is not an error code\n  hint: list them with `drystone explain`\n",
    );
}

#[test]
fn a_project_begins() {
    let dir = tempfile::tempdir().unwrap();
    let registry = ["--registry", "http://127.0.0.1:1/"];
    let Run { code, err, .. } = run(dir.path(), &["init", "hello", "--offline", registry[0], registry[1]]);
    assert_eq!(code, Some(1), "the manifest's name is the registry's to say: {err}");
    let Run { code, out, err } = run(dir.path(), &["init", "hello", "--name", "acme/hello"]);
    assert_eq!((code, &*out), (Some(0), ""), "{err}");
    assert_eq!(
        fs_err::read_to_string(dir.path().join("hello/drystone.toml")).unwrap(),
        "[package]\nname = \"acme/hello\"\nversion = \"0.1.0\"\ndescription = \"\"\nlicense = \"MIT OR Apache-2.0\"\n\n[dependencies]\n"
    );
    let again = run(dir.path(), &["init", "hello", "--json"]);
    assert_eq!(again.code, Some(1));
    assert!(again.out.contains("\"code\":\"already-exists\"") && again.err.is_empty(), "{again:?}");
    let tree = run(&dir.path().join("hello"), &["tree"]);
    assert_eq!(
        tree.err,
        "error[DRY0707]: there is no lock file here\n  hint: make one with `drystone lock`\n"
    );
}

#[test]
fn colour_is_asked_for_and_refused_by_environment() {
    let dir = tempfile::tempdir().unwrap();
    let red = "\u{1b}[1;31m";
    let starts = |args: &[&str], name: &str, value: &str| {
        let mut command = command(dir.path(), args);
        command.env(name, value);
        finish(command).err.starts_with(red)
    };
    assert!(!starts(&["explain", "x"], "LANG", "C"));
    assert!(starts(&["explain", "x"], "CLICOLOR_FORCE", "1"));
    assert!(starts(&["explain", "x", "--color", "always"], "NO_COLOR", "1"));
    assert!(!starts(&["explain", "x", "--color", "never"], "CLICOLOR_FORCE", "1"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path(), &["explain"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}
