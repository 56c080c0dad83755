use super::*;

const MANIFEST: &str = "[package]\nname = \"acme/http\"\nversion = \"1.0.0\"\n";

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    dir
}

fn listed(dir: &Path, include: &[&str], exclude: &[&str]) -> Vec<String> {
    let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
    let files = package_files(dir, "drystone.toml", &owned(include), &owned(exclude)).unwrap();
    files.into_iter().map(|file| file.path).collect()
}

#[test]
fn what_belongs_to_a_package() {
    let dir = tree(&[
        ("drystone.toml", MANIFEST),
        ("README.md", ""),
        ("src/main.x", ""),
        ("src/target/kept.x", ""),
        ("src/notes.log", ""),
        ("src/private.x", ""),
        ("target/out", ""),
        ("drystone_packages/a/a.x", ""),
        ("web/node_modules/a.js", ""),
        (".git/config", ""),
        (".env", "SECRET"),
        ("src/.hidden", ""),
        (".gitignore", "*.log\n"),
        (".drystoneignore", "private.x\n"),
        ("docs/big.bin", ""),
    ]);
    assert_eq!(
        listed(dir.path(), &[], &["docs"]),
        ["README.md", "drystone.toml", "src/main.x", "src/target/kept.x"]
    );
    assert_eq!(listed(dir.path(), &["src/*.x"], &[]), ["drystone.toml", "src/main.x", "src/private.x"]);
    assert_eq!(
        listed(dir.path(), &["src/**", ".env", "target/**"], &["*.log", "private.x"]),
        ["drystone.toml", "src/main.x", "src/target/kept.x"]
    );
}

#[cfg(unix)]
#[test]
fn links_are_problems_by_name_unless_they_are_left_out() {
    let dir = tree(&[("drystone.toml", MANIFEST), ("a", "")]);
    std::os::unix::fs::symlink("a", dir.path().join("latest")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
    let problems = package_files(dir.path(), "drystone.toml", &[], &[]).unwrap_err().problems();
    let found: Vec<_> = problems.iter().map(|p| (p.code, p.detail.as_str())).collect();
    assert_eq!(
        found,
        [(Code::EntryType, "`etc` is a symbolic link"), (Code::EntryType, "`latest` is a symbolic link")]
    );
    assert_eq!(listed(dir.path(), &[], &["latest", "etc"]), ["a", "drystone.toml"]);
}

#[test]
fn packing_twice_gives_equal_bytes_that_pass_inspection() {
    let dir = tree(&[("drystone.toml", MANIFEST), ("src/a.x", "a"), ("README.md", "# http\n")]);
    let limits = Limits::default();
    let packed = pack_directory(dir.path(), "drystone.toml", &limits).unwrap();
    let again = pack_directory(dir.path(), "drystone.toml", &limits).unwrap();
    assert_eq!(packed.archive.digest, again.archive.digest);
    assert_eq!(packed.archive.file_name, "http-1.0.0.tar.gz");
    let bytes = fs_err::read(&packed.archive.path).unwrap();
    assert_eq!((Sha256Digest::of(&bytes), bytes.len() as u64), (packed.archive.digest, packed.archive.size));
    let opened = LocalArchive::open(&packed.archive.path, None).unwrap();
    assert_eq!((opened.digest, opened.size), (packed.archive.digest, packed.archive.size));
    let inspected =
        drystone_archive::inspect(&bytes[..], &limits, "drystone.toml", &Format::ALL, &Default::default())
            .unwrap();
    assert_eq!(inspected.warnings, Vec::<String>::new());
    assert_eq!(inspected.record.files.len(), packed.files.len());
}

#[test]
fn a_directory_without_manifest_and_a_bad_manifest_are_told() {
    let dir = tree(&[("a", "")]);
    let code =
        |dir: &Path| pack_directory(dir, "drystone.toml", &Limits::default()).unwrap_err().problems()[0].code;
    assert_eq!(code(dir.path()), Code::ProjectNotFound);
    let dir = tree(&[("drystone.toml", "[package]\nname = \"a b\"\nversion = \"1.0.0\"\n")]);
    assert_eq!(code(dir.path()), Code::InvalidName);
}
