//! Crates from another registry, from a local registry of cargo's, and from what `cargo vendor` unpacked.

use std::path::Path;

use drystone_schemas::IndexFile;
use drystone_tests::process::{Server, User};
use serde_json::{Value, json};

use crate::cargo::{Cargo, serve};

/// A registry that has something to give: `base` in three versions, the second yanked, and `top`, which needs it.
struct Source {
    folder: tempfile::TempDir,
    server: Server,
    cargo: Cargo,
}

fn source() -> Source {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let cargo = Cargo::signed_in(&server.url, &token);
    for (n, vers) in ["1.0.0", "1.1.0", "1.2.0"].into_iter().enumerate() {
        cargo.write_crate("base", "dry-base", vers, "[workspace]\n", &format!("pub const N: usize = {n};\n"));
        cargo.run("base", &["publish", "--registry", "dry", "--no-verify"]);
    }
    cargo.run("base", &["yank", "--registry", "dry", "dry-base@1.1.0"]);
    let depends = "[dependencies]\ndry-base = { version = \"1\", registry = \"dry\" }\n[workspace]\n";
    cargo.write_crate("top", "dry-top", "0.1.0", depends, "pub use dry_base::N;\n");
    cargo.run("top", &["publish", "--registry", "dry", "--no-verify"]);
    Source { folder, server, cargo }
}

/// A registry to import into, and who does it.
fn target() -> (tempfile::TempDir, Server, User) {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let user = User::new(&server.url, Some(&token));
    (folder, server, user)
}

fn lines(registry: &Path, path: &str) -> Vec<(String, bool, String)> {
    let bytes = fs_err::read(registry.join("data/public/index").join(path)).unwrap();
    let lines = IndexFile::parse(&bytes).unwrap().lines.into_iter();
    lines.map(|line| (line.vers.to_string(), line.yanked, line.cksum)).collect()
}

/// Runs `drystone import ... --json`: the exit code, and the numbers of the summary.
fn import(user: &User, arguments: &[&str]) -> (i32, Value) {
    let output = user.run(user.home(), &[&["import"], arguments, &["--json"]].concat());
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut summary: Value = serde_json::from_str(told.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}: {told}{}", String::from_utf8_lossy(&output.stderr)));
    summary["failed"] = json!(summary["failed"].as_array().unwrap().len());
    (output.status.code().unwrap(), summary)
}

fn counts(found: u32, published: u32, already: u32, yanked: u32, failed: u32) -> Value {
    json!({"found": found, "published": published, "already": already, "yanked": yanked, "failed": failed, "not_tried": 0})
}

#[test]
fn a_registry_moves_with_its_checksums_and_yanks() {
    let source = source();
    let (folder, _server, user) = target();
    let index = format!("sparse+{}/index/", source.server.url);

    // A damaged archive stops nothing but itself, and is not published.
    let cksum = lines(source.folder.path(), "dr/y-/dry-base")[0].2.clone();
    let damaged = source.folder.path().join("data/public/o").join(cksum);
    let good = fs_err::read(&damaged).unwrap();
    fs_err::write(&damaged, &good[1..]).unwrap();
    let first = import(&user, &["registry", &index, "dry-top", "--with-dependencies"]);
    assert_eq!(first, (5, counts(4, 3, 0, 1, 1)));

    // Run again, it takes what is missing; and again, nothing.
    fs_err::write(&damaged, good).unwrap();
    assert_eq!(
        import(&user, &["registry", &index, "dry-top", "--with-dependencies"]),
        (0, counts(4, 1, 3, 0, 0))
    );
    assert_eq!(import(&user, &["registry", &index, "dry-base"]), (0, counts(3, 0, 3, 0, 0)));
    let mut moved = lines(folder.path(), "dr/y-/dry-base");
    moved.sort();
    assert_eq!(moved, lines(source.folder.path(), "dr/y-/dry-base"));
    assert_eq!(lines(folder.path(), "dr/y-/dry-top"), lines(source.folder.path(), "dr/y-/dry-top"));
    assert_eq!(user.ok(user.home(), &["fsck", &folder.path().join("data").display().to_string()]), "clean\n");

    // A part: one version, what a lock file names, what is not there.
    let (folder, _server, user) = target();
    assert_eq!(import(&user, &["registry", &index, "dry-base@^1.2"]), (0, counts(1, 1, 0, 0, 0)));
    source.cargo.run("top", &["generate-lockfile"]);
    let lock = source.cargo.path("top/Cargo.lock").display().to_string();
    assert_eq!(import(&user, &["registry", &index, "--lock", &lock]), (0, counts(1, 0, 1, 0, 0)));
    assert_eq!(lines(folder.path(), "dr/y-/dry-base").len(), 1);
    assert_eq!(import(&user, &["registry", &index, "nothing-there"]), (1, counts(1, 0, 0, 0, 1)));
    let nothing = user.run(user.home(), &["import", "registry", &index]);
    assert_eq!(nothing.status.code(), Some(2), "{}", String::from_utf8_lossy(&nothing.stderr));
}

#[test]
fn a_private_registry_is_read_with_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &["--private-reads"]);
    let cargo = Cargo::signed_in(&server.url, &token);
    cargo.write_crate("base", "dry-base", "1.0.0", "[workspace]\n", "");
    cargo.run("base", &["publish", "--registry", "dry", "--no-verify"]);
    let (_folder, _server, user) = target();
    let index = format!("{}/index/", server.url);
    let refused = user.run(user.home(), &["import", "registry", &index, "dry-base"]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
    let user = user.with("DRYSTONE_SOURCE_TOKEN", &token);
    assert_eq!(import(&user, &["registry", &index, "dry-base"]), (0, counts(1, 1, 0, 0, 0)));
}

#[test]
fn a_local_registry_and_vendored_crates() {
    let source = source();
    // As `cargo local-registry` lays them out.
    let local = source.folder.path().join("local");
    let public = source.folder.path().join("data/public");
    for path in ["dr/y-/dry-base", "dr/y-/dry-top"] {
        let to = local.join("index").join(path);
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(public.join("index").join(path), to).unwrap();
        let name = path.rsplit('/').next().unwrap();
        for (vers, _, cksum) in lines(source.folder.path(), path) {
            fs_err::copy(public.join("o").join(cksum), local.join(format!("{name}-{vers}.crate"))).unwrap();
        }
    }
    fs_err::write(local.join("dry-base-1.0.0.crate"), "something else").unwrap();
    let (folder, _server, user) = target();
    let directory = local.display().to_string();
    assert_eq!(import(&user, &["local-registry", &directory]), (5, counts(4, 3, 0, 1, 1)));
    let versions: Vec<_> = lines(folder.path(), "dr/y-/dry-base");
    assert_eq!(versions, lines(source.folder.path(), "dr/y-/dry-base")[1..]);

    source.cargo.run("top", &["vendor"]);
    let vendor = source.cargo.path("top/vendor");
    let (folder, server, user) = target();
    let directory = vendor.display().to_string();
    assert_eq!(import(&user, &["vendored", &directory]), (0, counts(1, 1, 0, 0, 0)));
    // The same files make the same archive.
    assert_eq!(import(&user, &["vendored", &directory]), (0, counts(1, 0, 1, 0, 0)));
    let [(vers, _, cksum)] = &lines(folder.path(), "dr/y-/dry-base")[..] else { panic!("one version") };
    let there = lines(source.folder.path(), "dr/y-/dry-base");
    assert!(vers == "1.2.0" && there.iter().all(|(_, _, other)| other != cksum));
    let cargo = Cargo::new(&server.url);
    let depends = "[dependencies]\ndry-base = { version = \"1\", registry = \"dry\" }\n[workspace]\n";
    cargo.write_crate("app", "app", "0.1.0", depends, "pub use dry_base::N;\n");
    cargo.run("app", &["check"]);
    // A file that is not as it was vendored.
    fs_err::write(vendor.join("dry-base/src/lib.rs"), "changed").unwrap();
    assert_eq!(import(&user, &["vendored", &directory]).1, counts(1, 0, 0, 0, 1));
}
