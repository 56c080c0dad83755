//! Publishing: from an upload to an event.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use drystone_schemas::{
    AuthorSignatures, Code, EventId, Format, Problem, PublishMetadata, PublishOutcome, PublishResponse,
    Sha256Digest, UploadRequest, UploadResponse, VersionRecord, canonical_json, layout,
};
use drystone_storage::{Body, Key};
use futures_util::{StreamExt, TryStreamExt};

use super::{App, bearer, zion};
use crate::{
    Action, Done, Refusal, Service, Token,
    multipart::{self, METADATA_BYTES_MAX, Upload},
    spool::{IN_MEMORY_BYTES_MAX, Spooled, object, too_big},
    vault::{self, UploadTicket},
};

/// Seconds for which a presigned upload works.
const PRESIGNED_S: u32 = 900;
/// Seconds after which an upload's ticket is no longer honoured.
const TICKET_S: u64 = 3600;
/// Room for the multipart frame and the metadata around an archive.
const FRAME_BYTES_MAX: u64 = METADATA_BYTES_MAX + (4 << 10);

pub(super) async fn publish(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    let id = intent_id(&service, request.headers())?;
    let limits = &service.settings().limits;
    let declared = content_length(request.headers());
    if declared.is_some_and(|len| len > limits.tarball_bytes_max + FRAME_BYTES_MAX) {
        return Err(too_big(limits, Format::Generic));
    }
    // A large upload is only received for somebody; for a small one that look-up runs beside other reads.
    if declared.is_none_or(|len| len > IN_MEMORY_BYTES_MAX) {
        service.admit(&token).await?;
    }
    let by_upload = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    if zion::is_zions(&request) {
        return zion::publish(&service, &token, id, request).await;
    }
    let upload = in_time(&service, async {
        if by_upload {
            let metadata = multipart::parse_metadata(&small_body(request, METADATA_BYTES_MAX).await?)?;
            fetch_upload(&service, &token, metadata).await
        } else {
            multipart::read(&service, request).await
        }
    })
    .await?;
    respond(&service, &token, id, upload).await
}

async fn respond(service: &Service, token: &Token, id: EventId, upload: Upload) -> Result<Response, Refusal> {
    let Upload { mut metadata, package } = upload;
    let dry_run = metadata.dry_run;
    let sigs = std::mem::take(&mut metadata.signatures);
    let (package, inspected) = service.inspect(&package, metadata).await?;
    let committed = if dry_run {
        preview(service, token, inspected.record, sigs).await?
    } else {
        commit(service, token, id, &package, inspected.record, sigs).await?
    };
    let Committed { record, digest, done: Done { seq, already, proof } } = committed;
    let (status, outcome) = match (dry_run, already) {
        (true, _) => (StatusCode::OK, PublishOutcome::DryRun),
        (false, true) => (StatusCode::OK, PublishOutcome::AlreadyPublished),
        (false, false) => (StatusCode::CREATED, PublishOutcome::Published),
    };
    let answer = PublishResponse {
        outcome,
        name: record.name.clone(),
        vers: record.vers.clone(),
        seq,
        tarball: record.tarball,
        size: record.size,
        record: digest,
        warnings: inspected.warnings,
        pending: status == StatusCode::CREATED && proof.is_none(),
        proof,
    };
    Ok((status, Json(answer)).into_response())
}

/// A release that was decided on.
pub(super) struct Committed {
    pub(super) record: Arc<VersionRecord>,
    /// Digest of the record's bytes.
    digest: Sha256Digest,
    pub(super) done: Done,
}

/// Commits what an inspected archive says it is, with what its authors have signed: nothing, where a foreign client publishes.
pub(super) async fn commit(
    service: &Service,
    token: &Token,
    id: EventId,
    package: &Spooled,
    record: VersionRecord,
    sigs: AuthorSignatures,
) -> Result<Committed, Refusal> {
    let record = Arc::new(record);
    let bytes = record.to_bytes();
    let digest = Sha256Digest::of(&bytes);
    let objects = vec![package.object()?, object(&digest, Body::Bytes(bytes.into()), layout::JSON)?];
    let action = Action::Publish { record: record.clone(), digest, sigs };
    let done = service.submit(id, token, action, objects).await?;
    Ok(Committed { record, digest, done })
}

async fn preview(
    service: &Service,
    token: &Token,
    record: VersionRecord,
    sigs: AuthorSignatures,
) -> Result<Committed, Refusal> {
    let record = Arc::new(record);
    let digest = Sha256Digest::of(&record.to_bytes());
    let action = Action::Publish { record: record.clone(), digest, sigs };
    let done = service.preview(token, action).await?;
    Ok(Committed { record, digest, done })
}

/// `POST /api/v1/uploads`: where to put an archive that is too long for one request.
pub(super) async fn begin_upload(State(service): App, request: Request) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    let record = service.admit(&token).await?;
    let body = in_time(&service, small_body(request, METADATA_BYTES_MAX)).await?;
    let asked: UploadRequest =
        serde_json::from_slice(&body).map_err(|e| Refusal::code(Code::MalformedRequest, e.to_string()))?;
    let limits = &service.settings().limits;
    if asked.size > limits.tarball_bytes_max {
        return Err(too_big(limits, Format::Generic));
    }
    let sha256 = parse_digest(&asked.sha256)?;
    let id = service.new_id();
    let key = Key::new(layout::upload(&id)).map_err(Refusal::internal)?;
    let vault = &*service.core.store.vault;
    let presigned = vault.presign_put(&key, &sha256.hex(), asked.size, PRESIGNED_S).await?;
    let presigned = presigned.ok_or_else(|| {
        let problem =
            Problem::new(Code::UploadNotFound, "this registry's storage takes no uploads of its own");
        Refusal::new(problem.with_hint("send the archive itself to `api/v1/packages`"))
    })?;
    let created = service.core.clock.now_unix_s();
    let ticket = UploadTicket { v: 1, account: record.account, sha256, size: asked.size, created };
    vault::create(vault, layout::upload_ticket(&id), &ticket).await?;
    let answer = UploadResponse {
        id: id.to_string(),
        url: presigned.url,
        headers: presigned.headers,
        valid_s: PRESIGNED_S,
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Takes a large upload out of the vault, and checks that it is what was declared.
///
/// The bytes are inspected and stored from this one copy, whatever happens to the upload meanwhile. The ticket is
/// deleted only after the copy was made and matched: a broken attempt can be repeated, a finished one cannot.
async fn fetch_upload(
    service: &Service,
    token: &Token,
    metadata: PublishMetadata,
) -> Result<Upload, Refusal> {
    let not_found = || Refusal::code(Code::UploadNotFound, Code::UploadNotFound.title());
    let id = metadata.upload.as_deref().and_then(|text| EventId::new(text).ok()).ok_or_else(not_found)?;
    let vault = &*service.core.store.vault;
    let record = service.admit(token).await?;
    let ticket: Option<UploadTicket> = vault::read(vault, layout::upload_ticket(&id)).await?;
    let ticket = ticket.filter(|ticket| ticket.account == record.account).ok_or_else(not_found)?;
    if service.core.clock.now_unix_s().saturating_sub(ticket.created) > TICKET_S {
        return Err(not_found());
    }
    let key = Key::new(layout::upload(&id)).map_err(Refusal::internal)?;
    let reader = vault.open(&key, None).await?.ok_or_else(not_found)?;
    if reader.len != ticket.size {
        let detail = format!("{} bytes were declared, {} have arrived", ticket.size, reader.len);
        return Err(Refusal::code(Code::LengthMismatch, detail));
    }
    let stream = reader.stream.map_err(Refusal::from);
    let (limits, spool) = (&service.settings().limits, &service.options.spool);
    let package = Spooled::receive(stream, spool, limits, Format::Generic).await?;
    if package.sha256 != ticket.sha256 {
        let problem = Problem::new(Code::DigestMismatch, "the upload has another SHA-256 than was declared")
            .fact("declared_sha256", ticket.sha256.hex())
            .fact("uploaded_sha256", package.sha256.hex());
        return Err(Refusal::new(problem));
    }
    for used in [layout::upload_ticket(&id), layout::upload(&id)] {
        vault.delete(&Key::new(used).map_err(Refusal::internal)?).await?;
    }
    Ok(Upload { metadata, package: Arc::new(package) })
}

fn parse_digest(text: &str) -> Result<Sha256Digest, Refusal> {
    let parsed = text.parse().or_else(|_| Sha256Digest::from_hex(text));
    parsed.map_err(|e| Refusal::code(Code::MalformedRequest, e.to_string()))
}

pub(super) fn intent_id(service: &Service, headers: &HeaderMap) -> Result<EventId, Refusal> {
    match headers.get("idempotency-key") {
        None => Ok(service.new_id()),
        Some(value) => service.client_id(value.to_str().unwrap_or_default()),
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a short body.
pub(super) async fn small_body(request: Request, len_max: u64) -> Result<Vec<u8>, Refusal> {
    let mut chunks = request.into_body().into_data_stream();
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|e| Refusal::code(Code::MalformedRequest, format!("the body broke off: {e}")))?;
        body.extend_from_slice(&chunk);
        if body.len() as u64 > len_max {
            return Err(Refusal::code(Code::BodyTooBig, format!("the body has more than {len_max} bytes")));
        }
    }
    Ok(body)
}

/// Ends the wait for a body that does not arrive.
pub(super) async fn in_time<T>(
    service: &Service,
    receive: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let seconds = service.settings().limits.request_s_max;
    tokio::time::timeout(Duration::from_secs(seconds), receive).await.unwrap_or_else(|_| {
        let problem =
            Problem::new(Code::BodyTooSlow, format!("the body did not arrive within {seconds} seconds"));
        Err(Refusal::new(problem.fact("seconds_max", seconds)))
    })
}

/// The bytes of a reason, as an object to store.
pub(super) fn reason_object(
    service: &Service,
    reason: Option<String>,
) -> Result<(Option<Sha256Digest>, Vec<drystone_storage::NewObject>), Refusal> {
    let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) else {
        return Ok((None, Vec::new()));
    };
    let max = service.settings().limits.reason_bytes_max;
    if reason.len() as u64 > max {
        let problem =
            Problem::new(Code::TextTooLong, format!("the reason has {} bytes of {max}", reason.len()));
        return Err(Refusal::new(problem.fact("bytes_max", max)));
    }
    let bytes = canonical_json(&reason);
    let digest = Sha256Digest::of(&bytes);
    Ok((Some(digest), vec![object(&digest, Body::Bytes(bytes.into()), layout::JSON)?]))
}
