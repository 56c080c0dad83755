//! Every hostile archive goes through a real publish, and what becomes of it is what `docs/hostile-archives.md` says.
#![expect(clippy::disallowed_methods, reason = "a test reads its own environment")]

use std::{fmt::Write as _, path::Path};

use drystone_schemas::{Language, Settings};
use drystone_storage::Store;
use drystone_test_archives::cases::{self, Case};
use drystone_tests::TestRegistry;

const HEAD: &str = "# Hostile archives\n\n\
    No archive is accepted that two parsers could read differently. Each case below is made by `tests/archives`, published over \
    HTTP, and answered as the table says; those that are accepted list alike for GNU tar, Python's `tarfile`, Go's `archive/tar` \
    and Rust's `tar` (`tests/tests/differential`). [errors.md](errors.md) explains the codes.\n\n\
    Made by `tests/tests/hostile_archives.rs`; `DRYSTONE_UPDATE=1` writes it anew.\n\n\
    | case | verdict | codes |\n|---|---|---|\n";

/// `a, b ×3`: codes in their order, repetitions counted.
fn told(codes: &[String]) -> String {
    let mut out = String::new();
    for run in codes.chunk_by(|a, b| a == b) {
        let separator = if out.is_empty() { "" } else { ", " };
        write!(out, "{separator}`{}`", run[0]).expect("memory takes everything");
        if run.len() > 1 {
            write!(out, " ×{}", run.len()).expect("memory takes everything");
        }
    }
    out
}

/// The tables that follow the first one.
const FLAT: &str = "\n## Flat archives\n\n\
    Some languages' own tools pack files at the top. Where a registry's language says so, nothing is refused for that, and \
    everything else as above. Those that are accepted list alike for the same four.\n\n\
    | case | verdict | codes |\n|---|---|---|\n";
const ZIG: &str = "\n## Zig packages that are packed anew\n\n\
    A Zig package that is flat, or has another root directory, is stored in `name-version/`. What is stored lists alike for the \
    same four and holds the same files.\n\n\
    | case | verdict | codes |\n|---|---|---|\n";

/// A registry whose language has flat archives.
fn flat_settings() -> Settings {
    let language = Language { flat: true, ..Language::new("quill") };
    Settings { language: Some(language), ..Settings::new("test", "http://registry.test") }
}

/// Publishes each case to a registry with these settings; one row of the table for each.
async fn rows(cases: Vec<Case>, settings: &Settings, metadata: Option<&str>) -> String {
    let new = || TestRegistry::with_settings(Store::memory(), settings.clone());
    let mut registry = new().await;
    let mut table = String::new();
    for Case { name, bytes, codes } in cases {
        let answer = registry.publish_bytes(&registry.admin, metadata, &bytes).await;
        let verdict = if answer.status == 201 {
            assert!(codes.is_empty(), "{name} was accepted");
            assert_eq!(registry.log_size().await, 2, "{name}");
            registry.assert_clean(name).await;
            registry = new().await;
            "accepted".to_owned()
        } else {
            let found = answer.codes();
            let expected: Vec<_> = codes.iter().map(|code| code.slug()).collect();
            assert!(
                !expected.is_empty()
                    && found.starts_with(&expected.iter().map(|slug| (*slug).to_owned()).collect::<Vec<_>>()),
                "{name}: {found:?} instead of {expected:?}"
            );
            let slugs: Vec<_> = found.iter().map(|slug| &**slug).collect();
            answer.assert_refused(name, answer.status, &slugs);
            assert_eq!(answer.status, 422, "{name}");
            assert_eq!(registry.log_size().await, 1, "{name}");
            "refused".to_owned()
        };
        let codes = if answer.status == 201 { String::new() } else { told(&answer.codes()) };
        writeln!(table, "| {name} | {verdict} | {codes} |").expect("memory takes everything");
    }
    registry.assert_clean("all cases").await;
    table
}

#[tokio::test]
async fn every_case_is_answered_as_documented() {
    let plain = Settings::new("test", "http://registry.test");
    let table = [
        HEAD.to_owned(),
        rows(cases::all(), &plain, None).await,
        FLAT.to_owned(),
        rows(cases::flat(), &flat_settings(), None).await,
        ZIG.to_owned(),
        rows(cases::zig(), &plain, Some(r#"{"format":"zig"}"#)).await,
    ]
    .concat();
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hostile-archives.md"));
    if std::env::var_os("DRYSTONE_UPDATE").is_some() {
        fs_err::write(path, &table).expect("a test may write its document");
    }
    let written = fs_err::read_to_string(path).unwrap_or_default();
    assert!(written == table, "docs/hostile-archives.md is stale: run with DRYSTONE_UPDATE=1");
}
