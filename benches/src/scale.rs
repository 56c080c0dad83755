//! What a registry grows to and what it costs, computed from what is counted here and from published prices.
//!
//! Owns the arithmetic, the assumptions about who reads how much, and the prices with their dates. Counted are: calls of one
//! publish, and bytes of entries, records and index lines of a synthetic registry.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use drystone_log::{FileRef, Hash, Shard, ShardEntry, state_map::STATE_TILE_BYTES};
use drystone_tests::synthetic::{self, Plan};
use serde::Serialize;

use crate::{
    calls,
    report::{Report, rounded},
};

/// Releases of a package on average.
const RELEASES_MEAN: u64 = 10;
/// Shards of the state map.
const SHARDS: u64 = 65_536;
/// Tiles above the shards, with the root tile.
const STATE_TILES: u64 = 257;
/// Bytes of an archive on average: an assumption.
const ARCHIVE_BYTES: u64 = 150_000;
/// Months over which the releases have come, evenly: an assumption.
const AGE_MONTHS: u64 = 60;
/// Packages of a project: those of the web project that the tests resolve.
const PROJECT_PACKAGES: u64 = 269;
/// Bytes of a project's cold resolve by hints and records, at most: asserted in `tests/tests/resolver/over_http.rs`.
const RESOLVE_BYTES: u64 = 300_000;
/// Requests for each package of a project that starts with nothing (record, node of the state map, archive) and requests of
/// one that has nearly everything: assumptions.
const REQUESTS_COLD: u64 = 3 * PROJECT_PACKAGES;
const REQUESTS_WARM: u64 = 10;
/// Of so many clients one starts with nothing: an assumption.
const COLD_ONE_OF: u64 = 10;

/// Dollars, as published.
struct Prices {
    name: &'static str,
    put_1000: f64,
    get_1000: f64,
    gb_month: f64,
    /// What the edge takes for a GB, and for 10,000 requests.
    edge_gb: f64,
    edge_requests_10000: f64,
}

/// Amazon S3 Standard and CloudFront, us-east-1 and North America, first tiers, free tiers left aside: their price pages as
/// quoted in March 2026. Cloudflare R2 behind Cloudflare's edge: its documentation as of June 2026; reads that the edge
/// answers cost nothing there.
const PRICES: [Prices; 2] = [
    Prices {
        name: "S3 and CloudFront",
        put_1000: 0.005,
        get_1000: 0.0004,
        gb_month: 0.023,
        edge_gb: 0.085,
        edge_requests_10000: 0.01,
    },
    Prices {
        name: "R2",
        put_1000: 0.0045,
        get_1000: 0.000_36,
        gb_month: 0.015,
        edge_gb: 0.0,
        edge_requests_10000: 0.0,
    },
];

const GROWTH: [&str; 8] = [
    "packages",
    "releases",
    "entries_gb",
    "tiles_gb",
    "shard_bytes",
    "state_gb",
    "index_and_records_gb",
    "hashes_of_a_proof",
];
const COSTS: [&str; 8] = [
    "packages",
    "clients_a_day",
    "prices",
    "publishes_a_month",
    "usd_publishing",
    "usd_storage",
    "usd_edge",
    "usd_a_month",
];

/// Bytes that are counted.
struct Bytes {
    entry: f64,
    record: f64,
    index_line: f64,
}

#[derive(Serialize)]
struct Growth {
    packages: u64,
    releases: u64,
    entries_gb: f64,
    tiles_gb: f64,
    shard_bytes: usize,
    state_gb: f64,
    index_and_records_gb: f64,
    hashes_of_a_proof: u32,
}

#[derive(Serialize)]
struct Cost {
    packages: u64,
    clients_a_day: u64,
    prices: &'static str,
    publishes_a_month: u64,
    usd_publishing: f64,
    usd_storage: f64,
    usd_edge: f64,
    usd_a_month: f64,
}

/// Prints both tables.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let publish = calls::measure()?;
    let publish = publish.get(1).context("a publish by a process that has just made one")?;
    let bytes = count()?;
    let growth: Vec<Growth> = [100, 10_000, 100_000, 1_000_000, 10_000_000]
        .into_iter()
        .map(|packages| grown(packages, &bytes))
        .collect::<anyhow::Result<_>>()?;
    growth.iter().try_for_each(|row| report.measured("scale", row))?;
    report.table("What a registry grows to (computed)", &GROWTH, &growth)?;
    let sizes = [(100, 100), (10_000, 10_000), (1_000_000, 1_000_000)];
    let mut costs = Vec::new();
    for ((packages, clients), prices) in
        sizes.into_iter().flat_map(|size| PRICES.iter().map(move |p| (size, p)))
    {
        costs.push(cost(packages, clients, prices, (publish.puts, publish.gets), &bytes)?);
    }
    costs.iter().try_for_each(|row| report.measured("scale", row))?;
    report.table("What a registry costs (computed, dollars a month)", &COSTS, &costs)
}

fn count() -> anyhow::Result<Bytes> {
    let all = AtomicU64::new(0);
    let plan = Plan { packages: 300, releases_mean: RELEASES_MEAN as f64, seed: 1 };
    let made = synthetic::write(plan, &|_, bytes| {
        all.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    })?;
    let each = |bytes: u64, of: u64| bytes as f64 / of as f64;
    Ok(Bytes {
        entry: each(made.entry_bytes, made.events),
        record: each(made.record_bytes, made.releases),
        index_line: each(made.index_bytes, made.releases),
    })
}

/// Bytes of a shard that has its share of the packages.
fn shard_bytes(packages: u64, releases: u64) -> anyhow::Result<usize> {
    // Names of ordinary length that fall into one shard are rare: the form of a line is that of any name.
    let mut names = (0_u64..).map(|at| format!("package-{at:06}"));
    let name = names.find(|name| drystone_log::shard_of(name) == 5).context("some name falls into it")?;
    let file = FileRef { digest: Hash::digest(b""), len: 20_000 };
    let mut shard = Shard::empty(5);
    let files = [('d', file), ('i', file), ('r', file)].into();
    shard.set(&name, ShardEntry { seq: releases, files })?;
    Ok(shard.to_bytes().len() * usize::try_from(packages.div_ceil(SHARDS))?)
}

fn gb(bytes: f64) -> f64 {
    rounded(bytes / 1e9)
}

fn grown(packages: u64, bytes: &Bytes) -> anyhow::Result<Growth> {
    let releases = packages * RELEASES_MEAN;
    let shard_bytes = shard_bytes(packages, releases)?;
    let state = shard_bytes as u64 * SHARDS.min(packages) + STATE_TILES * STATE_TILE_BYTES as u64;
    // By name and by hash; records once.
    let files = releases as f64 * (2.0 * bytes.index_line + bytes.record);
    Ok(Growth {
        packages,
        releases,
        entries_gb: gb(releases as f64 * (bytes.entry + 2.0)),
        tiles_gb: gb(releases as f64 * 32.0 * 256.0 / 255.0),
        shard_bytes,
        state_gb: gb(state as f64),
        index_and_records_gb: gb(files),
        hashes_of_a_proof: u64::BITS - (releases - 1).leading_zeros(),
    })
}

fn cost(
    packages: u64,
    clients_a_day: u64,
    prices: &Prices,
    (puts, gets): (u64, u64),
    bytes: &Bytes,
) -> anyhow::Result<Cost> {
    let growth = grown(packages, bytes)?;
    let publishes = growth.releases.div_ceil(AGE_MONTHS);
    let usd_publishing =
        publishes as f64 * (puts as f64 * prices.put_1000 + gets as f64 * prices.get_1000) / 1000.0;
    let stored_gb = growth.entries_gb
        + growth.tiles_gb
        + growth.state_gb
        + growth.index_and_records_gb
        + growth.releases as f64 * ARCHIVE_BYTES as f64 / 1e9;
    let usd_storage = stored_gb * prices.gb_month;
    let clients = clients_a_day as f64 * 30.0;
    let cold = clients / COLD_ONE_OF as f64;
    let requests = cold * REQUESTS_COLD as f64 + (clients - cold) * REQUESTS_WARM as f64;
    let bytes_out = cold * (RESOLVE_BYTES + PROJECT_PACKAGES * ARCHIVE_BYTES) as f64;
    let usd_edge = requests / 10_000.0 * prices.edge_requests_10000 + bytes_out / 1e9 * prices.edge_gb;
    Ok(Cost {
        packages,
        clients_a_day,
        prices: prices.name,
        publishes_a_month: publishes,
        usd_publishing: rounded(usd_publishing),
        usd_storage: rounded(usd_storage),
        usd_edge: rounded(usd_edge),
        usd_a_month: rounded(usd_publishing + usd_storage + usd_edge),
    })
}
