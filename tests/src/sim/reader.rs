//! A reader that trusts the key alone: what a checkpoint leads to must be there, whenever it is read.

use std::sync::Arc;

use drystone_log::{
    Hash, MidTile, RootTile, Shard, SignedCheckpoint, leaf_hash, shard_of,
    state_map::{mid_tile_key, root_tile_key, shard_key, split_index},
};
use drystone_schemas::{EventHead, FileClass, PackageName, Sha256Digest, file_seq, layout};
use drystone_storage::{Key, Store};

use super::{area::store_of, base::OLD, rng::Rng, scheduler::Sim};
use crate::TestRegistry;

/// Longest file that a reader reads, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// Reads the registry a few times; what is not as it must be becomes a violation.
pub(super) async fn read(sim: Arc<Sim>, mut rng: Rng, times: u64) {
    let store = store_of(&sim, 0);
    let mut known = 0;
    for _ in 0..times {
        sim.turn("to read").await;
        let name = *rng.pick(&OLD);
        match read_once(&store, name).await {
            Ok(size) if size < known => {
                sim.violation(format!("a reader that knew {known} events was shown {size}"));
            }
            Ok(size) => known = size,
            Err(what) => sim.violation(format!("a reader of `{name}`: {what}")),
        }
        sim.count("verified read");
    }
}

async fn get(store: &Store, key: &str) -> Result<bytes::Bytes, String> {
    let parsed = Key::new(key).map_err(|e| e.to_string())?;
    let bytes = store.public.get(&parsed, LEN_MAX).await.map_err(|e| e.to_string())?;
    bytes.ok_or_else(|| format!("`{key}` is missing"))
}

/// Reads a package and everything above it; answers with the size of the log.
async fn read_once(store: &Store, name: &str) -> Result<u64, String> {
    let key = TestRegistry::log_key();
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let note = get(store, layout::CHECKPOINT).await?;
    let signed = SignedCheckpoint::open(&note, &key, key.name()).map_err(|e| text(&e))?;
    let size = signed.checkpoint().size();

    let bundle = drystone_log::tile::partial_bundle(size).expect("a run is shorter than a bundle");
    let bytes = get(store, &format!("log/{}", bundle.path())).await?;
    let entries = drystone_log::EntryBundle::decode(bundle, &bytes).map_err(|e| text(&e))?;
    let mut tree = drystone_log::MemoryTree::new();
    entries.entries().iter().for_each(|line| tree.append(leaf_hash(line)));
    if tree.root_at(size) != Ok(signed.checkpoint().root()) {
        return Err(format!("the entries of {size} events do not lead to the signed root"));
    }
    let last = entries.entries().last().ok_or("the log is empty")?;
    let state = EventHead::from_line(last).map_err(|e| text(&e))?.state;

    let package = PackageName::new(name).expect("a test's name is a name");
    let shard = shard_of(&package.canonical());
    let (slot, within) = split_index(shard);
    let root = Hash::new(*state.as_bytes());
    let root_tile = RootTile::open(&root, &get(store, &root_tile_key(&root)).await?).map_err(|e| text(&e))?;
    let mid = root_tile.get(slot);
    let mid_tile = MidTile::open(&mid, &get(store, &mid_tile_key(&mid)).await?).map_err(|e| text(&e))?;
    let leaf = mid_tile.get(within);
    let shard = Shard::open(shard, &leaf, &get(store, &shard_key(&leaf)).await?).map_err(|e| text(&e))?;
    let entry = shard.get(&package.canonical()).ok_or("the state map does not know it")?;

    for (class, by_name) in
        [(FileClass::Index, layout::index_file(&package)), (FileClass::Document, layout::document(&package))]
    {
        let file = entry.files.get(&class.letter()).ok_or("the state map lacks a file of it")?;
        let digest = Sha256Digest::from_bytes(*file.digest.as_bytes());
        let object = get(store, &layout::object(&digest)).await?;
        if Sha256Digest::of(&object) != digest {
            return Err(format!("the file of the state is damaged at {size} events"));
        }
        let there = file_seq(&by_name, &get(store, &by_name).await?);
        let signed = file_seq(&by_name, &object);
        if there < signed {
            return Err(format!("`{by_name}` is at {there:?}, the checkpoint of {size} says {signed:?}"));
        }
    }
    Ok(size)
}
