//! Aliases: short names that mean a package.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountId, InvalidName, PackageName, canonical_json};

/// A short name: one part of a package name in its canonical form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Alias(String);

impl Alias {
    /// Parses a short name and brings it to its canonical form (lower case, `_` as `-`).
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let name = PackageName::new(text)?;
        if name.owner().is_some() { Err(InvalidName::Parts(name.into())) } else { Ok(Self(name.canonical())) }
    }

    /// The short name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shard of the alias map: the first two characters.
    pub fn shard(&self) -> &str {
        &self.0[..self.0.len().min(2)]
    }
}

crate::account::text_conversions!(Alias, InvalidName);

/// Short names that would be taken for part of a language or of a registry; `settings.reserved` adds more.
const RESERVED: [&str; 22] = [
    "about", "admin", "alias", "aliases", "alloc", "api", "config", "core", "drystone", "help", "index",
    "lib", "log", "main", "me", "package", "packages", "registry", "root", "std", "test", "www",
];

impl Alias {
    /// Whether every registry keeps this short name back: only its operator may set it.
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }
}

/// A shard of the alias map, `aliases/<xx>.json`, or the whole of it, `aliases.json`. An emptied one stays, with its position
/// in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliasMap {
    /// Position in the log of the last event that changed it.
    pub seq: u64,
    /// What each short name means.
    pub aliases: BTreeMap<Alias, AliasTarget>,
}

impl AliasMap {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

/// What a short name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliasTarget {
    /// The package.
    pub package: PackageName,
    /// Position in the log of the event that set it.
    pub seq: u64,
}

/// What happened to the short names of a shard, `aliases/<xx>.history.json`, in the order of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliasHistory {
    /// Position in the log of the last change.
    pub seq: u64,
    /// Every change since the log began.
    pub changes: Vec<AliasChange>,
}

impl AliasHistory {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

/// One change of a short name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliasChange {
    /// Position in the log.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Who did it.
    pub actor: AccountId,
    /// The short name.
    pub alias: Alias,
    /// What was done.
    pub change: AliasChangeKind,
    /// The package that it means since, or meant before.
    pub package: PackageName,
}

/// What was done to a short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AliasChangeKind {
    /// It means the package.
    Set,
    /// It means nothing any more.
    Remove,
}

impl AliasChangeKind {
    /// The word as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Remove => "remove",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_canonical_and_sharded() {
        let alias = Alias::new("Z_Crypto").unwrap();
        assert_eq!((alias.as_str(), alias.shard()), ("z-crypto", "z-"));
        assert_eq!(Alias::new("x").unwrap().shard(), "x");
        assert!(Alias::new("a/b").is_err() && Alias::new("").is_err());
    }
}
