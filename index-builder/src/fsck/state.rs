//! The current state: nodes of the state map, by-name files and their copies, and the configuration files.

use std::collections::BTreeMap;

use drystone_log::{
    FileRef, Hash, MidTile, RootTile, Shard, ShardEntry, StateMap,
    commit::Head,
    state_map::{SHARD_READ_BYTES_MAX, STATE_TILE_BYTES, StateError, mid_tile_key, root_tile_key, shard_key},
};
use drystone_schemas::{FileClass, PackageDocument, PackageName, Sha256Digest, file_seq, layout};
use drystone_storage::Key;
use futures_util::StreamExt;

use super::{Check, FsckProblem, ProblemKind, compare, events::Events, log::Log, unreadable};
use crate::{
    concurrent::in_order,
    objects::fetch,
    project::PackageState,
    rebuild::{BY_NAME_BYTES_MAX, HEAD_BYTES_MAX},
    source::Source,
};

/// Nodes of the state map that are looked at together.
const NODES_AT_ONCE: usize = 1024;

/// A state-mapped file: its by-name key, if its package's spelling is known, and what it must be.
pub(crate) struct Mapped {
    key: Option<String>,
    state_key: String,
    digest: Sha256Digest,
    len: u64,
    /// Whether it is kept by its hash too.
    copied: bool,
}

/// What was found of a state-mapped file.
pub(crate) struct CheckedFile {
    key: Option<String>,
    /// Its copy by its hash, and what is wrong with that.
    pub(crate) copy: Option<(String, Option<FsckProblem>)>,
    /// What is wrong with the file by its name.
    pub(crate) by_name: Option<Found>,
}

impl Mapped {
    /// The files of an entry of the state map.
    pub(crate) fn of(
        state_key: &str,
        entry: &ShardEntry,
        spelling: Option<&PackageName>,
    ) -> impl Iterator<Item = Self> {
        entry.files.iter().map(move |(class, FileRef { digest, len })| {
            let class = FileClass::of_letter(*class);
            let of_package = |class| spelling.and_then(|name| layout::package_file(name, class));
            let key =
                class.and_then(|class| of_package(class).or_else(|| layout::alias_file(state_key, class)));
            let digest = Sha256Digest::from_bytes(*digest.as_bytes());
            let copied = class.is_none_or(FileClass::is_kept_by_hash);
            Self { key, state_key: state_key.to_owned(), digest, len: *len, copied }
        })
    }

    /// A file outside the state map.
    pub(crate) fn plain(key: String, bytes: &[u8]) -> Self {
        let (digest, len) = (Sha256Digest::of(bytes), bytes.len() as u64);
        Self { key: Some(key), state_key: String::new(), digest, len, copied: false }
    }

    /// Looks at the file, by name and by hash, where the log has this size.
    pub(crate) async fn check(self, source: &dyn Source, size: u64) -> CheckedFile {
        let copy = match self.copied {
            true => Some(copy_of(source, &self).await),
            false => None,
        };
        let by_name = by_name(source, &self, size).await;
        CheckedFile { key: self.key, copy, by_name }
    }
}

/// How a package is spelt, which decides where its files lie: by the replay, else by the copy of its document.
pub(crate) async fn spelling(
    source: &dyn Source,
    package: Option<&PackageState>,
    entry: &ShardEntry,
) -> Option<PackageName> {
    if let Some(package) = package {
        return Some(package.document.name.clone());
    }
    let document = entry.files.get(&'d')?;
    let digest = Sha256Digest::from_bytes(*document.digest.as_bytes());
    let bytes = fetch(source, &digest, document.len).await.ok()?;
    serde_json::from_slice::<PackageDocument>(&bytes).ok().map(|document| document.name)
}

impl Check<'_> {
    /// Nodes and state-mapped files, by the replayed state or else by the newest event's.
    pub(super) async fn state(&mut self, log: &Log, events: &Events) {
        let entries = if events.complete {
            self.nodes(events.replica.state()).await;
            let shards = events.replica.state().shards();
            let entries = shards
                .flat_map(|shard| shard.entries().map(|(name, entry)| (name.to_owned(), entry.clone())));
            entries.collect()
        } else if let Some(state) = events.state {
            self.walk(Hash::new(*state.as_bytes())).await
        } else {
            self.problem(
                "log/state",
                ProblemKind::Unchecked,
                "the newest event, which names its root, is not known",
            );
            return;
        };

        let mut files = Vec::new();
        for (state_key, entry) in &entries {
            let package = events.replica.packages().get(state_key);
            let spelling = spelling(self.source, package, entry).await;
            files.extend(Mapped::of(state_key, entry, spelling.as_ref()));
        }
        self.mapped(log.size(), files).await;
    }

    /// The nodes that follow from a replayed state, byte by byte.
    pub(crate) async fn nodes(&mut self, state: &StateMap) {
        let nodes = state.changed_nodes();
        self.progress.total(nodes.len() as u64);
        let (source, progress) = (self.source, self.progress);
        let mut nodes = nodes.into_iter().peekable();
        while nodes.peek().is_some() {
            let each = nodes.by_ref().take(NODES_AT_ONCE).map(|(key, bytes)| async move {
                let problem = compare(source, &key, &bytes).await;
                progress.step(&key);
                (key, problem)
            });
            let mut checked = in_order(each.collect());
            while let Some((key, problem)) = checked.next().await {
                self.counts.state_nodes += 1;
                self.take(problem);
                self.seen.insert(key);
            }
        }
    }

    /// The entries of a state by its stored nodes, each checked by the hash above it.
    async fn walk(&mut self, root: Hash) -> BTreeMap<String, ShardEntry> {
        let mut entries = BTreeMap::new();
        if RootTile::is_empty_root(&root) {
            return entries;
        }
        let tile_len = STATE_TILE_BYTES as u64;
        let open = |bytes: &[u8]| RootTile::open(&root, bytes);
        let Some(root_tile) = self.node(root_tile_key(&root), tile_len, open).await else { return entries };
        for slot in 0..=u8::MAX {
            let mid_root = root_tile.get(slot);
            if MidTile::is_empty_root(&mid_root) {
                continue;
            }
            let open = |bytes: &[u8]| MidTile::open(&mid_root, bytes);
            let Some(mid) = self.node(mid_tile_key(&mid_root), tile_len, open).await else { continue };
            for place in 0..=u8::MAX {
                let leaf = mid.get(place);
                if Shard::is_empty_leaf(&leaf) {
                    continue;
                }
                let index = u16::from_be_bytes([slot, place]);
                let open = |bytes: &[u8]| Ok(Shard::open(index, &leaf, bytes)?);
                if let Some(shard) = self.node(shard_key(&leaf), SHARD_READ_BYTES_MAX as u64, open).await {
                    entries.extend(shard.entries().map(|(name, entry)| (name.to_owned(), entry.clone())));
                }
            }
        }
        entries
    }

    async fn node<T>(
        &mut self,
        key: String,
        len_max: u64,
        open: impl Fn(&[u8]) -> Result<T, StateError>,
    ) -> Option<T> {
        self.counts.state_nodes += 1;
        self.seen.insert(key.clone());
        match self.source.get(&key, len_max).await {
            Ok(Some(bytes)) => match open(&bytes) {
                Ok(node) => return Some(node),
                Err(error) => self.problem(key, ProblemKind::Damaged, error),
            },
            Ok(None) => self.problem(
                key,
                ProblemKind::Missing,
                "the current state has it; what lies below is unchecked",
            ),
            Err(error) => self.take(Some(unreadable(&key, &error))),
        }
        None
    }

    /// State-mapped files, by name and by hash.
    pub(crate) async fn mapped(&mut self, size: u64, files: Vec<Mapped>) {
        self.progress.total(files.len() as u64);
        let (source, progress) = (self.source, self.progress);
        let each = files.into_iter().map(|file| async move {
            let checked = file.check(source, size).await;
            progress.step(checked.key.as_deref().unwrap_or("files"));
            checked
        });
        let mut checked = in_order(each.collect());
        while let Some(CheckedFile { key, copy, by_name }) = checked.next().await {
            self.counts.by_name += 1;
            if let Some((copy, problem)) = copy {
                self.counts.objects += 1;
                self.take(problem);
                self.seen.insert(copy);
            }
            self.seen.extend(key);
            let by_name = self.unless_under_way(by_name).await;
            self.take(by_name);
        }
    }

    /// The configuration, and what clients of other registries ask for; no files if the settings in force are not known.
    pub(crate) async fn plain(&mut self, size: u64, files: Option<Vec<(String, Vec<u8>)>>) {
        let Some(files) = files else {
            for key in [layout::CONFIG, layout::INDEX_CONFIG, layout::API_CONFIG, layout::HEALTH] {
                self.seen.insert(key.into());
                self.problem(key, ProblemKind::Unchecked, "the settings in force are not known");
            }
            return;
        };
        self.mapped(size, files.into_iter().map(|(key, bytes)| Mapped::plain(key, &bytes)).collect()).await;
    }

    /// Drops the problem of a file that is ahead, if head knows a commit that wrote it.
    pub(super) async fn unless_under_way(&self, problem: Option<Found>) -> Option<FsckProblem> {
        match problem? {
            Found::Problem(problem) => Some(problem),
            Found::Ahead { seq, problem } => {
                let under_way = match (&self.vault, Key::new(layout::HEAD)) {
                    (Some(vault), Ok(key)) => {
                        let head = vault.read(&key, HEAD_BYTES_MAX).await.ok().flatten();
                        head.and_then(|file| Head::parse(&file.bytes).ok())
                            .is_some_and(|head| head.size() > seq)
                    }
                    _ => false,
                };
                if under_way { None } else { Some(problem) }
            }
        }
    }
}

/// What is wrong with a by-name file.
pub(crate) enum Found {
    Problem(FsckProblem),
    /// It carries a position beyond the published size.
    Ahead {
        seq: u64,
        problem: FsckProblem,
    },
}

impl Found {
    /// The problem, where head is not known.
    pub(crate) fn into_problem(self) -> FsckProblem {
        let (Self::Problem(problem) | Self::Ahead { problem, .. }) = self;
        problem
    }
}

/// The finding of a by-name file that carries a position beyond the published size.
pub(super) fn ahead(key: &str, seq: u64) -> Found {
    let detail = format!("it is of event {seq}: a commit is under way, or it is not genuine");
    Found::Ahead { seq, problem: FsckProblem { key: key.to_owned(), kind: ProblemKind::Ahead, detail } }
}

async fn by_name(source: &dyn Source, file: &Mapped, size: u64) -> Option<Found> {
    let Some(key) = &file.key else {
        let detail = "how the package is spelt is not known, so its file cannot be found".to_owned();
        let problem = FsckProblem { key: file.state_key.clone(), kind: ProblemKind::Unchecked, detail };
        return Some(Found::Problem(problem));
    };
    let (kind, detail) = match source.get(key, BY_NAME_BYTES_MAX).await {
        Ok(Some(bytes)) if bytes.len() as u64 == file.len && Sha256Digest::of(&bytes) == file.digest => {
            return None;
        }
        Ok(Some(bytes)) => match file_seq(key, &bytes) {
            Some(seq) if seq >= size => return Some(ahead(key, seq)),
            _ => (ProblemKind::Damaged, "its bytes are not those that follow from the log".to_owned()),
        },
        Ok(None) => (ProblemKind::Missing, "it follows from the log".to_owned()),
        Err(error) => return Some(Found::Problem(unreadable(key, &error))),
    };
    Some(Found::Problem(FsckProblem { key: key.clone(), kind, detail }))
}

/// The copy of a state-mapped file by its hash, with what is wrong with it.
async fn copy_of(source: &dyn Source, file: &Mapped) -> (String, Option<FsckProblem>) {
    let key = layout::object(&file.digest);
    let problem = match source.get(&key, file.len).await {
        Ok(Some(bytes)) if Sha256Digest::of(&bytes) == file.digest => None,
        Ok(Some(_)) => Some((ProblemKind::Damaged, "its bytes do not hash to its name")),
        Ok(None) => Some((ProblemKind::Missing, "the state map names it")),
        Err(_) => Some((ProblemKind::Unreadable, "it cannot be read, or is longer than the state map says")),
    };
    let problem = problem.map(|(kind, detail)| FsckProblem { key: key.clone(), kind, detail: detail.into() });
    (key, problem)
}
