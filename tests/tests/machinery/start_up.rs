//! The first start: by two processes at once, and by one that is killed at every point.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use drystone_schemas::{Code, Settings};
use drystone_storage::{Entropy, Fault, Faults, Store, probe};
use drystone_tests::{
    Pkg, TestClock, TestEntropy, TestRegistry,
    process::{Said, Server, program, s3_environment, spawn, unique},
};

use crate::client::Client;

/// A registry that does not exist yet.
struct Nothing {
    folder: tempfile::TempDir,
    store: Vec<String>,
    target: String,
    environment: Vec<(String, String)>,
}

impl Nothing {
    fn in_directory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        Self { folder, store: vec!["--data".into(), data.clone()], target: data, environment: Vec::new() }
    }

    fn in_bucket(environment: Vec<(String, String)>) -> Self {
        let url = format!("s3://drystone/{}", unique("first"));
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: vec!["--store".into(), url.clone()],
            target: url,
            environment,
        }
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// `drystone serve`, which makes what is missing.
    fn serve(&self) -> Command {
        let mut command = Command::new(program("drystone"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--public-url", "http://registry.test"]);
        command.args(&self.store).arg("--key-file").arg(self.folder.path().join("keys/log.key"));
        command.arg("--token-file").arg(self.token_file());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Checks that there is exactly one registry, that works with the token in the file.
    fn assert_whole(&self, case: &str, servers: &[Server]) {
        let token = fs_err::read_to_string(self.token_file()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let client = Client::new(token.trim());
        for (i, server) in servers.iter().enumerate() {
            let answer = client.publish(&server.local, &Pkg::new("http", &format!("1.0.{i}")));
            assert_eq!(answer.seq(case), 1 + i as u64);
        }
        let fsck = Command::new(program("drystone"))
            .args(["fsck", &self.target, "--deep"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&fsck.stdout), "clean\n", "{case}");
    }
}

fn all_at_once(nothing: &Nothing, count: usize) {
    let starting: Vec<_> = (0..count)
        .map(|_| {
            let serve = nothing.serve();
            thread::spawn(move || Server::of(serve))
        })
        .collect();
    let servers: Vec<Server> = starting
        .into_iter()
        .map(|starting| starting.join().unwrap().unwrap_or_else(|said| panic!("{said}")))
        .collect();
    nothing.assert_whole("all at once", &servers);
}

#[test]
fn processes_that_start_at_once_on_an_empty_directory_make_one_registry() {
    for _ in 0..3 {
        all_at_once(&Nothing::in_directory(), 3);
    }
}

#[test]
fn processes_that_start_at_once_on_an_empty_bucket_make_one_registry() {
    let Some(environment) = s3_environment() else { return };
    all_at_once(&Nothing::in_bucket(environment), 2);
}

/// A point of the first start, as one can see it from outside: something appears in a directory.
const POINTS: [&str; 15] = [
    "data/public",
    "data/.journal",
    "data/public/probe",
    "data/vault/probe",
    "keys/log.key",
    "keys/log.freshness.key",
    "data/vault/accounts",
    "data/vault/accounts/by-login",
    "data/public/o",
    "data/vault/staging",
    "data/vault/head",
    "data/public/config.json",
    "data/public/log/checkpoint",
    "token",
    "data/vault/tokens",
];

#[test]
fn a_process_that_is_killed_at_any_point_of_its_first_start_leaves_nothing_half() {
    for point in POINTS {
        let nothing = Nothing::in_directory();
        let path = nothing.folder.path().join(point);
        let listens = Arc::new(Mutex::new(false));
        let heard = listens.clone();
        let mut process = Mortal(spawn(nothing.serve(), move |said| {
            if matches!(said, Said::Listens(_)) {
                *heard.lock().unwrap() = true;
            }
        }));
        while !appeared(&path) {
            assert!(process.0.try_wait().unwrap().is_none(), "{point}: the process ended");
            assert!(!*listens.lock().unwrap(), "{point} never appears");
            thread::yield_now();
        }
        drop(process);
        let again = Server::of(nothing.serve()).unwrap_or_else(|said| panic!("{point}: {said}"));
        nothing.assert_whole(point, &[again]);
    }
}

/// A process that is killed when its test is done with it, one way or the other.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether something is there; of a directory, whether something is in it.
fn appeared(path: &Path) -> bool {
    match fs_err::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.is_file(),
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::at(1_760_000_999_000))
}

fn entropy(seed: u64) -> Arc<dyn Entropy> {
    Arc::new(TestEntropy::seeded(seed))
}

/// The same at every call to the store, in this process.
#[tokio::test]
async fn a_first_start_that_dies_at_any_call_is_finished_by_the_next() {
    let mut cases = 0;
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for failing in 0.. {
            let store = Store::memory();
            let faults = Faults::new(move |call| if call.index == failing { fault } else { Fault::None });
            let broken = faults.wrap(&store);
            let case = format!("{fault:?} at call {failing}");
            let settings = Settings::new("test", "http://registry.test");
            let dies = async {
                probe(&*broken.public, "a").await.ok()?;
                probe(&*broken.vault, "b").await.ok()?;
                TestRegistry::make(&broken, &settings, entropy(1)).await.ok()
            };
            // Once the first event is committed, what is left can be somebody else's to do.
            let told = dies.await.is_some();
            let crashed = faults.crashed();
            assert!(told || crashed, "{case}");
            // Either there is a registry, or one can be made.
            let open = |seed| TestRegistry::opened(store.clone(), clock(), entropy(seed));
            let registry = match open(2).await {
                Ok(registry) => registry,
                Err(refusal) => {
                    assert_eq!(refusal.problems[0].code, Code::NotInitialised, "{case}");
                    let made = TestRegistry::make(&store, &settings, entropy(3)).await;
                    made.unwrap_or_else(|e| panic!("{case}: {e}"));
                    open(4).await.unwrap_or_else(|e| panic!("{case}: {e}"))
                }
            };
            assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201, "{case}");
            registry.assert_clean(&case).await;
            cases += 1;
            if !crashed {
                break;
            }
        }
    }
    assert!(cases > 60, "{cases} cases");
}
