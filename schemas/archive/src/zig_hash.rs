//! The hash by which Zig knows a package.
//!
//! Owns: which files count, and the two spellings. Source: `lib/compiler/Maker/{Fetch,Package}.zig` of Zig 0.17.0
//! (`computeHash`, `Filter.includePath`, `Hash.init`), checked against four versions of the program itself.
//! Invariant: 32 bytes are kept per file, besides its path; contents pass through.

use std::io::Read;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use drystone_schemas::{Limits, Problem};
use sha2::{Digest as _, Sha256};

use crate::{
    ZigManifest,
    contents::{Contents, read_problems},
    read::{Layout, read_archive_as},
};

/// Bytes of the digest that the present spelling keeps.
const DIGEST_BYTES: usize = 25;
/// Name, version and id of a package without manifest (`computedPackageHash`).
const NAKED: (&str, &str, u32) = ("N", "V", 0xffff);

/// A package hash in both spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZigHash {
    /// `name-version-` and 33 bytes in base 64, as Zig writes it since 0.14.
    pub hash: String,
    /// `1220` and 64 hex digits, as Zig wrote it until 0.13.
    pub legacy: String,
}

/// Hashes one file while it is read.
pub(crate) struct FileHash {
    path: String,
    hash: Sha256,
    size: u64,
}

impl FileHash {
    /// Begins a file; `path` is relative to the package's root, with `/`.
    pub(crate) fn new(path: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(path.as_bytes());
        // Where the executable bit once was.
        hash.update([0, 0]);
        Self { path: path.into(), hash, size: 0 }
    }

    /// Takes a piece of its content.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
    }
}

/// The files of a package, hashed.
#[derive(Default)]
pub(crate) struct FileHashes(Vec<(String, u64, [u8; 32])>);

impl FileHashes {
    /// Adds a file that was read to its end.
    pub(crate) fn extend(&mut self, file: Option<FileHash>) {
        self.0.extend(file.map(|file| (file.path, file.size, file.hash.finalize().into())));
    }

    /// The hash of the package that this manifest describes, or of one without a manifest.
    pub(crate) fn finish(mut self, manifest: Option<&ZigManifest>) -> ZigHash {
        self.0.retain(|(path, ..)| manifest.is_none_or(|manifest| manifest.selects(path)));
        self.0.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let mut all = Sha256::new();
        let mut size = 0_u64;
        for (_, len, hash) in &self.0 {
            all.update(hash);
            size += len;
        }
        let digest: [u8; 32] = all.finalize().into();
        let (name, version, id) = manifest.map_or(NAKED, |manifest| {
            (&*manifest.name, &*manifest.version, manifest.fingerprint.unwrap_or(0) as u32)
        });
        let mut plus = Vec::with_capacity(8 + DIGEST_BYTES);
        plus.extend_from_slice(&id.to_le_bytes());
        plus.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        plus.extend_from_slice(&digest[..DIGEST_BYTES]);
        let legacy: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        ZigHash {
            hash: format!("{name}-{version}-{}", URL_SAFE_NO_PAD.encode(plus)),
            legacy: format!("1220{legacy}"),
        }
    }
}

/// The hash that Zig computes of an archive, wherever its files lie: in one root directory, or in none.
///
/// # Errors
///
/// The refusals of the archive, or the problems of its `build.zig.zon`; without one, the hash is that of a package
/// without manifest. [`drystone_schemas::Code::LocalIo`] if the source fails.
pub fn zig_package_hash<R: Read>(source: R, limits: &Limits) -> Result<ZigHash, Vec<Problem>> {
    // Whether there is a root directory is known only at the end, and paths are part of what is hashed.
    let (mut whole, mut below) = (FileHashes::default(), FileHashes::default());
    let mut contents = Contents::default();
    let mut buffer = vec![0; 64 << 10];
    let read = read_archive_as(source, limits, Layout::Flat, &mut |entry, body| {
        let mut hash = FileHash::new(entry.path);
        let mut hash_below = entry.path.split_once('/').map(|(_, below)| FileHash::new(below));
        let mut kept = contents.begin(entry, limits).then(Vec::new);
        loop {
            let len = body.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            let piece = &buffer[..len];
            hash.update(piece);
            hash_below.iter_mut().for_each(|hash| hash.update(piece));
            kept.iter_mut().for_each(|kept: &mut Vec<u8>| kept.extend_from_slice(piece));
        }
        contents.end(entry, kept);
        whole.extend(Some(hash));
        below.extend(hash_below);
        Ok(())
    });
    let facts = read.map_err(read_problems)?;
    let hashes = if facts.top.is_empty() { whole } else { below };
    let Some(manifest) = contents.manifest(&facts, limits)? else { return Ok(hashes.finish(None)) };
    Ok(hashes.finish(Some(&manifest)))
}
