//! Publishing: the archive goes up, the answer is checked.
//!
//! Owns uploads, direct and large, and their retries under one idempotency key. Does not own packing.
//! Invariant: one call makes one intent, however often it must be sent; success is told only if the registry stored the
//! bytes that were sent.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use drystone_archive::{Inspected, inspect};
use drystone_schemas::{
    AuthorSignatures, Code, PackageName, Problem, PublishMetadata, PublishResponse, Settings, Sha256Digest,
    UploadRequest, UploadResponse, Version,
};
use futures_util::TryStreamExt as _;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderName},
    multipart::{Form, Part},
};
use tokio_util::io::ReaderStream;

use crate::{
    ClientError, LocalArchive, Registry, VerificationError,
    api::{ANSWER_BYTES_MAX, IDEMPOTENCY_KEY, read_answer},
    http::{Ask, AskBody},
};

/// Hears how many bytes of the archive have been sent; starts over with each attempt.
pub type OnSent = Arc<dyn Fn(u64) + Send + Sync>;

/// How often the index is looked at for a new release.
const LOOKS_MAX: u32 = 8;

/// Bytes read from disk at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Whether the registry is to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It is.
    Publish,
    /// It is to check everything and commit nothing.
    DryRun,
}

/// Finds all problems that the registry would find in an archive, before anything is sent. Blocks.
pub fn check_archive(archive: &LocalArchive, settings: &Settings) -> Result<Inspected, ClientError> {
    let limits = &settings.limits;
    if archive.size > limits.tarball_bytes_max {
        let detail = format!(
            "the archive has {} bytes, at most {} are allowed",
            archive.size, limits.tarball_bytes_max
        );
        return Err(ClientError::Problems(vec![Problem::new(Code::TarballTooBig, detail)]));
    }
    let file = std::io::BufReader::new(fs_err::File::open(&archive.path)?);
    let expected = expected(archive);
    inspect(file, limits, settings, &settings.formats, &expected).map_err(ClientError::Problems)
}

/// What a publish of an archive says of it.
pub fn expected(archive: &LocalArchive) -> PublishMetadata {
    PublishMetadata {
        format: archive.format.map(|format| format.as_str().to_owned()),
        sha256: Some(archive.digest.hex()),
        size: Some(archive.size),
        owner: archive.owner.clone(),
        ..PublishMetadata::default()
    }
}

impl Registry {
    /// Uploads an archive and publishes it, without a signature of an author.
    ///
    /// # Errors
    ///
    /// As [`Registry::publish_signed`].
    pub async fn publish(
        &self,
        archive: &LocalArchive,
        intent: Intent,
        on_sent: OnSent,
    ) -> Result<PublishResponse, ClientError> {
        self.publish_signed(archive, AuthorSignatures::new(), intent, on_sent).await
    }

    /// Uploads an archive and publishes it, with what its authors have signed.
    ///
    /// # Errors
    ///
    /// The registry's refusal; [`VerificationError::Digest`] if it stored other bytes than were sent.
    pub async fn publish_signed(
        &self,
        archive: &LocalArchive,
        signatures: AuthorSignatures,
        intent: Intent,
        on_sent: OnSent,
    ) -> Result<PublishResponse, ClientError> {
        self.token()?;
        self.require_network("publishing")?;
        let id = self.http().effects().new_id().to_string();
        let dry_run = intent == Intent::DryRun;
        let mut metadata = PublishMetadata { dry_run, signatures, ..expected(archive) };
        let direct_max = self.config().await?.settings.limits.direct_upload_bytes_max;
        let response: PublishResponse = if archive.size <= direct_max {
            self.send_publish(&id, || form(archive, &metadata, &on_sent)).await?
        } else {
            metadata.upload = Some(self.upload(archive, &on_sent).await?);
            let body = json(&metadata)?;
            self.send_publish(&id, || Ok(AskBody::Bytes(body.clone()))).await?
        };
        if response.tarball != archive.digest {
            return Err(VerificationError::Digest {
                what: "the archive as the registry stored it".into(),
                expected: archive.digest,
                actual: response.tarball,
            }
            .into());
        }
        Ok(response)
    }

    /// Whether the index by name shows a release with this archive; looks again for some seconds, as edges may lag.
    pub async fn shows_release(
        &self,
        name: &PackageName,
        version: &Version,
        digest: &Sha256Digest,
    ) -> Result<bool, ClientError> {
        for look in 0..LOOKS_MAX {
            if look > 0 {
                self.http().effects().clock.sleep(Duration::from_secs(1)).await;
            }
            let index = self.index_by_name(name).await?;
            if index.and_then(|index| Some(index.find(version)?.cksum == digest.hex())).unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn send_publish(
        &self,
        id: &str,
        body: impl Fn() -> Result<AskBody, ClientError> + Send + Sync,
    ) -> Result<PublishResponse, ClientError> {
        let api = self.api_base().await?;
        let url = format!("{api}/packages");
        let mut headers = vec![(IDEMPOTENCY_KEY, id.to_owned())];
        if matches!(body()?, AskBody::Bytes(_)) {
            headers.push((CONTENT_TYPE, "application/json".into()));
        }
        let ask = Ask {
            method: Method::POST,
            url: &url,
            headers,
            token: Some(self.token_for(&api)?),
            body: Box::new(body),
            bytes_max: ANSWER_BYTES_MAX,
            repeatable: true,
        };
        read_answer(&self.http().ask(ask).await?)
    }

    /// Puts a large archive where the registry says, and returns the upload's id.
    async fn upload(&self, archive: &LocalArchive, on_sent: &OnSent) -> Result<String, ClientError> {
        let request = json(&UploadRequest { sha256: archive.digest.hex(), size: archive.size })?;
        let api = self.api_base().await?;
        let url = format!("{api}/uploads");
        let ask = Ask {
            method: Method::POST,
            url: &url,
            headers: vec![(CONTENT_TYPE, "application/json".into())],
            token: Some(self.token_for(&api)?),
            body: Box::new(move || Ok(AskBody::Bytes(request.clone()))),
            bytes_max: ANSWER_BYTES_MAX,
            repeatable: true,
        };
        let place: UploadResponse = read_answer(&self.http().ask(ask).await?)?;
        let mut headers = Vec::new();
        for (name, value) in &place.headers {
            let name = HeaderName::try_from(name.as_str())
                .map_err(|e| ClientError::Unexpected { url: url.clone(), detail: e.to_string() })?;
            headers.push((name, value.clone()));
        }
        let ask = Ask {
            method: Method::PUT,
            url: &place.url,
            headers,
            token: None,
            body: Box::new(move || Ok(AskBody::Stream(file_body(archive, on_sent)?, archive.size))),
            bytes_max: 1 << 20,
            repeatable: true,
        };
        let answer = self.http().ask(ask).await?;
        // The place takes bytes once: "there already" is what a repeated request hears of its own success.
        match answer.status.as_u16() {
            200..=299 | 412 => Ok(place.id),
            _ => Err(crate::http::status_error(&answer.url, answer.status)),
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Bytes, ClientError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| ClientError::Internal(e.to_string()))
}

fn form(
    archive: &LocalArchive,
    metadata: &PublishMetadata,
    on_sent: &OnSent,
) -> Result<AskBody, ClientError> {
    let internal = |e: reqwest::Error| ClientError::Internal(e.to_string());
    let text = serde_json::to_string(metadata).map_err(|e| ClientError::Internal(e.to_string()))?;
    let metadata = Part::text(text).mime_str("application/json").map_err(internal)?;
    let package = Part::stream_with_length(file_body(archive, on_sent)?, archive.size)
        .file_name(archive.file_name.clone())
        .mime_str("application/gzip")
        .map_err(internal)?;
    Ok(AskBody::Form(Box::new(Form::new().part("metadata", metadata).part("package", package))))
}

/// The archive as a stream from disk, never whole in memory.
fn file_body(archive: &LocalArchive, on_sent: &OnSent) -> Result<reqwest::Body, ClientError> {
    let file = fs_err::File::open(&archive.path)?.into_parts().0;
    let on_sent = on_sent.clone();
    let mut sent = 0;
    on_sent(0);
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES);
    Ok(reqwest::Body::wrap_stream(chunks.inspect_ok(move |chunk| {
        sent += chunk.len() as u64;
        on_sent(sent);
    })))
}
