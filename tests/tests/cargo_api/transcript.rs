//! What cargo says, from the first command to the last, compared with what it said when somebody looked at it.
//!
//! `snapshots/NAME.txt` holds for every way of running a registry; where one of them differs for a reason,
//! `snapshots/NAME@kind.txt` holds for it. `DRYSTONE_UPDATE=1` writes the files anew.
#![expect(clippy::disallowed_methods, reason = "it reads its own environment")]

use std::path::Path;

use drystone_tests::deployment::Kind;

use crate::cargo::Cargo;

/// A session with cargo.
pub(crate) struct Transcript {
    name: &'static str,
    text: String,
}

impl Transcript {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    /// Says what comes.
    pub(crate) fn heading(&mut self, text: &str) {
        self.text.push_str(&format!("# {text}\n\n"));
    }

    /// Runs `cargo ... --registry dry` in a directory, with this on its standard input.
    pub(crate) fn run_with(&mut self, cargo: &Cargo, directory: &str, command: &str, stdin: &str) {
        self.text.push_str(&format!("$ cargo {command}\n"));
        let words: Vec<&str> = command.split(' ').collect();
        let told = cargo.told(directory, &words, stdin);
        self.text.push_str(&told);
        self.text.push('\n');
    }

    /// The same with nothing on its standard input.
    pub(crate) fn run(&mut self, cargo: &Cargo, directory: &str, command: &str) {
        self.run_with(cargo, directory, command, "");
    }

    /// Compares all of it.
    #[track_caller]
    pub(crate) fn compare(&self, kind: Kind) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cargo_api/snapshots");
        let shared = folder.join(format!("{}.txt", self.name));
        let own = folder.join(format!("{}@{kind:?}.txt", self.name).to_lowercase());
        let read = |path: &Path| fs_err::read_to_string(path).unwrap_or_default();
        if std::env::var_os("DRYSTONE_UPDATE").is_some() {
            fs_err::create_dir_all(&folder).unwrap();
            if kind == Kind::Serve {
                fs_err::write(&shared, &self.text).unwrap();
            } else if read(&shared) == self.text {
                drop(fs_err::remove_file(&own));
            } else {
                fs_err::write(&own, &self.text).unwrap();
            }
        }
        let expected = if own.exists() { read(&own) } else { read(&shared) };
        if self.text == expected {
            return;
        }
        let same =
            self.text.lines().zip(expected.lines()).take_while(|(told, expected)| told == expected).count();
        let from = |text: &str| text.lines().skip(same).take(12).collect::<Vec<_>>().join("\n");
        panic!(
            "{} on {kind:?}, line {}: cargo said\n{}\nand not\n{}",
            self.name,
            same + 1,
            from(&self.text),
            from(&expected)
        );
    }
}
