//! Stores that may be read and not written: changes are refused in so many words, reads go on.

use std::{path::Path, process::Command};

use drystone_tests::{
    Pkg,
    chaos::S3Server,
    process::{Server, program, s3_environment, unique},
};

use crate::{
    client::{Client, Made},
    disks::SmallDisk,
};

const REFUSED: [(u16, &str); 1] = [(503, "storage-refused")];

/// Checks that a registry with `http` 1.0.0 can be read and not changed through this server.
fn assert_read_only(client: &Client, server: &Server, files: bool) {
    client.publish(&server.local, &Pkg::new("http", "1.1.0")).refused("an existing package", &REFUSED);
    client.publish(&server.local, &Pkg::new("new", "1.0.0")).refused("a new package", &REFUSED);
    assert_eq!(client.read(&server.local, "/api/v1/packages/http/1.0.0"), 200);
    assert_eq!(client.read(&server.local, "/api/v1/packages/http/1.1.0"), 404);
    assert_eq!(client.read(&server.local, "/readyz"), 200);
    if files {
        for path in ["/config.json", "/index/ht/tp/http", "/packages/http.json", "/log/checkpoint"] {
            assert_eq!(client.read(&server.local, path), 200, "{path}");
        }
    }
}

/// Checks that `serve`, which must write, does not start.
fn assert_does_not_serve(serve: Command) {
    let refused = Server::of(serve).err().expect("it does not start");
    assert!(refused.contains("DRY0604") && refused.contains("the storage refuses"), "{refused}");
}

fn made_with_one_release(made: Made) -> Made {
    let server = Server::of(made.serve()).unwrap();
    assert_eq!(made.client.publish(&server.local, &Pkg::new("http", "1.0.0")).seq("writable"), 1);
    made
}

#[test]
fn a_file_system_that_becomes_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 8 << 10) else { return };
    let made = Made::in_directory(folder.path(), &folder.path().join("disk/data"));
    let made = made_with_one_release(made);
    let server = Server::of(made.serve()).unwrap();
    disk.remount("ro");
    assert_read_only(&made.client, &server, true);
    assert_does_not_serve(made.serve());
    // The publish function opens what it can read.
    let publisher = Server::of(made.publisher()).unwrap();
    assert_read_only(&made.client, &publisher, false);
    made.assert_clean(2);
    disk.remount("rw");
    assert_eq!(made.client.publish(&server.local, &Pkg::new("http", "1.1.0")).seq("writable again"), 2);
    assert_eq!(made.client.publish(&publisher.local, &Pkg::new("http", "1.2.0")).seq("writable again"), 3);
    drop((server, publisher));
    made.assert_clean(4);
}

#[test]
fn a_directory_of_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = made_with_one_release(Made::in_directory(folder.path(), &folder.path().join("data")));
    // Root may write everywhere, so root becomes somebody else, who needs programs that everybody may run.
    let somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let is_root = Command::new(somebody[0]).args(&somebody[1..]).arg("true").status().unwrap().success();
    let as_somebody = |name: &str| {
        let copy = folder.path().join(name);
        fs_err::copy(program(name), &copy).unwrap();
        let mut command = Command::new(if is_root { somebody[0].as_ref() } else { copy.as_os_str() });
        if is_root {
            command.args(&somebody[1..]).arg(&copy);
        }
        command
    };
    let mut publisher = as_somebody("drystone-publisher");
    publisher.env("DRYSTONE_STORE", &made.store).env("DRYSTONE_LOG_KEY_FILE", &made.key);
    publisher.env("DRYSTONE_LISTEN", "127.0.0.1:0");
    let mut serve = as_somebody("drystone");
    serve.args(made.serve_arguments());
    let mode = |mode: &str, path: &Path| {
        assert!(Command::new("chmod").args(["-R", mode]).arg(path).status().unwrap().success());
    };
    mode("a+rX,a-w", folder.path());
    assert_does_not_serve(serve);
    let server = Server::of(publisher).unwrap();
    assert_read_only(&made.client, &server, false);
    drop(server);
    mode("u+w", folder.path());
    made.assert_clean(2);
}

#[test]
fn a_bucket_with_a_key_that_may_only_read() {
    if s3_environment().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3Server::start(S3Server::free_port(), &folder.path().join("s3"));
    let url = format!("s3://drystone/{}", unique("read-only"));
    let made = made_with_one_release(Made::in_bucket(folder.path(), &url, s3.environment()));
    let reader = |mut command: Command| {
        command.envs(s3.read_only_environment());
        command
    };
    assert_does_not_serve(reader(made.serve()));
    let server = Server::of(reader(made.publisher())).unwrap();
    assert_read_only(&made.client, &server, false);
    drop(server);
    made.assert_clean(2);
}
