//! No forged tile is believed, and no tile is fetched in vain.

use drystone_log::tile::{
    AuthenticatedTiles, TileError, authenticate_tiles, new_tiles, tiles_needed_for_consistency,
    tiles_needed_for_inclusion, tiles_to_authenticate,
};
use drystone_log::{
    BundleId, EntryBundle, Hash, HashReader, MemoryTree, TileId, empty_root, leaf_hash, prove_consistency,
    prove_inclusion, tree_root, verify_consistency, verify_inclusion,
};

use crate::support::{Random, Tiles, entry, flipped, leaves, memory_tree, paths, tiles};

/// Authenticates the whole log and compares what can be read from it with the definition.
fn authenticate_whole(tree: &MemoryTree, size: u64) -> (Tiles, AuthenticatedTiles) {
    let all = tiles(tree, new_tiles(0, size));
    let root = tree.root_at(size).unwrap();
    let authenticated = authenticate_tiles(size, &root, &all).unwrap();
    assert_eq!((authenticated.frontier().root(), authenticated.size()), (root, size));
    assert_eq!(tree_root(size, &authenticated), Ok(root));
    (all, authenticated)
}

#[test]
fn authenticated_tiles_read_like_the_tree() {
    let tree = memory_tree(66_000);
    for size in (0..=20).chain(250..=260).chain(505..=520).chain([700, 1_024, 65_535, 65_536, 65_537, 66_000])
    {
        let (_, authenticated) = authenticate_whole(&tree, size);
        for level in 0..17 {
            let count = size >> level;
            for index in [0, count / 3, count.saturating_sub(1)].into_iter().filter(|index| *index < count) {
                assert_eq!(authenticated.subtree(level, index).unwrap(), tree.subtree(level, index).unwrap());
            }
            let outside = TileError::NoSubtree { level, index: count, size };
            assert_eq!(authenticated.subtree(level, count), Err(outside));
        }
        for level in [63, 64, 255] {
            assert!(authenticated.subtree(level, 0).is_err());
        }
    }
}

#[test]
fn one_forged_byte_in_any_tile_is_found() {
    let tree = memory_tree(700);
    let mut random = Random::new(9);
    let sizes = (1..=20).chain([255, 256, 257, 300, 511, 512, 513, 640, 699]);
    for size in sizes.chain((0..12).map(|_| 1 + random.below(700)).collect::<Vec<_>>()) {
        let (all, _) = authenticate_whole(&tree, size);
        let root = tree.root_at(size).unwrap();
        for (id, hashes) in &all {
            for _ in 0..3 {
                let position = random.below(hashes.len() as u64) as usize;
                assert_forgery_found(size, &root, &all, *id, position, random.below(256) as usize);
            }
        }
    }
}

#[test]
fn a_forged_byte_in_any_hash_of_a_log_is_found() {
    let size = 700;
    let tree = memory_tree(size);
    let (all, _) = authenticate_whole(&tree, size);
    let root = tree.root_at(size).unwrap();
    for (id, hashes) in &all {
        for position in 0..hashes.len() {
            assert_forgery_found(size, &root, &all, *id, position, position);
        }
    }
}

fn assert_forgery_found(size: u64, root: &Hash, all: &Tiles, id: TileId, position: usize, byte: usize) {
    let mut forged = all.clone();
    let hashes = forged.get_mut(&id).unwrap();
    hashes[position] = flipped(hashes[position], byte);
    let found = authenticate_tiles(size, root, &forged).map(|_| ()).unwrap_err();
    let named = match found {
        TileError::EdgeMismatch { ref tiles, .. } => tiles.contains(&id),
        TileError::ParentMismatch { tile, .. } => tile == id,
        _ => false,
    };
    assert!(named, "{id} of {size}: {found}");
}

#[test]
fn tiles_that_are_not_of_the_tree_are_refused() {
    let tree = memory_tree(700);
    let root = tree.root_at(700).unwrap();
    let (all, _) = authenticate_whole(&tree, 700);
    let with = |path: &str, hashes: Vec<Hash>| {
        let mut tiles = all.clone();
        tiles.insert(TileId::parse(path).unwrap(), hashes);
        authenticate_tiles(700, &root, &tiles).map(|_| ()).unwrap_err()
    };
    for (path, width) in [
        ("tile/0/002", 256),
        ("tile/0/003", 256),
        ("tile/0/000.p/5", 5),
        ("tile/0/002.p/187", 187),
        ("tile/1/000.p/1", 1),
        ("tile/1/000", 256),
        ("tile/2/000.p/1", 1),
        ("tile/7/000.p/1", 1),
    ] {
        let refused = TileError::NotInTree { tile: TileId::parse(path).unwrap(), size: 700 };
        assert_eq!(with(path, vec![root; width]), refused, "{path}");
    }
    let tile = TileId::parse("tile/0/001").unwrap();
    assert_eq!(with("tile/0/001", leaves(255)), TileError::WrongWidth { tile, given: 255 });

    for &tile in all.keys() {
        let mut without = all.clone();
        without.remove(&tile);
        let result = authenticate_tiles(700, &root, &without).map(|_| ());
        // Full tiles of level 0 are nobody's parents, and may be absent.
        assert_eq!(result, if tile.is_full() { Ok(()) } else { Err(TileError::Missing { tile }) });
    }
    assert!(authenticate_tiles(0, &empty_root(), &Tiles::new()).is_ok());
    assert!(matches!(authenticate_tiles(0, &root, &Tiles::new()), Err(TileError::EdgeMismatch { .. })));
}

#[test]
fn a_missing_parent_is_named() {
    let tree = memory_tree(66_000);
    let root = tree.root_at(66_000).unwrap();
    let [tile, parent] = ["tile/0/010", "tile/1/000"].map(|path| TileId::parse(path).unwrap());
    let needed = tiles_to_authenticate(66_000, [tile]);
    assert_eq!(
        paths(&Vec::from_iter(needed.clone())),
        ["tile/0/010", "tile/0/257.p/208", "tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"]
    );
    // At the top there is no parent.
    let top = TileId::parse("tile/7/000.p/3").unwrap();
    let edge = tiles_to_authenticate(u64::MAX, []);
    assert_eq!((edge.len(), tiles_to_authenticate(u64::MAX, [top]).len()), (8, 9));
    let mut given = tiles(&tree, needed);
    given.remove(&parent);
    let refused = authenticate_tiles(66_000, &root, &given).map(|_| ());
    assert_eq!(refused, Err(TileError::Missing { tile: parent }));
}

#[test]
fn the_tiles_needed_for_a_proof_are_enough_and_none_is_idle() {
    let tree = memory_tree(66_000);
    let mut random = Random::new(11);
    for size in [1, 2, 255, 256, 257, 300, 512, 700, 65_536, 65_537, 66_000] {
        let root = tree.root_at(size).unwrap();
        for index in [0, size / 2, size - 1, random.below(size)] {
            let needed = tiles_needed_for_inclusion(index, size).unwrap();
            let proof_from = |given: &Tiles| {
                let authenticated = authenticate_tiles(size, &root, given).ok()?;
                prove_inclusion(index, size, &authenticated).ok()
            };
            let given = tiles(&tree, needed);
            let proof = proof_from(&given).unwrap();
            assert_eq!(verify_inclusion(&leaf_hash(&entry(index)), index, size, &proof, &root), Ok(()));
            assert_none_idle(&given, |fewer| proof_from(fewer).is_some());

            let old = 1 + index;
            let needed = tiles_needed_for_consistency(old, size).unwrap();
            let proof_from = |given: &Tiles| {
                let authenticated = authenticate_tiles(size, &root, given).ok()?;
                prove_consistency(old, size, &authenticated).ok()
            };
            let given = tiles(&tree, needed);
            let proof = proof_from(&given).unwrap();
            assert_eq!(verify_consistency(old, size, &tree.root_at(old).unwrap(), &root, &proof), Ok(()));
            assert_none_idle(&given, |fewer| proof_from(fewer).is_some());
        }
    }
    assert!(tiles_needed_for_inclusion(5, 5).is_err());
    assert!(tiles_needed_for_consistency(6, 5).is_err());
}

fn assert_none_idle(given: &Tiles, works: impl Fn(&Tiles) -> bool) {
    for id in given.keys() {
        let mut fewer = given.clone();
        fewer.remove(id);
        assert!(!works(&fewer), "{id} was not needed");
    }
}

#[test]
fn entries_are_checked_against_their_tile() {
    let tree = memory_tree(300);
    let (_, authenticated) = authenticate_whole(&tree, 300);
    let id = BundleId::new(1, 44).unwrap();
    let entries: Vec<Vec<u8>> = (256..300).map(entry).collect();
    let check = |entries: Vec<Vec<u8>>| authenticated.check_bundle(id, &EntryBundle::new(entries).unwrap());
    assert_eq!(check(entries.clone()), Ok(()));
    for position in 0..entries.len() {
        let mut changed = entries.clone();
        changed[position][0] ^= 1;
        assert_eq!(check(changed), Err(TileError::BundleMismatch { bundle: id }));
    }
    assert_eq!(check(entries[1..].to_vec()), Err(TileError::BundleMismatch { bundle: id }));
    let elsewhere = BundleId::new(7, 44).unwrap();
    let bundle = EntryBundle::new(entries).unwrap();
    assert_eq!(
        authenticated.check_bundle(elsewhere, &bundle),
        Err(TileError::Missing { tile: elsewhere.tile() })
    );
}
