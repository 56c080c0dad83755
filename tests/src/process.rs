//! Real processes: the programs of this workspace, started on ports that they choose themselves.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "these are the doors of the end-to-end tests"
)]

use std::{
    io::{BufRead, BufReader, PipeReader, Seek, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
};

/// The path of a program of this workspace, built beside the tests.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows where it is");
    // Tests lie in a folder below the programs.
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("`{name}` is missing: run `cargo build --workspace --features drystone/s3`")
    })
}

/// What a server says, as far as others must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It listens.
    Listens(Listens),
    /// It has ended, by itself or not; these were its last lines.
    Ended(String),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listens {
    /// The base URL that it tells its users.
    pub url: String,
    /// The address that it listens on, as a URL.
    pub local: String,
}

impl Listens {
    /// Reads the line in which `drystone serve` or `drystone-publisher` says where it listens.
    fn of_line(line: &str) -> Option<Self> {
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(line) {
            let address =
                json["fields"]["address"].as_str().filter(|_| json["fields"]["message"] == "listening")?;
            let url = format!("http://{address}");
            return Some(Self { url: url.clone(), local: url });
        }
        let (_, announced) = line.trim().rsplit_once(" at ").filter(|_| line.contains("Serving"))?;
        // "URL" where it listens there, else "URL, listening on ADDRESS".
        Some(match announced.split_once(", listening on ") {
            Some((url, address)) => Self { url: url.to_owned(), local: format!("http://{address}") },
            None => Self { url: announced.to_owned(), local: announced.to_owned() },
        })
    }
}

/// Starts a server; `heard` is told when it listens, and when it has ended.
pub fn spawn(mut command: Command, heard: impl FnMut(Said) + Send + 'static) -> Child {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    let stdout = writer.try_clone().expect("a pipe has room for another writer");
    // A backtrace would fill the last words, and they say why.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(stdout).stderr(writer);
    let child = command.spawn().expect("the server starts");
    // The command holds the pipe's writing ends: without them, the pipe ends with the process.
    drop(command);
    std::thread::spawn(move || listen(reader, heard));
    child
}

/// Hears a server out: what it says must go somewhere, or it would block.
fn listen(reader: PipeReader, mut heard: impl FnMut(Said)) {
    /// Lines that are kept for the report.
    const LINES_MAX: usize = 20;
    let mut last = std::collections::VecDeque::new();
    let mut listens = None;
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        if listens.is_none() {
            listens = Listens::of_line(&line);
            listens.iter().for_each(|listens| heard(Said::Listens(listens.clone())));
        }
        last.push_back(line);
        if last.len() > LINES_MAX {
            last.pop_front();
        }
    }
    heard(Said::Ended(last.into_iter().collect::<Vec<_>>().join("\n")));
}

/// A server that ends with its handle.
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
        let mut command = Command::new(program("drystone"));
        command.arg("serve").args(arguments).envs(environment.iter().copied());
        Self::of(command).unwrap_or_else(|said| panic!("the server ended: {said}"))
    }

    /// Starts `drystone-publisher` with this environment, and waits until it listens.
    pub fn publisher(environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program("drystone-publisher"));
        command.env("DRYSTONE_LISTEN", "127.0.0.1:0").envs(environment.iter().copied());
        Self::of(command).unwrap_or_else(|said| panic!("the publisher ended: {said}"))
    }

    /// Starts a server and waits until it listens; where it ends instead, returns its last words.
    pub fn of(command: Command) -> Result<Self, String> {
        let (sender, said) = mpsc::channel();
        let mut child = spawn(command, move |said| drop(sender.send(said)));
        match said.recv().expect("a server says something before it is dropped") {
            Said::Listens(Listens { url, local }) => Ok(Self { child, url, local }),
            Said::Ended(last) => {
                child.wait().expect("a server that has ended can be waited for");
                Err(last)
            }
        }
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

    /// The same user with one more variable in their environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Their home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `drystone` in a directory, not started yet.
    pub fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("drystone"));
        command
            .args(arguments)
            .current_dir(directory)
            .env("HOME", self.home.path())
            .env("DRYSTONE_HOME", self.home.path().join("drystone"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs `drystone` in a directory.
    pub fn run(&self, directory: &Path, arguments: &[&str]) -> Output {
        self.command(directory, arguments).output().expect("the program runs")
    }

    /// Runs `drystone` with this text on its standard input.
    pub fn told(&self, directory: &Path, arguments: &[&str], text: &str) -> Output {
        let mut file = tempfile::tempfile().expect("a test may make a file");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("a file takes a short text");
        self.command(directory, arguments).stdin(file).output().expect("the program runs")
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
    skipped("no S3 server; start one with `eval \"$(tests/s3.sh start)\"`");
    None
}

/// Says that a test is skipped.
///
/// # Panics
///
/// With `DRYSTONE_TEST_S3=required`, which says that everything must run.
pub fn skipped(why: &str) {
    let required = std::env::var("DRYSTONE_TEST_S3").is_ok_and(|value| value == "required");
    assert!(!required, "everything must run: {why}");
    println!("skipped: {why}");
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
