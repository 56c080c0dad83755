//! The sample of an edge in front of private reads, where there is a Node to run it.

use std::{path::Path, process::Command};

use drystone_tests::process::{Server, skipped};

#[test]
fn the_sample_of_an_edge_lets_those_read_who_may() {
    if Command::new("node").arg("--version").output().is_err() {
        return skipped("there is no `node`");
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, token_file) = (dir.path().join("data"), dir.path().join("token"));
    let (data, token_file) = (data.to_str().unwrap(), token_file.to_str().unwrap());
    let arguments =
        ["--data", data, "--listen", "127.0.0.1:0", "--token-file", token_file, "--private-reads"];
    let server = Server::start(&arguments, &[]);
    let token = fs_err::read_to_string(token_file).unwrap();
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/edge/check.mjs");
    let ran = Command::new("node").arg(check).args([&*server.local, token.trim()]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "fine\n");
}
