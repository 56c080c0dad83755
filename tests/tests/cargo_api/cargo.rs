//! The real cargo, with a home and a folder of its own, and what it says without what differs from run to run.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use drystone_tests::process::Server;

/// Somebody who uses cargo with one registry, which they call `dry`.
pub(crate) struct Cargo {
    folder: tempfile::TempDir,
    url: String,
}

/// A registry in a directory below a folder, with its first token.
pub(crate) fn serve(folder: &Path, more: &[&str]) -> (Server, String) {
    let (data, token_file) = (folder.join("data"), folder.join("token"));
    let (data, token_path) = (data.display().to_string(), token_file.display().to_string());
    let mut arguments = vec!["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_path];
    arguments.extend(more);
    let server = Server::start(&arguments, &[]);
    (server, fs_err::read_to_string(token_file).unwrap().trim().to_owned())
}

impl Cargo {
    /// Somebody who knows the registry at this URL, and has no token.
    pub(crate) fn new(url: &str) -> Self {
        let cargo = Self { folder: tempfile::tempdir().unwrap(), url: url.to_owned() };
        cargo.configure("");
        cargo
    }

    /// Somebody who is signed in.
    pub(crate) fn signed_in(url: &str, token: &str) -> Self {
        let cargo = Self::new(url);
        let output = cargo.output(cargo.folder.path(), &["login", "--registry", "dry"], token);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cargo
    }

    /// Writes cargo's configuration, with more at its end.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "[registries.dry]\nindex = \"sparse+{}/index/\"\n[registry]\nglobal-credential-providers = [\"cargo:token\"]\n{more}",
            self.url
        );
        self.write("home/config.toml", &text);
    }

    /// The base URL of the registry.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A path in the folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file in the folder.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    /// Writes a crate with more at the end of its manifest.
    pub(crate) fn write_crate(&self, dir: &str, name: &str, vers: &str, more: &str, code: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{vers}\"\nedition = \"2021\"\ndescription = \"A crate of a test.\"\nlicense = \"MIT\"\n{more}"
        );
        self.write(&format!("{dir}/Cargo.toml"), manifest);
        self.write(&format!("{dir}/src/lib.rs"), code);
    }

    fn output(&self, directory: &Path, arguments: &[&str], stdin: &str) -> Output {
        let mut cargo = Command::new("cargo");
        cargo
            .args(arguments)
            .current_dir(directory)
            .env("CARGO_HOME", self.path("home"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs([("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_NET_RETRY", "0")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["CARGO", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_NET_OFFLINE"] {
            cargo.env_remove(name);
        }
        let mut child = cargo.spawn().expect("cargo is installed");
        // A cargo that reads no token closes its end.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// Runs cargo in a directory of the folder; whether it succeeded.
    pub(crate) fn try_run(&self, directory: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.output(&self.path(directory), arguments, "");
        let told = self.plain(&output);
        if output.status.success() { Ok(told) } else { Err(told) }
    }

    /// Runs cargo, which must succeed; what it said.
    #[track_caller]
    pub(crate) fn run(&self, directory: &str, arguments: &[&str]) -> String {
        self.try_run(directory, arguments).unwrap_or_else(|told| panic!("cargo {arguments:?}:\n{told}"))
    }

    /// Runs cargo with this on its standard input; all that it says, and how it ends.
    pub(crate) fn told(&self, directory: &str, arguments: &[&str], stdin: &str) -> String {
        self.plain(&self.output(&self.path(directory), arguments, stdin))
    }

    /// Runs cargo and compares all that it says, and how it ends.
    #[track_caller]
    pub(crate) fn expect(&self, directory: &str, arguments: &[&str], expected: &str) {
        let told = self.told(directory, arguments, "");
        assert!(told == expected, "cargo {arguments:?} said:\n{told}\nand not:\n{expected}");
    }

    /// Standard output, standard error, and the exit code if it is not 0; without paths, ports, sizes and times.
    fn plain(&self, output: &Output) -> String {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            writeln!(text, "exit code {}", output.status.code().unwrap()).unwrap();
        }
        let text = text.replace(&self.url, "URL").replace(&self.path("").display().to_string(), "DIR/");
        let mut out = String::with_capacity(text.len());
        for line in text.lines() {
            if line.contains("Blocking waiting for file lock") {
                continue;
            }
            // The answer of a read, as it came.
            let id = line.split_once("\"request_id\":\"").and_then(|(_, rest)| rest.split('"').next());
            let line = &*id.map_or_else(|| line.to_owned(), |id| line.replace(id, "ID"));
            let cut = |before: &str| line.split_once(before).map(|(kept, _)| kept);
            let known = match line.trim_start().split(' ').next() {
                Some("Packaged") => cut(" files,"),
                Some("Finished") | Some("Downloaded") => cut(" in "),
                _ => None,
            };
            writeln!(out, "{}", known.unwrap_or(line)).unwrap();
        }
        out
    }
}
