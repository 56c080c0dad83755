//! Archives from the registry or a mirror of it, hashed on the way.
//!
//! Owns one download with its retries, and the order in which mirrors and registry are asked. Does not own unpacking.
//! Invariant: what leaves this module has exactly the digest asked for, whoever sent it.

use std::{
    io::{self, Seek as _, Write as _},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use drystone_schemas::{Sha256Digest, layout};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::{
    ClientError, Http, Lock, Network, Registry, Secret, Store, VerificationError, defences::Defence,
    registry::Source,
};

/// Hears how many more bytes have come; negative when an attempt is started over.
pub(crate) type OnBytes<'a> = &'a (dyn Fn(i64) + Send + Sync);
/// Hears why somebody's answer is not used.
pub(crate) type OnReject<'a> = &'a (dyn Fn(String) + Send + Sync);

/// An archive with the digest that was asked for.
pub(crate) enum Downloaded {
    Bytes(Bytes),
    File(NamedTempFile),
}

/// Where the bytes of an attempt go.
pub(crate) trait Sink: Send {
    /// Forgets what came so far.
    fn restart(&mut self) -> io::Result<()>;
    fn take(&mut self, chunk: &[u8]) -> io::Result<()>;
}

impl Sink for BytesMut {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.extend_from_slice(chunk);
        Ok(())
    }
}

impl Sink for NamedTempFile {
    fn restart(&mut self) -> io::Result<()> {
        self.as_file_mut().set_len(0)?;
        self.rewind()
    }

    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("`{}`: {e}", self.path().display()));
        self.as_file().write_all(chunk).map_err(named)
    }
}

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
    let mut file = tempfile::Builder::new().prefix("download-").tempfile_in(dir)?;
    from_anywhere(registry, what, digest, size, on_bytes, &|_| (), &mut file).await?;
    file.rewind()?;
    Ok(file)
}

/// Archives downloaded at once ahead of the proof.
const PARALLEL: usize = 32;

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

/// The same into memory, unless it is too long for that and so there is a `dir` for a file. `on_reject` hears of mirrors
/// that send something else.
pub(crate) async fn download_small(
    registry: &Registry,
    dir: Option<&Path>,
    what: &str,
    digest: &Sha256Digest,
    size: u64,
    on_bytes: OnBytes<'_>,
    on_reject: OnReject<'_>,
) -> Result<Downloaded, ClientError> {
    if let Some(file) = registry.take_prefetched(digest) {
        on_bytes(size.cast_signed());
        return Ok(Downloaded::File(file));
    }
    if let Some(dir) = dir {
        let mut file = tempfile::Builder::new().prefix("download-").tempfile_in(dir)?;
        from_anywhere(registry, what, digest, size, on_bytes, on_reject, &mut file).await?;
        file.rewind()?;
        return Ok(Downloaded::File(file));
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    from_anywhere(registry, what, digest, size, on_bytes, on_reject, &mut bytes).await?;
    Ok(Downloaded::Bytes(bytes.freeze()))
}

/// Asks one source after the other, the registry last; its failure is the one that counts.
async fn from_anywhere(
    registry: &Registry,
    what: &str,
    digest: &Sha256Digest,
    size: u64,
    on_bytes: OnBytes<'_>,
    on_reject: OnReject<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ClientError> {
    if registry.network() == Network::Offline {
        return Err(ClientError::OfflineMiss { what: what.into() });
    }
    let what = format!("the archive of {what}");
    let (last, mirrors) = registry.sources().split_last().expect("a registry is a source of itself");
    for mirror in mirrors {
        match from_one(registry, mirror, &what, digest, size, on_bytes, sink).await {
            Err(error @ (ClientError::Io(_) | ClientError::Internal(_))) => return Err(error),
            Err(error) => on_reject(format!("the mirror `{}` is not used: {error}", mirror.base)),
            Ok(()) => return Ok(()),
        }
    }
    from_one(registry, last, &what, digest, size, on_bytes, sink).await
}

/// Asks one source of a registry.
async fn from_one(
    registry: &Registry,
    source: &Source,
    what: &str,
    digest: &Sha256Digest,
    size: u64,
    on_bytes: OnBytes<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ClientError> {
    let wanted = Wanted {
        url: format!("{}/{}", source.base, layout::object(digest)),
        token: if source.is_mirror { None } else { registry.read_token() },
        what: what.to_owned(),
        digest: *digest,
        bytes_max: size,
    };
    match from_url(registry.http(), &wanted, on_bytes, sink).await {
        Err(ClientError::TooBig { .. }) => {
            Err(ClientError::proof(what, format!("it is longer than the {size} bytes that the log names")))
        }
        other => other,
    }
}

/// One archive at one URL.
pub(crate) struct Wanted<'a> {
    pub(crate) url: String,
    pub(crate) token: Option<&'a Secret>,
    /// What messages call it.
    pub(crate) what: String,
    pub(crate) digest: Sha256Digest,
    pub(crate) bytes_max: u64,
}

/// Downloads from one URL, with retries. Only bytes with the right digest are a success.
pub(crate) async fn from_url(
    http: &Http,
    wanted: &Wanted<'_>,
    on_bytes: OnBytes<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ClientError> {
    let mut attempts = http.attempts();
    loop {
        sink.restart()?;
        let (mut hasher, mut came) = (Sha256::new(), 0_i64);
        let mut take = |chunk: &[u8]| {
            hasher.update(chunk);
            sink.take(chunk)?;
            came += chunk.len() as i64;
            on_bytes(chunk.len() as i64);
            Ok(())
        };
        let what = || wanted.what.clone();
        let error = match http.download(&wanted.url, wanted.bytes_max, wanted.token, &mut take).await {
            Ok(Some(_)) => {
                let actual = Sha256Digest::from_bytes(hasher.finalize().into());
                if actual == wanted.digest || !http.defences().up(Defence::ArchiveDigest) {
                    return Ok(());
                }
                VerificationError::Digest { what: what(), expected: wanted.digest, actual }.into()
            }
            Ok(None) => VerificationError::Missing { what: what() }.into(),
            Err(error) => error,
        };
        on_bytes(-came);
        if !error.is_transient() || attempts.are_used_up() {
            return Err(error);
        }
        attempts.wait(&wanted.url, &error.to_string(), None).await?;
    }
}
