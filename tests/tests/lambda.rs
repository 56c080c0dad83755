//! The function's binary inside a Lambda runtime: a stand-in for the Runtime API speaks the real protocol to it.
//!
//! Protocol: the AWS Lambda developer guide, "Runtime API": `next`, `response` and `error` below `2018-06-01/runtime`.
//! Events are those of API Gateway's payload format 2.0, which function URLs use as well.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{HashMap, VecDeque},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use drystone_tests::{Pkg, multipart_body, process::program};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, oneshot};

/// What the runtime is told, and what it answers.
#[derive(Default)]
struct Runtime {
    waiting: Mutex<VecDeque<(String, Value)>>,
    arrived: Notify,
    answers: Mutex<HashMap<String, oneshot::Sender<(Outcome, Value)>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Response,
    Error,
}

/// `GET /invocation/next`: waits for an event.
async fn next(State(runtime): State<Arc<Runtime>>) -> Response {
    let (id, event) = loop {
        if let Some(event) = runtime.waiting.lock().await.pop_front() {
            break event;
        }
        runtime.arrived.notified().await;
    };
    let mut headers = HeaderMap::new();
    headers.insert("lambda-runtime-aws-request-id", HeaderValue::from_str(&id).unwrap());
    headers.insert("lambda-runtime-deadline-ms", HeaderValue::from_static("4102444800000"));
    headers.insert(
        "lambda-runtime-invoked-function-arn",
        HeaderValue::from_static("arn:aws:lambda:us-east-1:123456789012:function:drystone"),
    );
    (headers, event.to_string()).into_response()
}

async fn finish(runtime: &Runtime, id: &str, outcome: Outcome, body: &Bytes) -> StatusCode {
    let value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let answer =
        runtime.answers.lock().await.remove(id).expect("only events that were given out are answered");
    drop(answer.send((outcome, value)));
    StatusCode::ACCEPTED
}

/// A function in its runtime.
struct Function {
    runtime: Arc<Runtime>,
    child: Child,
    next_id: u64,
}

impl Function {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let runtime = Arc::new(Runtime::default());
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(async |State(runtime): State<Arc<Runtime>>, Path(id): Path<String>, body: Bytes| {
                    finish(&runtime, &id, Outcome::Response, &body).await
                }),
            )
            .route(
                "/2018-06-01/runtime/invocation/{id}/error",
                post(async |State(runtime): State<Arc<Runtime>>, Path(id): Path<String>, body: Bytes| {
                    finish(&runtime, &id, Outcome::Error, &body).await
                }),
            )
            .with_state(runtime.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let child = Command::new(program("drystone-lambda"))
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "drystone")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .expect("the function starts");
        Self { runtime, child, next_id: 0 }
    }

    /// Sends an HTTP request through API Gateway's eyes; answers with status and body.
    async fn invoke(&mut self, method: &str, path: &str, headers: Value, body: &[u8]) -> (u64, Value) {
        self.next_id += 1;
        let id = format!("request-{}", self.next_id);
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
            "requestContext": {
                "accountId": "anonymous", "apiId": "id", "domainName": "registry.test", "domainPrefix": "registry",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test"},
                "requestId": id, "routeKey": "$default", "stage": "$default",
                "time": "09/Oct/2025:09:09:59 +0000", "timeEpoch": 1_760_000_999_000_u64,
            },
            "body": STANDARD.encode(body), "isBase64Encoded": true,
        });
        let (sender, receiver) = oneshot::channel();
        self.runtime.answers.lock().await.insert(id.clone(), sender);
        self.runtime.waiting.lock().await.push_back((id, event));
        self.runtime.arrived.notify_one();
        let answer =
            tokio::time::timeout(Duration::from_secs(60), receiver).await.expect("the function answers");
        let (outcome, value) = answer.unwrap();
        assert_eq!(outcome, Outcome::Response, "{value}");
        let body = value["body"].as_str().unwrap_or_default();
        let body =
            if value["isBase64Encoded"] == true { STANDARD.decode(body).unwrap() } else { body.into() };
        (value["statusCode"].as_u64().unwrap(), serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

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

    let mut function = Function::start(&all).await;
    let package = Pkg::new("acme/http", "1.0.0");
    let (content_type, body) = multipart_body(None, &package.archive());
    let (status, answer) =
        function.invoke("POST", "/api/v1/packages", authorised(token, &content_type), &body).await;
    assert_eq!(
        (status, &answer["outcome"], &answer["seq"]),
        (201, &json!("published"), &json!(1)),
        "{answer}"
    );
    let json_body = authorised(token, "application/json");
    let path = "/api/v1/packages/acme%2Fhttp/1.0.0/yank";
    let (status, answer) = function.invoke("POST", path, json_body, br#"{"reason": "it leaks"}"#).await;
    assert_eq!((status, &answer["seq"]), (200, &json!(2)), "{answer}");
    let (status, answer) =
        function.invoke("POST", "/api/v1/packages", authorised("dry_pat_no", &content_type), &body).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (401, &json!("token-invalid")));

    // Another instance, started cold, sees the same and goes on.
    drop(function);
    let mut another = Function::start(&all).await;
    let (status, answer) = another.invoke("GET", "/api/v1/packages/acme%2Fhttp/1.0.0", json!({}), b"").await;
    assert_eq!(
        (status, &answer["yanked"], &answer["yank_reason_text"]),
        (200, &json!(true), &json!("it leaks"))
    );
    let (status, answer) =
        another.invoke("POST", "/api/v1/packages", authorised(token, &content_type), &body).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("already-published")), "{answer}");
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
