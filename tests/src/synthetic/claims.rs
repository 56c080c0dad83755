//! What each event claims of its package's files, in a file of equal slots until the events are written in their order.

use std::{fs::File, os::unix::fs::FileExt as _};

use drystone_log::{FileRef, Hash};
use drystone_schemas::{FileClass, Sha256Digest};

/// The classes that synthetic events change, in the order in which an event names them.
pub(super) const CLASSES: [FileClass; 3] = [FileClass::Index, FileClass::Resolve, FileClass::Document];
/// A digest, and three digests with lengths.
const SLOT: usize = 32 + 3 * 40;

/// What the slot of an event holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The version record of a publish; of any other event, zeros.
    pub(super) record: Sha256Digest,
    /// Index file, resolve record and document.
    pub(super) files: [FileRef; 3],
}

/// The claims of all events.
pub(super) struct Claims(File);

impl Claims {
    /// In a file that nobody else sees.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempfile()?))
    }

    pub(super) fn put(&self, event: u64, claim: &Claim) -> anyhow::Result<()> {
        let mut slot = [0; SLOT];
        slot[..32].copy_from_slice(claim.record.as_bytes());
        for (file, place) in claim.files.iter().zip(slot[32..].chunks_exact_mut(40)) {
            place[..32].copy_from_slice(file.digest.as_bytes());
            place[32..].copy_from_slice(&file.len.to_be_bytes());
        }
        Ok(self.0.write_all_at(&slot, event * SLOT as u64)?)
    }

    pub(super) fn get(&self, event: u64) -> anyhow::Result<Claim> {
        let mut slot = [0; SLOT];
        self.0.read_exact_at(&mut slot, event * SLOT as u64)?;
        let digest = |at: usize| -> [u8; 32] { slot[at..at + 32].try_into().expect("32 bytes of a slot") };
        let file = |at: usize| FileRef {
            digest: Hash::new(digest(at)),
            len: u64::from_be_bytes(slot[at + 32..at + 40].try_into().expect("8 bytes of a slot")),
        };
        Ok(Claim { record: Sha256Digest::from_bytes(digest(0)), files: [file(32), file(72), file(112)] })
    }
}
