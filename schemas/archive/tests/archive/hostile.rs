//! Hostile archives: each gets its codes, from reading and from inspection alike.

use std::collections::BTreeSet;

use drystone_archive::inspect;
use drystone_schemas::{Code, Format, Limits, PublishMetadata};
use drystone_test_archives::{
    cases::{self, Case, manifest, too_far},
    listing::{lists_alike, ours, ours_within},
    raw::{Raw, archive, tar},
};

/// Whether reading alone finds it, without the manifest.
fn of_archives(code: Code) -> bool {
    code.number().starts_with("DRY02")
}

#[test]
fn every_hostile_archive_gets_its_codes() {
    let mut wrong = Vec::new();
    for Case { name, bytes, codes } in cases::all() {
        let found = ours(&bytes);
        let found_codes: Vec<_> =
            found.as_ref().err().into_iter().flatten().map(|error| error.code()).collect();
        let expected: Vec<_> = codes.into_iter().filter(|code| of_archives(*code)).collect();
        if found_codes != expected {
            wrong.push(format!("{name}: {found_codes:?} instead of {expected:?}"));
        } else if let Ok(listing) = found {
            assert!(lists_alike(&bytes, &listing), "{name}");
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn inspection_reports_them_too() {
    for Case { name, bytes, codes } in cases::all() {
        let inspected =
            inspect(&*bytes, &Limits::default(), "drystone.toml", &Format::ALL, &PublishMetadata::default());
        let found: Vec<_> = inspected.err().into_iter().flatten().map(|problem| problem.code).collect();
        assert!(found.starts_with(&codes) && found.is_empty() == codes.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn every_code_of_archives_has_a_row() {
    let mut seen: BTreeSet<Code> = cases::all().into_iter().flat_map(|case| case.codes).collect();
    seen.extend(limited().into_iter().map(|(_, _, code)| code));
    let all = Code::ALL.iter().copied().filter(|code| of_archives(*code));
    assert_eq!(all.filter(|code| !seen.contains(code)).collect::<Vec<_>>(), []);
}

#[test]
fn the_unchecked_reference_really_has_two_readings() {
    let bytes = too_far(&tar(&[manifest()]));
    // Cargo's own decoder reads it; the same bytes are an error for others.
    let path = "p-1.0.0/drystone.toml".to_owned();
    let data = manifest().data;
    let listing = vec![(path, data.len() as u64, drystone_schemas::Sha256Digest::of(&data), false)];
    assert!(lists_alike(&bytes, &listing));
}

/// Archives that only break a limit: the limit, the archive, the code.
fn limited() -> Vec<(Limits, Vec<u8>, Code)> {
    let limits = Limits::default;
    let file = |path| Raw::file(path, b"x");
    let three = archive(&[manifest(), file("p-1.0.0/a"), file("p-1.0.0/b")]);
    let size = three.len() as u64;
    vec![
        (Limits { files_max: 2, ..limits() }, three.clone(), Code::TooManyFiles),
        (Limits { tarball_bytes_max: size - 1, ..limits() }, three.clone(), Code::TarballTooBig),
        (Limits { unpacked_bytes_max: 40, ..limits() }, three.clone(), Code::UnpackedTooBig),
        (Limits { path_bytes_max: 20, ..limits() }, three.clone(), Code::PathTooLong),
        (Limits { depth_max: 0, ..limits() }, three, Code::PathTooLong),
    ]
}

#[test]
fn limits_are_exact() {
    for (limits, bytes, code) in limited() {
        let codes: Vec<_> =
            ours_within(&bytes, &limits).expect_err("over the limit").iter().map(|e| e.code()).collect();
        assert!(codes.iter().all(|found| *found == code), "{codes:?}");
        let roomy = Limits {
            files_max: limits.files_max.max(3),
            tarball_bytes_max: limits.tarball_bytes_max.max(bytes.len() as u64),
            unpacked_bytes_max: limits.unpacked_bytes_max.max(manifest().data.len() as u64 + 2),
            path_bytes_max: limits.path_bytes_max.max(21),
            depth_max: limits.depth_max.max(1),
            ..limits
        };
        assert!(ours_within(&bytes, &roomy).is_ok());
    }
}
