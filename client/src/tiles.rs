//! Tiles and entries of the log, fetched and authenticated.
//!
//! Owns fetching. Does not own the checks, which are the log library's, nor the trusted root.
//! Invariant: nothing leaves this module that was not proved to belong to the tree asked for. Tiles are not cached:
//! they are few, and a damaged copy must never stand in the way of a good one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_log::{
    Checkpoint, EntryBundle, Hash, TileId, prove_consistency,
    tile::{
        AuthenticatedTiles, BundleId, TILE_WIDTH, authenticate_tiles, parse_tile,
        tiles_needed_for_consistency, tiles_to_authenticate,
    },
    verify_consistency,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{ClientError, Network, Registry, VerificationError, defences::Defence, http};

/// Longest entry bundle, in bytes: 256 entries of the format's largest size.
const BUNDLE_BYTES_MAX: u64 = 256 * (64 << 10);
/// Files fetched at once.
const PARALLEL: usize = 8;

/// Why one log does not continue another.
pub(crate) enum NotConsistent {
    /// The proof leads elsewhere.
    Proof(String),
    /// The proof could not be made.
    Client(ClientError),
}

/// Checks that `new` continues the log that had `old_size` entries and `old_root`.
pub(crate) async fn check_consistency(
    registry: &Registry,
    old_size: u64,
    old_root: &Hash,
    new: &Checkpoint,
) -> Result<(), NotConsistent> {
    let fork = |detail: &dyn std::fmt::Display| NotConsistent::Proof(detail.to_string());
    let needed = tiles_needed_for_consistency(old_size, new.size()).map_err(|e| fork(&e))?;
    let proof = if old_size == new.size() {
        Vec::new()
    } else {
        let tiles = fetch_tiles(registry, new, needed).await.map_err(NotConsistent::Client)?;
        prove_consistency(old_size, new.size(), &tiles).map_err(|e| fork(&e))?
    };
    verify_consistency(old_size, new.size(), old_root, &new.root(), &proof).map_err(|e| fork(&e))
}

/// Reads the entry at `index` of the log that `checkpoint` signs for.
pub(crate) async fn entry(
    registry: &Registry,
    checkpoint: &Checkpoint,
    index: u64,
) -> Result<Vec<u8>, ClientError> {
    let size = checkpoint.size();
    if index >= size {
        return Err(ClientError::proof(format!("event {index}"), format!("the log has only {size} events")));
    }
    let width = u64::from(TILE_WIDTH);
    let first = index / width * width;
    let id = BundleId::new(index / width, (size - first).min(width) as u16)
        .map_err(|e| ClientError::proof(format!("event {index}"), e))?;
    let tiles = match registry.defences().up(Defence::Entry) {
        true => Some(fetch_tiles(registry, checkpoint, tiles_to_authenticate(size, [id.tile()])).await?),
        false => None,
    };
    let key = format!("log/{}", id.path());
    let bundle = match fetch(registry, &key, BUNDLE_BYTES_MAX).await? {
        Some(bytes) => EntryBundle::decode(id, &bytes),
        // Once a bundle is full, its partial forms may be deleted.
        None => {
            let full = BundleId::new(id.index(), TILE_WIDTH).map_err(|e| ClientError::proof(&key, e))?;
            let bytes = fetch(registry, &format!("log/{}", full.path()), BUNDLE_BYTES_MAX).await?;
            let bytes = bytes.ok_or_else(|| VerificationError::Missing { what: format!("`{key}`") })?;
            EntryBundle::decode(full, &bytes).and_then(|bundle| {
                EntryBundle::new(bundle.into_entries().into_iter().take(usize::from(id.width())).collect())
            })
        }
    };
    let bundle = bundle.map_err(|e| ClientError::proof(format!("`{key}`"), e))?;
    if let Some(tiles) = tiles {
        tiles.check_bundle(id, &bundle).map_err(|e| ClientError::proof(format!("`{key}`"), e))?;
    }
    let mut entries = bundle.into_entries();
    Ok(entries.swap_remove((index - first) as usize))
}

async fn fetch_tiles(
    registry: &Registry,
    checkpoint: &Checkpoint,
    needed: BTreeSet<TileId>,
) -> Result<AuthenticatedTiles, ClientError> {
    let tiles: BTreeMap<TileId, Vec<Hash>> = stream::iter(needed)
        .map(async |id| Ok::<_, ClientError>((id, fetch_tile(registry, id).await?)))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    authenticate_tiles(checkpoint.size(), &checkpoint.root(), &tiles)
        .map_err(|e| ClientError::proof("the tiles of the log", e))
}

async fn fetch_tile(registry: &Registry, id: TileId) -> Result<Vec<Hash>, ClientError> {
    let key = format!("log/{}", id.path());
    let wrong = |e: &dyn std::fmt::Display| ClientError::proof(format!("`{key}`"), e);
    let bytes_max = (usize::from(TILE_WIDTH) * Hash::LEN) as u64;
    if let Some(bytes) = fetch(registry, &key, bytes_max).await? {
        return parse_tile(id, &bytes).map_err(|e| wrong(&e));
    }
    // Once a tile is full, its partial forms may be deleted.
    let full = TileId::new(id.level(), id.index(), TILE_WIDTH).map_err(|e| wrong(&e))?;
    let bytes = fetch(registry, &format!("log/{}", full.path()), bytes_max).await?;
    let bytes = bytes.ok_or_else(|| VerificationError::Missing { what: format!("`{key}`") })?;
    let mut hashes = parse_tile(full, &bytes).map_err(|e| wrong(&e))?;
    hashes.truncate(usize::from(id.width()));
    Ok(hashes)
}

async fn fetch(registry: &Registry, key: &str, bytes_max: u64) -> Result<Option<Bytes>, ClientError> {
    if registry.network() == Network::Offline {
        return Err(ClientError::OfflineMiss { what: format!("`{key}`") });
    }
    let url = registry.url(key);
    let answer = registry.read(&url, None, bytes_max).await?;
    match answer.status.as_u16() {
        200 => Ok(Some(answer.body)),
        404 => Ok(None),
        _ => Err(http::status_error(&url, answer.status)),
    }
}
