//! One changed byte, anywhere in any file of a log of 700 events with packages, is found.
//!
//! `DRYSTONE_FLIPS=all cargo test --workspace --features drystone/s3 --lib fsck::flips` changes every byte of every
//! file; without it, a fixed budget is spread over all files. Each change is shown to the check that fsck and audit make of that
//! file; some are shown to a whole fsck and a whole audit, which must name the same file.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use drystone_schemas::{AuthorKey, EventBody, layout};
use futures_util::FutureExt as _;

use super::{Check, FsckOptions, Log, compare, fsck};
use crate::{
    AuditOptions, Silent, Source, SourceError, audit, published,
    support::{Writer, account, alias, contents, name, publish, version},
};

/// Changes that are tried where not all of them are.
const BUDGET: usize = 12_000;

/// Files in memory, one of them with another byte.
struct Flipped<'a> {
    files: &'a BTreeMap<String, Bytes>,
    key: &'a str,
    bytes: Bytes,
}

#[async_trait]
impl Source for Flipped<'_> {
    async fn get(&self, key: &str, len_max: u64) -> Result<Option<Bytes>, SourceError> {
        let found = if key == self.key { Some(&self.bytes) } else { self.files.get(key) };
        match found {
            Some(bytes) if bytes.len() as u64 > len_max => {
                Err(SourceError::TooLong { key: key.into(), len_max })
            }
            other => Ok(other.cloned()),
        }
    }
}

/// A log of 700 events, in seven commits.
async fn seven_hundred() -> Writer {
    const PACKAGES: [&str; 7] = ["acme/http", "Net_Kit", "a", "b", "json", "acme/json", "zip"];
    let mut writer = Writer::new().await;
    let (mut size, mut round) = (1, 0);
    for batch in 0..7 {
        let mut bodies = Vec::new();
        while bodies.len() < if batch == 6 { 99 } else { 100 } {
            let pkg = PACKAGES[round % PACKAGES.len()];
            let vers = format!("1.{}.0", round / PACKAGES.len());
            bodies.push(match round {
                14 => EventBody::AliasSet { pkg: name("acme/http"), alias: alias("http") },
                21 => EventBody::OwnerAdd {
                    pkg: name("a"),
                    account: account(2),
                    role: drystone_schemas::Role::Owner,
                    exception: None,
                },
                25 => EventBody::AuthorKeyAdd { pkg: name("b"), key: AuthorKey::ed25519(&[7; 32]) },
                22 => EventBody::Yank { pkg: name("b"), vers: version("1.0.0"), reason: None },
                23 => EventBody::Deprecate { pkg: name("zip"), reason: None },
                24 => EventBody::AliasRemove { pkg: name("acme/http"), alias: alias("http") },
                round if round % 5 == 4 => EventBody::Heartbeat {},
                _ => publish(pkg, &vers),
            });
            round += 1;
        }
        size += bodies.len();
        writer.commit(&bodies).await;
    }
    assert_eq!(size, 700);
    writer
}

/// What every by-name file must be.
struct Expected {
    log: Log,
    by_name: BTreeMap<String, Vec<u8>>,
}

/// What the check of this one file finds.
async fn found(source: &Flipped<'_>, options: &FsckOptions, expected: &Expected) -> Option<String> {
    let mut check = Check::new(source, None, options, &Silent);
    let key = source.key;
    if key == layout::CHECKPOINT {
        return published::open(source, options.key.as_ref()).await.err().map(|error| error.to_string());
    }
    if key == layout::LATEST_PROOF {
        check.proof(&expected.log).await;
    } else if let Some(bytes) = expected.by_name.get(key) {
        let problem = compare(source, key, bytes).await;
        check.take(problem);
    } else {
        let problem = check.other(&expected.log, key).await;
        check.take(problem);
    }
    check.problems.first().map(|problem| problem.detail.clone())
}

/// Positions to change in each file, so that all files are hit and long ones more often.
fn positions(files: &BTreeMap<String, Bytes>) -> Vec<(&String, usize)> {
    let all = files.iter().flat_map(|(key, bytes)| (0..bytes.len()).map(move |at| (key, at)));
    // A wrong setting of a test is not worth a door of its own.
    #[expect(clippy::disallowed_methods, reason = "how much a test does is decided from outside")]
    if std::env::var("DRYSTONE_FLIPS").is_ok_and(|value| value == "all") {
        return all.collect();
    }
    let total: usize = files.values().map(Bytes::len).sum();
    let stride = (total / BUDGET).max(1);
    let ends = files
        .iter()
        .flat_map(|(key, bytes)| [0, bytes.len() / 3, bytes.len() - 1].map(|at| (key, at)).into_iter());
    ends.chain(all.step_by(stride)).collect()
}

#[tokio::test]
async fn any_changed_byte_of_any_file_is_found() {
    let writer = seven_hundred().await;
    let files = contents(&writer.store.public).await;
    let key = Some(writer.signer.verifier().clone());
    let options = FsckOptions { key: key.clone(), deep: true };
    let whole = |key: &'static str, bytes: Bytes| Flipped { files: &files, key, bytes };
    let untouched = whole("", Bytes::new());
    let report = fsck(&untouched, None, &options, &Silent).await;
    assert_eq!((report.problems, report.size), (vec![], Some(700)));

    let mut check = Check::new(&untouched, None, &options, &Silent);
    let published = check.checkpoint().await.unwrap();
    let log = check.log(published).await;
    let events = check.events(&log).await;
    let mut by_name: BTreeMap<String, Vec<u8>> =
        events.replica.files().map(|file| (file.key, file.bytes)).collect();
    by_name.extend(events.replica.plain_files().unwrap());
    let expected = Expected { log, by_name };
    for key in files.keys() {
        let source = Flipped { files: &files, key, bytes: files[key].clone() };
        assert_eq!(found(&source, &options, &expected).await, None, "{key} as it is");
    }

    let positions = positions(&files);
    assert!(positions.len() >= 3 * files.len());
    for (count, (key, at)) in positions.iter().enumerate() {
        let mut bytes = files[*key].to_vec();
        bytes[*at] ^= 1 << (count % 8);
        let source = Flipped { files: &files, key, bytes: bytes.into() };
        // Nothing here waits, so that each check is one poll.
        let found =
            found(&source, &options, &expected).now_or_never().expect("reads from memory are done at once");
        assert!(found.is_some(), "byte {at} of `{key}`");
    }
}

#[tokio::test]
async fn a_whole_fsck_and_a_whole_audit_name_the_changed_file() {
    let writer = Writer::sample().await;
    let files = contents(&writer.store.public).await;
    let key = Some(writer.signer.verifier().clone());
    let options = FsckOptions { key: key.clone(), deep: false };
    // Archives of this writer are none, so that nothing can be made from them.
    let audit_options = AuditOptions { key, deep: false, seen: vec![], keep: false };
    let untouched = Flipped { files: &files, key: "", bytes: Bytes::new() };
    let report = audit(&untouched, &audit_options, None, &Silent, &|_| {}).await;
    assert_eq!(report.problems, []);
    for (number, (key, good)) in files.iter().enumerate() {
        let mut bytes = good.to_vec();
        let at = number * 7919 % bytes.len();
        bytes[at] ^= 1 << (number % 8);
        let source = Flipped { files: &files, key, bytes: bytes.into() };
        let audited = audit(&source, &audit_options, None, &Silent, &|_| {}).await;
        let checked = fsck(&source, None, &options, &Silent).await;
        let named = |problems: &[super::FsckProblem]| problems.iter().any(|problem| problem.key == *key);
        // Over HTTP nobody can list what nothing leads to any more: nodes and copies of earlier states, smaller tiles.
        let current = checked.problems.iter().any(|problem| problem.key == *key);
        assert_eq!(named(&audited.problems), current, "byte {at} of `{key}`: {:?}", audited.problems);
        assert!(current || old(key), "byte {at} of `{key}`");
    }
}

/// Whether a file may belong to an earlier state.
fn old(key: &str) -> bool {
    key.starts_with("o/")
        || key.starts_with("log/state/")
        || key.starts_with("log/checkpoints/")
        || key.contains(".p/")
}
