//! The publisher as a Lambda function: behind a function URL or an API Gateway HTTP API, and on a schedule.
//!
//! An event of a schedule (Amazon EventBridge), or `{"drystone":"heartbeat"}`, has the newest checkpoint cosigned again.

use axum::{extract::Request, middleware::map_request};
use drystone_mains::Environment;
use drystone_publisher::{Peer, api_router};
use lambda_http::{
    Adapter, LambdaEvent,
    lambda_runtime::{self, service_fn},
    request::{LambdaRequest, RequestContext},
    tower::{Service as _, ServiceExt as _},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{json, value::RawValue};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let environment = Environment::of_process()?;
    environment.start_logging();
    let service = environment.open().await?;
    let http = Adapter::from(api_router(service.clone(), None).layer(map_request(with_peer)));
    let answer = |event: LambdaEvent<Box<RawValue>>| {
        let (service, mut http) = (service.clone(), http.clone());
        async move {
            if is_scheduled(event.payload.get()) {
                let heartbeat = service.heartbeat(environment.heartbeat_s / 2).await?;
                return Ok(json!({ "heartbeat": format!("{heartbeat:?}").to_lowercase() }));
            }
            let request: LambdaRequest = serde_json::from_str(event.payload.get())?;
            let response = http.ready().await?.call(LambdaEvent::new(request, event.context)).await?;
            Ok::<_, lambda_http::Error>(serde_json::to_value(response)?)
        }
    };
    lambda_runtime::run(service_fn(answer)).await
}

/// What tells the event of a schedule from that of a request.
#[derive(Deserialize)]
struct Probe<'a> {
    source: Option<&'a str>,
    drystone: Option<&'a str>,
    #[serde(rename = "requestContext")]
    request: Option<IgnoredAny>,
}

/// Whether an event comes from a schedule, and not from a client. What a client sends is wrapped in a request, so that it cannot
/// have these fields at the top.
fn is_scheduled(event: &str) -> bool {
    let Ok(Probe { source, drystone, request: None }) = serde_json::from_str(event) else { return false };
    matches!(source, Some("aws.events" | "aws.scheduler")) || drystone == Some("heartbeat")
}

/// Says who asked, as the gateway knows it.
async fn with_peer(mut request: Request) -> Request {
    let source = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        _ => None,
    };
    if let Some(peer) = source.and_then(|text| text.parse().ok()).map(Peer) {
        request.extensions_mut().insert(peer);
    }
    request
}
