//! The server is killed as `kill -9` does, at every step of a publish of the real cargo's, and started again.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use drystone_schemas::IndexFile;
use drystone_tests::process::{Server, program};

use crate::{
    cargo::{Cargo, serve},
    proxy::{Moment, Proxy},
};

/// When the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    At(Moment),
    /// The staging object of the commit is there.
    Staged,
    /// Head names the commit.
    Committed,
}

const DEATHS: [Death; 9] = [
    Death::At(Moment::Answered),
    Death::At(Moment::HalfSent),
    Death::Staged,
    Death::At(Moment::Answered),
    Death::Committed,
    Death::At(Moment::Sent),
    Death::Committed,
    Death::Staged,
    Death::At(Moment::Answered),
];

/// A server that can be killed and started again on the same files.
struct Mortal {
    folder: PathBuf,
    proxy: Proxy,
    server: Option<Server>,
}

impl Mortal {
    fn reborn(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
        let (server, _) = serve(&self.folder, &["--public-url", self.proxy.url()]);
        self.proxy.lead_to(&server.local);
        self.server = Some(server);
    }
}

/// What the commit changes: the newest staging objects, or head.
fn seen(folder: &Path, death: Death) -> Vec<u8> {
    let vault = folder.join("data/vault");
    match death {
        Death::Staged => {
            let entries = fs_err::read_dir(vault.join("staging")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            format!("{names:?}").into_bytes()
        }
        Death::Committed | Death::At(_) => fs_err::read(vault.join("head")).unwrap(),
    }
}

#[test]
fn what_cargo_was_told_survives() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start();
    let (server, token) = serve(folder.path(), &["--public-url", proxy.url()]);
    proxy.lead_to(&server.local);
    let mortal = Mortal { folder: folder.path().to_owned(), proxy: proxy.clone(), server: Some(server) };
    let mortal = Arc::new(Mutex::new(mortal));
    let cargo = Cargo::signed_in(proxy.url(), &token);
    let publish = ["publish", "--registry", "dry", "--no-verify"];
    let mut told = Vec::new();
    for (i, death) in DEATHS.into_iter().enumerate() {
        let vers = format!("0.1.{i}");
        cargo.write_crate("lib", "dry-lib", &vers, "[workspace]\n", &format!("pub const N: usize = {i};\n"));
        let killed = Arc::new(Mutex::new(false));
        let (hook_mortal, hook_killed, hook_folder) =
            (mortal.clone(), killed.clone(), folder.path().to_owned());
        let mut before = Vec::new();
        proxy.watch(move |moment| {
            let now = match death {
                Death::At(at) => moment == at,
                Death::Staged | Death::Committed if moment == Moment::HalfSent => {
                    before = seen(&hook_folder, death);
                    false
                }
                Death::Staged | Death::Committed => moment == Moment::Sent,
            };
            if !now || std::mem::replace(&mut *hook_killed.lock().unwrap(), true) {
                return;
            }
            if matches!(death, Death::Staged | Death::Committed) {
                let happens = (0..10_000_000).any(|_| {
                    thread::yield_now();
                    seen(&hook_folder, death) != before
                });
                assert!(happens, "{death:?} did not happen");
            }
            hook_mortal.lock().unwrap().reborn();
        });
        let result = cargo.try_run("lib", &publish);
        assert!(*killed.lock().unwrap(), "{death:?}: the server lived");
        let said = result.clone().unwrap_or_else(|said| said);
        let uploaded = said.contains("    Uploaded dry-lib");
        if death == Death::At(Moment::Answered) {
            assert!(uploaded && result.is_ok(), "{death:?}: {said}");
        }
        if uploaded {
            told.push(vers);
            continue;
        }
        // Cargo knows of nothing; whatever happened, doing it again ends well.
        proxy.watch(|_| {});
        if let Err(said) = cargo.try_run("lib", &publish) {
            let there = said.contains(&format!("crate dry-lib@{vers} already exists on `dry` index"));
            assert!(there && death != Death::At(Moment::HalfSent), "{death:?}: {said}");
        }
        told.push(vers);
    }
    let index = fs_err::read(folder.path().join("data/public/index/dr/y-/dry-lib")).unwrap();
    let index = IndexFile::parse(&index).unwrap();
    let there: Vec<String> = index.lines.iter().map(|line| line.vers.to_string()).collect();
    assert_eq!(there, told);
    let data = folder.path().join("data").display().to_string();
    let fsck = Command::new(program("drystone")).args(["fsck", &data, "--deep"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&fsck.stdout), "clean\n");
}
