//! Names of tiles and bundles, and their bytes.

use drystone_log::tile::{
    BundleError, TilePathError, entry_bundles, grow_entries, needed_for_growth, new_tiles, parse_tile,
    partial_bundle, partial_tiles, tile_bytes, tiles_for_size,
};
use drystone_log::{BundleId, EntryBundle, Hash, TileId, leaf_hash};
use proptest::prelude::*;

use crate::support::{leaves, paths};

#[test]
fn paths_are_those_of_the_specification() {
    let path = |level, index, width| TileId::new(level, index, width).unwrap().path();
    assert_eq!(path(0, 0, 256), "tile/0/000");
    assert_eq!(path(0, 999, 256), "tile/0/999");
    assert_eq!(path(0, 1000, 256), "tile/0/x001/000");
    assert_eq!(path(1, 1_234_067, 256), "tile/1/x001/x234/067");
    assert_eq!(path(0, 273, 112), "tile/0/273.p/112");
    assert_eq!(path(2, 0, 1), "tile/2/000.p/1");
    assert_eq!(BundleId::new(1_234_067, 8).unwrap().path(), "tile/entries/x001/x234/067.p/8");
    assert_eq!(BundleId::new(5, 256).unwrap().path(), "tile/entries/005");
}

#[test]
fn only_the_one_spelling_is_parsed() {
    for bad in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/x001/00",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/1000",
        "tile/0/xx01/000",
        "tile/0/x1/000",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "tile/ 0/000",
        "tile/0/+00",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/1/",
        "tile/0/000.p/+1",
        "tile/0/000.p/65537",
        "tile/0/000.p/1.p/1",
        "tile/0/000/",
        "/tile/0/000",
        "tile//000",
        "Tile/0/000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/8/000",
        "tile/63/000",
        "tile/256/000",
        "tile/entries/000",
        "tile/7/000",
        "tile/7/000.p/128",
        "tile/6/128.p/1",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/..",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert!(TileId::parse(bad).is_err(), "{bad:?}");
    }
    for bad in [
        "",
        "tile/entries",
        "tile/entries/",
        "tile/entries/0",
        "tile/entries/x000/000",
        "tile/0/000",
        "tile/entries/000.p/0",
        "tile/entries/000.p/256",
        "tile/entries/entries/000",
        "tile/entries/x1/000",
    ] {
        assert!(BundleId::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(
        TileId::parse("tile/7/000"),
        Err(TilePathError::Impossible { level: 7, index: 0, width: 256 })
    );
    assert_eq!(TileId::parse("tile/7/000.p/127").map(|id| id.width()), Ok(127));
    assert!(TileId::new(0, 0, 0).is_err());
    assert!(TileId::new(0, 0, 257).is_err());
    assert!(TileId::new(0, u64::MAX, 1).is_err());
}

proptest! {
    #[test]
    fn a_path_leads_back_to_its_tile(level in 0_u8..4, index in prop_oneof![0..2_000_u64, 0..1_u64 << 30], width in 1_u16..=256) {
        let tile = TileId::new(level, index, width).unwrap();
        prop_assert_eq!(TileId::parse(&tile.path()), Ok(tile));
        let bundle = BundleId::new(index, width).unwrap();
        prop_assert_eq!(BundleId::parse(&bundle.path()), Ok(bundle));
        prop_assert_eq!(bundle.tile(), TileId::new(0, index, width).unwrap());
    }

    #[test]
    fn what_parses_is_spelled_so(path in "tile/(entries|[0-9]{1,2})/(x?[0-9]{2,3}/){0,2}[0-9]{2,4}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = TileId::parse(&path) {
            prop_assert_eq!(tile.path(), path.clone());
        }
        if let Ok(bundle) = BundleId::parse(&path) {
            prop_assert_eq!(bundle.path(), path);
        }
    }

    #[test]
    fn bundles_survive_their_bytes(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let id = BundleId::new(3, entries.len() as u16).unwrap();
        let bundle = EntryBundle::new(entries.clone()).unwrap();
        let bytes = bundle.encode();
        prop_assert_eq!((id.index(), usize::from(id.width())), (3, entries.len()));
        prop_assert_eq!(EntryBundle::decode(id, &bytes), Ok(bundle.clone()));
        // Any bytes that decode are the bytes of what they decode to, so that no cut or added byte goes unnoticed.
        prop_assert!(EntryBundle::decode(id, &bytes[..bytes.len() - 1]).is_err());
        prop_assert!(EntryBundle::decode(id, &[&bytes[..], &[0]].concat()).is_err());
        prop_assert!(EntryBundle::decode(id, &[&bytes[..], &[0, 0]].concat()).is_err());
        let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        prop_assert_eq!(bundle.leaf_hashes(), hashes);
        prop_assert_eq!(bundle.into_entries(), entries);
    }
}

#[test]
fn entries_have_limits() {
    let largest = vec![7; 65_535];
    let bundle = EntryBundle::new(vec![largest]).unwrap();
    assert_eq!(EntryBundle::decode(BundleId::new(0, 1).unwrap(), &bundle.encode()), Ok(bundle));
    assert_eq!(EntryBundle::new(vec![vec![7; 65_536]]), Err(BundleError::EntryTooLong { bytes: 65_536 }));
    assert_eq!(EntryBundle::new(vec![]), Err(BundleError::WrongCount { expected: 256, given: 0 }));
    assert_eq!(
        EntryBundle::new(vec![vec![]; 257]),
        Err(BundleError::WrongCount { expected: 256, given: 257 })
    );
    let one = BundleId::new(0, 1).unwrap();
    assert_eq!(EntryBundle::decode(one, &[]), Err(BundleError::WrongCount { expected: 1, given: 0 }));
    assert_eq!(EntryBundle::decode(one, &[0]), Err(BundleError::Truncated { entry: 0 }));
    assert_eq!(EntryBundle::decode(one, &[0, 2, 9]), Err(BundleError::Truncated { entry: 0 }));
    assert_eq!(grow_entries(0, None, &[vec![7; 65_536]]), Err(BundleError::EntryTooLong { bytes: 65_536 }));
    assert_eq!(grow_entries(5, None, &[vec![]]), Err(BundleError::WrongCount { expected: 5, given: 0 }));
}

#[test]
fn tile_bytes_have_the_length_of_the_width() {
    let id = TileId::new(0, 0, 3).unwrap();
    let hashes = leaves(3);
    let bytes = tile_bytes(&hashes);
    assert_eq!(parse_tile(id, &bytes), Ok(hashes));
    for wrong in [0, 1, 95, 97, 128] {
        assert!(parse_tile(id, &vec![0; wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn the_examples_of_the_specification_hold() {
    let all = new_tiles(0, 70_000);
    assert_eq!(all.iter().filter(|id| id.level() == 0 && id.is_full()).count(), 273);
    assert_eq!(all.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(paths(&partial_tiles(70_000)), ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(paths(&tiles_for_size(256)), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(&partial_tiles(256)), ["tile/1/000.p/1"]);
    assert_eq!(paths(&new_tiles(256, 257)), ["tile/0/001.p/1"]);
    assert_eq!(paths(&new_tiles(255, 256)), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(
        paths(&new_tiles(250, 600)),
        ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]
    );
    assert_eq!(
        paths(&entry_bundles(250, 600)),
        ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"]
    );
    assert_eq!(paths(&entry_bundles(256, 512)), ["tile/entries/001"]);
    assert_eq!(paths(&needed_for_growth(700, 767)), [""; 0]);
    assert_eq!(paths(&needed_for_growth(700, 768)), ["tile/1/000.p/2"]);
    assert_eq!(paths(&needed_for_growth(70_000, 131_072)), ["tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(paths(&needed_for_growth(131_077, 131_333)), [""; 0]);
    assert_eq!(paths(&needed_for_growth(131_077, 196_613)), ["tile/2/000.p/2"]);
    assert_eq!(partial_bundle(700), Some(BundleId::new(2, 188).unwrap()));
    assert_eq!(partial_bundle(768), None);
    for none in
        [new_tiles(0, 0), new_tiles(7, 7), new_tiles(9, 7), tiles_for_size(0), needed_for_growth(9, 9)]
    {
        assert_eq!(none, []);
    }
    assert_eq!(entry_bundles(7, 7), []);
}
