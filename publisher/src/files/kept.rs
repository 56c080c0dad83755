//! Short by-name files in memory, each for as long as the store says that it is still the same.
//!
//! Owns: what is kept, and when it is let go. Does not own: what is answered with it.
//! Invariant: a file is only answered from memory if the store's tag of it, asked for in this very request, is the one
//! that it had before its bytes were read. So what is kept is never older than what is stored.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use axum::http::HeaderMap;
use bytes::Bytes;
use drystone_storage::{Area, Key, StoreError, Tag};

/// Longest file that is kept, in bytes: longer than most index files.
const FILE_BYTES_MAX: usize = 128 << 10;
/// Most bytes that are kept; above that, all is let go, and what is asked for often comes back.
const BYTES_MAX: usize = 24 << 20;
/// What an entry costs besides its bytes, about.
const ENTRY_BYTES: usize = 1 << 10;

/// A file, and the headers that it is answered with.
pub(super) struct File {
    pub(super) bytes: Bytes,
    pub(super) etag: String,
    pub(super) headers: HeaderMap,
}

/// What is known of a key.
enum Entry {
    /// It was asked for once. Only what is asked for again is worth a question about its tag.
    Asked,
    Kept(Tag, Arc<File>),
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    bytes: usize,
}

impl Entries {
    fn put(&mut self, key: &Key, entry: Entry) {
        let cost = |entry: &Entry| match entry {
            Entry::Asked => ENTRY_BYTES,
            Entry::Kept(_, file) => ENTRY_BYTES + file.bytes.len(),
        };
        self.bytes += cost(&entry);
        if self.bytes > BYTES_MAX {
            *self = Self { by_key: HashMap::new(), bytes: cost(&entry) };
        }
        if let Some(old) = self.by_key.insert(key.clone(), entry) {
            self.bytes -= cost(&old);
        }
    }
}

/// The files that are kept.
#[derive(Default)]
pub(super) struct KeptFiles(RwLock<Entries>);

impl KeptFiles {
    /// The file by this name, from memory or from the store; `describe` makes its headers from its tag.
    pub(super) async fn read(
        &self,
        public: &dyn Area,
        key: &Key,
        len_max: u64,
        describe: impl Fn(&Tag) -> (String, HeaderMap),
    ) -> Result<Option<Arc<File>>, StoreError> {
        let was_asked = match self.0.read().expect("no holder of this lock panics").by_key.get(key) {
            None => None,
            Some(Entry::Asked) => Some(None),
            Some(Entry::Kept(tag, file)) => Some(Some((tag.clone(), file.clone()))),
        };
        let mut tag = None;
        if let Some(kept) = &was_asked {
            let Some(stat) = public.stat(key).await? else { return Ok(None) };
            if let Some((kept_tag, file)) = kept
                && *kept_tag == stat.tag
            {
                return Ok(Some(file.clone()));
            }
            tag = Some(stat.tag);
        }
        let Some(read) = public.read(key, len_max).await? else { return Ok(None) };
        let (etag, headers) = describe(&read.tag);
        let file = Arc::new(File { bytes: read.bytes, etag, headers });
        if file.bytes.len() <= FILE_BYTES_MAX {
            let entry = tag.map_or(Entry::Asked, |tag| Entry::Kept(tag, file.clone()));
            self.0.write().expect("no holder of this lock panics").put(key, entry);
        }
        Ok(Some(file))
    }
}

#[cfg(test)]
mod tests {
    use drystone_storage::{Counter, Meta, Store};

    use super::*;

    fn describe(tag: &Tag) -> (String, HeaderMap) {
        (tag.0.clone(), HeaderMap::new())
    }

    #[tokio::test]
    async fn what_is_asked_for_often_is_read_once_and_never_stale() {
        let counter = Counter::new();
        let store = counter.wrap(&Store::memory());
        let (kept, key) = (KeptFiles::default(), Key::new("index/1/a").unwrap());
        let ask = async || {
            let file = kept.read(&*store.public, &key, 1 << 20, describe).await.unwrap();
            file.map(|file| String::from_utf8(file.bytes.to_vec()).unwrap())
        };
        assert_eq!(ask().await, None);
        let mut seen = None;
        for text in ["one", "two", "one"] {
            store.public.replace(&key, seen.as_ref(), text.into(), Meta::PRIVATE).await.unwrap();
            counter.reset();
            for _ in 0..5 {
                assert_eq!(ask().await.as_deref(), Some(text));
            }
            let read = counter.counts().bytes_read;
            assert!(read <= 2 * text.len() as u64, "{text}: {read}");
            seen = store.public.read(&key, 1 << 20).await.unwrap().map(|file| file.tag);
        }
        store.public.delete(&key).await.unwrap();
        assert_eq!(ask().await, None);
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let mut entries = Entries::default();
        for i in 0..1000 {
            let file =
                File { bytes: vec![0; 100 << 10].into(), etag: String::new(), headers: HeaderMap::new() };
            entries.put(
                &Key::new(format!("index/{i}")).unwrap(),
                Entry::Kept(Tag(String::new()), Arc::new(file)),
            );
            assert!(entries.bytes <= BYTES_MAX && entries.by_key.len() <= 300);
        }
    }
}
