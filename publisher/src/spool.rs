//! Uploads on their way: small ones in memory, others in a file that vanishes with its handle.

use std::{
    io::{Cursor, Read},
    path::Path,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use drystone_archive::{
    Inspected, RepackError, archive_too_big, can_be_repacked, inspect, leave_out_layout, repack_zig,
    root_directory,
};
use drystone_schemas::{
    Code, Format, Limits, PublishMetadata, Settings, Sha256Digest,
    layout::{self, CacheClass},
};
use drystone_storage::{Body, Key, Meta, NewObject};
use futures_util::{Stream, StreamExt};
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

use crate::{Refusal, Service};

/// Uploads up to this many bytes stay in memory.
pub(crate) const IN_MEMORY_BYTES_MAX: u64 = 1 << 20;

/// How the names of spooled uploads begin.
const SPOOL_PREFIX: &str = "drystone-upload-";
/// Seconds after which a spooled upload belongs to a process that has died: no upload may take so long.
const STALE_S: u64 = 3600;

/// An upload that has arrived whole.
pub(crate) struct Spooled {
    body: Body,
    /// Keeps the file until the upload is dropped.
    file: Option<TempPath>,
    pub(crate) sha256: Sha256Digest,
}

/// HTTP metadata of an object below `o/`.
pub(crate) fn object_meta(content_type: &'static str) -> Meta {
    Meta { content_type, cache_control: CacheClass::Immutable.cache_control() }
}

/// An object below `o/` with this content.
pub(crate) fn object(
    digest: &Sha256Digest,
    body: Body,
    content_type: &'static str,
) -> Result<NewObject, Refusal> {
    let key = Key::new(layout::object(digest)).map_err(Refusal::internal)?;
    Ok(NewObject { key, body, meta: object_meta(content_type) })
}

impl Spooled {
    /// Takes an upload in as it arrives; stops at the limit of the format.
    ///
    /// Where there is no room for it, the rest is received and dropped: a client that is still sending when it is answered
    /// would find a broken connection instead of the reason.
    pub(crate) async fn receive<S, E>(
        mut chunks: S,
        folder: &Path,
        limits: &Limits,
        format: Format,
    ) -> Result<Self, Refusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Refusal>,
    {
        let mut hasher = Sha256::new();
        let mut memory = BytesMut::new();
        let mut file: Option<(tokio::fs::File, TempPath)> = None;
        let mut failed: Option<Refusal> = None;
        let mut len = 0_u64;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(Into::into)?;
            len += chunk.len() as u64;
            if len > limits.archive_bytes_max(format) {
                return Err(too_big(limits, format));
            }
            if failed.is_some() {
                continue;
            }
            hasher.update(&chunk);
            if file.is_none() && len <= IN_MEMORY_BYTES_MAX {
                memory.extend_from_slice(&chunk);
                continue;
            }
            let start = std::mem::take(&mut memory);
            if let Err(error) = spool(&mut file, folder, &start, &chunk).await {
                failed = Some(full_or_internal(error));
                file = None;
            }
        }
        if let Some(refusal) = failed {
            return Err(refusal);
        }
        let sha256 = Sha256Digest::from_bytes(hasher.finalize().into());
        match file {
            None => Ok(Self { body: Body::Bytes(memory.freeze()), file: None, sha256 }),
            Some((mut out, path)) => {
                out.flush().await.map_err(full_or_internal)?;
                Ok(Self { body: Body::File { path: path.to_path_buf(), len }, file: Some(path), sha256 })
            }
        }
    }

    /// The bytes from their beginning. Blocks.
    fn reader(&self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(match &self.body {
            Body::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Body::File { path, .. } => {
                debug_assert!(self.file.is_some(), "a spooled file lives as long as its upload");
                Box::new(std::io::BufReader::with_capacity(128 << 10, fs_err::File::open(path)?))
            }
        })
    }

    /// Length and digest of the bytes as they are. Blocks.
    fn digest(&self) -> std::io::Result<(u64, Sha256Digest)> {
        let (mut reader, mut hasher, mut len) = (self.reader()?, Sha256::new(), 0);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok((len, Sha256Digest::from_bytes(hasher.finalize().into()))),
                read => {
                    hasher.update(&buffer[..read]);
                    len += read as u64;
                }
            }
        }
    }

    /// The same Zig package in canonical form. Blocks; what is held of it lies in files.
    fn repack(&self, limits: &Limits, folder: &Path) -> Result<Self, RepackError> {
        let scratch = tempfile::tempfile_in(folder).map_err(RepackError::Io)?;
        let (file, path) = tempfile::NamedTempFile::new_in(folder).map_err(RepackError::Io)?.into_parts();
        let source = self.reader().map_err(RepackError::Io)?;
        let packed = repack_zig(source, limits, scratch, std::io::BufWriter::new(file))?;
        packed.into_inner().map_err(|error| RepackError::Io(error.into_error()))?;
        let mut packed = Self {
            body: Body::File { path: path.to_path_buf(), len: 0 },
            file: Some(path),
            sha256: Sha256Digest::of(b""),
        };
        let (len, sha256) = packed.digest().map_err(RepackError::Io)?;
        packed.sha256 = sha256;
        if let Body::File { len: known, .. } = &mut packed.body {
            *known = len;
        }
        Ok(packed)
    }

    /// The tarball as an object; the upload must live until it has been put.
    pub(crate) fn object(&self) -> Result<NewObject, Refusal> {
        object(&self.sha256, self.body.clone(), layout::GZIP)
    }
}

/// Writes to the file of an upload, which is made for the first chunk that does not fit into memory.
async fn spool(
    file: &mut Option<(tokio::fs::File, TempPath)>,
    folder: &Path,
    start: &[u8],
    chunk: &[u8],
) -> std::io::Result<()> {
    let (out, _) = match file {
        Some(file) => file,
        None => {
            let made = tempfile::Builder::new().prefix(SPOOL_PREFIX).tempfile_in(folder)?;
            let (std_file, path) = made.into_parts();
            file.insert((tokio::fs::File::from_std(std_file), path))
        }
    };
    out.write_all(start).await?;
    out.write_all(chunk).await
}

/// Removes what processes that have died left in the spool. What cannot be removed is left for the next start.
pub(crate) fn remove_stale(folder: &Path, now_unix_s: u64) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now_unix_s.saturating_sub(STALE_S));
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(SPOOL_PREFIX);
        let modified = entry.metadata().and_then(|meta| meta.modified());
        if ours && modified.is_ok_and(|modified| modified < old) {
            drop(fs_err::remove_file(entry.path()));
        }
    }
}

pub(crate) fn too_big(limits: &Limits, format: Format) -> Refusal {
    Refusal::new(archive_too_big(limits, format))
}

fn full_or_internal(error: std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::QuotaExceeded
        | std::io::ErrorKind::FileTooLarge => Refusal {
            inside: Some(error.to_string()),
            ..Refusal::code(Code::StorageFull, "there is no room for the upload")
        },
        _ => Refusal::internal(error),
    }
}

impl Service {
    /// Inspects an upload on a thread of its own; at most a few at once. What comes back is what is to be stored: a Zig
    /// package whose files do not lie in `name-version/` is packed anew.
    pub(crate) async fn inspect(
        &self,
        upload: &Arc<Spooled>,
        expected: PublishMetadata,
    ) -> Result<(Arc<Spooled>, Inspected), Refusal> {
        let permit = self.inspections.acquire().await.map_err(Refusal::internal)?;
        let (upload, settings, folder) = (upload.clone(), self.settings(), self.options.spool.clone());
        let work = move || match run_inspection(&upload, &settings, &expected) {
            Ok(inspected) => Ok((upload, inspected)),
            Err(refusal) if can_be_repacked(&refusal.problems, &expected, &settings.formats) => {
                let asked = expected.format.is_some();
                let repacked = match upload.repack(&settings.limits, &folder) {
                    Ok(repacked) => repacked,
                    Err(RepackError::Io(error)) => return Err(full_or_internal(error)),
                    Err(RepackError::Unreadable(problems)) if asked => return Err(problems.into()),
                    Err(RepackError::Refused(problems)) => return Err(problems.into()),
                    // No Zig package at all: what was wrong at first is what is wrong.
                    Err(RepackError::NotZig | RepackError::Unreadable(_)) => return Err(refusal),
                };
                // What was declared of the bytes held for those that were uploaded, or it would be a problem.
                let expected = PublishMetadata { sha256: None, size: None, ..expected };
                let mut inspected = run_inspection(&repacked, &settings, &expected)?;
                let root = root_directory(&inspected.record.name, &inspected.record.vers);
                inspected.warnings.push(format!("the archive was packed anew, below `{root}/`"));
                Ok((Arc::new(repacked), inspected))
            }
            Err(mut refusal) => {
                leave_out_layout(&mut refusal.problems, &expected);
                Err(refusal)
            }
        };
        let inspected = tokio::task::spawn_blocking(work).await.map_err(Refusal::internal)?;
        drop(permit);
        inspected
    }
}

fn run_inspection(
    upload: &Spooled,
    settings: &Settings,
    expected: &PublishMetadata,
) -> Result<Inspected, Refusal> {
    let source = upload.reader().map_err(Refusal::internal)?;
    Ok(inspect(source, &settings.limits, settings, &settings.formats, expected)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_uploads_are_removed_from_the_spool() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["drystone-upload-a", "of-somebody-else"] {
            fs_err::write(folder.path().join(name), "x").unwrap();
        }
        let written = fs_err::metadata(folder.path().join("of-somebody-else")).unwrap().modified().unwrap();
        let written_s = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let names = || {
            let entries = fs_err::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        remove_stale(folder.path(), written_s + STALE_S - 5);
        assert_eq!(names().len(), 2);
        remove_stale(folder.path(), written_s + STALE_S + 5);
        assert_eq!(names(), ["of-somebody-else"]);
    }
}
