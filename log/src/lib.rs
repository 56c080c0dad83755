//! The transparency log of a registry: Merkle tree, tiles, signed checkpoints, proofs and the state map.
//!
//! All modules but [`commit`] are pure: bytes in, bytes or a decision out; no storage, no clock, no randomness.
//!
//! | module | owns | source |
//! |---|---|---|
//! | [`hash`] | leaf and node hashes | RFC 6962 section 2.1 |
//! | [`merkle`] | the growing tree and its proofs | RFC 6962 section 2.1.1, 2.1.2 |
//! | [`tile`] | tiles and entry bundles, their names, growth and authentication | C2SP tlog-tiles |
//! | [`note`] | signed texts, keys, cosignatures | C2SP signed-note, tlog-cosignature |
//! | [`checkpoint`] | the signed size and root of a log | C2SP tlog-checkpoint |
//! | [`policy`] | which logs and how many cosigners are believed | C2SP tlog-policy |
//! | [`witness`] | what a witness is asked, and when it cosigns | C2SP tlog-witness |
//! | [`author`] | signatures of releases by their authors | docs/formats.md |
//! | [`trust`] | the chain of root keys | docs/formats.md |
//! | [`proof_file`] | offline proofs of inclusion | C2SP tlog-proof |
//! | [`commit`] | the commit protocol over storage | ARCHITECTURE.md |
//! | [`state_map`] | the newest files of every package, as a tree of 65,536 shards | RFC 6962 section 2.1 |
//!
//! Invariant: no function returns a hash, a checkpoint or a state as good that it did not check against something the
//! caller trusts.

pub mod author;
pub mod checkpoint;
pub mod commit;
pub mod hash;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof_file;
pub mod state_map;
pub mod tile;
pub mod trust;
pub mod witness;

pub use author::{AuthorError, AuthorSecret, AuthorStatement};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use hash::{Hash, HashError, empty_root, leaf_hash, node_hash};
pub use merkle::{
    Frontier, HashReader, MemoryTree, ProofError, prove_consistency, prove_inclusion, tree_root,
    verify_consistency, verify_inclusion,
};
pub use note::{Cosigner, Note, NoteError, NoteSigner, VerifierKey};
pub use policy::{Policy, PolicyError, Quorum};
pub use proof_file::{ProofFileError, TlogProof};
pub use state_map::{FileRef, MidTile, RootTile, Shard, ShardEntry, StateMap, StateProof, shard_of};
pub use tile::{BundleId, EntryBundle, TileId};
pub use trust::{SignedTrust, TrustDocument, TrustError};
