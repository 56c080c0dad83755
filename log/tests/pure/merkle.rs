//! Roots and proofs against the recursion of the RFC and against `ct-merkle`.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use drystone_log::merkle::{FrontierError, ProveError, SIZE_MAX, inclusion_proof_len};
use drystone_log::{
    Frontier, Hash, HashReader, ProofError, empty_root, leaf_hash, prove_consistency, prove_inclusion,
    tree_root, verify_consistency, verify_inclusion,
};
use sha2::Sha256;

use crate::support::{Naive, Random, Uniform, entry, flipped, leaves, memory_tree};

const SIZES: u64 = 1_100;

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Whether every place of every tree is tried, by `DRYSTONE_SIZES=all`.
fn all_places() -> bool {
    // A wrong setting of a test is not worth a door of its own.
    #[expect(clippy::disallowed_methods, reason = "how much a test does is decided from outside")]
    std::env::var("DRYSTONE_SIZES").is_ok_and(|value| value == "all")
}

/// Every index of a small tree, some of a larger one.
fn sample(size: u64, random: &mut Random) -> Vec<u64> {
    if size <= 70 || all_places() {
        return (0..size).collect();
    }
    let mut indices = vec![0, size / 2, size - 1];
    indices.extend((0..4).map(|_| random.below(size)));
    indices
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let inputs =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    for (input, root) in inputs.iter().zip(roots) {
        frontier.append(leaf_hash(&hex::decode(input).unwrap()));
        assert_eq!(frontier.root().to_hex(), root, "after {} leaves", frontier.size());
    }
}

#[test]
fn every_size_has_the_root_of_the_definition() {
    let naive = Naive::new(leaves(SIZES));
    let tree = memory_tree(SIZES);
    let mut frontier = Frontier::new();
    for size in 0..=SIZES {
        let root = naive.mth(0, size as usize);
        assert_eq!(frontier.root(), root, "frontier of {size}");
        assert_eq!(tree_root(size, &tree), Ok(root), "tree of {size}");
        assert_eq!(frontier.size(), size);
        let json = serde_json::to_string(&frontier).unwrap();
        assert_eq!(serde_json::from_str::<Frontier>(&json).unwrap(), frontier);
        assert_eq!(Frontier::from_parts(size, frontier.peaks().to_vec()), Ok(frontier.clone()));
        if size < SIZES {
            frontier.append(leaf_hash(&entry(size)));
        }
    }
    assert!(tree_root(SIZES + 1, &tree).is_err());
}

#[test]
fn a_frontier_needs_one_peak_for_each_one_bit() {
    let peak = leaf_hash(b"");
    assert_eq!(
        Frontier::from_parts(6, vec![peak]),
        Err(FrontierError::PeakCount { size: 6, expected: 2, given: 1 })
    );
    assert_eq!(Frontier::from_parts(1 << 63, vec![peak]), Err(FrontierError::TooLarge { size: 1 << 63 }));
    assert!(serde_json::from_str::<Frontier>(r#"{"size":1,"peaks":[]}"#).is_err());
}

#[test]
fn inclusion_proofs_of_every_size_are_those_of_the_definition() {
    let naive = Naive::new(leaves(SIZES));
    let tree = memory_tree(SIZES);
    let mut random = Random::new(1);
    for size in 1..=SIZES {
        let root = naive.mth(0, size as usize);
        for index in sample(size, &mut random) {
            let proof = prove_inclusion(index, size, &tree).unwrap();
            assert_eq!(proof, naive.path(index as usize, 0, size as usize), "{index} in {size}");
            assert_eq!(inclusion_proof_len(index, size), Ok(proof.len()));
            assert_eq!(verify_inclusion(&leaf_hash(&entry(index)), index, size, &proof, &root), Ok(()));
        }
    }
}

#[test]
fn consistency_proofs_of_every_size_are_those_of_the_definition() {
    let naive = Naive::new(leaves(SIZES));
    let tree = memory_tree(SIZES);
    let mut random = Random::new(2);
    for new in 0..=SIZES {
        let new_root = naive.mth(0, new as usize);
        for old in sample(new + 1, &mut random) {
            let old_root = naive.mth(0, old as usize);
            let proof = prove_consistency(old, new, &tree).unwrap();
            if old > 0 {
                assert_eq!(proof, naive.subproof(old as usize, 0, new as usize, true), "{old} to {new}");
            }
            assert_eq!(verify_consistency(old, new, &old_root, &new_root, &proof), Ok(()), "{old} to {new}");
        }
    }
}

#[test]
fn another_implementation_agrees_on_every_size() {
    let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    assert_eq!(other.root().as_bytes()[..], empty_root().as_bytes()[..]);
    let tree = memory_tree(SIZES);
    let mut random = Random::new(3);
    for size in 1..=SIZES {
        other.push(entry(size - 1));
        assert_eq!(tree.root_at(size).unwrap().as_bytes()[..], other.root().as_bytes()[..], "root of {size}");
        // Proofs of every size, at a place that moves; at many places where sizes are small or just past a tile.
        let at_length = size <= 40 || [0, 1, 2, 255].contains(&(size % 256)) || all_places();
        let places = if at_length { sample(size, &mut random) } else { vec![random.below(size)] };
        for index in places {
            let proof = prove_inclusion(index, size, &tree).unwrap();
            assert_eq!(bytes(&proof), other.prove_inclusion(index as usize).as_bytes(), "{index} in {size}");
            let old = index + 1;
            let proof = prove_consistency(old, size, &tree).unwrap();
            let theirs = other.prove_consistency((size - old) as usize);
            assert_eq!(bytes(&proof), theirs.as_bytes(), "{old} to {size}");
        }
    }
}

#[test]
fn any_change_to_an_inclusion_proof_is_refused() {
    let tree = memory_tree(130);
    for size in [1, 2, 3, 5, 8, 13, 64, 65, 100, 127, 130] {
        let root = tree.root_at(size).unwrap();
        for index in 0..size {
            let leaf = leaf_hash(&entry(index));
            let proof = prove_inclusion(index, size, &tree).unwrap();
            let refused = Err(ProofError::RootMismatch { size });
            let at = index as usize;
            assert_eq!(verify_inclusion(&flipped(leaf, at), index, size, &proof, &root), refused);
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &flipped(root, at)), refused);
            for position in 0..proof.len() {
                for byte in 0..32 {
                    let mut changed = proof.clone();
                    changed[position] = flipped(changed[position], byte);
                    assert_eq!(verify_inclusion(&leaf, index, size, &changed, &root), refused);
                }
                let mut shorter = proof.clone();
                shorter.remove(position);
                let wrong_length = ProofError::WrongLength { expected: proof.len(), given: proof.len() - 1 };
                assert_eq!(verify_inclusion(&leaf, index, size, &shorter, &root), Err(wrong_length));
            }
            let longer = [&proof[..], &[leaf]].concat();
            let wrong_length = ProofError::WrongLength { expected: proof.len(), given: longer.len() };
            assert_eq!(verify_inclusion(&leaf, index, size, &longer, &root), Err(wrong_length));
            for wrong in (0..=size).filter(|wrong| *wrong != index) {
                assert!(verify_inclusion(&leaf, wrong, size, &proof, &root).is_err(), "{index} as {wrong}");
            }
        }
    }
}

#[test]
fn any_change_to_a_consistency_proof_is_refused() {
    let tree = memory_tree(70);
    for new in [1, 2, 3, 6, 7, 8, 9, 33, 64, 70] {
        let new_root = tree.root_at(new).unwrap();
        for old in 1..=new {
            let old_root = tree.root_at(old).unwrap();
            let proof = prove_consistency(old, new, &tree).unwrap();
            let check = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old, new, old_root, new_root, proof)
            };
            assert!(check(&flipped(old_root, 5), &new_root, &proof).is_err(), "{old} to {new}");
            assert!(check(&old_root, &flipped(new_root, 5), &proof).is_err(), "{old} to {new}");
            for position in 0..proof.len() {
                for byte in 0..32 {
                    let mut changed = proof.clone();
                    changed[position] = flipped(changed[position], byte);
                    assert!(check(&old_root, &new_root, &changed).is_err(), "{old} to {new}");
                }
            }
            for changed in [&[&proof[..], &[old_root]].concat()[..], &proof[..proof.len().saturating_sub(1)]]
            {
                let refused = ProofError::WrongLength { expected: proof.len(), given: changed.len() };
                if changed.len() != proof.len() {
                    assert_eq!(check(&old_root, &new_root, changed), Err(refused), "{old} to {new}");
                }
            }
        }
    }
}

#[test]
fn a_fork_has_no_proof() {
    // Two logs that agree on the first 20 entries and differ afterwards.
    let honest = memory_tree(40);
    let mut forked = memory_tree(20);
    (0..20).for_each(|index: u8| forked.append(leaf_hash(&[index])));
    for old in 21..40 {
        let proof = prove_consistency(old, 40, &forked).unwrap();
        let (old_root, new_root) = (honest.root_at(old).unwrap(), forked.root_at(40).unwrap());
        let refused = verify_consistency(old, 40, &old_root, &new_root, &proof);
        assert!(matches!(refused, Err(ProofError::RootMismatch { .. })), "{old}");
    }
}

#[test]
fn the_empty_tree_is_a_prefix_of_every_tree() {
    let empty = empty_root();
    let other = leaf_hash(b"x");
    assert_eq!(verify_consistency(0, 0, &empty, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 9, &empty, &other, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 9, &other, &other, &[]), Err(ProofError::RootMismatch { size: 0 }));
    assert_eq!(verify_consistency(0, 0, &empty, &other, &[]), Err(ProofError::RootMismatch { size: 0 }));
    let superfluous = ProofError::WrongLength { expected: 0, given: 1 };
    assert_eq!(verify_consistency(0, 9, &empty, &other, &[other]), Err(superfluous));
    assert_eq!(verify_consistency(9, 9, &other, &other, &[other]), Err(superfluous));
}

#[test]
fn impossible_positions_are_refused() {
    let hash = leaf_hash(b"");
    let tree = memory_tree(8);
    let outside = ProofError::IndexOutOfRange { index: 8, size: 8 };
    assert_eq!(verify_inclusion(&hash, 8, 8, &[], &hash), Err(outside));
    assert_eq!(prove_inclusion(8, 8, &tree), Err(ProveError::Position(outside)));
    assert_eq!(
        verify_inclusion(&hash, 0, 0, &[], &empty_root()),
        Err(ProofError::IndexOutOfRange { index: 0, size: 0 })
    );
    let reversed = ProofError::SizesReversed { old: 9, new: 8 };
    assert_eq!(verify_consistency(9, 8, &hash, &hash, &[]), Err(reversed));
    assert_eq!(prove_consistency(9, 8, &tree), Err(ProveError::Position(reversed)));
    for size in [SIZE_MAX + 1, u64::MAX] {
        let too_large = Err(ProofError::SizeTooLarge { size });
        assert_eq!(verify_inclusion(&hash, 0, size, &[], &hash), too_large);
        assert_eq!(verify_consistency(1, size, &hash, &hash, &[]), too_large);
    }
}

#[test]
fn the_largest_trees_work() {
    let tree = Uniform::new();
    let leaf = tree_root(1, &tree).unwrap();
    let mut random = Random::new(4);
    let mut sizes = vec![SIZE_MAX, SIZE_MAX - 1, 1 << 62, (1 << 62) + 1, (1 << 62) - 1];
    sizes.extend((0..40).map(|_| 1 + random.below(SIZE_MAX)));
    for &size in &sizes {
        let root = tree_root(size, &tree).unwrap();
        for index in [0, 1, size / 2, size - 2, size - 1, random.below(size)] {
            let proof = prove_inclusion(index, size, &tree).unwrap();
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()), "{index} in {size}");
        }
        for old in [1, 2, 3, size / 2, size - 1, random.below(size)] {
            let proof = prove_consistency(old, size, &tree).unwrap();
            let old_root = tree_root(old, &tree).unwrap();
            assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()), "{old} to {size}");
        }
    }
}

#[test]
fn random_larger_trees_agree_with_the_definition() {
    const LARGE: u64 = 20_000;
    let naive = Naive::new(leaves(LARGE));
    let tree = memory_tree(LARGE);
    let mut random = Random::new(5);
    for _ in 0..60 {
        let size = 1_100 + random.below(LARGE - 1_100);
        let root = naive.mth(0, size as usize);
        assert_eq!(tree.root_at(size), Ok(root));
        let index = random.below(size);
        let proof = prove_inclusion(index, size, &tree).unwrap();
        assert_eq!(proof, naive.path(index as usize, 0, size as usize));
        assert_eq!(verify_inclusion(&leaf_hash(&entry(index)), index, size, &proof, &root), Ok(()));
        let old = 1 + random.below(size);
        let proof = prove_consistency(old, size, &tree).unwrap();
        assert_eq!(proof, naive.subproof(old as usize, 0, size as usize, true));
        assert_eq!(verify_consistency(old, size, &naive.mth(0, old as usize), &root, &proof), Ok(()));
    }
}

#[test]
fn the_memory_tree_has_the_subtrees_of_the_definition() {
    let naive = Naive::new(leaves(600));
    let tree = memory_tree(600);
    for level in 0..10_u8 {
        for index in 0..600 >> level {
            let (start, end) = (index << level, (index + 1) << level);
            assert_eq!(tree.subtree(level, index as u64), Ok(naive.mth(start, end)));
        }
        assert!(tree.subtree(level, 600 >> level).is_err());
    }
    assert!(tree.subtree(200, 0).is_err());
}
