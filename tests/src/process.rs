//! Real processes: the programs of this workspace, started on ports that they choose themselves.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "these are the doors of the end-to-end tests"
)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// The path of a program of this workspace, built beside the tests.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder =
        test.parent().and_then(Path::parent).expect("tests lie two folders below the target directory");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --features drystone/s3`",
        path.display()
    );
    path
}

/// A `drystone serve` that ends with its handle.
pub struct Server {
    child: Child,
    /// The base URL that it tells its users.
    pub url: String,
    /// The address that it listens on, as a URL.
    pub local: String,
}

impl Server {
    /// Starts `drystone serve` with these arguments and environment, and waits until it serves.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program("drystone"))
            .arg("serve")
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut said = String::new();
        let announced = loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).expect("the server's messages are text") == 0 {
                panic!("the server ended: {said}");
            }
            if let Some((_, rest)) = line.trim().rsplit_once(" at ").filter(|_| line.contains("Serving")) {
                break rest.to_owned();
            }
            said.push_str(&line);
        };
        // What it says later must go somewhere, or it would block.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        // "URL" where it listens there, else "URL, listening on ADDRESS".
        let (url, local) = match announced.split_once(", listening on ") {
            Some((url, address)) => (url.to_owned(), format!("http://{address}")),
            None => (announced.clone(), announced),
        };
        Self { child, url, local }
    }

    /// The address that it listens on.
    pub fn address(&self) -> std::net::SocketAddr {
        let address = self.local.strip_prefix("http://").expect("it serves without TLS");
        address.parse().expect("it tells an address")
    }

    /// The most memory that the process has had so far, in bytes; none where the system does not tell.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        memory_peak_bytes(&self.child.id().to_string())
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The most memory that a process has had so far, in bytes, where the system tells; the process is a number or `self`.
pub fn memory_peak_bytes(process: &str) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Lets this process, and those that it starts, have so many files and connections open.
pub fn allow_open_files(count: u64) {
    let limits = fs_err::read_to_string("/proc/self/limits").expect("the system tells its limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("this one too");
    let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(u64::MAX));
    let (soft, hard) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if soft < count {
        let limit = format!("--nofile={count}:{}", hard.max(count));
        let own = std::process::id().to_string();
        let status = Command::new("prlimit").args(["--pid", &own, &limit]).status().expect("prlimit runs");
        assert!(status.success(), "this process may not open {count} files");
    }
}

/// A user with a home of their own.
pub struct User {
    home: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl User {
    /// A user of the registry at this URL, with a token if there is one.
    pub fn new(url: &str, token: Option<&str>) -> Self {
        let home = tempfile::tempdir().expect("a test may make a directory");
        let mut environment = vec![("DRYSTONE_REGISTRY".to_owned(), url.to_owned())];
        environment.extend(token.map(|token| ("DRYSTONE_TOKEN".to_owned(), token.to_owned())));
        Self { home, environment }
    }

    /// Their home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs `drystone` in a directory.
    pub fn run(&self, directory: &Path, arguments: &[&str]) -> Output {
        Command::new(program("drystone"))
            .args(arguments)
            .current_dir(directory)
            .env("HOME", self.home.path())
            .env("DRYSTONE_HOME", self.home.path().join("drystone"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    /// Runs `drystone`, which must succeed, and returns what it printed.
    pub fn ok(&self, directory: &Path, arguments: &[&str]) -> String {
        let output = self.run(directory, arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "drystone {arguments:?}: {}\n{told}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The `AWS_*` variables of the S3 server that tests use; none, and a message, if there is none.
///
/// With `DRYSTONE_TEST_S3=required` a missing server is a failure.
pub fn s3_environment() -> Option<Vec<(String, String)>> {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"];
    let found: Vec<(String, String)> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    if found.len() == names.len() {
        return Some(found);
    }
    let required = std::env::var("DRYSTONE_TEST_S3").is_ok_and(|value| value == "required");
    assert!(!required, "an S3 server is required, but {names:?} are not all set");
    println!("skipped: no S3 server; start one with `eval \"$(tests/s3.sh start)\"`");
    None
}

/// A name that no other run of the tests uses.
pub fn unique(stem: &str) -> String {
    let folder =
        tempfile::Builder::new().prefix(stem).rand_bytes(12).tempdir().expect("a test may make a directory");
    let name = folder.path().file_name().expect("a directory has a name").to_string_lossy().into_owned();
    format!("{name}-{}", std::process::id())
}

/// A client that talks to loopback addresses only, and so needs no TLS.
pub fn http_client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().expect("a client without options can be built")
}

/// Asks until there is an answer of 200, for at most half a minute.
pub fn wait_until_answers(url: &str) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let client = http_client();
        let asked = async {
            while !client.get(url).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.expect("the server answers");
    });
}
