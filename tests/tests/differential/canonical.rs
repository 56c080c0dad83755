//! One directory is one archive, whoever wrote it, in what order, when, and with which modes.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use drystone_tests::process::{Server, User};
use serde_json::Value;

/// Writes the same files: in the order of the alphabet, today, readable by all.
const FORWARDS: &str = "
umask 022
mkdir -p src/a src/b
printf '[package]\\nname = \"p\"\\nversion = \"1.0.0\"\\n' > drystone.toml
echo alpha > src/a/alpha; echo beta > src/b/beta; echo run > run.sh; chmod 755 run.sh
";
/// And backwards, long ago, for the owner alone, on top of files that have gone since.
const BACKWARDS: &str = "
umask 077
mkdir -p src/zzz src/b src/a; echo gone > src/zzz/gone; rm -r src/zzz
echo run > run.sh; chmod 700 run.sh; echo beta > src/b/beta; echo alpha > src/a/alpha
printf '[package]\\nname = \"p\"\\nversion = \"1.0.0\"\\n' > drystone.toml
find . -exec touch -d 1999-12-31T23:59:59Z {} +
chmod 1777 src/a
";

fn make(folder: &Path, script: &str) {
    fs_err::create_dir_all(folder).unwrap();
    let status = Command::new("sh").args(["-euc", script]).current_dir(folder).stdin(Stdio::null()).status();
    assert!(status.unwrap().success());
}

#[test]
fn one_directory_is_one_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (data, token_file) = (path("data").display().to_string(), path("token").display().to_string());
    let server =
        Server::start(&["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_file], &[]);
    let token = fs_err::read_to_string(&token_file).unwrap();
    let author = User::new(&server.url, Some(token.trim()));
    make(&path("forwards"), FORWARDS);
    make(&path("backwards"), BACKWARDS);
    let publish = |directory: &str| -> Value {
        serde_json::from_str(&author.ok(&path(directory), &["publish", "--json"])).unwrap()
    };
    let first = publish("forwards");
    assert_eq!(first["outcome"], "published", "{first}");
    assert_eq!(first["warnings"], Value::Array(Vec::new()), "{first}");
    let second = publish("backwards");
    assert_eq!(second["outcome"], "already-published", "{second}");
    assert_eq!((&first["tarball"], &first["size"]), (&second["tarball"], &second["size"]));
}
