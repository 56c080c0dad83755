//! The function's binary inside a Lambda runtime.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use drystone_tests::{Pkg, multipart_body, process::program, runtime::Function};
use serde_json::{Value, json};

fn authorised(token: &str, content_type: &str) -> Value {
    json!({"authorization": format!("Bearer {token}"), "content-type": content_type, "host": "registry.test"})
}

async fn publish_and_yank(store: &str, environment: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let (key, token) = (folder.path().join("log.key"), folder.path().join("token"));
    let init = Command::new(program("drystone"))
        .args(["admin", "init", "--store", store, "--public-url", "http://registry.test"])
        .args(["--key-file".as_ref(), key.as_os_str(), "--token-file".as_ref(), token.as_os_str()])
        .envs(environment.iter().copied())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let token = fs_err::read_to_string(token).unwrap();
    let token = token.trim();
    let key = key.display().to_string();
    let mut all = environment.to_vec();
    all.extend([("DRYSTONE_STORE", store), ("DRYSTONE_LOG_KEY_FILE", &*key)]);

    let function = Function::start(&all).await;
    let package = Pkg::new("acme/http", "1.0.0");
    let (content_type, body) = multipart_body(None, &package.archive());
    let (status, answer) =
        function.invoke("POST", "/api/v1/packages", &authorised(token, &content_type), &body).await;
    assert_eq!(
        (status, &answer["outcome"], &answer["seq"]),
        (201, &json!("published"), &json!(1)),
        "{answer}"
    );
    let json_body = authorised(token, "application/json");
    let path = "/api/v1/packages/acme%2Fhttp/1.0.0/yank";
    let (status, answer) = function.invoke("POST", path, &json_body, br#"{"reason": "it leaks"}"#).await;
    assert_eq!((status, &answer["seq"]), (200, &json!(2)), "{answer}");
    let (status, answer) =
        function.invoke("POST", "/api/v1/packages", &authorised("dry_pat_no", &content_type), &body).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (401, &json!("token-invalid")));

    // Another instance, started cold, sees the same and goes on.
    drop(function);
    let another = Function::start(&all).await;
    let (status, answer) = another.invoke("GET", "/api/v1/packages/acme%2Fhttp/1.0.0", &json!({}), b"").await;
    assert_eq!(
        (status, &answer["yanked"], &answer["yank_reason_text"]),
        (200, &json!(true), &json!("it leaks"))
    );
    let (status, answer) =
        another.invoke("POST", "/api/v1/packages", &authorised(token, &content_type), &body).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("already-published")), "{answer}");

    // A schedule has the time renewed, when it is due; a client cannot look like one.
    let scheduled =
        json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    assert_eq!(another.invoke_event(scheduled).await, json!({"heartbeat": "fresh"}));
    let mut all = all.clone();
    all.push(("DRYSTONE_HEARTBEAT_S", "0"));
    let eager = Function::start(&all).await;
    let renewed = json!({"heartbeat": "renewed"});
    assert_eq!(eager.invoke_event(json!({"drystone": "heartbeat"})).await, renewed);
    let body = br#"{"drystone":"heartbeat","source":"aws.events"}"#;
    let (status, answer) = eager.invoke("POST", "/api/v1/packages", &json_body, body).await;
    assert!(status >= 400 && answer != renewed, "{answer}");
}

#[tokio::test]
async fn the_function_publishes_and_yanks_on_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    publish_and_yank(&format!("file://{}", folder.path().display()), &[]).await;
}

#[tokio::test]
async fn the_function_publishes_and_yanks_on_an_s3_server() {
    let Some(environment) = drystone_tests::process::s3_environment() else { return };
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let prefix = drystone_tests::process::unique("lambda");
    publish_and_yank(&format!("s3://drystone/{prefix}"), &pairs).await;
}
