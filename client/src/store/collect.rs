//! Listing, checking and shrinking the store.
//!
//! Owns the register of projects, which says what is still used. Does not own what a project's record means: only that
//! it names digests.
//! Invariant: nothing is removed that a registered project's record names, and nothing while somebody uses the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use drystone_schemas::Sha256Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{IN_USE, LOCKS, MARKER, Store, TEMP, about};
use crate::{ClientError, cache::dir_name, install::recorded_digests, unpack::modified_ns};

const PROJECTS: &str = "projects";

/// One entry of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// SHA-256 of its archive.
    pub digest: Sha256Digest,
    /// Root directory of its archive, `name-version`; empty if it was flat.
    pub root: String,
    /// Number of files.
    pub files: usize,
    /// Sum of their lengths in bytes.
    pub bytes: u64,
    /// Projects that use it.
    pub projects: Vec<PathBuf>,
}

/// An entry that is not as it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// SHA-256 of its archive.
    pub digest: Sha256Digest,
    /// Root directory of its archive, if that could still be read.
    pub root: String,
    /// What is wrong with it.
    pub what: Vec<String>,
}

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Entries that are left.
    pub kept: usize,
    /// Root directories (or digests, where there is none) of what was removed.
    pub removed: Vec<String>,
    /// Bytes that were freed, by the lengths of the files.
    pub freed_bytes: u64,
    /// Projects that are gone.
    pub forgotten: Vec<PathBuf>,
}

/// A directory that has used the store.
struct Registered {
    /// Where that is written.
    place: PathBuf,
    dir: PathBuf,
    /// The digests that its record names; `None` if it is gone.
    used: Option<BTreeSet<Sha256Digest>>,
}

impl Store {
    /// Remembers a directory whose record says what it uses.
    pub(crate) fn register(&self, packages_dir: &Path) -> Result<(), ClientError> {
        let path = std::path::absolute(packages_dir)?;
        let text = path.to_string_lossy().into_owned();
        let place = self.dir.join(PROJECTS).join(dir_name(&text));
        if fs_err::read(&place).is_ok_and(|known| known == text.as_bytes()) {
            return Ok(());
        }
        Ok(self.disk.replace(&place, text.as_bytes())?)
    }

    fn projects(&self) -> Result<Vec<Registered>, ClientError> {
        let mut found = Vec::new();
        for place in children(&self.dir.join(PROJECTS))? {
            if let Ok(text) = fs_err::read_to_string(&place) {
                let dir = PathBuf::from(text);
                let used = recorded_digests(&dir);
                found.push(Registered { place, dir, used });
            }
        }
        Ok(found)
    }

    fn digests(&self) -> Result<Vec<Sha256Digest>, ClientError> {
        let name = |path: PathBuf| Sha256Digest::from_hex(path.file_name()?.to_str()?).ok();
        Ok(children(&self.dir)?.into_iter().filter_map(name).collect())
    }

    /// Every entry whose marker can be read, by the name of its root directory.
    pub fn list(&self) -> Result<Vec<Listed>, ClientError> {
        let mut users: BTreeMap<Sha256Digest, Vec<PathBuf>> = BTreeMap::new();
        for Registered { dir, used, .. } in self.projects()? {
            used.into_iter().flatten().for_each(|digest| users.entry(digest).or_default().push(dir.clone()));
        }
        let listed = |digest: Sha256Digest| {
            let marker = self.entry(&digest)?.marker;
            Some(Listed {
                digest,
                root: marker.root,
                files: marker.files.len(),
                bytes: marker.files.iter().map(|file| file.len).sum(),
                projects: users.remove(&digest).unwrap_or_default(),
            })
        };
        let mut all: Vec<Listed> = self.digests()?.into_iter().filter_map(listed).collect();
        all.sort_by(|a, b| (&a.root, &a.digest).cmp(&(&b.root, &b.digest)));
        Ok(all)
    }

    /// Hashes every file of every entry again; what is damaged is told, and taken away, so that the next install
    /// brings it back. Blocks.
    pub fn verify(&self) -> Result<(usize, Vec<Damage>), ClientError> {
        let (mut whole, mut damaged) = (0, Vec::new());
        for digest in self.digests()? {
            let lock = self.lock(&digest)?;
            let found = self.damage_of(&digest);
            match found {
                None => whole += 1,
                Some(damage) => {
                    self.disk.remove_dir_all(&self.place(&digest)).map_err(|e| about(&digest, &e))?;
                    damaged.push(damage);
                }
            }
            drop(lock);
        }
        Ok((whole, damaged))
    }

    fn damage_of(&self, digest: &Sha256Digest) -> Option<Damage> {
        let Some(entry) = self.entry(digest) else {
            let what = vec![format!("`{MARKER}` cannot be read")];
            return Some(Damage { digest: *digest, root: String::new(), what });
        };
        let mut what = Vec::new();
        let mut expected = BTreeSet::new();
        for (file, path) in entry.files() {
            match hash_file(&path) {
                Ok((found, len)) if (Some(found), len) == (file.sha256, file.len) => {}
                Ok(_) => what.push(format!("`{}` has other bytes", file.path)),
                Err(error) => what.push(format!("`{}` cannot be read: {}", file.path, error.kind())),
            }
            expected.insert(path);
        }
        for path in files_below(&entry.files_dir).unwrap_or_default() {
            if !expected.contains(&path) {
                let shown = path.strip_prefix(&entry.files_dir).unwrap_or(&path).display().to_string();
                what.push(format!("`{shown}` does not belong there"));
            }
        }
        (!what.is_empty()).then_some(Damage { digest: *digest, root: entry.marker.root, what })
    }

    /// Removes entries that no registered project uses and that were unpacked longer ago than `age_max`, and what
    /// killed runs left. `now_ms` is the present, in milliseconds since 1970. Waits until nobody uses the store. Blocks.
    pub fn collect(&self, now_ms: u64, age_max: Duration, dry_run: bool) -> Result<Collected, ClientError> {
        let alone = self.lock_file(IN_USE)?;
        alone.lock()?;
        let mut report = Collected::default();
        let mut used = BTreeSet::new();
        for Registered { place, dir, used: digests } in self.projects()? {
            match digests {
                Some(digests) => used.extend(digests),
                None => {
                    if !dry_run {
                        self.disk.remove_file(&place)?;
                    }
                    report.forgotten.push(dir);
                }
            }
        }
        let oldest_ns = now_ms.saturating_mul(1_000_000).saturating_sub(as_ns(age_max));
        for digest in self.digests()? {
            let entry = self.entry(&digest);
            let unpacked_ns = fs_err::metadata(self.place(&digest).join(MARKER))
                .and_then(|metadata| modified_ns(&metadata))
                .unwrap_or(0);
            if entry.is_some() && (used.contains(&digest) || unpacked_ns > oldest_ns) {
                report.kept += 1;
                continue;
            }
            if !dry_run {
                // First out of the way in one step: a removal that is cut off must not leave half an entry.
                let old = self.temp_dir()?.join(format!("{}.old", digest.hex()));
                self.disk.remove_dir_all(&old)?;
                self.disk.rename(&self.place(&digest), &old).map_err(|e| about(&digest, &e))?;
                self.disk.remove_dir_all(&old)?;
                self.disk.remove_file(&self.dir.join(LOCKS).join(digest.hex()))?;
            }
            let (root, bytes) = entry.map_or_else(Default::default, |entry| {
                let bytes = entry.marker.files.iter().map(|file| file.len).sum::<u64>();
                (entry.marker.root, bytes)
            });
            report.removed.push(if root.is_empty() { digest.to_string() } else { root });
            report.freed_bytes += bytes;
        }
        if !dry_run {
            self.disk.remove_dir_all(&self.dir.join(TEMP))?;
        }
        report.removed.sort_unstable();
        Ok(report)
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What lies in a directory, in order of names; nothing if it is not there.
fn children(dir: &Path) -> Result<Vec<PathBuf>, ClientError> {
    let entries = match fs_err::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// Every file below a directory, whatever it is.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>, ClientError> {
    let (mut files, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for path in children(&next)? {
            if fs_err::symlink_metadata(&path)?.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn hash_file(path: &Path) -> io::Result<(Sha256Digest, u64)> {
    let mut file = fs_err::File::open(path)?;
    let (mut hasher, mut buffer, mut len) = (Sha256::new(), vec![0; 256 << 10], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Sha256Digest::from_bytes(hasher.finalize().into()), len)),
            read => {
                hasher.update(&buffer[..read]);
                len += read as u64;
            }
        }
    }
}
