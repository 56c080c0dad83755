//! The published log as a source shows it: its checkpoint, verified, and its entry bundles.
//!
//! Does not own what entries say. Invariant: nobody gets a [`Published`] whose checkpoint is not signed by its key.

use bytes::Bytes;
use drystone_log::{
    BundleId, Checkpoint, CheckpointError, EntryBundle, Note, SignedCheckpoint, TileId, TlogProof,
    VerifierKey,
    note::{KeyError, NOTE_BYTES_MAX},
    proof_file::PROOF_BYTES_MAX,
    tile::{BundleError, ENTRY_BYTES_MAX, TILE_WIDTH, entry_bundles},
};
use drystone_schemas::{Event, EventBody, EventError, RegistryConfig, layout};

use crate::source::{Source, SourceError};

/// Longest entry bundle, in bytes: 256 entries, each with its length.
pub(crate) const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH as u64 * (ENTRY_BYTES_MAX as u64 + 2);
/// Longest `config.json` that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// A signed checkpoint and whose it is.
#[derive(Debug, Clone)]
pub struct Published {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its file, verbatim.
    pub bytes: Bytes,
    /// The log's key.
    pub key: VerifierKey,
}

/// Why there is no published log to read.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// There is no checkpoint.
    #[error("`log/checkpoint` is missing")]
    NoCheckpoint,
    /// The checkpoint is malformed, or not signed by the log's key.
    #[error("`log/checkpoint` is not valid: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The key is not given, and neither the genesis event nor `config.json` tells it.
    #[error("the key of the log is not known")]
    NoKey,
    /// It could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// There is none.
    #[error("`{key}` is missing")]
    Missing {
        /// Which.
        key: String,
    },
    /// It is malformed.
    #[error("`{key}` is not an entry bundle: {error}")]
    Malformed {
        /// Which.
        key: String,
        /// What is wrong.
        error: BundleError,
    },
    /// An entry is not an event that this code can replay.
    #[error("`{key}`, entry {entry}: {error}")]
    Event {
        /// Which bundle.
        key: String,
        /// Position in the log.
        entry: u64,
        /// What is wrong.
        error: EventError,
    },
    /// It could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// The storage key of a bundle.
pub(crate) fn bundle_key(id: BundleId) -> String {
    format!("log/{id}")
}

/// The storage key of a tile.
pub(crate) fn tile_key(id: TileId) -> String {
    format!("log/{id}")
}

/// Reads and decodes a bundle; nothing is checked against the tree.
pub(crate) async fn read_bundle(source: &dyn Source, id: BundleId) -> Result<EntryBundle, EntriesError> {
    decode_bundle(id, &get_bundle(source, id).await?)
}

/// Reads the bytes of a bundle.
pub(crate) async fn get_bundle(source: &dyn Source, id: BundleId) -> Result<Bytes, EntriesError> {
    let key = bundle_key(id);
    source.get(&key, BUNDLE_BYTES_MAX).await?.ok_or(EntriesError::Missing { key })
}

/// Decodes the bytes of a bundle.
pub(crate) fn decode_bundle(id: BundleId, bytes: &[u8]) -> Result<EntryBundle, EntriesError> {
    EntryBundle::decode(id, bytes).map_err(|error| EntriesError::Malformed { key: bundle_key(id), error })
}

/// Reads an entry of a bundle as an event.
pub(crate) fn parse_event(id: BundleId, at: usize, line: &[u8]) -> Result<Event, EntriesError> {
    let entry = id.first_entry() + at as u64;
    Event::from_line(line).map_err(|error| EntriesError::Event { key: bundle_key(id), entry, error })
}

/// Reads the checkpoint that is published and verifies it, with the key given or else with what the registry says
/// of itself (its genesis event, then `config.json`).
pub(crate) async fn open(
    source: &dyn Source,
    given: Option<&VerifierKey>,
) -> Result<Published, PublishedError> {
    open_at(source, layout::CHECKPOINT, given).await
}

/// The same from the checkpoint inside `latest.tlog-proof`, for when the other one is damaged.
pub(crate) async fn open_from_proof(
    source: &dyn Source,
    given: Option<&VerifierKey>,
) -> Result<Published, PublishedError> {
    let bytes = source.get(layout::LATEST_PROOF, PROOF_BYTES_MAX as u64).await?;
    let proof = bytes.and_then(|bytes| TlogProof::decode(&bytes).ok()).ok_or(PublishedError::NoCheckpoint)?;
    verify(source, proof.checkpoint.into(), given).await
}

/// The same from a checkpoint in the history.
pub(crate) async fn open_at(
    source: &dyn Source,
    key: &str,
    given: Option<&VerifierKey>,
) -> Result<Published, PublishedError> {
    let bytes = source.get(key, NOTE_BYTES_MAX as u64).await?.ok_or(PublishedError::NoCheckpoint)?;
    verify(source, bytes, given).await
}

async fn verify(
    source: &dyn Source,
    bytes: Bytes,
    given: Option<&VerifierKey>,
) -> Result<Published, PublishedError> {
    let note = Note::parse(&bytes).map_err(CheckpointError::from)?;
    let claimed = Checkpoint::decode(note.text())?;
    let candidates = match given {
        Some(key) => vec![(claimed.origin().to_owned(), key.clone())],
        None => [from_genesis(source, claimed.size()).await?, from_config(source).await?]
            .into_iter()
            .flatten()
            .filter_map(|(origin, key)| Some((origin, parse_key(&key).ok()?)))
            .collect(),
    };
    let mut first_error = None;
    for (origin, key) in candidates {
        match SignedCheckpoint::open(&bytes, &key, &origin) {
            Ok(signed) => return Ok(Published { checkpoint: signed.checkpoint().clone(), bytes, key }),
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    Err(first_error.map_or(PublishedError::NoKey, PublishedError::from))
}

fn parse_key(text: &str) -> Result<VerifierKey, KeyError> {
    VerifierKey::parse(text)
}

/// Origin and key by the first event of a log of this size; none if it cannot be read.
async fn from_genesis(source: &dyn Source, size: u64) -> Result<Option<(String, String)>, SourceError> {
    let Some(first) = entry_bundles(0, size).into_iter().next() else { return Ok(None) };
    let bundle = match read_bundle(source, first).await {
        Ok(bundle) => bundle,
        Err(EntriesError::Source(error)) => return Err(error),
        Err(_) => return Ok(None),
    };
    let event = bundle.entries().first().and_then(|line| Event::from_line(line).ok());
    Ok(match event.map(|event| event.body) {
        Some(EventBody::Genesis { origin, log_key, .. }) => Some((origin, log_key)),
        _ => None,
    })
}

/// Origin and key by `config.json`; none if it cannot be read.
async fn from_config(source: &dyn Source) -> Result<Option<(String, String)>, SourceError> {
    let bytes = source.get(layout::CONFIG, CONFIG_BYTES_MAX).await?;
    let config = bytes.and_then(|bytes| serde_json::from_slice::<RegistryConfig>(&bytes).ok());
    Ok(config.map(|config| (config.origin, config.log_key)))
}
