//! A registry, a user of it, and what the program says to them, compared with what it said when somebody looked at it.
//!
//! `DRYSTONE_UPDATE=1` writes the snapshots anew.
#![expect(clippy::disallowed_methods, reason = "it reads its own environment")]

use std::path::{Path, PathBuf};

use drystone_tests::process::{Server, User};

/// A registry and a user, in a folder of their own.
pub(crate) struct Session {
    folder: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) author: User,
    pub(crate) user: User,
    told: String,
}

impl Session {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, token) = (folder.path().join("data"), folder.path().join("token"));
        let (data, token_path) = (data.display().to_string(), token.display().to_string());
        let server =
            Server::start(&["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_path], &[]);
        let token = fs_err::read_to_string(&token).unwrap().trim().to_owned();
        let (author, user) = (User::new(&server.url, Some(&token)), User::new(&server.url, None));
        Self { folder, server, author, user, told: String::new() }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file in the folder.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    /// Writes a package, with what its manifest says beside its name and version.
    pub(crate) fn write_package(&self, dir: &str, name: &str, vers: &str, more: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{vers}\"\ndescription = \"a test\"\nlicense = \"MIT\"\n{more}"
        );
        self.write(&format!("{dir}/drystone.toml"), &manifest);
        self.write(&format!("{dir}/src/code.txt"), &format!("{name} {vers}\n"));
    }

    /// Publishes a package.
    pub(crate) fn publish(&self, name: &str, vers: &str, more: &str) {
        let dir = format!("published/{name}-{vers}");
        self.write_package(&dir, name, vers, more);
        self.author.ok(&self.path(&dir), &["publish"]);
    }

    /// What an installed package holds.
    pub(crate) fn installed(&self, project: &str, name: &str) -> String {
        self.read(&format!("{project}/drystone_packages/{name}/src/code.txt")).trim().to_owned()
    }

    /// Says what comes.
    pub(crate) fn heading(&mut self, text: &str) {
        self.told.push_str(&format!("# {text}\n\n"));
    }

    /// Runs a command of the user's; what it says, and its exit code, are part of the snapshot.
    pub(crate) fn tell(&mut self, dir: &str, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let output = self.user.run(&self.path(dir), &words);
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let text = text.replace(&self.server.url, "https://registry.example");
            text.replace(&self.folder.path().display().to_string(), "/folder")
        };
        let code = output.status.code().map_or_else(|| "killed".into(), |code| code.to_string());
        let (out, err) = (text(&output.stdout), in_order(&text(&output.stderr)));
        self.told.push_str(&format!("$ drystone {command}\n{out}{err}[{code}]\n\n"));
    }

    /// Compares all that was told.
    #[track_caller]
    pub(crate) fn compare(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumer/snapshots");
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("DRYSTONE_UPDATE").is_some() {
            fs_err::write(&path, &self.told).unwrap();
        }
        let expected = fs_err::read_to_string(&path).unwrap_or_default();
        let differing = self.told.lines().zip(expected.lines()).find(|(told, expected)| told != expected);
        assert!(self.told == expected, "{name}: {differing:?} in\n{}", self.told);
    }
}

/// Downloads are told as they end: in any order, here in that of the names.
fn in_order(told: &str) -> String {
    let is_download = |line: &&str| line.trim_start().starts_with("Downloaded ");
    let mut downloads: Vec<&str> = told.lines().filter(is_download).collect();
    downloads.sort_unstable();
    let mut downloads = downloads.into_iter();
    let ordered = |line| if is_download(&line) { downloads.next().unwrap_or(line) } else { line };
    told.lines().map(ordered).map(|line| format!("{line}\n")).collect()
}
