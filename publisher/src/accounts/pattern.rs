//! Which packages a token is for: `name`, `prefix*`, `owner/*`, or all of them.

use std::fmt;

use drystone_schemas::PackageName;
use serde::{Deserialize, Serialize};

/// One pattern. Names are compared by their canonical form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackagePattern(String);

/// The text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pattern of package names: write `name`, `prefix*`, `owner/*` or `*`")]
pub struct InvalidPattern(String);

impl PackagePattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(text.chars().take(140).collect());
        let example = match text.strip_suffix('*') {
            // What stands for `*` makes a name of every prefix that one could begin with.
            Some(prefix) => format!("{prefix}a"),
            None => text.to_owned(),
        };
        PackageName::new(example).map_err(|_| invalid())?;
        Ok(Self(text.to_ascii_lowercase().replace('_', "-")))
    }

    /// Whether a package is one of those. A prefix without an owner covers no package that has one.
    pub fn covers(&self, name: &PackageName) -> bool {
        let name = name.canonical();
        match self.0.strip_suffix('*') {
            Some("") => true,
            Some(prefix) => name.starts_with(prefix) && prefix.contains('/') == name.contains('/'),
            None => name == self.0,
        }
    }
}

impl fmt::Display for PackagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PackagePattern {
    type Error = InvalidPattern;
    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        Self::new(&text)
    }
}

impl From<PackagePattern> for String {
    fn from(pattern: PackagePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patterns_cover() {
        for (pattern, covered, others) in [
            ("*", &["http", "acme/http"][..], &[][..]),
            ("http", &["http", "HTTP"], &["http2", "acme/http", "htt"]),
            ("my_http", &["my-http", "My_Http"], &["myhttp"]),
            ("http*", &["http", "http-client", "HTTP2"], &["htt", "http/client", "httpd/x"]),
            ("acme/*", &["acme/http", "Acme/x"], &["acme", "acme2/http", "acmehttp"]),
            ("acme/h*", &["acme/http"], &["acme/x", "acme"]),
        ] {
            let parsed = PackagePattern::new(pattern).unwrap();
            for name in covered {
                assert!(parsed.covers(&PackageName::new(*name).unwrap()), "{pattern} {name}");
            }
            for name in others {
                assert!(!parsed.covers(&PackageName::new(*name).unwrap()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for bad in ["", "**", "a*b", "*a", "a/b/*", "/x", "*/x", "../*", "a b", "é*", "con"] {
            assert!(PackagePattern::new(bad).is_err(), "{bad}");
        }
    }
}
