//! Hostile uploads and crashes: what is known to break other registries, one row for each case.
//!
//! Every row runs against a registry of its own. After it, exactly what was acknowledged is visible, every file is as it
//! must be, the registry still publishes, and memory has not grown with what was sent.

mod cases;
mod rows;

use std::collections::BTreeMap;

use drystone_tests::{Answer, Pkg, TestRegistry, process::memory_peak_bytes};
use futures_util::future::LocalBoxFuture;

use rows::ROWS;

/// Most that the process's peak of memory may grow by one row, in bytes; some rows send or unpack to far more.
const ROW_MEMORY_BYTES_MAX: u64 = 100 << 20;

/// What the answers of a row must be: statuses, and the codes of refusals.
enum Expected {
    /// Every one of them; there is at least one.
    All(u16, &'static [&'static str]),
    /// These, by rising status.
    Sorted(&'static [(u16, &'static [&'static str])]),
}
struct Row {
    case: &'static str,
    run: for<'a> fn(&'a TestRegistry) -> LocalBoxFuture<'a, Vec<Answer>>,
    expected: Expected,
    /// Packages that exist afterwards, with their versions.
    published: &'static [(&'static str, &'static [&'static str])],
}

#[tokio::test]
async fn every_row_is_refused_cleanly_or_works() {
    for Row { case, run, expected, published } in ROWS {
        let registry = TestRegistry::new().await;
        let peak_before = memory_peak_bytes("self");
        let mut answers = run(&registry).await;
        let grown =
            memory_peak_bytes("self").zip(peak_before).map(|(after, before)| after.saturating_sub(before));
        assert!(grown.is_none_or(|grown| grown < ROW_MEMORY_BYTES_MAX), "{case}: {grown:?} bytes");
        answers.sort_by_key(|answer| {
            (answer.status, if answer.status < 400 { Vec::new() } else { answer.codes() })
        });
        match expected {
            Expected::All(status, codes) => {
                assert!(!answers.is_empty(), "{case}");
                answers.iter().for_each(|answer| check(case, answer, *status, codes));
            }
            Expected::Sorted(expected) => {
                let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
                assert_eq!(
                    statuses,
                    expected.iter().map(|(status, _)| *status).collect::<Vec<_>>(),
                    "{case}"
                );
                answers
                    .iter()
                    .zip(*expected)
                    .for_each(|(answer, (status, codes))| check(case, answer, *status, codes));
            }
        }
        aftermath(case, &registry, published).await;
    }
}

fn check(case: &str, answer: &Answer, status: u16, codes: &[&str]) {
    if codes.is_empty() {
        assert_eq!(answer.status, status, "{case}: {}", answer.json());
    } else {
        answer.assert_refused(case, status, codes);
    }
}

/// Nothing but what was acknowledged is there, and the registry goes on.
async fn aftermath(case: &str, registry: &TestRegistry, published: &[(&str, &[&str])]) {
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, versions) in published {
        expected.insert((*name).into(), versions.iter().map(|&version| version.into()).collect());
    }
    let sorted = |mut packages: BTreeMap<String, Vec<String>>| {
        packages.values_mut().for_each(|versions| versions.sort());
        packages
    };
    assert_eq!(sorted(registry.visible().await), expected, "{case}");
    let events = expected.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!(registry.log_size().await, 1 + events, "{case}");
    if expected.is_empty() {
        for path in ["/index/ht/tp/http", "/packages/http.json", "/api/v1/packages/http", "/index/ev/il/evil"]
        {
            assert_eq!(registry.get(path).await.status, 404, "{case}: {path}");
        }
    }
    let next = registry.publish(&Pkg::new("afterwards", "1.0.0")).await;
    assert_eq!(next.status, 201, "{case}: {}", next.json());
    registry.assert_clean(case).await;
}
