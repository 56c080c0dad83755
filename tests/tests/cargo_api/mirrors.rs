//! A registry in the place of crates.io, and a registry under another address than its own.

use serde_json::{Value, json};

use crate::cargo::{Cargo, serve};

fn last_line(folder: &std::path::Path, path: &str) -> Value {
    let text = fs_err::read_to_string(folder.join("data/public/index").join(path)).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

const DEPENDENT: &str = "[dependencies]\ndry-base = \"1\"\n[workspace]\n";
const USE: &str = "pub use dry_base::one;\n";

/// Where the registry replaces crates.io, a dependency without a registry means it, and crates find each other.
#[test]
fn a_registry_stands_in_for_crates_io() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &["--mirror-crates-io"]);
    let cargo = Cargo::signed_in(&server.url, &token);
    cargo.configure(&format!(
        "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{}/index/\"\n",
        server.url
    ));
    cargo.write_crate("base", "dry-base", "1.0.0", "[workspace]\n", "pub fn one() -> u32 { 1 }\n");
    cargo.run("base", &["publish", "--registry", "dry", "--no-verify"]);
    cargo.write_crate("top", "dry-top", "1.0.0", DEPENDENT, USE);
    cargo.run("top", &["publish", "--registry", "dry"]);
    let line = last_line(folder.path(), "dr/y-/dry-top");
    assert_eq!((&line["deps"][0]["name"], &line["deps"][0]["registry"]), (&json!("dry-base"), &Value::Null));
    cargo.write_crate(
        "app",
        "app",
        "0.1.0",
        "[dependencies]\ndry-top = \"1\"\n[workspace]\n",
        "pub use dry_top::one;\n",
    );
    cargo.run("app", &["check"]);
}

/// A registry beside crates.io: a dependency without a registry stays with crates.io.
#[test]
fn a_dependency_on_crates_io_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let cargo = Cargo::signed_in(&server.url, &token);
    // Only so that cargo finds one without a network; what is published does not know of it.
    cargo.write_crate("base", "dry-base", "1.0.0", "[workspace]\n", "pub fn one() -> u32 { 1 }\n");
    cargo.run("base", &["publish", "--registry", "dry", "--no-verify"]);
    cargo.configure(&format!(
        "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{}/index/\"\n",
        server.url
    ));
    cargo.write_crate("top", "dry-top", "1.0.0", DEPENDENT, USE);
    cargo.run("top", &["publish", "--registry", "dry"]);
    let line = last_line(folder.path(), "dr/y-/dry-top");
    assert_eq!(line["deps"][0]["registry"], "https://github.com/rust-lang/crates.io-index");
}

/// Under another address, cargo would write that address into the archive for all who depend on the crate.
#[test]
fn another_address_of_the_registry_is_refused_where_it_matters() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let elsewhere = server.url.replace("127.0.0.1", "localhost");
    let cargo = Cargo::signed_in(&elsewhere, &token);
    cargo.write_crate("base", "dry-base", "1.0.0", "[workspace]\n", "pub fn one() -> u32 { 1 }\n");
    cargo.run("base", &["publish", "--registry", "dry", "--no-verify"]);
    let on_registry = "[dependencies]\ndry-base = { version = \"1\", registry = \"dry\" }\n[workspace]\n";
    cargo.write_crate("top", "dry-top", "1.0.0", on_registry, USE);
    let refused = cargo.try_run("top", &["publish", "--registry", "dry", "--no-verify"]).unwrap_err();
    let expected = format!(
        "the request says `deps.dry-base.registry` is `this`, the manifest says `sparse+URL/index`
  hint: this registry is `sparse+{}/index/`: write just that into cargo's configuration
",
        server.url
    );
    assert!(refused.contains(&expected), "{refused}");
}
