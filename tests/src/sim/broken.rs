//! Protocols that are broken on purpose: stores that take away what one guard of the protocol relies on.
//!
//! Owns: for each guard, what a writer without it would have seen or would have caused. Does not own the guards; the
//! code under test is the real one, and what it is told is what makes it act as if it lacked them.
//!
//! Invariant: only publishers are misled. Readers, the oracle and the checks at the end see what is stored.

use bytes::Bytes;
use drystone_log::{Checkpoint, TlogProof, commit::Head};
use drystone_schemas::layout;
use drystone_storage::Op;

use super::{
    base::Base,
    calls::{Memory, Place, Write},
};
use crate::TestRegistry;

/// Which guard is taken away, and how. The steps are those of the commit protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nothing is.
    Nothing,

    // Steps 1 and 4: what head will name is there before head.
    /// Objects are acknowledged and not kept.
    ObjectsNotKept,
    /// Objects are acknowledged before they are there.
    ObjectsLate,
    /// Nodes of the state map are acknowledged and not kept.
    NodesNotKept,
    /// Nodes of the state map are acknowledged before they are there.
    NodesLate,
    /// Staging objects are acknowledged and not kept.
    StagingNotKept,
    /// Staging objects are acknowledged before they are there.
    StagingLate,

    // Step 2: reading head and the published checkpoint, helping.
    /// The checkpoint and the newest proof always look as if head were published: nobody helps.
    NothingToHelp,
    /// Reads do not tell the store's time.
    StoreTimeHidden,
    /// Head does not tell the time of the last event.
    HeadTimeHidden,

    // Step 3: outcomes and rights.
    /// Outcomes of intents are not found.
    OutcomesHidden,
    /// A token that was there once stays there for its reader.
    TokensCached,
    /// A deleted token stays.
    TokensNotDeleted,

    // Step 5: the commit point.
    /// Head is replaced whatever was seen.
    HeadWithoutCondition,
    /// A replacement of head is acknowledged and not done.
    HeadNotReplaced,
    /// An unknown outcome is taken for a failure, and what was staged is cleaned up.
    UnknownCleansUp,
    /// An unknown outcome of head's replacement is told as a lost race.
    UnknownTakenForLost,
    /// A replacement of head that adds no event is acknowledged and not done.
    FenceNotDone,

    // Step 6: applying.
    /// Tiles and bundles are acknowledged and not kept.
    TilesNotKept,
    /// Tiles and bundles are acknowledged before they are there.
    TilesLate,
    /// Outcomes of intents are acknowledged and not kept.
    OutcomesNotKept,
    /// Outcomes of intents are acknowledged before they are there.
    OutcomesLate,
    /// By-name files are acknowledged and not replaced.
    FilesNotReplaced,
    /// By-name files are acknowledged before they are replaced.
    FilesLate,
    /// By-name files are replaced whatever was seen.
    FilesWithoutCondition,
    /// By-name files do not tell their position in the log.
    PositionsHidden,
    /// An object that is there with other bytes is taken for the same.
    DifferentTakenForSame,

    // Step 7: signing and publishing.
    /// The checkpoint is replaced whatever was seen.
    CheckpointWithoutCondition,
    /// The checkpoint is acknowledged and not replaced.
    CheckpointNotReplaced,
    /// The checkpoint always looks like the first one: nothing is compared with what is published.
    CheckpointOld,

    // Garbage collection.
    /// What was collected once cannot be put again, as if nobody looked at the collector's number.
    ObjectsNotPutAgain,
    /// Head does not tell what is being collected.
    DoomedNotShown,
    /// Copies in the trash are acknowledged and not kept.
    TrashNotKept,
    /// The trash seems to be empty, so that nothing is put back.
    TrashNotListed,
}

/// What becomes of an acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is done.
    Now,
    /// It is done at some later time.
    Later,
    /// It is not done.
    Never,
}

impl Broken {
    /// Whether a write that is acknowledged is done.
    pub(super) fn keeps(self, memory: &Memory, place: Place, write: &Write) -> Kept {
        let key = write.key().as_str();
        let (public, vault) = (place == Place::Public, place == Place::Vault);
        let by_name = public && matches!(write, Write::Replace { .. }) && !key.starts_with("log/");
        let (hit, kept) = match self {
            Self::ObjectsNotKept => (public && key.starts_with("o/"), Kept::Never),
            Self::ObjectsLate => (public && key.starts_with("o/"), Kept::Later),
            Self::NodesNotKept => (public && key.starts_with("log/state/"), Kept::Never),
            Self::NodesLate => (public && key.starts_with("log/state/"), Kept::Later),
            Self::StagingNotKept => (vault && key.starts_with("staging/"), Kept::Never),
            Self::StagingLate => (vault && key.starts_with("staging/"), Kept::Later),
            Self::TokensNotDeleted => (vault && matches!(write, Write::Delete(_)), Kept::Never),
            Self::HeadNotReplaced => (vault && key == layout::HEAD, Kept::Never),
            Self::FenceNotDone => {
                let commit = |bytes: Option<&Bytes>| Some(Head::parse(bytes?).ok()?.commit);
                let there = memory.bytes(place, key);
                (vault && key == layout::HEAD && commit(write.bytes()) == commit(there.as_ref()), Kept::Never)
            }
            Self::TilesNotKept => (public && key.starts_with("log/tile/"), Kept::Never),
            Self::TilesLate => (public && key.starts_with("log/tile/"), Kept::Later),
            Self::OutcomesNotKept => (vault && key.starts_with("done/"), Kept::Never),
            Self::OutcomesLate => (vault && key.starts_with("done/"), Kept::Later),
            Self::FilesNotReplaced => (by_name, Kept::Never),
            Self::FilesLate => (by_name, Kept::Later),
            Self::CheckpointNotReplaced => (key == layout::CHECKPOINT, Kept::Never),
            Self::TrashNotKept => (vault && key.starts_with("trash/"), Kept::Never),
            Self::ObjectsNotPutAgain => {
                let put = public && key.starts_with("o/") && matches!(write, Write::Put(_));
                (put && memory.in_trash(key), Kept::Never)
            }
            _ => (false, Kept::Now),
        };
        if hit { kept } else { Kept::Now }
    }

    /// Whether a file is replaced whatever its writer has seen.
    pub(super) fn unconditional(self, place: Place, key: &str) -> bool {
        match self {
            Self::HeadWithoutCondition => (place, key) == (Place::Vault, layout::HEAD),
            Self::FilesWithoutCondition => place == Place::Public && !key.starts_with("log/"),
            Self::CheckpointWithoutCondition => key == layout::CHECKPOINT,
            _ => false,
        }
    }

    /// What a publisher is shown instead of the bytes that are stored.
    pub(super) fn shows(
        self,
        memory: &Memory,
        place: Place,
        op: Op,
        key: &str,
        stored: Option<Bytes>,
    ) -> Option<Bytes> {
        let in_vault = place == Place::Vault;
        match self {
            Self::NothingToHelp if key == layout::CHECKPOINT || key == layout::LATEST_PROOF => {
                stored.and_then(|_| as_if_published(memory, key == layout::LATEST_PROOF))
            }
            Self::CheckpointOld if key == layout::CHECKPOINT => {
                stored.map(|_| Base::get().file(layout::CHECKPOINT))
            }
            Self::HeadTimeHidden if in_vault && key == layout::HEAD => {
                let head = Head::parse(&stored?).expect("a stored head can be read");
                Some(Head { time: 0, ..head }.to_bytes().into())
            }
            Self::OutcomesHidden if in_vault && key.starts_with("done/") => None,
            // Who plans takes the files by their hash then; who applies sees no position.
            Self::PositionsHidden if !in_vault && op == Op::Read && !key.starts_with("log/") => {
                stored.map(|_| Bytes::new())
            }
            _ => stored,
        }
    }
}

/// A head that does not tell what is being collected.
pub(super) fn without_doomed(bytes: &Bytes) -> Bytes {
    let mut head = Head::parse(bytes).expect("what is written to head is one");
    head.gc.doomed.clear();
    head.to_bytes().into()
}

/// The checkpoint, or the proof file around it, that head would be published with.
fn as_if_published(memory: &Memory, proof: bool) -> Option<Bytes> {
    let head = Head::parse(&memory.bytes(Place::Vault, layout::HEAD)?).ok()?;
    let checkpoint = Checkpoint::new(&head.origin, head.size(), head.root).ok()?;
    let note = checkpoint.sign(&TestRegistry::signer()).to_bytes();
    let index = head.size() - 1;
    let proof = proof.then(|| TlogProof { extra: None, index, hashes: vec![], checkpoint: note.clone() });
    Some(proof.map_or(note, |proof| proof.encode()).into())
}
