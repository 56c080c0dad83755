//! Package names, their display form and their canonical key.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A package name: `name` or `owner/name`.
///
/// Each part has 1 to 64 characters of `[A-Za-z0-9_-]`, starts with a letter or digit and is not a Windows device
/// name. The display form is kept as written; two names with one [canonical](Self::canonical) form cannot both exist.
/// Equality and order are those of the display form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PackageName(String);

/// Why a text is not a package name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A part is empty or longer than 64 characters.
    #[error("`{0}` is not a package name: each part has 1 to 64 characters")]
    Length(String),
    /// A character outside `[A-Za-z0-9_-]`.
    #[error("`{name}` is not a package name: `{character}` is not a letter, digit, `-` or `_`")]
    Character {
        /// The text.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// A part starts with `-` or `_`.
    #[error("`{0}` is not a package name: each part starts with a letter or digit")]
    Start(String),
    /// More than one `/`.
    #[error("`{0}` is not a package name: it is `name` or `owner/name`")]
    Parts(String),
    /// A part that Windows cannot have as a file name.
    #[error("`{0}` is not a package name: a part is the name of a Windows device")]
    Device(String),
}

/// Longest part of a name, in characters.
const PART_CHARS_MAX: usize = 64;

impl PackageName {
    /// Parses a name.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let shown = || text.chars().take(PART_CHARS_MAX * 2 + 1).collect::<String>();
        if text.split('/').count() > 2 {
            return Err(InvalidName::Parts(shown()));
        }
        for part in text.split('/') {
            if part.is_empty() || part.chars().count() > PART_CHARS_MAX {
                return Err(InvalidName::Length(shown()));
            }
            if let Some(character) =
                part.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_')
            {
                return Err(InvalidName::Character { name: shown(), character });
            }
            if !part.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err(InvalidName::Start(shown()));
            }
            if is_windows_device(part) {
                return Err(InvalidName::Device(shown()));
            }
        }
        Ok(Self(text))
    }

    /// The name as its author writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key that decides whether two names are one: lower case, with `_` written `-`.
    pub fn canonical(&self) -> String {
        self.0.to_ascii_lowercase().replace('_', "-")
    }

    /// The form used in file paths: the display form in lower case.
    pub fn path_form(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The part before `/`, if there is one.
    pub fn owner(&self) -> Option<&str> {
        self.0.split_once('/').map(|(owner, _)| owner)
    }

    /// The part after `/`, or the whole name.
    pub fn short(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, short)| short)
    }
}

/// Whether Windows reserves this file stem (CON, PRN, AUX, NUL, COM0-9, LPT0-9), in any letter case.
fn is_windows_device(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    let numbered = |prefix: &str| {
        lower.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit())
    };
    matches!(&*lower, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl FromStr for PackageName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for PackageName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_are_refused() {
        let long = "a".repeat(65);
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "-a", "_a", "a/-b", "a.b", "a b", "é", "../a", "a/..", "con",
            "AUX", "acme/NUL", "com1", "lpt9", "a\0b", "a\n", &long,
        ] {
            assert!(PackageName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_are_allowed() {
        for good in ["a", "Serde_JSON", "acme/http", "0x", "com", "com10", "console", &"a".repeat(64)] {
            assert_eq!(PackageName::new(good).unwrap().as_str(), good);
        }
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_itself_a_name(text in "[A-Za-z0-9][A-Za-z0-9_-]{0,20}(/[A-Za-z0-9][A-Za-z0-9_-]{0,20})?") {
            if let Ok(name) = PackageName::new(text) {
                let canonical = PackageName::new(name.canonical()).unwrap();
                prop_assert_eq!(canonical.canonical(), name.canonical());
                prop_assert_eq!(PackageName::new(name.path_form()).unwrap().canonical(), name.canonical());
            }
        }
    }
}
