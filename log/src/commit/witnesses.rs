//! Asking witnesses elsewhere for their cosignatures (C2SP tlog-witness), within a bounded time.
//!
//! Invariant: a line is taken only if it is a good cosignature of exactly this checkpoint by the witness that was asked.

use std::{pin::pin, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream::FuturesUnordered,
};

use super::{CommitError, Committer, publish::Notes, signing::Asked};
use crate::{
    note::NoteSignature,
    prove_consistency,
    tile::{authenticate_tiles, tiles_needed_for_consistency},
    witness::{AddCheckpoint, good_cosignatures, parse_cosignatures, parse_size},
};

/// Time that all witnesses together have; who is later counts at the next heartbeat.
const ANSWER_MS_MAX: u64 = 1_000;

impl Committer {
    /// What was signed, with the cosignatures of the witnesses that answer in time.
    ///
    /// The tiles of the tree must have been applied: the proofs are made of them.
    pub(super) async fn witnessed(&self, notes: Notes) -> Notes {
        let Some(outside) = self.signing.outside() else { return notes };
        let mut asked: FuturesUnordered<_> =
            outside.witnesses.iter().map(|witness| self.ask(witness, &notes)).collect();
        let mut time_out = pin!(self.clock.sleep(Duration::from_millis(ANSWER_MS_MAX)));
        let mut lines = Vec::new();
        while let Either::Left((Some(answer), _)) = select(asked.next(), &mut time_out).await {
            lines.extend(answer);
        }
        drop(asked);
        notes.cosigned(lines, &self.signing)
    }

    /// Asks one witness, a second time if it has recorded another size than was thought.
    async fn ask(&self, witness: &Asked, notes: &Notes) -> Vec<NoteSignature> {
        match self.try_ask(witness, notes).await {
            Ok(lines) => lines,
            Err(detail) => {
                tracing::warn!("the witness `{}` has not cosigned: {detail}", witness.key.name());
                Vec::new()
            }
        }
    }

    async fn try_ask(&self, witness: &Asked, notes: &Notes) -> Result<Vec<NoteSignature>, String> {
        let size = notes.size();
        for _ in 0..2 {
            let old_size = *witness.recorded.lock().expect("no holder of this lock panics");
            if old_size > size {
                return Err(format!("it has seen {old_size} events already"));
            }
            let proof = self.consistency(old_size, notes).await.map_err(|e| e.to_string())?;
            let request = AddCheckpoint { old_size, proof, checkpoint: notes.checkpoint() };
            let (status, body) = witness.link.add_checkpoint(request.encode().into()).await?;
            let recorded = |size| *witness.recorded.lock().expect("no holder of this lock panics") = size;
            match (status, parse_size(&body)) {
                (200, _) => {
                    recorded(size);
                    let lines = parse_cosignatures(&body).ok_or("its answer has no cosignatures")?;
                    let good = good_cosignatures(notes.text(), lines, std::slice::from_ref(&witness.key));
                    if good.is_empty() {
                        return Err("its cosignature is not good".into());
                    }
                    return Ok(good.into_iter().map(|(line, _)| line).collect());
                }
                (409, Some(there)) => recorded(there),
                _ => return Err(format!("it answers with status {status}")),
            }
        }
        Err("it keeps answering with another size".into())
    }

    /// The proof that the tree of these notes extends the tree of a smaller size, from the applied tiles.
    async fn consistency(&self, old_size: u64, notes: &Notes) -> Result<Vec<crate::Hash>, CommitError> {
        let (size, root) = (notes.size(), notes.root());
        if old_size == 0 || old_size == size {
            return Ok(Vec::new());
        }
        let tiles = self.read_tiles(tiles_needed_for_consistency(old_size, size)?).await?;
        Ok(prove_consistency(old_size, size, &authenticate_tiles(size, &root, &tiles)?)?)
    }
}
