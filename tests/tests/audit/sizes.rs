//! The trees of every size from 0 to 1,100, as this project makes them and as Go's `sumdb/tlog` and `note` and Python's
//! `aics-tlog` do: roots, signed checkpoints, tiles and entry bundles byte for byte, inclusion and consistency proofs.
//!
//! A file says what is made here, one line for each size and kind; the other programs write each line anew, out of trees of
//! their own, and compare. Proofs of larger trees are those of a few places that move with the size;
//! `DRYSTONE_SIZES=all cargo test --workspace --features drystone/s3 every_size` takes every place of every size, here and in
//! the tests of the log against the RFC's own recursion and `ct-merkle`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use drystone_log::{
    BundleId, Checkpoint, EntryBundle, Frontier, Hash, MemoryTree, NoteSigner, TileId, leaf_hash,
    prove_consistency, prove_inclusion,
    tile::{entry_bundles, grow, grow_entries, needed_for_growth, new_tiles, partial_bundle, tile_bytes},
};
use drystone_schemas::Sha256Digest;

use super::others::{aics, auditor, told};

const SIZES: u64 = 1_100;
const ORIGIN: &str = "sizes.example/log/1";

/// A log that grows as one that is published does: from its right edge alone.
#[derive(Default)]
struct Log {
    frontier: Frontier,
    tree: MemoryTree,
    tiles: BTreeMap<TileId, Vec<Hash>>,
    bundles: BTreeMap<BundleId, EntryBundle>,
}

impl Log {
    fn append(&mut self) {
        let size = self.frontier.size();
        let entry = format!("entry {size}\n").into_bytes();
        let leaf = leaf_hash(&entry);
        let edge = partial_bundle(size);
        let level0 = edge.map_or(&[][..], |id| &self.tiles[&id.tile()][..]);
        let higher = needed_for_growth(size, size + 1).into_iter().map(|id| (id, self.tiles[&id].clone()));
        let grown = grow(&self.frontier, level0, &higher.collect(), &[leaf]).unwrap();
        let bundles = grow_entries(size, edge.map(|id| &self.bundles[&id]), &[entry]).unwrap();
        self.tree.append(leaf);
        self.frontier = grown.frontier;
        self.tiles.extend(grown.tiles);
        self.bundles.extend(bundles);
    }

    /// Every file of tiles and entries that a tree of this size has, with its digest, by path.
    fn files(&self) -> String {
        let size = self.frontier.size();
        let digest = |bytes: &[u8]| Sha256Digest::of(bytes).hex();
        let tiles = new_tiles(0, size).into_iter();
        let tiles = tiles.map(|id| (id.path(), digest(&tile_bytes(&self.tiles[&id]))));
        let bundles = entry_bundles(0, size).into_iter();
        let bundles = bundles.map(|id| (id.path(), digest(&self.bundles[&id].encode())));
        let files: BTreeMap<String, String> = tiles.chain(bundles).collect();
        files.iter().fold(String::new(), |text, (path, digest)| format!("{text}{path} {digest}\n"))
    }

    /// The proofs for every `step`th place and for the last one; of a leaf, or of the tree that ends with it.
    fn proofs(&self, step: u64, prove: impl Fn(&MemoryTree, u64) -> Vec<Hash>) -> String {
        let size = self.frontier.size();
        let places = (0..size).filter(|place| place % step == 0 || place + 1 == size);
        let mut text = String::new();
        for place in places {
            let proof: Vec<String> = prove(&self.tree, place).into_iter().map(Hash::to_base64).collect();
            writeln!(text, "{place} {}", proof.join(",")).unwrap();
        }
        text
    }
}

/// From which place to the next proofs are compared.
fn step(size: u64) -> u64 {
    let all = std::env::var("DRYSTONE_SIZES").is_ok_and(|value| value == "all");
    if all || size <= 32 { 1 } else { size / 4 + 1 }
}

/// What the trees of every size come to, as the other programs read it.
fn sizes() -> String {
    let signer = NoteSigner::from_seed(ORIGIN, &[5; 32]).unwrap();
    let mut text = format!("key {}\n", signer.secret_text().expose());
    let mut log = Log::default();
    for size in 0..=SIZES {
        let root = log.frontier.root();
        assert_eq!(log.tree.root_at(size), Ok(root));
        let note = Checkpoint::new(ORIGIN, size, root).unwrap().sign(&signer).to_bytes();
        let step = step(size);
        let inclusion = log.proofs(step, |tree, place| prove_inclusion(place, size, tree).unwrap());
        let consistency = log.proofs(step, |tree, place| prove_consistency(place + 1, size, tree).unwrap());
        let digest = |text: &[u8]| Sha256Digest::of(text).hex();
        writeln!(text, "root {size} {}", root.to_base64()).unwrap();
        writeln!(text, "note {size} {}", digest(&note)).unwrap();
        writeln!(text, "files {size} {}", digest(log.files().as_bytes())).unwrap();
        writeln!(text, "inclusion {size} {step} {}", digest(inclusion.as_bytes())).unwrap();
        writeln!(text, "consistency {size} {step} {}", digest(consistency.as_bytes())).unwrap();
        log.append();
    }
    text
}

/// A program that reads such a file agrees with every line, and would say if it did not.
fn agrees(mut program: impl FnMut() -> Command, folder: &Path) {
    let file = folder.join("sizes");
    let good = sizes();
    let mut run = |text: &str| {
        fs_err::write(&file, text).unwrap();
        let output = program().arg(&file).output().unwrap();
        (output.status.success(), told(&output))
    };
    let expected = "PASS 1101 roots, 1101 notes, 1101 sets of files, 1101 of inclusion proofs, 1101 of consistency proofs\n";
    assert_eq!(run(&good), (true, expected.to_owned()));
    for kind in ["root", "note", "files", "inclusion", "consistency"] {
        let start = good.find(&format!("{kind} 300 ")).unwrap();
        let end = start + good[start..].find('\n').unwrap();
        // The last character but one: of base64 the last is padding.
        let at = end - 2;
        let other = if &good[at..=at] == "0" { "4" } else { "0" };
        let wrong = [&good[..at], other, &good[at + 1..]].concat();
        let (passed, told) = run(&wrong);
        assert!(!passed && told.starts_with(&format!("FAIL {kind} 300 ")), "{kind}: {told}");
    }
}

#[test]
fn go_agrees_on_every_size() {
    let tools = tempfile::tempdir().unwrap();
    let auditor = auditor(tools.path());
    let program = || {
        let mut command = Command::new(&auditor);
        command.arg("sizes");
        command
    };
    agrees(program, tools.path());
}

#[test]
fn aics_tlog_agrees_on_every_size() {
    let Some(aics) = aics() else { return };
    let tools = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/sizes.py");
    let program = || {
        // The interpreter that the package is installed for.
        let mut command = Command::new(aics.with_file_name("python"));
        command.arg(&script);
        command
    };
    agrees(program, tools.path());
}
