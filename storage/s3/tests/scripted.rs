//! The backend against a store that answers by script: what no server at hand does on command.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bytes::Bytes;
use drystone_storage::{
    Body, Key, Meta, NewObject, Objects, Outcome, Pointers, Replace, StoreError, Tag, Versioned,
};
use drystone_storage_s3::{S3Area, S3Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the store does with a request.
enum Answer {
    /// Answers with a status, headers, and a body.
    Status(u16, &'static str, &'static str),
    /// Closes the connection without an answer.
    Hangup,
    /// Keeps silent.
    Silence,
}

use Answer::{Hangup, Silence, Status};

/// The requests that came, each as `METHOD If-None-Match|If-Match`.
type Seen = Arc<Mutex<Vec<String>>>;

/// Starts a store that gives these answers in turn, one connection each; and an area on it.
async fn scripted(answers: Vec<Answer>) -> (S3Area, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let seen = Seen::default();
    let noted = seen.clone();
    tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            // More requests than answers: the connection is dropped, and the test sees the request in its list.
            silent.extend(serve(stream, answers.pop_front().unwrap_or(Hangup), &noted).await);
        }
    });
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "key", "secret", None, None, "test",
        )))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let mut settings = S3Settings::new("bucket", "prefix");
    settings.attempt_timeout = Duration::from_millis(500);
    (S3Area::with_config(settings, &config), seen)
}

/// Answers one request; gives the connection back if it is to stay open.
async fn serve(mut stream: TcpStream, answer: Answer, seen: &Seen) -> Option<TcpStream> {
    let mut request = Vec::new();
    let head_len = loop {
        if let Some(at) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut request).await.expect("a request") == 0 {
            return None;
        }
    };
    let head = String::from_utf8(request[..head_len].to_vec()).expect("text");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let body_len = header("content-length").map_or(0, |len| len.parse().expect("a length"));
    while request.len() < head_len + body_len {
        assert_ne!(stream.read_buf(&mut request).await.expect("a body"), 0, "the body ends early");
    }
    let condition = header("if-none-match").or_else(|| header("if-match")).unwrap_or_default();
    let method = head.split(' ').next().unwrap_or_default();
    seen.lock().expect("no panic").push(format!("{method} {condition}").trim_end().to_owned());
    match answer {
        Status(status, headers, body) => {
            let len = body.len();
            let text =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {len}\r\nconnection: close\r\n{headers}\r\n");
            // A HEAD has the headers of a body, and none.
            let body = if method == "HEAD" { "" } else { body };
            stream.write_all((text + body).as_bytes()).await.expect("answers");
            None
        }
        Hangup => None,
        Silence => Some(stream),
    }
}

fn key() -> Key {
    Key::new("k").expect("a key")
}

fn object() -> NewObject {
    NewObject { key: key(), body: Body::Bytes(Bytes::from_static(b"four")), meta: Meta::PRIVATE }
}

async fn replace(area: &S3Area, seen: Option<&str>) -> String {
    let seen = seen.map(|tag| Tag(tag.to_owned()));
    match area.replace(&key(), seen.as_ref(), Bytes::from_static(b"new"), Meta::PRIVATE).await {
        Ok(Replace::Replaced(tag)) => format!("replaced {}", tag.0),
        Ok(Replace::Conflict) => "conflict".to_owned(),
        Ok(Replace::Unknown(_)) => "unknown".to_owned(),
        Err(StoreError::Refused { .. }) => "refused".to_owned(),
        Err(StoreError::Full { .. }) => "full".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

fn requests(seen: &Seen) -> Vec<String> {
    seen.lock().expect("no panic").clone()
}

const NO_SUCH_BUCKET: &str = "<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>";
const NO_SUCH_KEY: &str = "<Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
const QUOTA: &str = "<Error><Code>QuotaExceeded</Code><Message>no</Message></Error>";

#[tokio::test]
async fn each_answer_to_a_replace_is_sent_once_and_told_as_it_is() {
    let table = [
        (Status(200, "etag: \"t2\"\r\n", ""), "replaced t2"),
        (Status(200, "", ""), "unknown"),
        (Status(409, "", ""), "unknown"),
        (Status(500, "", ""), "unknown"),
        (Status(503, "", ""), "unknown"),
        (Hangup, "unknown"),
        (Silence, "unknown"),
        (Status(403, "", ""), "refused"),
        (Status(403, "", QUOTA), "full"),
        (Status(404, "", NO_SUCH_BUCKET), "refused"),
        (Status(404, "", NO_SUCH_KEY), "conflict"),
    ];
    for (number, (answer, expected)) in table.into_iter().enumerate() {
        let (area, seen) = scripted(vec![answer]).await;
        assert_eq!(replace(&area, Some("t1")).await, expected, "answer {number}");
        assert_eq!(requests(&seen), ["PUT \"t1\""], "answer {number}");
    }
    let (area, seen) = scripted(vec![Status(412, "", "")]).await;
    assert_eq!(replace(&area, None).await, "conflict");
    assert_eq!(requests(&seen), ["PUT *"]);
}

#[tokio::test]
async fn a_store_that_takes_bare_tags_only_is_found_out_once() {
    let bare = || Status(200, "etag: \"t2\"\r\n", "");
    let current = Status(200, "etag: \"t1\"\r\n", "");
    let script = vec![Status(412, "", ""), current, bare(), bare(), Status(412, "", "")];
    let (area, seen) = scripted(script).await;
    assert_eq!(replace(&area, Some("t1")).await, "replaced t2");
    assert_eq!(replace(&area, Some("t2")).await, "replaced t2");
    assert_eq!(replace(&area, Some("t3")).await, "conflict");
    assert_eq!(requests(&seen), ["PUT \"t1\"", "HEAD", "PUT t1", "PUT t2", "PUT t3"]);
}

#[tokio::test]
async fn a_stale_tag_is_a_conflict_whatever_the_form() {
    // Before any success: the head shows that the tag is stale, so the refusal was right.
    let stale = || Status(200, "etag: \"t9\"\r\n", "");
    let script = vec![Status(412, "", ""), stale(), Status(200, "etag: \"t2\"\r\n", ""), Status(412, "", "")];
    let (area, seen) = scripted(script).await;
    assert_eq!(replace(&area, Some("t1")).await, "conflict");
    assert_eq!(replace(&area, Some("t9")).await, "replaced t2");
    assert_eq!(replace(&area, Some("t1")).await, "conflict");
    assert_eq!(requests(&seen), ["PUT \"t1\"", "HEAD", "PUT \"t9\"", "PUT \"t1\""]);
}

#[tokio::test]
async fn a_refusal_that_cannot_be_explained_is_unknown() {
    let script = vec![Status(412, "", ""), Status(403, "", "")];
    let (area, seen) = scripted(script).await;
    assert_eq!(replace(&area, Some("t1")).await, "unknown");
    assert_eq!(requests(&seen), ["PUT \"t1\"", "HEAD"]);
}

/// SHA-256 of `four`, as S3 has it.
const FOUR: &str = "etag: \"t\"\r\nx-amz-checksum-sha256: BO+vCA9aPnThwp0cpqSFaTgsu80yTo1Z0rg+8hwDnwA=\r\n";

#[tokio::test]
async fn creating_survives_lost_answers() {
    // The first put was done and its answer lost; the repeated one is refused, and what is there is ours.
    let (area, seen) = scripted(vec![Hangup, Status(412, "", ""), Status(200, FOUR, "four")]).await;
    assert_eq!(area.put_new(&object()).await.expect("is there"), Outcome::AlreadyThereSame);
    assert_eq!(requests(&seen), ["PUT *", "PUT *", "HEAD"]);
}

#[tokio::test]
async fn creating_compares_what_is_there() {
    // Without a checksum the bytes are read; with another length they need not be.
    let plain = || Status(200, "etag: \"t\"\r\n", "four");
    let (area, seen) = scripted(vec![Status(412, "", ""), plain(), plain()]).await;
    assert_eq!(area.put_new(&object()).await.expect("is there"), Outcome::AlreadyThereSame);
    assert_eq!(requests(&seen), ["PUT *", "HEAD", "GET"]);

    let (area, _) =
        scripted(vec![Status(412, "", ""), plain(), Status(200, "etag: \"t\"\r\n", "FOUR")]).await;
    assert_eq!(area.put_new(&object()).await.expect("is there"), Outcome::AlreadyThereDifferent);

    let longer = Status(200, "etag: \"t\"\r\n", "fourth");
    let (area, _) = scripted(vec![Status(412, "", ""), longer]).await;
    assert_eq!(area.put_new(&object()).await.expect("is there"), Outcome::AlreadyThereDifferent);
}

#[tokio::test]
async fn a_race_without_a_winner_yet_is_tried_again() {
    let absent = || Status(404, "", "");
    let raced = || Status(409, "", "");
    let script = vec![raced(), absent(), Status(200, "etag: \"t\"\r\n", "")];
    let (area, seen) = scripted(script).await;
    assert_eq!(area.put_new(&object()).await.expect("puts"), Outcome::Created);
    assert_eq!(requests(&seen), ["PUT *", "HEAD", "PUT *"]);

    let (area, seen) = scripted(vec![raced(), absent(), raced(), absent(), raced(), absent()]).await;
    assert!(matches!(area.put_new(&object()).await, Err(StoreError::Unknown { .. })));
    assert_eq!(requests(&seen).len(), 6);
}

#[tokio::test]
async fn reads_are_repeated_and_carry_the_store_time() {
    let date = "etag: \"t\"\r\ndate: Thu, 09 Oct 2025 08:53:20 GMT\r\n";
    let (area, seen) = scripted(vec![Status(500, "", ""), Hangup, Status(200, date, "four")]).await;
    let Versioned { bytes, tag, store_time_unix } =
        area.read(&key(), 9).await.expect("reads").expect("is there");
    assert_eq!((&bytes[..], tag.0.as_str(), store_time_unix), (&b"four"[..], "t", Some(1_760_000_000)));
    assert_eq!(requests(&seen), ["GET", "GET", "GET"]);

    let (area, seen) = scripted(vec![Status(500, "", ""), Status(500, "", ""), Status(500, "", "")]).await;
    assert!(matches!(area.read(&key(), 9).await, Err(StoreError::Unavailable { .. })));
    assert_eq!(requests(&seen).len(), 3);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let short = "etag: \"t\"\r\ntransfer-encoding: chunked\r\n";
    let (area, seen) =
        scripted(vec![Status(200, short, "8\r\nfour"), Status(200, "etag: \"t\"\r\n", "four")]).await;
    assert_eq!(area.get(&key(), 9).await.expect("reads").as_deref(), Some(&b"four"[..]));
    assert_eq!(requests(&seen), ["GET", "GET"]);
}

#[tokio::test]
async fn a_store_without_etags_or_ranges_is_broken() {
    let (area, _) = scripted(vec![Status(200, "", "four")]).await;
    assert!(matches!(area.read(&key(), 9).await, Err(StoreError::Broken(_))));
    let (area, _) = scripted(vec![Status(200, "etag: \"t\"\r\n", "four")]).await;
    assert!(matches!(area.open(&key(), Some(0..2)).await, Err(StoreError::Broken(_))));
}
