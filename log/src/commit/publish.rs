//! Publishing: the signature over committed state, after the commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_schemas::layout;
use drystone_storage::{Area, Key, Meta, Replace, Tag};
use futures_util::future::{join, try_join};

use crate::{
    Checkpoint, Hash, TlogProof,
    note::NOTE_BYTES_MAX,
    proof_file::PROOF_BYTES_MAX,
    prove_consistency, prove_inclusion,
    tile::{authenticate_tiles, tiles_needed_for_consistency, tiles_needed_for_inclusion},
    verify_consistency,
};

use super::{
    CommitError, Committer,
    apply::{meta_of, new_object, put_all},
};

/// How often the checkpoint is read again before its writer gives up; each time the log has grown further.
const PUBLISH_TRIES_MAX: usize = 8;

/// The published checkpoint, with the tag to replace it by.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) checkpoint: Checkpoint,
    pub(super) tag: Tag,
}

/// What is published, as a round saw it.
#[derive(Debug, Clone)]
pub(super) struct Publishing {
    pub(super) checkpoint: Option<Published>,
    latest: Option<(Tag, u64)>,
}

impl Publishing {
    /// Number of events that the checkpoint shows.
    pub(super) fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |published| published.checkpoint.size())
    }

    /// Number of events that both the checkpoint and the proof file show.
    pub(super) fn complete_size(&self) -> u64 {
        self.size().min(self.latest.as_ref().map_or(0, |(_, size)| *size))
    }
}

/// A tree to sign.
pub(super) struct Tree<'a> {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// The newest event's line, and its inclusion proof.
    pub(super) last_entry: &'a [u8],
    pub(super) proof: Vec<Hash>,
}

/// What is signed over a tree: the files that publish it.
pub(super) struct Notes {
    checkpoint: Checkpoint,
    note: Bytes,
    latest: Bytes,
}

impl Notes {
    /// Number of events of the tree.
    pub(super) fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// The signed checkpoint.
    pub(super) fn checkpoint(&self) -> &[u8] {
        &self.note
    }

    /// Tells the store what will be published when everything is applied.
    pub(super) async fn prepare(&self, public: &dyn Area) {
        let files = [
            (layout::CHECKPOINT.to_owned(), &self.note),
            (layout::LATEST_PROOF.to_owned(), &self.latest),
            (layout::checkpoint_history(self.size()), &self.note),
        ];
        let files: Vec<(Key, Bytes)> =
            files.into_iter().filter_map(|(key, bytes)| Some((Key::new(key).ok()?, bytes.clone()))).collect();
        public.prepare_round(&files).await;
    }
}

impl Committer {
    pub(super) async fn read_publishing(&self) -> Result<Publishing, CommitError> {
        let (checkpoint_key, latest_key) = (Key::new(layout::CHECKPOINT)?, Key::new(layout::LATEST_PROOF)?);
        let (checkpoint, latest) = try_join(
            self.store.public.read(&checkpoint_key, NOTE_BYTES_MAX as u64),
            self.store.public.read(&latest_key, PROOF_BYTES_MAX as u64),
        )
        .await?;
        let checkpoint = match checkpoint {
            Some(file) => {
                let checkpoint = self.open_checkpoint(&file.bytes)?;
                Some(Published { checkpoint, tag: file.tag })
            }
            None => None,
        };
        // A proof file that cannot be read counts as showing nothing, and is replaced.
        let shown = |bytes: &[u8]| TlogProof::decode(bytes).map_or(0, |proof| proof.index + 1);
        let latest = latest.map(|file| (file.tag.clone(), shown(&file.bytes)));
        Ok(Publishing { checkpoint, latest })
    }

    /// Opens the published checkpoint; the same bytes are verified once.
    fn open_checkpoint(&self, bytes: &Bytes) -> Result<Checkpoint, CommitError> {
        let known = self.last_checkpoint.lock().expect("no holder of this lock panics").clone();
        if let Some((_, checkpoint)) = known.filter(|(known, _)| known == bytes) {
            return Ok(checkpoint);
        }
        let checkpoint = Checkpoint::open(bytes, self.signer.verifier(), &self.origin)?;
        self.keep_checkpoint(bytes.clone(), checkpoint.clone());
        Ok(checkpoint)
    }

    fn keep_checkpoint(&self, bytes: Bytes, checkpoint: Checkpoint) {
        *self.last_checkpoint.lock().expect("no holder of this lock panics") = Some((bytes, checkpoint));
    }

    /// The inclusion proof of the newest event, from the applied tiles.
    pub(super) async fn proof_from_tiles(&self, size: u64, root: &Hash) -> Result<Vec<Hash>, CommitError> {
        let mut proofs = self.proofs_from_tiles(&[size - 1], size, root).await?;
        Ok(proofs.pop().expect("one position has one proof"))
    }

    /// Inclusion proofs of some events, from the applied tiles, each of which is authenticated first.
    async fn proofs_from_tiles(
        &self,
        seqs: &[u64],
        size: u64,
        root: &Hash,
    ) -> Result<Vec<Vec<Hash>>, CommitError> {
        let mut needed = BTreeSet::new();
        for seq in seqs {
            needed.extend(tiles_needed_for_inclusion(*seq, size)?);
        }
        let tiles = authenticate_tiles(size, root, &self.read_tiles(needed).await?)?;
        seqs.iter().map(|seq| Ok(prove_inclusion(*seq, size, &tiles)?)).collect()
    }

    /// The `.tlog-proof` of each of these events that is published by now, and so applied.
    ///
    /// For events that another process has committed. At most two rounds of reads.
    pub async fn receipts(&self, seqs: &[u64]) -> Result<BTreeMap<u64, String>, CommitError> {
        let key = Key::new(layout::CHECKPOINT)?;
        let file = self.store.public.read(&key, NOTE_BYTES_MAX as u64).await?;
        let Some(file) = file else { return Ok(BTreeMap::new()) };
        let checkpoint = self.open_checkpoint(&file.bytes)?;
        let size = checkpoint.size();
        let published: Vec<u64> = seqs.iter().copied().filter(|seq| *seq < size).collect();
        if published.is_empty() {
            return Ok(BTreeMap::new());
        }
        let proofs = self.proofs_from_tiles(&published, size, &checkpoint.root()).await?;
        let receipt = |(seq, hashes)| (seq, receipt(seq, hashes, file.bytes.to_vec()));
        Ok(published.into_iter().zip(proofs).map(receipt).collect())
    }

    /// Signs the tree of a committed head. Two helpers that sign the same tree make the same bytes.
    pub(super) fn sign(&self, tree: Tree<'_>) -> Result<Notes, CommitError> {
        let checkpoint = Checkpoint::new(&self.origin, tree.size, tree.root)?;
        let note = checkpoint.sign(&self.signer).to_bytes();
        let latest = TlogProof {
            extra: Some(tree.last_entry.to_vec()),
            index: tree.size - 1,
            hashes: tree.proof,
            checkpoint: note.clone(),
        };
        Ok(Notes { checkpoint, note: note.into(), latest: latest.encode().into() })
    }

    /// Publishes what was signed, if it extends what is published. `grown_from` is a tree of which this one is known to
    /// be an extension, because it was grown from its frontier.
    ///
    /// The proof file and the checkpoint go out in one round: each is whole in itself, and [`Publishing`] tells when
    /// only one of them arrived.
    pub(super) async fn publish(
        &self,
        publishing: &mut Publishing,
        notes: &Notes,
        grown_from: Option<(u64, Hash)>,
    ) -> Result<(), CommitError> {
        let Notes { checkpoint, note, latest } = notes;
        let size = checkpoint.size();
        for _ in 0..PUBLISH_TRIES_MAX {
            if publishing.size() > size {
                return Ok(());
            }
            if let Some(published) = &publishing.checkpoint {
                self.check_extends(&published.checkpoint, checkpoint, grown_from).await?;
            }
            let history = [new_object(layout::checkpoint_history(size), note.clone(), history_meta())?];
            let swap = |key: &str, seen: Option<&Tag>, bytes: &Bytes| -> Result<_, CommitError> {
                Ok((Key::new(key)?, seen.cloned(), bytes.clone(), meta_of(key)))
            };
            let mut swaps = vec![swap(
                layout::CHECKPOINT,
                publishing.checkpoint.as_ref().map(|published| &published.tag),
                note,
            )?];
            // Whoever is ahead of us may have brought the proof file out and not yet the checkpoint: it stays.
            if publishing.latest.as_ref().is_none_or(|(_, shown)| *shown <= size) {
                swaps.push(swap(
                    layout::LATEST_PROOF,
                    publishing.latest.as_ref().map(|(tag, _)| tag),
                    latest,
                )?);
            }
            let (history, swapped) =
                join(put_all(&*self.store.public, &history), self.store.public.replace_round(swaps)).await;
            history?;
            let mut all_replaced = true;
            for answer in swapped {
                all_replaced &= matches!(answer?, Replace::Replaced(_));
            }
            if all_replaced {
                self.keep_checkpoint(note.clone(), checkpoint.clone());
                return Ok(());
            }
            *publishing = self.read_publishing().await?;
            if publishing.complete_size() >= size {
                return Ok(());
            }
        }
        Err(CommitError::OutcomeUnknown("the checkpoint could not be published".into()))
    }

    /// Refuses a tree that does not extend what is published.
    async fn check_extends(
        &self,
        published: &Checkpoint,
        tree: &Checkpoint,
        grown_from: Option<(u64, Hash)>,
    ) -> Result<(), CommitError> {
        let (size, root) = (tree.size(), tree.root());
        let behind = CommitError::HeadBehindLog { head: size, published: published.size() };
        if published.size() == size {
            return if published.root() == root { Ok(()) } else { Err(behind) };
        }
        if grown_from == Some((published.size(), published.root())) {
            return Ok(());
        }
        let tiles = self.read_tiles(tiles_needed_for_consistency(published.size(), size)?).await?;
        let tiles = authenticate_tiles(size, &root, &tiles)?;
        let proof = prove_consistency(published.size(), size, &tiles)?;
        verify_consistency(published.size(), size, &published.root(), &root, &proof).map_err(|_| behind)
    }
}

/// A proof file for whoever asked for the event.
pub(super) fn receipt(index: u64, hashes: Vec<Hash>, checkpoint: Vec<u8>) -> String {
    let proof = TlogProof { extra: None, index, hashes, checkpoint };
    String::from_utf8(proof.encode()).expect("a proof file is text")
}

fn history_meta() -> Meta {
    meta_of(&layout::checkpoint_history(0))
}
