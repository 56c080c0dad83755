//! Bodies of new objects: their digest, and their bytes as the SDK wants them.

use std::io::{self, Read};

use aws_sdk_s3::primitives::ByteStream;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use drystone_storage::{Body, StoreError};
use futures_util::{TryStreamExt, stream::BoxStream};
use sha2::{Digest, Sha256};

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// The SHA-256 of a body, which the store checks on arrival and by which bodies are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// Hashes bytes that are at hand.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads a digest in hex; `None` if it is none.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// As S3's checksum headers have it.
    pub(crate) fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Hashes a body. A file must be as long as announced.
    pub(crate) async fn of(body: &Body) -> io::Result<Self> {
        match body {
            Body::Bytes(bytes) => Ok(Self::of_bytes(bytes)),
            Body::File { path, len } => {
                let (path, len) = (path.clone(), *len);
                tokio::task::spawn_blocking(move || {
                    let mut file = fs_err::File::open(&path)?;
                    let (mut hash, mut read, mut chunk) = (Sha256::new(), 0_u64, vec![0; CHUNK_BYTES]);
                    loop {
                        match file.read(&mut chunk)? {
                            0 => break,
                            count => {
                                hash.update(&chunk[..count]);
                                read += count as u64;
                            }
                        }
                    }
                    if read != len {
                        let fact = format!("`{}` has {read} bytes, not the announced {len}", path.display());
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, fact));
                    }
                    Ok(Self(hash.finalize().into()))
                })
                .await
                .map_err(io::Error::other)?
            }
        }
    }

    /// Hashes a stream.
    pub(crate) async fn of_stream(
        mut stream: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<Self, StoreError> {
        let mut hash = Sha256::new();
        while let Some(chunk) = stream.try_next().await? {
            hash.update(&chunk);
        }
        Ok(Self(hash.finalize().into()))
    }
}

/// The bytes to send; a file is read while it is sent.
pub(crate) async fn to_send(body: &Body) -> io::Result<ByteStream> {
    match body {
        Body::Bytes(bytes) => Ok(ByteStream::from(bytes.clone())),
        Body::File { path, .. } => ByteStream::from_path(path).await.map_err(io::Error::other),
    }
}
