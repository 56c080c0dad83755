//! Clocks that jump under real processes, by `faketime`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use drystone_log::{BundleId, EntryBundle};
use drystone_schemas::Event;
use drystone_tests::{
    Pkg,
    process::{Server, s3_environment, skipped, unique},
};

use crate::client::Made;

/// A clock that is off by as much as a file says.
struct FakeClock {
    library: PathBuf,
    file: PathBuf,
}

impl FakeClock {
    /// A clock that is right; none, and a message, without `faketime`.
    fn right(folder: &Path) -> Option<Self> {
        let listed =
            Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"]).output().unwrap();
        let library = String::from_utf8(listed.stdout).unwrap().trim().to_owned();
        if library.is_empty() {
            skipped("`faketime` is not installed");
            return None;
        }
        let clock = Self { library: library.into(), file: folder.join("clock") };
        clock.set(0);
        Some(clock)
    }

    /// Puts it off by so many seconds.
    fn set(&self, off_s: i64) {
        // In place of the old file, so that a process never reads half of it.
        let new = self.file.with_extension("new");
        fs_err::write(&new, format!("{off_s:+}s\n")).unwrap();
        fs_err::rename(new, &self.file).unwrap();
    }

    /// Lets a process live by it. Its timers stay right, and files keep their real times.
    fn govern(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        command
    }
}

/// The times of the events of a short log in a directory.
fn times(data: &Path, size: u16) -> Vec<u64> {
    let id = BundleId::new(0, size).unwrap();
    let bytes = fs_err::read(data.join("public/log").join(id.path())).unwrap();
    let bundle = EntryBundle::decode(id, &bytes).unwrap();
    bundle.entries().iter().map(|line| Event::from_line(line).unwrap().time).collect()
}

#[test]
fn a_clock_that_leaves_the_stores_stops_publishing_until_it_is_back() {
    let Some(environment) = s3_environment() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(clock) = FakeClock::right(folder.path()) else { return };
    let url = format!("s3://drystone/{}", unique("clock"));
    let made = Made::in_bucket(folder.path(), &url, environment);
    let server = Server::of(clock.govern(made.publisher())).unwrap();
    let publish = |vers: &str| made.client.publish(&server.local, &Pkg::new("http", vers));
    assert_eq!(publish("1.0.0").seq("a right clock"), 1);
    for off_s in [120, -120] {
        clock.set(off_s);
        publish("1.1.0").refused("a wrong clock", &[(503, "clock-wrong")]);
        assert_eq!(made.client.read(&server.local, "/readyz"), 503);
        assert_eq!(made.client.read(&server.local, "/api/v1/packages/http/1.0.0"), 200);
        let refused = Server::of(clock.govern(made.publisher())).err().expect("it does not start");
        assert!(refused.contains("clock"), "{refused}");
    }
    clock.set(30);
    assert_eq!(publish("1.1.0").seq("half a minute is nothing"), 2);
    drop(server);
    made.assert_clean(3);
}

#[test]
fn time_in_the_log_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clock) = FakeClock::right(folder.path()) else { return };
    let data = folder.path().join("data");
    let made = Made::in_directory(folder.path(), &data);
    // A directory has no clock but the machine's, which is the process's: there is nothing to compare with.
    let server = Server::of(clock.govern(made.serve())).unwrap();
    for (i, off_s) in [0, 1000, -1000, 500].into_iter().enumerate() {
        clock.set(off_s);
        let package = Pkg::new("http", &format!("1.0.{i}"));
        assert_eq!(made.client.publish(&server.local, &package).seq("any clock"), 1 + i as u64);
    }
    drop(server);
    let times = times(&data, 5);
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[2] >= times[1] + 900 && times[3] == times[2] && times[4] == times[2], "{times:?}");
    made.assert_clean(5);
}
