//! Everything that is there but that the current state does not name: history, old states, copies, and strays.

use drystone_log::{
    BundleId, EntryBundle, Hash, MidTile, RootTile, TileId, leaf_hash,
    state_map::{SHARD_READ_BYTES_MAX, STATE_TILE_BYTES},
    tile::parse_tile,
};
use drystone_schemas::{ResolveHint, Sha256Digest, file_seq};

use super::{Check, FsckProblem, ProblemKind, log::Log, state::ahead, unreadable};
use crate::{published::BUNDLE_BYTES_MAX, rebuild::BY_NAME_BYTES_MAX};

impl Check<'_> {
    /// Lists every public file, where that is possible, and checks those that nothing else has looked at.
    pub(super) async fn sweep(&mut self, log: &Log) {
        let mut after: Option<String> = None;
        loop {
            let page = match self.source.list(after.as_deref()).await {
                Ok(Some(page)) => page,
                Ok(None) => return,
                Err(error) => {
                    return self.problem(
                        "",
                        ProblemKind::Unreadable,
                        format!("files cannot be listed: {error}"),
                    );
                }
            };
            let keys: Vec<_> =
                page.keys.iter().map(ToString::to_string).filter(|key| !self.seen.contains(key)).collect();
            self.progress.total(keys.len() as u64);
            for key in keys {
                let problem = self.other(log, &key).await;
                self.take(problem);
                self.progress.step(&key);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return,
            }
        }
    }

    pub(super) async fn other(&mut self, log: &Log, key: &str) -> Option<FsckProblem> {
        if let Some(hex) = key.strip_prefix("o/") {
            self.counts.objects += 1;
            return self.object(key, hex).await;
        }
        if let Some(path) = key.strip_prefix("log/") {
            if let Some(size) = path.strip_prefix("checkpoints/") {
                return match size.parse::<u64>() {
                    // A size that is signed but not published yet.
                    Ok(size) if size > log.size() => None,
                    Ok(size) => self.history(log, size).await,
                    Err(_) => Some(stray(key)),
                };
            }
            if let Some(node) = path.strip_prefix("state/") {
                self.counts.state_nodes += 1;
                return self.old_node(key, node).await;
            }
            if path.starts_with("tile/") {
                self.counts.log_files += 1;
                return self.old_tile(log, key, path).await;
            }
            return None;
        }
        let by_name = ["index/", "resolve/", "packages/", "keys/", "aliases/"];
        if by_name.iter().any(|folder| key.starts_with(folder)) {
            self.counts.by_name += 1;
            return match key.strip_suffix(".hint").filter(|_| key.starts_with("resolve/")) {
                Some(record) => self.hint(log, key, record).await,
                None => self.by_name_stray(log, key).await,
            };
        }
        // Other folders belong to projections that follow the log at their own pace.
        None
    }

    async fn object(&self, key: &str, hex: &str) -> Option<FsckProblem> {
        let Ok(name) = Sha256Digest::from_hex(hex) else { return Some(stray(key)) };
        match self.source.digest(key, u64::MAX).await {
            Ok(Some((digest, _))) if digest != name => {
                Some(damaged(key, "its bytes do not hash to its name"))
            }
            Ok(_) => None,
            Err(error) => Some(unreadable(key, &error)),
        }
    }

    /// Nodes of earlier states, or of one that is not published: named by their hash.
    async fn old_node(&self, key: &str, path: &str) -> Option<FsckProblem> {
        let Some((kind, hash)) =
            path.rsplit_once('/').and_then(|(kind, hex)| Some((kind, Hash::from_hex(hex).ok()?)))
        else {
            return Some(stray(key));
        };
        let len_max = if kind == "shard" { SHARD_READ_BYTES_MAX } else { STATE_TILE_BYTES };
        let bytes = match self.source.get(key, len_max as u64).await {
            Ok(bytes) => bytes?,
            Err(error) => return Some(unreadable(key, &error)),
        };
        let right = match kind {
            "shard" => leaf_hash(&bytes) == hash,
            "tile/0" => MidTile::open(&hash, &bytes).is_ok(),
            "tile/1" => RootTile::open(&hash, &bytes).is_ok(),
            _ => return Some(stray(key)),
        };
        if right { None } else { Some(damaged(key, "its bytes do not hash to its name")) }
    }

    /// Partial tiles and bundles of earlier sizes: the beginning of what is there now.
    async fn old_tile(&self, log: &Log, key: &str, path: &str) -> Option<FsckProblem> {
        let bundle = BundleId::parse(path).ok();
        let Some(id) = bundle.map(|id| id.tile()).or_else(|| TileId::parse(path).ok()) else {
            return Some(stray(key));
        };
        let covered = (id.index() * 256 + u64::from(id.width())).checked_shl(8 * u32::from(id.level()));
        if covered.is_none_or(|leaves| leaves > log.size()) {
            // Of a commit that is not published yet: nothing signed tells what it must be.
            return None;
        }
        let Some(now) = current(log, id) else {
            return Some(problem(key, ProblemKind::Unchecked, "the tiles above it do not lead to the root"));
        };
        let bytes = match self.source.get(key, BUNDLE_BYTES_MAX).await {
            Ok(bytes) => bytes?,
            Err(error) => return Some(unreadable(key, &error)),
        };
        let hashes = match bundle {
            Some(bundle) => EntryBundle::decode(bundle, &bytes).ok().map(|bundle| bundle.leaf_hashes()),
            None => parse_tile(id, &bytes).ok(),
        };
        let right = hashes.is_some_and(|hashes| now.starts_with(&hashes));
        if right { None } else { Some(damaged(key, "it does not lead to the root in the checkpoint")) }
    }

    /// A hint is advice, and as old as the release that wrote it: only its form and its place can be wrong.
    async fn hint(&self, log: &Log, key: &str, record: &str) -> Option<FsckProblem> {
        let bytes = match self.source.get(key, BY_NAME_BYTES_MAX).await {
            Ok(bytes) => bytes?,
            Err(error) => return Some(unreadable(key, &error)),
        };
        match ResolveHint::parse(&bytes) {
            Err(error) => Some(damaged(key, &error.to_string())),
            Ok(_) if self.seen.contains(record) => None,
            // A package that is not published yet has its hint before its record is named.
            Ok(hint) if hint.seq >= log.size() => self.unless_under_way(Some(ahead(key, hint.seq))).await,
            Ok(_) => Some(stray(key)),
        }
    }

    /// A by-name file that the state does not name: of a commit under way, or of nothing.
    async fn by_name_stray(&self, log: &Log, key: &str) -> Option<FsckProblem> {
        let bytes = match self.source.get(key, BY_NAME_BYTES_MAX).await {
            Ok(bytes) => bytes?,
            Err(error) => return Some(unreadable(key, &error)),
        };
        match file_seq(key, &bytes) {
            Some(seq) if seq >= log.size() => self.unless_under_way(Some(ahead(key, seq))).await,
            _ => Some(stray(key)),
        }
    }
}

/// The hashes of the tile that stands now where a narrower one once stood.
fn current(log: &Log, id: TileId) -> Option<&[Hash]> {
    let count = (log.size() >> (8 * u32::from(id.level()))) - id.index() * 256;
    let width = count.min(256) as u16;
    log.tiles.as_ref()?.tile(TileId::new(id.level(), id.index(), width).ok()?)
}

fn problem(key: &str, kind: ProblemKind, detail: &str) -> FsckProblem {
    FsckProblem { key: key.to_owned(), kind, detail: detail.to_owned() }
}

fn damaged(key: &str, detail: &str) -> FsckProblem {
    problem(key, ProblemKind::Damaged, detail)
}

fn stray(key: &str) -> FsckProblem {
    problem(key, ProblemKind::Stray, "nothing in the log leads to it")
}
