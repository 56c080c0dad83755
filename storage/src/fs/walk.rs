//! Listings: a walk of the tree, in pages.
//!
//! Order: by path, segment by segment (`a/b` before `a-b`); a page's token is its last key. A walk that is continued
//! with its newest token goes on where it stood, so a listing reads each directory once; any other token makes a new
//! walk that skips to its place.

use std::{
    io,
    path::Path,
    sync::{Mutex, PoisonError},
    vec,
};

use super::{
    disk::Disk,
    errors::{definite, is_absent},
};
use crate::{Key, PAGE_KEYS_MAX, Page, StoreError};

/// Listings remembered between two pages. Each holds the names of its open directories.
const WALKS_MAX: usize = 4;

/// Walks that wait for the next page.
#[derive(Default)]
pub(super) struct Walks(Mutex<Vec<Walk>>);

/// Lists one page.
pub(super) fn page(disk: &Disk, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
    let failed = |e: io::Error| definite("list", prefix, &e);
    let mut walk = match disk.walks.take(prefix, after) {
        Some(walk) => walk,
        None => Walk::start(disk.root(), prefix, after.unwrap_or("")).map_err(failed)?,
    };
    let mut keys = Vec::new();
    while keys.len() < PAGE_KEYS_MAX {
        match walk.next(disk.root()).map_err(failed)? {
            Some(key) => keys.push(key),
            None => return Ok(Page { keys, next: None }),
        }
    }
    walk.peeked = walk.next(disk.root()).map_err(failed)?;
    let next = walk.peeked.is_some().then(|| keys.last().map(Key::to_string)).flatten();
    if let Some(token) = &next {
        walk.token.clone_from(token);
        disk.walks.put(walk);
    }
    Ok(Page { keys, next })
}

impl Walks {
    fn take(&self, prefix: &str, after: Option<&str>) -> Option<Walk> {
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index =
            walks.iter().position(|walk| walk.prefix == prefix && Some(walk.token.as_str()) == after)?;
        Some(walks.remove(index))
    }

    /// Keeps a walk; of two at the same place only the newer, which has seen more.
    fn put(&self, walk: Walk) {
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        walks.retain(|other| (&other.prefix, &other.token) != (&walk.prefix, &walk.token));
        if walks.len() >= WALKS_MAX {
            walks.remove(0);
        }
        walks.push(walk);
    }
}

/// A depth-first walk over the files whose keys start with a prefix.
struct Walk {
    prefix: String,
    token: String,
    open: Vec<Level>,
    peeked: Option<Key>,
}

/// An open directory: its key with a `/` at the end (the root's is empty), and the names still to visit, sorted.
struct Level {
    dir: String,
    names: vec::IntoIter<Name>,
}

struct Name {
    name: String,
    is_dir: bool,
}

impl Walk {
    /// Starts behind the key `after`, or at the beginning if it is empty.
    fn start(root: &Path, prefix: &str, after: &str) -> io::Result<Self> {
        // Nothing outside the deepest directory that the prefix names can match.
        let base = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        let mut walk =
            Self { prefix: prefix.to_owned(), token: after.to_owned(), open: Vec::new(), peeked: None };
        if base.split_terminator('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Ok(walk);
        }
        let mut dir = base.to_owned();
        loop {
            let mut names = read_dir(root, &dir, prefix)?;
            let Some(rest) = after.strip_prefix(dir.as_str()).filter(|rest| !rest.is_empty()) else {
                walk.open.push(Level { dir, names: names.into_iter() });
                return Ok(walk);
            };
            let (first, deeper) = match rest.split_once('/') {
                Some((first, _)) => (first, true),
                None => (rest, false),
            };
            names.retain(|name| name.name.as_str() > first);
            let below = format!("{dir}{first}/");
            walk.open.push(Level { dir, names: names.into_iter() });
            if !deeper {
                return Ok(walk);
            }
            dir = below;
        }
    }

    fn next(&mut self, root: &Path) -> io::Result<Option<Key>> {
        if let Some(key) = self.peeked.take() {
            return Ok(Some(key));
        }
        while let Some(level) = self.open.last_mut() {
            let Some(Name { name, is_dir }) = level.names.next() else {
                self.open.pop();
                continue;
            };
            let path = format!("{}{name}", level.dir);
            if is_dir {
                let dir = path + "/";
                let names = read_dir(root, &dir, &self.prefix)?.into_iter();
                self.open.push(Level { dir, names });
            } else if let Ok(key) = Key::new(path) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

/// The names in a directory that can lead to keys with the prefix, sorted. A directory that is gone has none.
fn read_dir(root: &Path, dir: &str, prefix: &str) -> io::Result<Vec<Name>> {
    let entries = match fs_err::read_dir(root.join(dir)) {
        Ok(entries) => entries,
        Err(e) if is_absent(&e) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        // Names that are no text are not ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let own = dir.is_empty() && name.starts_with('.');
        let matches = (dir.len() + name.len() >= prefix.len()) && format!("{dir}{name}").starts_with(prefix);
        if matches && !own && (kind.is_dir() || kind.is_file()) {
            names.push(Name { name, is_dir: kind.is_dir() });
        }
    }
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}
