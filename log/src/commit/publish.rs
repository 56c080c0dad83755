//! Publishing: the signature over committed state, after the commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_schemas::layout;
use drystone_storage::{Key, Meta, Replace, Tag};
use futures_util::future::{join, try_join};

use crate::{
    Checkpoint, CheckpointError, Hash, Note, SignedCheckpoint, TlogProof, VerifierKey,
    note::{NOTE_BYTES_MAX, NoteSignature},
    proof_file::PROOF_BYTES_MAX,
    prove_consistency, prove_inclusion,
    tile::{authenticate_tiles, tiles_needed_for_consistency, tiles_needed_for_inclusion},
    verify_consistency,
};

use super::{
    CommitError, Committer, Signing,
    apply::{meta_of, new_object, put_all},
};

/// How often the checkpoint is read again before its writer gives up; each time the log has grown further.
const PUBLISH_TRIES_MAX: usize = 8;

/// A checkpoint that the log has signed, as its file lies there.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    bytes: Bytes,
    pub(super) checkpoint: Checkpoint,
    /// The newest time that a cosigner states, in seconds since 1970; 0 if none does.
    time: u64,
}

/// The published checkpoint, with the tag to replace it by.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) opened: Opened,
    tag: Tag,
}

/// The published proof file, with the tag to replace it by.
#[derive(Debug, Clone)]
struct Latest {
    tag: Tag,
    /// Number of events that it shows.
    size: u64,
    /// The newest time that a cosigner of its checkpoint states.
    time: u64,
}

/// What is published, as a round saw it.
#[derive(Debug, Clone)]
pub(super) struct Publishing {
    pub(super) checkpoint: Option<Published>,
    latest: Option<Latest>,
}

impl Publishing {
    /// Number of events that the checkpoint shows.
    pub(super) fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |published| published.opened.checkpoint.size())
    }

    /// Number of events that both the checkpoint and the proof file show.
    pub(super) fn complete_size(&self) -> u64 {
        self.size().min(self.latest.as_ref().map_or(0, |latest| latest.size))
    }

    /// The newest time that both files state for a tree of this size; none if one of them shows another.
    pub(super) fn time_at(&self, size: u64) -> Option<u64> {
        let published = self.checkpoint.as_ref().filter(|_| self.size() == size)?;
        let latest = self.latest.as_ref().filter(|latest| latest.size == size)?;
        Some(published.opened.time.min(latest.time))
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
    /// The log's signature alone, which is the same whoever makes it: for the history.
    plain: Bytes,
    signed: Note,
    /// The newest time that a cosigner states.
    time: u64,
    /// Whether there are cosignatures enough for the proof file.
    is_enough: bool,
    /// The newest event's line, and its inclusion proof.
    last_entry: Vec<u8>,
    proof: Vec<Hash>,
}

impl Notes {
    /// Number of events of the tree.
    pub(super) fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// Root of the tree.
    pub(super) fn root(&self) -> Hash {
        self.checkpoint.root()
    }

    /// Whether there are cosignatures enough for the proof file, and for receipts.
    pub(super) fn is_enough(&self) -> bool {
        self.is_enough
    }

    /// The text that is signed.
    pub(super) fn text(&self) -> &str {
        self.signed.text()
    }

    /// The signed checkpoint.
    pub(super) fn checkpoint(&self) -> Vec<u8> {
        self.signed.to_bytes()
    }

    /// Takes what witnesses have answered.
    pub(super) fn cosigned(mut self, lines: Vec<NoteSignature>, signing: &Signing) -> Self {
        for line in lines {
            // Beyond the format's limit a cosignature is of no use to anybody.
            drop(self.signed.add(line));
        }
        self.time = signing.newest_time(&self.signed);
        self.is_enough = signing.is_enough(&self.signed);
        self
    }

    fn latest(&self) -> Bytes {
        let (extra, hashes) = (Some(self.last_entry.clone()), self.proof.clone());
        let (index, checkpoint) = (self.size() - 1, self.checkpoint());
        TlogProof { extra, index, hashes, checkpoint }.encode().into()
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
            Some(file) => Some(Published { opened: self.open_checkpoint(&file.bytes)?, tag: file.tag }),
            None => None,
        };
        let latest = latest.map(|file| {
            // A proof file that cannot be read counts as showing nothing, and is replaced.
            let (size, time) = match TlogProof::decode(&file.bytes) {
                Ok(proof) => {
                    let opened = self.open_checkpoint(&proof.checkpoint.into());
                    (proof.index + 1, opened.map_or(0, |opened| opened.time))
                }
                Err(_) => (0, 0),
            };
            Latest { tag: file.tag, size, time }
        });
        Ok(Publishing { checkpoint, latest })
    }

    /// Opens the published checkpoint; the same bytes are verified once.
    fn open_checkpoint(&self, bytes: &Bytes) -> Result<Opened, CommitError> {
        let known = self.last_checkpoint.lock().expect("no holder of this lock panics").clone();
        if let Some(opened) = known.filter(|known| known.bytes == bytes) {
            return Ok(opened);
        }
        let signed = SignedCheckpoint::open(bytes, self.signing.log_key(), &self.origin)?;
        let time = self.signing.newest_time(signed.note());
        let opened = Opened { bytes: bytes.clone(), checkpoint: signed.checkpoint().clone(), time };
        self.keep_checkpoint(opened.clone());
        Ok(opened)
    }

    fn keep_checkpoint(&self, opened: Opened) {
        let mut largest = self.largest.lock().expect("no holder of this lock panics");
        if largest.as_ref().is_none_or(|largest| largest.size() < opened.checkpoint.size()) {
            *largest = Some(opened.checkpoint.clone());
        }
        drop(largest);
        *self.last_checkpoint.lock().expect("no holder of this lock panics") = Some(opened);
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
        let Some(note) = self.receipts_checkpoint().await? else { return Ok(BTreeMap::new()) };
        let checkpoint = self.open_checkpoint(&note)?.checkpoint;
        let size = checkpoint.size();
        let published: Vec<u64> = seqs.iter().copied().filter(|seq| *seq < size).collect();
        if published.is_empty() {
            return Ok(BTreeMap::new());
        }
        let proofs = self.proofs_from_tiles(&published, size, &checkpoint.root()).await?;
        let receipt = |(seq, hashes)| (seq, receipt(seq, hashes, note.to_vec()));
        Ok(published.into_iter().zip(proofs).map(receipt).collect())
    }

    /// The newest checkpoint that cosigners enough have signed.
    async fn receipts_checkpoint(&self) -> Result<Option<Bytes>, CommitError> {
        if !self.signing.waits_for_others() {
            let key = Key::new(layout::CHECKPOINT)?;
            let file = self.store.public.read(&key, NOTE_BYTES_MAX as u64).await?;
            return Ok(file.map(|file| file.bytes));
        }
        let key = Key::new(layout::LATEST_PROOF)?;
        let file = self.store.public.read(&key, PROOF_BYTES_MAX as u64).await?;
        let proof = file.and_then(|file| TlogProof::decode(&file.bytes).ok());
        Ok(proof.map(|proof| proof.checkpoint.into()))
    }

    /// Signs the tree of a committed head. Two helpers that sign the same tree make the same history; what a cosigner adds
    /// carries its time.
    pub(super) async fn sign(&self, tree: Tree<'_>) -> Result<Notes, CommitError> {
        let checkpoint = Checkpoint::new(&self.origin, tree.size, tree.root)?;
        let text = checkpoint.encode();
        let now = self.clock.now_unix_s();
        let lines = self.signing.sign(&text, now).await?;
        let own = self.signing.freshness_key().map(VerifierKey::id);
        let tells_time = lines.iter().any(|line| Some(line.key_id()) == own);
        let mut signed = Note::new(text).map_err(CheckpointError::from)?;
        let mut plain = signed.clone();
        plain.add(lines[0].clone()).map_err(CheckpointError::from)?;
        for line in lines {
            signed.add(line).map_err(CheckpointError::from)?;
        }
        // What was signed here just now need not be verified.
        let notes = Notes {
            checkpoint,
            plain: plain.to_bytes().into(),
            signed,
            time: if tells_time { now } else { 0 },
            is_enough: tells_time || !(self.signing.tells_time() || self.signing.waits_for_others()),
            last_entry: tree.last_entry.to_vec(),
            proof: tree.proof,
        };
        Ok(if self.signing.outside().is_some() { notes.cosigned(Vec::new(), &self.signing) } else { notes })
    }

    /// Publishes what was signed, if it extends what is published, and answers with it as it was published: witnesses may
    /// have cosigned it. `grown_from` is a tree of which this one is known to be an extension, because it was grown from its
    /// frontier.
    ///
    /// The proof file and the checkpoint go out in one round: each is whole in itself, and [`Publishing`] tells when
    /// only one of them arrived. Files of the same size are ordered by the newest time that a cosigner states.
    pub(super) async fn publish(
        &self,
        publishing: &mut Publishing,
        notes: Notes,
        grown_from: Option<(u64, Hash)>,
    ) -> Result<Notes, CommitError> {
        let size = notes.size();
        if publishing.size() > size {
            return Ok(notes);
        }
        if let Some(published) = &publishing.checkpoint {
            self.check_extends(&published.opened.checkpoint, &notes.checkpoint, grown_from).await?;
        }
        let notes = self.witnessed(notes).await;
        let (note, latest) = (Bytes::from(notes.checkpoint()), notes.latest());
        for attempt in 0..PUBLISH_TRIES_MAX {
            if publishing.size() > size {
                return Ok(notes);
            }
            if let Some(published) = publishing.checkpoint.as_ref().filter(|_| attempt > 0) {
                self.check_extends(&published.opened.checkpoint, &notes.checkpoint, grown_from).await?;
            }
            let history =
                [new_object(layout::checkpoint_history(size), notes.plain.clone(), history_meta())?];
            let swap = |key: &str, seen: Option<&Tag>, bytes: &Bytes| -> Result<_, CommitError> {
                Ok((Key::new(key)?, seen.cloned(), bytes.clone(), meta_of(key)))
            };
            let mut swaps = Vec::with_capacity(2);
            let seen = publishing.checkpoint.as_ref();
            // Of the same size only a newer statement replaces an older one, or one without a time itself.
            if publishing.size() < size || seen.is_none_or(|seen| seen.opened.time <= notes.time) {
                swaps.push(swap(layout::CHECKPOINT, seen.map(|seen| &seen.tag), &note)?);
            }
            // Whoever is ahead of us may have brought the proof file out and not yet the checkpoint: it stays.
            let seen = publishing.latest.as_ref();
            let is_newer = seen.is_none_or(|seen| (seen.size, seen.time) <= (size, notes.time));
            if notes.is_enough && is_newer {
                swaps.push(swap(layout::LATEST_PROOF, seen.map(|seen| &seen.tag), &latest)?);
            }
            let (history, swapped) =
                join(put_all(&*self.store.public, &history), self.store.public.replace_round(swaps)).await;
            history?;
            let mut all_replaced = true;
            for answer in swapped {
                all_replaced &= matches!(answer?, Replace::Replaced(_));
            }
            if all_replaced {
                let checkpoint = notes.checkpoint.clone();
                self.keep_checkpoint(Opened { bytes: note, checkpoint, time: notes.time });
                return Ok(notes);
            }
            *publishing = self.read_publishing().await?;
            let there = if notes.is_enough { publishing.complete_size() } else { publishing.size() };
            if there > size
                || (there == size && publishing.time_at(size).is_none_or(|time| time >= notes.time))
            {
                return Ok(notes);
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
