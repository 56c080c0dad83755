//! Growth of a log in batches against the tiles of the whole.

use std::collections::{BTreeMap, BTreeSet};

use drystone_log::merkle::SIZE_MAX;
use drystone_log::tile::{
    GrowError, authenticate_tiles, entry_bundles, grow, grow_entries, needed_for_growth, new_tiles,
    parse_tile, partial_bundle, tile_bytes, tiles_for_size,
};
use drystone_log::{
    EntryBundle, Frontier, Hash, MemoryTree, TileId, leaf_hash, prove_consistency, prove_inclusion,
};

use crate::support::{Naive, Random, Tiles, defined, entry, flipped, leaves, memory_tree, tiles};

#[test]
fn every_tile_of_every_size_was_written_when_the_size_was_reached_or_before() {
    let mut written = BTreeSet::new();
    for size in 1..=1_100 {
        written.extend(new_tiles(size - 1, size));
        assert!(new_tiles(0, size).iter().all(|id| written.contains(id)), "{size}");
        assert!(tiles_for_size(size).iter().all(|id| written.contains(id)), "{size}");
    }
}

#[test]
fn every_size_has_the_tiles_and_proofs_of_the_definition() {
    const SIZES: u64 = 1_100;
    let naive = Naive::new(leaves(SIZES));
    let mut log = Stored::default();
    let mut random = Random::new(11);
    for size in 0..=SIZES {
        let root = naive.mth(0, size as usize);
        assert_eq!(log.frontier.root(), root, "{size}");
        let mut tiles = Tiles::new();
        for id in new_tiles(0, size) {
            let span = 256_usize.pow(u32::from(id.level()));
            let first = id.index() as usize * 256;
            let hash = |i: usize| naive.mth((first + i) * span, (first + i + 1) * span);
            let hashes: Vec<Hash> = (0..usize::from(id.width())).map(hash).collect();
            assert_eq!(log.files[&id.path()], tile_bytes(&hashes), "{id} of {size}");
            tiles.insert(id, hashes);
        }
        // Out of the tiles alone, as a client does it.
        let read = authenticate_tiles(size, &root, &tiles).unwrap();
        if size > 0 {
            let index = random.below(size);
            let path = naive.path(index as usize, 0, size as usize);
            assert_eq!(prove_inclusion(index, size, &read), Ok(path), "{index} in {size}");
            let subproof = naive.subproof(index as usize + 1, 0, size as usize, true);
            assert_eq!(prove_consistency(index + 1, size, &read), Ok(subproof), "{index} to {size}");
        }
        log.append(u64::from(size < SIZES));
    }
}

/// A log that keeps what it writes by path, as a store does.
#[derive(Default)]
struct Stored {
    frontier: Frontier,
    files: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    fn append(&mut self, count: u64) {
        let old = self.frontier.size();
        let new = old + count;
        let entries: Vec<Vec<u8>> = (old..new).map(entry).collect();
        let partial = partial_bundle(old).map(|id| EntryBundle::decode(id, &self.files[&id.path()]).unwrap());
        let level0 = partial.as_ref().map(EntryBundle::leaf_hashes).unwrap_or_default();
        let higher = needed_for_growth(old, new)
            .into_iter()
            .map(|id| (id, parse_tile(id, &self.files[&id.path()]).unwrap()))
            .collect();
        let new_leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let growth = grow(&self.frontier, &level0, &higher, &new_leaves).unwrap();
        assert_eq!(
            growth.tiles.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            new_tiles(old, new),
            "{old} to {new}"
        );
        let bundles = grow_entries(old, partial.as_ref(), &entries).unwrap();
        assert_eq!(
            bundles.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            entry_bundles(old, new),
            "{old} to {new}"
        );
        let files = growth.tiles.iter().map(|(id, hashes)| (id.path(), tile_bytes(hashes)));
        for (path, bytes) in files.chain(bundles.iter().map(|(id, bundle)| (id.path(), bundle.encode()))) {
            // A file is written once, or again with the same bytes.
            assert_eq!(self.files.entry(path).or_insert_with(|| bytes.clone()), &bytes);
        }
        self.frontier = growth.frontier;
    }
}

fn check_stored(log: &Stored, tree: &MemoryTree) {
    let size = log.frontier.size();
    assert_eq!(log.frontier.root(), tree.root_at(size).unwrap());
    for id in new_tiles(0, size) {
        assert_eq!(log.files[&id.path()], tile_bytes(&defined(tree, id)), "{id} of {size}");
    }
    for id in entry_bundles(0, size) {
        let entries = (id.first_entry()..).take(usize::from(id.width())).map(entry).collect();
        assert_eq!(log.files[&id.path()], EntryBundle::new(entries).unwrap().encode(), "{id} of {size}");
    }
}

#[test]
fn growth_in_any_batches_gives_the_tiles_of_the_whole() {
    let tree = memory_tree(70_000);
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut log = Stored::default();
        while log.frontier.size() < 2_000 {
            let bound = [3, 40, 300, 900][random.below(4) as usize];
            log.append(random.below(bound));
        }
        check_stored(&log, &tree);
    }
    // Across the point where level 2 begins.
    let mut log = Stored::default();
    for count in [65_000, 530, 5, 1, 1, 255, 1, 700, 3_000] {
        log.append(count);
    }
    check_stored(&log, &tree);
}

#[test]
fn growth_one_by_one_gives_the_tiles_of_the_whole() {
    let tree = memory_tree(800);
    let mut log = Stored::default();
    for _ in 0..800 {
        log.append(1);
    }
    check_stored(&log, &tree);
}

#[test]
fn growth_refuses_old_tiles_that_are_not_the_trees() {
    let tree = memory_tree(70_000);
    let frontier = |size| {
        Frontier::from_parts(size, {
            let all = tiles(&tree, new_tiles(0, size));
            authenticate_tiles(size, &tree.root_at(size).unwrap(), &all).unwrap().frontier().peaks().to_vec()
        })
        .unwrap()
    };
    let old = frontier(70_000);
    let level0 = defined(&tree, TileId::parse("tile/0/273.p/112").unwrap());
    let added = leaves(200);
    let higher = tiles(&tree, needed_for_growth(70_000, 70_200));
    assert_eq!(grow(&old, &level0, &higher, &added).map(|growth| growth.tiles.len()), Ok(3));

    for position in 0..level0.len() {
        let mut changed = level0.clone();
        changed[position] = flipped(changed[position], position);
        let tile = TileId::parse("tile/0/273.p/112").unwrap();
        assert_eq!(grow(&old, &changed, &higher, &added), Err(GrowError::ForeignTile { tile }));
    }
    let tile = TileId::parse("tile/1/001.p/17").unwrap();
    for position in 0..17 {
        let mut changed = higher.clone();
        let hashes = changed.get_mut(&tile).unwrap();
        hashes[position] = flipped(hashes[position], position);
        assert_eq!(grow(&old, &level0, &changed, &added), Err(GrowError::ForeignTile { tile }));
    }
    assert_eq!(grow(&old, &level0, &Tiles::new(), &added), Err(GrowError::MissingTile { tile }));
    let shorter = Tiles::from([(tile, higher[&tile][1..].to_vec())]);
    assert_eq!(grow(&old, &level0, &shorter, &added), Err(GrowError::WrongWidth { tile, given: 16 }));
    assert!(matches!(grow(&old, &[], &higher, &added), Err(GrowError::WrongWidth { given: 0, .. })));
    assert_eq!(grow(&frontier(512), &level0, &higher, &added), Err(GrowError::NoPartialTile { given: 112 }));
    let unchanged = grow(&old, &level0, &Tiles::new(), &[]).unwrap();
    assert_eq!((unchanged.frontier, unchanged.tiles.len()), (old, 0));

    let largest = Frontier::from_parts(SIZE_MAX, vec![leaf_hash(b""); 63]).unwrap();
    let refused = GrowError::TooLarge { size: SIZE_MAX, added: 1 };
    assert_eq!(grow(&largest, &[], &Tiles::new(), &leaves(1)), Err(refused));
}
