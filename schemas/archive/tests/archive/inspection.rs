//! From archives to version records, and every way in which manifest, archive and request can disagree.

use std::io::Read;

use drystone_archive::{Inspected, inspect};
use drystone_schemas::{Code, Format, Limits, Problem, PublishMetadata, RecordFile, Sha256Digest, VcsInfo};

use drystone_test_archives::raw::{Raw, archive};

const CARGO: &str = "[package]\nname = \"p\"\nversion = \"1.0.0\"\n";

fn files(files: &[(&str, &str)]) -> Vec<u8> {
    let raw: Vec<_> = files
        .iter()
        .map(|(path, content)| Raw::file(&format!("p-1.0.0/{path}"), content.as_bytes()))
        .collect();
    archive(&raw)
}

fn try_inspect(bytes: &[u8], expected: &PublishMetadata) -> Result<Inspected, Vec<Problem>> {
    inspect(bytes, &Limits::default(), "raven.toml", &Format::ALL, expected)
}

fn record(contents: &[(&str, &str)]) -> Inspected {
    try_inspect(&files(contents), &PublishMetadata::default()).expect("it is accepted")
}

fn codes(outcome: Result<Inspected, Vec<Problem>>) -> Vec<Code> {
    outcome.err().into_iter().flatten().map(|problem| problem.code).collect()
}

fn refused(contents: &[(&str, &str)]) -> Vec<Code> {
    codes(try_inspect(&files(contents), &PublishMetadata::default()))
}

fn format(format: &str) -> PublishMetadata {
    PublishMetadata { format: Some(format.into()), ..PublishMetadata::default() }
}

#[test]
fn the_record_says_what_the_archive_says() {
    let manifest = format!(
        "{CARGO}description = \"d\"\nlicense = \"MIT\"\nlinks = \"z\"\nrust-version = \"1.70\"\n[dependencies]\na = \"1\"\n\
         [features]\ndefault = [\"x\"]\nx = []\n"
    );
    let bytes = files(&[("src/lib.rs", ""), ("Cargo.toml", &manifest), ("README.md", "# p\n")]);
    let inspected = try_inspect(&bytes, &PublishMetadata::default()).expect("it is accepted");
    let record = inspected.record;
    assert_eq!(inspected.warnings, [""; 0]);
    assert_eq!((record.v, record.format, record.tarball), (2, Format::Cargo, Sha256Digest::of(&bytes)));
    assert_eq!((record.size, record.unpacked), (bytes.len() as u64, manifest.len() as u64 + 4));
    assert_eq!(record.readme.as_deref(), Some("# p\n"));
    assert_eq!((record.links.as_deref(), record.rust_version.as_deref()), (Some("z"), Some("1.70")));
    assert_eq!((&*record.deps[0].name, &*record.deps[0].req), ("a", "^1"));
    assert_eq!(record.features["default"], ["x"]);
    let file = |path: &str, content: &str| {
        RecordFile(path.into(), content.len() as u64, Sha256Digest::of(content.as_bytes()).hex())
    };
    assert_eq!(
        record.files,
        [file("Cargo.toml", &manifest), file("README.md", "# p\n"), file("src/lib.rs", "")]
    );
}

#[test]
fn the_commit_of_a_crate_is_kept_if_it_can_be_read() {
    let commit = "aac20b6e7e543e6dd4118b246c77225e3a3a1302";
    let noted = format!("{{\"git\":{{\"sha1\":\"{commit}\",\"dirty\":true}},\"path_in_vcs\":\"p\"}}");
    let file = (".cargo_vcs_info.json", &*noted);
    let inspected = record(&[("Cargo.toml", CARGO), file]);
    let vcs = VcsInfo { git_sha1: commit.into(), path_in_vcs: "p".into(), dirty: true };
    assert_eq!((inspected.record.vcs, inspected.warnings), (Some(vcs), vec![]));
    // A fact of crates, in the root directory.
    let generic = [("raven.toml", CARGO), file];
    assert_eq!(record(&generic).record.vcs, None);
    assert_eq!(record(&[("Cargo.toml", CARGO), ("src/.cargo_vcs_info.json", &noted)]).record.vcs, None);
    for unusable in ["{}", &*noted.replace("p", " ".repeat(5000).as_str())] {
        let inspected = record(&[("Cargo.toml", CARGO), (".cargo_vcs_info.json", unusable)]);
        assert_eq!(inspected.record.vcs, None);
        assert!(inspected.warnings[0].contains(".cargo_vcs_info.json"), "{:?}", inspected.warnings);
    }
}

#[test]
fn crates_have_a_shorter_limit_than_other_packages() {
    let limits = Limits { crate_bytes_max: Some(100), ..Limits::default() };
    let inspect = |manifest: &str| {
        inspect(
            &*files(&[(manifest, CARGO)]),
            &limits,
            "raven.toml",
            &Format::ALL,
            &PublishMetadata::default(),
        )
    };
    assert!(inspect("raven.toml").is_ok());
    let problems = inspect("Cargo.toml").expect_err("it has more than 100 bytes");
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].code, problems[0].facts["bytes_max"].to_string()),
        (Code::TarballTooBig, "100".into())
    );
    assert!(problems[0].hint.contains("`crate_bytes_max`"), "{}", problems[0].hint);
}

#[test]
fn owners_are_not_in_the_root_directory() {
    let inspected = record(&[("raven.toml", "[package]\nname = 'acme/p'\nversion = '1.0.0'\n")]);
    assert_eq!((inspected.record.name.as_str(), inspected.record.format), ("acme/p", Format::Generic));
    // Not sorted, not packed by us: one file is both all the same.
    assert_eq!(inspected.warnings, ["the archive is not in canonical form; `drystone publish` packs it so"]);
}

#[test]
fn the_readme_is_the_one_that_the_manifest_names_wherever_it_lies() {
    let named = |path: &str| format!("{CARGO}readme = \"{path}\"\n");
    let readme = |contents: &[(&str, &str)]| {
        let inspected = record(contents);
        (inspected.record.readme, inspected.warnings.len())
    };
    let some = |text: &str| (Some(text.to_owned()), 0);
    assert_eq!(
        readme(&[("Cargo.toml", &named("doc/x.txt")), ("README.md", "r"), ("doc/x.txt", "d")]),
        some("d")
    );
    assert_eq!(readme(&[("ABOUT.md", "a"), ("Cargo.toml", &named("ABOUT.md"))]), some("a"));
    assert_eq!(readme(&[("Cargo.toml", CARGO), ("README", "r")]), some("r"));
    assert_eq!(readme(&[("Cargo.toml", &format!("{CARGO}readme = false\n")), ("README", "r")]), (None, 0));
    assert_eq!(readme(&[("Cargo.toml", &named("../README.md")), ("README", "r")]), (None, 1));
    let latin = archive(&[
        Raw::file("p-1.0.0/Cargo.toml", CARGO.as_bytes()),
        Raw::new(b"p-1.0.0/README.md", b'0', b"caf\xe9"),
    ]);
    let inspected = try_inspect(&latin, &PublishMetadata::default()).expect("it is accepted");
    assert_eq!((inspected.record.readme, inspected.warnings.len()), (None, 1));
}

#[test]
fn the_manifest_that_counts() {
    let both: &[_] = &[("Cargo.toml", CARGO), ("raven.toml", CARGO)];
    assert_eq!(refused(both), [Code::ManifestAmbiguous]);
    for name in ["cargo", "generic"] {
        let found = try_inspect(&files(both), &format(name)).expect("the request decides");
        assert_eq!(found.record.format.as_str(), name);
    }
    let only = |allowed: &[Format], contents: &[(&str, &str)], expected: &PublishMetadata| {
        inspect(&*files(contents), &Limits::default(), "raven.toml", allowed, expected)
    };
    let none = PublishMetadata::default();
    assert_eq!(only(&[Format::Cargo], both, &none).expect("one is allowed").record.format, Format::Cargo);
    assert_eq!(codes(only(&[Format::Generic], &[("Cargo.toml", CARGO)], &none)), [Code::FormatDisabled]);
    assert_eq!(codes(only(&[Format::Generic], both, &format("cargo"))), [Code::FormatDisabled]);
    assert_eq!(refused(&[("a", "")]), [Code::ManifestMissing]);
    assert_eq!(refused(&[("sub/Cargo.toml", CARGO)]), [Code::ManifestMissing]);
    assert_eq!(refused(&[("drystone.toml", CARGO)]), [Code::ManifestMissing]);
    assert_eq!(codes(try_inspect(&files(both), &format("npm"))), [Code::UnknownFormat]);
    assert_eq!(codes(try_inspect(&files(&both[..1]), &format("generic"))), [Code::ManifestMissing]);
    assert_eq!(refused(&[("CARGO.TOML", CARGO)]), [Code::ManifestAmbiguous]);
    assert_eq!(refused(&[("cargo.toml", CARGO)]), [Code::ManifestAmbiguous]);
    assert_eq!(
        refused(&[("Cargo.toml", CARGO), ("CARGO.TOML", CARGO)]),
        [Code::DuplicatePath, Code::ManifestAmbiguous][..1]
    );
    assert_eq!(refused(&[("Cargo.toml", CARGO), ("Raven.toml", "")]), []);
}

#[test]
fn the_request_must_agree_in_every_field() {
    let bytes = files(&[("Cargo.toml", CARGO)]);
    let digest = Sha256Digest::of(&bytes);
    let right = PublishMetadata {
        format: Some("cargo".into()),
        name: Some("p".into()),
        vers: Some("1.0.0".into()),
        sha256: Some(digest.hex()),
        size: Some(bytes.len() as u64),
        ..PublishMetadata::default()
    };
    assert_eq!(codes(try_inspect(&bytes, &right)), []);
    assert_eq!(
        codes(try_inspect(&bytes, &PublishMetadata { sha256: Some(digest.to_string()), ..right.clone() })),
        []
    );
    let wrong = PublishMetadata {
        name: Some("P".into()),
        vers: Some("1.0.1".into()),
        sha256: Some(Sha256Digest::of(b"").hex()),
        size: Some(1),
        ..right.clone()
    };
    assert_eq!(
        codes(try_inspect(&bytes, &wrong)),
        [Code::DigestMismatch, Code::LengthMismatch, Code::ManifestDisagrees, Code::ManifestDisagrees]
    );
    let nonsense = PublishMetadata { sha256: Some("md5".into()), ..right.clone() };
    assert_eq!(codes(try_inspect(&bytes, &nonsense)), [Code::MalformedRequest]);
    // A cut upload: what is left still has a length and a digest to compare.
    assert_eq!(
        codes(try_inspect(&bytes[..bytes.len() - 9], &right)),
        [Code::ArchiveTruncated, Code::DigestMismatch, Code::LengthMismatch]
    );
}

#[test]
fn all_problems_of_all_parts_come_together() {
    let manifest = "[package]\nname = 'con'\nversion = '1'\n[dependencies]\na = 'b'\n";
    let bytes = archive(&[
        Raw::file("p-1.0.0/Cargo.toml", manifest.as_bytes()),
        Raw::file("../evil", b""),
        Raw::new(b"p-1.0.0/link", b'2', b""),
    ]);
    let expected = PublishMetadata { name: Some("q".into()), size: Some(1), ..PublishMetadata::default() };
    let problems = try_inspect(&bytes, &expected).expect_err("it is refused");
    let found: Vec<_> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(
        found,
        [
            Code::UnsafePath,
            Code::EntryType,
            Code::LengthMismatch,
            Code::InvalidName,
            Code::InvalidVersion,
            Code::InvalidDependency,
            Code::ManifestDisagrees,
        ]
    );
    assert_eq!(problems[0].facts["path"], "../evil");
    assert_eq!(problems[0].detail, "the path `../evil` has a segment `..`");
    assert_eq!(problems[6].facts["manifest"], "con");
}

#[test]
fn the_root_directory_is_that_of_the_manifest() {
    let other = CARGO.replace("1.0.0", "1.0.0-rc.1");
    let problems =
        try_inspect(&files(&[("Cargo.toml", &other)]), &PublishMetadata::default()).expect_err("refused");
    assert_eq!(problems[0].code, Code::WrongRoot);
    assert_eq!((&*problems[0].facts["root"], &*problems[0].facts["expected"]), ("p-1.0.0", "p-1.0.0-rc.1"));
}

#[test]
fn limits_of_the_record_and_its_parts() {
    let deps: String = (0..3).map(|i| format!("d{i} = \"1\"\n")).collect();
    let manifest = format!("{CARGO}[dependencies]\n{deps}");
    let contents = [("Cargo.toml", &*manifest), ("README.md", "0123456789")];
    let bytes = files(&contents);
    let within =
        |limits: &Limits| inspect(&*bytes, limits, "raven.toml", &Format::ALL, &PublishMetadata::default());
    let length = within(&Limits::default()).expect("it is accepted").record.to_bytes().len() as u64;
    let exact = Limits {
        manifest_bytes_max: manifest.len() as u64,
        readme_bytes_max: 10,
        dependencies_max: 3,
        record_bytes_max: length,
        ..Limits::default()
    };
    assert!(within(&exact).is_ok());
    let one_less = |change: fn(&mut Limits)| {
        let mut limits = exact.clone();
        change(&mut limits);
        codes(within(&limits))
    };
    assert_eq!(one_less(|limits| limits.manifest_bytes_max -= 1), [Code::ManifestTooBig]);
    assert_eq!(one_less(|limits| limits.readme_bytes_max -= 1), [Code::ReadmeTooBig]);
    assert_eq!(one_less(|limits| limits.dependencies_max -= 1), [Code::TooManyDependencies]);
    assert_eq!(one_less(|limits| limits.record_bytes_max -= 1), [Code::RecordTooBig]);
}

#[test]
fn a_manifest_that_cannot_be_read() {
    assert_eq!(refused(&[("Cargo.toml", "= 1")]), [Code::ManifestInvalid]);
    let latin = archive(&[Raw::new(b"p-1.0.0/Cargo.toml", b'0', b"\xff")]);
    assert_eq!(codes(try_inspect(&latin, &PublishMetadata::default())), [Code::ManifestInvalid]);
}

#[test]
fn a_source_that_fails_is_not_the_authors_fault() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("/secret/path"))
        }
    }
    let bytes = files(&[("Cargo.toml", CARGO)]);
    let half = (&bytes[..bytes.len() / 2]).chain(Broken);
    let problems = inspect(half, &Limits::default(), "raven.toml", &Format::ALL, &PublishMetadata::default())
        .expect_err("it cannot be read");
    assert_eq!((problems[0].code, problems.len()), (Code::LocalIo, 1));
    assert!(!problems[0].detail.contains("secret"));
}
