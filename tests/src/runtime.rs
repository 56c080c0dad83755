//! The function's binary inside a Lambda runtime: a stand-in for the Runtime API speaks the real protocol to it, and a
//! gateway turns HTTP requests into events.
//!
//! Protocol: the AWS Lambda developer guide, "Runtime API": `next`, `response` and `error` below `2018-06-01/runtime`.
//! Events are those of API Gateway's payload format 2.0, which function URLs use as well.

use std::{
    collections::{HashMap, VecDeque},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Notify, oneshot},
};

use crate::{process::program, web::Daemon};

/// Longest event and longest answer of a synchronous invocation, in bytes ("Lambda quotas").
const PAYLOAD_BYTES_MAX: usize = 6 << 20;
/// Longest time that a function may take.
const ANSWER_S_MAX: u64 = 60;

/// What the runtime is told, and what it answers.
#[derive(Default)]
struct Runtime {
    waiting: Mutex<VecDeque<(String, Value)>>,
    arrived: Notify,
    answers: Mutex<HashMap<String, oneshot::Sender<Result<Value, Value>>>>,
    next_id: AtomicU64,
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
    headers.insert("lambda-runtime-aws-request-id", HeaderValue::from_str(&id).expect("an id is ASCII"));
    headers.insert("lambda-runtime-deadline-ms", HeaderValue::from_static("4102444800000"));
    headers.insert(
        "lambda-runtime-invoked-function-arn",
        HeaderValue::from_static("arn:aws:lambda:us-east-1:123456789012:function:drystone"),
    );
    (headers, event.to_string()).into_response()
}

impl Runtime {
    async fn finish(
        &self,
        id: &str,
        outcome: impl FnOnce(Value) -> Result<Value, Value>,
        body: &Bytes,
    ) -> StatusCode {
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let answer =
            self.answers.lock().await.remove(id).expect("only events that were given out are answered");
        drop(answer.send(outcome(value)));
        StatusCode::ACCEPTED
    }

    /// Gives an event to the function, and waits for what it makes of it.
    async fn invoke(&self, mut event: Value) -> Value {
        let id = format!("request-{}", self.next_id.fetch_add(1, Ordering::Relaxed));
        if let Some(context) = event.get_mut("requestContext") {
            context["requestId"] = json!(id);
        }
        let (sender, receiver) = oneshot::channel();
        self.answers.lock().await.insert(id.clone(), sender);
        self.waiting.lock().await.push_back((id, event));
        self.arrived.notify_one();
        let answer = tokio::time::timeout(Duration::from_secs(ANSWER_S_MAX), receiver).await;
        let outcome = answer.expect("the function answers").expect("an answer is sent");
        outcome.unwrap_or_else(|error| panic!("the function failed: {error}"))
    }
}

/// A function in its runtime.
pub struct Function {
    runtime: Arc<Runtime>,
    _process: Daemon,
}

impl Function {
    /// Starts the function with this environment.
    pub async fn start(environment: &[(&str, &str)]) -> Self {
        let runtime = Arc::new(Runtime::default());
        let response = async |State(runtime): State<Arc<Runtime>>, Path(id): Path<String>, body: Bytes| {
            runtime.finish(&id, Ok, &body).await
        };
        let error = async |State(runtime): State<Arc<Runtime>>, Path(id): Path<String>, body: Bytes| {
            runtime.finish(&id, Err, &body).await
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(runtime.clone());
        let address = listen(router).await;
        let process = Daemon::spawn(
            Command::new(program("drystone-lambda"))
                .env("AWS_LAMBDA_RUNTIME_API", address)
                .env("AWS_LAMBDA_FUNCTION_NAME", "drystone")
                .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
                .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
                .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
                .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
                .envs(environment.iter().copied()),
        );
        Self { runtime, _process: process }
    }

    /// Sends an HTTP request through API Gateway's eyes; answers with status and body.
    pub async fn invoke(&self, method: &str, path: &str, headers: &Value, body: &[u8]) -> (u64, Value) {
        let answer = self.runtime.invoke(event(method, path, "", headers, body)).await;
        let status = answer["statusCode"].as_u64().expect("an answer has a status");
        (status, serde_json::from_slice(&body_of(&answer)).unwrap_or(Value::Null))
    }

    /// Sends what is no HTTP request, such as the event of a schedule; answers with what the function does.
    pub async fn invoke_event(&self, event: Value) -> Value {
        self.runtime.invoke(event).await
    }

    /// Listens for HTTP requests, as a function URL does; answers with the address.
    pub async fn listen(&self) -> String {
        listen(Router::new().fallback(pass_on).with_state(self.runtime.clone())).await
    }
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("a listener has an address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn event(method: &str, path: &str, query: &str, headers: &Value, body: &[u8]) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {
            "accountId": "anonymous", "apiId": "id", "domainName": "registry.test", "domainPrefix": "registry",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test"},
            "routeKey": "$default", "stage": "$default",
            "time": "09/Oct/2025:09:09:59 +0000", "timeEpoch": 1_760_000_999_000_u64,
        },
        "body": STANDARD.encode(body), "isBase64Encoded": true,
    })
}

fn body_of(answer: &Value) -> Vec<u8> {
    let body = answer["body"].as_str().unwrap_or_default();
    if answer["isBase64Encoded"] == true {
        STANDARD.decode(body).expect("what is said to be base 64 is")
    } else {
        body.into()
    }
}

/// One HTTP request through the gateway. Header names are in lower case, several of one name are one, with commas.
async fn pass_on(State(runtime): State<Arc<Runtime>>, request: Request) -> Response {
    let too_long =
        || (StatusCode::PAYLOAD_TOO_LARGE, r#"{"Message":"Request Entity Too Large"}"#).into_response();
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, PAYLOAD_BYTES_MAX).await else { return too_long() };
    let mut headers = Map::new();
    for (name, value) in &parts.headers {
        let value = value.to_str().expect("a test's headers are text");
        match headers.get_mut(name.as_str()) {
            Some(Value::String(before)) => *before = format!("{before},{value}"),
            _ => drop(headers.insert(name.to_string(), json!(value))),
        }
    }
    let query = parts.uri.query().unwrap_or_default();
    let event = event(parts.method.as_str(), parts.uri.path(), query, &Value::Object(headers), &body);
    if event.to_string().len() > PAYLOAD_BYTES_MAX {
        return too_long();
    }
    let answer = runtime.invoke(event).await;
    if answer.to_string().len() > PAYLOAD_BYTES_MAX {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let status = answer["statusCode"].as_u64().and_then(|status| StatusCode::from_u16(status as u16).ok());
    let mut response = Response::new(Body::from(body_of(&answer)));
    *response.status_mut() = status.expect("an answer has a status");
    for headers in ["headers", "multiValueHeaders"].iter().filter_map(|kind| answer[kind].as_object()) {
        for (name, value) in headers {
            let text = value.as_str().or_else(|| value[0].as_str()).expect("a header has a value");
            let name = HeaderName::try_from(&**name).expect("a header has a name");
            response.headers_mut().insert(name, HeaderValue::from_str(text).expect("a header is text"));
        }
    }
    response
}
