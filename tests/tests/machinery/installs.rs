//! Installs on a disk that is full, and installs that are killed.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use drystone_tests::{
    Pkg,
    process::{Server, User, program},
};

use crate::{
    client::Made,
    disks::{SmallDisk, noise},
};

/// A registry with a package that is as long as it is when it is packed, and one that needs it.
fn registry(folder: &Path) -> (Made, Server) {
    let made = Made::in_directory(folder, &folder.join("data"));
    let server = Server::of(made.serve()).unwrap();
    let large = Pkg::new("large", "1.0.0").with_payload(noise(1 << 20));
    made.client.publish(&server.local, &large).seq("large");
    made.client.publish(&server.local, &Pkg::new("small", "1.0.0")).seq("small");
    (made, server)
}

fn project(dir: &Path) {
    fs_err::create_dir_all(dir).unwrap();
    let manifest =
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\n\n[dependencies]\nlarge = \"1\"\nsmall = \"1\"\n";
    fs_err::write(dir.join("drystone.toml"), manifest).unwrap();
}

/// The packages of a project that are there.
fn installed(project: &Path) -> Vec<&'static str> {
    let is_there = |name: &&str| project.join("drystone_packages").join(name).join("drystone.toml").is_file();
    ["large", "small"].into_iter().filter(is_there).collect()
}

#[test]
fn an_install_on_a_full_disk_says_what_to_do_and_is_finished_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let Some(disk) = SmallDisk::mount(&home, 6 << 10) else { return };
    let (_made, server) = registry(folder.path());
    let user =
        User::new(&server.local, None).with("DRYSTONE_HOME", &home.join("drystone").display().to_string());
    let app = folder.path().join("app");
    project(&app);
    user.ok(&app, &["lock"]);
    // Room for the cache and the small package, and not for the large one.
    disk.fill_but(64);
    let output = user.run(&app, &["install"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
    assert!(
        told.contains("hint: nothing is half done: make room (`drystone cache gc` removes packages that no project uses) and run it again"),
        "{told}"
    );
    assert_eq!(installed(&app), Vec::<&str>::new());
    let kept = user.ok(&app, &["cache", "list"]);
    assert!(!kept.contains("large-1.0.0"), "{kept}");
    disk.free();
    user.ok(&app, &["install"]);
    assert_eq!(installed(&app), ["large", "small"]);
    assert!(user.ok(&app, &["cache", "verify"]).starts_with("2 packages whole\n"));
}

#[test]
fn an_install_that_is_killed_leaves_locks_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (_made, server) = registry(folder.path());
    let user = User::new(&server.local, None);
    let app = folder.path().join("app");
    project(&app);
    user.ok(&app, &["lock"]);
    // Whoever holds the locks of the store is killed while it holds them; whichever step it was at, the next one goes on.
    for _ in 0..5 {
        let mut child = Command::new(program("drystone"))
            .arg("install")
            .current_dir(&app)
            .env("HOME", user.home())
            .env("DRYSTONE_HOME", user.home().join("drystone"))
            .env("DRYSTONE_REGISTRY", &server.local)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let locks = user.home().join("drystone/store/locks");
        while child.try_wait().unwrap().is_none() && !locks.is_dir() {
            std::thread::yield_now();
        }
        drop(child.kill());
        child.wait().unwrap();
    }
    user.ok(&app, &["install"]);
    assert_eq!(installed(&app), ["large", "small"]);
    assert!(user.ok(&app, &["cache", "verify"]).starts_with("2 packages whole\n"));
}
