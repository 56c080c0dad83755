//! Archives from the registry to disk, hashed on the way.
//!
//! Owns one download with its retries. Does not own unpacking.
//! Invariant: a file that leaves this module has exactly the digest asked for.

use std::{
    io::{self, Seek as _, Write as _},
    path::Path,
};

use drystone_schemas::{Sha256Digest, layout};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::{ClientError, Lock, Network, Registry, Store, VerificationError, defences::Defence};

/// Hears how many more bytes have come; negative when an attempt is started over.
pub(crate) type OnBytes<'a> = &'a (dyn Fn(i64) + Send + Sync);

/// Downloads an archive of a known length into a temporary file in `dir`, which goes away unless it is kept. Messages
/// call it the archive of `what`.
///
/// # Errors
///
/// [`VerificationError::Missing`] if it is not there, [`VerificationError::Digest`] if other bytes come, however long.
pub(crate) async fn download(
    registry: &Registry,
    dir: &Path,
    what: &str,
    digest: &Sha256Digest,
    size: u64,
    on_bytes: OnBytes<'_>,
) -> Result<NamedTempFile, ClientError> {
    match registry.take_prefetched(digest) {
        Some(file) => {
            on_bytes(size.cast_signed());
            Ok(file)
        }
        None => download_now(registry, dir, what, digest, size, on_bytes).await,
    }
}

async fn download_now(
    registry: &Registry,
    dir: &Path,
    what: &str,
    digest: &Sha256Digest,
    size: u64,
    on_bytes: OnBytes<'_>,
) -> Result<NamedTempFile, ClientError> {
    let key = layout::object(digest);
    if registry.network() == Network::Offline {
        return Err(ClientError::OfflineMiss { what: what.into() });
    }
    let url = registry.url(&key);
    let what = || format!("the archive of {what}");
    let mut file = tempfile::Builder::new().prefix("download-").tempfile_in(dir)?;
    let mut attempts = registry.http().attempts();
    loop {
        match attempt(registry, &url, size, &mut file, on_bytes).await {
            Ok(Some((found, _))) if found == *digest || !registry.defences().up(Defence::ArchiveDigest) => {
                file.rewind()?;
                return Ok(file);
            }
            Ok(Some((actual, _))) => {
                return Err(VerificationError::Digest { what: what(), expected: *digest, actual }.into());
            }
            Ok(None) => return Err(VerificationError::Missing { what: what() }.into()),
            Err(ClientError::TooBig { .. }) => {
                return Err(ClientError::proof(
                    what(),
                    format!("it is longer than the {size} bytes that the log names"),
                ));
            }
            Err(error) if error.is_transient() && !attempts.are_used_up() => {
                attempts.wait(&url, &error.to_string(), None).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn attempt(
    registry: &Registry,
    url: &str,
    size: u64,
    file: &mut NamedTempFile,
    on_bytes: OnBytes<'_>,
) -> Result<Option<(Sha256Digest, u64)>, ClientError> {
    file.as_file_mut().set_len(0)?;
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut came: i64 = 0;
    let mut sink = |chunk: &[u8]| {
        hasher.update(chunk);
        file.write_all(chunk)
            .map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", file.path().display())))?;
        came += chunk.len() as i64;
        on_bytes(chunk.len() as i64);
        Ok(())
    };
    let downloaded = registry.http().download(url, size, registry.read_token(), &mut sink).await;
    if downloaded.is_err() {
        on_bytes(-came);
    }
    let len = downloaded?;
    Ok(len.map(|len| (Sha256Digest::from_bytes(hasher.finalize().into()), len)))
}

/// Archives downloaded at once ahead of the proof.
const PARALLEL: usize = 8;

impl Registry {
    /// Downloads the archives of a lock that are not in the store, and keeps them aside for whoever asks this registry for
    /// them later. They have the digests of the lock, whoever vouches for those; so they do not go into the store yet. What
    /// cannot be had is left to those who need it.
    pub async fn prefetch(&self, store: &Store, lock: &Lock) {
        let missing = lock.packages.values().filter(|package| store.get(&package.digest).is_none());
        let Ok(dir) = store.temp_dir() else { return };
        stream::iter(missing)
            .for_each_concurrent(PARALLEL, async |package| {
                let what = format!("`{}` {}", package.name, package.version);
                let file = download_now(self, &dir, &what, &package.digest, package.size, &|_| ()).await;
                if let Ok(file) = file {
                    self.keep_prefetched(package.digest, file);
                }
            })
            .await;
    }
}
