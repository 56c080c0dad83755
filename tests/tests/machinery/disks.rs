//! Disks that are full: under the store, and under the spool.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use drystone_tests::{
    Pkg,
    process::{Server, program, skipped},
};

use crate::client::{Made, new_id};

/// What a store on a full disk may answer: nothing is done, or it is not known yet.
const FULL: [(u16, &str); 2] = [(507, "storage-full"), (503, "try-again")];
/// Bytes that a file of tmpfs grows by.
const PAGE: u64 = 4096;

/// A small file system of the test's own.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one; none, and a message, without the right to.
    pub(crate) fn mount(at: &Path, kib: u64) -> Option<Self> {
        fs_err::create_dir_all(at).unwrap();
        let size = format!("size={kib}k,mode=755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "drystone-test"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("mounting a small file system takes root rights");
        None
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Fills it up but for some pages.
    pub(crate) fn fill_but(&self, pages: u64) {
        let mut ballast = fs_err::File::create(self.ballast()).unwrap();
        let page = vec![1; PAGE as usize];
        while std::io::Write::write_all(&mut ballast, &page).is_ok() {}
        let whole = ballast.metadata().unwrap().len() / PAGE;
        ballast.set_len(whole.saturating_sub(pages) * PAGE).unwrap();
    }

    pub(crate) fn free(&self) {
        fs_err::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Something that stays as long as it is when it is packed.
pub(crate) fn noise(len: u32) -> Vec<u8> {
    (0..len / 4).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 31).to_le_bytes()).collect()
}

#[test]
fn a_disk_that_fills_up_at_any_step_of_a_publish_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 8 << 10) else { return };
    let made = Made::in_directory(folder.path(), &folder.path().join("disk/data"));
    let server = Server::of(made.serve()).unwrap();
    let publish = |vers: &str, id: &str| made.client.publish_as(&server.local, &Pkg::new("http", vers), id);
    assert_eq!(publish("0.0.0", &new_id()).seq("room enough"), 1);
    let (mut refused, mut open, mut acknowledged) = (0, 0, 0);
    // One page more each time, so that every write of a publish is once the first that finds no room.
    for pages in 0..200 {
        let case = format!("{pages} pages free");
        let (vers, id) = (format!("0.1.{pages}"), new_id());
        disk.fill_but(pages);
        let answer = publish(&vers, &id);
        for path in ["/config.json", "/index/ht/tp/http", "/packages/http.json", "/log/checkpoint"] {
            assert_eq!(made.client.read(&server.local, path), 200, "{case}: {path}");
        }
        let told = (answer.status == 201).then(|| answer.seq(&case));
        match told {
            Some(_) => acknowledged += 1,
            None if answer.refused(&case, &FULL) == "try-again" => open += 1,
            None => refused += 1,
        }
        disk.free();
        let again = publish(&vers, &id).seq(&case);
        assert_eq!((again, told.unwrap_or(again)), (pages + 2, again), "{case}");
        if acknowledged > 3 {
            break;
        }
    }
    // There is room for what a commit applies before head is replaced: a full disk refuses, and leaves nobody in doubt.
    assert!(
        refused > 5 && open == 0 && acknowledged > 3,
        "{refused} refused, {open} open, {acknowledged} done"
    );
    made.assert_clean(2 + refused + open + acknowledged);
    drop(server);
}

#[test]
fn a_process_starts_and_serves_on_a_full_disk_and_publishes_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 4 << 10) else { return };
    let made = Made::in_directory(folder.path(), &folder.path().join("disk/data"));
    disk.fill_but(0);
    // `serve` probes its store by writing to it, and says why it does not start.
    let refused = Server::of(made.serve()).err().expect("it does not start");
    assert!(refused.contains("DRY0603") && refused.contains("is full"), "{refused}");
    let server = Server::of(made.publisher()).unwrap();
    made.client.publish(&server.local, &Pkg::new("http", "1.0.0")).refused("full", &FULL[..1]);
    disk.free();
    assert_eq!(made.client.publish(&server.local, &Pkg::new("http", "1.0.0")).seq("room again"), 1);
    drop(server);
    made.assert_clean(2);
}

#[test]
fn a_full_spool_refuses_large_uploads_and_takes_small_ones() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let Some(disk) = SmallDisk::mount(&spool, 2 << 10) else { return };
    let made = Made::in_directory(folder.path(), &folder.path().join("data"));
    let large = Pkg::new("large", "1.0.0").with_payload(noise(3 << 20));
    let mut serve = made.serve();
    serve.env("TMPDIR", &spool);
    let mut publisher = made.publisher();
    publisher.env("DRYSTONE_SPOOL", &spool);
    for (i, command) in [serve, publisher].into_iter().enumerate() {
        let server = Server::of(command).unwrap();
        made.client.publish(&server.local, &large).refused("spool", &FULL[..1]);
        let small = Pkg::new("small", &format!("1.0.{i}"));
        assert_eq!(made.client.publish(&server.local, &small).seq("small"), 1 + i as u64);
        assert_eq!(fs_err::read_dir(&spool).unwrap().count(), 0, "a refused upload is gone");
    }
    disk.remount("size=16m");
    let mut publisher = made.publisher();
    publisher.env("DRYSTONE_SPOOL", &spool);
    let server = Server::of(publisher).unwrap();
    assert_eq!(made.client.publish(&server.local, &large).seq("room enough"), 3);
    drop(server);
    made.assert_clean(4);
}

/// The same without root rights: the system refuses files beyond a length.
#[test]
fn a_file_that_may_not_grow_is_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::in_directory(folder.path(), &folder.path().join("data"));
    // 3,072 blocks of 512 bytes; signal 25 (SIGXFSZ) would end the process.
    let script = "trap '' 25; ulimit -f 3072; exec \"$0\" \"$@\"";
    let mut serve = Command::new("sh");
    serve.args(["-c", script]).arg(program("drystone")).args(made.serve_arguments());
    let server = Server::of(serve).unwrap();
    let large = Pkg::new("large", "1.0.0").with_payload(noise(3 << 20));
    made.client.publish(&server.local, &large).refused("too long", &FULL[..1]);
    assert_eq!(made.client.publish(&server.local, &Pkg::new("small", "1.0.0")).seq("small"), 1);
    drop(server);
    let server = Server::of(made.serve()).unwrap();
    assert_eq!(made.client.publish(&server.local, &large).seq("without the limit"), 2);
    drop(server);
    made.assert_clean(3);
}
