//! The documents tell the truth: their shell blocks run, their tables are those of the code, their links lead somewhere.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and it reads its own environment"
)]

use std::{fmt::Write as _, path::Path, process::Command};

use drystone_schemas::Code;
use drystone_tests::process::program;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The blocks of a document that are marked `sh`, as one script.
fn script(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => writeln!(out, "{line}").unwrap(),
            _ => {}
        }
    }
    out
}

/// Runs a document's blocks in order in one shell. `drystone serve` and `witness` go to the background, as if in another terminal.
fn run_document(name: &str) {
    let text = fs_err::read_to_string(root().join(name)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let witness_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = script(&text)
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
        .replace("127.0.0.1:8081", &format!("127.0.0.1:{witness_port}"));
    assert!(script.lines().count() >= 3, "{name} has next to no commands");
    let folder = tempfile::tempdir().unwrap();
    let preamble = format!(
        r#"set -euo pipefail
drystone() {{
  case "$*" in
    serve*) set -- "$@" --listen 127.0.0.1:{port} ;;
    witness*--listen*) ;;
    *) command drystone "$@"; return ;;
  esac
  command drystone "$@" 2> "$HOME/$1.log" &
  servers="${{servers:-}} $!"
  trap 'kill $servers' EXIT
  for _ in $(seq 300); do grep -q 'Serving\|Witnessing' "$HOME/$1.log" && return; kill -0 $!; sleep 0.1; done
  cat "$HOME/$1.log"; exit 1
}}
"#
    );
    let programs = program("drystone").parent().unwrap().display().to_string();
    let output = Command::new("bash")
        .args(["-c", &format!("{preamble}{script}")])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
        .env_remove("DRYSTONE_REGISTRY")
        .env_remove("DRYSTONE_TOKEN")
        .env_remove("DRYSTONE_HOME")
        .output()
        .unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name}:\n{}\n{}", told(&output.stdout), told(&output.stderr));
}

#[test]
fn the_readme_runs() {
    run_document("README.md");
}

#[test]
fn the_users_guide_runs() {
    run_document("docs/users.md");
}

#[test]
fn the_operators_guide_runs() {
    run_document("docs/operators.md");
}

#[test]
fn the_guide_to_trust_runs() {
    run_document("docs/trust.md");
}

#[test]
fn the_guide_to_accounts_runs() {
    run_document("docs/accounts.md");
}

#[test]
fn the_cargo_guide_runs() {
    run_document("docs/cargo.md");
}

#[test]
fn the_guides_of_existing_clients_run() {
    for name in ["docs/zion.md", "docs/raven.md", "docs/vais.md"] {
        run_document(name);
    }
}

#[test]
fn the_zig_guide_runs() {
    run_document("docs/zig.md");
}

#[test]
fn the_guide_for_languages_runs() {
    run_document("docs/language.md");
}

/// `docs/errors.md` is made from the table in the code; `DRYSTONE_UPDATE=1` writes it anew.
#[test]
fn the_error_reference_is_fresh() {
    let mut text = String::from(
        "# Errors\n\nEvery refusal has a stable number and name, the facts, and a hint. `drystone explain NUMBER` prints the same offline.\n\n\
         | number | name | HTTP | exit | meaning | what to do |\n|---|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        writeln!(
            text,
            "| {} | `{}` | {} | {} | {} | {} |",
            code.number(),
            code.slug(),
            code.status(),
            code.exit_code(),
            code.title(),
            code.hint()
        )
        .unwrap();
    }
    let path = root().join("docs/errors.md");
    if std::env::var_os("DRYSTONE_UPDATE").is_some() {
        fs_err::write(&path, &text).unwrap();
    }
    assert!(
        fs_err::read_to_string(&path).unwrap_or_default() == text,
        "docs/errors.md is stale: run with DRYSTONE_UPDATE=1"
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    documents.extend(
        fs_err::read_dir(root().join("docs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    let mut links = 0;
    for document in documents {
        let text = fs_err::read_to_string(&document).unwrap();
        for (_, rest) in text.match_indices("](").map(|(i, _)| text.split_at(i + 2)) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let path = document.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(path.exists(), "{}: {target}", document.display());
            links += 1;
        }
    }
    assert!(links > 8);
}
