//! `drystone cargo fetch` and `vendor`: what they leave for cargo is what cargo would have made, and cargo builds from it.

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use drystone_tests::process::{Server, User};

use crate::cargo::{Cargo, serve};

/// A registry in the place of crates.io, and an application with a lock file.
struct World {
    folder: tempfile::TempDir,
    server: Server,
    cargo: Cargo,
}

const APP: &str = "[dependencies]\ndry-top = \"1\"\n[workspace]\n";

fn mirrored(cargo: &Cargo, url: &str) {
    cargo.configure(&format!(
        "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{url}/index/\"\n"
    ));
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &["--mirror-crates-io"]);
    let cargo = Cargo::signed_in(&server.url, &token);
    mirrored(&cargo, &server.url);
    for vers in ["0.9.0", "1.0.0", "1.1.0+build.7"] {
        let code = format!("pub fn one() -> &'static str {{ \"{vers}\" }}\n");
        cargo.write_crate("base", "dry-base", vers, "[features]\nextra = []\n[workspace]\n", &code);
        cargo.write("base/deep/er/data.txt", "data");
        cargo.write("base/.gitignore", "target\n");
        cargo.run("base", &["publish", "--registry", "dry", "--no-verify"]);
    }
    let depends = "[dependencies]\ndry-base = { version = \"1\", features = [\"extra\"] }\nold = { package = \"dry-base\", version = \"0.9\" }\n[workspace]\n";
    cargo.write_crate(
        "top",
        "dry-top",
        "1.0.0",
        depends,
        "pub use dry_base::one;\npub use old::one as old;\n",
    );
    cargo.write("top/build.rs", "fn main() { println!(\"cargo::rerun-if-changed=src/lib.rs\"); }\n");
    cargo.run("top", &["publish", "--registry", "dry", "--no-verify"]);
    cargo.write_crate("app", "app", "0.1.0", APP, "pub use dry_top::{old, one};\n");
    cargo.run("app", &["generate-lockfile"]);
    World { folder, server, cargo }
}

/// Somebody else, who has the application and its lock file, and nothing of cargo's yet.
fn newcomer(world: &World) -> (Cargo, User) {
    let other = Cargo::new(&world.server.url);
    mirrored(&other, &world.server.url);
    for file in ["app/Cargo.toml", "app/src/lib.rs", "app/Cargo.lock"] {
        other.write(file, fs_err::read(world.cargo.path(file)).unwrap());
    }
    let user = User::new(&world.server.url, None)
        .with("CARGO_HOME", &other.path("home").display().to_string())
        .with("HOME", &other.path("").display().to_string());
    (other, user)
}

/// Every file below a directory: bytes, whether it may be executed, and when it was written where `times` count.
fn tree(dir: &Path, times: bool) -> BTreeMap<String, (Vec<u8>, bool, Option<SystemTime>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let (mut files, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs_err::metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path);
            } else {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                let modified = times.then(|| metadata.modified().unwrap());
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                let is_ok_file = name.ends_with(".cargo-ok");
                let found = (fs_err::read(&path).unwrap(), executable, modified.filter(|_| !is_ok_file));
                files.insert(name, found);
            }
        }
    }
    files
}

#[test]
fn the_cache_is_the_one_that_cargo_would_have_made_and_cargo_builds_from_it() {
    let world = world();
    world.cargo.run("app", &["fetch", "--locked"]);
    let (other, user) = newcomer(&world);
    let app = other.path("app");
    let told = user.ok(&app, &["cargo", "fetch", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    let expected =
        serde_json::json!({"packages": 3, "downloaded": 3, "unpacked": 3, "index_files": 2, "left": []});
    assert_eq!(report, expected);
    for (part, times) in [("index", false), ("cache", false), ("src", true)] {
        let of = |cargo: &Cargo| tree(&cargo.path("home/registry").join(part), times);
        let (ours, cargos) = (of(&other), of(&world.cargo));
        let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
        assert!(!ours.is_empty(), "{part}");
        assert_eq!(names(&ours.clone()), names(&cargos.clone()), "{part}");
        for (name, file) in ours {
            assert_eq!(file, cargos[&name], "{part}: {name}");
        }
    }

    // Nothing is asked again, and with the registry gone cargo builds.
    let again = user.ok(&app, &["cargo", "fetch", "--json", "--offline"]);
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["downloaded"], &again["unpacked"], &again["index_files"]),
        (&0.into(), &0.into(), &0.into())
    );
    world.server.kill();
    other.run("app", &["build", "--locked", "--offline"]);
}

#[test]
fn what_is_half_there_or_damaged_is_made_anew_and_what_lies_is_not_kept() {
    let world = world();
    let (other, user) = newcomer(&world);
    let app = other.path("app");
    let fails = |arguments: &[&str]| {
        let output = user.run(&app, &[&["cargo"], arguments].concat());
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(
        fails(&["fetch", "--offline"]),
        (
            1,
            "error[DRY0705]: `dry-base` 0.9.0, `dry-base` 1.1.0+build.7, `dry-top` 1.0.0 is not in the cache\n  hint: run once without `--offline`\n"
                .into()
        )
    );

    // Other bytes than the lock file's checksum end with exit code 5, and leave nothing that cargo could find.
    let lock = fs_err::read_to_string(app.join("Cargo.lock")).unwrap();
    let top = lock.rsplit_once("name = \"dry-top\"").unwrap().1;
    let checksum = top.split_once("checksum = \"").unwrap().1.split('"').next().unwrap().to_owned();
    let object = world.folder.path().join("data/public/o").join(&checksum);
    let good = fs_err::read(&object).unwrap();
    let mut evil = good.clone();
    evil[good.len() / 2] ^= 1;
    fs_err::write(&object, &evil).unwrap();
    let (code, told) = fails(&["fetch"]);
    assert!(
        code == 5 && told.contains("the archive of dry-top 1.0.0 should have the digest"),
        "{code}: {told}"
    );
    let registry = other.path("home/registry");
    let has = |part: &str, name: &str| {
        registry.join(part).exists()
            && tree(&registry.join(part), false)
                .keys()
                .any(|path| path.contains(name) || path.contains("drystone"))
    };
    assert!(!has("src", "dry-top") && !has("cache", "dry-top"));
    fs_err::write(&object, &good).unwrap();
    user.ok(&app, &["cargo", "fetch"]);

    // A cargo that was killed in the middle, and a disk that lost bytes.
    let of = |part: &str, name: &str| {
        let host = fs_err::read_dir(registry.join(part)).unwrap().next().unwrap().unwrap().path();
        host.join(name)
    };
    fs_err::remove_file(of("src", "dry-top-1.0.0/.cargo-ok")).unwrap();
    fs_err::remove_file(of("src", "dry-top-1.0.0/src/lib.rs")).unwrap();
    fs_err::remove_dir_all(of("src", "dry-base-0.9.0")).unwrap();
    fs_err::write(of("cache", "dry-base-0.9.0.crate"), &evil).unwrap();
    fs_err::create_dir_all(of("src", ".drystone-new/dry-top-1.0.0/half")).unwrap();
    let told = user.ok(&app, &["cargo", "fetch", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&report["downloaded"], &report["unpacked"]), (&1.into(), &2.into()));
    assert!(!of("src", ".drystone-new").exists());
    world.server.kill();
    other.run("app", &["check", "--locked", "--offline"]);
}

#[test]
fn a_directory_source_is_written_that_cargo_accepts() {
    let world = world();
    let (other, user) = newcomer(&world);
    let app = other.path("app");
    fs_err::create_dir_all(app.join("vendor/dry-gone-1.0.0")).unwrap();
    fs_err::write(app.join("vendor/dry-gone-1.0.0/.cargo-checksum.json"), "{\"files\":{}}").unwrap();
    fs_err::write(app.join("vendor/README"), "ours").unwrap();
    let config = user.ok(&app, &["cargo", "vendor"]);
    assert_eq!(
        config,
        "[source.crates-io]\nreplace-with = \"vendored-sources\"\n\n[source.vendored-sources]\ndirectory = \"vendor\"\n"
    );
    let mut names: Vec<String> = fs_err::read_dir(app.join("vendor"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["README", "dry-base-0.9.0", "dry-base-1.1.0+build.7", "dry-top-1.0.0"]);
    let again = user.ok(&app, &["cargo", "vendor", "--offline", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&again).unwrap()["added"], 0);
    world.server.kill();
    other.configure("");
    other.write("app/.cargo/config.toml", config);
    other.run("app", &["check", "--locked", "--offline"]);
}

#[test]
fn a_lock_file_that_is_missing_is_made_as_cargo_makes_it() {
    let world = world();
    let (other, user) = newcomer(&world);
    // A workspace that inherits, renames, and turns a feature of what it uses on by one of its own.
    let root = "[workspace]\nmembers = [\"app\", \"tool\"]\nresolver = \"3\"\n[workspace.dependencies]\ndry-base = { version = \"1\", default-features = false }\n";
    let app = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\ndry-top = \"1\"\ntool = { path = \"../tool\" }\n";
    let tool = "[package]\nname = \"tool\"\nversion = \"0.2.0\"\nedition = \"2024\"\n[features]\nmore = [\"newer/extra\"]\n[dependencies]\nnewer = { package = \"dry-base\", version = \"0.9\", optional = true }\n[dev-dependencies]\ndry-base.workspace = true\n";
    for cargo in [&world.cargo, &other] {
        cargo.write("ws/Cargo.toml", root);
        cargo.write("ws/app/Cargo.toml", app);
        cargo.write("ws/app/src/lib.rs", "pub use dry_top::{old, one};\n");
        cargo.write("ws/tool/Cargo.toml", tool);
        cargo.write("ws/tool/src/lib.rs", "");
    }
    world.cargo.run("ws", &["generate-lockfile"]);
    let told = user.ok(&other.path("ws/tool"), &["cargo", "fetch", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&report["packages"], &report["index_files"]),
        (&3.into(), &0.into()),
        "the indexes are there already"
    );
    let read = |cargo: &Cargo| fs_err::read_to_string(cargo.path("ws/Cargo.lock")).unwrap();
    assert_eq!(read(&other), read(&world.cargo));
    // What is locked is not chosen again.
    let again = user.ok(&other.path("ws"), &["cargo", "fetch", "--offline", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&again).unwrap()["downloaded"], 0);

    other.write(
        "lone/Cargo.toml",
        app.replace("tool = { path = \"../tool\" }\n", "dry-base = { version = \"7\" }\n"),
    );
    other.write("lone/src/lib.rs", "");
    let fails = |dir: &str, arguments: &[&str]| {
        let output = user.run(&other.path(dir), &[&["cargo", "fetch"], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = fails("lone", &[]);
    assert!(code == Some(1) && told.contains("no versions fit") && told.contains("dry-base"), "{told}");
    let (code, told) = fails("lone", &["--offline"]);
    assert!(code == Some(1) && told.contains("`Cargo.lock` is not in the cache"), "{told}");
    other.write("lone/Cargo.toml", app);
    fs_err::create_dir_all(other.path("tool/src")).unwrap();
    other.write("tool/Cargo.toml", "[package]\nname = \"tool\"\nversion = \"0.1.0\"\n[workspace]\n");
    other.write("tool/src/lib.rs", "");
    let (code, told) = fails("lone", &[]);
    assert_eq!(
        (code, &*told),
        (
            Some(2),
            "error[DRY0708]: `tool` of `app` cannot be resolved here: it lies outside of the workspace\n  hint: make the lock file with `cargo generate-lockfile`, and run this again\n"
        )
    );
    assert!(!other.path("lone/Cargo.lock").exists());

    world.server.kill();
    other.run("ws", &["build", "--workspace", "--locked", "--offline"]);
}
