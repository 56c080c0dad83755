//! Versions (SemVer 2.0.0) and requirements.

use std::{cmp::Ordering, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest version, in bytes.
const TEXT_BYTES_MAX: usize = 150;
/// Longest requirement, in bytes.
const REQUIREMENT_BYTES_MAX: usize = 600;

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

    /// Whether both name the same release: all but build metadata is equal.
    pub fn is_same_release(&self, other: &Self) -> bool {
        let numbers = |version: &semver::Version| (version.major, version.minor, version.patch);
        numbers(&self.0) == numbers(&other.0) && self.0.pre == other.0.pre
    }

    /// What compatible versions have in common, by Cargo's rule: everything up to the first number that is not 0.
    pub const fn compatible_line(&self) -> (u64, u64, u64) {
        match (self.0.major, self.0.minor) {
            (0, 0) => (0, 0, self.0.patch),
            (0, minor) => (0, minor, 0),
            (major, _) => (major, 0, 0),
        }
    }

    /// The least version of its line of compatible versions that is no pre-release.
    pub fn line_start(&self) -> Self {
        let (major, minor, patch) = self.compatible_line();
        Self(semver::Version::new(major, minor, patch))
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
    /// Parses a requirement of at most 600 bytes, as given and as it is written back.
    pub fn new(text: &str) -> Result<Self, InvalidVersion> {
        /// What writing may add: a caret and a space to each of the 32 comparators that semver takes.
        const ADDED_MAX: usize = 2 * 32;
        let refused = |detail: &dyn fmt::Display| InvalidVersion::new(text, "version requirement", detail);
        let too_long = || refused(&"it is longer than 600 bytes");
        if text.len() > REQUIREMENT_BYTES_MAX {
            return Err(too_long());
        }
        let requirement = semver::VersionReq::parse(text).map_err(|e| refused(&e))?;
        let may_grow = text.len() + ADDED_MAX > REQUIREMENT_BYTES_MAX;
        if may_grow && requirement.to_string().len() > REQUIREMENT_BYTES_MAX {
            return Err(too_long());
        }
        Ok(Self(requirement))
    }

    /// Whether a version satisfies it; pre-releases only where the requirement names one, as in Cargo.
    pub fn matches(&self, version: &Version) -> bool {
        self.0.matches(&version.0)
    }

    /// Whether some version, published or not, both satisfies it and is compatible with `line`. Pre-releases do not count.
    pub fn may_match_line(&self, line: &Version) -> bool {
        let start = line.compatible_line();
        let mut both = start..after_line(start);
        for comparator in &self.0.comparators {
            let one = span(comparator);
            both = both.start.max(one.start)..both.end.min(one.end);
        }
        !both.is_empty()
    }
}

/// The three numbers of a version.
type Numbers = (u64, u64, u64);

/// The first version that is not compatible with those of a line any more.
const fn after_line(start: Numbers) -> Numbers {
    match start {
        (0, 0, patch) => (0, 0, patch.saturating_add(1)),
        (0, minor, _) => (0, minor.saturating_add(1), 0),
        (major, ..) => (major.saturating_add(1), 0, 0),
    }
}

/// The versions that satisfy a comparator, as semver documents its operators; pre-releases aside.
fn span(comparator: &semver::Comparator) -> std::ops::Range<Numbers> {
    const END: Numbers = (u64::MAX, u64::MAX, u64::MAX);
    let semver::Comparator { op, major, minor, patch, .. } = *comparator;
    let start = (major, minor.unwrap_or(0), patch.unwrap_or(0));
    // The first version beyond those that begin with the numbers given.
    let beyond = match (minor, patch) {
        (Some(minor), Some(patch)) => (major, minor, patch.saturating_add(1)),
        (Some(minor), None) => (major, minor.saturating_add(1), 0),
        (None, _) => (major.saturating_add(1), 0, 0),
    };
    match op {
        semver::Op::Greater => beyond..END,
        semver::Op::GreaterEq => start..END,
        semver::Op::Less => (0, 0, 0)..start,
        semver::Op::LessEq => (0, 0, 0)..beyond,
        semver::Op::Tilde if patch.is_some() => start..(major, start.1.saturating_add(1), 0),
        semver::Op::Caret if major > 0 || patch.is_some() => start..after_line(start),
        // `=1.2`, `~1`, `^0.2`, `1.*`: whatever begins with the numbers given.
        _ => start..beyond,
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
    fn a_requirement_may_match_a_line_if_one_of_its_versions_would_do() {
        let mut versions = Vec::new();
        for major in 0..4 {
            for minor in 0..4 {
                versions
                    .extend((0..4).map(|patch| Version::new(&format!("{major}.{minor}.{patch}")).unwrap()));
            }
        }
        for req in [
            "*",
            "^1.2.3",
            "^1.2",
            "^1",
            "^0.1.2",
            "^0.1",
            "^0.0.2",
            "^0.0",
            "^0",
            "~1.2.1",
            "~1.2",
            "~1",
            "~0.1.1",
            "=1.2.1",
            "=1.2",
            "=1",
            "=0.0.1",
            ">1.2.1",
            ">1.2",
            ">1",
            ">=1.2.1",
            ">=0.1",
            "<1.2.1",
            "<1",
            "<=1.2",
            "<=0",
            "1.*",
            "0.1.*",
            "0.*",
            ">=0.1, <2",
            ">=1.1, <1.1",
            ">2, <1",
            ">0.0.1, <=0.0.2",
        ] {
            let req = VersionReq::new(req).unwrap();
            for line in &versions {
                let compatible = |other: &&Version| other.compatible_line() == line.compatible_line();
                let any = versions.iter().filter(compatible).any(|version| req.matches(version));
                assert_eq!(req.may_match_line(line), any, "{req} {line}");
                assert_eq!(line.line_start().compatible_line(), line.compatible_line());
            }
        }
    }

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
