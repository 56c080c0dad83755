//! Which file is the README, when the manifest that says so may come after it in the archive.
//!
//! Invariant: at most [`GUESSES_MAX`] files are held in memory besides those that a manifest names.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::ReadmeChoice;

/// The names that Cargo looks for, in its order; the generic format does the same.
const USUAL: [&str; 3] = ["README.md", "README.txt", "README"];
/// Files that are kept because a manifest yet to come might name them.
const GUESSES_MAX: usize = 8;

/// What became of the README.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readme {
    Absent,
    Text(String),
    /// It is there but cannot be shown: why, as a warning.
    Unusable(String),
    TooLong {
        path: String,
        size: u64,
    },
}

/// Files that are the README, or may turn out to be.
#[derive(Default)]
pub(crate) struct Readmes {
    named: BTreeSet<String>,
    guesses: usize,
    seen: BTreeMap<String, Seen>,
}

enum Seen {
    Kept(Vec<u8>),
    TooLong(u64),
}

impl Readmes {
    /// Takes note of what a manifest says.
    pub(crate) fn name(&mut self, choice: &ReadmeChoice) {
        if let ReadmeChoice::Path(path) = choice {
            self.named.insert(plain(path).into());
        }
    }

    /// Whether to keep a file's content; `settled` once no further manifest can name one.
    pub(crate) fn wants(&mut self, path: &str, settled: bool) -> bool {
        if USUAL.contains(&path) || self.named.contains(path) {
            return true;
        }
        let file_name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let document =
            [".md", ".markdown", ".txt", ".rst", ".adoc", ".org"].iter().any(|end| file_name.ends_with(end));
        let guess = !settled && (file_name.starts_with("readme") || (document && !path.contains('/')));
        let guess = guess && self.guesses < GUESSES_MAX;
        self.guesses += usize::from(guess);
        guess
    }

    pub(crate) fn keep(&mut self, path: &str, content: Vec<u8>) {
        self.seen.insert(path.into(), Seen::Kept(content));
    }

    pub(crate) fn too_long(&mut self, path: &str, size: u64) {
        self.seen.insert(path.into(), Seen::TooLong(size));
    }

    /// The README of a manifest, once the archive was seen whole.
    pub(crate) fn choose(mut self, choice: &ReadmeChoice) -> Readme {
        let path = match choice {
            ReadmeChoice::Never => return Readme::Absent,
            ReadmeChoice::Usual => match USUAL.iter().find(|path| self.seen.contains_key(**path)) {
                Some(path) => *path,
                None => return Readme::Absent,
            },
            ReadmeChoice::Path(path) => plain(path),
        };
        match self.seen.remove(path) {
            None => {
                Readme::Unusable(format!("the README `{path}` that the manifest names is not in the archive"))
            }
            Some(Seen::TooLong(size)) => Readme::TooLong { path: path.into(), size },
            Some(Seen::Kept(content)) => match String::from_utf8(content) {
                Ok(text) => Readme::Text(text),
                Err(_) => Readme::Unusable(format!("the README `{path}` is not UTF-8 and will not be shown")),
            },
        }
    }
}

fn plain(path: &str) -> &str {
    path.trim_start_matches("./")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> ReadmeChoice {
        ReadmeChoice::Path(path.into())
    }

    fn with(files: &[(&str, &[u8])], choice: &ReadmeChoice) -> Readme {
        let mut readmes = Readmes::default();
        for (path, content) in files {
            if readmes.wants(path, false) {
                readmes.keep(path, content.to_vec());
            }
        }
        readmes.choose(choice)
    }

    #[test]
    fn the_usual_names_in_order_and_the_named_one() {
        let files: &[(&str, &[u8])] =
            &[("ABOUT.md", b"a"), ("README", b"r"), ("README.md", b"m"), ("docs/readme.rst", b"d")];
        assert_eq!(with(files, &ReadmeChoice::Usual), Readme::Text("m".into()));
        assert_eq!(with(files, &named("ABOUT.md")), Readme::Text("a".into()));
        assert_eq!(with(files, &named("./docs/readme.rst")), Readme::Text("d".into()));
        assert_eq!(with(files, &ReadmeChoice::Never), Readme::Absent);
        assert_eq!(with(&[("src/a.rs", b"")], &ReadmeChoice::Usual), Readme::Absent);
        assert!(matches!(with(files, &named("../README.md")), Readme::Unusable(_)));
        assert!(matches!(with(&[("README.md", b"\xff")], &ReadmeChoice::Usual), Readme::Unusable(_)));
    }

    #[test]
    fn only_a_few_guesses_are_kept() {
        let mut readmes = Readmes::default();
        assert_eq!((0..100).filter(|i| readmes.wants(&format!("{i}.md"), false)).count(), GUESSES_MAX);
        assert!(!readmes.wants("x.md", true) && readmes.wants("README.md", true));
        readmes.name(&named("x.md"));
        assert!(readmes.wants("x.md", true));
    }
}
