//! Slow peers, idle peers, and bombs, against a real `drystone serve`: time and memory stay bounded.
//!
//! Every limit is set low, so that no test waits long; each test has a registry of its own and reads the peak of its
//! process's memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bombs;
mod peers;
mod readers;

use std::{net::SocketAddr, time::Duration};

use drystone_tests::process::Server;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longest that anything here may take; a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// A registry with its first token.
struct Registry {
    server: Server,
    token: String,
    folder: TempDir,
}

impl Registry {
    /// Starts a registry whose requests must arrive in a second, with these variables.
    fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (data, token_file, config) = (path("data"), path("token"), path("config.toml"));
        fs_err::write(&config, "[limits]\nrequest_s_max = 1\n").unwrap();
        let arguments =
            ["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_file, "--config", &config];
        let server = Server::start(&arguments, environment);
        let token = fs_err::read_to_string(&token_file).unwrap().trim().to_owned();
        Self { server, token, folder }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address())).await.unwrap()
    }

    /// Asks whether it is there, over a new connection.
    async fn assert_serves(&self) {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// How far the peak of memory has risen since it was `before`, in bytes.
    fn grown(&self, before: u64) -> u64 {
        self.peak().saturating_sub(before)
    }

    fn peak(&self) -> u64 {
        self.server.memory_peak_bytes().expect("these tests need /proc")
    }
}

/// Fails if something takes too long.
async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("it ends in time")
}

/// Everything until the other side closes; a reset ends it as well.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}
