//! Short by-name files in memory, each for as long as the store says that it is still the same.
//!
//! Owns: what is kept, and when it is let go. Does not own: what is answered with it.
//! Invariant: a file is only answered from memory if the store's tag of it, asked for in this very request, is the one
//! that it had before its bytes were read. So what is kept is never older than what is stored.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use drystone_storage::{Area, Clock, Key, Stat, StoreError, Tag};

use super::by_name::File;

/// Longest file that is kept, in bytes: longer than most index files.
const FILE_BYTES_MAX: usize = 128 << 10;
/// Most bytes that are kept; above that, all is let go, and what is asked for often comes back.
const BYTES_MAX: usize = 24 << 20;
/// What an entry costs besides its bytes, about.
const ENTRY_BYTES: usize = 1 << 10;
/// Seconds for which a file that was written is not kept. A directory tells files apart by number, length and time: a
/// file that took the number of one that is kept must have got a later time, however coarse the times are.
const SETTLED_S: u64 = 2;

/// What is known of a key.
enum Entry {
    /// It was asked for once. Only what is asked for again is worth a question about its tag.
    Asked,
    Kept(Arc<Kept>),
}

/// A file with its name and the tag by which it is known again.
struct Kept {
    key: Key,
    tag: Tag,
    file: Arc<File>,
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
            Entry::Kept(kept) => ENTRY_BYTES + kept.file.cost(),
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
pub(super) struct KeptFiles {
    entries: RwLock<Entries>,
    clock: Arc<dyn Clock>,
}

impl KeptFiles {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { entries: RwLock::default(), clock }
    }

    /// The file by this name, from memory or from the store.
    pub(super) async fn read(
        &self,
        public: &dyn Area,
        key: &Key,
        len_max: u64,
    ) -> Result<Option<Arc<File>>, StoreError> {
        let (asked, kept) = match self.entries.read().expect(UNBROKEN).by_key.get(key) {
            None => (false, None),
            Some(Entry::Asked) => (true, None),
            Some(Entry::Kept(kept)) => (true, Some(kept.clone())),
        };
        let mut settled = None;
        if asked {
            let Some(stat) = public.stat(key).await? else { return Ok(None) };
            if let Some(kept) = kept
                && kept.tag == stat.tag
            {
                return Ok(Some(kept.file.clone()));
            }
            settled = self.settled(stat);
        }
        let Some(read) = public.read(key, len_max).await? else { return Ok(None) };
        let file = Arc::new(File::new(key, &read.tag, read.bytes));
        if file.bytes.len() <= FILE_BYTES_MAX {
            let keep = |tag| Entry::Kept(Arc::new(Kept { key: key.clone(), tag, file: file.clone() }));
            self.entries.write().expect(UNBROKEN).put(key, settled.map_or(Entry::Asked, keep));
        }
        Ok(Some(file))
    }

    /// The tag of a file that is old enough for it to be known by.
    fn settled(&self, stat: Stat) -> Option<Tag> {
        let now_s = self.clock.now_unix_s();
        stat.written_unix_s.is_none_or(|written_s| written_s + SETTLED_S <= now_s).then_some(stat.tag)
    }

    /// The file at this path, if it is kept and the store says at once that it is still the same.
    pub(super) fn at_once(&self, public: &dyn Area, path: &str) -> Option<Arc<File>> {
        let kept = match self.entries.read().expect(UNBROKEN).by_key.get(path)? {
            Entry::Asked => return None,
            Entry::Kept(kept) => kept.clone(),
        };
        let stat = public.stat_at_once(&kept.key)?.ok()??;
        (stat.tag == kept.tag).then(|| kept.file.clone())
    }
}

/// Why a lock can be taken.
const UNBROKEN: &str = "no holder of this lock panics";

#[cfg(test)]
mod tests {
    use drystone_storage::{Counter, Meta, Store, SystemClock};

    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_often_is_read_once_and_never_stale() {
        let counter = Counter::new();
        let store = counter.wrap(&Store::memory());
        let (kept, key) = (KeptFiles::new(Arc::new(SystemClock)), Key::new("index/1/a").unwrap());
        let ask = async || {
            let file = kept.read(&*store.public, &key, 1 << 20).await.unwrap();
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
            let (key, tag) = (Key::new(format!("log/{i}")).unwrap(), Tag(String::new()));
            let file = Arc::new(File::new(&key, &tag, vec![0; 100 << 10].into()));
            entries.put(&key.clone(), Entry::Kept(Arc::new(Kept { key, tag, file })));
            assert!(entries.bytes <= BYTES_MAX && entries.by_key.len() <= 300);
        }
    }
}
