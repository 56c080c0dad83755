//! The registry of a run: made once, then known by its store, its key and its token.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Place, Plan};
use crate::process::{Server, program};

/// A registry that processes are started on.
pub(super) struct Registry {
    programs: Option<PathBuf>,
    environment: Vec<(String, String)>,
    store: String,
    key: String,
    store_is_killed: bool,
    /// Its store, as maintenance commands name it.
    pub(super) target: String,
    /// The operator's token.
    pub(super) token: String,
    folder: TempDir,
}

impl Registry {
    /// Makes a registry.
    pub(super) async fn make(plan: &Plan) -> Self {
        let folder = tempfile::tempdir().expect("a test may make a directory");
        let (store, target, environment) = match &plan.store {
            Place::Directory(path) => {
                let path = path.display().to_string();
                (format!("file://{path}"), path, Vec::new())
            }
            Place::Bucket { url, environment, .. } => (url.clone(), url.clone(), environment.clone()),
        };
        let key = folder.path().join("log.key").display().to_string();
        let mut registry = Self {
            programs: plan.programs.clone(),
            environment,
            store,
            key,
            store_is_killed: plan.store_kills > 0,
            target,
            token: String::new(),
            folder,
        };
        let token_file = registry.folder.path().join("token");
        let mut init = registry.command("drystone");
        init.args(["admin", "init", "--public-url", "http://registry.test", "--store", &registry.store]);
        init.args(["--key-file", &registry.key, "--token-file"]).arg(&token_file);
        let made = init.output().expect("the program runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        registry.token = read(&token_file).trim().to_owned();
        registry
    }

    /// The command of a process: of `drystone-publisher` and `drystone serve` in turn.
    pub(super) fn server(&self, number: usize) -> Command {
        if number.is_multiple_of(2) {
            let mut command = self.command("drystone-publisher");
            command.env("DRYSTONE_STORE", &self.store).env("DRYSTONE_LOG_KEY_FILE", &self.key);
            command.env("DRYSTONE_LISTEN", "127.0.0.1:0").env("DRYSTONE_SPOOL", self.folder.path());
            return command;
        }
        let mut command = self.command("drystone");
        command.args(["serve", "--listen", "127.0.0.1:0", "--public-url", "http://registry.test"]);
        command.args(["--store", &self.store, "--key-file", &self.key]);
        command
    }

    /// A server that shows the files; opening it finishes what was left undone.
    pub(super) fn reader(&self) -> Server {
        Server::of(self.server(1)).unwrap_or_else(|said| panic!("the registry cannot be opened: {said}"))
    }

    /// Whether a process may end with these last words: one that starts while its S3 server is dead may.
    pub(super) fn may_end(&self, last: &str) -> bool {
        self.store_is_killed && (last.contains("storage") || last.contains("outcome"))
    }

    /// Runs a command of `drystone` on the store; answers with the JSON that it prints, whatever its exit code.
    pub(super) async fn tool(&self, arguments: &[&str]) -> Value {
        let mut command = self.command("drystone");
        command.arg(arguments[0]).arg(&self.target).args(&arguments[1..]);
        let run = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
        let output = run.await.expect("the program is waited for");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            Value::String(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
        })
    }

    fn command(&self, name: &str) -> Command {
        let path = self.programs.as_ref().map_or_else(|| program(name), |folder| folder.join(name));
        let mut command = Command::new(path);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command
    }
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).expect("the registry's maker writes its token")
}
