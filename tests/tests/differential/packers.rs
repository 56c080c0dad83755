//! The same package as every tool packs it that people use.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use drystone_client::pack::pack_directory;
use drystone_schemas::Limits;

use super::here;

const PYTHON: &str = "
import sys, tarfile
for name in ['USTAR', 'GNU', 'PAX']:
    with tarfile.open(f'{sys.argv[2]}/python-{name.lower()}.tar.gz', 'w:gz', format=getattr(tarfile, name + '_FORMAT')) as out:
        out.add(sys.argv[1], 'p-1.0.0', filter=lambda member: None if name == 'USTAR' and len(member.name) > 200 else member)
";

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; see tests/run"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn write_package(folder: &Path) {
    let deep = folder.join("directory/".repeat(11));
    fs_err::create_dir_all(&deep).unwrap();
    fs_err::create_dir_all(folder.join("empty")).unwrap();
    fs_err::write(folder.join("drystone.toml"), "[package]\nname = 'p'\nversion = '1.0.0'\n").unwrap();
    fs_err::write(deep.join("file"), "deep").unwrap();
    fs_err::write(folder.join("é日本語 ß.txt"), "not ASCII").unwrap();
    fs_err::write(folder.join("block"), [b'x'; 512]).unwrap();
}

/// Archives by the tool that made them.
pub(super) fn all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (package, out) = (folder.join("package"), folder.join("packed"));
    fs_err::create_dir_all(&out).unwrap();
    write_package(&package);
    for format in ["ustar", "gnu", "pax"] {
        let mut tar = Command::new("tar");
        tar.arg(format!("--format={format}")).args(["--transform", "s,^package,p-1.0.0,", "-czf"]);
        run(tar.arg(out.join(format!("tar-{format}.tar.gz"))).args(["-C"]).arg(folder).arg("package"));
    }
    run(Command::new("python3").args(["-c", PYTHON]).arg(&package).arg(&out));
    let mut go = super::go_program(&out);
    run(go.arg(&out));
    crate_by_cargo(folder, &out);
    // A path that no header field holds is for those alone that have another way to say it.
    let long = package.join("f".repeat(150));
    fs_err::write(&long, "long").unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--format=gnu", "--transform", "s,^package,p-1.0.0,", "-czf"]);
    run(tar.arg(out.join("tar-gnu-long.tar.gz")).arg("-C").arg(folder).arg("package"));
    let packed =
        pack_directory(&package, "drystone.toml", &Limits::default()).expect("the directory can be packed");
    fs_err::copy(&packed.archive.path, out.join("drystone.tar.gz")).unwrap();
    let files = fs_err::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs_err::read(&path).unwrap()))
        .collect()
}

fn crate_by_cargo(folder: &Path, out: &Path) {
    let source = folder.join("crate");
    fs_err::create_dir_all(source.join("src").join("d".repeat(80)).join("e".repeat(60))).unwrap();
    let manifest = "[package]\nname = \"p\"\nversion = \"1.0.0\"\nedition = \"2021\"\ndescription = \"d\"\nlicense = \"MIT\"\n[workspace]\n";
    fs_err::write(source.join("Cargo.toml"), manifest).unwrap();
    fs_err::write(source.join("src/lib.rs"), "//! Nothing.\n").unwrap();
    fs_err::write(source.join("src").join("d".repeat(80)).join("e".repeat(60)).join("é.rs"), "").unwrap();
    let mut cargo = Command::new("cargo");
    cargo.args(["package", "--quiet", "--offline", "--no-verify", "--allow-dirty"]);
    run(cargo.current_dir(&source).env("CARGO_TARGET_DIR", folder.join("target")));
    fs_err::copy(folder.join("target/package/p-1.0.0.crate"), out.join("cargo.crate")).unwrap();
    assert!(here("list.go").is_file());
}
