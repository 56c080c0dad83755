//! The environment, read once in `main`.
//!
//! Owns the names of variables that commands ask for. Does not own what they decide.

use std::{collections::BTreeMap, path::PathBuf};

/// Environment variables as they were at the start.
#[derive(Debug, Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// Reads the process's environment; variables that are not UTF-8 count as absent.
    pub fn of_process() -> Self {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a switch is set to anything but `0` and `false`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// The per-user directory: `DRYSTONE_HOME`, else below the XDG data directory, else below `HOME`.
    pub fn home(&self) -> Option<PathBuf> {
        let path = |name: &str| self.get(name).map(PathBuf::from);
        path("DRYSTONE_HOME")
            .or_else(|| path("XDG_DATA_HOME").filter(|dir| dir.is_absolute()).map(|dir| dir.join("drystone")))
            .or_else(|| path("HOME").map(|dir| dir.join(".local/share/drystone")))
            .or_else(|| path("LOCALAPPDATA").map(|dir| dir.join("drystone")))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Env {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_where_the_environment_says() {
        let home = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .copied()
                .collect::<Env>()
                .home()
                .map_or_else(String::new, |dir| dir.display().to_string())
        };
        let user = ("HOME", "/home/ann");
        let below_user = "/home/ann/.local/share/drystone";
        assert_eq!(home(&[]), "");
        assert_eq!(home(&[user]), below_user);
        assert_eq!(home(&[user, ("XDG_DATA_HOME", "/x")]), "/x/drystone");
        assert_eq!(home(&[user, ("XDG_DATA_HOME", "not/absolute")]), below_user);
        assert_eq!(home(&[user, ("DRYSTONE_HOME", "/d"), ("XDG_DATA_HOME", "/x")]), "/d");
        assert_eq!(home(&[user, ("DRYSTONE_HOME", "")]), below_user);
    }

    #[test]
    fn switches() {
        for (value, on) in
            [("1", true), ("yes", true), ("0", false), ("false", false), ("FALSE", false), ("", false)]
        {
            assert_eq!(Env::from_iter([("CI", value)]).is_on("CI"), on, "{value}");
        }
    }
}
