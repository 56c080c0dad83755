//! Bodies that are too long, too short or not the right ones; requests that must be repeated, and tokens that must not go
//! astray.

use std::{sync::Arc, time::Duration};

use drystone_client::{
    ClientError, LocalArchive, Network, VerificationError,
    install::{Installer, LinkMode, OnInstall, Stock},
    plan,
    publish::{Intent, OnSent},
};
use drystone_schemas::{Code, Limits, PublishOutcome, Sha256Digest, layout};

use crate::fake::{Act, Fake, archive};

fn quiet() -> OnInstall {
    Arc::new(|_| ())
}

fn requirement(text: &str) -> drystone_client::resolve::Requirement {
    drystone_client::resolve::Requirement::new(
        drystone_schemas::PackageName::new(text).unwrap(),
        drystone_schemas::VersionReq::new("*").unwrap(),
    )
}

/// Locks and installs one package into an empty project.
async fn install_one(fake: &Fake, project: &std::path::Path) -> Result<(), ClientError> {
    let registry = fake.registry();
    let snapshot = drystone_client::Snapshot::open(&registry, &fake.trust()).await?;
    let lock = plan::resolve(
        &snapshot,
        &[requirement("a")],
        &drystone_client::resolve::Rules::newest(drystone_client::resolve::Versions::One),
    )
    .await?;
    fake.world.take_seen();
    let (store, limits, on_install) = (fake.store(), Limits::default(), quiet());
    let installer =
        Installer { store: &store, registry: &registry, limits: &limits, on_install: &on_install };
    installer.install(&lock, Stock::take(&lock, &store), project, LinkMode::Auto).await.map(|_| ())
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_announced_or_not() {
    let fake = Fake::start().await;
    let url = fake.registry().url("big");
    for act in [Act::Answer(200, vec![], vec![0; 5000]), Act::Unannounced(vec![0; 5000])] {
        fake.world.script("GET /big", vec![act]);
        let error = fake.http().get(&url, None, 4999, None).await.unwrap_err();
        assert!(matches!(error, ClientError::TooBig { bytes_max: 4999, .. }), "{error}");
    }
    fake.world.script("GET /big", vec![Act::Unannounced(vec![0; 5000])]);
    assert_eq!(fake.http().get(&url, None, 5000, None).await.unwrap().body.len(), 5000);
}

#[tokio::test]
async fn a_download_that_breaks_off_is_started_over() {
    let mut fake = Fake::start().await;
    let bytes = fake.world.publish("a", "1.0.0", &[]);
    let line = format!("GET /{}", layout::object(&Sha256Digest::of(&bytes)));
    let half = bytes[..bytes.len() / 2].to_vec();
    fake.world.script(&line, vec![Act::BreakAfter(half), Act::Answer(503, vec![], vec![])]);
    let project = tempfile::tempdir().unwrap();
    install_one(&fake, project.path()).await.unwrap();
    assert_eq!(fake.world.take_seen().iter().filter(|seen| seen.line == line).count(), 3);
    let text = fs_err::read_to_string(project.path().join("drystone_packages/a/src/lib.x")).unwrap();
    assert_eq!(text, "a 1.0.0\n");
}

#[tokio::test]
async fn a_download_that_always_breaks_off_fails_and_leaves_nothing() {
    let mut fake = Fake::start().await;
    let bytes = fake.world.publish("a", "1.0.0", &[]);
    let digest = Sha256Digest::of(&bytes);
    let broken = || Act::BreakAfter(bytes[..10].to_vec());
    fake.world
        .script(&format!("GET /{}", layout::object(&digest)), vec![broken(), broken(), broken(), broken()]);
    let project = tempfile::tempdir().unwrap();
    let error = install_one(&fake, project.path()).await.unwrap_err();
    assert_eq!(error.problems()[0].code, Code::Unreachable, "{error}");
    assert!(fake.store().get(&digest).is_none() && !project.path().join("drystone_packages/a").exists());
    assert_eq!(fs_err::read_dir(fake.home().store().join("tmp")).map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn archives_with_other_bytes_are_refused_whatever_their_length() {
    let mut fake = Fake::start().await;
    let bytes = fake.world.publish("a", "1.0.0", &[]);
    let digest = Sha256Digest::of(&bytes);
    let mut flipped = bytes.clone();
    flipped[20] ^= 1;
    let longer = [&bytes[..], b"x"].concat();
    for wrong in [flipped, longer, bytes[..bytes.len() - 1].to_vec(), Vec::new()] {
        fake.world.put(&layout::object(&digest), wrong);
        let project = tempfile::tempdir().unwrap();
        let error = install_one(&fake, project.path()).await.unwrap_err();
        assert_eq!(error.problems()[0].code, Code::VerificationFailed, "{error}");
        assert!(fake.store().get(&digest).is_none() && !project.path().join("drystone_packages/a").exists());
    }
}

/// An archive on disk, and where it is.
fn local(bytes: &[u8]) -> (tempfile::TempDir, LocalArchive) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-1.0.0.tar.gz");
    fs_err::write(&path, bytes).unwrap();
    let archive = LocalArchive::open(&path, None).unwrap();
    (dir, archive)
}

fn published(tarball: Sha256Digest, size: usize) -> Act {
    let body = format!(
        r#"{{"outcome":"published","name":"a","vers":"1.0.0","seq":1,"tarball":"{tarball}","size":{size},"record":"{tarball}","warnings":[]}}"#
    );
    Act::Answer(201, vec![], body.into_bytes())
}

fn unwatched() -> OnSent {
    Arc::new(|_| ())
}

#[tokio::test]
async fn a_publish_is_repeated_whole_under_one_key() {
    let fake = Fake::start().await;
    let bytes = archive("a", "1.0.0");
    let (_dir, archive) = local(&bytes);
    let body = r#"{"errors":[{"code":"try-again","number":"DRY0601","detail":"unknown","hint":""}],"request_id":"r"}"#;
    let later = vec![("retry-after", "7".to_owned())];
    fake.world.script(
        "POST /api/v1/packages",
        vec![
            Act::Answer(503, later, body.into()),
            Act::BreakAfter(b"{".to_vec()),
            published(archive.digest, bytes.len()),
        ],
    );
    let registry = fake.registry_with(Network::Online, Some("t0ken"));
    let response = registry.publish(&archive, Intent::Publish, unwatched()).await.unwrap();
    assert_eq!(response.outcome, PublishOutcome::Published);
    let seen = fake.world.take_seen();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.line == "POST /api/v1/packages").collect();
    assert_eq!(posts.len(), 3);
    let key = posts[0].header("idempotency-key");
    assert_eq!(key.len(), 26);
    for post in &posts {
        assert_eq!(post.header("idempotency-key"), key);
        assert_eq!(post.header("authorization"), "Bearer t0ken");
        assert!(post.header("content-type").starts_with("multipart/form-data"));
        assert!(
            post.body.windows(bytes.len()).any(|window| window == bytes),
            "the whole archive is in the body"
        );
        let text = String::from_utf8_lossy(&post.body);
        assert!(
            text.contains(r#"name="metadata""#) && text.contains(r#"filename="a-1.0.0.tar.gz""#),
            "{text}"
        );
    }
    let slept = fake.clock.slept.lock().unwrap().clone();
    assert!(slept[0] >= Duration::from_secs(7), "{slept:?}");
    // Another publish is another intent.
    fake.world.script("POST /api/v1/packages", vec![published(archive.digest, bytes.len())]);
    registry.publish(&archive, Intent::Publish, unwatched()).await.unwrap();
    assert_ne!(fake.world.take_seen()[0].header("idempotency-key"), key);
}

#[tokio::test]
async fn an_answer_that_stays_unknown_is_told_in_the_registrys_words() {
    let fake = Fake::start().await;
    let (_dir, archive) = local(&archive("a", "1.0.0"));
    let body = r#"{"errors":[{"code":"try-again","number":"DRY0601","detail":"unknown","hint":""}],"request_id":"r"}"#;
    let again = || Act::Answer(503, vec![], body.into());
    fake.world.script("POST /api/v1/packages", (0..4).map(|_| again()).collect());
    let registry = fake.registry_with(Network::Online, Some("t0ken"));
    let error = registry.publish(&archive, Intent::Publish, unwatched()).await.unwrap_err();
    assert_eq!((error.problems()[0].code, error.is_transient()), (Code::TryAgain, true));
}

#[tokio::test]
async fn a_registry_that_stores_other_bytes_is_caught() {
    let fake = Fake::start().await;
    let (_dir, archive) = local(&archive("a", "1.0.0"));
    fake.world.script("POST /api/v1/packages", vec![published(Sha256Digest::of(b"other"), 5)]);
    let registry = fake.registry_with(Network::Online, Some("t0ken"));
    let error = registry.publish(&archive, Intent::Publish, unwatched()).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Digest { .. })), "{error}");
}

#[tokio::test]
async fn a_large_archive_goes_where_the_registry_says_without_the_token() {
    let mut fake = Fake::start().await;
    fake.world.direct_upload_bytes_max = 10;
    fake.world.rewrite();
    let bytes = archive("a", "1.0.0");
    let (_dir, archive) = local(&bytes);
    let place = format!(
        r#"{{"id":"u1","url":"{}","headers":[["x-amz-checksum-sha256","abc"]],"valid_s":60}}"#,
        fake.registry().url("bucket/u1?signature=secret")
    );
    fake.world.script("POST /api/v1/uploads", vec![Act::Answer(200, vec![], place.into())]);
    // The first put succeeds, but its answer is lost.
    fake.world
        .script("PUT /bucket/u1", vec![Act::Answer(503, vec![], vec![]), Act::Answer(412, vec![], vec![])]);
    fake.world.script("POST /api/v1/packages", vec![published(archive.digest, bytes.len())]);
    let registry = fake.registry_with(Network::Online, Some("t0ken"));
    registry.publish(&archive, Intent::Publish, unwatched()).await.unwrap();
    let seen = fake.world.take_seen();
    let put = seen.iter().find(|seen| seen.line == "PUT /bucket/u1").unwrap();
    assert_eq!((put.header("authorization"), put.header("x-amz-checksum-sha256")), ("", "abc"));
    assert_eq!((put.body.clone(), put.header("content-length")), (bytes.clone(), &*bytes.len().to_string()));
    let post = seen.iter().find(|seen| seen.line == "POST /api/v1/packages").unwrap();
    assert!(String::from_utf8_lossy(&post.body).contains(r#""upload":"u1""#));
}

#[tokio::test]
async fn an_upload_that_fails_does_not_tell_its_signature() {
    let mut fake = Fake::start().await;
    fake.world.direct_upload_bytes_max = 10;
    fake.world.rewrite();
    let (_dir, archive) = local(&archive("a", "1.0.0"));
    let url = fake.registry().url("bucket/u1?signature=secret");
    let place = format!(r#"{{"id":"u1","url":"{url}","headers":[],"valid_s":60}}"#);
    fake.world.script("POST /api/v1/uploads", vec![Act::Answer(200, vec![], place.into())]);
    fake.world.script("PUT /bucket/u1", vec![Act::Answer(403, vec![], vec![])]);
    let registry = fake.registry_with(Network::Online, Some("t0ken"));
    let error = registry.publish(&archive, Intent::Publish, unwatched()).await.unwrap_err();
    let told = format!("{error} {:?}", error.problems());
    assert!(told.contains("bucket/u1") && !told.contains("secret"), "{told}");
}

#[tokio::test]
async fn tokens_stay_where_they_belong() {
    let fake = Fake::start().await;
    let registry = fake.registry_with(Network::Online, Some("t0ken"));
    let elsewhere = vec![("location", fake.registry().url("elsewhere"))];
    fake.world.script("GET /api/v1/me", vec![Act::Answer(302, elsewhere, vec![])]);
    let error = registry.me().await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { .. }), "{error}");
    let seen = fake.world.take_seen();
    assert!(seen.iter().all(|seen| seen.line != "GET /elsewhere"));
    // Static files are read without the token, as long as they can be.
    assert!(
        seen.iter()
            .filter(|seen| !seen.header("authorization").is_empty())
            .all(|seen| seen.line == "GET /api/v1/me")
    );
    fake.world.require_token("t0ken");
    assert!(fake.registry().config().await.is_err());
    let private = fake.registry_with(Network::Online, Some("t0ken"));
    assert!(private.config().await.is_ok());
}

#[tokio::test]
async fn plain_http_is_for_this_machine_only() {
    let fake = Fake::start().await;
    for url in ["http://192.0.2.1/x", "http://registry.example/x", "ftp://localhost/x"] {
        let error = fake.http().get(url, None, 1, None).await.unwrap_err();
        assert!(matches!(error, ClientError::Insecure { .. }), "{error}");
    }
    let away = vec![("location", "http://192.0.2.1/x".to_owned())];
    fake.world.script("GET /moved", vec![Act::Answer(302, away, vec![])]);
    let error = fake.http().get(&fake.registry().url("moved"), None, 1, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Insecure { .. }), "{error}");
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_a_failure() {
    let fake = Fake::start().await;
    let hour = vec![("retry-after", "3600".to_owned())];
    fake.world.script("GET /x", vec![Act::Answer(429, hour, vec![])]);
    let error = fake.http().get(&fake.registry().url("x"), None, 1, None).await.unwrap_err();
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
    assert!(fake.clock.slept.lock().unwrap().is_empty());
}
