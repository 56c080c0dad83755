//! Telling damaged tiles from damaged entries: pure, from the signed root down.
//!
//! Every tile has two witnesses, its stored bytes and what lies below it. The one that leads to the root is right.
//! Invariant: nothing is called good that does not hash to its place below the root.

use std::collections::BTreeMap;

use drystone_log::{
    BundleId, Frontier, Hash, TileId,
    tile::{entry_bundles, new_tiles, partial_tiles},
};

/// What became of one file of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Damaged,
    /// Nothing above it is good, so that there is nothing to compare with.
    Unknown,
}

/// The files of a tree, told apart.
pub(super) struct Judgement {
    /// Every tile whose right content is known, with it.
    pub(super) good: BTreeMap<TileId, Vec<Hash>>,
    /// The stored tiles, in the order of their levels.
    pub(super) tiles: Vec<(TileId, Verdict)>,
    /// The stored bundles, in order.
    pub(super) bundles: Vec<(BundleId, Verdict)>,
}

/// Judges the tiles and entry bundles of a tree by its root; `stored` and `leaves` lack what could not be read.
pub(super) fn judge(
    size: u64,
    root: &Hash,
    stored: &BTreeMap<TileId, Vec<Hash>>,
    leaves: &BTreeMap<BundleId, Vec<Hash>>,
) -> Judgement {
    let all = new_tiles(0, size);
    let derived = derive(&all, stored, leaves);
    let candidates = |id: &TileId| [stored.get(id), derived.get(id)].into_iter().flatten();

    let mut good = edge(size, root, candidates).unwrap_or_default();
    let expected = |good: &BTreeMap<TileId, Vec<Hash>>, id: &TileId| {
        Some(good.get(&parent(size, id)?)?[(id.index() % 256) as usize])
    };
    for id in all.iter().rev().filter(|id| id.is_full()) {
        if let Some(root) = expected(&good, id)
            && let Some(hashes) = candidates(id).find(|hashes| root_of(hashes) == root)
        {
            good.insert(*id, hashes.clone());
        }
    }

    let verdict = |id: &TileId, found: Option<&Vec<Hash>>| match good.get(id) {
        Some(right) if found == Some(right) => Verdict::Good,
        Some(_) => Verdict::Damaged,
        // Its place is known, and neither witness fits it.
        None if id.is_full() && expected(&good, id).is_some() => Verdict::Damaged,
        None => Verdict::Unknown,
    };
    let tiles = all.iter().map(|id| (*id, verdict(id, stored.get(id)))).collect();
    let bundles =
        entry_bundles(0, size).into_iter().map(|id| (id, verdict(&id.tile(), leaves.get(&id)))).collect();
    Judgement { good, tiles, bundles }
}

/// What each tile must be, if everything below it is right: level 0 from the entries, the others from the level below.
fn derive(
    all: &[TileId],
    stored: &BTreeMap<TileId, Vec<Hash>>,
    leaves: &BTreeMap<BundleId, Vec<Hash>>,
) -> BTreeMap<TileId, Vec<Hash>> {
    let mut derived: BTreeMap<TileId, Vec<Hash>> =
        leaves.iter().map(|(id, hashes)| (id.tile(), hashes.clone())).collect();
    for id in all.iter().filter(|id| id.level() > 0) {
        let hashes = (0..u64::from(id.width())).map(|i| {
            let below = TileId::new(id.level() - 1, id.index() * 256 + i, 256).ok()?;
            derived.get(&below).or_else(|| stored.get(&below)).map(|hashes| root_of(hashes))
        });
        if let Some(hashes) = hashes.collect() {
            derived.insert(*id, hashes);
        }
    }
    derived
}

/// The partial tiles that together hash to the root, from the candidates for each.
fn edge<'a, I: Iterator<Item = &'a Vec<Hash>>>(
    size: u64,
    root: &Hash,
    candidates: impl Fn(&TileId) -> I,
) -> Option<BTreeMap<TileId, Vec<Hash>>> {
    // At most eight levels with two candidates each: 256 combinations.
    let mut combinations: Vec<Vec<(TileId, &Vec<Hash>)>> = vec![Vec::new()];
    for id in partial_tiles(size).into_iter().rev() {
        let longer = |combination: &Vec<(TileId, &'a Vec<Hash>)>| {
            candidates(&id).map(|hashes| [&combination[..], &[(id, hashes)]].concat()).collect::<Vec<_>>()
        };
        combinations = combinations.iter().flat_map(longer).collect();
    }
    let leads_to_root = |combination: &&Vec<(TileId, &Vec<Hash>)>| {
        // The largest peaks are in the tile of the highest level, which comes first.
        let peaks = combination.iter().flat_map(|(_, hashes)| frontier_of(hashes).peaks().to_vec()).collect();
        Frontier::from_parts(size, peaks).is_ok_and(|frontier| frontier.root() == *root)
    };
    let found = combinations.iter().find(leads_to_root)?;
    Some(found.iter().map(|(id, hashes)| (*id, (*hashes).clone())).collect())
}

/// The tile that holds the root of a full one, with the width that it has in a tree of this size.
fn parent(size: u64, id: &TileId) -> Option<TileId> {
    let (level, index) = (id.level() + 1, id.index() / 256);
    let width = (size.checked_shr(8 * u32::from(level))? - index * 256).min(256);
    TileId::new(level, index, width as u16).ok()
}

fn frontier_of(hashes: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    hashes.iter().for_each(|hash| frontier.append(*hash));
    frontier
}

fn root_of(hashes: &[Hash]) -> Hash {
    frontier_of(hashes).root()
}

#[cfg(test)]
mod tests {
    use drystone_log::{HashReader, MemoryTree, leaf_hash};

    use super::*;

    struct Sample {
        size: u64,
        root: Hash,
        tiles: BTreeMap<TileId, Vec<Hash>>,
        leaves: BTreeMap<BundleId, Vec<Hash>>,
    }

    fn sample(size: u64) -> Sample {
        let mut tree = MemoryTree::new();
        (0..size).for_each(|i| tree.append(leaf_hash(&i.to_be_bytes())));
        let row = |level: u8, index: u64, width: u16| -> Vec<Hash> {
            (0..u64::from(width)).map(|i| tree.subtree(8 * level, index * 256 + i).unwrap()).collect()
        };
        Sample {
            size,
            root: tree.root_at(size).unwrap(),
            tiles: new_tiles(0, size)
                .iter()
                .map(|id| (*id, row(id.level(), id.index(), id.width())))
                .collect(),
            leaves: entry_bundles(0, size).iter().map(|id| (*id, row(0, id.index(), id.width()))).collect(),
        }
    }

    impl Sample {
        fn bad(&self) -> Vec<String> {
            let judgement = judge(self.size, &self.root, &self.tiles, &self.leaves);
            let tiles = judgement.tiles.iter().map(|(id, verdict)| (id.to_string(), *verdict));
            let bundles = judgement.bundles.iter().map(|(id, verdict)| (id.to_string(), *verdict));
            let bad = tiles.chain(bundles).filter(|(_, verdict)| *verdict != Verdict::Good);
            bad.map(|(id, verdict)| format!("{id} {verdict:?}")).collect()
        }
    }

    const SIZES: [u64; 8] = [1, 5, 255, 256, 257, 600, 65_536, 65_900];

    #[test]
    fn a_whole_tree_is_good() {
        for size in SIZES {
            assert_eq!(sample(size).bad(), [""; 0], "{size}");
        }
    }

    #[test]
    fn one_damaged_or_missing_file_is_named_and_no_other() {
        for size in SIZES {
            let whole = sample(size);
            // Of the many tiles of level 0 the first and the last are enough.
            let tiles: Vec<TileId> = whole.tiles.keys().copied().collect();
            let few = tiles.iter().filter(|id| id.level() > 0 || id.index() == 0 || id.index() == size / 256);
            for id in few {
                let mut broken = sample(size);
                broken.tiles.get_mut(id).unwrap()[0] = leaf_hash(b"other");
                assert_eq!(broken.bad(), [format!("{id} Damaged")], "{size}");
                broken.tiles.remove(id);
                assert_eq!(broken.bad(), [format!("{id} Damaged")], "{size}");
            }
            for id in [whole.leaves.keys().next().unwrap(), whole.leaves.keys().last().unwrap()] {
                let mut broken = sample(size);
                *broken.leaves.get_mut(id).unwrap().last_mut().unwrap() = leaf_hash(b"other");
                assert_eq!(broken.bad(), [format!("{id} Damaged")], "{size}");
                broken.leaves.remove(id);
                assert_eq!(broken.bad(), [format!("{id} Damaged")], "{size}");
            }
        }
    }

    #[test]
    fn without_a_good_edge_nothing_is_called_good() {
        let mut broken = sample(600);
        broken.root = leaf_hash(b"other");
        assert!(broken.bad().iter().all(|line| line.ends_with("Unknown")));
        assert_eq!(broken.bad().len(), broken.tiles.len() + broken.leaves.len());
    }

    #[test]
    fn entries_under_a_damaged_tile_are_still_told_apart() {
        let mut broken = sample(600);
        let first = *broken.leaves.keys().next().unwrap();
        broken.leaves.get_mut(&first).unwrap()[3] = leaf_hash(b"other");
        broken.tiles.get_mut(&first.tile()).unwrap()[3] = leaf_hash(b"another");
        let (tile, bundle) = (first.tile(), first);
        assert_eq!(broken.bad(), [format!("{tile} Damaged"), format!("{bundle} Damaged")]);
    }
}
