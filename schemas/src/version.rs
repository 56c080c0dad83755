//! Versions (SemVer 2.0.0) and requirements.

use std::{cmp::Ordering, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest version or requirement, in bytes.
const TEXT_BYTES_MAX: usize = 150;

/// A SemVer 2.0.0 version of at most 150 bytes, kept as written.
///
/// Build metadata does not distinguish versions: compare releases by [`precedence_key`](Self::precedence_key).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Version(semver::Version);

/// Why a text is not a version or a requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {detail}")]
pub struct InvalidVersion {
    text: String,
    what: &'static str,
    detail: String,
}

impl InvalidVersion {
    fn new(text: &str, what: &'static str, detail: impl fmt::Display) -> Self {
        Self { text: text.chars().take(TEXT_BYTES_MAX).collect(), what, detail: detail.to_string() }
    }
}

impl Version {
    /// Parses a version strictly.
    pub fn new(text: &str) -> Result<Self, InvalidVersion> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidVersion::new(text, "SemVer version", "it is longer than 150 bytes"));
        }
        semver::Version::parse(text).map(Self).map_err(|e| InvalidVersion::new(text, "SemVer version", e))
    }

    /// The parsed version.
    pub const fn semver(&self) -> &semver::Version {
        &self.0
    }

    /// The version without build metadata: equal keys mean the same release.
    pub fn precedence_key(&self) -> String {
        let mut version = self.0.clone();
        version.build = semver::BuildMetadata::EMPTY;
        version.to_string()
    }

    /// What compatible versions have in common, by Cargo's rule: everything up to the first number that is not 0.
    pub const fn compatible_line(&self) -> (u64, u64, u64) {
        match (self.0.major, self.0.minor) {
            (0, 0) => (0, 0, self.0.patch),
            (0, minor) => (0, minor, 0),
            (major, _) => (major, 0, 0),
        }
    }

    /// Whether it is a pre-release.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::new(text)
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        Self::new(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

/// A requirement: `^ ~ >= <= > < = *`, comma for "and"; a bare version means `^`, as in Cargo.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct VersionReq(semver::VersionReq);

impl VersionReq {
    /// Parses a requirement.
    pub fn new(text: &str) -> Result<Self, InvalidVersion> {
        if text.len() > TEXT_BYTES_MAX * 4 {
            return Err(InvalidVersion::new(text, "version requirement", "it is longer than 600 bytes"));
        }
        semver::VersionReq::parse(text)
            .map(Self)
            .map_err(|e| InvalidVersion::new(text, "version requirement", e))
    }

    /// Whether a version satisfies it; pre-releases only where the requirement names one, as in Cargo.
    pub fn matches(&self, version: &Version) -> bool {
        self.0.matches(&version.0)
    }
}

impl fmt::Display for VersionReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for VersionReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for VersionReq {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::new(text)
    }
}

impl TryFrom<String> for VersionReq {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        Self::new(&text)
    }
}

impl From<VersionReq> for String {
    fn from(req: VersionReq) -> Self {
        req.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_semver_only() {
        for bad in [
            "",
            "1",
            "1.0",
            "01.0.0",
            "1.0.0-",
            "1.0.0+",
            "v1.0.0",
            "1.0.0.0",
            "not.a.version",
            " 1.0.0",
            "1.0.0-01",
        ] {
            assert!(Version::new(bad).is_err(), "{bad:?}");
        }
        for good in ["0.0.0", "1.2.3", "1.0.0-alpha.1", "1.0.0+zstd.1.5.7", "1.0.0-0.3.7+build"] {
            assert_eq!(Version::new(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn build_metadata_does_not_distinguish() {
        let key = |text| Version::new(text).unwrap().precedence_key();
        assert_eq!(key("1.0.0+a"), key("1.0.0+b"));
        assert_ne!(key("1.0.0-a"), key("1.0.0"));
    }

    #[test]
    fn requirements_as_the_feature_list_names_them() {
        let matches =
            |req: &str, version: &str| VersionReq::new(req).unwrap().matches(&Version::new(version).unwrap());
        assert!(matches("1.2", "1.9.0") && !matches("1.2", "2.0.0"));
        assert!(matches("^0.3.1", "0.3.9") && !matches("^0.3.1", "0.4.0"));
        assert!(matches("~1.2.3", "1.2.9") && !matches("~1.2.3", "1.3.0"));
        assert!(matches(">=1, <3", "2.5.0") && !matches(">=1, <3", "3.0.0"));
        assert!(matches("*", "7.0.0") && matches("=1.0.0", "1.0.0"));
        assert!(!matches("*", "1.0.0-rc.1") && matches(">=1.0.0-rc.1", "1.0.0-rc.2"));
    }
}
