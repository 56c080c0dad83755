//! Web servers and caches in front of a registry, started with the configurations that operators get.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "these are doors of the end-to-end tests"
)]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A program that ends with its handle.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    /// Starts a program, which says nothing to anybody.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port at which nothing listens now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// Whether a program is installed. Where the whole test run is made ready by `tests/run`, it must be.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return true;
    }
    assert!(std::env::var_os("DRYSTONE_TEST_S3").is_none(), "{program} is required");
    println!("skipped: {program} is not installed");
    false
}

/// A file of `infra/`, with its variables replaced.
pub fn template(name: &str, variables: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra").join(name);
    let text = fs_err::read_to_string(path).expect("the template is there");
    let text = variables
        .iter()
        .fold(text, |text, (variable, value)| text.replace(&format!("${{{variable}}}"), value));
    assert!(!text.contains("${"), "a variable of {name} has no value: {text}");
    text
}

/// Starts nginx with this `server { ... }`, and what belongs to it in a folder of its own.
pub fn nginx(folder: &Path, server: &str) -> Daemon {
    let work = folder.join("nginx");
    fs_err::create_dir_all(work.join("logs")).expect("a test may make a directory");
    let dir = work.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .collect();
    let log = work.join("logs/error.log");
    let text = format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {};\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{server}\n}}\n",
        log.display()
    );
    let file = written(&work, "nginx.conf", &text);
    Daemon::spawn(Command::new("nginx").arg("-p").arg(&work).arg("-e").arg(log).arg("-c").arg(file))
}

/// Starts Caddy with this Caddyfile, and what belongs to it in a folder of its own.
pub fn caddy(folder: &Path, text: &str) -> Daemon {
    let work = folder.join("caddy");
    let file = written(&work, "Caddyfile", text);
    Daemon::spawn(
        Command::new("caddy")
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(file)
            .env("HOME", &work)
            .env("XDG_DATA_HOME", &work)
            .env("XDG_CONFIG_HOME", &work),
    )
}

/// Starts Varnish with this VCL at a port, and what belongs to it in a folder of its own.
pub fn varnish(folder: &Path, text: &str, port: u16) -> Daemon {
    let work = folder.join("varnish");
    let file = written(&work, "default.vcl", text);
    Daemon::spawn(
        Command::new("varnishd")
            .arg("-F")
            .arg("-n")
            .arg(work.join("instance"))
            .arg("-f")
            .arg(file)
            .args(["-a", &format!("127.0.0.1:{port}"), "-s", "malloc,16m"])
            // No jail: a test has the rights that it has.
            .args(["-j", "none"]),
    )
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    fs_err::create_dir_all(folder).expect("a test may make a directory");
    let file = folder.join(name);
    fs_err::write(&file, text).expect("a test may write a file");
    file
}
