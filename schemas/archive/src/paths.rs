//! The paths that an archive has shown so far.
//!
//! Invariant: of all paths in the set, and the directories that they imply, no two would meet on any common file system.
//! Memory: the paths, and about 50 bytes for each of them and of their directories.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::path::collision_key;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    File,
    Directory,
}

/// How a path clashes with an earlier one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    pub(crate) other: String,
    pub(crate) how: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// A directory with an entry of its own.
    Listed,
    /// A directory that only paths below it imply.
    Implied,
}

#[derive(Default)]
pub(crate) struct PathSet {
    paths: Vec<Box<str>>,
    /// By 128 bits of the hash of the collision key: a hash collision can only refuse an archive, never admit one.
    nodes: BTreeMap<[u8; 16], (Kind, usize)>,
}

impl PathSet {
    /// Adds a path without flaws; it stays half added when it clashes.
    pub(crate) fn insert(&mut self, path: &str, kind: PathKind) -> Result<(), Clash> {
        let index = self.paths.len();
        self.paths.push(path.into());
        let mut hash = Sha256::new();
        let mut end = 0;
        for (depth, segment) in path.split('/').enumerate() {
            end += segment.len() + usize::from(depth > 0);
            hash.update(collision_key(segment));
            // Not `/`, which NFKC makes from `／`: segments have no control characters, so that keys have none.
            hash.update("\0");
            let key = *hash.clone().finalize().first_chunk().expect("a SHA-256 has 32 bytes");
            let wanted = match kind {
                _ if end < path.len() => Kind::Implied,
                PathKind::File => Kind::File,
                PathKind::Directory => Kind::Listed,
            };
            let Some((found, first)) = self.nodes.get_mut(&key) else {
                self.nodes.insert(key, (wanted, index));
                continue;
            };
            let other: String = self.paths[*first].split('/').take(depth + 1).collect::<Vec<_>>().join("/");
            let how = match (*found, wanted) {
                _ if other != path[..end] => "are one path where case or Unicode form does not count",
                (Kind::Implied | Kind::Listed, Kind::Implied) => continue,
                (Kind::Implied, Kind::Listed) => {
                    *found = Kind::Listed;
                    continue;
                }
                (Kind::File, Kind::File) | (Kind::Listed, Kind::Listed) => "are the same path twice",
                _ => "need a file and a directory at one path",
            };
            return Err(Clash { other, how });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{PathKind::*, *};

    fn clash(entries: &[(&str, PathKind)]) -> Option<Clash> {
        let mut set = PathSet::default();
        entries.iter().find_map(|(path, kind)| set.insert(path, *kind).err())
    }

    #[test]
    fn directories_may_be_listed_once_before_or_after_their_files() {
        assert_eq!(
            clash(&[
                ("p", Directory),
                ("p/a", Directory),
                ("p/a/x", File),
                ("p/b/x", File),
                ("p/b", Directory)
            ]),
            None
        );
        assert!(clash(&[("p/a", Directory), ("p/a", Directory)]).is_some());
    }

    #[test]
    fn clashes_name_the_earlier_path() {
        for (first, second, other) in [
            ("p/a", "p/a", "p/a"),
            ("p/README", "p/readme", "p/README"),
            ("p/Src/a", "p/src/b", "p/Src"),
            ("p/a", "p/a/b", "p/a"),
            ("p/a/b", "p/a", "p/a"),
        ] {
            assert_eq!(
                clash(&[(first, File), (second, File)]).expect("they clash").other,
                other,
                "{first} {second}"
            );
        }
    }
}
