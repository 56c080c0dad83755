//! What the registry shows when everything is over: its log, its index files and its objects, as any client gets them.

use std::collections::{BTreeMap, BTreeSet};

use drystone_log::{BundleId, EntryBundle};
use drystone_schemas::{Event, IndexFile, PackageName, Sha256Digest, layout};
use futures_util::{StreamExt, stream};

use super::{
    setup::Registry,
    writer::{Asked, Change},
};
use crate::process::http_client;

/// Files read at once.
const READS: usize = 16;

/// What is there.
#[derive(Default)]
pub(super) struct Shown {
    /// The log, in order.
    pub(super) events: Vec<Event>,
    /// Index files by the names that writers asked about; those that are there.
    pub(super) index: BTreeMap<PackageName, IndexFile>,
    /// Objects that are there with the bytes of their name.
    pub(super) objects: BTreeSet<Sha256Digest>,
}

/// Reads what matters for these changes.
///
/// # Panics
///
/// If the registry does not open or shows files that cannot be read as what they are.
pub(super) async fn read(registry: &Registry, asked: &[Asked]) -> Shown {
    let server = registry.reader();
    let reader = Reader { client: http_client(), base: server.local.clone() };
    let events = reader.events().await;
    let names: BTreeSet<&PackageName> = asked.iter().map(|asked| &asked.name).collect();
    let index: BTreeMap<PackageName, IndexFile> = stream::iter(names)
        .map(async |name| {
            let bytes = reader.get(&layout::index_file(name)).await?;
            let file = IndexFile::parse(&bytes).unwrap_or_else(|e| panic!("the index file of `{name}`: {e}"));
            Some((name.clone(), file))
        })
        .buffer_unordered(READS)
        .filter_map(async |found| found)
        .collect()
        .await;
    let lines = index.values().flat_map(|file| &file.lines);
    let mut digests: BTreeSet<Sha256Digest> =
        lines.flat_map(|line| Sha256Digest::from_hex(&line.cksum).into_iter().chain([line.record])).collect();
    digests.extend(asked.iter().filter_map(|asked| match asked.change {
        Change::Publish(digest) => Some(digest),
        Change::Yanked(_) => None,
    }));
    let objects = stream::iter(digests)
        .map(async |digest| {
            let bytes = reader.get(&layout::object(&digest)).await?;
            (Sha256Digest::of(&bytes) == digest).then_some(digest)
        })
        .buffer_unordered(READS)
        .filter_map(async |found| found)
        .collect()
        .await;
    Shown { events, index, objects }
}

struct Reader {
    client: reqwest::Client,
    base: String,
}

impl Reader {
    /// A file; none if it is not there.
    async fn get(&self, key: &str) -> Option<bytes::Bytes> {
        let answer = self.client.get(format!("{}/{key}", self.base)).send().await;
        let answer = answer.unwrap_or_else(|e| panic!("`{key}` cannot be read: {e}"));
        let status = answer.status().as_u16();
        assert!(matches!(status, 200 | 404), "`{key}` cannot be read: {status}");
        let bytes = answer.bytes().await.unwrap_or_else(|e| panic!("`{key}` cannot be read: {e}"));
        (status == 200).then_some(bytes)
    }

    async fn there(&self, key: &str) -> bytes::Bytes {
        self.get(key).await.unwrap_or_else(|| panic!("`{key}` is missing"))
    }

    async fn events(&self) -> Vec<Event> {
        let checkpoint = self.there(layout::CHECKPOINT).await;
        let text = std::str::from_utf8(&checkpoint).expect("a checkpoint is text");
        let size: u64 =
            text.lines().nth(1).and_then(|line| line.parse().ok()).expect("a checkpoint has a size");
        let mut events = Vec::new();
        while (events.len() as u64) < size {
            let first = events.len() as u64;
            let width = u16::try_from((size - first).min(256)).expect("a bundle has at most 256 entries");
            let id = BundleId::new(first / 256, width).expect("a part of the log is a bundle");
            let bundle = EntryBundle::decode(id, &self.there(&format!("log/{}", id.path())).await);
            let entries = bundle.unwrap_or_else(|e| panic!("{}: {e}", id.path())).into_entries();
            events.extend(entries.iter().map(|line| {
                Event::from_line(line).unwrap_or_else(|e| panic!("an entry of {}: {e}", id.path()))
            }));
        }
        events
    }
}
