//! The body of a publish: `multipart/form-data` with the parts `metadata` (JSON, optional) and `package`.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Multipart, Request, multipart::MultipartError},
    http::StatusCode,
};
use drystone_schemas::{Code, Problem, PublishMetadata};

use crate::{Refusal, Service, spool::Spooled};

/// Longest `metadata` part, in bytes.
pub(crate) const METADATA_BYTES_MAX: u64 = 64 << 10;

/// A publish as it was sent.
pub(crate) struct Upload {
    pub(crate) metadata: PublishMetadata,
    pub(crate) package: Arc<Spooled>,
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooBig,
            _ => Code::MalformedMultipart,
        };
        Self::code(code, format!("the multipart body cannot be read: {}", error.body_text()))
    }
}

/// Reads the body; parts in either order, each once, no others.
pub(crate) async fn read(service: &Service, request: Request) -> Result<Upload, Refusal> {
    let mut multipart = Multipart::from_request(request, &())
        .await
        .map_err(|e| Refusal::code(Code::MalformedMultipart, e.body_text()))?;
    let (mut metadata, mut package) = (None, None);
    let mut problems = Vec::new();
    while let Some(field) = multipart.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        let twice = || Problem::new(Code::MalformedMultipart, format!("the part `{name}` is there twice"));
        match &*name {
            "metadata" if metadata.is_some() => problems.push(twice()),
            "package" if package.is_some() => problems.push(twice()),
            "metadata" => metadata = Some(parse_metadata(&read_small(field).await?)?),
            "package" => {
                let max = service.settings().limits.tarball_bytes_max;
                package = Some(Spooled::receive(field, &service.options.spool, max).await?);
            }
            other => {
                let shown: String = other.chars().take(64).collect();
                problems.push(Problem::new(
                    Code::MalformedMultipart,
                    format!("there is no part `{shown}` in a publish"),
                ));
            }
        }
    }
    if package.is_none() {
        problems.push(Problem::new(Code::MalformedMultipart, "the part `package` is missing"));
    }
    match package {
        Some(package) if problems.is_empty() => {
            Ok(Upload { metadata: metadata.unwrap_or_default(), package: Arc::new(package) })
        }
        _ => Err(problems.into()),
    }
}

async fn read_small(mut field: axum::extract::multipart::Field<'_>) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    while let Some(chunk) = field.chunk().await? {
        out.extend_from_slice(&chunk);
        if out.len() as u64 > METADATA_BYTES_MAX {
            let detail = format!("the metadata has more than {METADATA_BYTES_MAX} bytes");
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
