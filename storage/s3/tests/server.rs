//! The backend against a real S3 server: `eval "$(tests/s3.sh start)"`, then run these.
//!
//! Without `AWS_ENDPOINT_URL_S3` they are skipped and say so; with `DRYSTONE_TEST_S3=required` they fail instead.
#![expect(clippy::disallowed_methods, reason = "the environment says which server to use")]
#![expect(clippy::print_stdout, reason = "a skipped test must not look like one that passed")]

use std::{
    env,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use drystone_storage::{Body, Key, Meta, NewObject, Objects, Pointers, PresignedPut, conformance::Suite};
use drystone_storage_s3::{S3Area, S3Settings};
use sha2::{Digest, Sha256};

/// An area with a prefix of this run's own, and the server's plain client; `None` if there is no server.
struct Server {
    area: S3Area,
    sdk: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

impl Server {
    async fn open(test: &str) -> Option<Self> {
        if env::var_os("AWS_ENDPOINT_URL_S3").is_none() {
            assert_ne!(
                env::var("DRYSTONE_TEST_S3").as_deref(),
                Ok("required"),
                "AWS_ENDPOINT_URL_S3 is not set"
            );
            println!("skipped: AWS_ENDPOINT_URL_S3 is not set");
            return None;
        }
        let bucket = env::var("DRYSTONE_TEST_S3_BUCKET").unwrap_or_else(|_| "drystone".to_owned());
        let prefix = format!("test-{test}/{}", since_1970().as_nanos());
        let area = S3Area::connect(S3Settings::new(bucket.clone(), &prefix)).await;
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await;
        let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Some(Self { area, sdk: aws_sdk_s3::Client::from_conf(config), bucket, prefix })
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let Some(server) = Server::open("conforms").await else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let (prefix, scratch) = ("suite".to_owned(), scratch.path().to_owned());
    // Few: some servers let each loser of a race wait for a second.
    let suite = Suite { area: Arc::new(server.area), prefix, scratch, increments: 2 };
    if let Err(found) = suite.run().await {
        panic!("{found}");
    }
}

#[tokio::test]
async fn metadata_is_stored() {
    let Some(Server { area, sdk, bucket, prefix }) = Server::open("metadata").await else { return };
    let meta = Meta { content_type: "text/x-drystone", cache_control: "max-age=5" };
    let object = NewObject { key: key("object"), body: Body::Bytes(Bytes::from_static(b"x")), meta };
    area.put_new(&object).await.expect("puts");
    area.replace(&key("pointer"), None, Bytes::from_static(b"x"), meta).await.expect("replaces");
    for name in ["object", "pointer"] {
        let head = sdk.head_object().bucket(&bucket).key(format!("{prefix}/{name}"));
        let head = head.send().await.expect("is there, below the prefix");
        assert_eq!(head.content_type(), Some("text/x-drystone"), "{name}");
        assert_eq!(head.cache_control(), Some("max-age=5"), "{name}");
        area.delete(&key(name)).await.expect("deletes");
    }
}

#[tokio::test]
async fn reads_of_pointers_tell_the_store_time() {
    let Some(Server { area, .. }) = Server::open("time").await else { return };
    area.replace(&key("pointer"), None, Bytes::from_static(b"x"), Meta::PRIVATE).await.expect("replaces");
    let read = area.read(&key("pointer"), 9).await.expect("reads").expect("is there");
    let told = read.store_time_unix.expect("the server sends `Date`");
    assert!(told.abs_diff(since_1970().as_secs()) < 60, "{told}");
    area.delete(&key("pointer")).await.expect("deletes");
}

/// Uploads as a client would: exactly the signed headers, but for one that is changed.
async fn upload(put: &PresignedPut, body: &'static [u8], changed: Option<(&str, &str)>) -> u16 {
    // Other tests of the process may have installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = reqwest::Client::new().put(&put.url).body(body);
    for (name, value) in &put.headers {
        let value =
            changed.filter(|(other, _)| name.eq_ignore_ascii_case(other)).map_or(value.as_str(), |new| new.1);
        request = request.header(name, value);
    }
    request.send().await.expect("answers").status().as_u16()
}

#[tokio::test]
async fn presigned_uploads_are_bound_to_what_was_declared() {
    let Some(Server { area, .. }) = Server::open("presign").await else { return };
    let key = key("uploads/1");
    let digest = hex::encode(Sha256::digest(b"declared"));
    let put = area.presign_put(&key, &digest, 8, 60).await.expect("signs").expect("S3 can");
    let names: Vec<String> = put.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    for name in ["if-none-match", "x-amz-checksum-sha256", "content-length"] {
        assert!(names.contains(&name.to_owned()), "`{name}` is signed: {names:?}");
        assert!(put.url.contains(&name.replace('-', "%2D")) || put.url.contains(name), "{}", put.url);
    }

    assert_ne!(upload(&put, b"tampers!", None).await, 200, "other bytes of the same length");
    assert_eq!(upload(&put, b"declared", Some(("if-none-match", "other"))).await, 403, "another condition");
    assert_eq!(
        upload(&put, b"declared", Some(("x-amz-checksum-sha256", "AAAA"))).await,
        403,
        "another digest"
    );
    assert_eq!(area.stat(&key).await.expect("asks"), None);
    assert_eq!(upload(&put, b"declared", None).await, 200);
    assert_eq!(upload(&put, b"declared", None).await, 412, "a second time");
    assert_eq!(area.get(&key, 100).await.expect("reads").as_deref(), Some(&b"declared"[..]));
    area.delete(&key).await.expect("deletes");
}

#[tokio::test]
async fn a_missing_bucket_is_not_an_empty_registry() {
    if Server::open("bucket").await.is_none() {
        return;
    }
    let area = S3Area::connect(S3Settings::new("no-such-bucket", "x")).await;
    let read = area.read(&key("head"), 9).await;
    assert!(matches!(read, Err(drystone_storage::StoreError::Refused { .. })), "{read:?}");
    let swapped = area.replace(&key("head"), None, Bytes::from_static(b"x"), Meta::PRIVATE).await;
    assert!(matches!(swapped, Err(drystone_storage::StoreError::Refused { .. })), "{swapped:?}");
}
