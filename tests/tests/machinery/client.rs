//! A client of a registry in another process, and the registry's maker.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use drystone_schemas::ErrorBody;
use drystone_storage::{SystemClock, SystemEntropy, new_ulid};
use drystone_tests::{
    Pkg, multipart_body,
    process::{http_client, program},
};
use serde_json::Value;

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// Checks that this is a refusal with one of these statuses and codes, and with a hint. Returns the code.
    #[track_caller]
    pub(crate) fn refused(&self, case: &str, expected: &[(u16, &str)]) -> String {
        let body: ErrorBody = serde_json::from_value(self.body.clone()).unwrap();
        let problem = &body.errors[0];
        let got = (self.status, problem.code.slug());
        assert!(expected.contains(&got), "{case}: {got:?}, not one of {expected:?}: {}", self.body);
        assert!(!problem.hint.is_empty(), "{case}: {}", self.body);
        got.1.to_owned()
    }

    /// The position in the log of what was done.
    #[track_caller]
    pub(crate) fn seq(&self, case: &str) -> u64 {
        assert!(matches!(self.status, 200 | 201), "{case}: {} {}", self.status, self.body);
        self.body["seq"].as_u64().unwrap_or_else(|| panic!("{case}: {}", self.body))
    }
}

/// Somebody who talks to servers with a token.
pub(crate) struct Client {
    token: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(crate) fn new(token: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { token: token.to_owned(), client: http_client(), runtime }
    }

    /// Publishes under an id.
    pub(crate) fn publish_as(&self, url: &str, package: &Pkg, id: &str) -> Answer {
        let (content_type, body) = multipart_body(None, &package.archive());
        let request = self
            .client
            .post(format!("{url}/api/v1/packages"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", content_type)
            .header("idempotency-key", id)
            .body(body);
        self.answer(request)
    }

    /// Publishes under a new id.
    pub(crate) fn publish(&self, url: &str, package: &Pkg) -> Answer {
        self.publish_as(url, package, &new_id())
    }

    /// Reads a file; answers with its status.
    pub(crate) fn read(&self, url: &str, path: &str) -> u16 {
        self.runtime.block_on(async {
            let answer = self.client.get(format!("{url}{path}")).send().await.unwrap();
            let status = answer.status().as_u16();
            answer.bytes().await.unwrap();
            status
        })
    }

    fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            Answer { status, body: answer.json().await.unwrap() }
        })
    }
}

/// A new idempotency key.
pub(crate) fn new_id() -> String {
    new_ulid(&SystemClock, &SystemEntropy::new())
}

/// A registry that was made by `drystone admin init`.
pub(crate) struct Made {
    /// Its store, as programs name it.
    pub(crate) store: String,
    /// The same, as maintenance commands name it.
    pub(crate) target: String,
    pub(crate) key: String,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) client: Client,
}

impl Made {
    /// Makes a registry in a directory; its key and token lie beside it, in `folder`.
    pub(crate) fn in_directory(folder: &Path, data: &Path) -> Self {
        let data = data.display().to_string();
        Self::new(folder, format!("file://{data}"), data, Vec::new())
    }

    /// Makes a registry in a bucket.
    pub(crate) fn in_bucket(folder: &Path, url: &str, environment: Vec<(String, String)>) -> Self {
        Self::new(folder, url.to_owned(), url.to_owned(), environment)
    }

    fn new(folder: &Path, store: String, target: String, environment: Vec<(String, String)>) -> Self {
        let (key, token) = (folder.join("log.key").display().to_string(), folder.join("token"));
        let output = Command::new(program("drystone"))
            .args(["admin", "init", "--public-url", "http://registry.test"])
            .args(["--store", &store, "--key-file", &key, "--token-file"])
            .arg(&token)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let token = fs_err::read_to_string(token).unwrap();
        Self { store, target, key, environment, client: Client::new(token.trim()) }
    }

    /// The arguments of `drystone serve` on it.
    pub(crate) fn serve_arguments(&self) -> Vec<&str> {
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--public-url", "http://registry.test"];
        fixed.into_iter().chain(["--store", &*self.store, "--key-file", &*self.key]).collect()
    }

    /// `drystone serve` on it.
    pub(crate) fn serve(&self) -> Command {
        let mut command = self.command(&program("drystone"));
        command.args(self.serve_arguments());
        command
    }

    /// `drystone-publisher` on it.
    pub(crate) fn publisher(&self) -> Command {
        self.publisher_at(&program("drystone-publisher"))
    }

    /// The same, with the program elsewhere.
    pub(crate) fn publisher_at(&self, program: &PathBuf) -> Command {
        let mut command = self.command(program);
        command.env("DRYSTONE_STORE", &self.store).env("DRYSTONE_LOG_KEY_FILE", &self.key);
        command.env("DRYSTONE_LISTEN", "127.0.0.1:0");
        command
    }

    fn command(&self, program: &PathBuf) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Checks every file, and that the log has this many events.
    #[track_caller]
    pub(crate) fn assert_clean(&self, events: u64) {
        let mut fsck = self.command(&program("drystone"));
        let output = fsck.args(["fsck", &self.target, "--deep", "--json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["clean"], &report["size"]), (&true.into(), &events.into()), "{report}");
    }
}
