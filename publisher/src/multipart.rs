//! The body of a publish: `multipart/form-data` with the parts `metadata` (JSON, optional) and `package`.
//!
//! Invariant: whatever is sent, only a few chunks of it are in memory. The parser keeps what it cannot make sense of yet,
//! and all that is ready to be read; [`Meter`] bounds both.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, ready},
};

use axum::{
    body::Body,
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::StatusCode,
};
use bytes::Bytes;
use drystone_schemas::{Code, Format, Problem, PublishMetadata};
use futures_util::{Stream, StreamExt, stream};

use crate::{Refusal, Service, spool::Spooled};

/// Longest `metadata` part, in bytes.
pub(crate) const METADATA_BYTES_MAX: u64 = 64 << 10;
/// Most bytes that the parser may take in without finding a part or giving out some of one.
const UNPARSED_BYTES_MAX: u64 = 64 << 10;
/// Most problems of one body that are collected.
const PROBLEMS_MAX: usize = 20;

/// A publish as it was sent.
pub(crate) struct Upload {
    pub(crate) metadata: PublishMetadata,
    pub(crate) package: Arc<Spooled>,
}

/// The parser took in more than [`UNPARSED_BYTES_MAX`] and made nothing of it.
#[derive(Debug, thiserror::Error)]
#[error("more than {UNPARSED_BYTES_MAX} bytes hold no part")]
struct Unparsed;

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
        if causes.any(|cause| cause.is::<Unparsed>()) {
            return Self::code(Code::BodyTooBig, format!("the multipart body cannot be read: {Unparsed}"));
        }
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooBig,
            _ => Code::MalformedMultipart,
        };
        Self::code(code, format!("the multipart body cannot be read: {}", error.body_text()))
    }
}

/// Counts what the parser has taken in since it last gave something out.
#[derive(Clone, Default)]
struct Meter(Arc<AtomicU64>);

impl Meter {
    /// The same body, chunk by chunk, that ends in [`Unparsed`] when the parser makes nothing of it.
    fn watch(&self, body: Body) -> Body {
        let (mut chunks, mut pause, taken) = (body.into_data_stream(), false, self.0.clone());
        Body::from_stream(stream::poll_fn(move |context| {
            // The parser reads on as long as something is ready: after each chunk nothing is.
            if std::mem::take(&mut pause) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if taken.load(Ordering::Relaxed) > UNPARSED_BYTES_MAX {
                return Poll::Ready(Some(Err(axum::Error::new(Unparsed))));
            }
            let chunk = ready!(chunks.poll_next_unpin(context));
            if let Some(Ok(chunk)) = &chunk {
                taken.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                pause = true;
            }
            Poll::Ready(chunk)
        }))
    }

    /// The parser has given something out.
    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn chunks<'a>(
        &self,
        field: Field<'a>,
    ) -> impl Stream<Item = Result<Bytes, MultipartError>> + Unpin + use<'a> {
        let meter = self.clone();
        field.inspect(move |_| meter.reset())
    }
}

/// Reads the body; parts in either order, each once, no others.
pub(crate) async fn read(service: &Service, request: Request) -> Result<Upload, Refusal> {
    let (metadata, package) = read_parts(service, request, "package").await?;
    let metadata = metadata.map(|bytes| parse_metadata(&bytes)).transpose()?.unwrap_or_default();
    Ok(Upload { metadata, package })
}

/// Reads a body whose archive is in the part `archive`; the metadata come as they are.
pub(crate) async fn read_parts(
    service: &Service,
    request: Request,
    archive: &str,
) -> Result<(Option<Vec<u8>>, Arc<Spooled>), Refusal> {
    let meter = Meter::default();
    let mut multipart = Multipart::from_request(request.map(|body| meter.watch(body)), &())
        .await
        .map_err(|e| Refusal::code(Code::MalformedMultipart, e.body_text()))?;
    let (mut metadata, mut package) = (None, None);
    let mut problems = Vec::new();
    while let Some(field) = multipart.next_field().await? {
        meter.reset();
        let name = field.name().unwrap_or_default().to_owned();
        let chunks = meter.chunks(field);
        let detail = match &*name {
            "metadata" if metadata.is_none() => {
                metadata = Some(read_small(chunks, &name).await?);
                continue;
            }
            name if name == archive && package.is_none() => {
                // Which format it is, only its content tells.
                let (limits, spool) = (&service.settings().limits, &service.options.spool);
                package = Some(Spooled::receive(chunks, spool, limits, Format::Generic).await?);
                continue;
            }
            again if again == "metadata" || again == archive => format!("the part `{again}` is there twice"),
            other => {
                let shown: String = other.chars().take(64).collect();
                format!("there is no part `{shown}` in a publish")
            }
        };
        problems.push(Problem::new(Code::MalformedMultipart, detail));
        if problems.len() >= PROBLEMS_MAX {
            return Err(problems.into());
        }
        // What follows may be wrong as well, and is told too if this part ends soon.
        if read_small(chunks, &name).await.is_err() {
            return Err(problems.into());
        }
    }
    if package.is_none() {
        problems.push(Problem::new(Code::MalformedMultipart, format!("the part `{archive}` is missing")));
    }
    match package {
        Some(package) if problems.is_empty() => Ok((metadata, Arc::new(package))),
        _ => Err(problems.into()),
    }
}

/// Reads a part that has no reason to be long.
async fn read_small(
    mut chunks: impl Stream<Item = Result<Bytes, MultipartError>> + Unpin,
    name: &str,
) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    while let Some(chunk) = chunks.next().await {
        out.extend_from_slice(&chunk?);
        if out.len() as u64 > METADATA_BYTES_MAX {
            let shown: String = name.chars().take(64).collect();
            let detail = format!("the part `{shown}` has more than {METADATA_BYTES_MAX} bytes");
            return Err(Refusal::code(Code::BodyTooBig, detail));
        }
    }
    Ok(out)
}

/// Parses metadata, in a multipart part or as a whole body.
pub(crate) fn parse_metadata(bytes: &[u8]) -> Result<PublishMetadata, Refusal> {
    serde_json::from_slice(bytes).map_err(|e| {
        Refusal::code(Code::MalformedRequest, format!("the metadata is not what it should be: {e}"))
    })
}
