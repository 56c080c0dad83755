//! A witness: cosigns what extends the largest tree that it has seen of each log that it follows (C2SP tlog-witness).
//!
//! Owns the record of what was cosigned, and the HTTP interface. Does not own the rule by which a checkpoint is cosigned:
//! `drystone_log::witness` does.
//! Invariant: what is answered was recorded before, and the record of a log only ever moves to a tree that extends the
//! one before, however many requests come at once and wherever the process dies.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use drystone_log::{
    CheckpointError, Cosigner, SignedCheckpoint, VerifierKey,
    note::NOTE_BYTES_MAX,
    witness::{AddCheckpoint, REQUEST_BYTES_MAX, SIZE_CONTENT_TYPE, WitnessRefusal, encode_size, judge},
};
use drystone_schemas::{Sha256Digest, layout};
use drystone_storage::{Area, Clock, Key, Meta, Replace, StoreError};

/// How often a request looks again at a record that others keep moving.
const TRIES_MAX: usize = 16;

/// A witness, with the logs that it follows and what it has seen of them.
pub struct Witness {
    cosigner: Cosigner,
    logs: BTreeMap<String, Vec<VerifierKey>>,
    records: Arc<dyn Area>,
    clock: Arc<dyn Clock>,
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The body is not one of `add-checkpoint`.
    #[error(transparent)]
    Malformed(#[from] drystone_log::witness::MalformedRequest),
    /// It may not.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
    /// What was recorded cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was recorded is not what this witness writes.
    #[error("the record of `{origin}` is damaged: {error}")]
    Damaged {
        /// Origin of the log.
        origin: String,
        /// What is wrong.
        error: CheckpointError,
    },
    /// Others keep moving the record.
    #[error("the record of `{origin}` keeps moving")]
    Contended {
        /// Origin of the log.
        origin: String,
    },
}

/// Below the monitoring prefix, where the largest checkpoint of a log that was cosigned lies.
pub fn witness_path(origin: &str) -> String {
    format!("{}/checkpoint", Sha256Digest::of(origin.as_bytes()).hex())
}

impl Witness {
    /// A witness that follows the logs of these keys; the name of a key is its log's origin. Records lie in `records`.
    pub fn new(
        cosigner: Cosigner,
        logs: impl IntoIterator<Item = VerifierKey>,
        records: Arc<dyn Area>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut by_origin: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
        for key in logs {
            by_origin.entry(key.name().to_owned()).or_default().push(key);
        }
        Self { cosigner, logs: by_origin, records, clock }
    }

    /// The origins of the logs that it follows.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.logs.keys().map(String::as_str)
    }

    /// Answers the body of `add-checkpoint` with signature lines.
    ///
    /// # Errors
    ///
    /// [`WitnessError::Malformed`] and [`WitnessError::Refused`] are the client's; the others are this witness's own.
    pub async fn add_checkpoint(&self, body: &[u8]) -> Result<String, WitnessError> {
        let request = AddCheckpoint::decode(body)?;
        let origin = request.origin()?;
        let keys = self.logs.get(&origin).map_or(&[][..], Vec::as_slice);
        let key = Key::new(witness_path(&origin)).expect("a digest makes a key");
        for _ in 0..TRIES_MAX {
            let record = self.records.read(&key, NOTE_BYTES_MAX as u64).await?;
            let recorded = match &record {
                Some(file) => Some(self.open(&file.bytes, &origin, keys)?),
                None => None,
            };
            let mut signed = judge(&request, keys, recorded.as_ref().map(SignedCheckpoint::checkpoint))?;
            let line = self.cosigner.sign(signed.note().text(), self.clock.now_unix_s());
            let answer = format!("{line}\n");
            // What is recorded has the log's signatures and the newest cosignature, for monitors to read.
            let full = |error: drystone_log::NoteError| WitnessRefusal::Malformed(error.into());
            signed.note_mut().add(line).map_err(full)?;
            let seen = record.as_ref().map(|file| &file.tag);
            let bytes = Bytes::from(signed.to_bytes());
            match self.records.replace(&key, seen, bytes.clone(), META).await? {
                Replace::Replaced(_) => return Ok(answer),
                Replace::Conflict => {}
                Replace::Unknown(_) => {
                    let there = self.records.read(&key, NOTE_BYTES_MAX as u64).await?;
                    if there.is_some_and(|there| there.bytes == bytes) {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(WitnessError::Contended { origin })
    }

    fn open(
        &self,
        bytes: &[u8],
        origin: &str,
        keys: &[VerifierKey],
    ) -> Result<SignedCheckpoint, WitnessError> {
        // The log's key may have been changed since; the own cosignature says that it was good.
        let known: Vec<&VerifierKey> = std::iter::once(self.cosigner.verifier()).chain(keys).collect();
        let mut refused = None;
        for key in known {
            match SignedCheckpoint::open(bytes, key, origin) {
                Ok(signed) => return Ok(signed),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        let error = refused.expect("there is a key at least");
        Err(WitnessError::Damaged { origin: origin.to_owned(), error })
    }
}

/// A record is text that changes.
const META: Meta = Meta { content_type: layout::TEXT, cache_control: "no-cache" };

/// The HTTP interface of a witness: submission and monitoring prefix are the same.
pub fn witness_router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add))
        .route("/{log}/checkpoint", get(record))
        .with_state(witness)
}

async fn add(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    let Ok(body) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return (StatusCode::BAD_REQUEST, "the request is too long\n").into_response();
    };
    match witness.add_checkpoint(&body).await {
        Ok(lines) => ([(header::CONTENT_TYPE, layout::TEXT)], lines).into_response(),
        Err(WitnessError::Refused(WitnessRefusal::OtherSize { recorded })) => {
            (StatusCode::CONFLICT, [(header::CONTENT_TYPE, SIZE_CONTENT_TYPE)], encode_size(recorded))
                .into_response()
        }
        Err(WitnessError::Refused(refusal)) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, format!("{refusal}\n")).into_response()
        }
        Err(error @ WitnessError::Malformed(_)) => {
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
        Err(error) => {
            tracing::error!("a checkpoint was not cosigned: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot answer now\n").into_response()
        }
    }
}

async fn record(State(witness): State<Arc<Witness>>, Path(log): Path<String>) -> Response {
    let followed = witness.origins().map(witness_path).find(|path| *path == format!("{log}/checkpoint"));
    let key = followed.and_then(|path| Key::new(path).ok());
    let Some(key) = key else { return StatusCode::NOT_FOUND.into_response() };
    match witness.records.read(&key, NOTE_BYTES_MAX as u64).await {
        Ok(Some(file)) => {
            let headers =
                [(header::CONTENT_TYPE, META.content_type), (header::CACHE_CONTROL, META.cache_control)];
            (headers, file.bytes).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!("a record cannot be read: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
