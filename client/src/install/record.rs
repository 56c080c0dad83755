//! `.installed.json`: what a directory of packages holds, by its own account.
//!
//! Invariant: what is named here is there, whole; what is about to change is taken out before.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use drystone_schemas::{PackageName, Sha256Digest, Version};
use serde::{Deserialize, Serialize};

use super::LinkMode;
use crate::{ClientError, disk::Disk};

const RECORD: &str = ".installed.json";

/// The packages of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) packages: BTreeMap<String, RecordedPackage>,
    /// Packages of the project's own disk, by canonical name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) locals: BTreeMap<String, RecordedLocal>,
    /// What may be in its place or not, because a run that was to change it has not ended yet, or never will.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) changing: BTreeSet<PackageName>,
}

/// One package of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedPackage {
    pub(super) name: PackageName,
    pub(super) version: Version,
    pub(super) digest: Sha256Digest,
    pub(super) mode: LinkMode,
}

/// One package of the project's own disk, which a link leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedLocal {
    pub(super) name: PackageName,
    pub(super) path: String,
}

impl Record {
    /// One that cannot be read counts as none: then all is linked anew.
    pub(super) fn read(dir: &Path) -> Self {
        fs_err::read(dir.join(RECORD))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| ClientError::Internal(e.to_string()))?;
        Ok(disk.replace(&dir.join(RECORD), &bytes)?)
    }
}

/// The digests that a directory of packages uses; `None` if it is gone.
pub(crate) fn recorded_digests(dir: &Path) -> Option<BTreeSet<Sha256Digest>> {
    if !dir.is_dir() {
        return None;
    }
    Some(Record::read(dir).packages.into_values().map(|package| package.digest).collect())
}
