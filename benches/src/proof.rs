//! What proving one package of a million costs a client that knows nothing, in bytes. The same on every machine.
//!
//! The state map is synthetic: names of the lengths that crates have, each with the files that a package has here.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::Context as _;
use drystone_log::{
    Checkpoint, Cosigner, FileRef, Hash, MidTile, NoteSigner, RootTile, Shard, ShardEntry, TlogProof,
    shard_of, state_map::split_index,
};
use drystone_schemas::{
    AccountId, Event, EventBody, EventId, FileChange, FileClass, PackageName, Sha256Digest, Version,
};
use serde::Serialize;

use crate::report::Report;

const COLUMNS: [&str; 6] = ["package", "proof_file", "root_tile", "mid_tile", "shard", "bytes"];
const PACKAGES: u64 = 1_000_000;
/// Events of a log with so many packages: some five releases each.
const EVENTS: u64 = 5_000_000;
const ORIGIN: &str = "registry.example/log/1";

/// One measurement, in bytes.
#[derive(Debug, Serialize)]
struct Measured {
    package: &'static str,
    proof_file: usize,
    root_tile: usize,
    mid_tile: usize,
    shard: usize,
    bytes: usize,
}

/// Sums up what has to be fetched: the proof file, the root tile, one mid tile, one shard.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let map = Map::make()?;
    let mut sizes: Vec<(usize, u16)> =
        map.shards.iter().map(|(index, bytes)| (bytes.len(), *index)).collect();
    sizes.sort_unstable();
    let mean = sizes.iter().map(|(len, _)| len).sum::<usize>() / sizes.len();
    let (_, median) = sizes[sizes.len() / 2];
    let (_, largest) = *sizes.last().context("a million names fill the map")?;
    report_mean(mean);
    let rows = [
        map.measure("in the median shard", median, &Vec::clone)?,
        map.measure("in the largest shard", largest, &Vec::clone)?,
        map.measure("in the median shard, gzip", median, &|bytes| gzip(bytes))?,
        map.measure("in the largest shard, gzip", largest, &|bytes| gzip(bytes))?,
    ];
    rows.iter().try_for_each(|row| report.measured("proof", row))?;
    report.table("Bytes of a cold proof for one package of 1,000,000", &COLUMNS, &rows)
}

fn report_mean(mean: usize) {
    crate::report::say(&format!("a shard has {mean} bytes on average"));
}

/// A state with all its nodes.
struct Map {
    shards: BTreeMap<u16, Vec<u8>>,
    mids: BTreeMap<u8, MidTile>,
    root: RootTile,
}

impl Map {
    fn make() -> anyhow::Result<Self> {
        let mut shards: BTreeMap<u16, Shard> = BTreeMap::new();
        for number in 0..PACKAGES {
            let name = name(number);
            let index = shard_of(&name);
            let shard = shards.entry(index).or_insert_with(|| Shard::empty(index));
            shard.set(&name, entry(number))?;
        }
        let (mut mids, mut root) = (BTreeMap::<u8, MidTile>::new(), RootTile::empty());
        for (index, shard) in &shards {
            let (mid, slot) = split_index(*index);
            mids.entry(mid).or_insert_with(MidTile::empty).set(slot, shard.leaf_hash());
        }
        mids.iter().for_each(|(slot, mid)| root.set(*slot, mid.root()));
        let shards = shards.into_iter().map(|(index, shard)| (index, shard.to_bytes())).collect();
        Ok(Self { shards, mids, root })
    }

    fn measure(
        &self,
        package: &'static str,
        shard: u16,
        sent: &dyn Fn(&Vec<u8>) -> Vec<u8>,
    ) -> anyhow::Result<Measured> {
        let (mid, _) = split_index(shard);
        let len = |bytes: Vec<u8>| sent(&bytes).len();
        // Tiles are random bytes: compressing them makes them longer, so that servers send them as they are.
        let (root_tile, mid_tile) = (self.root.to_bytes().len(), self.mids[&mid].to_bytes().len());
        let (proof_file, shard) = (len(self.proof_file()?), len(self.shards[&shard].clone()));
        let bytes = proof_file + root_tile + mid_tile + shard;
        Ok(Measured { package, proof_file, root_tile, mid_tile, shard, bytes })
    }

    /// The newest event's proof, with the log's signature and two cosignatures.
    fn proof_file(&self) -> anyhow::Result<Vec<u8>> {
        let name = name(EVENTS);
        let event = Event {
            v: 1,
            seq: EVENTS - 1,
            id: EventId::new("01JD3K6Q0Z0000000000000000")?,
            time: 1_760_000_000,
            actor: AccountId::new("acct:01JD3K6Q0Z0000000000000000")?,
            state: Sha256Digest::from_bytes(self.root.root().into()),
            files: [FileClass::Index, FileClass::Document, FileClass::Resolve]
                .map(|class| FileChange(class, name.clone(), Sha256Digest::of(b"file"), 12_345))
                .into(),
            body: EventBody::Publish {
                pkg: PackageName::new(&name)?,
                vers: Version::new("1.23.4")?,
                tarball: Sha256Digest::of(b"tarball"),
                record: Sha256Digest::of(b"record"),
                sigs: Default::default(),
            },
        };
        let hash = |number: u64| Hash::digest(&number.to_be_bytes());
        let signer = NoteSigner::from_seed(ORIGIN, &[1; 32])?;
        let mut signed = Checkpoint::new(ORIGIN, EVENTS, hash(0))?.sign(&signer);
        for (number, cosigner) in ["registry.example/freshness", "witness.example/w1"].into_iter().enumerate()
        {
            let cosigner = Cosigner::from_seed(cosigner, &[2 + number as u8; 32])?;
            let line = cosigner.sign(signed.note().text(), 1_760_000_000);
            signed.note_mut().add(line)?;
        }
        let hashes = (0..EVENTS.ilog2() as u64 + 1).map(hash).collect();
        let proof = TlogProof {
            extra: Some(event.to_line()?),
            index: EVENTS - 1,
            hashes,
            checkpoint: signed.to_bytes(),
        };
        Ok(proof.encode())
    }
}

/// A name of twelve characters on average.
fn name(number: u64) -> String {
    let digest = Hash::digest(&number.to_be_bytes()).to_hex();
    let length = 6 + (number % 13) as usize;
    format!("a{}", &digest[..length - 1])
}

/// The files that a package has in the state.
fn entry(number: u64) -> ShardEntry {
    let file = |salt: u64| FileRef {
        digest: Hash::digest(&[number.to_be_bytes(), salt.to_be_bytes()].concat()),
        len: 500 + number % 9_000,
    };
    ShardEntry { seq: number * 5, files: [('d', file(1)), ('i', file(2)), ('r', file(3))].into() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}
