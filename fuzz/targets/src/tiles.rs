//! Tiles, entry bundles, shards of the state map, and proofs.

use drystone_log::{
    BundleId, EntryBundle, Hash, MidTile, Shard, StateProof, TileId, empty_root,
    tile::{parse_tile, tile_bytes},
    verify_consistency, verify_inclusion,
};

/// Everything that a client fetches from the log has one form, and no proof panics.
pub fn tiles(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(id) = TileId::parse(text) {
            assert_eq!(id.path(), text);
        }
        if let Ok(id) = BundleId::parse(text) {
            assert_eq!(id.path(), text);
            assert_eq!(id.tile().index(), id.index());
        }
    }
    let Some(([kind, low, high], body)) = data.split_first_chunk() else { return };
    let number = u16::from_le_bytes([*low, *high]);
    match kind % 5 {
        0 => {
            let Ok(id) = TileId::new(0, 7, number) else { return };
            if let Ok(hashes) = parse_tile(id, body) {
                assert_eq!((tile_bytes(&hashes), hashes.len()), (body.to_vec(), usize::from(number)));
            }
        }
        1 => {
            let Ok(id) = BundleId::new(7, number) else { return };
            if let Ok(bundle) = EntryBundle::decode(id, body) {
                assert_eq!(bundle.encode(), body);
                assert_eq!(bundle.leaf_hashes().len(), usize::from(number));
            }
        }
        2 => {
            if let Ok(shard) = Shard::parse(number, body) {
                assert_eq!((shard.to_bytes(), shard.index()), (body.to_vec(), number));
            }
        }
        3 => {
            if let Ok(tile) = MidTile::from_bytes(body) {
                assert_eq!(tile.to_bytes(), body);
            }
            if let Ok(proof) = StateProof::from_bytes(body) {
                assert_eq!(proof.to_bytes(), body);
                // Nobody knows a shard with this root.
                assert!(proof.verify(number, &Hash::digest(body), &empty_root()).is_err());
            }
        }
        _ => proofs(body),
    }
}

/// Proofs of any sizes and hashes: a wrong root is never proved.
fn proofs(data: &[u8]) {
    let Some((numbers, hashes)) = data.split_first_chunk::<16>() else { return };
    let (first, second) = numbers.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("each half has eight bytes"));
    let (first, second) = (number(first), number(second));
    let (hashes, _) = hashes.as_chunks::<{ Hash::LEN }>();
    let hashes: Vec<Hash> = hashes.iter().map(|hash| Hash::new(*hash)).collect();
    let (leaf, root) = (Hash::digest(b"leaf"), Hash::digest(b"root"));
    assert!(verify_inclusion(&leaf, first, second, &hashes, &root).is_err());
    assert!(verify_consistency(first, second, &leaf, &root, &hashes).is_err());
}
