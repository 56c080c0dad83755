//! `drystone audit` and `drystone monitor` against a server, and against its directory.

use std::path::Path;

use drystone_tests::{
    Pkg,
    process::{Server, User},
};
use serde_json::Value;

/// A served registry, an author and an outsider.
struct World {
    folder: tempfile::TempDir,
    server: Server,
    author: User,
    outsider: User,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, token) = (folder.path().join("data"), folder.path().join("token"));
        let (data, token_file) = (data.display().to_string(), token.display().to_string());
        let arguments = ["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_file];
        let server = Server::start(&arguments, &[]);
        let token = fs_err::read_to_string(token).unwrap();
        let author = User::new(&server.url, Some(token.trim()));
        let outsider = User::new(&server.url, None);
        Self { folder, server, author, outsider }
    }

    fn publish(&self, name: &str, vers: &str) {
        let path = self.folder.path().join("package.tar.gz");
        fs_err::write(&path, Pkg::new(name, vers).archive()).unwrap();
        self.author
            .ok(self.folder.path(), &["publish", "--archive", path.to_str().unwrap(), "--format", "generic"]);
    }

    fn public(&self) -> std::path::PathBuf {
        self.folder.path().join("data/public")
    }

    /// Runs a verb of an outsider's, which must end like this, and reads its result.
    fn outside(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.outsider.run(self.folder.path(), &[&["--json"], arguments].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().next().map_or(Value::Null, |line| serde_json::from_str(line).unwrap_or(Value::Null))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn an_outsider_audits_what_is_new_and_sees_what_is_changed() {
    let world = World::new();
    world.publish("acme/http", "1.0.0");
    world.publish("json", "1.0.0");
    let state = shown(&world.folder.path().join("audited"));
    let url = world.server.url.clone();
    let data = shown(&world.folder.path().join("data"));
    let audit = |code, more: &[&str]| world.outside(code, &[&["audit", &url], more].concat());

    let first = audit(0, &["--state", &state, "--deep"]);
    assert_eq!((&first["clean"], &first["from"]), (&Value::Bool(true), &0.into()));
    let size = first["size"].as_u64().unwrap();
    assert_eq!(first["counts"]["events"], size);
    world.publish("json", "1.1.0");
    let second = audit(0, &["--state", &state]);
    assert_eq!((&second["from"], &second["counts"]["events"]), (&size.into(), &1.into()));
    // Of a directory nobody needs the server, and every other file is looked at too.
    world.outside(0, &["audit", &data, "--deep"]);

    let monitored = shown(&world.folder.path().join("monitored"));
    let monitor = |more: &[&str]| {
        let arguments = [&["--quiet", "monitor", &url, "--state", &monitored], more].concat();
        world.outsider.ok(world.folder.path(), &arguments)
    };
    let told = monitor(&["--package", "JSON"]);
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
    let releases: Vec<&[&str]> = lines.iter().map(|words| &words[2..5]).collect();
    assert_eq!(releases, [["publish", "json", "1.0.0"], ["publish", "json", "1.1.0"]], "{told}");
    assert_eq!(monitor(&["--package", "json"]), "");
    world.publish("acme/http", "1.1.0");
    let told = monitor(&[]);
    assert!(told.contains("publish acme/http 1.1.0 by acct:"), "{told}");

    // An archive that was exchanged, and an index that says something else.
    let seen = shown(&world.public().join("log/checkpoint"));
    world.outside(0, &["audit", &url, "--seen", &seen]);
    let index = world.public().join("index/js/on/json");
    let good = fs_err::read(&index).unwrap();
    let bad = String::from_utf8_lossy(&good).replace("\"yanked\":false", "\"yanked\":true ");
    assert_ne!(bad.as_bytes(), good);
    fs_err::remove_file(&index).unwrap();
    fs_err::write(&index, bad).unwrap();
    let changed = audit(5, &[]);
    let fresh = shown(&world.folder.path().join("fresh"));
    assert_eq!(changed["problems"][0]["key"], "index/js/on/json", "{changed}");
    audit(5, &["--state", &fresh]);
    assert!(!Path::new(&fresh).join("audit.json").exists(), "nothing is built on a log with findings");
}
