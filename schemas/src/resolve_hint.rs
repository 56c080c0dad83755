//! Closure hints: the names of the packages that a package leads to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PackageName, canonical_json};

/// `resolve/<prefix>/<name>.hint`: what a resolver will probably ask for after the package itself.
///
/// Advice, computed now and then: a name too many costs bytes, a name too few costs a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveHint {
    /// Size of the log that it was computed from.
    pub seq: u64,
    /// The names, sorted.
    pub names: Vec<PackageName>,
}

impl ResolveHint {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}
