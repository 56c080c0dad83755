//! The state map against the tree of its definition, in memory and over a store of nodes.

use std::collections::BTreeMap;

use drystone_log::state_map::{
    SHARD_BYTES_MAX, SHARD_READ_BYTES_MAX, SHARDS, STATE_PROOF_BYTES, STATE_TILE_BYTES, ShardError,
    StateError, StateNode, mid_tile_key, root_tile_key, shard_key, split_index,
};
use drystone_log::{
    FileRef, Hash, MidTile, ProofError, RootTile, Shard, ShardEntry, StateMap, StateProof, leaf_hash,
    shard_of, verify_inclusion,
};
use proptest::prelude::*;

use crate::support::{Naive, Random, flipped};

fn file(number: u64) -> FileRef {
    FileRef { digest: Hash::digest(&number.to_be_bytes()), len: number }
}

fn entry(seq: u64) -> ShardEntry {
    ShardEntry { seq, files: [('i', file(seq)), ('d', file(seq + 1)), ('r', file(seq + 2))].into() }
}

fn name(number: u64) -> String {
    format!("owner-{}/package-{number}", number % 7)
}

/// Names of one shard: found by trying, as an attacker would.
fn names_of_shard(shard: u16, count: usize) -> Vec<String> {
    (0..).map(|number| format!("n{number}")).filter(|name| shard_of(name) == shard).take(count).collect()
}

/// The root by definition: the tree over the leaf hashes of all shards.
fn defined_root(entries: &BTreeMap<String, ShardEntry>) -> Hash {
    let mut texts: BTreeMap<u16, String> = BTreeMap::new();
    for (name, entry) in entries {
        let digest = Hash::digest(name.as_bytes());
        let shard = u16::from(digest.as_bytes()[0]) << 8 | u16::from(digest.as_bytes()[1]);
        let files: String = entry
            .files
            .iter()
            .map(|(class, file)| format!(" {class}:{}:{}", file.digest, file.len))
            .collect();
        texts.entry(shard).or_default().push_str(&format!("{name} {}{files}\n", entry.seq));
    }
    let text = |shard| texts.get(&shard).map_or("", String::as_str);
    let leaves = (0..=u16::MAX).map(|shard| leaf_hash(text(shard).as_bytes())).collect();
    Naive::new(leaves).mth(0, SHARDS as usize)
}

#[test]
fn the_empty_map_is_the_tree_of_empty_shards() {
    let root = defined_root(&BTreeMap::new());
    assert_eq!(RootTile::empty_root(), root);
    assert_eq!(RootTile::empty().root(), root);
    assert_eq!(StateMap::new().root(), root);
    assert!(MidTile::is_empty_root(&MidTile::empty().root()));
    assert!(!MidTile::is_empty_root(&root));
    assert_eq!(RootTile::empty().get(77), MidTile::empty_root());
    assert!(Shard::is_empty_leaf(&Shard::empty(3).leaf_hash()));
    assert_eq!(StateMap::new().changed_nodes(), []);
}

#[test]
fn the_root_is_that_of_the_definition_whatever_the_order() {
    let mut random = Random::new(21);
    let mut map = StateMap::new();
    let mut entries = BTreeMap::new();
    for round in 0..4 {
        for _ in 0..400 {
            let (name, entry) = (name(random.below(500)), entry(random.below(1_000_000)));
            map.set(&name, entry.clone()).unwrap();
            entries.insert(name, entry);
        }
        assert_eq!(map.root(), defined_root(&entries), "round {round}");
    }
    let mut backwards = StateMap::new();
    for (name, entry) in entries.iter().rev() {
        backwards.set(name, entry.clone()).unwrap();
    }
    assert_eq!(backwards.root(), map.root());
    for (name, entry) in &entries {
        assert_eq!(map.get(name), Ok(Some(entry)));
    }
    assert_eq!(map.get("not/there"), Ok(None));
    let listed: usize = map.shards().map(|shard| shard.entries().count()).sum();
    assert_eq!(listed, entries.len());
}

/// Loads what `names` need from a store of nodes, and counts the rounds.
fn load(map: &mut StateMap, store: &BTreeMap<String, Vec<u8>>, names: &[String]) -> usize {
    for round in 0.. {
        let missing = map.missing(names.iter().map(String::as_str));
        if missing.is_empty() {
            return round;
        }
        for node in missing {
            map.load(node, &store[&node.key()]).unwrap();
        }
    }
    unreachable!("the loop ends by returning")
}

#[test]
fn a_writer_that_loads_single_nodes_gets_the_same_roots() {
    let mut random = Random::new(22);
    let mut whole = StateMap::new();
    let mut store: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut root_tile = RootTile::empty();
    for _ in 0..150 {
        let batch: Vec<String> = (0..1 + random.below(5)).map(|_| name(random.below(80))).collect();
        let mut map = StateMap::over(root_tile);
        assert!(load(&mut map, &store, &batch) <= 2);
        for name in &batch {
            assert_eq!(map.get(name), whole.get(name));
            let entry = entry(random.below(1_000));
            map.set(name, entry.clone()).unwrap();
            whole.set(name, entry).unwrap();
            assert_eq!(map.root(), whole.root());
        }
        let nodes = map.changed_nodes();
        assert!(nodes.len() <= 2 * batch.len() + 1);
        store.extend(nodes);
        root_tile = RootTile::open(&map.root(), &store[&root_tile_key(&map.root())]).unwrap();
    }
    // What the replay holds at the end is what the writer stored last.
    for (key, bytes) in whole.changed_nodes() {
        assert_eq!(store[&key], bytes, "{key}");
    }
    // Nodes without entries are never stored.
    for absent in [
        mid_tile_key(&MidTile::empty_root()),
        shard_key(&leaf_hash(b"")),
        root_tile_key(&RootTile::empty_root()),
    ] {
        assert!(!store.contains_key(&absent), "{absent}");
    }
}

#[test]
fn nodes_are_checked_when_they_are_loaded() {
    let mut whole = StateMap::new();
    whole.set("acme/http", entry(7)).unwrap();
    let store: BTreeMap<String, Vec<u8>> = whole.changed_nodes().into_iter().collect();
    let names = ["acme/http"];
    let mut map = StateMap::over(whole.root_tile().clone());
    for _ in 0..2 {
        let node = map.missing(names).into_iter().next().unwrap();
        assert_eq!(map.get("acme/http"), Err(StateError::NotLoaded(node)));
        assert_eq!(map.set("acme/http", entry(8)), Err(StateError::NotLoaded(node)));
        let bytes = &store[&node.key()];
        for position in (0..bytes.len()).step_by(61) {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(map.load(node, &changed).is_err(), "byte {position}");
        }
        assert!(map.load(node, &bytes[1..]).is_err());
        map.load(node, bytes).unwrap();
        assert_eq!(map.load(node, bytes), Err(StateError::NotMissing(node)));
    }
    assert_eq!(map.get("acme/http"), Ok(Some(&entry(7))));
    assert_eq!(map.missing(names).len(), 0);
    let (slot, _) = split_index(shard_of("acme/http"));
    let foreign = StateNode::Mid { slot: slot ^ 1, root: map.root() };
    assert_eq!(map.load(foreign, &[]), Err(StateError::NotMissing(foreign)));
    assert!(map.shard(shard_of("acme/http")).is_some() && map.mid(slot).is_some());
}

#[test]
fn a_shard_is_proved_by_sixteen_hashes() {
    let mut map = StateMap::new();
    (0..300).for_each(|number| map.set(&name(number), entry(number)).unwrap());
    let root = map.root();
    for shard in (0..300).map(|number| shard_of(&name(number))).take(60).chain([0, 1, 255, 256, u16::MAX]) {
        let leaf = map.shard(shard).map_or(leaf_hash(b""), Shard::leaf_hash);
        let proof = map.prove(shard).unwrap();
        assert_eq!(proof.verify(shard, &leaf, &root), Ok(()));
        assert_eq!(verify_inclusion(&leaf, u64::from(shard), 65_536, proof.hashes(), &root), Ok(()));
        assert_eq!(StateProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));

        let refused = Err(ProofError::RootMismatch { size: SHARDS });
        if !Shard::is_empty_leaf(&leaf) {
            assert_eq!(proof.verify(shard ^ 1, &leaf, &root), refused);
        }
        assert_eq!(proof.verify(shard, &flipped(leaf, 3), &root), refused);
        assert_eq!(proof.verify(shard, &leaf, &flipped(root, 3)), refused);
        for position in 0..STATE_PROOF_BYTES {
            let mut bytes = proof.to_bytes();
            bytes[position] ^= 1 << (position % 8);
            assert_eq!(StateProof::from_bytes(&bytes).unwrap().verify(shard, &leaf, &root), refused);
        }
    }
    let wrong_length = StateError::Length { expected: 512, given: 511 };
    assert_eq!(StateProof::from_bytes(&[0; 511]), Err(wrong_length));
    let sparse = StateMap::over(map.root_tile().clone());
    assert!(matches!(sparse.prove(shard_of(&name(0))), Err(StateError::NotLoaded(_))));
}

#[test]
fn tiles_are_their_hashes() {
    let mut random = Random::new(23);
    let mut tile = MidTile::empty();
    let mut slots = vec![leaf_hash(b""); 256];
    for _ in 0..40 {
        let (slot, hash) = (random.below(256) as u8, Hash::digest(&random.below(9).to_be_bytes()));
        tile.set(slot, hash);
        slots[usize::from(slot)] = hash;
        assert_eq!(tile.get(slot), hash);
        assert_eq!(tile.root(), Naive::new(slots.clone()).mth(0, 256));
    }
    let bytes = tile.to_bytes();
    assert_eq!(bytes, slots.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<_>>());
    assert_eq!(MidTile::open(&tile.root(), &bytes).as_ref(), Ok(&tile));
    let json = serde_json::to_string(&tile).unwrap();
    assert_eq!(serde_json::from_str::<MidTile>(&json).unwrap(), tile);
    assert!(serde_json::from_str::<MidTile>("\"AAAA\"").is_err());
    for length in [0, 32, STATE_TILE_BYTES - 1, STATE_TILE_BYTES + 1, STATE_TILE_BYTES + 32] {
        let refused = StateError::Length { expected: STATE_TILE_BYTES, given: length };
        assert_eq!(RootTile::from_bytes(&vec![0; length]), Err(refused));
    }
    for position in (0..STATE_TILE_BYTES).step_by(97) {
        let mut changed = bytes.clone();
        changed[position] ^= 1;
        let refused = StateError::WrongHash { expected: tile.root() };
        assert_eq!(MidTile::open(&tile.root(), &changed), Err(refused));
    }
}

#[test]
fn a_shard_has_sorted_lines() {
    let [first, second, third] = names_of_shard(258, 3).try_into().unwrap();
    let mut shard = Shard::empty(258);
    for (name, seq) in [(&third, 3), (&first, 1), (&second, 2), (&first, 4)] {
        shard.set(name, ShardEntry { seq, files: [('r', file(9)), ('i', file(8))].into() }).unwrap();
    }
    let mut names = [&first, &second, &third];
    names.sort();
    let line = |name: &String, seq| format!("{name} {seq} i:{}:8 r:{}:9\n", file(8).digest, file(9).digest);
    let seq =
        |name: &String| [(&first, 4), (&second, 2), (&third, 3)].iter().find(|(n, _)| *n == name).unwrap().1;
    let text: String = names.iter().map(|name| line(name, seq(name))).collect();
    assert_eq!(String::from_utf8(shard.to_bytes()).unwrap(), text);
    assert_eq!(Shard::parse(258, text.as_bytes()), Ok(shard.clone()));
    assert_eq!(Shard::open(258, &shard.leaf_hash(), text.as_bytes()), Ok(shard.clone()));
    let refused = ShardError::WrongHash { expected: leaf_hash(b"") };
    assert_eq!(Shard::open(258, &leaf_hash(b""), text.as_bytes()), Err(refused));
    assert_eq!(shard.get(&first).map(|entry| entry.seq), Some(4));
    assert_eq!(shard.get("other"), None);
    assert_eq!((shard.index(), shard.entries().count()), (258, 3));
}

#[test]
fn shards_are_parsed_strictly() {
    let [one, two] = names_of_shard(258, 2).try_into().unwrap();
    let (one, two) = if one < two { (one, two) } else { (two, one) };
    let digest = file(1).digest;
    let files = format!("i:{digest}:1");
    assert!(Shard::parse(258, format!("{one} 0 {files}\n{two} 0 {files}\n").as_bytes()).is_ok());
    let bad_line = |line| ShardError::BadLine { line };
    for (text, refused) in [
        (format!("{one} 0 {files}"), bad_line(1)),
        (format!("{one} 0 {files}\n\n"), bad_line(2)),
        (format!("{two} 0 {files}\n{one} 0 {files}\n"), bad_line(2)),
        (format!("{one} 0 {files}\n{one} 0 {files}\n"), bad_line(2)),
        (format!("{one} 00 {files}\n"), bad_line(1)),
        (format!("{one} +1 {files}\n"), bad_line(1)),
        (format!("{one} {files}\n"), bad_line(1)),
        (format!("{one}\n"), bad_line(1)),
        (format!("{one} 0  {files}\n"), bad_line(1)),
        (format!("{one} 0 {files} \n"), bad_line(1)),
        (format!("{one} 0 {files}\r\n"), bad_line(1)),
        (format!("{one} 0 i:{digest}:01\n"), bad_line(1)),
        (format!("{one} 0 i:{digest}:\n"), bad_line(1)),
        (format!("{one} 0 i:{digest}\n"), bad_line(1)),
        (format!("{one} 0 i:{digest}:1:1\n"), bad_line(1)),
        (format!("{one} 0 i:{}:1\n", digest.to_hex().to_uppercase()), bad_line(1)),
        (format!("{one} 0 i:{}:1\n", &digest.to_hex()[1..]), bad_line(1)),
        (format!("{one} 0 ii:{digest}:1\n"), bad_line(1)),
        (format!("{one} 0 :{digest}:1\n"), bad_line(1)),
        (format!("{one} 0 {files} {files}\n"), bad_line(1)),
        (format!("{one} 0 i:{digest}:1 d:{digest}:1\n"), bad_line(1)),
        (format!("{one} 0 I:{digest}:1\n"), ShardError::BadFiles { name: one.clone() }),
        (format!("{one} 0 1:{digest}:1\n"), ShardError::BadFiles { name: one.clone() }),
        (format!("{one} 0\n"), ShardError::BadFiles { name: one.clone() }),
        (format!(" 0 {files}\n"), ShardError::BadName { name: String::new() }),
        (format!("{} 0 {files}\n", one.to_uppercase()), ShardError::BadName { name: one.to_uppercase() }),
        (format!("a\tb 0 {files}\n"), ShardError::BadName { name: "a\tb".to_owned() }),
        (format!("é 0 {files}\n"), ShardError::BadName { name: "é".to_owned() }),
    ] {
        assert_eq!(Shard::parse(258, text.as_bytes()), Err(refused), "{text:?}");
    }
    let elsewhere = ShardError::WrongShard { name: one.clone(), index: 259, belongs: 258 };
    assert_eq!(Shard::parse(259, format!("{one} 0 {files}\n").as_bytes()), Err(elsewhere.clone()));
    assert_eq!(Shard::empty(259).set(&one, entry(1)), Err(elsewhere));
    assert_eq!(Shard::parse(258, b"\xff\n"), Err(bad_line(1)));
    let long = vec![b'a'; SHARD_READ_BYTES_MAX + 1];
    assert_eq!(Shard::parse(258, &long), Err(ShardError::TooLong { bytes: long.len() }));
    assert_eq!(Shard::parse(258, &long[1..]), Err(ShardError::BadLine { line: 1 }));
    let no_files = ShardEntry { seq: 1, files: BTreeMap::new() };
    assert_eq!(Shard::empty(258).set(&one, no_files), Err(ShardError::BadFiles { name: one }));
    let longest_name = "n".repeat(255);
    assert_eq!(Shard::empty(shard_of(&longest_name)).set(&longest_name, entry(1)), Ok(()));
    let long_name = "n".repeat(256);
    assert_eq!(
        Shard::empty(shard_of(&long_name)).set(&long_name, entry(1)),
        Err(ShardError::BadName { name: long_name })
    );
}

#[test]
fn sizes_are_those_that_the_formats_promise() {
    assert_eq!((SHARD_BYTES_MAX, SHARD_READ_BYTES_MAX, STATE_TILE_BYTES), (1_048_576, 4_194_304, 8_192));
}

#[test]
fn a_refused_entry_changes_nothing() {
    let mut map = StateMap::new();
    let no_files = ShardEntry { seq: 1, files: BTreeMap::new() };
    assert_eq!(
        map.set("acme/http", no_files),
        Err(StateError::Shard(ShardError::BadFiles { name: "acme/http".to_owned() }))
    );
    assert_eq!((map.root(), map.shards().count(), map.changed_nodes().len()), (RootTile::empty_root(), 0, 0));
}

#[test]
fn keys_name_nodes_by_hash() {
    let hash = leaf_hash(b"");
    assert_eq!(root_tile_key(&hash), format!("log/state/tile/1/{hash}"));
    assert_eq!(mid_tile_key(&hash), format!("log/state/tile/0/{hash}"));
    assert_eq!(shard_key(&hash), format!("log/state/shard/{hash}"));
    assert_eq!(StateNode::Mid { slot: 1, root: hash }.key(), mid_tile_key(&hash));
    assert_eq!(StateNode::Shard { index: 1, leaf: hash }.key(), shard_key(&hash));
    // SHA-256("abc") begins with ba 78.
    assert_eq!(shard_of("abc"), 0xba78);
    assert_eq!(split_index(0xba78), (0xba, 0x78));
}

proptest! {
    #[test]
    fn a_shard_survives_its_bytes(
        entries in prop::collection::btree_map(
            "[a-z0-9~][a-z0-9/~-]{0,20}",
            (any::<u64>(), prop::collection::btree_map(prop::char::range('a', 'z'), (any::<[u8; 32]>(), any::<u64>()), 1..5)),
            1..4,
        )
    ) {
        for (name, (seq, files)) in entries {
            let files = files.into_iter().map(|(class, (digest, len))| (class, FileRef { digest: Hash::new(digest), len }));
            let entry = ShardEntry { seq, files: files.collect() };
            let index = shard_of(&name);
            let mut shard = Shard::empty(index);
            shard.set(&name, entry.clone()).unwrap();
            let bytes = shard.to_bytes();
            let read = Shard::parse(index, &bytes).unwrap();
            prop_assert_eq!(read.get(&name), Some(&entry));
            prop_assert_eq!(read.to_bytes(), bytes.clone());
            // A change of any one byte gives another shard, or none.
            for position in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[position] ^= 1;
                prop_assert!(Shard::parse(index, &changed).map_or(true, |other| other != shard));
            }
        }
    }
}
