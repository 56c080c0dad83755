//! An S3 server of one's own, which may be killed: SeaweedFS from `tests/s3.sh`, on a port and in a directory of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A running S3 server; stopped when dropped, its directory left to its owner.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    directory: PathBuf,
}

impl S3Server {
    /// Starts a server; the ports up to 4 above `port` and those 10,000 higher are used as well.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(port: u16, directory: &Path) -> Self {
        script("start", port, directory);
        Self { port, directory: directory.to_owned() }
    }

    /// Where a server can be started: a port that leaves room for those that it uses as well.
    pub fn free_port() -> u16 {
        let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        let fits =
            |port: &u16| (0..5).all(|offset| is_free(port + offset) && is_free(port + offset + 10_000));
        // Below the range from which systems take ports for connections.
        let first = 20_000 + (std::process::id() % 200) as u16 * 10;
        (first..first + 2_000).step_by(10).find(fits).expect("there are free ports")
    }

    /// The `AWS_*` variables of its clients.
    pub fn environment(&self) -> Vec<(String, String)> {
        let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            value("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", self.port)),
            value("AWS_ACCESS_KEY_ID", "testkey"),
            value("AWS_SECRET_ACCESS_KEY", "testsecret"),
            value("AWS_REGION", "us-east-1"),
        ]
    }

    /// The same for a client that may only read.
    pub fn read_only_environment(&self) -> Vec<(String, String)> {
        let mut environment = self.environment();
        environment[1].1 = "readkey".into();
        environment[2].1 = "readsecret".into();
        environment
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(&self) {
        let pid =
            fs_err::read_to_string(self.directory.join("pid")).expect("a running server has a pid file");
        let killed = Command::new("kill").args(["-9", pid.trim()]).status().expect("`kill` runs");
        assert!(killed.success(), "the S3 server was not running");
        // Its ports are free again only once the kernel has taken it apart.
        let listens = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        while (0..5).any(|offset| listens(self.port + offset) || listens(self.port + offset + 10_000)) {
            std::thread::yield_now();
        }
    }

    /// Starts it again after a kill, and waits until it can be read and written.
    pub fn start_again(&self) {
        script("start", self.port, &self.directory);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        script("stop", self.port, &self.directory);
    }
}

fn script(verb: &str, port: u16, directory: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3.sh");
    let output = Command::new(script).arg(verb).arg(port.to_string()).arg(directory).output();
    let output = output.expect("the script runs");
    assert!(output.status.success(), "s3.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
}
