//! What holds for all archives: packing is a function of the files, and damage never goes unnoticed.

use drystone_archive::{PackError, PackFile, pack, read_archive};
use drystone_schemas::{Code, Limits};
use proptest::{collection::btree_map, prelude::*, sample::Index};

use drystone_test_archives::{
    listing::{Listing, lists_alike, ours},
    raw::{GZIP_HEADER, Raw, archive, gzip, long_name, pax},
};

type Files = std::collections::BTreeMap<String, (Vec<u8>, bool)>;

fn packed<'a>(files: impl Iterator<Item = (&'a String, &'a (Vec<u8>, bool))>) -> Result<Vec<u8>, PackError> {
    let files =
        files.map(|(path, (content, executable))| PackFile::bytes(path.as_str(), *executable, content));
    pack(Vec::new(), "p-1.0.0", files, &Limits::default())
}

fn listing(files: &Files) -> Listing {
    let digest = drystone_schemas::Sha256Digest::of;
    let row = |(path, (content, executable)): (&String, &(Vec<u8>, bool))| {
        (format!("p-1.0.0/{path}"), content.len() as u64, digest(content), *executable)
    };
    files.iter().map(row).collect()
}

fn small() -> Vec<u8> {
    let files: Files = [("a.txt", "alpha"), ("b/c.txt", "gamma, and a little more"), ("empty", "")]
        .map(|(path, content)| (path.to_owned(), (content.as_bytes().to_vec(), path.starts_with('a'))))
        .into();
    packed(files.iter()).expect("it packs")
}

/// Segments without a dot are directories, those with one are files, so that no path is both.
fn any_files() -> impl Strategy<Value = Files> {
    let path = ("([a-zé]{1,40}/){0,6}", "[a-zé]{1,120}", "\\.(rs|md)").prop_map(|(d, f, e)| d + &f + &e);
    btree_map(path, (proptest::collection::vec(any::<u8>(), 0..1500), any::<bool>()), 1..12)
}

proptest! {
    #[test]
    fn what_is_packed_reads_back_and_is_canonical(files in any_files()) {
        match packed(files.iter()) {
            Ok(bytes) => {
                prop_assert_eq!(&ours(&bytes).unwrap(), &listing(&files));
                prop_assert!(lists_alike(&bytes, &listing(&files)));
                let facts = read_archive::<_, ()>(&*bytes, &Limits::default(), &mut |_, _| Ok(())).unwrap();
                prop_assert!(facts.canonical);
                prop_assert_eq!(packed(files.iter().rev()).unwrap(), bytes);
            }
            Err(PackError::Refused(errors)) => {
                prop_assert!(errors.iter().all(|error| error.code() == Code::PathTooLong));
                prop_assert!(files.keys().any(|path| path.len() + 8 > 255));
            }
            Err(other) => panic!("memory does not fail: {other}"),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = ours(&bytes);
        let _ = ours(&gzip(&bytes));
        let _ = ours(&[&GZIP_HEADER[..], &bytes].concat());
    }

    /// Headers with fields that were written at random, but whose checksum is right.
    #[test]
    fn what_is_accepted_lists_alike_elsewhere(
        changes in proptest::collection::vec((any::<Index>(), any::<Index>(), field()), 1..4),
    ) {
        let path = format!("p-1.0.0/{}", "long/".repeat(20));
        let mut entries = vec![
            Raw::file("p-1.0.0/a", b"x"),
            Raw::new(b"p-1.0.0/d/", b'5', b""),
            long_name(&(path.clone() + "b")),
            Raw::file(&path, &[7; 600]).gnu(),
            pax(b'x', &["mtime=1.5", &format!("path={path}c")]),
            Raw::file(&path, b"y"),
        ];
        for (entry, at, bytes) in changes {
            let at = at.index(513 - bytes.len());
            let count = entries.len();
            entries[entry.index(count)].put(at, &bytes);
        }
        let bytes = archive(&entries);
        if let Ok(listing) = ours(&bytes) {
            prop_assert!(lists_alike(&bytes, &listing));
        }
    }
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0]),
        Just(b"/".to_vec()),
        Just(b"0".to_vec()),
        Just(b" ".to_vec()),
        Just(b"00000000777\0".to_vec()),
        Just(vec![0xff; 12]),
        proptest::collection::vec(any::<u8>(), 1..4),
    ]
}

#[test]
fn a_changed_byte_never_changes_a_file_unnoticed() {
    let good = small();
    let expected = ours(&good).expect("it is good");
    let mut accepted = Vec::new();
    for at in 0..good.len() {
        for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut bytes = good.clone();
            bytes[at] ^= mask;
            if let Ok(found) = ours(&bytes) {
                assert_eq!(found, expected, "byte {at} with {mask:#x}");
                accepted.push(at);
            }
        }
    }
    accepted.dedup();
    // Time, extra flags and operating system in the gzip header have no checksum and no meaning here. Otherwise only
    // references to other zeros are left, of which tar headers have many.
    assert_eq!(accepted[..6], [4, 5, 6, 7, 8, 9]);
    assert!(accepted.len() < 20, "{accepted:?}");
}

#[test]
fn every_truncation_is_refused() {
    let good = small();
    for length in 0..good.len() {
        let codes: Vec<_> =
            ours(&good[..length]).expect_err("too short").iter().map(|error| error.code()).collect();
        assert_eq!(
            codes,
            [if length == 0 { Code::NotAnArchive } else { Code::ArchiveTruncated }],
            "{length}"
        );
    }
}

/// Whoever changes these bytes changes the digest of every package packed from now on.
#[test]
fn the_canonical_form_does_not_change() {
    assert_eq!(
        drystone_schemas::Sha256Digest::of(&small()).to_string(),
        "sha256:835e454f9aaf40a3e559acb69383fdbf0bbb944266289009cea862ebc6115aac"
    );
}

#[test]
fn what_would_be_refused_is_not_packed() {
    let codes = |root: &str, paths: &[&str]| -> Vec<Code> {
        let files = paths.iter().map(|path| PackFile::bytes(*path, false, b""));
        match pack(Vec::new(), root, files, &Limits { files_max: 3, ..Limits::default() }) {
            Err(PackError::Refused(errors)) => errors.iter().map(|error| error.code()).collect(),
            other => panic!("it was packed, or failed otherwise: {:?}", other.map(|bytes| bytes.len())),
        }
    };
    assert_eq!(codes("p-1.0.0", &[]), [Code::EmptyArchive]);
    assert_eq!(codes("p-1.0.0", &["../a", "A", "a"]), [Code::UnsafePath, Code::DuplicatePath]);
    assert_eq!(codes("p-1.0.0", &["a", "b", "c", "d"]), [Code::TooManyFiles]);
    assert_eq!(codes("a/b", &["c"]), [Code::UnsafePath]);
    // Without a root directory, for languages whose archives are flat, the same rules hold.
    assert_eq!(codes("", &["../a", "A", "a"]), [Code::UnsafePath, Code::DuplicatePath]);
    assert_eq!(codes("", &[]), [Code::EmptyArchive]);
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    for said in [2, 4] {
        let file = PackFile::lazy("a", false, said, || Ok(Box::new(&b"abc"[..])));
        let outcome = pack(Vec::new(), "p-1.0.0", [file], &Limits::default());
        assert!(matches!(outcome, Err(PackError::Changed { path }) if path == "a"));
    }
    let gone = PackFile::lazy("a", false, 3, || Err(std::io::ErrorKind::NotFound.into()));
    let outcome = pack(Vec::new(), "p-1.0.0", [gone], &Limits::default());
    assert!(matches!(outcome, Err(PackError::File { path, .. }) if path == "a"));
}
