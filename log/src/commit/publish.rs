//! Publishing: the signature over committed state, after the commit.

use bytes::Bytes;
use drystone_schemas::layout;
use drystone_storage::{Key, Meta, Replace, Tag};
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
    /// A tree of which this one is known to be an extension, because it was grown from its frontier.
    pub(super) grown_from: Option<(u64, Hash)>,
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

    /// The inclusion proof of the newest event, from the applied tiles, each of which is authenticated first.
    pub(super) async fn proof_from_tiles(&self, size: u64, root: &Hash) -> Result<Vec<Hash>, CommitError> {
        let tiles = self.read_tiles(tiles_needed_for_inclusion(size - 1, size)?).await?;
        Ok(prove_inclusion(size - 1, size, &authenticate_tiles(size, root, &tiles)?)?)
    }

    /// Signs the tree of a committed head and publishes it; answers with the signed checkpoint.
    ///
    /// Signs only what extends the published checkpoint. Two helpers that publish the same size write the same bytes.
    /// The proof file and the checkpoint go out in one round: each is whole in itself, and [`Publishing`] tells when
    /// only one of them arrived.
    pub(super) async fn publish(
        &self,
        publishing: &mut Publishing,
        tree: Tree<'_>,
    ) -> Result<Vec<u8>, CommitError> {
        let checkpoint = Checkpoint::new(&self.origin, tree.size, tree.root)?;
        let note = checkpoint.sign(&self.signer).to_bytes();
        let latest = TlogProof {
            extra: Some(tree.last_entry.to_vec()),
            index: tree.size - 1,
            hashes: tree.proof.clone(),
            checkpoint: note.clone(),
        }
        .encode();
        for _ in 0..PUBLISH_TRIES_MAX {
            if publishing.size() > tree.size {
                return Ok(note);
            }
            if let Some(published) = &publishing.checkpoint {
                self.check_extends(&published.checkpoint, &tree).await?;
            }
            let history = [new_object(layout::checkpoint_history(tree.size), note.clone(), history_meta())?];
            let swap = |key: &str, seen: Option<&Tag>, bytes: &[u8]| -> Result<_, CommitError> {
                Ok((Key::new(key)?, seen.cloned(), Bytes::copy_from_slice(bytes), meta_of(key)))
            };
            let mut swaps = vec![swap(
                layout::CHECKPOINT,
                publishing.checkpoint.as_ref().map(|published| &published.tag),
                &note,
            )?];
            // Whoever is ahead of us may have brought the proof file out and not yet the checkpoint: it stays.
            if publishing.latest.as_ref().is_none_or(|(_, shown)| *shown <= tree.size) {
                swaps.push(swap(
                    layout::LATEST_PROOF,
                    publishing.latest.as_ref().map(|(tag, _)| tag),
                    &latest,
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
                self.keep_checkpoint(note.clone().into(), checkpoint);
                return Ok(note);
            }
            *publishing = self.read_publishing().await?;
            if publishing.complete_size() >= tree.size {
                return Ok(note);
            }
        }
        Err(CommitError::OutcomeUnknown("the checkpoint could not be published".into()))
    }

    /// Refuses a tree that does not extend what is published.
    async fn check_extends(&self, published: &Checkpoint, tree: &Tree<'_>) -> Result<(), CommitError> {
        let behind = CommitError::HeadBehindLog { head: tree.size, published: published.size() };
        if published.size() == tree.size {
            return if published.root() == tree.root { Ok(()) } else { Err(behind) };
        }
        if tree.grown_from == Some((published.size(), published.root())) {
            return Ok(());
        }
        let tiles = self.read_tiles(tiles_needed_for_consistency(published.size(), tree.size)?).await?;
        let tiles = authenticate_tiles(tree.size, &tree.root, &tiles)?;
        let proof = prove_consistency(published.size(), tree.size, &tiles)?;
        verify_consistency(published.size(), tree.size, &published.root(), &tree.root, &proof)
            .map_err(|_| behind)
    }
}

fn history_meta() -> Meta {
    meta_of(&layout::checkpoint_history(0))
}
