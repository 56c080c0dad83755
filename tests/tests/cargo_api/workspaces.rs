//! Workspaces as people have them: every kind of dependency, published in order by one command, then used.

use drystone_tests::process::Server;
use serde_json::{Value, json};

use crate::cargo::{Cargo, serve};

/// Reads a package's index lines.
fn index(folder: &std::path::Path, path: &str) -> Vec<Value> {
    let text = fs_err::read_to_string(folder.join("data/public/index").join(path)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A registry with the crates of one workspace, and whoever published them.
struct World {
    folder: tempfile::TempDir,
    cargo: Cargo,
    /// Ends with the world.
    _server: Server,
}

fn workspace() -> World {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let cargo = Cargo::signed_in(&server.url, &token);
    cargo.write(
        "ws/Cargo.toml",
        "[workspace]\nmembers = [\"top\", \"base\", \"more\", \"gen\", \"weak\", \"only-tests\"]\nresolver = \"2\"\n\
         [workspace.dependencies]\ndry-more = { path = \"more\", version = \"0.1\", registry = \"dry\" }\n",
    );
    cargo.write_crate(
        "ws/base",
        "dry-base",
        "0.1.0",
        "[features]\nstd = []\nextra = [\"std\"]\n",
        "pub fn base() -> u32 { if cfg!(feature = \"extra\") { 2 } else { 1 } }\n",
    );
    cargo.write_crate("ws/more", "dry-more", "0.1.0", "[features]\nstd = []\n", "pub fn more() {}\n");
    cargo.write_crate("ws/gen", "dry-gen", "0.1.0", "", "pub fn text() -> &'static str { \"40\" }\n");
    cargo.write_crate("ws/weak", "dry-weak", "0.1.0", "[features]\nnothing = []\n", "");
    cargo.write_crate(
        "ws/only-tests",
        "only-tests",
        "0.1.0",
        "publish = false\n[features]\nnothing = []\n",
        "",
    );
    cargo.write_crate(
        "ws/top",
        "Dry_Top",
        "1.2.3+build.5",
        r#"links = "drytop"
build = "build.rs"
rust-version = "1.70"
authors = ["A <a@b.example>"]
keywords = ["x", "y"]
categories = ["science"]
readme = "R.md"
[badges]
maintenance = { status = "experimental" }
[lib]
name = "dry_top"
[dependencies]
dry-more = { workspace = true, features = ["std"], optional = true }
renamed = { package = "dry-base", path = "../base", version = ">=0.1, <0.3", registry = "dry", default-features = false }
[build-dependencies]
dry-gen = { path = "../gen", version = "0.1.0", registry = "dry" }
[dev-dependencies]
only-tests = { path = "../only-tests" }
dry-gen = { path = "../gen", version = "*", registry = "dry" }
[target.'cfg( any(unix, windows,) )'.dependencies]
weak = { package = "dry-weak", path = "../weak", version = "~0.1", registry = "dry", optional = true }
[target.'cfg(target_os="none")'.build-dependencies]
dry-more = { path = "../more", version = "0.*", registry = "dry" }
[target.x86_64-pc-windows-msvc.dependencies]
dry-gen = { path = "../gen", version = "=0.1.0", registry = "dry", optional = true }
[features]
default = ["more"]
more = ["dep:dry-more", "weak?/nothing"]
plain = ["renamed/std", "only-tests/nothing"]
"#,
        "include!(concat!(env!(\"OUT_DIR\"), \"/forty.rs\"));\npub fn answer() -> u32 { forty() + renamed::base() }\n",
    );
    cargo.write("ws/top/R.md", "# Top\n");
    cargo.write(
        "ws/top/build.rs",
        "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         let code = format!(\"fn forty() -> u32 {{ {} }}\", dry_gen::text());\n    \
         std::fs::write(format!(\"{out}/forty.rs\"), code).unwrap();\n}\n",
    );
    cargo.run("ws", &["publish", "--registry", "dry", "--workspace"]);
    World { folder, cargo, _server: server }
}

#[test]
fn a_workspace_is_published_in_order_with_every_kind_of_dependency() {
    let world = workspace();
    let lines = index(world.folder.path(), "dr/y_/dry_top");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["name"], &line["vers"]), (&json!("Dry_Top"), &json!("1.2.3+build.5")));
    assert_eq!(
        (&line["links"], &line["rust_version"], &line["v"]),
        (&json!("drytop"), &json!("1.70"), &json!(2))
    );
    assert_eq!(line["features"], json!({"plain": ["renamed/std"]}));
    assert_eq!(line["features2"], json!({"default": ["more"], "more": ["dep:dry-more", "weak?/nothing"]}));
    let deps: Vec<String> = line["deps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dep| {
            assert!(dep["registry"].is_null(), "{dep}");
            let text = |field: &str| dep[field].as_str().unwrap_or("-").to_owned();
            let [name, package, req, kind, target] = ["name", "package", "req", "kind", "target"].map(text);
            let (optional, default) = (&dep["optional"], &dep["default_features"]);
            format!("{kind} {name} {package} {req} {} {optional} {default} {target}", dep["features"])
        })
        .collect();
    assert_eq!(
        deps,
        [
            "normal dry-more - ^0.1 [\"std\"] true true -",
            "normal renamed dry-base >=0.1, <0.3 [] false false -",
            "build dry-gen - ^0.1.0 [] false true -",
            "dev dry-gen - * [] false true -",
            "normal weak dry-weak ~0.1 [] true true cfg( any(unix, windows,) )",
            "build dry-more - 0.* [] false true cfg(target_os=\"none\")",
            "normal dry-gen - =0.1.0 [] true true x86_64-pc-windows-msvc",
        ]
    );
    assert_eq!(index(world.folder.path(), "dr/y-/dry-base").len(), 1);
    assert!(!world.folder.path().join("data/public/index/on/ly/only-tests").exists());
}

#[test]
fn others_add_build_update_fetch_and_vendor() {
    let world = workspace();
    let cargo = &world.cargo;
    cargo.write(
        "app/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    cargo.write("app/src/main.rs", "fn main() { assert_eq!(dry_top::answer(), 41); }\n");
    // In another spelling than the crate's.
    let added = cargo.run("app", &["add", "--registry", "dry", "dry-top", "-F", "plain"]);
    assert!(added.contains("warning: translating `dry-top` to `Dry_Top`"), "{added}");
    let added = cargo.run("app", &["add", "--registry", "dry", "dry_base"]);
    assert!(added.contains("warning: translating `dry_base` to `dry-base`"), "{added}");
    cargo.run("app", &["run"]);
    let lock = fs_err::read_to_string(cargo.path("app/Cargo.lock")).unwrap();
    for package in
        ["name = \"Dry_Top\"\nversion = \"1.2.3+build.5\"", "name = \"dry-base\"\nversion = \"0.1.0\""]
    {
        assert!(lock.contains(package), "{lock}");
    }

    // A new version is there for whoever asks, a yanked one is not, and lock files go on working.
    cargo.write_crate(
        "next",
        "dry-base",
        "0.1.1",
        "[features]\nstd = []\nextra = [\"std\"]\n[workspace]\n",
        "pub fn base() -> u32 { 1 }\n",
    );
    cargo.run("next", &["publish", "--registry", "dry", "--no-verify"]);
    cargo.expect(
        "app",
        &["update"],
        "    Updating `dry` index\n     Locking 1 package to latest compatible version\n    Updating dry-base v0.1.0 (registry `dry`) -> v0.1.1\n",
    );
    cargo.run("next", &["yank", "--registry", "dry", "dry-base@0.1.1"]);
    cargo.run("app", &["run", "--locked"]);
    cargo.expect(
        "app",
        &["update"],
        "    Updating `dry` index\n     Locking 1 package to latest compatible version\n Downgrading dry-base v0.1.1 (registry `dry`) -> v0.1.0\n",
    );

    cargo.run("app", &["fetch", "--locked"]);
    cargo.run("app", &["build", "--locked", "--offline"]);
    let config = cargo.run("app", &["vendor", "--locked"]);
    for file in
        ["vendor/dry-base/src/lib.rs", "vendor/dry-gen/.cargo-checksum.json", "vendor/Dry_Top/build.rs"]
    {
        assert!(cargo.path(&format!("app/{file}")).is_file(), "{file}: {config}");
    }
    let start = config.find("[source.").unwrap();
    let end = config.find("directory = \"vendor\"\n").unwrap() + "directory = \"vendor\"\n".len();
    cargo.write("app/.cargo/config.toml", config[start..end].replace("URL", cargo.url()));
    drop(world._server);
    cargo.run("app", &["run", "--locked", "--offline"]);
}
