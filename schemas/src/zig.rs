//! What the registry knows of Zig packages beyond what every package has.
//!
//! Owns: the shapes in records, index lines and documents, and the text that a user pastes. Does not own: how a hash is
//! computed. Sources: Zig's `lib/compiler/Maker/Package.zig` and `Package/Manifest.zig`, as of 0.17.0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the archive of a Zig package says of itself, for the version record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZigRecord {
    /// `.name`: what other packages call it by default.
    pub name: String,
    /// The package hash, as Zig since 0.14 computes and writes it.
    pub hash: String,
    /// The same digest as Zig until 0.13 writes it: `1220` and 64 hex digits.
    pub legacy_hash: String,
    /// `.fingerprint`, as `0x` and 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// `.minimum_zig_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_zig_version: Option<String>,
    /// `.paths`, normalised: what the hash covers; `.` means everything.
    pub paths: Vec<String>,
    /// `.dependencies`, by name.
    pub dependencies: Vec<ZigDep>,
}

/// One dependency of a Zig package, as its manifest says; nothing of it is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZigDep {
    /// Name under which it is used.
    pub name: String,
    /// Where its archive is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its package hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Where it is inside the package, instead of a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it is fetched only when the build asks for it.
    pub lazy: bool,
}

impl ZigDep {
    /// The version that its hash tells; a hash of the old form tells none.
    pub fn version(&self) -> Option<&str> {
        /// Length of the encoded part of a hash: 33 bytes in base 64.
        const ENCODED: usize = 44;
        let hash = self.hash.as_deref()?;
        // The encoded part may hold dashes, and so may a version; a name may not.
        let head = hash.get(..hash.len().checked_sub(ENCODED + 1)?)?;
        let (_, version) = head.split_once('-')?;
        Some(version)
    }
}

/// What Zig needs to know of a release, for the index line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZigLine {
    /// `.name` of the manifest.
    pub name: String,
    /// The package hash, as Zig since 0.14 writes it.
    pub hash: String,
    /// The same digest as Zig until 0.13 writes it.
    pub legacy_hash: String,
    /// `.minimum_zig_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_zig_version: Option<String>,
    /// Dependencies, as the manifest says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<ZigDep>,
}

impl From<&ZigRecord> for ZigLine {
    fn from(record: &ZigRecord) -> Self {
        Self {
            name: record.name.clone(),
            hash: record.hash.clone(),
            legacy_hash: record.legacy_hash.clone(),
            minimum_zig_version: record.minimum_zig_version.clone(),
            dependencies: record.dependencies.clone(),
        }
    }
}

/// How to depend on a release from Zig, ready to paste.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZigSnippet {
    /// Name under which it is used.
    pub name: String,
    /// Where the archive is.
    pub url: String,
    /// The package hash.
    pub hash: String,
    /// The entry of `.dependencies` in `build.zig.zon`.
    pub zon: String,
}

impl ZigSnippet {
    /// The snippet of a release whose archive has this SHA-256, in a registry at this URL.
    pub fn new(line: &ZigLine, cksum: &str, public_url: &str) -> Self {
        let (name, hash) = (line.name.clone(), line.hash.clone());
        let url = format!("{public_url}/o/{cksum}");
        // Names are bare identifiers, hashes base 64 and versions, URLs without quotes: nothing needs escaping.
        let zon = format!(".{name} = .{{\n    .url = \"{url}\",\n    .hash = \"{hash}\",\n}},\n");
        Self { name, url, hash, zon }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_a_hash() {
        let dep = |hash: &str| ZigDep {
            name: "d".into(),
            url: None,
            hash: Some(hash.into()),
            path: None,
            lazy: false,
        };
        for (hash, version) in [
            ("libmp3lame-3.100.1-6-67wlF_KvEwDRCT3pTpcDzi5KGntWCEoM-WtvVPEWdlk5", Some("3.100.1-6")),
            ("dvui-0.4.0-dev-AQFJmayi2gAKE7FeJoF61v5U1IV9-SupoEcFutIZYpkC", Some("0.4.0-dev")),
            ("1220c736521490b23df0c736521490b23df0c736521490b23df0c736521490b23df0", None),
            ("short", None),
        ] {
            assert_eq!(dep(hash).version(), version, "{hash}");
        }
    }

    #[test]
    fn the_snippet_is_an_entry_of_the_manifest() {
        let line = ZigLine {
            name: "http".into(),
            hash: "http-1.0.0-x".into(),
            legacy_hash: String::new(),
            minimum_zig_version: None,
            dependencies: Vec::new(),
        };
        let snippet = ZigSnippet::new(&line, "00ff", "https://pkg.example");
        assert_eq!(
            snippet.zon,
            ".http = .{\n    .url = \"https://pkg.example/o/00ff\",\n    .hash = \"http-1.0.0-x\",\n},\n"
        );
    }
}
