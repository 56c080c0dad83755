//! A publish as Zion sends it: a multipart body that no header announces, metadata whose texts are not escaped, a flat
//! archive, and a name without owner.
//!
//! Owns: reading that as a publish like any other. Does not own: what becomes of it. Source: Zion 1.1 on the wire.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use drystone_index_builder::github_release;
use drystone_schemas::{AuthorSignatures, Code, EventId, Format, PublishMetadata};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::{
    publish::{commit, in_time},
    read::find_index,
};
use crate::{Refusal, Service, Token, multipart, vault};

/// Longest first line of a body: two dashes, a boundary (RFC 2046 section 5.1.1), and the line's end.
const FIRST_LINE_BYTES_MAX: usize = 2 + 70 + 2;
/// Longest name or version that is taken from metadata that is not JSON.
const TEXT_BYTES_MAX: usize = 128;

/// Whether a publish comes from Zion: nobody else sends a body without saying what it is.
pub(super) fn is_zions(request: &Request) -> bool {
    !request.headers().contains_key(header::CONTENT_TYPE)
}

/// Publishes, and answers with the release as Zepplin describes it.
pub(super) async fn publish(
    service: &Service,
    token: &Token,
    id: EventId,
    request: Request,
) -> Result<Response, Refusal> {
    let upload = in_time(service, async {
        let request = with_boundary(request).await?;
        multipart::read_parts(service, request, "package").await
    })
    .await?;
    let (metadata, package) = upload;
    let missing = || Refusal::code(Code::MalformedMultipart, "the part `metadata` is missing");
    let metadata = parse_metadata(&metadata.ok_or_else(missing)?)?;
    let expected = below_owner(service, token, metadata).await?;
    let (package, inspected) = service.inspect(&package, expected).await?;
    let committed = commit(service, token, id, &package, inspected.record, AuthorSignatures::new()).await?;
    let record: &Arc<_> = &committed.record;
    let index = find_index(service, &record.name).await?;
    let line = index.as_ref().and_then(|index| index.find(&record.vers));
    let line = line.ok_or_else(|| Refusal::internal("a release that was committed is not in its index"))?;
    Ok((StatusCode::CREATED, Json(github_release(line, &service.settings()))).into_response())
}

/// Names the package below the login of the token's account: Zion knows no owners.
async fn below_owner(
    service: &Service,
    token: &Token,
    said: PublishMetadata,
) -> Result<PublishMetadata, Refusal> {
    let token = service.admit(token).await?;
    let account = vault::read_account(&*service.core.store.vault, &token.account).await?;
    let account =
        account.ok_or_else(|| Refusal::code(Code::AccountNotFound, "the token's account is gone"))?;
    let owner = Some(account.login.to_string());
    Ok(PublishMetadata { format: Some(Format::Zig.to_string()), owner, ..said })
}

/// Reads the boundary from the first line of the body, and says it in the header where it belongs.
async fn with_boundary(request: Request) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    let mut head = BytesMut::new();
    let end = loop {
        if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
            break end;
        }
        if head.len() > FIRST_LINE_BYTES_MAX {
            return Err(no_boundary());
        }
        match chunks.next().await {
            Some(Ok(chunk)) => head.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(Refusal::code(Code::MalformedRequest, error.to_string())),
            None => return Err(no_boundary()),
        }
    };
    let boundary = boundary(&head[..end]).ok_or_else(no_boundary)?;
    let value = HeaderValue::from_str(&format!("multipart/form-data; boundary=\"{boundary}\""));
    parts.headers.insert(header::CONTENT_TYPE, value.map_err(|_| no_boundary())?);
    let whole = stream::once(async { Ok(head.freeze()) }).chain(chunks);
    Ok(Request::from_parts(parts, Body::from_stream(whole)))
}

fn no_boundary() -> Refusal {
    let detail =
        "the request says no content type, and its body does not begin with the boundary of a multipart body";
    Refusal::code(Code::MalformedMultipart, detail)
}

/// The boundary in the first line of a multipart body.
fn boundary(line: &[u8]) -> Option<&str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).ok()?.strip_prefix("--")?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte));
    (plain && (1..=70).contains(&text.len())).then_some(text)
}

/// Zion's metadata. Everything else that it says is in the archive as well.
#[derive(Deserialize)]
struct Said {
    name: String,
    version: String,
}

/// Reads the metadata; where a text of the author's has broken the JSON, only name and version, which cannot.
fn parse_metadata(bytes: &[u8]) -> Result<PublishMetadata, Refusal> {
    let said = serde_json::from_slice::<Said>(bytes).ok().or_else(|| {
        let text = String::from_utf8_lossy(bytes);
        Some(Said { name: loose_text(&text, "name")?, version: loose_text(&text, "version")? })
    });
    let said = said.ok_or_else(|| {
        Refusal::code(
            Code::MalformedRequest,
            "the metadata is no JSON, and holds no `name` and `version` either",
        )
    })?;
    Ok(PublishMetadata { name: Some(said.name), vers: Some(said.version), ..PublishMetadata::default() })
}

/// The text after the first `"key":`, if it is one that needs no escaping.
fn loose_text(text: &str, key: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("\"{key}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let (value, _) = rest.split_once('"')?;
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte));
    (plain && (1..=TEXT_BYTES_MAX).contains(&value.len())).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        assert_eq!(boundary(b"------ZionPackageUpload\r"), Some("----ZionPackageUpload"));
        for bad in [&b""[..], b"--", b"-x", b"--a b", b"--a\"b", b"--\xff", &[b'-'; 80]] {
            assert_eq!(boundary(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn metadata_whose_texts_are_not_escaped() {
        let read = |text: &str| {
            let metadata = parse_metadata(text.as_bytes()).ok()?;
            Some((metadata.name?, metadata.vers?))
        };
        let expected = Some(("http".to_owned(), "1.0.0".to_owned()));
        assert_eq!(read(r#"{"name":"http","version":"1.0.0","description":"x","license":"MIT"}"#), expected);
        assert_eq!(
            read(
                "{\"name\": \"http\", \"version\": \"1.0.0\", \"description\": \"say \"hi\"\n\", \"license\": \"\"}"
            ),
            expected
        );
        assert_eq!(
            read(r#"{"name":"ht"tp","version":"1.0.0"}"#),
            Some(("ht".to_owned(), "1.0.0".to_owned()))
        );
        for bad in ["", "{}", r#"{"name":"a b","version":"1.0.0","x":"""}"#, r#"{"name":"a"#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
