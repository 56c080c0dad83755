//! The last tile of each level of a tree.
//!
//! Invariant: they hold every subtree that the proof of the newest entry is made of, because such a subtree lies to the
//! left of a complete or incomplete one in the same tile, and none begins after it.

use std::collections::BTreeMap;

use drystone_log::{Frontier, Hash, HashReader, TileId};

/// The last tiles, by level.
#[derive(Debug, Default)]
pub(crate) struct Edge(BTreeMap<u8, (TileId, Vec<Hash>)>);

/// A subtree that does not lie in the last tile of its level.
#[derive(Debug)]
pub(crate) struct NotAtEdge;

impl Edge {
    /// Takes the newest tiles, each level's in order.
    pub(super) fn take(&mut self, tiles: Vec<(TileId, Vec<Hash>)>) {
        self.0.extend(tiles.into_iter().map(|tile| (tile.0.level(), tile)));
    }
}

/// The root over hashes of complete subtrees of one height.
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    hashes.iter().for_each(|hash| frontier.append(*hash));
    frontier.root()
}

impl HashReader for Edge {
    type Error = NotAtEdge;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, NotAtEdge> {
        let (id, hashes) = self.0.get(&(level / 8)).ok_or(NotAtEdge)?;
        let width = 1_u64 << (level % 8);
        let first = (index * width).checked_sub(id.index() * 256).ok_or(NotAtEdge)?;
        let range = first as usize..(first + width) as usize;
        hashes.get(range).map(root_of).ok_or(NotAtEdge)
    }
}

#[cfg(test)]
mod tests {
    use drystone_log::{leaf_hash, prove_inclusion, verify_inclusion};

    use super::*;
    use crate::growing::Growing;

    #[test]
    fn the_newest_entry_is_proved_at_every_edge() {
        for size in (1..=600).chain([65_535, 65_536, 65_537, 65_792, 66_049]) {
            let leaves: Vec<Hash> = (0..size).map(|at: u64| leaf_hash(&at.to_be_bytes())).collect();
            let (mut tree, mut edge) = (Growing::new(), Edge::default());
            leaves.chunks(256).for_each(|bundle| edge.take(tree.grow(bundle, 0, size).unwrap()));
            let Ok(proof) = prove_inclusion(size - 1, size, &edge) else {
                panic!("a tree of {size} entries has no proof of its newest one")
            };
            let newest = &leaves[size as usize - 1];
            verify_inclusion(newest, size - 1, size, &proof, &tree.root()).unwrap();
        }
    }
}
