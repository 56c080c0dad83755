//! The programs that are measured, in directories of their own, and the end of them.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{clock::Moment, load::Request, machine::Pid};

/// How long a program may take to listen.
const START_S_MAX: u64 = 30;

/// A process that ends with its handle.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Waits until a program listens that was told to do so at this address.
    pub(crate) fn when_listening(child: Child, address: SocketAddr) -> anyhow::Result<Self> {
        let running = Self { child, address };
        let start = Moment::now();
        while TcpStream::connect(address).is_err() {
            if start.elapsed() > Duration::from_secs(START_S_MAX) {
                bail!("nothing listens at {address}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(running)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> anyhow::Result<()> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A registry in a new directory, with its first token.
pub(crate) struct Registry {
    folder: TempDir,
    token: String,
    /// The program that serves it.
    pub(crate) server: Running,
}

impl Registry {
    /// Starts `drystone serve` on an empty directory.
    pub(crate) fn serve() -> anyhow::Result<Self> {
        Self::serve_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn serve_with(more: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let token_file = folder.path().join("token");
        let mut child = Command::new(program("drystone")?)
            .args(["serve", "--listen", "127.0.0.1:0", "--packages-per-account-max", "1000000"])
            .args(more)
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--token-file")
            .arg(&token_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut messages = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let address = announced(&mut messages)?;
        // What it says later must go somewhere, or it would block.
        thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        let server = Running::when_listening(child, address)?;
        Ok(Self { token: fs_err::read_to_string(token_file)?.trim().to_owned(), folder, server })
    }

    /// Ends the program, and starts `drystone-publisher` on the same directory; none if it is not built.
    pub(crate) fn hand_over(self) -> anyhow::Result<Option<Self>> {
        let Ok(publisher) = program("drystone-publisher") else { return Ok(None) };
        let Self { folder, token, server } = self;
        drop(server);
        let (data, spool) = (folder.path().join("data"), folder.path().join("spool"));
        fs_err::create_dir_all(&spool)?;
        let address = free_address()?;
        let child = Command::new(publisher)
            .env("DRYSTONE_STORE", format!("file://{}", data.display()))
            .env("DRYSTONE_LOG_KEY_FILE", data.join("keys").join("log.key"))
            .env("DRYSTONE_SPOOL", spool)
            .env("DRYSTONE_LISTEN", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Some(Self { folder, token, server: Running::when_listening(child, address)? }))
    }

    /// Publishes every crate below a directory.
    pub(crate) fn import(&self, dir: &Path) -> anyhow::Result<()> {
        let status = Command::new(program("drystone")?)
            .args(["import", "crates"])
            .arg(dir)
            .env("DRYSTONE_REGISTRY", format!("http://{}", self.server.address))
            .env("DRYSTONE_TOKEN", &self.token)
            .env("DRYSTONE_HOME", self.folder.path().join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("crates cannot be imported: {status}");
        }
        Ok(())
    }

    /// Where its public files lie.
    pub(crate) fn public(&self) -> PathBuf {
        self.folder.path().join("data").join("public")
    }

    /// A publish of cargo's with this body, ready to be sent.
    pub(crate) fn cargo_request(&self, body: &[u8]) -> Request {
        cargo_request(&self.token, body)
    }

    /// A publish of this archive, ready to be sent.
    pub(crate) fn publish_request(&self, (content_type, body): &(String, Vec<u8>)) -> Request {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", &*bearer), ("content-type", content_type)];
        Request::new("POST", "/api/v1/packages", &headers, body)
    }
}

/// A publish as cargo sends it.
pub(crate) fn cargo_request(token: &str, body: &[u8]) -> Request {
    Request::new(
        "PUT",
        "/api/v1/crates/new",
        &[("authorization", token), ("accept", "application/json")],
        body,
    )
}

/// A program that was built with this one.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    bail!("`{}` is missing: build it first", path.display());
}

/// An address at which nothing listens now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Where `drystone serve` says that it serves.
fn announced(messages: &mut impl BufRead) -> anyhow::Result<SocketAddr> {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if messages.read_line(&mut line)? == 0 {
            bail!("the server ended: {said}");
        }
        // "... at http://ADDRESS" where others reach it there, else "... at URL, listening on ADDRESS".
        let line = line.trim();
        let told = line.rsplit_once(", listening on ").or_else(|| line.rsplit_once(" at http://"));
        if let Some((_, address)) = told.filter(|_| line.starts_with("Serving")) {
            return address.parse().with_context(|| format!("an address in `{line}`"));
        }
        said.push_str(line);
        said.push('\n');
    }
}
