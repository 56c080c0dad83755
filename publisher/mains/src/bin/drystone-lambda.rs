//! The publisher as a Lambda function, behind a function URL or an API Gateway HTTP API.

use axum::{extract::Request, middleware::map_request};
use drystone_mains::Environment;
use drystone_publisher::{Peer, api_router};
use lambda_http::request::RequestContext;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let environment = Environment::of_process()?;
    environment.start_logging();
    let service = environment.open().await?;
    lambda_http::run(api_router(service, None).layer(map_request(with_peer))).await
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
