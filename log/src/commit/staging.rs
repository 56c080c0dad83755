//! Staging objects: the list of writes that a commit stands for.
//!
//! Whoever finds a commit that is not applied executes its list; nothing is recomputed. The file is one line of JSON,
//! then the bytes of every operation in order.

use bytes::Bytes;
use drystone_schemas::canonical_json;
use serde::{Deserialize, Serialize};

use super::CommitError;

/// Longest staging object, in bytes: 64 intents with an entry bundle, tiles and alias maps stay far below.
pub const STAGING_BYTES_MAX: u64 = 64 << 20;

/// What a commit will apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// Size of the tree after the commit.
    pub size: u64,
    /// The newest event's line, for `latest.tlog-proof`.
    pub last_entry: Bytes,
    /// The writes; their order does not matter.
    pub ops: Vec<Op>,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// How.
    pub kind: OpKind,
    /// Where.
    pub key: String,
    /// What.
    pub bytes: Bytes,
}

/// How a staged write is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// Create a public object that never changes: tiles and entry bundles.
    PutPublic,
    /// Create an object in the vault: outcomes of intents.
    PutVault,
    /// Replace a public by-name file, unless the one there has this position in the log or a later one.
    ReplacePublic {
        /// The file's position in the log.
        seq: u64,
    },
    /// The same in the vault.
    ReplaceVault {
        /// The file's position in the log.
        seq: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Index {
    v: u32,
    size: u64,
    last_entry: usize,
    ops: Vec<(OpKind, String, usize)>,
}

impl Staging {
    /// The object's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let ops = self.ops.iter().map(|op| (op.kind, op.key.clone(), op.bytes.len())).collect();
        let mut out =
            canonical_json(&Index { v: 1, size: self.size, last_entry: self.last_entry.len(), ops });
        out.extend_from_slice(&self.last_entry);
        for op in &self.ops {
            out.extend_from_slice(&op.bytes);
        }
        out
    }

    /// Reads the object, strictly.
    pub fn parse(bytes: &Bytes) -> Result<Self, CommitError> {
        let bad = |detail: String| CommitError::BadStaging(detail);
        let line_end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| bad("no index line".into()))?;
        let index: Index = serde_json::from_slice(&bytes[..line_end]).map_err(|e| bad(e.to_string()))?;
        if index.v != 1 {
            return Err(CommitError::UpgradeRequired(format!("a staging object has format {}", index.v)));
        }
        let mut rest = bytes.slice(line_end + 1..);
        let mut take = |len: usize| {
            if len > rest.len() { Err(bad("it ends too early".into())) } else { Ok(rest.split_to(len)) }
        };
        let last_entry = take(index.last_entry)?;
        let mut ops = Vec::with_capacity(index.ops.len());
        for (kind, key, len) in index.ops {
            ops.push(Op { kind, key, bytes: take(len)? });
        }
        if rest.is_empty() {
            Ok(Self { size: index.size, last_entry, ops })
        } else {
            Err(bad("it does not end".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staging_object_reads_back_and_damage_is_refused() {
        let op = |kind, key: &str, bytes: &'static [u8]| Op {
            kind,
            key: key.into(),
            bytes: Bytes::from_static(bytes),
        };
        let staging = Staging {
            size: 7,
            last_entry: Bytes::from_static(b"{}\n"),
            ops: vec![
                op(OpKind::PutPublic, "log/tile/0/000.p/7", b"\x00\n\xff"),
                op(OpKind::ReplacePublic { seq: 6 }, "packages/a.json", b"{}"),
                op(OpKind::PutVault, "done/x", b""),
            ],
        };
        let bytes = Bytes::from(staging.to_bytes());
        assert_eq!(Staging::parse(&bytes).unwrap(), staging);
        for cut in 0..bytes.len() {
            assert!(Staging::parse(&bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert!(Staging::parse(&longer).is_err());
    }
}
