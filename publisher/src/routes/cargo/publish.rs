//! `PUT /api/v1/crates/new`: a crate, as `cargo publish` sends it.
//!
//! The index line is made from the manifest inside the archive; the request's metadata must agree with it.

use std::{pin::pin, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use drystone_schemas::{AuthorSignatures, Code, Format, Limits, Problem, PublishMetadata};
use serde::Serialize;

use super::{
    super::{
        App, bearer,
        publish::{commit, content_length, in_time, intent_id},
    },
    body::{Frames, LENGTHS_BYTES, check_whole},
    metadata::Metadata,
};
use crate::{
    Refusal, Service,
    spool::{IN_MEMORY_BYTES_MAX, Spooled, too_big},
};

/// Longest metadata, in bytes: it holds the README, which alone may have half of that.
const METADATA_BYTES_MAX: u64 = 1 << 20;

/// The answer, as Cargo reads it.
#[derive(Serialize)]
struct Published {
    warnings: Warnings,
}

#[derive(Serialize)]
struct Warnings {
    invalid_categories: [String; 0],
    invalid_badges: [String; 0],
    other: Vec<String>,
}

pub(super) async fn publish(State(service): App, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let mut frames = Frames::new(body);
    let result = receive(&service, &parts.headers, &mut frames).await;
    if result.is_err() && content_length(&parts.headers).is_none_or(|len| len <= IN_MEMORY_BYTES_MAX) {
        // A small body is on its way already, and cargo reads the answer after it.
        let drained = async {
            frames.drain(IN_MEMORY_BYTES_MAX).await;
            Ok(())
        };
        drop(in_time(&service, drained).await);
    }
    result
}

async fn receive(service: &Service, headers: &HeaderMap, frames: &mut Frames) -> Result<Response, Refusal> {
    let token = bearer(headers)?;
    let id = intent_id(service, headers)?;
    let settings = service.settings();
    let limits = &settings.limits;
    let whole = content_length(headers);
    let crate_bytes_max = limits.archive_bytes_max(Format::Cargo);
    if whole.is_some_and(|len| len > LENGTHS_BYTES + METADATA_BYTES_MAX + crate_bytes_max) {
        return Err(too_big(limits, Format::Cargo));
    }
    // A large upload is only received for somebody; for a small one that look-up runs beside other reads.
    if whole.is_none_or(|len| len > IN_MEMORY_BYTES_MAX) {
        service.admit(&token).await?;
    }
    let (metadata, package) = in_time(service, read(service, frames, whole, limits)).await?;
    let expected = PublishMetadata { format: Some(Format::Cargo.to_string()), ..PublishMetadata::default() };
    let (package, inspected) = service.inspect(&package, expected).await?;
    let problems = metadata.disagreements(&inspected.record, &settings);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let committed = commit(service, &token, id, &package, inspected.record, AuthorSignatures::new()).await?;
    let mut other = inspected.warnings;
    if committed.done.already {
        let record = &committed.record;
        other.push(format!("`{}` {} was published before, with the same bytes", record.name, record.vers));
    }
    let warnings = Warnings { invalid_categories: [], invalid_badges: [], other };
    Ok(Json(Published { warnings }).into_response())
}

/// Takes the whole body in; refuses lengths that lie or are too long before what they announce has arrived.
async fn read(
    service: &Service,
    frames: &mut Frames,
    whole: Option<u64>,
    limits: &Limits,
) -> Result<(Metadata, Arc<Spooled>), Refusal> {
    let metadata_len = frames.length("metadata").await?;
    if metadata_len > METADATA_BYTES_MAX {
        let detail = format!("the metadata has {metadata_len} bytes, more than {METADATA_BYTES_MAX}");
        let problem = Problem::new(Code::BodyTooBig, detail).fact("bytes_max", METADATA_BYTES_MAX);
        return Err(Refusal::new(problem.with_hint("shorten the README: cargo sends it with the metadata")));
    }
    // Nothing is known of the archive yet, except that it does not have less than no bytes.
    check_whole(whole.filter(|whole| *whole < LENGTHS_BYTES + metadata_len), LENGTHS_BYTES + metadata_len)?;
    let metadata = Metadata::parse(&frames.part(metadata_len, "metadata").await?)?;
    let archive_len = frames.length("archive").await?;
    if archive_len > limits.archive_bytes_max(Format::Cargo) {
        return Err(too_big(limits, Format::Cargo));
    }
    check_whole(whole, LENGTHS_BYTES + metadata_len + archive_len)?;
    let chunks = pin!(frames.last_part(archive_len, "archive"));
    let package = Spooled::receive(chunks, &service.options.spool, limits, Format::Cargo).await?;
    Ok((metadata, Arc::new(package)))
}
