//! Archives and manifests.

use std::io::Read as _;

use drystone_archive::{
    Inspected, Layout, PackFile, ReadError, inspect, pack, parse_cargo, parse_generic, read_archive,
    read_archive_as, repack_zig, zig_package_hash,
};
use drystone_schemas::{Code, Format, Limits, PublishMetadata, VersionRecord};
use drystone_test_archives::{
    listing::lists_alike,
    raw::{GZIP_HEADER, gzip},
    shape,
};

/// Small limits, so that all of them are met.
fn limits() -> Limits {
    Limits {
        tarball_bytes_max: 64 << 10,
        unpacked_bytes_max: 1 << 20,
        files_max: 40,
        path_bytes_max: 255,
        depth_max: 8,
        manifest_bytes_max: 4 << 10,
        readme_bytes_max: 1 << 10,
        record_bytes_max: 16 << 10,
        dependencies_max: 8,
        ..Limits::default()
    }
}

/// Bytes as an archive: as they are, as what a gzip member holds, or as what follows a gzip header.
pub fn archive_bytes(data: &[u8]) {
    match data.split_first() {
        Some((0, tar)) => check(&gzip(tar)),
        Some((1, body)) => check(&[&GZIP_HEADER, body].concat()),
        _ => check(data),
    }
}

/// An archive that is nearly right, chosen by bytes.
pub fn archive_shape(data: &[u8]) {
    check(&shape::archive(data));
    check_flat(&shape::zig_archive(data), &limits());
}

/// What is accepted has one reading, and packed again it is canonical and says the same.
fn check(bytes: &[u8]) {
    let limits = limits();
    check_flat(bytes, &limits);
    let (mut files, mut unpacked) = (Vec::new(), 0);
    let outcome = read_archive::<_, std::io::Error>(bytes, &limits, &mut |entry, body| {
        let mut content = Vec::new();
        body.read_to_end(&mut content)?;
        unpacked += content.len() as u64;
        files.push((entry.root.to_owned(), entry.path.to_owned(), entry.executable, content));
        Ok(())
    });
    assert!(unpacked <= limits.unpacked_bytes_max && files.len() as u64 <= limits.files_max);
    let inspected = checked_inspection(bytes, &limits);
    let facts = match outcome {
        Ok(facts) => facts,
        Err(ReadError::Refused(errors)) => {
            assert!(!errors.is_empty() && errors.len() <= 20, "{}", errors.len());
            assert!(inspected.is_none(), "an inspection accepts what reading refuses");
            return;
        }
        Err(other) => panic!("memory does not fail: {other}"),
    };
    assert_eq!((facts.files, facts.unpacked), (files.len() as u64, unpacked));
    assert!(facts.size == bytes.len() as u64 && facts.size <= limits.tarball_bytes_max);
    let digest = drystone_schemas::Sha256Digest::of;
    let listing: Vec<_> = files
        .iter()
        .map(|(root, path, executable, content)| {
            (format!("{root}/{path}"), content.len() as u64, digest(content), *executable)
        })
        .collect();
    assert!(lists_alike(bytes, &listing), "Cargo's unpacker reads it differently");
    let again: Vec<_> = files
        .iter()
        .map(|(_, path, executable, content)| PackFile::bytes(path, *executable, content))
        .collect();
    let packed = pack(Vec::new(), &facts.root, again, &limits).expect("what was accepted can be packed");
    // Incompressible files may pass the limit on the archive by a few bytes of another compressor's.
    let roomy = Limits { tarball_bytes_max: u64::MAX, ..limits };
    let second =
        read_archive::<_, ()>(&*packed, &roomy, &mut |_, _| Ok(())).expect("what was packed is accepted");
    assert!(second.canonical && second.root == facts.root && second.unpacked == facts.unpacked);
    let mut sorted = listing;
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    assert!(lists_alike(&packed, &sorted));
    if facts.canonical {
        assert_eq!(plain(bytes), plain(&packed), "two canonical forms of the same files");
    }
}

/// Where files may lie at the top, everything is as strict as elsewhere; and a Zig package that is packed anew is
/// canonical, and stays what it is when that is done again.
fn check_flat(bytes: &[u8], limits: &Limits) {
    let codes = |layout| match read_archive_as::<_, ()>(bytes, limits, layout, &mut |_, _| Ok(())) {
        Ok(_) => Vec::new(),
        Err(ReadError::Refused(errors)) => errors.iter().map(|error| error.problem().code).collect(),
        Err(other) => panic!("memory does not fail: {other:?}"),
    };
    let (flat, rooted): (Vec<Code>, Vec<Code>) = (codes(Layout::Flat), codes(Layout::OneRoot));
    // Reading stops at 20 problems, and what lies outside a root directory takes no name away.
    if rooted.len() < 20 && !rooted.contains(&Code::WrongRoot) {
        assert_eq!(flat, rooted, "a flat archive is read otherwise");
    }
    let repack = |bytes: &[u8], limits: &Limits| {
        let scratch = std::io::Cursor::new(Vec::new());
        repack_zig(bytes, limits, scratch, Vec::new())
    };
    let Ok(packed) = repack(bytes, limits) else { return };
    assert!(flat.is_empty(), "what is refused was packed anew");
    let roomy = Limits { tarball_bytes_max: u64::MAX, ..limits.clone() };
    let facts =
        read_archive::<_, ()>(&*packed, &roomy, &mut |_, _| Ok(())).expect("what was packed is accepted");
    assert!(facts.canonical);
    assert_eq!(repack(&packed, &roomy).expect("what was packed can be packed"), packed);
    let hash = |bytes: &[u8]| zig_package_hash(bytes, &roomy).expect("it has a manifest");
    assert_eq!(hash(bytes), hash(&packed), "the package hash is another");
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("an accepted archive is whole");
    out
}

/// Inspects as a publish would. A record reads back to itself; refusals are few and not none.
fn checked_inspection(bytes: &[u8], limits: &Limits) -> Option<Inspected> {
    let inspected = inspect(bytes, limits, "drystone.toml", &Format::ALL, &PublishMetadata::default());
    match inspected {
        Ok(inspected) => {
            let line = inspected.record.to_bytes();
            assert!(line.len() as u64 <= limits.record_bytes_max);
            let read: VersionRecord = serde_json::from_slice(&line).expect("a record reads back");
            assert_eq!(read, inspected.record);
            Some(inspected)
        }
        Err(problems) => {
            // At most 20 of the archive and 20 of the manifest, and a few that compare the two.
            assert!((1..=60).contains(&problems.len()), "{}", problems.len());
            None
        }
    }
}

/// A manifest, as both formats read it, by itself and in an archive.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsers = [("Cargo.toml", parse_cargo(text)), ("drystone.toml", parse_generic(text))];
    for (file, parsed) in parsers {
        match parsed {
            Ok(manifest) => {
                let root = drystone_archive::root_directory(&manifest.name, &manifest.vers);
                let limits = Limits::default();
                let files = [PackFile::bytes(file, false, data)];
                let archive = pack(Vec::new(), &root, files, &limits).expect("names and versions make paths");
                let inspected = checked_inspection(&archive, &limits);
                let few = manifest.details.deps.len() as u64 <= limits.dependencies_max;
                if let Some(inspected) = &inspected {
                    assert_eq!(
                        (&inspected.record.name, &inspected.record.vers),
                        (&manifest.name, &manifest.vers)
                    );
                    assert_eq!(inspected.record.deps, manifest.details.deps);
                }
                assert!(
                    inspected.is_some() || !few || data.len() > 32 << 10,
                    "{file} is refused in an archive"
                );
            }
            Err(problems) => assert!((1..=21).contains(&problems.len()), "{}", problems.len()),
        }
    }
}
